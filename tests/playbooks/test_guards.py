"""Each guard at its edges: what passes, what holds and until when, what is capped; their order; and one query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import (
    AccountFactory,
    BareAccountFactory,
    FindingFactory,
    FindingStateFactory,
)
from csplaybooks.accounts.models import AccountFacts, Finding, FindingState
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.factories import (
    DRAFT,
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
    TouchFactory,
)
from csplaybooks.playbooks.guards import Ceiling, Hold, Judgement, Question, guards, judge_matches
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Route
from csplaybooks.signals.factories import MeterFactory, ReadingFactory, SignalFactory, SignalTypeFactory
from csplaybooks.signals.models import IntakeBatch

# A Monday.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
TODAY = date(2026, 11, 16)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def company_in(settings: Any) -> Callable[[str], None]:
    """Set the company time zone."""

    def put(zone: str) -> None:
        settings.CSPLAYBOOKS = {"TIME_ZONE": zone}

    return put


def settings_with(**given: Any) -> dict[str, Any]:
    """The guard settings of a document that says nothing but this."""
    document = read_document(DRAFT.format(key="k", name="n", motion="cross_sell"))["guards"]
    return {
        key: given[key] if given.get(key) == "off" else {**value, **given.get(key, {})}
        for key, value in document.items()
    }


def only(key: str, **given: Any) -> dict[str, Any]:
    """Guard settings with all guards off but `gone` and this one."""
    whole = settings_with(**{key: given})
    return {name: value if name in ("gone", key) else "off" for name, value in whole.items()}


def account(**facts: Any) -> Any:
    """An account with these facts."""
    return AccountFactory(**{f"facts__{name}": value for name, value in facts.items()})


def waiting(row: Any) -> Match:
    """A match of the account that waits to be judged."""
    match: Match = MatchFactory(account=row)
    return match


def judge(
    match: Match,
    settings: dict[str, Any],
    at: datetime = NOW,
    *,
    motion: str = "cross_sell",
    cooldown_days: int = 0,
    mark: int | None = None,
) -> Judgement:
    """What the guards say about one match."""
    question = Question(at, Known.now(mark), motion, {match.trigger_id: cooldown_days})
    ((_, judgement),) = judge_matches(Match.objects.filter(pk=match.pk), question, settings)
    return judgement


def passes(judgement: Judgement) -> bool:
    """Neither held nor capped."""
    return judgement == Judgement(None, None)


# Gone, not paying


def test_an_account_that_has_gone_is_held_for_good() -> None:
    settings = only("black_out")
    churned, deleted, merged = waiting(account(lifecycle="churned")), waiting(account()), waiting(account())
    type(deleted.account).objects.filter(pk=deleted.account_id).update(deleted_at=NOW)
    type(merged.account).objects.filter(pk=merged.account_id).update(merged_into=churned.account)
    assert judge(churned, settings).hold == Hold("gone", "the account has churned")
    assert judge(deleted, settings).hold == Hold("gone", "the account was deleted")
    assert judge(merged, settings).hold == Hold("gone", "the account was merged into another")
    assert passes(judge(waiting(account()), settings))


def test_the_first_guard_cannot_be_turned_off_and_all_others_can() -> None:
    assert [guard.key for guard in guards() if not guard.can_be_off] == ["gone"]


def test_facts_are_those_of_the_moment() -> None:
    match = waiting(account(lifecycle="churned"))
    AccountFacts.objects.update(valid_from=NOW)
    settings = only("black_out")
    assert passes(judge(match, settings, NOW - MICROSECOND))
    assert judge(match, settings, NOW).hold


def test_who_does_not_pay_is_held_unless_the_playbook_allows_it() -> None:
    free, trial, unknown = (
        waiting(account(lifecycle="free")),
        waiting(account(lifecycle="trial")),
        waiting(BareAccountFactory()),
    )
    assert judge(free, only("not_paying")).hold == Hold("not_paying", "the account is on free")
    assert judge(trial, only("not_paying")).hold == Hold("not_paying", "the account is on trial")
    assert passes(judge(free, only("not_paying", allow=["free"])))
    assert judge(trial, only("not_paying", allow=["free"])).hold
    hold = judge(unknown, only("not_paying", allow=["free", "trial"])).hold
    assert hold is not None
    assert hold.reason == "nothing is known of this account yet: not its lifecycle, nor its dates"


# Onboarding


def test_onboarding_holds_on_day_29_and_passes_on_day_30() -> None:
    late = waiting(account(activated_on=TODAY - 29 * DAY))
    assert judge(late, only("onboarding")).hold == Hold(
        "onboarding", "activated on 2026-10-18, less than 30 days ago", datetime(2026, 11, 17, tzinfo=UTC)
    )
    assert passes(judge(late, only("onboarding"), datetime(2026, 11, 17, tzinfo=UTC)))
    assert judge(late, only("onboarding"), datetime(2026, 11, 17, tzinfo=UTC) - MICROSECOND).hold
    assert passes(judge(waiting(account(activated_on=TODAY - 30 * DAY)), only("onboarding")))


@pytest.mark.parametrize("activated_on", [None, TODAY + DAY])
def test_who_is_not_activated_yet_is_held_whatever_the_days(activated_on: date | None) -> None:
    hold = judge(waiting(account(activated_on=activated_on)), only("onboarding", days=0)).hold
    assert hold == Hold("onboarding", "the account is not activated yet")
    assert passes(judge(waiting(account(activated_on=TODAY)), only("onboarding", days=0)))


def test_days_are_those_of_the_company_time_zone(company_in: Callable[[str], None]) -> None:
    match = waiting(account(activated_on=date(2026, 10, 18)))
    company_in("Pacific/Auckland")  # UTC+13 in November
    hold = judge(match, only("onboarding"), datetime(2026, 11, 16, 10, 59, tzinfo=UTC)).hold
    assert hold is not None
    assert hold.until == datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
    assert passes(judge(match, only("onboarding"), datetime(2026, 11, 16, 11, 0, tzinfo=UTC)))
    company_in("America/Los_Angeles")
    assert judge(match, only("onboarding"), datetime(2026, 11, 17, 7, 59, tzinfo=UTC)).hold
    assert passes(judge(match, only("onboarding"), datetime(2026, 11, 17, 8, 0, tzinfo=UTC)))


# Unhealthy


def health(match: Match, used_milli: int, at: datetime = NOW - DAY, **more: Any) -> Any:
    """A reading of the account's health."""
    return ReadingFactory(
        account=match.account,
        meter=MeterFactory(key="health", max_age_days=35),
        used_milli=used_milli,
        limit_milli=None,
        occurred_at=at,
        **more,
    )


