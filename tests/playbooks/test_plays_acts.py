"""Acts on plays: who may do what where, what is written, and what becomes of two people at the same instant."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, TimelineEntry
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    open_play_by_hand,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Interval, Outcome, Pause, Play, Stage, State, Touch
from csplaybooks.playbooks.moves import MOVES, possible, refusal
from csplaybooks.playbooks.pipeline.sweep import expire_plays, wake_plays, watch_all, work

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


def owned(**more: Any) -> Play:
    """A play that somebody owns."""
    play: Play = PlayFactory(opened_at=NOW, **more)
    return play


def done(answers: dict[int, str | None]) -> bool:
    """Whether an act was done on all it was asked for."""
    return set(answers.values()) == {None}


def broken() -> list[Any]:
    """The invariants that do not hold."""
    return [violation for violation in violations() if violation.count]


def intervals(play: Play) -> list[tuple[Any, ...]]:
    """Stage, state, who holds, from and to, in order."""
    rows = Interval.objects.filter(play=play).order_by("seq")
    return [(row.stage, row.state, row.held_by, row.valid_from, row.valid_to) for row in rows]


def story(play: Play) -> list[str]:
    """The lines of the timeline about a play, oldest first."""
    entries = TimelineEntry.objects.filter(subject_type="csplaybooks_playbooks.play", subject_id=play.pk)
    return list(entries.order_by("pk").values_list("text", flat=True))


# By hand


def test_a_play_opened_by_hand_goes_the_way_of_all_others() -> None:
    CalendarFactory()
    carla, manager = TeamMemberFactory(), UserFactory(username="mona")
    account = AccountFactory(csm=carla)
    playbook = PlaybookVersionFactory().playbook
    play = open_play_by_hand(
        account_id=account.pk, playbook_id=playbook.pk, reason="  They asked. ", now=NOW, actor=manager
    )
    assert (play.stage, play.origin, play.reason, play.route) == ("routed", "hand", "They asked.", "csm")
    assert intervals(play) == [("routed", "working", "tray", NOW, None)]
    entry = TimelineEntry.objects.get()
    assert entry.text == f"{playbook.name} opened by hand: They asked."
    assert (entry.actor, entry.actor_label, entry.account) == (manager, "mona", account)
    work(now=NOW)
    play.refresh_from_db()
    assert play.owner == carla
    assert play.clocks.count() == 1
    assert broken() == []


def test_what_stands_in_the_way_of_a_play_by_hand_is_named() -> None:
    account, playbook = AccountFactory(name="Acme"), PlaybookVersionFactory().playbook

    def refused(field: str, **changes: Any) -> str:
        wanted: dict[str, Any] = {"account_id": account.pk, "playbook_id": playbook.pk, "reason": "They asked."}
        with pytest.raises(ValidationError) as caught:
            open_play_by_hand(**{**wanted, **changes}, now=NOW)
        (message,) = caught.value.message_dict[field]
        return message

    assert refused("reason", reason=" ") == "Say why you open it by hand."
    assert refused("reason", reason="x" * 501) == "At most 500 characters, not 501."
    assert refused("reason", reason="a\0b") == "A NUL character cannot be kept."
    assert refused("playbook", playbook_id=PlaybookFactory().pk) == "This playbook was never published."
    assert refused("playbook", playbook_id=0) == "This playbook was never published."
    assert refused("account", account_id=0).startswith("This account was deleted or merged")
    Account.objects.filter(pk=account.pk).update(deleted_at=NOW)
    assert refused("account").startswith("This account was deleted or merged")
    Account.objects.filter(pk=account.pk).update(deleted_at=None)
    open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    assert refused("account") == "Acme has an open play of this motion already: Seat expansion."
    assert Play.objects.count() == 1
    assert Interval.objects.count() == 1


# The table of moves


@pytest.mark.parametrize(
    ("stage", "state", "acts"),
    [
        ("routed", "working", {"assign", "withdraw"}),
        ("owned", "working", {"assign", "start", "touch", "pause", "win", "lose", "decline", "expire", "withdraw"}),
        ("owned", "paused", {"assign", "touch", "resume", "win", "lose", "decline", "expire", "withdraw"}),
        ("owned", "offered", {"touch", "expire", "withdraw"}),
        ("running", "working", {"assign", "touch", "pause", "win", "lose", "decline", "expire", "withdraw"}),
        ("running", "paused", {"assign", "touch", "resume", "win", "lose", "decline", "expire", "withdraw"}),
        ("running", "offered", {"touch", "expire", "withdraw"}),
        ("closed", "working", set()),
        ("closed", "paused", set()),
    ],
)
def test_the_table_of_moves(stage: str, state: str, acts: set[str]) -> None:
    play = Play(stage=stage, state=state)
    assert set(possible(play)) == acts
    for verb in MOVES:
        assert ((play.stage, play.state) in MOVES[verb]) == (verb in acts)


def test_a_refused_act_names_what_is_possible_and_changes_nothing() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW)
    before = Play.objects.values().get()
    assert start_plays(play_ids=[play.pk], now=NOW) == {
        play.pk: "start is not possible: the play is routed and working; possible: assign, withdraw"
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
        play.pk: "assign is not possible: the play is closed; possible: nothing any more",
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


def test_a_paused_play_that_is_reassigned_stays_paused_and_wakes_when_it_was_to() -> None:
    CalendarFactory()
    play = owned()
    work(now=NOW)
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW + HOUR)
    carla = TeamMemberFactory()
    assert done(assign_plays(play_ids=[play.pk], owner_id=carla.pk, now=NOW + 2 * HOUR))
    assert play.clocks.get().state == "paused"
    assert wake_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert wake_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.state, play.owner, play.holder) == ("working", carla, carla)
    assert play.clocks.get().state == "running"
    assert broken() == []


def test_a_play_whose_time_runs_out_in_the_tray_is_withdrawn_and_frees_its_motion() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW, expires_at=NOW + DAY)
    assert expire_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.stage, play.outcome) == ("closed", "withdrawn")
    assert "before anybody owned it" in play.outcome_reason
    assert broken() == []


def test_a_contact_cannot_lie_before_its_play_and_one_before_its_owner_keeps_the_promise() -> None:
    CalendarFactory()
    play = PlayFactory(unowned=True, opened_at=NOW)
    with pytest.raises(ValidationError, match="before its play was opened"):
        log_touch(play_ids=[play.pk], channel="call", at=NOW - timedelta(seconds=1), now=NOW + HOUR)
    assign_plays(play_ids=[play.pk], owner_id=TeamMemberFactory().pk, now=NOW + 2 * HOUR)
    work(now=NOW + 2 * HOUR)
    assert done(log_touch(play_ids=[play.pk], channel="call", at=NOW + HOUR, now=NOW + 3 * HOUR))
    clock = play.clocks.get(target="first_touch")
    assert (clock.state, clock.done_at) == ("met", clock.started_at)
    assert broken() == []


def test_a_play_that_is_paused_until_later_does_not_expire_meanwhile() -> None:
    play = owned(expires_at=NOW + DAY)
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + 3 * DAY, now=NOW + HOUR)
    assert expire_plays(now=NOW + 2 * DAY) == 0
    assert expire_plays(now=NOW + 3 * DAY) == 1


def test_a_contact_starts_a_play_and_may_have_been_made_before() -> None:
    play = owned()
    assert done(log_touch(play_ids=[play.pk], channel="email", at=NOW + HOUR, now=NOW + 5 * HOUR, direction="in"))
    touch = Touch.objects.get()
    assert (touch.at, touch.direction, touch.account, touch.by_member) == (NOW + HOUR, "in", play.account, None)
    assert intervals(play)[-1] == ("running", "working", "member", NOW + 5 * HOUR, None)
    assert done(log_touch(play_ids=[play.pk], channel="email", now=NOW + 6 * HOUR))
    # The second one moves nothing.
    assert len(intervals(play)) == 2
    assert broken() == []


def test_a_contact_with_a_paused_play_leaves_it_paused() -> None:
    play = owned()
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    assert done(log_touch(play_ids=[play.pk], channel="call", now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.stage, play.state) == ("owned", "paused")
    assert broken() == []
    # It wakes as it was to.
    assert wake_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.state, play.holder) == ("working", play.owner)
    assert broken() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channel": "pigeon"}, "channel"),
        ({"direction": "up"}, "direction"),
        ({"at": NOW + HOUR}, "at"),
        ({"by_member_id": 0}, "by_member"),
        ({"note": "a\0b"}, "note"),
    ],
)
def test_a_contact_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        log_touch(**{"play_ids": [owned().pk], "channel": "call", "now": NOW, **changes})
    assert list(caught.value.message_dict) == [field]


def test_a_pause_needs_a_reason_and_wakes_in_the_future() -> None:
    play = owned()
    for changes in ({"reason": " "}, {"reason": "x" * 501}, {"reason": "Holidays", "wakes_at": NOW}):
        with pytest.raises(ValidationError):
            pause_plays(play_ids=[play.pk], now=NOW, **changes)
    assert len(intervals(play)) == 1


def test_paused_plays_wake_when_their_date_has_come_and_only_then() -> None:
    dated, lasting, ended = owned(), owned(), owned()
    pause_plays(play_ids=[dated.pk, ended.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    pause_plays(play_ids=[lasting.pk], reason="A reorganisation", now=NOW)
    resume_plays(play_ids=[ended.pk], now=NOW + HOUR)
    pause_plays(play_ids=[ended.pk], reason="Again", now=NOW + HOUR)
    assert wake_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert wake_plays(now=NOW + DAY) == 1
    assert wake_plays(now=NOW + DAY) == 0
    assert list(Play.objects.filter(state="paused").order_by("pk")) == [lasting, ended]
    assert Pause.objects.count() == 4
    assert broken() == []


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_closes(outcome: Outcome) -> None:
    play = owned()
    assert done(close_plays(play_ids=[play.pk], outcome=outcome, reason="No budget", now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.stage, play.outcome, play.closed_at) == ("closed", outcome, NOW + HOUR)
    assert broken() == []


def test_a_decline_needs_a_reason_and_an_outcome_must_be_one() -> None:
    play = owned()
    with pytest.raises(ValidationError, match="Say why it was declined"):
        close_plays(play_ids=[play.pk], outcome="declined", reason=" ", now=NOW)
    with pytest.raises(ValidationError, match="none of won, lost, declined, expired, withdrawn"):
        close_plays(play_ids=[play.pk], outcome="forgotten", now=NOW)
    with pytest.raises(ValidationError, match="At most 500 characters"):
        close_plays(play_ids=[play.pk], outcome="lost", reason="x" * 501, now=NOW)


def test_a_play_without_owner_may_be_withdrawn_and_the_account_gets_a_new_one() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW)
    assert done(close_plays(play_ids=[play.pk], outcome="withdrawn", now=NOW + HOUR))
    again = open_play_by_hand(account_id=play.account_id, playbook_id=play.playbook_id, reason="Now", now=NOW + HOUR)
    assert again.pk != play.pk
    assert broken() == []


def test_plays_expire_at_their_time_unless_they_were_closed() -> None:
    due, later, won = owned(expires_at=NOW + DAY), owned(expires_at=NOW + 2 * DAY), owned(expires_at=NOW + DAY)
    close_plays(play_ids=[won.pk], outcome="won", now=NOW)
    pause_plays(play_ids=[due.pk], reason="Holidays", now=NOW)
    assert expire_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert expire_plays(now=NOW + DAY) == 1
    assert expire_plays(now=NOW + DAY) == 0
    assert list(Play.objects.order_by("pk").values_list("outcome", flat=True)) == ["expired", "", "won"]
    assert later.pk
    assert broken() == []


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


# Two people at the same instant


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each work answers, all started at the same time, each on a connection of its own."""
    barrier = Barrier(len(works), timeout=60)

    def run(work: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(run, work) for work in works]]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_start_the_same_play_one_is_told() -> None:
    plays = [owned().pk for _ in range(8)]
    first, second = at_once(*[lambda: start_plays(play_ids=plays, now=NOW + HOUR)] * 2)
    for pk in plays:
        assert sorted([first[pk] or "", second[pk] or ""]) == [
            "",
            "start is not possible: the play is running and working; possible: "
            "assign, touch, pause, win, lose, decline, expire, withdraw",
        ]
    assert TimelineEntry.objects.count() == 8
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_assign_at_once_follow_each_other() -> None:
    plays = [owned().pk for _ in range(8)]
    carla, dora = TeamMemberFactory(), TeamMemberFactory()
    answers = at_once(
        lambda: assign_plays(play_ids=plays, owner_id=carla.pk, now=NOW + HOUR),
        lambda: assign_plays(play_ids=plays[::-1], owner_id=dora.pk, now=NOW + HOUR),
    )
    assert all(done(answer) for answer in answers)
    # Both were heard on each play, one after the other.
    assert set(Play.objects.values_list("owner", flat=True)) <= {carla.pk, dora.pk}
    assert Interval.objects.count() == 24
    assert not Play.objects.filter(version__lt=3).exists()
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_one_closes_while_another_pauses() -> None:
    CalendarFactory()
    plays = [owned().pk for _ in range(6)]
    work(now=NOW)
    closed, paused = at_once(
        lambda: close_plays(play_ids=plays, outcome="won", now=NOW + HOUR),
        lambda: pause_plays(play_ids=plays, reason="Holidays", now=NOW + HOUR),
    )
    assert done(closed)
    for pk in plays:
        assert paused[pk] is None or "the play is closed" in paused[pk]
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_who_open_the_same_motion_by_hand_get_one_play() -> None:
    account, playbook = AccountFactory(), PlaybookVersionFactory().playbook

    def open_it() -> str:
        try:
            open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
        except ValidationError as error:
            return str(error.message_dict["account"][0])
        return "opened"

    answers = sorted(at_once(*[open_it] * 4))
    assert answers[-1] == "opened"
    assert {answer.partition(" has ")[2] for answer in answers[:-1]} == {
        "an open play of this motion already: Seat expansion."
    }
    assert Play.objects.count() == 1
    assert broken() == []


