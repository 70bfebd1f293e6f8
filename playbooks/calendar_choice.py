"""Whose hours count: the calendar and the time zone in which a play is worked, and calendars as values.

A choice follows the owner of the play. Whoever keeps it on a clock keeps both halves, the calendar and the zone, and
chooses anew where the owner changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Self

from django.db import connection, transaction

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountFacts, TeamMember
from csplaybooks.playbooks.business_time import Block, BusinessCalendar
from csplaybooks.playbooks.models import Calendar, CalendarUse


class NoDefaultCalendar(RuntimeError):
    """No calendar is marked as the default, so working hours mean nothing."""

    def __init__(self) -> None:
        super().__init__("no calendar is the default: run csplaybooks_setup, or mark one")


@dataclass(frozen=True)
class Choice:
    """The calendar that counts for a play, and the zone in which its hours lie (empty: the calendar's own)."""

    calendar_id: int
    zone: str


def choose_calendars(plays: Iterable[Any]) -> dict[int, Choice]:
    """The calendar and zone in which each of these plays is worked, by the play's id; at most four queries.

    `plays` are rows or other objects with `pk`, `owner_id` (None: nobody owns it yet) and `account_id`; they need not
    be saved as they are, so that a change can be asked about before it is written. The first of these that is said in
    the calendars' uses counts:

    1. the calendar of the owner;
    2. that of the nearest team: the owner's own where they lead one, else their manager's, and so on upward;
    3. that of the region of the account, as its latest facts say; upper and lower case are one;
    4. the default calendar.

    The zone is the owner's own, where they have one: their hours then lie in it, whichever calendar counts.

    Raises NoDefaultCalendar where nothing fits one of the plays.
    """
    plays = list(plays)
    if not plays:
        return {}
    uses = _Uses.read()
    people = _People.read() if any(play.owner_id is not None for play in plays) else _People()
    chosen: dict[int, int | None] = {play.pk: uses.of_owner(play.owner_id, people) for play in plays}
    open_accounts = {play.account_id for play in plays if chosen[play.pk] is None}
    if open_accounts and uses.of_region:
        regions = _regions_of(open_accounts)
        for play in plays:
            if chosen[play.pk] is None:
                chosen[play.pk] = uses.of_region.get(regions.get(play.account_id, ""))
    if any(calendar is None for calendar in chosen.values()):
        default = Calendar.objects.filter(is_default=True).values_list("pk", flat=True).first()
        if default is None:
            raise NoDefaultCalendar
        chosen = {play: default if calendar is None else calendar for play, calendar in chosen.items()}
    zones = {play.pk: people.zone_of.get(play.owner_id, "") for play in plays}
    return {play: Choice(calendar, zones[play]) for play, calendar in chosen.items() if calendar is not None}


def lock_calendars() -> None:
    """Lock all calendars until the transaction ends, in the order of their ids; one query, none on SQLite.

    Whoever changes whose hours count holds this, as whoever edits a calendar holds that one: before any lock on steps,
    clocks and offers, which are taken in this order. What begins meanwhile waits for the end of it: see
    `calendars_at_rest`.
    """
    if connection.features.has_select_for_update:
        no_key = connection.features.has_select_for_no_key_update
        list(Calendar.objects.order_by("pk").select_for_update(no_key=no_key).values_list("pk", flat=True))


def calendars_at_rest(calendars: Iterable[int] | None = None) -> set[int]:
    """Those of the calendars (None: of all) that nobody edits at this moment, by id; nothing stays locked.

    An edit marks what runs in its hours, but sees nothing that begins while it is under way. So what begins is stale
    from the start, and must stay so until the edit can be read. One query more, and none of its locks on SQLite.
    """
    rows = Calendar.objects.order_by("pk")
    if calendars is not None:
        rows = rows.filter(pk__in=set(calendars))
    if not connection.features.has_select_for_update_skip_locked:
        return set(rows.values_list("pk", flat=True))
    no_key = connection.features.has_select_for_no_key_update
    with transaction.atomic():
        found = set(rows.select_for_update(skip_locked=True, no_key=no_key).values_list("pk", flat=True))
        # With the savepoint the locks are gone: others who ask must not take us for an edit.
        transaction.set_rollback(True)
    return found


def region_key(region: str) -> str:
    """A region as regions are compared: without regard to upper and lower case, or blanks around it."""
    return region.strip().casefold()


def calendar_values_in(pairs: Iterable[tuple[int, str]]) -> dict[tuple[int, str], BusinessCalendar]:
    """The calendars of these pairs of id and zone, as frozen values in that zone; at most three queries.

    An empty zone is the calendar's own. A pair whose calendar is not there is left out. Equal values share what
    `business_time` has laid out of them, so that asking again is cheap.

    Raises `business_time.CalendarError` for rows that make no calendar, and for a zone that there is not.
    """
    wanted = set(pairs)
    if not wanted:
        return {}
    rows = Calendar.objects.filter(pk__in={calendar for calendar, _ in wanted}).prefetch_related("blocks", "days")
    own = {calendar.pk: calendar_value(calendar) for calendar in rows}
    return {
        (calendar, zone): replace(own[calendar], zone=zone) if zone else own[calendar]
        for calendar, zone in wanted
        if calendar in own
    }


def calendar_value(calendar: Calendar) -> BusinessCalendar:
    """One calendar's rows as a frozen value, in its own zone. Raises `business_time.CalendarError`.

    An imported holiday is a closed day, so that hours which a person entered for the same date overrule it.
    """
    week: list[list[Block]] = [[] for _ in range(7)]
    for block in calendar.blocks.all():
        week[block.weekday].append(Block(block.start_minute, block.end_minute))
    closed: set[date] = set()
    special: dict[date, list[Block]] = defaultdict(list)
    for day in calendar.days.all():
        if day.start_minute is None:
            closed.add(day.day)
        else:
            special[day.day].append(Block(day.start_minute, day.end_minute))
    return BusinessCalendar(
        zone=calendar.zone,
        week=tuple(tuple(blocks) for blocks in week),
        closed_dates=frozenset(closed),
        special_dates={day: tuple(blocks) for day, blocks in special.items()},
    )


@dataclass(frozen=True)
class _People:
    """Who leads whom, and in whose zone: the whole team, which are people and not customers."""

    manager_of: dict[int, int | None] = field(default_factory=dict)
    zone_of: dict[int | None, str] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Self:
        """As the rows say; one query."""
        rows = list(TeamMember.objects.order_by().values_list("pk", "manager", "zone"))
        return cls({pk: manager for pk, manager, _ in rows}, {pk: zone for pk, _, zone in rows})


@dataclass(frozen=True)
class _Uses:
    """What is said of whose hours a calendar is: ids of calendars by member, by manager, and by region."""

    of_member: dict[int, int]
    of_team: dict[int, int]
    of_region: dict[str, int]

    @classmethod
    def read(cls) -> Self:
        """As the rows say; one query."""
        found = cls({}, {}, {})
        rows = CalendarUse.objects.order_by("pk").values_list("calendar", "member", "team", "region")
        for calendar, member, team, region in rows:
            if member is not None:
                found.of_member[member] = calendar
            elif team is not None:
                found.of_team[team] = calendar
            else:
                found.of_region.setdefault(region_key(region), calendar)
        return found

    def of_owner(self, owner: int | None, people: _People) -> int | None:
        """The calendar of an owner, or of the nearest team that they are in; None where nothing is said of them."""
        if owner in self.of_member:
            return self.of_member[owner]
        # A circle of managers is refused when it is made; nothing here may hang on one all the same.
        passed: set[int] = set()
        above = owner
        while above is not None and above not in passed:
            if above in self.of_team:
                return self.of_team[above]
            passed.add(above)
            above = people.manager_of.get(above)
        return None


def _regions_of(accounts: Iterable[int]) -> dict[int, str]:
    """The region of each account whose facts say one, as regions are compared; one query."""
    facts = AccountFacts.objects.current().filter(account__in=Ids(sorted(accounts))).exclude(region="")
    return {account: region_key(region) for account, region in facts.order_by().values_list("account", "region")}