def test_health_exactly_at_the_threshold_passes_and_a_thousandth_below_does_not() -> None:
    well, ill = waiting(account()), waiting(account())
    health(well, 60_000)
    health(ill, 59_999)
    assert passes(judge(well, only("unhealthy")))
    assert judge(ill, only("unhealthy")).hold == Hold("unhealthy", "health is 59.999, needed at least 60")


def test_unknown_health_holds_and_so_does_one_that_is_too_old() -> None:
    match = waiting(account())
    unknown = Hold("unhealthy", "the account's health is unknown")
    assert judge(match, only("unhealthy")).hold == unknown
    health(match, 90_000, NOW - 35 * DAY)
    assert judge(match, only("unhealthy")).hold == unknown
    assert passes(judge(match, only("unhealthy"), NOW - MICROSECOND))


def test_health_is_the_latest_that_had_been_told() -> None:
    match = waiting(account())
    known, late = health(match, 90_000), health(match, 10_000, NOW)
    run = RunFactory()
    IntakeBatch.objects.filter(pk=known.batch_id).update(seen_by_run=run.pk)
    assert passes(judge(match, only("unhealthy"), mark=run.pk))
    IntakeBatch.objects.filter(pk=late.batch_id).update(seen_by_run=run.pk)
    assert judge(match, only("unhealthy"), mark=run.pk).hold


def test_an_open_risk_holds_and_a_settled_one_or_a_gap_does_not() -> None:
    match = waiting(account())
    health(match, 90_000)
    FindingFactory(account=match.account, kind=Finding.Kind.GAP)
    assert passes(judge(match, only("unhealthy")))
    risk = FindingFactory(account=match.account, kind=Finding.Kind.RISK)
    assert judge(match, only("unhealthy")).hold == Hold("unhealthy", "a review left an open risk")
    FindingState.objects.filter(finding=risk).update(valid_to=NOW)
    FindingStateFactory(finding=risk, status=FindingState.Status.SETTLED, valid_from=NOW)
    assert judge(match, only("unhealthy"), NOW - MICROSECOND).hold
    assert passes(judge(match, only("unhealthy")))


