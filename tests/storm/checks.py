"""What must be true after a storm, whoever was killed: each check counts what it looked at, and names what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from django.apps import apps
from django.db.models import Count, F, Q
from django.utils import timezone
from django_q.models import Failure

from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import (
    Clock,
    ClockEvent,
    Delivery,
    Handoff,
    Interval,
    MailDraft,
    Match,
    Notice,
    Outcome,
    Play,
    PlayStep,
    Run,
    Stage,
    State,
    Touch,
)
from csplaybooks.playbooks.pipeline.sender import CLAIMED_FOR, give_up_on_the_dead
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import matches_after, replay_run
from tests.crash.company import waiting
from tests.storm.journal import Deed, Told, read_journals
from tests.storm.mail import mails_in
from tests.storm.playbooks import PLAYS
from tests.storm.storm import Storm, tasks_left

#: At most so many faults of one check are named.
NAMED = 10

#: So many runs are replayed, spread over the storm.
REPLAYED = 10

_PLAY = "csplaybooks_playbooks.play"


@dataclass
class Check:
    """One thing that was looked at: how many of it, and what was wrong."""

    name: str
    count: int = 0
    faults: list[str] = field(default_factory=list)
    note: str = ""

    def expect(self, holds: bool, fault: str) -> None:
        """Note a fault where something does not hold."""
        if not holds:
            self.faults.append(fault)


def check_all(storm: Storm) -> list[Check]:
    """Everything that must be true, once nobody is alive any more."""
    # Whoever was killed while a mail was under way holds it for a while: this is after that. Who is told of it has no
    # mail yet, because no cluster is there to write it.
    end = timezone.now() + CLAIMED_FOR
    with pokes_silenced():
        give_up_on_the_dead(end)
    told = read_journals(storm.journals)
    checks: list[Callable[[], Check]] = [
        lambda: _weather(storm),
        lambda: _plays(storm),
        _invariants,
        _time,
        _clocks,
        lambda: _acts(told),
        _openings,
        lambda: _collisions(told),
        _steps_and_contacts,
        lambda: _notices(end),
        lambda: _mails(storm.mails),
        _queues,
        _replays,
        lambda: _logs(storm.logs),
    ]
    return [check() for check in checks]


def _weather(storm: Storm) -> Check:
    return Check("the storm itself", storm.weather.killed.total(), list(storm.weather.troubles), "deaths")


def _plays(storm: Storm) -> Check:
    """Each account has one play of each motion, opened by its one match, and it is closed."""
    check = Check("plays: none lost, none doubled, all closed")
    rows = Play.objects.values_list("pk", "account", "motion", "stage", "outcome", "owner")
    there: Counter[tuple[int, str]] = Counter()
    ends: Counter[str] = Counter()
    for pk, account, motion, stage, outcome, owner in rows.iterator():
        check.count += 1
        there[account, motion] += 1
        ends[outcome] += 1
        check.expect(stage == Stage.CLOSED, f"play {pk} is {stage}")
        check.expect(owner is not None or outcome == Outcome.WITHDRAWN, f"play {pk} never had an owner")
    check.expect(check.count == storm.weather.plays, f"{check.count} plays, expected {storm.weather.plays}")
    check.faults += [f"account {key[0]} has {count} plays of {key[1]}" for key, count in there.items() if count != 1]
    matches = Counter(Match.objects.order_by().values_list("play", "trigger__key", "state"))
    for pk, motion in Play.objects.values_list("pk", "motion").iterator():
        check.expect(matches.pop((pk, PLAYS[motion], "fired"), 0) == 1, f"play {pk} was not opened by its match")
    check.faults += [f"{count} matches {match} belong to nothing" for match, count in matches.items()]
    check.note = ", ".join(f"{count:,} {outcome}" for outcome, count in ends.most_common())
    missing = set(Outcome.values) - set(ends)
    check.expect(not missing or check.count < 400, f"no play ended as {missing}")
    return check


def _invariants() -> Check:
    found = violations()
    check = Check("invariants", len(found))
    for each in found:
        if each.count:
            rows = list(apps.get_model(each.table).objects.filter(pk__in=each.examples[:3]).values())
            check.faults.append(f"{each.invariant}: {each.count} of {each.table}, {each.examples}, such as {rows}")
    return check


def _time() -> Check:
    """Every second of every play is in one interval, by arithmetic of our own."""
    check = Check("seconds of plays in their intervals")
    for play, intervals in _intervals():
        at = play.opened_at
        for number, interval in enumerate(intervals):
            check.expect(interval.seq == number, f"interval {interval} of play {play.pk} is out of order")
            check.expect(interval.valid_from == at, f"interval {interval} of play {play.pk} does not begin at {at}")
            ends = interval.valid_to
            check.expect(ends is not None and ends >= at, f"interval {interval} of play {play.pk} ends at {ends}")
            at = ends or at
        check.expect(at == play.closed_at, f"play {play.pk} was closed at {play.closed_at}, its intervals end {at}")
        spent = sum((each.valid_to - each.valid_from for each in intervals if each.valid_to), timedelta())
        check.expect(spent == (play.closed_at or at) - play.opened_at, f"play {play.pk}: {spent} in its intervals")
        check.count += round(spent.total_seconds())
    return check


def _intervals() -> Iterator[tuple[Play, list[Interval]]]:
    """Plays with their intervals, in order."""
    ids = list(Play.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        of: dict[int, list[Interval]] = defaultdict(list)
        for interval in Interval.objects.filter(play__in=chunk).order_by("play", "seq"):
            of[interval.play_id].append(interval)
        for play in Play.objects.filter(pk__in=chunk).defer("evidence", "amount_working").order_by("pk"):
            yield play, of[play.pk]


def _clocks() -> Check:
    """Clocks ended as their times say, and each thing happened on them once, when it was due.

    All hours count in the storm, but for pauses: so it is told by counting them, without the code that is tested.
    """
    check = Check("clocks: met, missed and called off as their times say")
    ends: Counter[str] = Counter()
    for plays in _chunks(_intervals(), 500):
        pauses = {
            play.pk: [(each.valid_from, each.valid_to or each.valid_from) for each in those if each.state == "paused"]
            for play, those in plays
        }
        clocks = list(Clock.objects.filter(play__in=list(pauses)).order_by("pk"))
        events: dict[int, list[ClockEvent]] = defaultdict(list)
        for event in ClockEvent.objects.filter(clock__in=clocks):
            events[event.clock_id].append(event)
        for clock in clocks:
            ends[clock.state] += 1
            check.count += 1
            for fault in _faults_of(clock, pauses[clock.play_id], events[clock.pk]):
                check.faults.append(f"clock {clock.pk} ({clock.state}): {fault}")
    check.note = ", ".join(f"{count:,} {state}" for state, count in ends.most_common())
    return check


def _faults_of(clock: Clock, pauses: list[tuple[datetime, datetime]], events: list[ClockEvent]) -> Iterator[str]:
    done = clock.done_at
    if clock.state not in ("met", "missed", "cancelled") or done is None:
        yield "it ticks"
        return
    due = _moment(clock, clock.promised_seconds, pauses)
    is_late = due < done
    if is_late != (clock.state == "missed") and due != done:
        yield f"due {due}, done {done}"
    # Who did it in time may have written it down after the watcher had been there: then it is excused. So it is where
    # they paused before it was due, which moves the due time behind the breach; and the clock runs on to that.
    if clock.state == "missed" and clock.breached_at != due:
        yield f"breached {clock.breached_at}, due {due}"
    counts = clock.state == "missed" or clock.breached_at is None
    if not clock.excuse_reason and (clock.excused_at is None) != counts:
        yield f"breached {clock.breached_at}, excused {clock.excused_at}"
    breaches = sorted((event for event in events if event.kind == "breached"), key=lambda event: event.level)
    missed = [event.due_at for event in breaches]
    if [event.level for event in breaches] != list(range(len(breaches))) or missed != sorted(set(missed)):
        yield f"breached {[(event.level, event.due_at) for event in breaches]}"
    if clock.breached_at != (missed[-1] if missed else None):
        yield f"breached {clock.breached_at}, its events at {missed}"
    there = Counter((event.kind, event.level) for event in events)
    if any(count > 1 for count in there.values()):
        yield f"events {there}"
    seconds = {("breached", 0): float(clock.promised_seconds)}
    seconds |= {("warned", percent): clock.promised_seconds * percent / 100 for percent in clock.warn_percents}
    rungs = enumerate(clock.escalation_waits, start=1)
    seconds |= {("escalated", rung): clock.promised_seconds + wait for rung, wait in rungs}
    for event in events:
        run, step = (event.level, 0) if event.kind == "breached" else divmod(event.level, ClockEvent.RUN)
        if run > len(breaches) or (event.kind == "escalated" and run == len(breaches)):
            yield f"{event} of a run of which there is no breach"
        length = seconds.get((event.kind, step))
        # Of a pause that was told of late, too, the watcher knew nothing.
        known = [] if length is None else [_moment(clock, length, pauses[:last]) for last in range(len(pauses) + 1)]
        if event.due_at not in known or event.noticed_at < event.due_at:
            yield f"{event} was due {event.due_at} and noticed {event.noticed_at}, expected {known}"


def _moment(clock: Clock, seconds: float, pauses: Iterable[tuple[datetime, datetime]]) -> datetime:
    """When so many seconds have run on a clock outside pauses."""
    at, left = clock.started_at, timedelta(seconds=seconds)
    for begin, end in pauses:
        if end <= at:
            continue
        if at + left <= begin:
            break
        left -= max(begin - at, timedelta())
        at = end
    return at + left


#: The line that each act leaves on the timeline, where it is not called as the act is.
_LINES = {"excuse": "clock_excused", "send": "play_mail"}


def _acts(told: Told) -> Check:
    """What people were told to be done was done once, and nothing else was done in their name."""
    check = Check("acts of people: done once where they were told so", told.done.total())
    lines: Counter[Deed] = Counter()
    rows = TimelineEntry.objects.filter(subject_type=_PLAY, actor__isnull=False).exclude(
        Q(kind="play_mail") & ~Q(text__contains="Mail on its way")
    )
    for kind, play in rows.order_by().values_list("kind", "subject_id").iterator():
        lines[kind, play] += 1
    done: Counter[Deed] = Counter()
    unknown: Counter[Deed] = Counter()
    for counts, deeds in ((done, told.done), (unknown, told.unknown)):
        for (verb, play), count in deeds.items():
            counts[_LINES.get(verb, f"play_{verb}"), play] += count
    for deed in lines.keys() | done.keys():
        most = done[deed] + unknown[deed]
        if not done[deed] <= lines[deed] <= most:
            check.faults.append(f"{deed[0]} of play {deed[1]}: {lines[deed]} lines, told {done[deed]} to {most} times")
    check.faults += [f"an act failed: {failure}" for failure in told.failures]
    check.note = f"{told.unknown.total():,} more by people who died before they knew"
    return check


def _openings() -> Check:
    """The system's own lines: each play was opened once, and given to somebody once."""
    check = Check("openings and first owners on the timeline")
    own = TimelineEntry.objects.filter(subject_type=_PLAY, kind__in=["play_opened", "play_assigned"])
    lines = Counter(own.order_by().values_list("kind", "subject_id"))
    by_hand = TimelineEntry.objects.filter(subject_type=_PLAY, kind__in=["play_assign", "play_claim"])
    taken = set(by_hand.order_by().values_list("subject_id", flat=True).distinct())
    owned = set(Interval.objects.filter(owner__isnull=False).order_by().values_list("play", flat=True).distinct())
    for pk in Play.objects.values_list("pk", flat=True).iterator():
        check.count += 1
        check.expect(lines["play_opened", pk] == 1, f"play {pk} was opened {lines['play_opened', pk]} times")
        # A person may have been quicker than the worker.
        given = lines["play_assigned", pk]
        check.expect(given <= 1, f"play {pk} was given {given} times")
        check.expect(given == 1 or pk in taken or pk not in owned, f"nobody says who gave play {pk}")
    offers = Handoff.objects.values_list("answer", flat=True)
    answers = Counter(offers.order_by())
    check.expect(Handoff.Answer.WAITING not in answers, "offers wait on closed plays")
    check.note = "offers: " + ", ".join(f"{count:,} {answer}" for answer, count in answers.most_common())
    return check


