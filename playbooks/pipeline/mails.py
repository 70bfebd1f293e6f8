"""The mails of notices: what waits to be told a member at once becomes one mail for each kind of thing."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from operator import attrgetter
from typing import Any

from django.db.models import Q

from csplaybooks.accounts.models import TeamMember
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.acts.deliveries import Outgoing, call_off_team_mails, queue_deliveries
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.models import Delivery, Notice, Stage
from csplaybooks.playbooks.pipeline.letters import (
    MOST_LISTED,
    Item,
    link_to_page,
    moment_for,
    next_due,
    render,
    why_it_fired,
)
from csplaybooks.playbooks.pipeline.readers import unseen_by_reader
from csplaybooks.playbooks.pipeline.savepoints import together_or_each

logger = logging.getLogger("csplaybooks.mails")

#: The lease of writing mails: one worker at a time, so that what came together stands in one mail.
LEASE = "csplaybooks:mails"

#: At most so many notices in one transaction.
BATCH = 1000

#: How long a mail about a new play waits for its clocks, which say what is due when.
CLOCKS_WITHIN = timedelta(minutes=2)

#: The subject of a mail about several things of one kind.
_SEVERAL: Mapping[Notice.Kind, str] = {
    Notice.Kind.ASSIGNED: "{count} plays are yours",
    Notice.Kind.WARNED: "{count} promises run out",
    Notice.Kind.BREACHED: "{count} promises were missed",
    Notice.Kind.ESCALATED: "{count} missed promises of your team are still open",
    Notice.Kind.OFFERED: "{count} plays are offered to you",
    Notice.Kind.REFUSED: "{count} offers were refused",
    Notice.Kind.UNSENT: "{count} mails to customers did not go",
}
_SEVERAL_LAPSED = "Nobody answered {count} offers"


def unwritten(now: datetime) -> Any:
    """Notices that wait for their mail. New plays wait for their clocks first, a little."""
    unclocked = Q(
        kind=Notice.Kind.ASSIGNED,
        at__gt=now - CLOCKS_WITHIN,
        play__clocks_started_at__isnull=True,
        play__stage__in=[Stage.OWNED, Stage.RUNNING],
    )
    return Notice.objects.filter(~unclocked, way=Notice.Way.NOW, delivery__isnull=True)


def stop_team_mails(*, now: datetime) -> int:
    """Where the site's team is not told by mail any more: what waits is told on the page of notices alone.

    So nothing comes in a heap when mail is switched on again. Answers how many notices and mails there were.
    """
    stopped = 0
    waiting = Notice.objects.filter(way__in=[Notice.Way.NOW, Notice.Way.DIGEST], delivery__isnull=True)
    if waiting.exists():
        stopped += waiting.update(way=Notice.Way.OFF)
    while called_off := call_off_team_mails(now=now):
        stopped += called_off
    return stopped


def write_mails(*, now: datetime) -> int:
    """Write the mails of notices that are to be told at once; answers of how many notices. Each stands in one mail.

    None where `NOTICES_BY_MAIL` is off. A member whose mail cannot be written does not stop the others: theirs waits
    for the next call, and the log says why.
    """
    if not csplaybooks_settings.NOTICES_BY_MAIL:
        return 0
    written = 0
    failing: set[int] = set()
    while (waiting := unwritten(now).exclude(member__in=failing)).exists():
        with holding(LEASE, now):
            notices = _read(waiting)
            failing |= _write(notices, now)
        written += sum(notice.member_id not in failing for notice in notices)
        if len(notices) < BATCH:
            break
    return written


def _read(waiting: Any) -> list[Notice]:
    rows = waiting.select_related(
        "member__user",
        "play__account",
        "play__playbook",
        "event__clock",
        "handoff__clock",
    )
    return list(rows.defer("play__playbook__draft", "play__amount_working").order_by("pk")[:BATCH])


def _write(notices: Sequence[Notice], now: datetime) -> set[int]:
    """Write the mails of notices, together, or member by member where that fails; answers whose could not be."""
    by_member: dict[int, list[Notice]] = defaultdict(list)
    for notice in notices:
        by_member[notice.member_id].append(notice)
    failing: set[int] = set()

    def try_later(mine: list[Notice], error: Exception) -> None:
        logger.exception("%d notices of %s could not be written; tried again later", len(mine), mine[0].member)
        failing.add(mine[0].member_id)

    together_or_each(
        list(by_member.values()),
        lambda some: _write_together(sorted(chain.from_iterable(some), key=attrgetter("pk")), now),
        of="members' mails",
        logger=logger,
        failed=try_later,
    )
    return failing


def _write_together(notices: Sequence[Notice], now: datetime) -> int:
    unseen = unseen_by_reader(notices)
    groups: dict[tuple[int, str, bool], list[Notice]] = defaultdict(list)
    for notice in notices:
        if notice.member.is_active and notice.member.email and notice.pk not in unseen:
            groups[notice.member_id, notice.kind, notice.has_lapsed].append(notice)
    # Whoever has left since, has no address or does not see the play any more, is not written to.
    mailed = {notice.pk for group in groups.values() for notice in group}
    if gone := [notice.pk for notice in notices if notice.pk not in mailed]:
        Notice.objects.filter(pk__in=gone).update(way=Notice.Way.OFF)
    due = next_due({notice.play_id for notice in notices})
    mails = {_key(group): _mail(group, due, now) for group in groups.values()}
    deliveries = queue_deliveries(mails.values(), now)
    for group in groups.values():
        for notice in group:
            notice.delivery = deliveries[_key(group)]
    Notice.objects.bulk_update([notice for group in groups.values() for notice in group], ["delivery"], batch_size=500)
    return len(notices)


def _key(group: Sequence[Notice]) -> str:
    return f"notice:{group[0].pk}"


def _mail(group: Sequence[Notice], due: Mapping[int, tuple[str, datetime]], now: datetime) -> Outgoing:
    first, member, count = group[0], group[0].member, len(group)
    several = _SEVERAL_LAPSED if first.has_lapsed else _SEVERAL[Notice.Kind(first.kind)]
    subject = first.text if count == 1 else several.format(count=count)
    return Outgoing(
        key=_key(group),
        kind=Delivery.Kind.NOTICE,
        member_id=member.pk,
        to_address=member.email,
        subject=subject,
        body=render(
            "notices",
            lead=f"{first.heading}." if count == 1 else f"{subject}:",
            items=[_item(notice, member, due, now) for notice in group[:MOST_LISTED]],
            more=max(count - MOST_LISTED, 0),
        ),
    )


def _item(notice: Notice, member: TeamMember, due: Mapping[int, tuple[str, datetime]], now: datetime) -> Item:
    lines = [f"Why: {line}" for line in why_it_fired(member, notice.play)]
    if until := _until(notice, due):
        target, at = until
        lines.append(f"{target} {'due' if at > now else 'was due'}: {moment_for(member, at)}")
    if link := link_to_page(notice.play):
        lines.append(link)
    return Item(notice.text, tuple(lines))


def _until(notice: Notice, due: Mapping[int, tuple[str, datetime]]) -> tuple[str, datetime] | None:
    """What is due, and when: of the clock or offer that is told of, or else of the play."""
    clock = notice.event.clock if notice.event is not None else notice.handoff.clock if notice.handoff else None
    if clock is None:
        return due.get(notice.play_id)
    at = clock.due_at
    return None if at is None or notice.kind == Notice.Kind.REFUSED else (clock.get_target_display(), at)