# Tenure


@pytest.mark.parametrize(
    ("days", "answer"),
    [
        (0, Hold("tenure", "a customer for 0 days", datetime(2026, 12, 16, tzinfo=UTC))),
        (29, Hold("tenure", "a customer for 29 days", datetime(2026, 11, 17, tzinfo=UTC))),
        (30, Ceiling("tenure", Route.EMAIL, "a customer for 30 days: a light touch only")),
        (89, Ceiling("tenure", Route.EMAIL, "a customer for 89 days: a light touch only")),
        (90, Ceiling("tenure", Route.CSM, "a customer for 90 days: no sales outreach yet")),
        (179, Ceiling("tenure", Route.CSM, "a customer for 179 days: no sales outreach yet")),
        (180, None),
    ],
)
def test_the_ladder_of_tenure(days: int, answer: Any) -> None:
    judgement = judge(waiting(account(customer_since=TODAY - days * DAY)), only("tenure"))
    assert (judgement.hold or judgement.ceiling) == answer


def test_a_date_far_ahead_holds_without_an_end_and_stops_nobody() -> None:
    far = waiting(account(customer_since=date(9999, 12, 20)))
    hold = Hold("tenure", "a customer only from 9999-12-20 on", None)
    assert judge(far, only("tenure")).hold == hold
    settings = only("black_out", days=[{"from": "2026-11-16", "to": "9999-12-31"}])
    hold = Hold("black_out", "nothing is opened from 2026-11-16 to 9999-12-31", None)
    assert judge(far, settings).hold == hold


def test_tenure_asks_only_about_cross_sells_and_holds_where_it_is_unknown() -> None:
    fresh, unknown = waiting(account(customer_since=TODAY)), waiting(account(customer_since=None))
    assert passes(judge(fresh, only("tenure"), motion="seat_expansion"))
    assert passes(judge(unknown, only("tenure"), motion="seat_expansion"))
    hold = judge(unknown, only("tenure")).hold
    assert hold == Hold("tenure", "it is unknown since when the account is a customer")


# Dismissed


def dismissal(match: Match, at: datetime, key: str = "prompt_dismissed") -> Any:
    """Somebody waved a prompt away."""
    return SignalFactory(account=match.account, type=SignalTypeFactory(key=key), occurred_at=at)


def test_a_dismissal_holds_for_seven_days_to_the_microsecond() -> None:
    match = waiting(account())
    dismissal(match, NOW - 7 * DAY)
    assert passes(judge(match, only("dismissed")))
    hold = judge(match, only("dismissed"), NOW - MICROSECOND).hold
    assert hold == Hold("dismissed", "a prompt was dismissed on 2026-11-09", NOW)


def test_the_last_dismissal_counts_and_neither_a_future_one_nor_another_signal_nor_a_void_one() -> None:
    match = waiting(account())
    dismissal(match, NOW + MICROSECOND)
    dismissal(match, NOW - DAY, key="login")
    void = dismissal(match, NOW - DAY)
    SignalFactory(account=match.account, type=void.type, occurred_at=NOW - DAY, corrects=void, is_void=True)
    assert passes(judge(match, only("dismissed")))
    dismissal(match, NOW - 3 * DAY)
    dismissal(match, NOW - 2 * DAY)
    hold = judge(match, only("dismissed", days=14)).hold
    assert hold is not None
    assert hold.until == NOW + 12 * DAY


def test_a_dismissal_at_another_account_is_no_matter() -> None:
    dismissal(waiting(account()), NOW)
    assert passes(judge(waiting(account()), only("dismissed")))


# Cooling


def closed_play(row: Any, outcome: str, at: datetime, motion: str = "cross_sell") -> Any:
    """A play that was closed."""
    return PlayFactory(
        account=row,
        recipe__playbook=PlaybookFactory(motion=motion),
        stage="closed",
        outcome=outcome,
        outcome_reason="No budget",
        closed_at=at,
        interval=None,
    )


