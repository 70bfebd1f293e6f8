"""Whose time it was: of every second of the plays in a period, whose, added up from intervals cut to the period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, TextChoices, Value, When
from django.db.models.functions import Greatest

from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.models import Interval, Play, Stage, State
from csplaybooks.playbooks.reports.periods import Every, Part, ReportError, checked_period, parts_of
from csplaybooks.playbooks.reports.plays_asked import WhichPlays
from csplaybooks.playbooks.reports.spans import cut_to, microseconds, sums_of
from csplaybooks.playbooks.reports.teams import teams_of_members

#: The key of whoever is not there: no owner yet, no team.
NOBODY = "none"

_LARGEST_ID = 2**63 - 1


class Cut(TextChoices):
    """By what time is told apart. Each second falls on one line of a cut."""

    HOLDER = "holder", "Holder"
    OWNER = "owner", "Owner"
    TEAM = "team", "Team"
    STAGE = "stage", "Stage"
    STATE = "state", "State"
    PLAY = "play", "Play"
    WEEK = "week", "Week"


@dataclass(frozen=True)
class Behind:
    """One line of a cut, to look at what lies behind it: the time of this line alone counts.

    `key` is a line's key: a member's id, `tray`, `customer` or `none` (no owner, no team), a stage, a state, a play's
    id. A week is asked for by its own period.
    """

    by: Cut
    key: str


@dataclass(frozen=True)
class TimeLine:
    """The time of one line: in microseconds, in all and in each week where these were asked for; over so many plays.

    `row_id` is the id of the member or play that it is about, where there is one.
    """

    key: str
    label: str
    microseconds: int
    plays: int
    weeks: tuple[int, ...] = ()
    row_id: int | None = None


@dataclass(frozen=True)
class WhoseTime:
    """The answer over `[since, until)`. `lines` are the most first; stages, states and weeks in their own order.

    `microseconds` is the time that passed on the `plays` in the period: of the plays themselves, from opening to close,
    or of the one line that was asked about. `lines_in_all` is more than there are lines only where they were limited.
    """

    by: Cut
    since: datetime
    until: datetime
    lines: tuple[TimeLine, ...]
    weeks: tuple[Part, ...]
    microseconds: int
    plays: int
    lines_in_all: int

    @property
    def adds_up(self) -> bool:
        """Whether the lines are all of the time; else intervals are broken, and the check of all rows names them."""
        told = sum(line.microseconds for line in self.lines)
        return told == self.microseconds or (self.lines_in_all > len(self.lines) and told < self.microseconds)


def whose_time(
    *,
    viewer: Any,
    since: datetime,
    until: datetime,
    now: datetime,
    by: Cut,
    which: WhichPlays | None = None,
    behind: Behind | None = None,
    weekly: bool = False,
    limit: int | None = None,
) -> WhoseTime:
    """Whose time it was in `[since, until)`, as far as it lies behind `now`, of the plays that `viewer` may see.

    `which` narrows the plays, `behind` the time to one line of another cut; `weekly` tells each line by week too, in
    the company time zone. `limit` is how many lines of plays are told. At most six queries. Raises ReportError for a
    period that is none, or that has too many weeks.
    """
    which = which or WhichPlays()
    since, until = checked_period(since, until, now)
    weeks = parts_of(since, until, Every.WEEK) if weekly or by == Cut.WEEK else ()
    plays = Play.objects.visible_to(viewer).filter(which.q())
    teams = teams_of_members() if Cut.TEAM in (by, behind and behind.by) else {}
    stretches = _stretches(plays, since, until)
    if behind is not None:
        stretches = stretches.filter(_behind(behind, teams))
    whole = stretches if behind is not None else _whole_plays(plays, since, until)
    [(_, elapsed, number, _)] = list(sums_of(whole, ())) or [((), 0, 0, ())]
    found = sums_of(stretches, _keys(by, teams), weeks, limit=limit if by == Cut.PLAY else None)
    lines = tuple(_lines(by, found, weeks))
    return WhoseTime(
        by, since, until, lines, weeks, elapsed, number, lines_in_all=number if by == Cut.PLAY else len(lines)
    )


def time_of_play(play_id: int, now: datetime) -> dict[Cut, list[TimeLine]]:
    """Whose time one play was, from its opening on, by holder and by stage; one query."""
    rows = Interval.objects.filter(play=play_id, valid_from__lt=now).select_related("holder").order_by("seq")
    sums: dict[Cut, dict[str, TimeLine]] = {Cut.HOLDER: {}, Cut.STAGE: {}}
    for row in rows:
        # Where clocks of machines differ, an interval may end a little ahead.
        spent = microseconds(min(row.valid_to or now, now)) - microseconds(row.valid_from)
        if not spent:
            continue
        holder = row.holder.name if row.holder is not None else row.get_held_by_display()
        for cut, key, label, row_id in (
            (Cut.HOLDER, str(row.holder_id or row.held_by), holder, row.holder_id),
            (Cut.STAGE, row.stage, row.get_stage_display(), None),
        ):
            before = sums[cut].get(key)
            total = spent + (before.microseconds if before is not None else 0)
            sums[cut][key] = TimeLine(key, label, total, 1, row_id=row_id)
    return {cut: list(lines.values()) for cut, lines in sums.items()}


def _stretches(plays: QuerySet[Any], since: datetime, until: datetime) -> QuerySet[Any]:
    """The intervals of plays that have time in the period."""
    rows = Interval.objects.filter(
        Q(valid_to__isnull=True) | Q(valid_to__gt=Greatest("valid_from", Value(since))), valid_from__lt=until
    )
    if plays.query.where:
        rows = rows.filter(play__in=plays.order_by().values("pk"))
    answer: QuerySet[Any] = rows.annotate(asked_play=F("play_id"), **cut_to("valid_from", "valid_to", since, until))
    return answer


def _whole_plays(plays: QuerySet[Any], since: datetime, until: datetime) -> QuerySet[Any]:
    """The plays that were open in the period, each from its opening to its close."""
    rows = plays.filter(
        Q(closed_at__isnull=True) | Q(closed_at__gt=Greatest("opened_at", Value(since))), opened_at__lt=until
    )
    answer: QuerySet[Any] = rows.annotate(asked_play=F("pk"), **cut_to("opened_at", "closed_at", since, until))
    return answer


def _keys(by: Cut, teams: dict[int, int]) -> list[Any]:
    """What intervals are grouped by."""
    match by:
        case Cut.HOLDER:
            return [F("held_by"), F("holder_id"), F("holder__name")]
        case Cut.OWNER:
            return [F("owner_id"), F("owner__name")]
        case Cut.TEAM:
            return [F("held_by"), _team(teams)]
        case Cut.STAGE | Cut.STATE:
            return [F(by.value)]
        case Cut.PLAY:
            return [F("play_id"), F("play__playbook__name"), F("play__account__name")]
    return []


def _team(teams: dict[int, int]) -> Any:
    """The manager of the holder's team, in SQL."""
    whens = [
        When(holder__in=[pk for pk, manager in teams.items() if manager == manager_id], then=Value(manager_id))
        for manager_id in sorted(set(teams.values()))
    ]
    return Case(*whens, default=Value(None), output_field=IntegerField())


