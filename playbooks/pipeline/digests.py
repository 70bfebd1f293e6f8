"""The daily digest: what waits for a member of the team, in one mail a day, at their hour in their zone."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any

from django.db.models import Q

from csplaybooks.accounts.models import AccountTeam, TeamMember
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.deliveries import Outgoing, queue_deliveries
from csplaybooks.playbooks.acts.notice_settings import have_settings
from csplaybooks.playbooks.acts.notices import settings_of
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Clock, Delivery, Handoff, Notice, NoticeSettings, Play
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
    members = {day.member.pk: day.member for day in days}
    missed, due = _promises(days, now)
    untold, unclear = _notices(members)
    parts: tuple[tuple[str, Lines], ...] = (
        ("Promises that were missed", missed),
        ("Due today", due),
        ("Offers that wait for your answer", _offers(members)),
        ("Plays that wait for an owner", _tray(members)),
        ("What happened", _texts(untold)),
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
    notices = [notice for found in (untold, unclear) for mine in found.values() for notice in mine]
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


def _promises(days: Sequence[Day], now: datetime) -> tuple[Lines, Lines]:
    """The promises on plays that members own or hold: those that were missed, and those due before their day ends."""
    ends = {day.member.pk: day for day in days}
    theirs = Q(play__owner__in=ends) | Q(play__holder__in=ends)
    clocks = Clock.objects.ticking().filter(theirs, due_at__lt=max(day.end for day in days))
    missed: Lines = defaultdict(list)
    due: Lines = defaultdict(list)
    named = clocks.select_related("play__account", "play__playbook").defer(*LARGE)
    for clock in named.order_by("due_at", "pk"):
        for pk in {clock.play.owner_id, clock.play.holder_id} & ends.keys():
            at, day = clock.due_at, ends[pk]
            # Those without a time were left out by the query.
            if at is not None and at < day.end:
                (missed if at <= now else due)[pk].append(_promise(clock, at, day.member))
    return missed, due


def _promise(clock: Clock, at: datetime, member: TeamMember) -> Callable[[], str]:
    return lambda: _linked(f"{clock.get_target_display()} of {clock.play}: {moment_for(member, at)}", clock.play)


def _offers(members: Mapping[int, TeamMember]) -> Lines:
    """The offers that members have not answered yet."""
    waiting = Handoff.objects.filter(answer=Handoff.Answer.WAITING, offered_to__in=members)
    lines: Lines = defaultdict(list)
    named = waiting.select_related("play__account", "play__playbook", "offered_by").defer("context", *LARGE)
    for offer in named.order_by("offered_at", "pk"):
        lines[offer.offered_to_id].append(_offer(offer, members[offer.offered_to_id]))
    return lines


def _offer(offer: Handoff, member: TeamMember) -> Callable[[], str]:
    until = f", until {moment_for(member, offer.expires_at)}" if offer.expires_at else ""
    return lambda: _linked(f"{offer.play}, from {offer.offered_by}{until}", offer.play)


def _tray(members: Mapping[int, TeamMember]) -> Lines:
    """The plays in the tray, for the manager who holds them; or else for those above the account's team.

    Where an account has no CSM it is any manager's.
    """
    managers = [pk for pk, member in members.items() if member.is_manager]
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
        for pk in managers:
            if play.holder_id is not None:
                is_theirs = play.holder_id == pk
            else:
                is_theirs = play.account_id not in with_csm or not teams[play.account_id].isdisjoint(led[pk])
            if is_theirs:
                lines[pk].append(partial(_linked, str(play), play))
    return lines


def _notices(members: Mapping[int, TeamMember]) -> tuple[dict[int, list[Notice]], dict[int, list[Notice]]]:
    """The notices of members that wait for the digest, and those whose own mail was given up or may not have come."""
    rows = Notice.objects.filter(member__in=members).select_related("play", "member__user").order_by("at", "pk")
    mine = Delivery.objects.filter(member__in=members)
    # Each by its index: nearly all mails ever sent are neither.
    lost = [
        *mine.filter(state=Delivery.State.UNCLEAR).values_list("pk", flat=True),
        *mine.filter(state=Delivery.State.QUEUED, stuck_at__isnull=False).values_list("pk", flat=True),
    ]
    untold: dict[int, list[Notice]] = defaultdict(list)
    unclear: dict[int, list[Notice]] = defaultdict(list)
    waiting = list(rows.filter(way=Notice.Way.DIGEST, delivery__isnull=True))
    given_up = list(rows.filter(delivery__in=lost))
    unseen = unseen_by_reader([*waiting, *given_up])
    for found, by_member in ((waiting, untold), (given_up, unclear)):
        for notice in found:
            if notice.pk not in unseen:
                by_member[notice.member_id].append(notice)
    if gone := [notice.pk for notice in waiting if notice.pk in unseen]:
        Notice.objects.filter(pk__in=gone).update(way=Notice.Way.OFF)
    return untold, unclear


def _texts(notices: Mapping[int, Sequence[Notice]]) -> Lines:
    return {pk: [partial(_linked, notice.text, notice.play) for notice in mine] for pk, mine in notices.items()}


def _linked(text: str, play: Any) -> str:
    link = link_to_page(play)
    return f"{text}\n  {link}" if link else text
