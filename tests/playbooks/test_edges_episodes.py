"""Edges of episodes: what folds, what is held and let go, what flaps and cools, and an edit while plays are open."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.acts.holdings import NewEntitlement, set_entitlements
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr, set_finding_status
from csplaybooks.accounts.factories import AccountFactory, ProductFactory, TeamMemberFactory
from csplaybooks.accounts.models import Account, Finding
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.acts.recipes import set_playbook_active
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.models import Match, Play, PlayMatch, PlayStep
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import judge_held, run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from tests.playbooks.edges import (
    DAY,
    HOUR,
    MOMENT,
    NOW,
    account,
    assert_all_runs_replay,
    knocks,
    levels,
    matches,
    open_matches,
    play_of,
    publish,
    run,
    run_and_work,
)

pytestmark = pytest.mark.django_db

THREE = "{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}"
ABOVE_80 = "{measure: share_of_limit, meters: [seats], above: 80}"
AT_80 = "{measure: share_of_limit, meters: [api_calls], at_least: 80, grace_hours: 24}"
AT_100 = "{measure: share_of_limit, meters: [api_calls], at_least: 100}"


@pytest.fixture(autouse=True)
def site() -> None:
    """The kinds of signal and meter that these playbooks speak of, an account, and somebody to own its plays."""
    load_starter_catalogue(now=NOW - 90 * DAY)
    CalendarFactory()
    TeamMemberFactory()
    account("acme")


def close(name: str, outcome: str, at: datetime) -> None:
    """Close the one open play of an account."""
    answers = close_plays(play_ids=[play_of(name).pk], outcome=outcome, reason="So it went.", now=at)
    assert set(answers.values()) == {None}


def states(key: str) -> list[tuple[str, str]]:
    """Where the episodes of a trigger stand, and who holds them; oldest first."""
    return [(match.state, match.held_by) for match in matches(key)]


# Two triggers of one motion at once


@pytest.mark.parametrize("playbooks", [1, 2])
def test_two_triggers_of_one_motion_at_once_open_one_play_and_the_second_folds(playbooks: int) -> None:
    triggers = {"knocked": THREE, "full": ABOVE_80}
    if playbooks == 1:
        publish("both", triggers)
    else:
        for key, condition in triggers.items():
            publish(f"only_{key}", {key: condition})
    knocks("acme", 1, 2, 3)
    levels("acme", 9, 10)
    run_and_work(NOW)
    play = play_of("acme")
    assert (states("knocked"), states("full")) == ([("fired", "")], [("folded", "")])
    assert {match.play_id for match in Match.objects.all()} == {play.pk}
    assert list(PlayMatch.objects.order_by("match_id").values_list("match__trigger__key", "folded")) == [
        ("knocked", False),
        ("full", True),
    ]
    # What each found stands on its own match, and that of the first on the play.
    assert [match.evidence[0]["measure"] for match in (matches("knocked") + matches("full"))] == [
        "signal_count",
        "share_of_limit",
    ]
    assert play.evidence == matches("knocked")[0].evidence


def test_two_triggers_of_two_motions_at_once_open_two_plays() -> None:
    publish("one", {"knocked": THREE}, motion="tier_upsell")
    publish("other", {"full": ABOVE_80}, motion="seat_expansion")
    knocks("acme", 1, 2, 3)
    levels("acme", 9, 10)
    run_and_work(NOW)
    assert states("knocked") == states("full") == [("fired", "")]
    assert Play.objects.open().count() == 2


# A QBR with two gaps


def _review(products: list[str], at: datetime = NOW) -> None:
    findings = [
        NewFinding(kind="gap", text=f"No {key}", product_id=ProductFactory(key=key, name=key.capitalize()).pk)
        for key in products
    ]
    log_qbr(account_id=_acme(), held_at=at, findings=findings, now=at, actor=None)


def _acme() -> int:
    return int(Account.objects.get(name="acme").pk)


def _buys(product: str, at: datetime) -> None:
    line = NewEntitlement(account_id=_acme(), subscription=product, product_id=ProductFactory(key=product).pk)
    set_entitlements(items=[line], now=at, actor=None)


def test_a_review_with_two_gaps_is_one_episode_and_one_play_for_the_first_of_them() -> None:
    publish("gaps", {"gap": "{measure: open_gap}"})
    _review(["analytics", "vault"])
    run_and_work(NOW)
    assert states("gap") == [("fired", "")]
    play = play_of("acme")
    assert play.product is not None
    assert play.product.key == "analytics"
    assert play.evidence[0]["found"]["text"] == "No analytics"


def test_of_two_gaps_the_second_keeps_the_episode_open_when_the_first_is_filled() -> None:
    publish("gaps", {"gap": "{measure: open_gap}"})
    _review(["analytics", "vault"])
    run_and_work(NOW)
    _buys("analytics", NOW + DAY)
    run(NOW + DAY, full=False)
    assert (open_matches("gap"), len(matches("gap"))) == (["acme"], 1)
    second = Finding.objects.get(text="No vault")
    set_finding_status(
        finding_ids=[second.pk], status="settled", effective_at=NOW + 2 * DAY, now=NOW + 2 * DAY, actor=None
    )
    run(NOW + 2 * DAY, full=False)
    assert open_matches("gap") == []
    assert_all_runs_replay()


def test_of_two_gaps_with_a_trigger_of_its_own_each_the_second_folds() -> None:
    for key in ("analytics", "vault"):
        ProductFactory(key=key)
    gap = "{{measure: open_gap, products: [{}]}}"
    publish("gaps", {"first": gap.format("analytics"), "second": gap.format("vault")})
    _review(["vault", "analytics"])
    run_and_work(NOW)
    assert (states("first"), states("second")) == ([("fired", "")], [("folded", "")])
    assert Play.objects.open().count() == 1


# Again at 100 %


def _near_the_cap(**more: Any) -> None:
    publish("cap", {"at_80": AT_80, "at_100": AT_100}, motion="usage_growth", **more)


def _uses(used: float, at: datetime) -> None:
    levels("acme", used, 100, at=at, meter="api_calls")


def test_again_at_100_is_an_episode_of_its_own_and_joins_the_open_play() -> None:
    _near_the_cap()
    _uses(85, NOW - 2 * DAY)
    run_and_work(NOW)
    assert (states("at_80"), states("at_100")) == ([("fired", "")], [])
    _uses(99.999, NOW + DAY)
    run_and_work(NOW + DAY)
    assert states("at_100") == []
    _uses(100, NOW + 2 * DAY)
    run_and_work(NOW + 2 * DAY)
    assert states("at_100") == [("folded", "")]
    assert matches("at_100")[0].play == play_of("acme") == matches("at_80")[0].play
    assert_all_runs_replay()


def test_again_at_100_opens_a_new_play_where_the_first_was_won() -> None:
    _near_the_cap()
    _uses(85, NOW - 2 * DAY)
    run_and_work(NOW)
    close("acme", "won", NOW + HOUR)
    _uses(100, NOW + DAY)
    run_and_work(NOW + DAY)
    # The one at 80 % still stands and has fired: it does not fire again, though its play is closed.
    assert (states("at_80"), states("at_100")) == ([("fired", "")], [("fired", "")])
    assert Play.objects.count() == 2


def test_again_at_100_waits_where_the_first_was_lost() -> None:
    _near_the_cap()
    _uses(85, NOW - 2 * DAY)
    run_and_work(NOW)
    close("acme", "lost", NOW + HOUR)
    _uses(100, NOW + DAY)
    run_and_work(NOW + DAY)
    assert states("at_100") == [("held", "cooling")]
    assert matches("at_100")[0].held_until == NOW + HOUR + 60 * DAY


def test_straight_to_100_within_the_grace_is_told_at_once_and_at_80_after_its_day() -> None:
    _near_the_cap()
    _uses(10, NOW - DAY)
    _uses(100, NOW)
    run_and_work(NOW)
    assert (states("at_80"), states("at_100")) == ([], [("fired", "")])
    run_and_work(NOW + DAY - MOMENT)
    assert states("at_80") == []
    run_and_work(NOW + DAY)
    assert states("at_80") == [("folded", "")]
    assert_all_runs_replay()


# Held, then released


@pytest.mark.parametrize("asked_by", ["sweep", "run"])
def test_what_is_held_fires_once_when_its_guard_lifts_and_not_a_moment_before(asked_by: str) -> None:
    AccountFactory(name="fresh", identity__external_id="fresh", facts__activated_on=(NOW - 29 * DAY).date())
    publish("full", {"full": ABOVE_80})
    levels("fresh", 9, 10)
    run_and_work(NOW)
    (match,) = matches("full")
    lifts = match.held_until
    assert (match.state, match.held_by) == ("held", "onboarding")
    assert lifts is not None

    def asked(at: datetime) -> None:
        if asked_by == "run":
            run(at)
        else:
            judge_held(now=at)
        work(now=at)

    asked(lifts - MOMENT)
    assert states("full") == [("held", "onboarding")]
    asked(lifts)
    assert states("full") == [("fired", "")]
    assert matches("full")[0].fired_at == lifts
    asked(lifts + HOUR)
    assert Play.objects.count() == 1
    # What it found is what it found when it opened, however long it was held.
    assert play_of("fresh").evidence == match.evidence
    assert_all_runs_replay()


def test_what_ends_while_it_is_held_never_fires() -> None:
    AccountFactory(name="fresh", identity__external_id="fresh", facts__activated_on=(NOW - 29 * DAY).date())
    publish("full", {"full": ABOVE_80})
    levels("fresh", 9, 10)
    run_and_work(NOW)
    levels("fresh", 1, 10, at=NOW + HOUR)
    run_and_work(NOW + HOUR)
    assert states("full") == [("ended", "onboarding")]
    for at in (NOW + DAY, NOW + 40 * DAY):
        judge_held(now=at)
        run_and_work(at)
    assert not Play.objects.exists()


def test_what_is_released_by_one_guard_may_be_held_by_the_next() -> None:
    row = AccountFactory(
        name="fresh",
        identity__external_id="fresh",
        facts__activated_on=(NOW - 29 * DAY).date(),
        facts__lifecycle="trial",
    )
    publish("full", {"full": ABOVE_80})
    levels("fresh", 9, 10)
    run_and_work(NOW)
    assert states("full") == [("held", "not_paying")]
    set_facts(account_ids=[row.pk], facts={"lifecycle": "paying"}, effective_at=NOW, now=NOW, actor=None)
    run_and_work(NOW)
    assert states("full") == [("held", "onboarding")]


# A flap, and the cooldown over a new episode


def _full(used: int, at: datetime) -> None:
    levels("acme", used, 10, at=at)
    run_triggers(now=at)
    work(now=at)


def test_a_flap_inside_the_cooldown_is_a_new_episode_that_is_held() -> None:
    publish("full", {"full": ABOVE_80}, cooldown=30)
    _full(9, NOW)
    close("acme", "won", NOW + HOUR)
    _full(8, NOW + 2 * HOUR)
    _full(9, NOW + 3 * HOUR)
    assert states("full") == [("fired", ""), ("held", "cooling")]
    assert matches("full")[1].held_until == NOW + 30 * DAY
    _full(8, NOW + 4 * HOUR)
    _full(9, NOW + 5 * HOUR)
    assert states("full") == [("fired", ""), ("ended", "cooling"), ("held", "cooling")]
    assert Play.objects.count() == 1
    assert_all_runs_replay()


def test_a_flap_while_the_play_is_open_makes_no_second_play_and_no_noise() -> None:
    publish("full", {"full": ABOVE_80}, cooldown=30)
    for hour, used in enumerate((9, 8, 9, 8, 9)):
        _full(used, NOW + hour * HOUR)
    assert states("full") == [("fired", ""), ("ended", "cooling"), ("held", "cooling")]
    assert play_of("acme").matches.count() == 1


def test_a_new_episode_outlasts_the_cooldown_and_fires_when_it_is_over() -> None:
    publish("full", {"full": ABOVE_80}, cooldown=30)
    _full(9, NOW)
    close("acme", "won", NOW + HOUR)
    _full(8, NOW + DAY)
    _full(9, NOW + 2 * DAY)
    over = NOW + 30 * DAY
    run_and_work(over - MOMENT)
    judge_held(now=over - MOMENT)
    assert states("full") == [("fired", ""), ("held", "cooling")]
    run_and_work(over)
    assert states("full") == [("fired", ""), ("fired", "")]
    assert Play.objects.count() == 2
    assert play_of("acme").opened_at == over
    assert_all_runs_replay()


def test_an_episode_that_begins_exactly_when_the_cooldown_is_over_is_not_held() -> None:
    publish("full", {"full": ABOVE_80}, cooldown=30)
    _full(9, NOW)
    close("acme", "won", NOW + HOUR)
    _full(8, NOW + DAY)
    _full(9, NOW + 30 * DAY)
    assert states("full") == [("fired", ""), ("fired", "")]


def test_an_episode_that_goes_on_over_its_cooldown_fires_no_second_time() -> None:
    publish("full", {"full": ABOVE_80}, cooldown=30)
    _full(9, NOW)
    close("acme", "won", NOW + HOUR)
    _full(9, NOW + 29 * DAY)
    _full(9, NOW + 31 * DAY)
    assert states("full") == [("fired", "")]
    assert Play.objects.count() == 1


def test_a_cooldown_is_that_of_its_trigger_and_not_of_others() -> None:
    publish("full", {"full": ABOVE_80, "knocked": THREE}, cooldown=30)
    _full(9, NOW)
    close("acme", "won", NOW + HOUR)
    knocks("acme", 1, 2, 3, at=NOW + DAY)
    run_and_work(NOW + DAY)
    assert states("knocked") == [("fired", "")]


# An edit while plays are open


def test_open_plays_and_matches_keep_their_version_and_new_ones_have_the_new() -> None:
    first = publish("full", {"full": ABOVE_80}, step="Call them.")
    account("late")
    levels("acme", 9, 10)
    run_and_work(NOW)
    second = publish("full", {"full": ABOVE_80}, step="Write to them.", now=NOW + HOUR)
    levels("late", 9, 10, at=NOW + HOUR)
    run_and_work(NOW + HOUR)
    assert (second.number, [match.version for match in matches("full")]) == (2, [first, second])
    assert (play_of("acme").recipe, play_of("late").recipe) == (first, second)
    assert dict(PlayStep.objects.values_list("play__account__name", "text")) == {
        "acme": "Call them.",
        "late": "Write to them.",
    }
    # The episode goes on: nothing about it is asked anew.
    assert states("full") == [("fired", ""), ("fired", "")]
    assert_all_runs_replay()


def test_an_edit_that_asks_for_more_closes_the_episode_and_leaves_the_play() -> None:
    publish("full", {"full": ABOVE_80})
    levels("acme", 9, 10)
    run_and_work(NOW)
    publish("full", {"full": ABOVE_80.replace("80", "95")}, now=NOW + HOUR)
    run_and_work(NOW + HOUR)
    (match,) = matches("full")
    assert (match.state, match.closed_at) == ("fired", NOW + HOUR)
    play = play_of("acme")
    assert (play.recipe.number, play.matches.get()) == (1, match)
    assert_all_runs_replay()


def test_an_edit_that_takes_the_trigger_away_closes_its_episodes_and_leaves_the_play() -> None:
    publish("full", {"full": ABOVE_80, "knocked": THREE})
    account("waits")
    levels("acme", 9, 10)
    run_and_work(NOW)
    levels("waits", 9, 10)
    run(NOW, full=False)
    publish("full", {"knocked": THREE}, now=NOW + HOUR)
    run_and_work(NOW + HOUR)
    assert open_matches("full") == []
    assert states("full") == [("fired", ""), ("ended", "")]
    assert Play.objects.open().get().account.name == "acme"
    assert_all_runs_replay()


def test_what_waits_in_the_queue_opens_by_the_version_that_found_it() -> None:
    first = publish("full", {"full": ABOVE_80}, step="Call them.")
    levels("acme", 9, 10)
    run(NOW)
    publish("full", {"full": ABOVE_80}, step="Write to them.", now=NOW + HOUR)
    run_and_work(NOW + HOUR)
    play = play_of("acme")
    assert play.recipe == first
    assert [step.text for step in play.steps.all()] == ["Call them."]


def test_guards_are_those_of_the_version_that_runs_also_for_what_an_earlier_one_found() -> None:
    publish("full", {"full": ABOVE_80}, guards="onboarding: {days: 700}")
    levels("acme", 9, 10)
    run_and_work(NOW)
    assert states("full") == [("held", "onboarding")]
    publish("full", {"full": ABOVE_80}, now=NOW + HOUR)
    run_and_work(NOW + HOUR)
    assert states("full") == [("fired", "")]


def test_switching_off_ends_what_waits_and_leaves_what_is_open() -> None:
    version = publish("full", {"full": ABOVE_80})
    account("waits")
    levels("acme", 9, 10)
    run_and_work(NOW)
    levels("waits", 9, 10)
    run(NOW, full=False)
    set_playbook_active(playbook_id=version.playbook_id, active=False, now=NOW)
    run(NOW, full=False)
    assert states("full") == [("fired", ""), ("ended", "")]
    assert play_of("acme").recipe == version
