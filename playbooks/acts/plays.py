"""Acts on plays: open by hand, assign, start, touch, pause, resume, close.

Each takes a set of play ids and answers per id: None where it was done, or why not, in words that name what is
possible. Each claims its plays by a conditional UPDATE, so that of two people at the same instant one wins and the
other is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from csplaybooks.accounts.acts.record import require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import Account, TeamMember
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.acts.moving import (
    Answers,
    Seen,
    act_on_plays,
    call_off_clocks,
    choice,
    end_offers,
    finish_clocks,
    fresh_clocks,
    lock_clocks,
    words,
)
from csplaybooks.playbooks.acts.notices import tell_assigned, tell_woken
from csplaybooks.playbooks.intervals import Move
from csplaybooks.playbooks.models import (
    Clock,
    Handoff,
    Interval,
    Outcome,
    Pause,
    Play,
    Playbook,
    Stage,
    State,
    Touch,
)
from csplaybooks.playbooks.people import require_roles
from csplaybooks.playbooks.pipeline.letters import moment_in
from csplaybooks.playbooks.pipeline.opening import Opening, build_plays, save_plays
from csplaybooks.playbooks.pokes import poke

#: A play sleeps no longer than that, where its wake-up date is said.
LONGEST_PAUSE = timedelta(days=3653)
PAUSED_TOO_LONG = "The wake-up date must lie within the next ten years; leave it out to wait until somebody resumes it."


def open_play_by_hand(*, account_id: int, playbook_id: int, reason: str, now: datetime, actor: Any = None) -> Play:
    """Open a play of a published playbook for an account, with the reason a person gives; guards do not hold it.

    Raises ValidationError, naming the field, when the reason is empty, the playbook was never published, the account
    was deleted or merged away, or has an open play of the motion already.
    """
    reason = words("reason", reason, "Say why you open it by hand.")
    with transaction.atomic():
        playbook = Playbook.objects.select_related("published").filter(pk=playbook_id).first()
        if playbook is None or playbook.published is None:
            raise ValidationError({"playbook": "This playbook was never published."})
        account = Account.objects.filter(pk=account_id, deleted_at__isnull=True, merged_into__isnull=True).first()
        if account is None:
            raise ValidationError({"account": "This account was deleted or merged into another."})
        (play,) = build_plays(
            [Opening(account.pk, playbook.published, (), origin=Play.Origin.HAND, reason=reason)], now
        )
        if not save_plays([play], now):
            raise ValidationError(
                {"account": f"{account} has an open play of this motion already: {playbook.get_motion_display()}."}
            )
        write_timeline(
            [
                timeline_entry(
                    account_id=account.pk,
                    at=now,
                    now=now,
                    kind="play_opened",
                    text=f"{playbook.name} opened by hand: {reason}",
                    subject=play,
                    actor=actor,
                )
            ]
        )
        poke("work")
    return play


@transaction.atomic
def assign_plays(
    *, play_ids: Iterable[int], owner_id: int, now: datetime, actor: Any = None, seen: Seen = None
) -> Answers:
    """Make a team member the owner and holder of plays; a paused play stays paused, with its reason and wake-up date.

    Raises ValidationError when the member has left, or has no role by which they may own one of the plays.
    """
    return assign_each(owners=dict.fromkeys(play_ids, owner_id), now=now, actor=actor, seen=seen)


@transaction.atomic
def assign_each(
    *,
    owners: Mapping[int, int],
    now: datetime,
    why: Mapping[int, str] | None = None,
    actor: Any = None,
    seen: Seen = None,
) -> Answers:
    """Assign plays, each to an owner of its own (member id by play id); see `assign_plays`.

    `why` are reasons for the timeline, by play id.
    """
    # Locked, so that nobody who leaves at this moment is given work.
    there = TeamMember.objects.active().select_for_update(no_key=True).filter(pk__in=set(owners.values()))
    members = {member.pk: member for member in there.order_by("pk")}
    if not members.keys() >= set(owners.values()):
        raise ValidationError({"owner": "This team member has left, or never was."})
    to = {play_id: members[owner_id] for play_id, owner_id in owners.items()}
    # A play that somebody holds for its owner may go back, whatever became of the owner's roles since.
    require_roles(to, owners_stay=True)

    def move(play: Play) -> Move:
        owner = to[play.pk]
        if play.state == State.PAUSED:
            return Move(play.pk, Stage(play.stage), State.PAUSED, owner.pk, None, Interval.HeldBy.CUSTOMER)
        stage = Stage.OWNED if play.stage == Stage.ROUTED else Stage(play.stage)
        return Move(play.pk, stage, State.WORKING, owner.pk, owner.pk, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        Play.objects.filter(pk__in=[play.pk for play in plays]).update(tray_at=None)
        _carry_pauses_on([play.pk for play in plays if play.state == State.PAUSED])
        fresh_clocks(plays, now)
        tell_assigned(plays, owners, now=now, actor=actor, why=why)
        poke("work")

    def text(play: Play) -> str:
        reason = (why or {}).get(play.pk)
        return f"Assigned to {to[play.pk].name}" + (f": {reason}" if reason else "")

    return act_on_plays("assign", owners, move, text, now, actor, after=after, seen=seen)


def start_plays(*, play_ids: Iterable[int], now: datetime, actor: Any = None, seen: Seen = None) -> Answers:
    """Take plays up: from owned to running."""

    def move(play: Play) -> Move:
        return _stay(play, stage=Stage.RUNNING)

    return act_on_plays("start", play_ids, move, lambda play: "Started", now, actor, seen=seen)


def log_touch(
    *,
    play_ids: Iterable[int],
    channel: str,
    now: datetime,
    at: datetime | None = None,
    direction: str = Touch.Direction.OUT,
    by_member_id: int | None = None,
    note: str = "",
    actor: Any = None,
) -> Answers:
    """Log a contact on plays, made at `at` (default: now); the first one stops the clock of the first touch.

    A play that was not taken up yet is started by it, unless it is paused. Raises ValidationError for a contact in the
    future, and for a channel, a direction or a member that there is not.
    """
    require_aware(now=now, at=at)
    moment = at or now
    if moment > now:
        raise ValidationError({"at": "A contact cannot lie in the future."})
    channel, direction = choice(Touch.Channel, "channel", channel), choice(Touch.Direction, "direction", direction)
    note = words("note", note, most=10_000)
    play_ids = list(play_ids)
    # Only where somebody said when: the clock of the machine that opened the play may run a little ahead of ours.
    if at is not None and Play.objects.filter(pk__in=play_ids, opened_at__gt=at).exists():
        raise ValidationError({"at": "A contact cannot lie before its play was opened."})
    if by_member_id is not None and not TeamMember.objects.filter(pk=by_member_id).exists():
        raise ValidationError({"by_member": "There is no such team member."})

    def after(plays: Sequence[Play]) -> None:
        Touch.objects.bulk_create(
            [
                Touch(
                    play=play,
                    account_id=play.account_id,
                    channel=channel,
                    direction=direction,
                    by_member_id=by_member_id,
                    at=moment,
                    note=note,
                )
                for play in plays
            ]
        )
        if direction == Touch.Direction.OUT:
            finish_clocks(plays, Clock.Target.FIRST_TOUCH, moment, now)

    label = Touch.Channel(channel).label
    return act_on_plays(
        "touch",
        play_ids,
        lambda play: (
            _stay(play, stage=Stage.RUNNING) if play.stage == Stage.OWNED and play.state != State.PAUSED else None
        ),
        lambda play: f"Contact logged: {label}" + (f": {note[:200]}" if note else ""),
        now,
        actor,
        after=after,
    )


def pause_plays(
    *,
    play_ids: Iterable[int],
    reason: str,
    now: datetime,
    wakes_at: datetime | None = None,
    actor: Any = None,
    seen: Seen = None,
) -> Answers:
    """Pause plays until `wakes_at`, or until somebody resumes them; clocks stand meanwhile, the customer holds.

    Raises ValidationError without a reason, or when the wake-up date is not in the future, within `LONGEST_PAUSE`.
    """
    reason = words("reason", reason, "Say what is waited for.")
    if wakes_at is not None and wakes_at <= now:
        raise ValidationError({"wakes_at": "The wake-up date must lie in the future."})
    if wakes_at is not None and wakes_at > now + LONGEST_PAUSE:
        raise ValidationError({"wakes_at": PAUSED_TOO_LONG})

    def move(play: Play) -> Move:
        return Move(play.pk, Stage(play.stage), State.PAUSED, play.owner_id, None, Interval.HeldBy.CUSTOMER)

    def after(plays: Sequence[Play]) -> None:
        intervals = Interval.objects.filter(play__in=plays, valid_to__isnull=True)
        Pause.objects.bulk_create(
            [
                Pause(play_id=interval.play_id, interval=interval, reason=reason, wakes_at=wakes_at)
                for interval in intervals
            ]
        )
        fresh_clocks(plays, now)

    until = f" until {moment_in(company_time_zone(), wakes_at)}" if wakes_at is not None else ""
    text = f"Paused{until}: {reason}"
    return act_on_plays("pause", play_ids, move, lambda play: text, now, actor, after=after, seen=seen)


def resume_plays(*, play_ids: Iterable[int], now: datetime, actor: Any = None, seen: Seen = None) -> Answers:
    """Take paused plays up again where they stood; their clocks go on."""

    def after(plays: Sequence[Play]) -> None:
        fresh_clocks(plays, now)

    return act_on_plays("resume", play_ids, _taken_up, lambda play: "Resumed", now, actor, after=after, seen=seen)


def wake_paused_plays(*, play_ids: Iterable[int], now: datetime) -> Answers:
    """Resume paused plays whose wake-up date has come: nobody did it, so their owners are told in their digest."""
    over: dict[int, str] = {}

    def after(plays: Sequence[Play]) -> None:
        fresh_clocks(plays, now)
        # The last of each play is the one that is over.
        pauses = Pause.objects.filter(play__in=plays, wakes_at__isnull=False).order_by("pk")
        for play_id, wakes_at in pauses.values_list("play", "wakes_at"):
            over[play_id] = f"the pause until {moment_in(company_time_zone(), wakes_at)} is over"
        tell_woken(plays, over, now=now)

    def text(play: Play) -> str:
        return f"Woken: {over[play.pk]}"

    return act_on_plays("resume", play_ids, _taken_up, text, now, None, after=after, only=_due_to_wake(now))


#: The act that leads to each outcome.
_CLOSING = {
    Outcome.WON: "win",
    Outcome.LOST: "lose",
    Outcome.DECLINED: "decline",
    Outcome.EXPIRED: "expire",
    Outcome.WITHDRAWN: "withdraw",
}


def close_plays(
    *, play_ids: Iterable[int], outcome: str, now: datetime, reason: str = "", actor: Any = None, seen: Seen = None
) -> Answers:
    """Close plays with an outcome. Raises ValidationError for a decline without a reason, or an unknown outcome.

    The clock of the close is met or missed; what else still ticks is called off, or missed if it was broken by then.
    """
    outcome = choice(Outcome, "outcome", outcome)
    reason = words("reason", reason, "Say why it was declined." if outcome == Outcome.DECLINED else None)

    def move(play: Play) -> Move:
        return Move(
            play.pk,
            Stage.CLOSED,
            # What is over is not on offer any more.
            State.WORKING if play.state == State.OFFERED else State(play.state),
            play.owner_id,
            play.holder_id,
            Interval.HeldBy.MEMBER,
            outcome=outcome,
            outcome_reason=reason,
        )

    def after(plays: Sequence[Play]) -> None:
        lock_clocks(plays)
        finish_clocks(plays, Clock.Target.CLOSED, now, now)
        call_off_clocks(plays, now)
        # Only what expires can still be on offer.
        end_offers(plays, Handoff.Answer.EXPIRED)

    text = Outcome(outcome).label + (f": {reason}" if reason else "")
    return act_on_plays(
        _CLOSING[Outcome(outcome)], play_ids, move, lambda play: text, now, actor, after=after, seen=seen
    )


def _carry_pauses_on(play_ids: Sequence[int]) -> None:
    """Give the new interval of plays that stay paused the reason and the wake-up date of the one before it."""
    if not play_ids:
        return
    intervals = dict(Interval.objects.filter(play__in=play_ids, valid_to__isnull=True).values_list("play_id", "pk"))
    last: dict[int, Pause] = {pause.play_id: pause for pause in Pause.objects.filter(play__in=play_ids).order_by("pk")}
    Pause.objects.bulk_create(
        [
            Pause(play_id=play_id, interval_id=intervals[play_id], reason=pause.reason, wakes_at=pause.wakes_at)
            for play_id, pause in last.items()
        ]
    )


def _due_to_wake(now: datetime) -> Q:
    """Plays whose pause has a wake-up date that has come; asked once they are claimed."""
    due = Pause.objects.filter(play=OuterRef("pk"), wakes_at__lte=now).order_by()
    return Q(Exists(due.filter(interval__valid_to__isnull=True)))


def _taken_up(play: Play) -> Move:
    return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, play.owner_id, Interval.HeldBy.MEMBER)


def _stay(play: Play, *, stage: Stage) -> Move:
    return Move(play.pk, stage, State(play.state), play.owner_id, play.holder_id, Interval.HeldBy.MEMBER)