# Anything, in any order, at any time

SECONDS = st.one_of(
    st.sampled_from([0, 0, 0, 1, -1, -30]),
    st.integers(0, 8 * 3600),
    st.sampled_from([HOUR, 4 * HOUR, 8 * HOUR, DAY, 3 * DAY]).map(lambda span: int(span.total_seconds())),
)
OPENING = ["open", "open", "work", "work"]
WORKING = ["assign", "start", "touch", "old touch", "pause", "dated pause", "resume"]
CLOSING = ["won", "declined", "withdrawn", "expire"]
DEEDS = st.sampled_from([*OPENING, *WORKING, *CLOSING, "watch", "watch", "wake"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(deeds=st.lists(st.tuples(DEEDS, SECONDS, st.integers(0, 2)), min_size=5, max_size=30))
def test_whatever_is_done_at_whatever_time_all_invariants_hold(deeds: list[tuple[str, int, int]]) -> None:
    with transaction.atomic():
        CalendarFactory()
        members = TeamMemberFactory.create_batch(2)
        accounts = AccountFactory.create_batch(3)
        draft = "key: any\nname: Any\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
        draft += "routes: [{route: csm}]\nexpires_days: 6\ntargets:\n"
        draft += "  - {target: first_touch, hours: 8}\n  - {target: closed, hours: 60, counting: wall}\n"
        playbook = PlaybookVersionFactory(playbook=PlaybookFactory(key="any", motion="add_on", draft=draft)).playbook
        now = NOW
        for deed, seconds, which in deeds:
            now += timedelta(seconds=seconds)
            ids = list(Play.objects.filter(account=accounts[which]).order_by("-pk").values_list("pk", flat=True)[:2])
            _do(deed, ids, accounts[which], playbook, members[which % 2], now)
            assert broken() == [], (deed, now)
        watch_all(now=now)
        assert broken() == []
        transaction.set_rollback(True)


def _do(deed: str, ids: list[int], account: Account, playbook: Any, member: Any, now: datetime) -> None:
    match deed:
        case "open":
            if not Play.objects.open().filter(account=account).exists():
                open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="Why not", now=now)
        case "work":
            work(now=now)
        case "watch":
            watch_all(now=now)
        case "wake":
            wake_plays(now=now)
        case "expire":
            expire_plays(now=now)
        case "assign":
            assign_plays(play_ids=ids, owner_id=member.pk, now=now)
        case "start":
            start_plays(play_ids=ids, now=now)
        case "touch":
            log_touch(play_ids=ids, channel="call", now=now)
        case "old touch":
            # A contact cannot lie before its play; of several plays the youngest counts.
            opened = Play.objects.filter(pk__in=ids).aggregate(latest=Max("opened_at"))["latest"]
            if opened is not None and opened <= now:
                log_touch(play_ids=ids, channel="call", at=max(now - 10 * HOUR, opened), now=now)
        case "pause":
            pause_plays(play_ids=ids, reason="Holidays", now=now)
        case "dated pause":
            pause_plays(play_ids=ids, reason="Holidays", wakes_at=now + 5 * HOUR, now=now)
        case "resume":
            resume_plays(play_ids=ids, now=now)
        case outcome:
            close_plays(play_ids=ids, outcome=outcome, reason="So it is", now=now)


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
