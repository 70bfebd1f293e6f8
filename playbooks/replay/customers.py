"""What a replay keeps in memory of each customer: the trailing window, the licence, and what it has seen of it.

The window holds the rows of 28 days. Beside that, memory grows with the different customers, users and areas of a
record, and not with its rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from csplaybooks.playbooks.replay.rules import WINDOW_DAYS


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap that a review found: the finding, the product that fills it, and the day of the review."""

    finding_id: int
    product: str
    day: date


@dataclass(slots=True, eq=False)
class Customer:
    """One account of the record, by the `name` it has there. Products and areas are kept by their text in the record.

    `era` counts the times that it began anew. `licence` and `allowance` are seats and rows; None before the first
    licence. `above_since` and `over_since` are the first of the days in a row on which active users were above the
    licence, and rows above the allowance.
    """

    pk: int
    number: int
    name: str
    csm_id: int
    since: date
    last_row: date
    era: int = 0
    is_gone: bool = False
    users: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    known_users: set[str] = field(default_factory=set)
    known_areas: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)
    plan: int = 0
    licence: int | None = None
    allowance: int | None = None
    segment: str = "small"
    above_since: date | None = None
    over_since: date | None = None
    gates: int = 0
    gap: Gap | None = None
    mrr: dict[str, int] = field(default_factory=dict)
    #: What was last read: active users and licence, rows and allowance; and on which day the seats were.
    seats_read: tuple[int, int | None] = (0, None)
    usage_read: tuple[int, int | None] = (0, None)
    read_on: date = date.min

    @property
    def active_users(self) -> int:
        """Distinct users of the window."""
        return len(self.users)

    def compare(self, day: date) -> None:
        """Note since when use lies above what is licensed, after either may have changed on `day`."""
        if self.licence is None or self.active_users <= self.licence:
            self.above_since = None
        elif self.above_since is None:
            self.above_since = day
        if self.allowance is None or self.rows <= self.allowance:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = day


class Window:
    """The rows of the last 28 days, by day, customer and user."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[date, dict[Customer, Counter[str]]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def add(self, day: date, rows: Iterable[tuple[Customer, str]]) -> set[Customer]:
        """Take the rows of one day in, as customer and user; answers the customers touched. Days come in order."""
        bucket: dict[Customer, Counter[str]] = defaultdict(Counter)
        for customer, user in rows:
            bucket[customer][user] += 1
            customer.rows += 1
            if user:
                customer.users[user] += 1
        if bucket:
            self._buckets.append((day, bucket))
        return set(bucket)

    def slide(self, day: date) -> set[Customer]:
        """Let go of what lies outside the window that ends with `day`; answers the customers touched."""
        touched: set[Customer] = set()
        while self._buckets and self._buckets[0][0] <= day - timedelta(days=WINDOW_DAYS):
            for customer, users in self._buckets.popleft()[1].items():
                touched.add(customer)
                customer.rows -= users.total()
                for user, count in users.items():
                    if not user:
                        continue
                    customer.users[user] -= count
                    if not customer.users[user]:
                        del customer.users[user]
        return touched
