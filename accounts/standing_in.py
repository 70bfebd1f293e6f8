"""Who stands in for whom: absences are calendar days in the company's time zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from csplaybooks.accounts.models import Absence
from csplaybooks.conf import company_time_zone


def company_day(now: datetime) -> date:
    """The calendar day of a moment, in the company's time zone."""
    return now.astimezone(company_time_zone()).date()


def absences_at(now: datetime) -> Any:
    """The absences of that day, in the order in which they were entered."""
    today = company_day(now)
    return Absence.objects.filter(first_day__lte=today, last_day__gte=today).order_by("pk")


def stands_in_for(member_id: int, now: datetime) -> frozenset[int]:
    """For whom of those away a member, who is active, stands in at a moment; nobody, where they are away themselves.

    Chains are followed: where Ben is away too, whoever stands in for Ben stands in for those for whom Ben would. A
    circle ends with nobody. One query: these are people, not customers.
    """
    away: Mapping[int, int | None] = dict(absences_at(now).values_list("member", "stand_in"))
    if member_id in away:
        return frozenset()
    return frozenset(absent for absent in away if _end(absent, away) == member_id)


def stand_ins_at(now: datetime) -> dict[int, int]:
    """Of each member who is away at a moment, whoever stands in for them in the end; who has nobody is left out.

    One query.
    """
    away: Mapping[int, int | None] = dict(absences_at(now).values_list("member", "stand_in"))
    ends = ((absent, _end(absent, away)) for absent in away)
    return {absent: here for absent, here in ends if here is not None}


def absences_in_words(now: datetime) -> dict[int, str]:
    """Of each member who is away at a moment, until when and who stands in: `away until 5 Dec, Ben stands in`.

    The year is told where it is another. One query.
    """
    rows = list(absences_at(now).select_related("stand_in"))
    away: Mapping[int, int | None] = {row.member_id: row.stand_in_id for row in rows}
    names = {row.stand_in_id: str(row.stand_in) for row in rows if row.stand_in_id is not None}
    last = {pk: max(row.last_day for row in rows if row.member_id == pk) for pk in away}
    this_year = company_day(now).year
    words = {}
    for absent, day in last.items():
        here = _end(absent, away)
        until = f"{day.day} {day:%b}" if day.year == this_year else f"{day.day} {day:%b %Y}"
        words[absent] = f"away until {until}, {'nobody' if here is None else names[here]} stands in"
    return words


def _end(member_id: int, away: Mapping[int, int | None]) -> int | None:
    """Who is there in the end, of those who stand in one for the other."""
    seen: set[int] = set()
    here: int | None = member_id
    while here is not None and here in away:
        if here in seen:
            return None
        seen.add(here)
        here = away[here]
    return here
