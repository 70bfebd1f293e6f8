"""One owner at every second: whatever is done to plays, and whenever, they stand as a plain account of it says.

A state machine of hypothesis does what people, calendars and the watcher do, several things at one instant among it,
and keeps a plain account beside it (`tests.playbooks.plain_ownership`). After every step owner, holder and intervals
are those of the account, the intervals tile and add up to the time that has passed; whenever the watcher has looked,
each promise was breached exactly when the account says that it was due, or is due then, and is excused while that lies
behind the breach, or for good by a person.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from csplaybooks.accounts.acts.members import add_absence, change_member
from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import Absence
from csplaybooks.playbooks.acts.calendars import DayHours, WeekHours, change_calendar
from csplaybooks.playbooks.acts.clocks import excuse_breaches, follow_published_targets
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    open_play_by_hand,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, CalendarUseFactory, PlaybookFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import Clock, ClockEvent, Interval, Play
from csplaybooks.playbooks.pipeline.sweep import lapse_waiting_offers, wake_plays, watch_all, work
from tests.examples import examples
from tests.playbooks.plain_ownership import QUARTER, PlainCalendar, PlainClock, PlainPlay, Stretch, due
from tests.playbooks.plays import broken

#: Two days before the clocks change in Berlin and Casablanca, and nine before they do in Lord Howe.
BEGIN = datetime(2026, 3, 27, 9, 0, tzinfo=UTC)

DRAFT = """\
key: any
name: Any
motion: add_on
triggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]
routes: [{route: csm}]
expires_days: 700
targets:
  - {target: first_touch, hours: %(first_touch)s}
  - {target: closed, hours: %(closed)s, counting: wall}
  - {target: handoff_accepted, hours: %(handoff_accepted)s, lapse_after_hours: 5}
