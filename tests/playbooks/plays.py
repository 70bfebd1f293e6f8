"""Plays to act on, and what has become of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission

from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.factories import PlayFactory
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Interval, Play

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def owned(**more: Any) -> Play:
    """A play that somebody owns."""
    play: Play = PlayFactory(opened_at=NOW, **more)
    return play


def may_work(user: Any) -> Any:
    """Give a user the permission to work plays, as every role of the team has it."""
    user.user_permissions.add(Permission.objects.get(codename="change_play"))
    return user


def done(answers: dict[int, str | None]) -> bool:
    """Whether an act was done on all it was asked for."""
    return set(answers.values()) == {None}


def broken() -> list[Any]:
    """The invariants that do not hold."""
    return [violation for violation in violations() if violation.count]


def intervals(play: Play) -> list[tuple[Any, ...]]:
    """Stage, state, who holds, from and to, in order."""
    rows = Interval.objects.filter(play=play).order_by("seq")
    return [(row.stage, row.state, row.held_by, row.valid_from, row.valid_to) for row in rows]


def story(play: Play) -> list[str]:
    """The lines of the timeline about a play, oldest first."""
    entries = TimelineEntry.objects.filter(subject_type="csplaybooks_playbooks.play", subject_id=play.pk)
    return list(entries.order_by("pk").values_list("text", flat=True))
