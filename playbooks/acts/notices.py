"""Notices: what members of the team are told, written in the transaction of what it tells of.

Each is written once: its key says what it tells whom. How it comes to its reader (a mail at once, the daily digest,
neither) is settled when it is written; the mails themselves are written by `csplaybooks.playbooks.pipeline.mails`. All
of it takes a constant number of queries, whatever the number of plays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from csplaybooks.accounts.acts.record import acting_user, require_aware
from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.standing_in import stand_ins_at
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.models import Clock, ClockEvent, Handoff, Interval, Notice, NoticeSettings, Play
from csplaybooks.playbooks.people import chosen_in_words
from csplaybooks.playbooks.pokes import poke


@dataclass(frozen=True)
class Tiding:
    """One thing to be told to one member: `about` says what, and of each there is one notice to a member.

    What is not `urgent` waits for the digest, also of those who want its kind at once. `retold` is what a stand-in
    reads, where it is other than the text.
    """

    kind: Notice.Kind
    about: str
    member_id: int
    play_id: int
    text: str
    event_id: int | None = None
    handoff_id: int | None = None
    instead_of: int | None = None
    urgent: bool = True
    retold: str = ""

    @property
    def key(self) -> str:
        """What makes it one: what it tells whom."""
        return f"{self.kind}:{self.about}:{self.member_id}"


def tell(tidings: Iterable[Tiding], *, now: datetime, actor: Any = None) -> int:
    """Write notices in the caller's transaction; answers how many. Three queries, and one more for each 500 notices.

    Of members who are away today, whoever stands in for them is told too. Nobody is told what they did themselves, nor
    is a desk that nobody reads. Whoever has left or has no address gets no mail, and nobody does where
    `NOTICES_BY_MAIL` is off.
    """
    require_aware(now=now)
    wanted = _with_stand_ins(tidings, now)
    concerned = {pk for tiding in wanted for pk in (tiding.member_id, tiding.instead_of) if pk is not None}
    members = {
        member.pk: member for member in TeamMember.objects.filter(pk__in=concerned).select_related("notice_settings")
    }
    user = acting_user(actor)
    notices = [
        Notice(
            key=tiding.key,
            member_id=tiding.member_id,
            kind=tiding.kind,
            play_id=tiding.play_id,
            event_id=tiding.event_id,
            handoff_id=tiding.handoff_id,
            text=_words(tiding, members)[:500],
            at=now,
            way=way_of(members[tiding.member_id], tiding.kind, urgent=tiding.urgent),
        )
        for tiding in wanted
        if all(_is_for(members[pk], user) for pk in (tiding.member_id, tiding.instead_of) if pk is not None)
    ]
    if notices:
        Notice.objects.bulk_create(notices, ignore_conflicts=True, batch_size=500)
    if any(notice.way == Notice.Way.NOW for notice in notices):
        poke("deliver")
    return len(notices)


def _with_stand_ins(tidings: Iterable[Tiding], now: datetime) -> list[Tiding]:
    """Tidings, and after them those for whoever stands in for their readers and is not told the same already."""
    told = {tiding.key: tiding for tiding in tidings}
    if not told:
        return []
    stand_ins = stand_ins_at(now)
    for tiding in list(told.values()):
        if tiding.member_id in stand_ins:
            instead = replace(tiding, member_id=stand_ins[tiding.member_id], instead_of=tiding.member_id)
            told.setdefault(instead.key, instead)
    return list(told.values())


def _words(tiding: Tiding, members: Mapping[int, TeamMember]) -> str:
    """What is written; to a stand-in with the name of whom it was for."""
    if tiding.instead_of is None:
        return tiding.text
    return f"For {members[tiding.instead_of]}, who is away: {tiding.retold or tiding.text}"


def way_of(member: TeamMember, kind: str, *, urgent: bool = True) -> str:
    """How a member is told of a kind of thing, as things stand; without settings of their own as the defaults say.

    What is not urgent is told in the digest at the earliest.
    """
    if not (csplaybooks_settings.NOTICES_BY_MAIL and member.is_active and member.email):
        return Notice.Way.OFF
    settings = settings_of(member)
    way: str = getattr(settings, kind)
    if way == Notice.Way.NOW and not urgent:
        way = Notice.Way.DIGEST
    return Notice.Way.OFF if way == Notice.Way.DIGEST and not settings.digest else way


def settings_of(member: TeamMember) -> NoticeSettings:
    """The settings of a member, or the defaults, not saved."""
    try:
        settings: NoticeSettings = member.notice_settings
    except NoticeSettings.DoesNotExist:
        return NoticeSettings(member=member)
    return settings


def _is_for(member: TeamMember, user: Any) -> bool:
    if user is not None and member.user_id == user.pk:
        return False
    return not (member.is_digital_desk and member.user_id is None and not member.email)


def tell_assigned(
    plays: Sequence[Play],
    owners: Mapping[int, int],
    *,
    now: datetime,
    actor: Any = None,
    why: Mapping[int, str] | None = None,
) -> int:
    """Tell the new owners of plays, by play id, once the plays have moved; `why` they, in words. Four queries.

    The plays have their account and playbook loaded.
    """
    named = [play for play in plays if play.pk in owners]
    if not named:
        return 0
    stretches = dict(
        Interval.objects.filter(play__in=[play.pk for play in named], valid_to__isnull=True).values_list("play", "pk")
    )
    reasons = why or {}
    return tell(
        (
            Tiding(
                Notice.Kind.ASSIGNED,
                f"interval:{stretches[play.pk]}",
                owners[play.pk],
                play.pk,
                f"{play} is yours" + (f": {chosen_in_words(reasons[play.pk])}" if reasons.get(play.pk) else ""),
            )
            for play in named
            if play.pk in stretches
        ),
        now=now,
        actor=actor,
    )


def tell_woken(plays: Sequence[Play], pauses: Mapping[int, str], *, now: datetime) -> int:
    """Tell owners in their digest that plays woke up by themselves; `pauses` are those that are over, in words.

    Four queries. The plays have their account and playbook loaded, and have moved.
    """
    stretches = dict(
        Interval.objects.filter(play__in=[play.pk for play in plays], valid_to__isnull=True).values_list("play", "pk")
    )
    return tell(
        (
            Tiding(
                Notice.Kind.ASSIGNED,
                f"interval:{stretches[play.pk]}",
                play.owner_id,
                play.pk,
                f"{play} is yours to work again: {pauses[play.pk]}",
                urgent=False,
            )
            for play in plays
            if play.owner_id is not None and play.pk in stretches
        ),
        now=now,
    )


def tell_offered(plays: Iterable[Play], *, now: datetime, actor: Any = None) -> int:
    """Tell those to whom plays were just offered. Four queries."""
    waiting = Handoff.objects.filter(play__in=[play.pk for play in plays], answer=Handoff.Answer.WAITING)
    offers = waiting.select_related("play__account", "play__playbook", "offered_by")
    return tell(
        (
            Tiding(
                Notice.Kind.OFFERED,
                f"handoff:{offer.pk}",
                offer.offered_to_id,
                offer.play_id,
                f"{offer.offered_by} offers you {offer.play}",
                handoff_id=offer.pk,
            )
            for offer in offers
        ),
        now=now,
        actor=actor,
    )


def tell_refused(plays: Iterable[Play], *, now: datetime, actor: Any = None) -> int:
    """Tell those who offered plays that the offer was just refused or lapsed; of a lapse, whoever holds it now too.

    Four queries.
    """
    over = Handoff.objects.filter(
        play__in=[play.pk for play in plays], answer__in=[Handoff.Answer.REFUSED, Handoff.Answer.EXPIRED]
    )
    people = ("offered_by", "offered_to", "play__holder")
    rows = over.select_related("play__account", "play__playbook", *people).order_by("pk")
    last = {offer.play_id: offer for offer in rows}
    tidings = []
    for offer in last.values():
        if offer.answer == Handoff.Answer.REFUSED:
            told = {offer.offered_by_id: (f"{offer.offered_to} refused {offer.play}: {offer.reason}", "")}
        else:
            told = _lapsed(offer)
        tidings += [
            Tiding(
                Notice.Kind.REFUSED,
                f"handoff:{offer.pk}",
                member_id,
                offer.play_id,
                text,
                handoff_id=offer.pk,
                retold=retold,
            )
            for member_id, (text, retold) in told.items()
        ]
    return tell(tidings, now=now, actor=actor)


def _lapsed(offer: Handoff) -> dict[int, tuple[str, str]]:
    """What is told of an offer that nobody answered, by whom: with whom the play is now, and what is to be done.

    Each to whom it concerns, and to whoever stands in for them.
    """
    play, said = offer.play, f"{offer.offered_to} did not answer the offer of {offer.play}: it is with"
    waits = ", to assign or to offer anew" if play.tray_at is not None else ""
    if play.holder_id is None or play.holder_id == offer.offered_by_id:
        then = f"now{waits}" if waits else "again"
        return {offer.offered_by_id: (f"{said} you {then}", f"{said} {offer.offered_by} {then}")}
    return {
        offer.offered_by_id: (f"{said} {play.holder} now", ""),
        play.holder_id: (f"{said} you now{waits}", f"{said} {play.holder} now{waits}"),
    }


def tell_unsent(plays: Mapping[str, tuple[Play, str]], *, now: datetime, actor: Any = None) -> int:
    """Tell owners and holders of plays of mails to customers that did not go, or may not have.

    Play and text by what it is about: of each a member is told once. Three queries.
    """
    return tell(
        (
            Tiding(Notice.Kind.UNSENT, about, member_id, play.pk, text)
            for about, (play, text) in plays.items()
            for member_id in dict.fromkeys((play.owner_id, play.holder_id))
            if member_id is not None
        ),
        now=now,
        actor=actor,
    )


def tell_events(events: Sequence[ClockEvent], *, now: datetime, plays: Iterable[Play] = ()) -> int:
    """Tell whom it concerns of what was just written on clocks: of each clock one thing to each, the last.

    Three queries, and one more for each 500 notices. A warning is for the holder, a breach for holder and owner, a rung
    of the ladder for whoever stands on it (`told`). So after downtime nobody gets a burst. The events are saved.
    `plays` stand as they did when it happened, where an act has moved them since: their owner then is told.
    """
    if not events:
        return 0
    owners = {play.pk: play.owner_id for play in plays}
    rows = ClockEvent.objects.filter(pk__in=Ids([event.pk for event in events])).order_by("due_at", "pk")
    last: dict[tuple[int, int], tuple[Any, ...]] = {}
    for row in rows.values_list(*_EVENT):
        _, kind, _, holder_id, told_id, clock_id, _, play_id, owner_id, *_ = row
        for member_id in _CONCERNS[kind](holder_id, owners.get(play_id, owner_id), told_id):
            if member_id is not None:
                last[clock_id, member_id] = row
    return tell(
        (
            Tiding(
                Notice.Kind(kind), f"event:{pk}", member_id, play_id, _text(kind, level, target, *names), event_id=pk
            )
            for (_, member_id), (pk, kind, level, _, _, _, target, play_id, _, *names) in last.items()
        ),
        now=now,
    )


#: What is read of an event: no whole plays and playbooks, which are large.
_EVENT = (
    *("pk", "kind", "level", "holder", "told", "clock", "clock__target", "clock__play", "clock__play__owner"),
    *("clock__play__playbook__name", "clock__play__account__name"),
)

#: Whom an event concerns, of its holder, the play's owner and who stands on the rung of the ladder.
_CONCERNS: Mapping[str, Callable[..., tuple[int | None, ...]]] = {
    ClockEvent.Kind.WARNED: lambda holder, owner, told: (holder,),
    ClockEvent.Kind.BREACHED: lambda holder, owner, told: (holder, owner),
    ClockEvent.Kind.ESCALATED: lambda holder, owner, told: (told,),
}


def _text(kind: str, level: int, target: str, playbook: str, account: str) -> str:
    promise = f"{Clock.Target(target).label} of {playbook} at {account}"
    if kind == ClockEvent.Kind.WARNED:
        return f"{promise}: {level % ClockEvent.RUN} % of the promised time is used"
    if kind == ClockEvent.Kind.BREACHED:
        return f"{promise}: the promise was missed"
    return f"{promise}: still open after the promise was missed"
