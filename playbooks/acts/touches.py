"""Acts on contacts that the system has been told of: by a mail that was sent, or by a signal.

A person logs one with `csplaybooks.playbooks.acts.plays.log_touch`, where the table of moves lets them. What has
happened is written down wherever the play stands.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.ids import Ids
from csplaybooks.playbooks.acts.moving import finish_clocks, lock_in_order
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.models import Clock, Interval, Play, Stage, State, Touch


@dataclass(frozen=True)
class Contact:
    """A contact on a play. A `signal_id` is a contact of a play once, however often it is told; of prompts shown the
    first of a play is one."""

    play_id: int
    channel: str
    direction: str
    at: datetime
    origin: str
    by_member_id: int | None = None
    note: str = ""
    signal_id: int | None = None


@transaction.atomic
def log_contacts(*, contacts: Sequence[Contact], now: datetime) -> list[Touch | None]:
    """Write contacts down that were made; answers the row of each, None where it was left out.

    The first one to the customer stops the clock of the first touch, at its own time, and starts a play that was not
    taken up yet, unless it is paused. Left out is what was told before, and what lies before its play was opened or
    after it was closed. A constant number of queries.
    """
    require_aware(now=now)
    token = uuid.uuid4()
    wanted = {contact.play_id for contact in contacts}
    lock_in_order(wanted)
    Play.objects.filter(pk__in=wanted).update(claim=token)
    plays = Play.objects.filter(claim=token).select_related("account", "playbook").in_bulk()
    told = set(Touch.objects.filter(play__in=plays, signal__isnull=False).values_list("play", "signal"))
    prompted = set(Touch.objects.filter(play__in=plays, channel=Touch.Channel.PROMPT).values_list("play", flat=True))
    rows: list[Touch | None] = []
    for contact in contacts:
        play = plays.get(contact.play_id)
        again = (contact.play_id, contact.signal_id) in told or (
            contact.channel == Touch.Channel.PROMPT and contact.play_id in prompted
        )
        if play is None or again or not _while_open(play, contact.at):
            rows.append(None)
            continue
        # Clocks of machines differ: no contact lies in the future.
        rows.append(_touch(contact, play, max(play.opened_at, min(contact.at, now))))
        if contact.signal_id is not None:
            told.add((contact.play_id, contact.signal_id))
        if contact.channel == Touch.Channel.PROMPT:
            prompted.add(contact.play_id)
    _write([row for row in rows if row is not None], plays, now)
    return rows


def _while_open(play: Play, at: datetime) -> bool:
    return play.opened_at <= at and (play.closed_at is None or at <= play.closed_at)


def _touch(contact: Contact, play: Play, at: datetime) -> Touch:
    return Touch(
        play=play,
        account_id=play.account_id,
        channel=contact.channel,
        direction=contact.direction,
        by_member_id=contact.by_member_id,
        at=at,
        origin=contact.origin,
        signal_id=contact.signal_id,
        note=contact.note,
    )


def _write(touches: Sequence[Touch], plays: Mapping[int, Play], now: datetime) -> None:
    if not touches:
        return
    Touch.objects.bulk_create(touches)
    first: dict[int, datetime] = {}
    for touch in touches:
        if touch.direction == Touch.Direction.OUT and plays[touch.play_id].stage != Stage.CLOSED:
            first[touch.play_id] = min(touch.at, first.get(touch.play_id, touch.at))
    taken_up = [plays[pk] for pk in first]
    if taken_up:
        # Moved first, as in the acts of people: their steps are locked before their clocks.
        move_plays([_start(play) for play in taken_up if _waits(play)], now)
        finish_clocks(taken_up, Clock.Target.FIRST_TOUCH, first, now)
    write_timeline(
        [
            timeline_entry(
                account_id=touch.account_id,
                at=touch.at,
                now=now,
                kind="play_touch",
                text=f"{plays[touch.play_id].playbook.name}: {_said(touch)}",
                subject=plays[touch.play_id],
            )
            for touch in touches
            # What was sent is told by whoever sent it.
            if touch.origin != Touch.Origin.DRAFT
        ]
    )


def _said(touch: Touch) -> str:
    line = f"Contact told by a signal: {touch.get_channel_display()}"
    return line + (f": {touch.note[:200]}" if touch.note else "")


def _waits(play: Play) -> bool:
    return play.stage == Stage.OWNED and play.state != State.PAUSED


def _start(play: Play) -> Move:
    return Move(play.pk, Stage.RUNNING, State(play.state), play.owner_id, play.holder_id, Interval.HeldBy.MEMBER)


@transaction.atomic
def take_back_contacts(*, signal_ids: Iterable[int], now: datetime) -> int:
    """Signals were taken back or corrected: the contacts that they told of were none; answers how many there were.

    What a correction says instead is a contact of its own. A promise that was kept or broken by then stays so.
    """
    touches = list(
        Touch.objects.filter(signal__in=Ids(sorted(signal_ids))).select_related("play__playbook", "play__account")
    )
    if not touches:
        return 0
    write_timeline(
        [
            timeline_entry(
                account_id=touch.account_id,
                at=now,
                now=now,
                kind="play_touch_taken_back",
                text=f"{touch.play.playbook.name}: Contact taken back by its sender: {touch.get_channel_display()}",
                subject=touch.play,
            )
            for touch in touches
        ]
    )
    Touch.objects.filter(pk__in=[touch.pk for touch in touches]).delete()
    return len(touches)


def forget_signals(*, signal_ids: Sequence[int]) -> None:
    """Signals are pruned: the contacts that they told of stay, without them. In the caller's transaction."""
    Touch.objects.filter(signal__in=Ids(signal_ids)).update(signal=None)


def members_by_email(addresses: Iterable[str]) -> dict[str, Any]:
    """The ids of members of the team by their address in small letters; one query, none where nobody is asked for."""
    wanted = {address.strip().lower() for address in addresses}
    if not wanted:
        return {}
    from csplaybooks.accounts.models import TeamMember

    rows = TeamMember.objects.exclude(email="").values_list("email", "pk")
    return {email.lower(): pk for email, pk in rows if email.lower() in wanted}