@pytest.mark.parametrize(("outcome", "holds"), [("declined", True), ("lost", True), ("won", False), ("expired", False)])
def test_a_declined_or_lost_play_of_the_motion_cools_for_sixty_days(outcome: str, holds: bool) -> None:
    match = waiting(account())
    closed_play(match.account, outcome, NOW - 60 * DAY)
    assert passes(judge(match, only("cooling")))
    hold = judge(match, only("cooling"), NOW - MICROSECOND).hold
    assert hold == (Hold("cooling", "declined or lost on 2026-09-17", NOW) if holds else None)


def test_a_declined_play_of_another_motion_cools_nothing() -> None:
    match = waiting(account())
    closed_play(match.account, "declined", NOW - DAY, motion="add_on")
    assert passes(judge(match, only("cooling")))


def test_a_trigger_that_fired_before_cools_for_its_own_days() -> None:
    match = waiting(account())
    play = closed_play(match.account, "won", NOW - DAY)
    first, last = RunFactory(), RunFactory()
    Match.objects.create(
        account=match.account,
        trigger=match.trigger,
        version=match.version,
        opened_run=first,
        opened_at=NOW - 31 * DAY,
        closed_run=last,
        closed_at=NOW - 5 * DAY,
        state="fired",
        play=play,
        fired_at=NOW - 30 * DAY,
    )
    assert passes(judge(match, only("cooling"), cooldown_days=30))
    hold = judge(match, only("cooling"), NOW - MICROSECOND, cooldown_days=30).hold
    assert hold == Hold("cooling", "fired before, on 2026-10-17", NOW)
    other = waiting(match.account)
    assert passes(judge(other, only("cooling"), NOW - MICROSECOND, cooldown_days=30))


# Crowded


def open_plays(row: Any, *motions: str) -> None:
    """Open plays at the account."""
    for motion in motions:
        PlayFactory(account=row, recipe__playbook=PlaybookFactory(motion=motion))


def test_three_open_plays_are_a_crowd_and_two_are_not() -> None:
    match = waiting(account())
    open_plays(match.account, "add_on", "service")
    closed_play(match.account, "won", NOW)
    assert passes(judge(match, only("crowded")))
    open_plays(match.account, "tier_upsell")
    assert judge(match, only("crowded")).hold == Hold("crowded", "plays open or about to open at this account: 3")
    assert passes(judge(match, only("crowded", open_plays=4)))


def test_who_folds_into_an_open_play_of_the_motion_crowds_nobody() -> None:
    match = waiting(account())
    open_plays(match.account, "add_on", "service", "cross_sell")
    assert passes(judge(match, only("crowded")))


def test_three_contacts_in_seven_days_are_a_crowd() -> None:
    match = waiting(account())
    play = closed_play(match.account, "won", NOW)
    for at in (NOW, NOW - DAY, NOW - 7 * DAY, NOW + MICROSECOND):
        TouchFactory(play=play, at=at)
    TouchFactory(play=play, at=NOW, direction="in")
    TouchFactory(at=NOW)
    assert passes(judge(match, only("crowded")))
    assert judge(match, only("crowded"), NOW - MICROSECOND).hold is None
    TouchFactory(play=play, at=NOW - 7 * DAY + MICROSECOND)
    assert judge(match, only("crowded")).hold == Hold("crowded", "contacted 3 times in 7 days")


def test_what_stands_in_the_queue_takes_room_before_all_that_comes_later() -> None:
    row = account()
    open_plays(row, "add_on")
    settings = only("crowded")
    run = RunFactory(moment=NOW)

    def queued(motion: str, hours: int, **more: Any) -> Match:
        of = PlaybookVersionFactory(playbook=PlaybookFactory(motion=motion))
        made: Match = MatchFactory(
            **{"waits": True, "queued_at": NOW + hours * HOUR, **more}, account=row, version=of, opened_run=run
        )
        return made

    second, first = queued("tier_upsell", 2), queued("cross_sell", 1)
    third = queued("seat_expansion", 3)
    newcomer, other = (
        queued(motion, 0, state="held", held_by="crowded", queued_at=None) for motion in ("tier_upsell", "service")
    )
    full = Hold("crowded", "plays open or about to open at this account: 3")
    told = {match.pk: judge(match, settings, motion=match.trigger.playbook.motion).hold for match in (first, second)}
    assert told == {first.pk: None, second.pk: None}
    assert judge(third, settings, motion="seat_expansion").hold == full
    # It folds into what stands there, and another motion finds four before it.
    assert judge(newcomer, settings, motion="tier_upsell").hold is None
    assert judge(other, settings, motion="service").hold == Hold("crowded", full.reason.replace("3", "4"))
    # What was let in goes before all, what was given up takes no room.
    Match.objects.filter(pk=third.pk).update(admitted_run=run)
    assert judge(third, settings, motion="seat_expansion").hold is None
    assert judge(second, settings, motion="tier_upsell").hold == full
    Match.objects.filter(pk=third.pk).update(stuck_at=NOW)
    assert judge(second, settings, motion="tier_upsell").hold is None


