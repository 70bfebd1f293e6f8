"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from csplaybooks.playbooks.models import Lease

#: What helps against all ways in which a cluster can stand still.
RESTART = (
    "Restart the cluster as a whole: by the supervisor's restart, or end its process group (`ps -o pgid= PID` tells "
    "the group of any of its processes, `kill -9 -- -GROUP` ends it) and start `manage.py qcluster` anew. Nothing is "
    "lost: the work is in the database."
)
#: What helps where something is dated ahead.
SET_CLOCKS = "Set the clocks of all machines by one time server."
SET_UP = "Run `manage.py csplaybooks_setup`."
MIGRATE = "Run `manage.py migrate`, with the code that is to run."


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    RED = "red"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, how bad it is, what was seen, and what to do (empty where all is well).

    Names are stable words for programs; one name may come several times, once for each row or cluster in trouble.
    """

    name: str
    level: Level
    seen: str
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding as an object of JSON."""
        return {"name": self.name, "level": self.level.value, "seen": self.seen, "mend": self.mend}


@dataclass
class Look:
    """One look at the installation: the moment, and what several questions need."""

    now: datetime
    #: What was found so far, by name: whether a question makes sense may depend on it.
    levels: dict[str, Level] = field(default_factory=dict)

    @cached_property
    def leases(self) -> dict[str, Any]:
        """All lease rows of ours by name; one query."""
        return {lease.name: lease for lease in Lease.objects.filter(name__startswith="csplaybooks:")}

    def age(self, at: datetime) -> timedelta:
        """How long ago a moment is, at least zero: clocks of machines differ a little."""
        return max(self.now - at, timedelta())


@dataclass(frozen=True)
class Question:
    """One thing to look at: its name, how, and which questions must not be red for it to make sense."""

    name: str
    ask: Callable[[Look], Iterable[Finding]]
    needs: tuple[str, ...] = ("database", "migrations")


def in_words(span: timedelta) -> str:
    """A length of time as people say it: `45 seconds`, `12 minutes`, `3 hours`, `2 days`."""
    seconds = round(span.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
