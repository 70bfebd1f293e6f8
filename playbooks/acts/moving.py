"""What all acts on plays share: the claim, the clocks of the plays claimed, and the words that people give."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import OuterRef, Q, Subquery, TextChoices
from django.db.models.functions import Coalesce

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.playbooks.acts.notices import tell_events
from csplaybooks.playbooks.clockwork import call_off, finish, recompute, save_clocks, write_unseen
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.models import Clock, ClockEvent, Handoff, Interval, Play
from csplaybooks.playbooks.moves import Rights, allowed_q, refusal, stands_right_q

Answers = dict[int, str | None]
"""Play id to None where an act was done, or to why it was not, in words that name what is possible."""

Seen = Mapping[int, int] | None
"""Play id to its version when the person looked at it: an act on it is refused where somebody has moved it since."""


def act_on_plays(
    verb: str,
    play_ids: Iterable[int],
    move: Callable[[Play], Move | None],
    text: Callable[[Play], str],
    now: datetime,
    actor: Any,
    *,
    after: Callable[[Sequence[Play]], None] | None = None,
    only: Q | None = None,
    seen: Seen = None,
) -> Answers:
    """Claim the plays on which the act may be done, move them, write the timeline; answer for the others.

    `move` answers where a play goes, None where it stays; `text` what the timeline says; `after` writes what else
    belongs to the act, on the plays as they stood before. `only` is asked of the plays once they are claimed. A play
    that has another version than `seen` says is left to whoever was first.
    """
    wanted = list(dict.fromkeys(play_ids))
    rights = Rights.of(actor, now)
    with transaction.atomic():
        lock_in_order(wanted)
        token = uuid.uuid4()
        Play.objects.filter(allowed_q(verb, rights), _unmoved(seen), pk__in=wanted).update(claim=token)
        # Asked once more: whoever waited for a play has seen of other tables what stood there before.
        claimed = Play.objects.filter(stands_right_q(verb), only or Q(), pk__in=wanted, claim=token)
        plays = list(claimed.select_related("account", "playbook", "owner"))
        move_plays([chosen for play in plays if (chosen := move(play)) is not None], now)
        if plays and after is not None:
            after(plays)
        write_timeline(
            [
                timeline_entry(
                    account_id=play.account_id,
                    at=now,
                    now=now,
                    kind=f"play_{verb}",
                    text=f"{play.playbook.name}: {text(play)}",
                    subject=play,
                    actor=actor,
                )
                for play in plays
            ]
        )
        done = {play.pk for play in plays}
        others = (
            Play.objects.filter(pk__in=[pk for pk in wanted if pk not in done])
            .with_step()
            .select_related("owner", "holder")
        )
        refused = {play.pk: play for play in others}
    return {pk: None if pk in done else refusal(verb, refused.get(pk), rights) for pk in wanted}


def lock_in_order(play_ids: Collection[int]) -> None:
    """Lock plays before they are claimed, in the order of their ids: an UPDATE takes them as it finds them.

    Otherwise two who act on the same plays at one instant may wait for each other in a ring. One query where there are
    several, none on SQLite, which has one writer at a time.
    """
    if len(play_ids) > 1 and connection.features.has_select_for_update:
        rows = Play.objects.filter(pk__in=play_ids).order_by("pk")
        no_key = connection.features.has_select_for_no_key_update
        list(rows.select_for_update(no_key=no_key).values_list("pk", flat=True))


def _unmoved(seen: Seen) -> Q:
    """Plays that still have the version they were seen in, and those of which nothing is said."""
    if not seen:
        return Q()
    ids: dict[int, list[int]] = {}
    for pk, version in seen.items():
        ids.setdefault(version, []).append(pk)
    unmoved = ~Q(pk__in=list(seen))
    for version, those in sorted(ids.items()):
        unmoved |= Q(version=version, pk__in=those)
    return unmoved


def lock_clocks(plays: Any) -> None:
    """Lock the ticking clocks of plays (rows, or a queryset) in the order of their ids.

    For an act that deals with some of them before the others: else it and somebody who edits a calendar may wait for
    each other. One query, none on SQLite.
    """
    if connection.features.has_select_for_update:
        ticking = Clock.objects.ticking().filter(play__in=plays).order_by("pk")
        list(ticking.select_for_update().values_list("pk", flat=True))


def fresh_clocks(plays: Sequence[Play], now: datetime, **conditions: Any) -> list[Clock]:
    """The ticking clocks of plays, locked against the watcher, with their times computed anew and saved."""
    ticking = Clock.objects.ticking().filter(play__in=plays, **conditions)
    clocks = list(ticking.select_for_update().order_by("pk"))
    recompute(clocks, now)
    return clocks


def finish_clocks(plays: Sequence[Play], target: str, at: datetime | Mapping[int, datetime], now: datetime) -> None:
    """The promise of a target was kept at `at`, on all plays or by their ids: their clocks end, met or missed."""
    clocks = fresh_clocks(plays, now, target=target)
    kept = at if isinstance(at, Mapping) else dict.fromkeys((play.pk for play in plays), at)
    _save_ended(plays, clocks, [finish(clock, kept[clock.play_id], now) for clock in clocks], now)


def call_off_clocks(plays: Sequence[Play], now: datetime, **conditions: Any) -> None:
    """The promises of plays are not waited for any more; the conditions say which clocks, all that tick by default."""
    clocks = fresh_clocks(plays, now, **conditions)
    _save_ended(plays, clocks, [call_off(clock, now) for clock in clocks], now)


def _save_ended(
    plays: Sequence[Play], clocks: Sequence[Clock], breaches: Sequence[ClockEvent | None], now: datetime
) -> None:
    tell_events(write_unseen(breaches, plays), now=now, plays=plays)
    save_clocks(clocks, ["state", "done_at", "next_event_at", "breached_at", "noticed_at", "excused_at"])


def end_offers(plays: Sequence[Play], answer: Handoff.Answer, *, reason: str = "") -> None:
    """Write what came of the offers of plays that have just moved on: at the moment at which each of them moved.

    That is no earlier than its intervals, where clocks of machines differ: so the time on offer lies in the offer.
    """
    newest = Interval.objects.filter(play=OuterRef("play")).order_by("-seq")
    moved_at = newest.annotate(moved_at=Coalesce("valid_to", "valid_from")).values("moved_at")[:1]
    waiting = Handoff.objects.filter(play__in=plays, answer=Handoff.Answer.WAITING)
    waiting.update(answer=answer, answered_at=Subquery(moved_at), reason=reason)


def words(field: str, text: str, missing: str | None = None, *, most: int = 500) -> str:
    """What somebody wrote, without the space around it; `missing` is what to say where nothing may not be."""
    text = text.strip()
    if not text and missing:
        raise ValidationError({field: missing})
    if len(text) > most:
        raise ValidationError({field: f"At most {most} characters, not {len(text)}."})
    if "\0" in text:
        raise ValidationError({field: "A NUL character cannot be kept."})
    return text


def choice(choices: type[TextChoices], field: str, value: str) -> str:
    """One of the choices; raises ValidationError naming the field and what there is."""
    if value not in choices.values:
        raise ValidationError({field: f"{value!r} is none of {', '.join(choices.values)}."})
    return value