def _collisions(told: Told) -> Check:
    """Of several at one instant one wins, and the others are told."""
    check = Check("acts refused, with the reason", told.refused.total())
    check.expect(check.count > 0, "nobody ever came too late: that is no storm")
    check.expect(all(why for _, why in told.refused), "somebody was refused without a reason")
    return check


def _steps_and_contacts() -> Check:
    check = Check("steps over, contacts of mails once")
    check.count = PlayStep.objects.count()
    left = PlayStep.objects.exclude(state__in=[PlayStep.State.DONE, PlayStep.State.SKIPPED])
    check.faults += [f"step {pk} is {state}" for pk, state in left.values_list("pk", "state")]
    drafts = MailDraft.objects.values_list("pk", "state", "touch", "delivery__state")
    for pk, state, touch, delivery in drafts.iterator():
        check.expect(
            state in ("sent", "suppressed", "discarded", "failed") or (state, delivery) == ("unclear", "unclear"),
            f"draft {pk} is {state}, its mail {delivery}",
        )
        check.expect((state == "sent") == (delivery == "sent"), f"draft {pk} is {state}, its mail {delivery}")
        check.expect((touch is not None) == (state == "sent"), f"draft {pk} is {state}, its contact {touch}")
    contacts = Touch.objects.filter(origin=Touch.Origin.DRAFT).count()
    sent = MailDraft.objects.filter(state=MailDraft.State.SENT).count()
    check.expect(contacts == sent, f"{contacts} contacts of {sent} mails")
    check.note = f"{sent:,} mails to customers"
    return check


