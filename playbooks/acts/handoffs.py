"""Acts on offers: a play is offered to somebody, who accepts or refuses; or it is taken back, or lapses.

Until it is accepted the owner stays accountable, and whoever it was offered to holds it: from then on it is their
time. Each act takes a set of play ids and answers per id, as those of `csplaybooks.playbooks.acts.plays` do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.moving import (
    Answers,
    Seen,
    act_on_plays,
    call_off_clocks,
    end_offers,
    finish_clocks,
    fresh_clocks,
    lock_clocks,
    words,
)
from csplaybooks.playbooks.acts.notices import tell_offered, tell_refused
from csplaybooks.playbooks.business_time import CalendarError, HorizonExceeded, due_at
from csplaybooks.playbooks.calendar_choice import NoDefaultCalendar
from csplaybooks.playbooks.clockwork import (
    Promise,
    calendars_of,
    documents_of,
    lapses_after,
    new_clocks,
    promising_version,
    set_times,
    working_calendar,
)
from csplaybooks.playbooks.handover import contexts_of
from csplaybooks.playbooks.intervals import Move
from csplaybooks.playbooks.ladder import Ladder
from csplaybooks.playbooks.models import Clock, Handoff, Interval, Play, Stage, State
from csplaybooks.playbooks.people import require_roles
from csplaybooks.playbooks.targets import offer_target


@transaction.atomic
def offer_plays(
    *, play_ids: Iterable[int], to_id: int, now: datetime, note: str = "", actor: Any = None, seen: Seen = None
) -> Answers:
    """Offer plays to an account executive; their promise to accept begins to run. For who owns or holds them, or above.

    What they need to know goes with it: what was found, what it is worth, whom to talk to, what is open at the account
    and the `note`. A play of their own is not offered to anybody. Raises ValidationError when the member has left or is
    no account executive, and where the promise cannot be measured: no calendar is the default, or it never opens.
    """
    return offer_each(receivers=dict.fromkeys(play_ids, to_id), now=now, note=note, actor=actor, seen=seen)


@transaction.atomic
def offer_each(
    *,
    receivers: Mapping[int, int],
    now: datetime,
    note: str = "",
    why: Mapping[int, str] | None = None,
    actor: Any = None,
    seen: Seen = None,
) -> Answers:
    """Offer plays, each to an account executive of its own (member id by play id); see `offer_plays`.

    `why` are reasons for the timeline, by play id. A constant number of queries.
    """
    require_aware(now=now)
    note = words("note", note, most=10_000)
    # Locked, so that nobody who leaves at this moment is given work.
    there = TeamMember.objects.active().select_for_update(no_key=True).filter(pk__in=set(receivers.values()))
    members = {member.pk: member for member in there.order_by("pk")}
    for to_id in receivers.values():
        if to_id not in members:
            raise ValidationError({"to": "This team member has left, or never was."})
        if not members[to_id].is_account_executive:
            raise ValidationError(
                {"to": f"{members[to_id]} is no account executive: plays are offered to those who sell."}
            )
    to = {play_id: members[to_id] for play_id, to_id in receivers.items()}
    require_roles(to, named="to")

    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.OFFERED, play.owner_id, to[play.pk].pk, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        _write_offers(plays, to, note, now)
        tell_offered(plays, now=now, actor=actor)

    def text(play: Play) -> str:
        reason = (why or {}).get(play.pk)
        return f"Offered to {to[play.pk].name}" + (f": {reason}" if reason else "")

    theirs = Q(pk__in=[])
    for member in members.values():
        theirs |= Q(owner=member, pk__in=[play_id for play_id, receiver in to.items() if receiver == member])
    answers = act_on_plays("offer", receivers, move, text, now, actor, after=after, only=~theirs, seen=seen)
    refused = [pk for pk, answer in answers.items() if answer is not None]
    own = Play.objects.open().filter(theirs, pk__in=refused).values_list("pk", flat=True) if refused else ()
    return answers | {pk: f"{to[pk]} owns it already: offer it to somebody else" for pk in own}


def accept_plays(*, play_ids: Iterable[int], now: datetime, actor: Any = None, seen: Seen = None) -> Answers:
    """Accept plays on offer: whoever they were offered to owns them from now on. For them, or somebody above them."""

    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.WORKING, play.holder_id, play.holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        # All at once, in the order of their ids; and before their offers, as those do who edit a calendar.
        lock_clocks(plays)
        finish_clocks(plays, Clock.Target.HANDOFF_ACCEPTED, now, now)
        end_offers(plays, Handoff.Answer.ACCEPTED)
        # What else was promised is kept or broken by the new owner now.
        fresh_clocks(plays, now)

    return act_on_plays("accept", play_ids, move, lambda play: "Offer accepted", now, actor, after=after, seen=seen)


def refuse_plays(
    *, play_ids: Iterable[int], reason: str, now: datetime, actor: Any = None, seen: Seen = None
) -> Answers:
    """Refuse plays on offer: they go back to their owner. For whoever they were offered to, or somebody above them.

    Raises ValidationError without a reason.
    """
    reason = words("reason", reason, "Say why you do not take it.")
    return _hand_back(
        "refuse", play_ids, Handoff.Answer.REFUSED, f"Offer refused: {reason}", now, actor, reason=reason, seen=seen
    )


def take_back_plays(
    *, play_ids: Iterable[int], now: datetime, reason: str = "", actor: Any = None, seen: Seen = None
) -> Answers:
    """Take an offer back before it is answered. For the owner, or somebody above them."""
    reason = words("reason", reason)
    text = "Offer taken back" + (f": {reason}" if reason else "")
    return _hand_back("take_back", play_ids, Handoff.Answer.TAKEN_BACK, text, now, actor, reason=reason, seen=seen)


def lapse_offers(*, play_ids: Iterable[int], now: datetime) -> Answers:
    """End the offers of plays whose time is over: a manager holds the play, and finds it in the tray.

    The nearest manager above whoever did not answer, or else above the owner, who stays accountable until it is
    assigned anew; where nobody stands above either, it is the owner's again. An offer that has time left stays.
    """
    ladder = Ladder.of_the_team()

    def holder_of(play: Play) -> int | None:
        above = [*ladder.managers_above(play.holder_id), *ladder.managers_above(play.owner_id)]
        return above[0] if above else None

    def move(play: Play) -> Move:
        holder_id = holder_of(play) or play.owner_id
        return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        call_off_clocks(plays, now, target=Clock.Target.HANDOFF_ACCEPTED)
        end_offers(plays, Handoff.Answer.EXPIRED)
        waiting = [play.pk for play in plays if holder_of(play) is not None]
        Play.objects.filter(pk__in=waiting).update(tray_at=now)
        tell_refused(plays, now=now)

    def text(play: Play) -> str:
        then = "waits for a manager" if holder_of(play) is not None else f"it is back with {play.owner}"
        return f"Nobody answered the offer: {then}"

    waiting = Handoff.objects.filter(play=OuterRef("pk"), answer=Handoff.Answer.WAITING, expires_at__lte=now)
    return act_on_plays("lapse", play_ids, move, text, now, None, after=after, only=Q(Exists(waiting)))


def _hand_back(
    verb: str,
    play_ids: Iterable[int],
    answer: Handoff.Answer,
    text: str,
    now: datetime,
    actor: Any,
    *,
    reason: str,
    seen: Seen,
) -> Answers:
    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, play.owner_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        call_off_clocks(plays, now, target=Clock.Target.HANDOFF_ACCEPTED)
        end_offers(plays, answer, reason=reason)
        if answer == Handoff.Answer.REFUSED:
            tell_refused(plays, now=now, actor=actor)

    return act_on_plays(verb, play_ids, move, lambda play: text, now, actor, after=after, seen=seen)


def _write_offers(plays: Sequence[Play], to: Mapping[int, TeamMember], note: str, now: datetime) -> None:
    """The offers of plays just moved, and the clock of each; a constant number of queries."""
    moments = dict(Interval.objects.filter(play__in=plays, valid_to__isnull=True).values_list("play_id", "valid_from"))
    before = Counter(Handoff.objects.filter(play__in=plays).order_by().values_list("play", flat=True))
    documents = documents_of(plays)
    told = contexts_of(plays, now)
    targets = [offer_target(documents[promising_version(play)], play.route, play.segment) for play in plays]
    offers = []
    try:
        clocks = new_clocks(
            Promise(play, target, moments[play.pk], before[play.pk] + 1)
            for play, target in zip(plays, targets, strict=True)
        )
        calendars = calendars_of(clocks)
    except (NoDefaultCalendar, CalendarError) as problem:
        raise ValidationError(f"An answer cannot be promised in working hours: {problem}.") from problem
    for play, target, clock in zip(plays, targets, clocks, strict=True):
        lapses = lapses_after(target)
        try:
            hours = working_calendar(clock, calendars)
            set_times(clock, hours, [], (), now)
            expires_at = due_at(hours, clock.started_at, lapses)
        except HorizonExceeded as problem:
            raise ValidationError(
                f"{play}: an answer cannot be promised: the calendar {clock.calendar} opens too little ({problem}). "
                "Mend its hours, or the uses by which it counts, and offer it again."
            ) from problem
        # An edit of the calendar that is under way has not seen this clock: the watcher looks at it once it is there.
        clock.is_stale = True
        offers.append(
            Handoff(
                play=play,
                offered_by=play.owner,
                offered_to=to[play.pk],
                offered_at=clock.started_at,
                clock=clock,
                lapse_seconds=round(lapses.total_seconds()),
                expires_at=expires_at,
                context={**told[play.pk], "note": note} if note else told[play.pk],
            )
        )
    Clock.objects.bulk_create(clocks)
    Handoff.objects.bulk_create(offers)