"""

FIRST_TOUCH, HANDOFF, CLOSED = "first_touch", "handoff_accepted", "closed"
#: In quarters.
PROMISED = {FIRST_TOUCH: 24, HANDOFF: 8, CLOSED: 120}
OTHERS = st.fixed_dictionaries(
    {
        FIRST_TOUCH: st.sampled_from([90, 24, 4]),
        HANDOFF: st.sampled_from([20, 8, 2]),
        CLOSED: st.sampled_from([600, 200, 120, 40]),
    }
)
LAPSES = 20

OFFICE = ((9 * 60, 17 * 60),)
SPLIT = ((8 * 60, 12 * 60), (13 * 60 + 30, 17 * 60 + 45))
NIGHT = ((20 * 60, 29 * 60),)
WEEKS = st.sampled_from(
    [
        (OFFICE,) * 5 + ((),) * 2,
        (SPLIT,) * 6 + ((),),
        (NIGHT,) * 7,
        (((0, 1440),),) * 7,
    ]
)
ZONES = st.sampled_from(["", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran"])
DAYS_CLOSED = st.frozensets(st.integers(0, 12).map(lambda number: (BEGIN + timedelta(days=number)).date()), max_size=3)
SPANS = st.one_of(
    st.sampled_from([1, 4, 24, 96]),
    st.integers(0, 40),
    st.sampled_from([3 * 96, 5 * 96]),
)
WHICH = st.integers(0, 2)


class Ownership(RuleBasedStateMachine):
    """Three accounts with a play each, three people who may own and be offered, and a manager above them."""

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.now = BEGIN
        self.watched = False
        self.manager = TeamMemberFactory(
            name="Morgan", is_customer_success_manager=False, is_manager=True, manager=None
        )
        self.members = [
            TeamMemberFactory(name=name, is_account_executive=True, manager=self.manager, open_play_cap=50)
            for name in ("Ana", "Bo", "Cem")
        ]
        self.zones = {member.pk: "" for member in (*self.members, self.manager)}
        self.default = CalendarFactory(zone="Europe/Berlin")
        self.other = CalendarFactory(key="other", is_default=False, zone="Australia/Lord_Howe")
        CalendarUseFactory(calendar=self.other, member=self.members[1])
        week = (OFFICE,) * 5 + ((),) * 2
        self.calendars = {
            self.default.pk: PlainCalendar("Europe/Berlin", week),
            self.other.pk: PlainCalendar("Australia/Lord_Howe", week),
        }
        self.accounts = AccountFactory.create_batch(3)
        self.playbook = PlaybookFactory(key="any", motion="add_on", draft="")
        self.promised: dict[str, int] = {}
        self.versions = 0
        self._publish(PROMISED)
        self.plays: dict[int, PlainPlay] = {}
        self.open: list[int | None] = [None, None, None]
        self.away: set[int] = set()

    def teardown(self) -> None:
        """Look once more at all that has fallen due, then forget everything."""
        try:
            self.watch()
            self.stands_as_the_account_says()
            assert broken() == []
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    @initialize()
    def all_are_open(self) -> None:
        """There is something to do from the start, on each account."""
        for which in range(3):
            self.open_by_hand(which)

    # What people do. Each act is done on the play of one account, whatever it is worth there: what the account of it
    # does not allow, the system must refuse.

    @rule(which=WHICH)
    def open_by_hand(self, which: int) -> None:
        """A play is opened, and the workers give it an owner."""
        if self.open[which] is not None:
            return
        play = open_play_by_hand(
            account_id=self.accounts[which].pk, playbook_id=self.playbook.pk, reason="Why not", now=self.now
        )
        self.open[which] = play.pk
        work(now=self.now)
        owner = Play.objects.get(pk=play.pk).owner_id
        plain = PlainPlay([Stretch(self.now, None, None, None, "routed", "working")], self.promised)
        self.plays[play.pk] = plain
        # Who of those who are here is the routing's affair; that it is one of them is not.
        assert (owner is None) == (len(self.away) == len(self.members))
        if owner is None:
            plain.in_tray = True
        else:
            assert owner in {member.pk for member in self.members} - self.away
            plain.move(self.now, owner=owner, holder=owner, stage="owned")
            self._promise(plain)

    @rule(which=WHICH, to=WHICH)
    def assign(self, which: int, to: int) -> None:
        """Somebody else becomes the owner, or the same person again."""
        member = self.members[to].pk

        def then(play: PlainPlay) -> None:
            paused = play.last.state == "paused"
            first = play.last.stage == "routed"
            stage = "owned" if first else play.last.stage
            play.move(self.now, owner=member, holder=None if paused else member, stage=stage)
            play.in_tray = False
            if first:
                self._promise(play)

        self._act(
            which,
            lambda ids: assign_plays(play_ids=ids, owner_id=member, now=self.now),
            lambda play: play.last.state != "offered",
            then,
        )
        work(now=self.now)

    @rule(which=WHICH)
    def start(self, which: int) -> None:
        """The work begins."""
        self._act(
            which,
            lambda ids: start_plays(play_ids=ids, now=self.now),
            lambda play: (play.last.stage, play.last.state) == ("owned", "working"),
            lambda play: play.move(self.now, stage="running"),
        )

    @rule(which=WHICH, ago=st.sampled_from([0, 0, 0, 4, 30]))
    def touch(self, which: int, ago: int) -> None:
        """A contact is logged, as of now or of a while ago."""
        pk = self.open[which]
        at = self.now - ago * QUARTER
        if pk is not None and at < self.plays[pk].stretches[0].since:
            at = self.now

        def then(play: PlainPlay) -> None:
            self._finish(play, FIRST_TOUCH, at)
            if (play.last.stage, play.last.state) in (("owned", "working"), ("owned", "offered")):
                play.move(self.now, stage="running")

        self._act(
            which,
            lambda ids: log_touch(play_ids=ids, channel="call", at=at, now=self.now),
            lambda play: play.last.stage != "routed",
            then,
        )

    @rule(which=WHICH, wakes_after=st.one_of(st.none(), st.integers(1, 200)))
    def pause(self, which: int, wakes_after: int | None) -> None:
        """The customer is waited for, until a date or until somebody resumes."""
        wakes_at = None if wakes_after is None else self.now + wakes_after * QUARTER

        def then(play: PlainPlay) -> None:
            play.move(self.now, state="paused", holder=None)
            play.wakes_at = wakes_at
            play.in_tray = False

        self._act(
            which,
            lambda ids: pause_plays(play_ids=ids, reason="Holidays", wakes_at=wakes_at, now=self.now),
            lambda play: play.last.stage != "routed" and play.last.state == "working",
            then,
        )

    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        """The work goes on."""
        self._act(
            which,
            lambda ids: resume_plays(play_ids=ids, now=self.now),
            lambda play: play.last.state == "paused",
            lambda play: play.move(self.now, state="working", holder=play.last.owner),
        )

    @rule(which=WHICH, to=WHICH)
    def offer(self, which: int, to: int) -> None:
        """The play is offered to one of the others."""
        member = self.members[to].pk

        def then(play: PlainPlay) -> None:
            play.move(self.now, state="offered", holder=member)
            play.offer = PlainClock(HANDOFF, self.now, play.promised[HANDOFF])
            play.clocks.append(play.offer)
            play.in_tray = False

        self._act(
            which,
            lambda ids: offer_plays(play_ids=ids, to_id=member, now=self.now),
            lambda play: play.last.stage != "routed" and play.last.state == "working" and play.last.owner != member,
            then,
        )

    @rule(which=WHICH)
    def accept(self, which: int) -> None:
        """Whoever it was offered to owns it now."""

        def then(play: PlainPlay) -> None:
            # The promise to accept was kept now, in the hours of whoever was asked.
            self._finish(play, HANDOFF, self.now)
            play.offer = None
            play.move(self.now, state="working", owner=play.last.holder)

        self._act(which, lambda ids: accept_plays(play_ids=ids, now=self.now), self._is_on_offer, then)

    @rule(which=WHICH, taken_back=st.booleans())
    def hand_back(self, which: int, taken_back: bool) -> None:
        """The offer is refused, or taken back."""

        def act(ids: list[int]) -> dict[int, str | None]:
            if taken_back:
                return take_back_plays(play_ids=ids, now=self.now)
            return refuse_plays(play_ids=ids, reason="Not for us", now=self.now)

        def then(play: PlainPlay) -> None:
            self._end_offer(play)
            play.move(self.now, state="working", holder=play.last.owner)

        self._act(which, act, self._is_on_offer, then)

    @rule(which=WHICH, outcome=st.sampled_from(["won", "lost", "declined"]))
    def close(self, which: int, outcome: str) -> None:
        """The play ends."""

        def then(play: PlainPlay) -> None:
            self._finish(play, CLOSED, self.now)
            for clock in play.clocks:
                if not clock.end:
                    clock.finish(self._due(play, clock), self.now, "cancelled")
            play.close(self.now)
            self.open[which] = None

        self._act(
            which,
            lambda ids: close_plays(play_ids=ids, outcome=outcome, reason="So it is", now=self.now),
            lambda play: play.last.stage != "routed" and play.last.state != "offered",
            then,
        )

    @rule(which=WHICH, number=st.integers(0, 7))
    def excuse(self, which: int, number: int) -> None:
        """A manager excuses one broken promise of a play, once."""
        pk = self.open[which]
        clocks = [] if pk is None else self._clocks_of(pk)
        for clock, promise in clocks[number : number + 1]:
            (answer,) = excuse_breaches(clock_ids=[clock.pk], reason="Fire drill", now=self.now).values()
            allowed = promise.breached is not None and not promise.by_hand
            assert (answer is None) == allowed, answer
            promise.by_hand = promise.by_hand or allowed

    @rule(promised=OTHERS, quarters=SPANS)
    def other_targets(self, promised: dict[str, int], quarters: int) -> None:
        """After a while the playbook promises something else, of the plays that are open too."""
        self.time_passes(quarters)
        self._publish(promised)
        open_ = [pk for pk in self.open if pk is not None]
        assert follow_published_targets(play_ids=open_, now=self.now) == dict.fromkeys(open_)
        for pk in open_:
            play = self.plays[pk]
            play.promised = self.promised
            for clock in play.clocks:
                if not clock.end:
                    clock.quarters = promised[clock.target]
        self.watched = False

    # What happens around them.

    @rule(member=WHICH, week=WEEKS, zone=ZONES)
    def other_zone(self, member: int, week: Any, zone: str) -> None:
        """A member moves to another time zone."""
        pk = self.members[member].pk
        change_member(member_id=pk, values={"zone": zone}, now=self.now, actor=None)
        self.zones[pk] = zone
        self.watched = False

    @rule(which=st.booleans(), week=WEEKS, closed=DAYS_CLOSED)
    def edit_calendar(self, which: bool, week: Any, closed: frozenset[Any]) -> None:
        """A calendar gets other hours, and other closed days."""
        pk = (self.default if which else self.other).pk
        change_calendar(
            calendar_id=pk,
            values={},
            week=[WeekHours(day, *hours) for day, blocks in enumerate(week) for hours in blocks],
            days=[DayHours(day) for day in sorted(closed)],
            now=self.now,
            actor=None,
        )
        self.calendars[pk] = PlainCalendar(self.calendars[pk].zone, week, closed)
        self.watched = False

    @precondition(lambda self: len(self.away) < 3)
    @rule(member=WHICH)
    def goes_away(self, member: int) -> None:
        """A member is away from today on, and nobody stands in: no new play is theirs, what they have stays."""
        pk = self.members[member].pk
        if pk not in self.away:
            days = {"first_day": BEGIN.date(), "last_day": BEGIN.date() + timedelta(days=900), "stand_in": None}
            add_absence(values={"member": self.members[member], **days}, now=self.now, actor=None)
            self.away.add(pk)

    @precondition(lambda self: self.away)
    @rule()
    def all_come_back(self) -> None:
        """Everybody is here again."""
        Absence.objects.all().delete()
        self.away.clear()

    @rule(quarters=SPANS)
    def time_passes(self, quarters: int) -> None:
        """Nobody does anything for a while."""
        self.now += quarters * QUARTER
        self.watched = self.watched and not quarters

    @rule(quarters=st.sampled_from([96, 24, 8, 48, 3 * 96]))
    def a_day_goes_by(self, quarters: int) -> None:
        """Nobody does anything until the watcher comes by: what was promised falls due."""
        self.time_passes(quarters)
        self.watch()

    @rule()
    def sweep(self) -> None:
        """Offers lapse and pauses end that are over by now."""
        for play in self.plays.values():
            if play.offer is not None:
                lapses = due(self._hours(play, play.offer), play.offer.since, LAPSES, [])
                if lapses is not None and lapses <= self.now:
                    self._end_offer(play)
                    play.move(self.now, state="working", holder=self.manager.pk)
                    play.in_tray = True
            elif play.last.state == "paused" and play.closed_at is None and self._is_over(play.wakes_at):
                play.move(self.now, state="working", holder=play.last.owner)
        lapse_waiting_offers(now=self.now)
        wake_plays(now=self.now)

    @rule()
    def watch(self) -> None:
        """The watcher comes by."""
        watch_all(now=self.now)
        for play in self.plays.values():
            for clock in play.clocks:
                if not clock.end:
                    clock.look(self._due(play, clock), self.now + QUARTER)
        self.watched = True
        self._clocks_stand_as_the_account_says()

    @invariant()
    def stands_as_the_account_says(self) -> None:
        """Owner, holder, stage and state, now and at every moment before; without a gap, and in sum all the time."""
        rows: dict[int, list[Interval]] = {pk: [] for pk in self.plays}
        for interval in Interval.objects.filter(play__in=rows).order_by("play", "seq"):
            rows[interval.play_id].append(interval)
        standing = {play.pk: play for play in Play.objects.filter(pk__in=rows)}
        for pk, plain in self.plays.items():
            intervals = rows[pk]
            assert [(row.valid_from, row.valid_to) for row in intervals] == [
                (each.since, each.until) for each in plain.stretches
            ]
            assert [(row.owner_id, row.holder_id, row.stage, row.state) for row in intervals] == [
                each.now for each in plain.stretches
            ]
            assert [row.seq for row in intervals] == list(range(len(intervals)))
            until = plain.closed_at or self.now
            elapsed = sum(((row.valid_to or until) - row.valid_from for row in intervals), timedelta())
            play = standing[pk]
            assert elapsed == until - play.opened_at
            if plain.closed_at is None:
                assert (play.owner_id, play.holder_id, play.stage, play.state) == plain.last.now
                assert (play.tray_at is not None) == plain.in_tray
            else:
                assert (play.stage, play.closed_at) == ("closed", plain.closed_at)

    # The account of promises.

    def _publish(self, promised: dict[str, int]) -> None:
        self.versions += 1
        self.playbook.draft = DRAFT % {target: quarters / 4 for target, quarters in promised.items()}
        PlaybookVersionFactory(playbook=self.playbook, number=self.versions)
        self.promised = promised

    def _promise(self, play: PlainPlay) -> None:
        play.clocks += [
            PlainClock(FIRST_TOUCH, self.now, play.promised[FIRST_TOUCH]),
            PlainClock(CLOSED, self.now, play.promised[CLOSED], works=False),
        ]

    def _hours(self, play: PlainPlay, clock: PlainClock) -> PlainCalendar | None:
        """The hours in which a promise runs: those of whoever has to keep it."""
        if not clock.works:
            return None
        keeper = play.last.holder if clock is play.offer else play.last.owner
        assert keeper is not None
        calendar = self.calendars[self.other.pk if keeper == self.members[1].pk else self.default.pk]
        zone = self.zones[keeper]
        return PlainCalendar(zone, calendar.week, calendar.closed) if zone else calendar

    def _due(self, play: PlainPlay, clock: PlainClock) -> datetime | None:
        return due(self._hours(play, clock), clock.since, clock.quarters, play.pauses())

    def _finish(self, play: PlainPlay, target: str, at: datetime) -> None:
        """The promise was kept at this moment, which may be told late."""
        for clock in play.clocks:
            if clock.target == target and not clock.end:
                clock.finish(self._due(play, clock), max(at, clock.since), "met")

    def _end_offer(self, play: PlainPlay) -> None:
        assert play.offer is not None
        play.offer.finish(self._due(play, play.offer), self.now, "cancelled")
        play.offer = None

    def _clocks_of(self, pk: int) -> list[tuple[Clock, PlainClock]]:
        """The clocks of a play with the promises of its account, each with the other; there are no more of either."""
        rows: dict[str, list[Clock]] = {}
        for clock in Clock.objects.filter(play=pk).order_by("target", "number"):
            rows.setdefault(clock.target, []).append(clock)
        pairs = [(rows[promise.target].pop(0), promise) for promise in self.plays[pk].clocks]
        assert not any(rows.values())
        return pairs

    def _clocks_stand_as_the_account_says(self) -> None:
        written: dict[int, list[tuple[int, datetime]]] = {}
        for event in ClockEvent.objects.filter(kind="breached").order_by("clock", "level"):
            written.setdefault(event.clock_id, []).append((event.level, event.due_at))
        for pk, plain in self.plays.items():
            for clock, promise in self._clocks_of(pk):
                at = None if promise.end else self._due(plain, promise)
                assert clock.started_at == promise.since
                assert clock.breached_at == promise.breached, (promise, clock.due_at)
                assert written.get(clock.pk, []) == list(enumerate(promise.breaches))
                assert clock.state == promise.stands(at), (promise, clock.due_at)
                assert (clock.excused_at is not None) == promise.is_excused(at), (promise, clock.due_at)
                assert promise.end or clock.due_at == at

    def _is_over(self, at: datetime | None) -> bool:
        return at is not None and at <= self.now

    def _is_on_offer(self, play: PlainPlay) -> bool:
        return play.last.state == "offered"

    def _act(
        self,
        which: int,
        act: Callable[[list[int]], dict[int, str | None]],
        may: Callable[[PlainPlay], bool],
        then: Callable[[PlainPlay], None],
    ) -> None:
        """Do an act on the play of one account; the system does it exactly where the account allows it."""
        pk = self.open[which]
        if pk is None:
            return
        play = self.plays[pk]
        allowed = may(play)
        (answer,) = act([pk]).values()
        assert (answer is None) == allowed, answer
        if allowed:
            then(play)


@pytest.mark.django_db
def test_one_owner_at_every_second() -> None:
    run_state_machine_as_test(
        Ownership,
        settings=settings(
            max_examples=examples(40), stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