def _notices(end: datetime) -> Check:
    """Each notice has come to its end, but those of the `end`: a mail, the digest, or neither; each once to each."""
    check = Check("notices: each with its end")
    ways = Counter(Notice.objects.order_by().values_list("way", flat=True))
    check.count = ways.total()
    check.note = ", ".join(f"{count:,} {way}" for way, count in ways.most_common())
    waiting_for_mail = Notice.objects.filter(way=Notice.Way.NOW, delivery__isnull=True, at__lt=end).count()
    check.expect(waiting_for_mail == 0, f"{waiting_for_mail} notices wait for their mail")
    carried = set(Notice.objects.filter(delivery__isnull=False).order_by().values_list("delivery", flat=True))
    mails = set(Delivery.objects.filter(kind=Delivery.Kind.NOTICE).values_list("pk", flat=True))
    check.expect(mails <= carried, f"{len(mails - carried)} mails tell of nothing")
    strangers = Notice.objects.filter(delivery__isnull=False).exclude(delivery__member=F("member")).count()
    check.expect(strangers == 0, f"{strangers} notices went to somebody else")
    # Told once where it happened once: of an event, an offer, a stretch, to each member.
    twice = (
        Notice.objects.filter(Q(event__isnull=False) | Q(handoff__isnull=False))
        .order_by()
        .values("member", "kind", "event", "handoff")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
        .count()
    )
    check.expect(twice == 0, f"{twice} things were told twice")
    return check


