"""What all acts on plays share: the claim, the clocks of the plays claimed, and the words that people give."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, TextChoices

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.playbooks.clockwork import call_off, finish, recompute
from csplaybooks.playbooks.intervals import Move, move_plays
from csplaybooks.playbooks.models import Clock, ClockEvent, Play
from csplaybooks.playbooks.moves import allowed_q, refusal

Answers = dict[int, str | None]
"""Play id to None where an act was done, or to why it was not, in words that name what is possible."""


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
) -> Answers:
    """Claim the plays on which the act may be done, move them, write the timeline; answer for the others.

    `move` answers where a play goes, None where it stays; `text` what the timeline says; `after` writes what else
    belongs to the act, on the plays as they stood before. `only` is asked of the plays once they are claimed.
    """
    wanted = list(dict.fromkeys(play_ids))
    with transaction.atomic():
        token = uuid.uuid4()
        Play.objects.filter(allowed_q(verb, actor), pk__in=wanted).update(claim=token)
        claimed = Play.objects.filter(only or Q(), pk__in=wanted, claim=token)
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
        others = Play.objects.filter(pk__in=[pk for pk in wanted if pk not in done]).select_related("owner", "holder")
        refused = {play.pk: play for play in others}
    return {pk: None if pk in done else refusal(verb, refused.get(pk), actor) for pk in wanted}


def fresh_clocks(plays: Sequence[Play], now: datetime, **conditions: Any) -> list[Clock]:
    """The ticking clocks of plays, locked against the watcher, with their times computed anew and saved."""
    ticking = Clock.objects.ticking().filter(play__in=plays, **conditions)
    clocks = list(ticking.select_for_update().order_by("pk"))
    recompute(clocks, now)
    return clocks


def finish_clocks(plays: Sequence[Play], target: str, at: datetime, now: datetime) -> None:
    """The promise of a target was kept on plays at `at`: their clocks end, met or missed."""
    clocks = fresh_clocks(plays, now, target=target)
    _save_ended(plays, clocks, [finish(clock, at, now) for clock in clocks])


def call_off_clocks(plays: Sequence[Play], now: datetime, **conditions: Any) -> None:
    """The promises of plays are not waited for any more; the conditions say which clocks, all that tick by default."""
    clocks = fresh_clocks(plays, now, **conditions)
    _save_ended(plays, clocks, [call_off(clock, now) for clock in clocks])


def _save_ended(plays: Sequence[Play], clocks: Sequence[Clock], breaches: Sequence[ClockEvent | None]) -> None:
    holders = {play.pk: play.holder_id for play in plays}
    events = [event for event in breaches if event is not None]
    for event in events:
        event.holder_id = holders[event.clock.play_id]
    ClockEvent.objects.bulk_create(events)
    Clock.objects.ticking().bulk_update(
        clocks, ["state", "done_at", "next_event_at", "breached_at", "noticed_at", "excused_at"], batch_size=500
    )


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
