"""Acts on plays: which is possible where, what each of them writes, and who becomes the owner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.models import Interval, Play, Stage, State, Touch
from csplaybooks.playbooks.moves import MOVES, possible, refusal
from csplaybooks.playbooks.pipeline.sweep import watch_all, work
from tests.playbooks.plays import HOUR, NOW, broken, done, intervals, owned, story

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("stage", "state", "acts"),
    [
        ("routed", "working", {"assign", "claim", "withdraw"}),
        (
            "owned",
            "working",
            {
                "assign",
                "release",
                "start",
                "touch",
                "pause",
                "offer",
                "step",
                "skip_step",
                "win",
                "lose",
                "decline",
                "expire",
                "withdraw",
            },
        ),
        ("owned", "paused", {"assign", "touch", "resume", "win", "lose", "decline", "expire", "withdraw"}),
        ("owned", "offered", {"touch", "accept", "refuse", "take_back", "lapse", "step", "skip_step", "expire"}),
        (
            "running",
            "working",
            {
                "assign",
                "release",
                "touch",
                "pause",
                "offer",
                "step",
                "skip_step",
                "win",
                "lose",
                "decline",
                "expire",
                "withdraw",
            },
        ),
        ("running", "paused", {"assign", "touch", "resume", "win", "lose", "decline", "expire", "withdraw"}),
        ("running", "offered", {"touch", "accept", "refuse", "take_back", "lapse", "step", "skip_step", "expire"}),
        ("closed", "working", set()),
        ("closed", "paused", set()),
    ],
)
def test_the_table_of_moves(stage: str, state: str, acts: set[str]) -> None:
    play = Play(stage=stage, state=state, owner_id=None if stage == "routed" else 1)
    play.has_step_to_do = True  # type: ignore[attr-defined]
    assert set(possible(play)) == acts
    for verb, row in MOVES.items():
        # What has an owner is claimed where it stands in the tray alone.
        assert ((play.stage, play.state) in row.places) == (verb in acts) or (verb, stage) in {
            ("claim", "owned"),
            ("claim", "running"),
        }


def test_a_refused_act_names_what_is_possible_and_changes_nothing() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW)
    before = Play.objects.values().get()
    assert start_plays(play_ids=[play.pk], now=NOW) == {
        play.pk: "Start is not possible: the play is routed and working; possible: Assign, Claim, Withdraw"
    }
    assert not done(log_touch(play_ids=[play.pk], channel="call", now=NOW))
    assert not done(pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW))
    assert not done(resume_plays(play_ids=[play.pk], now=NOW))
    for outcome in ("won", "lost", "declined", "expired"):
        assert not done(close_plays(play_ids=[play.pk], outcome=outcome, reason="No", now=NOW))
    assert Play.objects.values().get() == before
    assert Interval.objects.count() == 1
    assert Touch.objects.count() == TimelineEntry.objects.count() == 0


def test_a_closed_play_and_one_that_never_was() -> None:
    play = owned()
    close_plays(play_ids=[play.pk], outcome="won", now=NOW)
    assert assign_plays(play_ids=[play.pk, 0], owner_id=TeamMemberFactory().pk, now=NOW) == {
        play.pk: "Assign is not possible: the play is closed; possible: nothing any more",
        0: "there is no such play",
    }
    assert refusal("win", None) == "there is no such play"


def test_good_and_bad_are_answered_each_for_itself_and_doubled_ids_once() -> None:
    good, closed = owned(), owned()
    close_plays(play_ids=[closed.pk], outcome="won", now=NOW)
    answers = start_plays(play_ids=[good.pk, closed.pk, good.pk, 0], now=NOW)
    assert list(answers) == [good.pk, closed.pk, 0]
    assert answers[good.pk] is None
    assert None not in (answers[closed.pk], answers[0])
    assert story(good) == [f"{good.playbook.name}: Started"]


# What each act writes


def test_the_life_of_a_play_is_told_without_gap() -> None:
    play, dora = owned(), TeamMemberFactory(name="Dora")
    steps: list[Callable[[datetime], dict[int, str | None]]] = [
        lambda at: start_plays(play_ids=[play.pk], now=at),
        lambda at: pause_plays(play_ids=[play.pk], reason="Holidays", now=at),
        lambda at: resume_plays(play_ids=[play.pk], now=at),
        lambda at: assign_plays(play_ids=[play.pk], owner_id=dora.pk, now=at),
        lambda at: log_touch(play_ids=[play.pk], channel="call", note="They like it", now=at),
        lambda at: close_plays(play_ids=[play.pk], outcome="lost", reason="Budget", now=at),
    ]
    for hour, step in enumerate(steps, start=1):
        assert done(step(NOW + hour * HOUR))
    assert intervals(play) == [
        ("owned", "working", "member", NOW, NOW + HOUR),
        ("running", "working", "member", NOW + HOUR, NOW + 2 * HOUR),
        ("running", "paused", "customer", NOW + 2 * HOUR, NOW + 3 * HOUR),
        ("running", "working", "member", NOW + 3 * HOUR, NOW + 4 * HOUR),
        ("running", "working", "member", NOW + 4 * HOUR, NOW + 6 * HOUR),
    ]
    name = play.playbook.name
    assert story(play) == [
        f"{name}: Started",
        f"{name}: Paused: Holidays",
        f"{name}: Resumed",
        f"{name}: Assigned to Dora",
        f"{name}: Contact logged: Call: They like it",
        f"{name}: Lost: Budget",
    ]
    play.refresh_from_db()
    assert (play.stage, play.outcome, play.outcome_reason, play.closed_at) == (
        "closed",
        "lost",
        "Budget",
        NOW + 6 * HOUR,
    )
    assert play.owner == dora
    assert play.version == 6
    assert broken() == []


def test_assigning_makes_an_owner_of_a_play_in_the_tray() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW)
    carla = TeamMemberFactory()
    assert done(assign_plays(play_ids=[play.pk], owner_id=carla.pk, now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.stage, play.owner, play.holder, play.tray_at) == ("owned", carla, carla, None)
    assert broken() == []


def test_nobody_who_left_becomes_an_owner() -> None:
    gone = TeamMemberFactory(is_active=False)
    for member_id in (gone.pk, 0):
        with pytest.raises(ValidationError, match="left, or never was"):
            assign_plays(play_ids=[owned().pk], owner_id=member_id, now=NOW)


def test_an_act_dated_before_the_last_one_happens_right_after_it() -> None:
    play = owned()
    start_plays(play_ids=[play.pk], now=NOW + HOUR)
    # The clock of another machine is behind.
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + HOUR - timedelta(seconds=5))
    play.refresh_from_db()
    assert play.closed_at == NOW + HOUR
    assert intervals(play)[-1][3:] == (NOW + HOUR, NOW + HOUR)
    assert broken() == []


def test_a_play_without_open_interval_is_not_moved() -> None:
    play = PlayFactory(interval=None)
    with pytest.raises(RuntimeError, match="without an open interval"):
        move_plays([Move(play.pk, Stage.RUNNING, State.WORKING, None, None, Interval.HeldBy.TRAY)], NOW)


@pytest.mark.parametrize("number", [1, 30])
def test_an_act_takes_the_same_number_of_queries_on_one_play_or_many(
    number: int, django_assert_max_num_queries: Any
) -> None:
    CalendarFactory()
    recipe, owner = PlaybookVersionFactory(), TeamMemberFactory()
    ids = [owned(recipe=recipe, owner=owner).pk for _ in range(number)]
    work(now=NOW)
    with django_assert_max_num_queries(16):
        assert done(start_plays(play_ids=ids, now=NOW))
    with django_assert_max_num_queries(24):
        assert done(pause_plays(play_ids=ids, reason="Holidays", now=NOW))
    with django_assert_max_num_queries(36):
        assert done(close_plays(play_ids=ids, outcome="won", now=NOW))


def test_no_act_reads_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> datetime:
        raise AssertionError("time is an argument")

    CalendarFactory()
    play = owned()
    carla = TeamMemberFactory()
    monkeypatch.setattr(timezone, "now", forbidden)
    work(now=NOW)
    assign_plays(play_ids=[play.pk], owner_id=carla.pk, now=NOW)
    log_touch(play_ids=[play.pk], channel="call", now=NOW)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW)
    resume_plays(play_ids=[play.pk], now=NOW)
    watch_all(now=NOW)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW)
    assert broken() == []