def _mails(folder: Path) -> Check:
    """What was sent has gone once; what is unclear at most once; nothing else has."""
    check = Check("mails: each once")
    gone = mails_in(folder)
    check.count = gone.total()
    states: Counter[str] = Counter()
    for message_id, address, state, stuck in Delivery.objects.values_list(
        "message_id", "to_address", "state", "stuck_at"
    ).iterator():
        states[state] += 1
        times = gone.pop((message_id, address), 0)
        allowed = {"sent": (1,), "unclear": (0, 1), "cancelled": (0,), "suppressed": (0,)}.get(state, ())
        check.expect(times in allowed, f"{message_id} to {address} is {state} and has gone {times} times")
        check.expect(stuck is None, f"{message_id} is stuck")
    check.faults += [f"{mail} has gone {count} times, and nobody knows of it" for mail, count in gone.items()]
    check.note = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    return check


def _queues() -> Check:
    check = Check("nothing waits, is stuck or has failed")
    for name, count in {
        **waiting(),
        "stuck matches": Match.objects.stuck().count(),
        "stuck plays": Play.objects.stuck().count(),
        "failed attempts at matches": Match.objects.filter(attempts__gt=0).count(),
        "failed attempts at plays": Play.objects.filter(attempts__gt=0).count(),
        "plays paused or on offer": Play.objects.open().exclude(state=State.WORKING).count(),
        "tasks": max(tasks_left() - 1, 0),
    }.items():
        check.expect(count == 0, f"{count} {name}")
    failures = Counter(Failure.objects.order_by().values_list("func", "result"))
    check.faults += [f"{count} tasks failed: {function}: {result}" for (function, result), count in failures.items()]
    return check


def _replays() -> Check:
    runs = list(Run.objects.order_by("pk"))
    chosen = runs[:: max(len(runs) // REPLAYED, 1)]
    check = Check(f"runs replayed, of {len(runs):,}", len(chosen))
    check.faults += [f"run {run.pk} finds others" for run in chosen if replay_run(run) != matches_after(run)]
    return check


def _logs(paths: Iterable[Path]) -> Check:
    """Nobody met an error: death is all that stood in the way."""
    check = Check("lines of logs without an error")
    for path in paths:
        with path.open(errors="replace") as lines:
            for line in lines:
                check.count += 1
                if "Error" in line or "Traceback" in line or " ERROR " in line:
                    check.faults.append(f"{path.name}: {line.strip()[:300]}")
    return check


def _chunks(rows: Iterator[tuple[Play, list[Interval]]], size: int) -> Iterator[list[tuple[Play, list[Interval]]]]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
