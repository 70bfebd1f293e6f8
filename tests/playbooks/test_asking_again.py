"""Guards are asked again when a match is let in, and again when its play is opened: what has come between holds it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.acts.companies import set_facts
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.budget import look_at_queue
from csplaybooks.playbooks.factories import (
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
    TouchFactory,
    TriggerFactory,
)
from csplaybooks.playbooks.guards import Ceiling, Guard, Hold, register
from csplaybooks.playbooks.guards import registry as module
from csplaybooks.playbooks.models import Match, Play, Playbook, Route, Run
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.runs import admit_waiting, judge_held
from csplaybooks.playbooks.steps import is_let_in
from tests.playbooks.plays import broken

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db

BLACK_OUT = 'black_out: {days: [{from: "2026-11-17", to: "2026-11-20"}]}'
OVER = datetime(2026, 11, 21, tzinfo=UTC)


def version(key: str = "k", guards: str = "", motion: str = "seat_expansion") -> Any:
    """A published playbook worked by CSMs, with guards that health is none of."""
    draft = PlaybookFactory.build(key=key, motion=motion).draft + f"guards: {{unhealthy: off, {guards}}}\n"
    return PlaybookVersionFactory(playbook=PlaybookFactory(key=key, motion=motion, draft=draft))


def queued(of: Any, run: Run, **more: Any) -> Match:
    """A match of a playbook that waits for room; with `waits=False` it has been let in."""
    trigger = TriggerFactory(playbook=of.playbook)
    match: Match = MatchFactory(
        **{"waits": True, "route": "csm", "version": of, "trigger": trigger, "opened_run": run, **more}
    )
    return match


def now_said(match: Match) -> tuple[Any, ...]:
    """What is said of a match now, which its last step says too."""
    match.refresh_from_db()
    step = match.steps.latest("pk")
    said = (match.state, is_let_in(match), match.held_by, match.held_until)
    assert (step.state, step.admitted, step.held_by, step.held_until) == said
    assert (step.held_reason, step.ceiling) == (match.held_reason, match.ceiling)
    return said


def test_what_a_black_out_finds_in_the_queue_is_held_and_its_room_goes_to_the_next() -> None:
    dark, light = version("dark", BLACK_OUT), version("light", motion="add_on")
    run = RunFactory(moment=NOW)
    TeamMemberFactory(open_play_cap=1)
    best, second = (queued(dark, run, expected_value_minor=worth) for worth in (900, 800))
    other = queued(light, run, expected_value_minor=1)
    assert admit_waiting(now=NOW + DAY) == 1
    for match in (best, second):
        assert now_said(match) == ("held", False, "black_out", OVER)
        step = match.steps.latest("pk")
        assert (step.run, step.in_run, step.at) == (run, False, NOW + DAY)
    assert now_said(other) == ("queued", True, "", None)
    Change.objects.update(seen_by_run=run.pk)
    assert judge_held(now=OVER) == 2
    assert [now_said(match)[:2] for match in (best, second)] == [("queued", False)] * 2
    assert broken() == []


def test_contacts_that_filled_the_window_meanwhile_hold_it() -> None:
    TeamMemberFactory()
    match = queued(version(guards="crowded: {contacts: 1}"), RunFactory(moment=NOW))
    play = PlayFactory(account=match.account, recipe__playbook__motion="add_on", opened_at=NOW - DAY)
    TouchFactory(play=play, at=NOW + timedelta(hours=1))
    assert admit_waiting(now=NOW + timedelta(hours=2)) == 0
    assert now_said(match) == ("held", False, "crowded", None)


def test_what_was_let_in_before_the_black_out_is_not_opened_in_it() -> None:
    dark, light = version("dark", BLACK_OUT), version("light", motion="add_on")
    run = RunFactory(moment=NOW)
    held, opens = queued(dark, run, waits=False), queued(light, run, waits=False)
    assert open_plays(now=NOW + DAY) == 2
    assert now_said(held) == ("held", False, "black_out", OVER)
    assert now_said(opens)[0] == "fired"
    assert Play.objects.get() == opens.play
    assert broken() == []


def test_who_has_left_a_moment_ago_gets_no_play_though_no_run_has_heard_of_it() -> None:
    TeamMemberFactory()
    run = RunFactory(moment=NOW)
    waits, let_in = queued(version("a"), run), queued(version("b"), run, waits=False)
    ids = [waits.account_id, let_in.account_id]
    set_facts(account_ids=ids, facts={"lifecycle": "churned"}, effective_at=NOW, now=NOW, actor=None)
    assert (admit_waiting(now=NOW), open_plays(now=NOW)) == (0, 1)
    assert now_said(waits) == now_said(let_in) == ("held", False, "gone", None)
    assert not Play.objects.exists()


def test_of_a_playbook_that_runs_no_more_the_version_of_the_match_is_asked() -> None:
    TeamMemberFactory()
    run = RunFactory(moment=NOW)
    match = queued(version(guards=BLACK_OUT), run)
    Playbook.objects.update(is_active=False)
    assert admit_waiting(now=NOW + DAY) == 0
    assert now_said(match) == ("held", False, "black_out", OVER)


class Moody(Guard):
    """Says what a test makes it say."""

    key = "moody"
    says: Any = None

    def judge(self, question: Any, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
        if isinstance(Moody.says, Exception):
            raise Moody.says
        return Moody.says


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Registers a guard that passes, until it is told otherwise."""
    monkeypatch.setattr(module, "_registry", dict(module._registry))
    register(Moody)
    return lambda says: monkeypatch.setattr(Moody, "says", says)


