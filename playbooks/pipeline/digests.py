"""The daily digest: what waits for a member of the team, in one mail a day, at their hour in their zone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from django.db.models import Q

from csplaybooks.accounts.models import AccountTeam, TeamMember
from csplaybooks.accounts.standing_in import stand_ins_at
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.deliveries import Outgoing, queue_deliveries
from csplaybooks.playbooks.acts.notice_settings import have_settings
from csplaybooks.playbooks.acts.notices import settings_of
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Clock, Delivery, Handoff, MailDraft, Notice, NoticeSettings, Play, Stage
from csplaybooks.playbooks.pipeline.letters import (
    LARGE,
    MOST_LISTED,
    Part,
    link_to_page,
    moment_for,
    render,
    zone_of,
)
from csplaybooks.playbooks.pipeline.readers import led_by, unseen_by_reader
from csplaybooks.playbooks.pipeline.savepoints import together_or_each

logger = logging.getLogger("csplaybooks.mails")

#: The lease of digests: one worker at a time.
LEASE = "csplaybooks:digests"

Lines = dict[int, list[Callable[[], str]]]
"""By member, what stands in one part of their digest; a line is written only where it is listed."""


#: How late a digest may come, in minutes of the clock on the wall: the next one is never close behind.
LATE = 18 * 60


@dataclass(frozen=True)
class Readers:
    """Who reads digests now, and those who are away for whom one of them stands in; all by id.

    `stand_ins` says who reads for each of those who are away.
    """

    members: Mapping[int, TeamMember]
    absent: Mapping[int, TeamMember]
    stand_ins: Mapping[int, int]

    @property
    def concerned(self) -> set[int]:
        """The ids of those of whom something is told."""
        return {*self.members, *self.absent}

    def of(self, ids: Iterable[int | None]) -> dict[int, str]:
        """Who reads what concerns members, each with what stands before it: for whom it is, if not for themselves."""
        told: dict[int, str] = {}
        people = [pk for pk in ids if pk is not None]
        for pk in people:
            if pk in self.absent:
                told.setdefault(self.stand_ins[pk], f"For {self.absent[pk]}, who is away: ")
        return told | {pk: "" for pk in people if pk in self.members}


@dataclass(frozen=True)
class Day:
    """A digest of a member: of which day of theirs, what day it is there now, and the instant at which that ends."""

    member: TeamMember
    on: date
    today: date
    end: datetime


def due_today(now: datetime) -> list[Day]:
    """Whose digest is due, and was not put on its way yet. One query: these are people, not customers.

    Where a day lacks the minute because clocks go forward it comes right after; where a day has it twice it comes once.
    """
    members = TeamMember.objects.active().exclude(email="").select_related("notice_settings")
    days = []
    for member in members.order_by("pk"):
        settings, here = settings_of(member), now.astimezone(zone_of(member))
        on, late = here.date(), here.hour * 60 + here.minute - settings.digest_minute
        if late < 0:
            # That of the day before, where nobody was there to send it.
            on, late = on - timedelta(days=1), late + 24 * 60
        if settings.digest and late < LATE and (settings.digest_on is None or settings.digest_on < on):
            tomorrow = datetime.combine(here.date() + timedelta(days=1), time(), zone_of(member))
            days.append(Day(member, on, here.date(), tomorrow))
    return days


def write_digests(*, now: datetime) -> int:
    """Write the digests that are due, all together; answers how many mails there are to send.

    Once for each member and day of theirs, however late, and none for days that were missed. Who has nothing waiting
    gets no mail. A constant number of queries. A member whose digest cannot be written does not stop the others: it is
    tried again as long as it may be late, and the log says why.
    """
    if not csplaybooks_settings.NOTICES_BY_MAIL or not due_today(now):
        return 0
    with holding(LEASE, now):
        days = due_today(now)
        have_settings((day.member.pk for day in days if settings_of(day.member).pk is None), now)
        return _write(days, now) if days else 0


def _write(days: Sequence[Day], now: datetime) -> int:
    """Write digests, together, or one by one where that fails; answers how many mails there are to send."""
    return together_or_each(
        days,
        lambda some: _write_together(_claim(some), now),
        of="digests",
        logger=logger,
        failed=lambda day, error: logger.exception(
            "the digest of %s could not be written; tried again later", day.member
        ),
    )


def _claim(days: Sequence[Day]) -> list[Day]:
    """Those of the days that nobody else has; at one instant there are only a few dates on earth."""
    by_date: dict[date, list[Day]] = defaultdict(list)
    for day in days:
        by_date[day.on].append(day)
    claimed = []
    for on, those in by_date.items():
        free = NoticeSettings.objects.filter(Q(digest_on__isnull=True) | Q(digest_on__lt=on))
        ids = set(free.filter(member__in=[day.member.pk for day in those]).values_list("member", flat=True))
        # The condition again: a row lock may have been waited for.
        free.filter(member__in=ids).update(digest_on=on)
        claimed += [day for day in those if day.member.pk in ids]
    return claimed


def _write_together(days: Sequence[Day], now: datetime) -> int:
    if not days:
        return 0
    readers = _readers(days, now)
    missed, due = _promises(days, readers, now)
    untold, refused, unclear = _notices(readers.members)
    parts: tuple[tuple[str, Lines], ...] = (
        ("Promises that were missed", missed),
        ("Due today", due),
        ("Offers that wait for your answer", _offers(readers)),
        ("Plays that wait for an owner", _tray(readers)),
        ("Mails to customers that did not go, or may not have", _unsent(readers)),
        ("What happened", _texts(untold)),
        ("Mails to you that could not be sent", _texts(refused)),
        ("Mails to you of which it is not known whether they came", _texts(unclear)),
    )
    mails = {}
    for day in days:
        pk = day.member.pk
        told = [
            Part(title, len(lines[pk]), tuple(line() for line in lines[pk][:MOST_LISTED]))
            for title, lines in parts
            if lines.get(pk)
        ]
        if told:
            mails[pk] = _mail(day, told)
    deliveries = queue_deliveries(mails.values(), now)
    notices = [notice for found in (untold, refused, unclear) for mine in found.values() for notice in mine]
    for notice in notices:
        notice.delivery = deliveries[mails[notice.member_id].key]
    Notice.objects.bulk_update(notices, ["delivery"], batch_size=500)
    return len(mails)


def _mail(day: Day, parts: Sequence[Part]) -> Outgoing:
    headline = f"{day.today:%a %d %b %Y}"
    counts = ", ".join(f"{part.title.lower()}: {part.count}" for part in parts)
    return Outgoing(
        key=f"digest:{day.member.pk}:{day.on.isoformat()}",
        kind=Delivery.Kind.DIGEST,
        member_id=day.member.pk,
        to_address=day.member.email,
        subject=f"{headline}: {counts}",
        body=render("digest", day=f"What waits for you on {headline}.", parts=parts),
    )


def _readers(days: Sequence[Day], now: datetime) -> Readers:
    """Whose digests these are, and for whom each stands in today; two queries, one where nobody is away."""
    members = {day.member.pk: day.member for day in days}
    stand_ins = {absent: here for absent, here in stand_ins_at(now).items() if here in members}
    absent = TeamMember.objects.in_bulk(list(stand_ins)) if stand_ins else {}
    return Readers(members, absent, stand_ins)


def _promises(days: Sequence[Day], readers: Readers, now: datetime) -> tuple[Lines, Lines]:
    """The promises on plays that members own or hold: those that were missed, and those due before their day ends."""
    ends = {day.member.pk: day for day in days}
    theirs = Q(play__owner__in=readers.concerned) | Q(play__holder__in=readers.concerned)
    clocks = Clock.objects.ticking().filter(theirs, due_at__lt=max(day.end for day in days))
    missed: Lines = defaultdict(list)
    due: Lines = defaultdict(list)
    named = clocks.select_related("play__account", "play__playbook").defer(*LARGE)
    for clock in named.order_by("due_at", "pk"):
        for pk, whose in readers.of((clock.play.holder_id, clock.play.owner_id)).items():
            at, day = clock.due_at, ends[pk]
            # Those without a time were left out by the query.
            if at is not None and at < day.end:
                (missed if at <= now else due)[pk].append(_promise(clock, at, day.member, whose))
    return missed, due


def _promise(clock: Clock, at: datetime, member: TeamMember, whose: str) -> Callable[[], str]:
    promised = f"{clock.get_target_display()} of {clock.play}"
    return lambda: _linked(f"{whose}{promised}: {moment_for(member, at)}", clock.play)


def _offers(readers: Readers) -> Lines:
    """The offers that members have not answered yet."""
    waiting = Handoff.objects.filter(answer=Handoff.Answer.WAITING, offered_to__in=readers.concerned)
    lines: Lines = defaultdict(list)
    named = waiting.select_related("play__account", "play__playbook", "offered_by").defer("context", *LARGE)
    for offer in named.order_by("offered_at", "pk"):
        for pk, whose in readers.of((offer.offered_to_id,)).items():
            lines[pk].append(_offer(offer, readers.members[pk], whose))
    return lines


def _offer(offer: Handoff, member: TeamMember, whose: str) -> Callable[[], str]:
    until = f", until {moment_for(member, offer.expires_at)}" if offer.expires_at else ""
    return lambda: _linked(f"{whose}{offer.play}, from {offer.offered_by}{until}", offer.play)


def _unsent(readers: Readers) -> Lines:
    """The mails that could not be sent, or may not have gone, of plays that members own or hold."""
    left = MailDraft.objects.filter(state__in=[MailDraft.State.FAILED, MailDraft.State.UNCLEAR])
    theirs = left.filter(Q(play__owner__in=readers.concerned) | Q(play__holder__in=readers.concerned))
    theirs = theirs.exclude(play__stage=Stage.CLOSED)
    lines: Lines = defaultdict(list)
    for draft in theirs.select_related("play__account", "play__playbook").defer("body", *LARGE).order_by("pk"):
        for pk, whose in readers.of((draft.play.holder_id, draft.play.owner_id)).items():
            lines[pk].append(partial(_draft, draft, whose))
    return lines


def _draft(draft: MailDraft, whose: str) -> str:
    return _linked(f"{whose}{draft.subject} ({draft.get_state_display().lower()}): {draft.play}", draft)


def _tray(readers: Readers) -> Lines:
    """The plays in the tray, for the manager who holds them; or else for those above the account's team.

    Where an account has no CSM it is any manager's.
    """
    there = {**readers.members, **readers.absent}
    managers = [pk for pk, member in there.items() if member.is_manager]
    lines: Lines = defaultdict(list)
    if not managers:
        return lines
    waiting = Play.objects.open().filter(tray_at__isnull=False).select_related("account", "playbook")
    plays = list(waiting.defer(*(name.removeprefix("play__") for name in LARGE)).order_by("tray_at", "pk"))
    teams: dict[int, set[int]] = defaultdict(set)
    with_csm = set()
    current = AccountTeam.objects.current().filter(account__in={play.account_id for play in plays})
    for account_id, role, member_id in current.values_list("account", "role", "member"):
        teams[account_id].add(member_id)
        if role == AccountTeam.Role.CSM:
            with_csm.add(account_id)
    led = led_by(managers)
    for play in plays:
        if play.holder_id is not None:
            theirs = [play.holder_id] if play.holder_id in led else []
        elif play.account_id in with_csm:
            theirs = [pk for pk in managers if not teams[play.account_id].isdisjoint(led[pk])]
        else:
            theirs = managers
        for pk, whose in readers.of(theirs).items():
            lines[pk].append(partial(_linked, f"{whose}{play}", play))
    return lines


def _notices(members: Mapping[int, TeamMember]) -> tuple[dict[int, list[Notice]], ...]:
    """The notices of members: those that wait for the digest, whose mail was given up, and whose may not have come."""
    rows = Notice.objects.filter(member__in=members).select_related("play", "member__user").order_by("at", "pk")
    mine = Delivery.objects.filter(member__in=members)
    # Each by its index: nearly all mails ever sent are neither.
    unsure = set(mine.filter(state=Delivery.State.UNCLEAR).values_list("pk", flat=True))
    given_up = mine.filter(state=Delivery.State.QUEUED, stuck_at__isnull=False).values_list("pk", flat=True)
    waiting = list(rows.filter(way=Notice.Way.DIGEST, delivery__isnull=True))
    lost = list(rows.filter(delivery__in=unsure.union(given_up)))
    unseen = unseen_by_reader([*waiting, *lost])
    untold: dict[int, list[Notice]] = defaultdict(list)
    refused: dict[int, list[Notice]] = defaultdict(list)
    unclear: dict[int, list[Notice]] = defaultdict(list)
    for notice in (*waiting, *lost):
        if notice.pk not in unseen:
            of_mails = unclear if notice.delivery_id in unsure else refused
            (untold if notice.delivery_id is None else of_mails)[notice.member_id].append(notice)
    if gone := [notice.pk for notice in waiting if notice.pk in unseen]:
        Notice.objects.filter(pk__in=gone).update(way=Notice.Way.OFF)
    return untold, refused, unclear


def _texts(notices: Mapping[int, Sequence[Notice]]) -> Lines:
    return {pk: [partial(_linked, notice.text, notice.play) for notice in mine] for pk, mine in notices.items()}


def _linked(text: str, row: Any) -> str:
    link = link_to_page(row)
    return f"{text}\n  {link}" if link else text