def _behind(behind: Behind, teams: dict[int, int]) -> Q:
    """The intervals of one line. Raises ReportError for a key that no line of the cut has."""
    by, key = behind.by, behind.key
    if by in (Cut.STAGE, Cut.STATE) and key in (Stage if by == Cut.STAGE else State).values:
        return Q(**{by.value: key})
    if by in (Cut.HOLDER, Cut.TEAM) and key in (Interval.HeldBy.TRAY, Interval.HeldBy.CUSTOMER):
        return Q(held_by=key)
    if by == Cut.OWNER and key == NOBODY:
        return Q(owner__isnull=True)
    if by == Cut.TEAM and key == NOBODY:
        return Q(held_by=Interval.HeldBy.MEMBER) & ~Q(holder__in=list(teams))
    if key.isascii() and key.isdecimal() and 0 < int(key) <= _LARGEST_ID:
        if by == Cut.TEAM:
            return Q(holder__in=[pk for pk, manager_id in teams.items() if manager_id == int(key)])
        if by in (Cut.HOLDER, Cut.OWNER, Cut.PLAY):
            return Q(**{by.value: int(key)})
    raise ReportError("key", f"{key!r} is no line of this cut.")


def _lines(by: Cut, found: Iterable[tuple[Any, ...]], weeks: Sequence[Part]) -> Iterator[TimeLine]:
    """The lines of a cut, with their names."""
    if by == Cut.WEEK:
        [(_, _, _, spent)] = list(found) or [((), 0, 0, (0,) * len(weeks))]
        yield from (TimeLine(week.key, week.key, time, 0) for week, time in zip(weeks, spent, strict=True))
        return
    rows = list(found)
    if by in (Cut.STAGE, Cut.STATE):
        order = (Stage if by == Cut.STAGE else State).values
        rows.sort(key=lambda row: order.index(row[0][0]))
    names = {}
    if by == Cut.TEAM:
        managers = {key[1] for key, *_ in rows if key[1] is not None}
        names = dict(TeamMember.objects.filter(pk__in=managers).order_by().values_list("pk", "name"))
    for key, spent, plays, weekly in rows:
        if not spent:
            continue
        text, label, row_id = _named(by, key, names)
        yield TimeLine(text, label, spent, plays, weekly, row_id)


def _named(by: Cut, key: tuple[Any, ...], names: dict[int, str]) -> tuple[str, str, int | None]:
    """Key, label and row of a line."""
    match by:
        case Cut.HOLDER:
            held_by, member_id, name = key
            if member_id is None:
                return held_by, str(Interval.HeldBy(held_by).label), None
            return str(member_id), name, member_id
        case Cut.OWNER:
            member_id, name = key
            return (NOBODY, "Nobody yet", None) if member_id is None else (str(member_id), name, member_id)
        case Cut.TEAM:
            held_by, manager_id = key
            if held_by != Interval.HeldBy.MEMBER:
                return held_by, str(Interval.HeldBy(held_by).label), None
            if manager_id is None:
                return NOBODY, "In no team", None
            return str(manager_id), f"Team of {names[manager_id]}", manager_id
        case Cut.PLAY:
            play_id, playbook, account = key
            return str(play_id), f"{playbook} at {account}", play_id
        case Cut.STAGE:
            return key[0], str(Stage(key[0]).label), None
    return key[0], str(State(key[0]).label), None