def test_a_ceiling_comes_down_with_the_route_and_goes_up_in_a_run_only(moody: Any) -> None:
    TeamMemberFactory(open_play_cap=5)
    run = RunFactory(moment=NOW)
    kept, lowered = version("kept", "moody: off"), version("lowered", motion="add_on")
    low = queued(kept, run, ceiling="email", route="email")
    high, late = queued(lowered, run), queued(lowered, run, waits=False)
    moody(Ceiling("moody", Route.EMAIL, "by mail"))
    assert admit_waiting(now=NOW) == 2
    assert [now_said(match)[:2] for match in (low, high)] == [("queued", True)] * 2
    assert (high.ceiling, high.route, low.ceiling) == ("email", "email", "email")
    moody(Ceiling("moody", Route.SELF_SERVE, "by themselves"))
    assert open_plays(now=NOW) == 3
    assert now_said(late)[0] == "fired"
    assert {match.play.route for match in Match.objects.filter(version=lowered)} == {"self_serve"}
    low.refresh_from_db()
    assert low.play is not None
    assert low.play.route == "email"
    assert broken() == []


def test_a_guard_that_fails_lets_nothing_in_and_stops_no_other_playbook(
    moody: Any, caplog: pytest.LogCaptureFixture
) -> None:
    TeamMemberFactory(open_play_cap=1)
    run = RunFactory(moment=NOW)
    fails, goes = queued(version("a"), run, expected_value_minor=9), queued(version("b", "moody: off"), run)
    moody(ZeroDivisionError("a guard of a host"))
    assert admit_waiting(now=NOW) == 1
    assert now_said(fails) == ("queued", False, "", None)
    assert now_said(goes) == ("queued", True, "", None)
    assert "could not be asked again" in caplog.text
    # Whoever opens plays tries it again, a few times.
    let_in = queued(version("c"), run, waits=False)
    assert open_plays(now=NOW) == 2
    let_in.refresh_from_db()
    assert (let_in.state, let_in.attempts, let_in.last_error) == ("queued", 1, "ZeroDivisionError: a guard of a host")
    assert now_said(goes)[0] == "fired"


@pytest.mark.parametrize("number", [2, 40])
def test_what_is_refused_takes_the_same_number_of_queries_however_much_it_is(
    number: int, moody: Any, django_assert_num_queries: Any
) -> None:
    refused, goes = version("a"), version("b", "moody: off", motion="add_on")
    run = RunFactory(moment=NOW)
    TeamMemberFactory(open_play_cap=1)
    moody(Hold("moody", "not today"))
    for _ in range(number):
        queued(refused, run, expected_value_minor=9)
        queued(goes, run)
    with django_assert_num_queries(56):
        assert look_at_queue(at=NOW, run_id=run.pk, in_run=False).admitted == 1
    assert Match.objects.filter(held_by="moody").count() == number
