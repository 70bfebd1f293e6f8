"""What is to happen, in the order of its time: the virtual clock of the story."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count

#: Something that happens at a moment.
Action = Callable[[datetime], None]


class Agenda:
    """Things to happen, taken in the order of their time; of two at one moment the one entered first goes first."""

    def __init__(self, start: datetime, end: datetime) -> None:
        self._end = end
        self._entries: list[tuple[datetime, int, Action]] = []
        self._numbers = count()
        #: What has been lived through: nothing is entered before it.
        self.clock = start

    def add(self, at: datetime, action: Action) -> None:
        """Have `action` called at `at`, or at once where that has passed; what lies after the end never happens."""
        at = max(at, self.clock)
        if at <= self._end:
            heapq.heappush(self._entries, (at, next(self._numbers), action))

    def live(self) -> None:
        """Let everything happen, what is entered meanwhile too."""
        while self._entries:
            self.clock, _, action = heapq.heappop(self._entries)
            action(self.clock)
