"""What holds of absences: one at a time for each member, and whoever stands in is here or has somebody who is.

A member may be stood in for by somebody who is away too: chains are followed. What is refused is a circle, in which
nobody would be found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from django.core.exceptions import ValidationError

from csplaybooks.accounts.models import Absence, TeamMember


def stands_up(absence: Absence) -> None:
    """Refuse an absence that overlaps another one of the member, a stand-in who has left, and circles of stand-ins.

    Raises ValidationError by field, which names the people. The member and their stand-in are locked, so that of two
    who enter the two halves of a circle, or an absence twice, the second is told.
    """
    if absence.first_day is None or absence.last_day is None or absence.last_day < absence.first_day:
        return
    wanted = {absence.member_id, absence.stand_in_id} - {None}
    locked = TeamMember.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    people = {member.pk: member for member in locked}
    others = Absence.objects.exclude(pk=absence.pk).filter(
        first_day__lte=absence.last_day, last_day__gte=absence.first_day
    )
    away = list(others.select_related("member").order_by("first_day", "pk"))
    for other in away:
        if other.member_id == absence.member_id:
            raise ValidationError(
                {
                    "first_day": f"{other.member} is away from {other.first_day} to {other.last_day} already: "
                    "change that absence, or enter the other days alone."
                }
            )
    if absence.stand_in_id is None:
        return
    stand_in = people[absence.stand_in_id]
    if not stand_in.is_active:
        raise ValidationError({"stand_in": f"{stand_in} has left the team: name somebody who works here."})
    if circle := _circle(absence, away):
        first, last, round_ = circle
        names = " → ".join([*(str(each) for each in round_), str(round_[0])])
        days = f"on {first}" if first == last else f"from {first} to {last}"
        raise ValidationError({"stand_in": f"They would stand in for each other in a circle {days}: {names}."})


def _circle(absence: Absence, away: Sequence[Absence]) -> tuple[date, date, list[TeamMember]] | None:
    """The days on which the stand-ins lead back to the member, and who they are; None where they never do."""
    of: Mapping[int, list[Absence]] = defaultdict(list)
    for other in away:
        if other.stand_in_id is not None:
            of[other.member_id].append(other)
    waiting: list[tuple[int, date, date, list[TeamMember]]] = [
        (absence.stand_in_id or 0, absence.first_day, absence.last_day, [absence.member])
    ]
    while waiting:
        pk, first, last, before = waiting.pop()
        if pk == absence.member_id:
            return first, last, before
        if any(each.pk == pk for each in before):
            # A circle of others, entered before circles were refused: it does not lead back here.
            continue
        for other in of[pk]:
            began, ends = max(first, other.first_day), min(last, other.last_day)
            if began <= ends:
                waiting.append((other.stand_in_id or 0, began, ends, [*before, other.member]))
    return None