# Black-out


def test_black_out_days_hold_through_both_ends_in_the_company_time_zone(company_in: Callable[[str], None]) -> None:
    match = waiting(account())
    settings = only("black_out", days=[{"from": "2026-12-24", "to": "2026-12-31"}])
    company_in("America/New_York")
    begins = datetime(2026, 12, 24, 5, 0, tzinfo=UTC)
    ends = datetime(2027, 1, 1, 5, 0, tzinfo=UTC)
    assert passes(judge(match, settings, begins - MICROSECOND))
    hold = judge(match, settings, begins).hold
    assert hold == Hold("black_out", "nothing is opened from 2026-12-24 to 2026-12-31", ends)
    assert judge(match, settings, ends - MICROSECOND).hold == hold
    assert passes(judge(match, settings, ends))


def test_a_black_out_of_one_day() -> None:
    match = waiting(account())
    settings = only("black_out", days=[{"from": "2026-11-16", "to": "2026-11-16"}])
    hold = judge(match, settings).hold
    assert hold is not None
    assert hold.until == datetime(2026, 11, 17, tzinfo=UTC)
    assert passes(judge(match, settings, NOW + DAY))


def test_days_in_reasons_are_those_of_the_company_s_zone(company_in: Callable[[str], None]) -> None:
    company_in("Asia/Tokyo")
    match = waiting(account())
    evening = NOW.replace(hour=20)
    dismissal(match, evening)
    closed_play(match.account, "declined", evening)
    told = [judge(match, only(key), evening + DAY).hold for key in ("dismissed", "cooling")]
    assert [hold.reason for hold in told if hold] == [
        "a prompt was dismissed on 2026-11-17",
        "declined or lost on 2026-11-17",
    ]


# All of them


def test_guards_are_asked_in_one_order_and_the_first_hold_wins() -> None:
    row = account(lifecycle="free", activated_on=TODAY, customer_since=TODAY)
    match = waiting(row)
    dismissal(match, NOW)
    closed_play(row, "declined", NOW)
    open_plays(row, "add_on", "service", "tier_upsell")
    settings = settings_with(black_out={"days": [{"from": "2026-11-16", "to": "2026-11-16"}]})
    held_by = []
    for _ in guards():
        hold = judge(match, settings).hold
        if hold is None:
            break
        held_by.append(hold.guard)
        settings = {**settings, hold.guard: "off"}
    assert held_by == [
        "not_paying",
        "onboarding",
        "unhealthy",
        "tenure",
        "dismissed",
        "cooling",
        "crowded",
        "black_out",
    ]
    assert [guard.key for guard in guards()] == ["gone", *held_by]


def test_a_good_account_passes_all_of_them() -> None:
    match = waiting(account())
    health(match, 80_000)
    assert passes(judge(match, settings_with()))


@pytest.mark.parametrize("number", [1, 40])
def test_three_queries_for_a_playbook_whatever_the_number_of_matches(
    number: int, django_assert_num_queries: Any
) -> None:
    first = waiting(account())
    run = RunFactory()
    for _ in range(number - 1):
        MatchFactory(account=account(), version=first.version, trigger=first.trigger, opened_run=run)
    question = Question(NOW, Known.now(run.pk), "cross_sell")
    # The matches, the line at their accounts, and the facts of these.
    with django_assert_num_queries(3):
        judged = list(judge_matches(Match.objects.all(), question, settings_with()))
    assert len(judged) == number
