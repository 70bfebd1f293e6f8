"""Steps tell what was said of a match at any run, and the sums of a run close, or it says so."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Count

from csplaybooks.accounts.acts.companies import NewAccount, create_accounts
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks import sums, verdicts
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.doctor.findings import Level, Look
from csplaybooks.playbooks.doctor.waiting import run_errors
from csplaybooks.playbooks.factories import PlaybookFactory, PlayFactory
from csplaybooks.playbooks.models import Match, MatchStep, Play, Playbook, PlayMatch, Run
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import admit_waiting, judge_held, run_triggers
from tests.playbooks.inputs import account, assert_all_runs_replay, seats
from tests.playbooks.plays import broken

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db

GUARDS = "guards:\n  {{onboarding: off, unhealthy: off, not_paying: off, cooling: off, crowded: {crowded}}}\n"


@pytest.fixture
def seats_playbook(library: None) -> Playbook:
    """The only playbook that runs: seats above 80 %, worked by CSMs, waiting three days at most."""
    Playbook.objects.update(is_active=False)
    return _publish("seats", "off", NOW)


def _publish(key: str, crowded: str, now: datetime) -> Playbook:
    draft = PlaybookFactory.build(key=key).draft + GUARDS.format(crowded=crowded) + "queue_days: 3\n"
    playbook = save_draft(text=draft, now=now)
    publish_playbook(playbook_id=playbook.pk, now=now)
    return playbook


def states() -> dict[int, tuple[str, bool, str]]:
    """What is said of each match now."""
    rows = Match.objects.values_list("pk", "state", "admitted_run", "held_by")
    return {pk: (state, state == "queued" and run is not None, by) for pk, state, run, by in rows}


def steps_after(run: Run) -> dict[int, tuple[str, bool, str]]:
    """What the steps say was said at the end of a run."""
    steps = MatchStep.objects.all().last_after(run.pk)
    return {
        pk: (state, admitted, by)
        for pk, state, admitted, by in steps.values_list("match", "state", "admitted", "held_by")
    }


def test_an_episode_leaves_a_step_at_each_turn(seats_playbook: Playbook) -> None:
    csm = TeamMemberFactory(open_play_cap=0)
    account("acme")
    seats("acme", 19, 20)
    run_triggers(now=NOW)
    first = Run.objects.get()
    csm.open_play_cap = 1
    csm.save(update_fields=["open_play_cap"])
    run_triggers(now=NOW + HOUR, full=True)
    second = Run.objects.newest()
    assert second is not None
    assert open_plays(now=NOW + 2 * HOUR) == 1
    seats("acme", 1, 20, at=NOW + 3 * HOUR)
    run_triggers(now=NOW + 3 * HOUR)
    match = Match.objects.get()
    assert match.closed_run is not None
    # That the episode ended after it fired is no step.
    assert list(match.steps.values_list("state", "admitted", "run", "in_run", "at")) == [
        ("queued", False, first.pk, True, NOW),
        ("queued", True, second.pk, True, NOW + HOUR),
        ("fired", False, second.pk, False, NOW + 2 * HOUR),
    ]
    assert steps_after(first) == {match.pk: ("queued", False, "")}
    assert steps_after(second) == {match.pk: ("queued", True, "")}
    assert broken() == []


def test_what_a_full_account_holds_loses_its_admission(seats_playbook: Playbook) -> None:
    _publish("seats", "{open_plays: 1}", NOW)
    TeamMemberFactory()
    acme = account("acme")
    seats("acme", 19, 20)
    run_triggers(now=NOW)
    play = PlayFactory(account=acme, recipe__playbook__motion="add_on", opened_at=NOW)
    assert open_plays(now=NOW) == 1
    match = Match.objects.get()
    assert (match.state, match.held_by, match.admitted_run, match.queued_at) == ("held", "crowded", None, None)
    close_plays(play_ids=[play.pk], outcome="withdrawn", now=NOW + DAY)
    assert judge_held(now=NOW + DAY) == 1
    match.refresh_from_db()
    assert (match.state, match.queued_at, match.waits_until) == ("queued", NOW + DAY, NOW + 4 * DAY)
    assert match.admitted_run == Run.objects.newest()
    told = list(match.steps.values_list("state", "admitted", "held_by", "in_run"))
    assert told == [
        ("queued", False, "", True),
        ("queued", True, "", True),
        ("held", False, "crowded", False),
        ("queued", False, "", False),
        ("queued", True, "", False),
    ]
    assert broken() == []


@pytest.mark.parametrize("seed", range(3))
def test_steps_tell_the_state_at_every_run_of_a_random_month(seats_playbook: Playbook, seed: int) -> None:
    """Whatever happens in whatever order: after each run the steps said what the matches said, and still do."""
    dice = random.Random(seed)
    TeamMemberFactory(open_play_cap=2)
    names = [f"a{number}" for number in range(6)]
    for name in names:
        account(name)
    seats(names[0], 19, 20)
    run_triggers(now=NOW)
    said: dict[int, Any] = {}
    now = NOW
    for _ in range(25):
        now += timedelta(hours=dice.randint(1, 30))
        match dice.choice(["seats", "seats", "seats", "run", "full", "work", "sweep", "close", "guard"]):
            case "seats":
                seats(dice.choice(names), dice.choice([1, 19]), 20, at=now)
                run_triggers(now=now)
            case "run":
                run_triggers(now=now)
            case "full":
                run_triggers(now=now, full=True)
            case "work":
                work(now=now)
            case "sweep":
                judge_held(now=now)
                admit_waiting(now=now)
            case "close":
                plays = list(Play.objects.open().filter(owner__isnull=False).values_list("pk", flat=True)[:1])
                if plays:
                    close_plays(play_ids=plays, outcome="won", now=now)
            case "guard":
                _publish("seats", dice.choice(["off", "{contacts: 1}"]), now)
        newest = Run.objects.newest()
        if newest is not None and newest.pk not in said:
            said[newest.pk] = states()
    assert broken() == []
    for run in Run.objects.filter(pk__in=said):
        assert steps_after(run) == said[run.pk]
        assert run.errors == {}
    assert_all_runs_replay()


def test_the_sums_of_a_run_close_over_the_accounts_it_looked_at(seats_playbook: Playbook, settings: Any) -> None:
    TeamMemberFactory(open_play_cap=1)
    for name in ("acme", "bolt", "core"):
        account(name)
        seats(name, 19, 20)
    run_triggers(now=NOW)
    work(now=NOW)
    seats("bolt", 1, 20, at=NOW + HOUR)
    run_triggers(now=NOW + HOUR)
    trigger = str(Match.objects.values_list("trigger", flat=True).distinct().get())
    changed = Run.objects.newest()
    assert changed is not None
    assert changed.counts[trigger]["episodes"]["all"] == 1
    assert "verdicts" not in changed.counts[trigger]
    run_triggers(now=NOW + HOUR, full=True)
    full = Run.objects.newest()
    assert full is not None
    counts = full.counts[trigger]
    by_state = dict(Match.objects.order_by().values_list("state").annotate(n=Count("pk")))
    told = {state: number for state, number in counts["episodes"].items() if number and state != "all"}
    assert (counts["episodes"]["all"], told) == (3, by_state)
    assert sum(counts["verdicts"].values()) == Account.objects.count()
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "FULL_RUN_ACCOUNTS": 2}
    run_triggers(now=NOW + 2 * HOUR, full=True)
    while run_next_part(now=NOW + 2 * HOUR) is not None:
        pass
    parts = list(Run.objects.filter(kind="part"))
    assert len(parts) == 2
    assert [sum(part.counts[trigger]["verdicts"].values()) for part in parts] == [part.accounts for part in parts]
    assert not Run.objects.exclude(errors={}).exists()


def test_a_sum_that_does_not_close_is_told_and_makes_the_doctor_red(
    seats_playbook: Playbook, caplog: pytest.LogCaptureFixture
) -> None:
    account("acme")
    seats("acme", 19, 20)
    run_triggers(now=NOW)
    assert open_plays(now=NOW) == 1
    assert [finding.level for finding in run_errors(Look(NOW))] == [Level.OK]
    # Somebody writes to the database past the program.
    PlayMatch.objects.all().delete()
    run_triggers(now=NOW + HOUR, full=True)
    run = Run.objects.newest()
    assert run is not None
    trigger = Match.objects.get().trigger_id
    assert run.errors == {f"sum:{trigger}": f"trigger {trigger}: 0 links to plays are not 1 fired + 0 folded"}
    assert "does not close" in caplog.text
    finding = next(run_errors(Look(NOW)))
    assert finding.level == Level.RED
    assert "0 links to plays are not 1 fired + 0 folded" in finding.seen


def test_verdicts_that_cannot_be_counted_stop_no_run(
    seats_playbook: Playbook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> None:
        raise ZeroDivisionError("a measure of a host")

    monkeypatch.setattr("csplaybooks.playbooks.sums.counts_of_run", fails)
    account("acme")
    seats("acme", 19, 20)
    run_triggers(now=NOW, full=True)
    match, run = Match.objects.get(), Run.objects.get()
    assert match.admitted_run == run
    said = f"trigger {match.trigger_id}: its verdicts could not be counted: ZeroDivisionError: a measure of a host"
    assert run.errors == {f"sum:{match.trigger_id}": said}
    assert run.counts[str(match.trigger_id)]["episodes"]["queued"] == 1


def test_an_account_made_while_a_run_is_under_way_belongs_to_the_next(
    seats_playbook: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = verdicts.how_far

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr("csplaybooks.playbooks.episodes.how_far", looked)
        create_accounts(items=[NewAccount(name="late")], now=NOW, actor=None)
        return looked(*args)

    monkeypatch.setattr("csplaybooks.playbooks.episodes.how_far", meanwhile)
    account("acme")
    run_triggers(now=NOW, full=True)
    run = Run.objects.get()
    assert (run.accounts, run.errors) == (1, {})
    assert [sum(told["verdicts"].values()) for told in run.counts.values()] == [1]
    run_triggers(now=NOW, full=True)
    run = Run.objects.order_by("-pk")[0]
    assert (run.accounts, run.errors) == (2, {})


def test_episodes_that_were_told_of_and_never_written_are_a_fault(
    seats_playbook: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    account("acme")
    seats("acme", 19, 20)
    monkeypatch.setattr(sums, "count_episodes", lambda *args: {})
    run_triggers(now=NOW, full=True)
    [fault] = Run.objects.get().errors.values()
    assert fault.endswith("it opened 1, and 0 rows say so; it matched 1, and 0 rows say so")


def test_a_verdict_too_many_is_a_fault(seats_playbook: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = verdicts.counts_of_run
    monkeypatch.setattr("csplaybooks.playbooks.sums.counts_of_run", lambda *args: {**counted(*args), "fired": 7})
    account("acme")
    run_triggers(now=NOW, full=True)
    assert "8 verdicts are not the 1 accounts that it looked at" in str(Run.objects.get().errors)
