"""How far each account gets in each group of a trigger, in SQL: what is counted and what is listed is this.

The place of an account in a group is one number: its own id where it meets all conditions, `-1` where it fails the
first, `-2` where it meets the first and fails the second, and so on; `0` is outside the audience. Conditions behind one
that fails are not asked: a database evaluates a CASE in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import Any

from django.db.models import BigIntegerField, Case, F, IntegerField, Q, Value, When
from django.db.models.lookups import Exact

from csplaybooks.playbooks.evaluator import TriggerVersion, audience_q
from csplaybooks.playbooks.measures import Moment, compile_group
from csplaybooks.playbooks.verdicts.kinds import Kind, Verdict

_OUTSIDE = 0


def places(trigger: TriggerVersion, moment: Moment) -> dict[str, Any]:
    """The place in each group, as expressions over `Account` by name, in the order of the groups."""
    audience = audience_q(trigger.audience, moment)
    found: dict[str, Any] = {}
    for g, group in enumerate(trigger.definition["any"]):
        failing = [(audience, _OUTSIDE)]
        failing += [(Q(compiled.holds), _failing(c)) for c, (_, compiled) in enumerate(compile_group(group, moment))]
        # One after the other and not one in the other: SQLite reads nothing that is nested too deep.
        cases = [When(_does_not_hold(condition), then=Value(place)) for condition, place in failing if condition]
        found[f"place{g}"] = Case(*cases, default=F("pk"), output_field=BigIntegerField())
    return found


def _does_not_hold(condition: Q) -> Exact:
    # What is null holds for nobody.
    return Exact(Case(When(condition, then=Value(1)), default=Value(0), output_field=IntegerField()), 0)


def _failing(condition: int) -> int:
    return -1 - condition


def verdict_of(row: Sequence[int]) -> Verdict | int:
    """What the places of an account in all groups say: its id where it meets the conditions, else its verdict."""
    if (met := max(row)) > _OUTSIDE:
        return met
    if row[0] == _OUTSIDE:
        return Verdict(Kind.OUTSIDE)
    furthest = min(row)
    return Verdict.failed(row.index(furthest), -1 - furthest)


def with_verdict(trigger: TriggerVersion, verdict: Verdict) -> Q:
    """The accounts that do not meet the conditions and have this verdict, over the names of `places`."""
    groups = range(len(trigger.definition["any"]))
    if verdict.kind == Kind.OUTSIDE:
        return Q(place0=_OUTSIDE)
    group, condition = verdict.group, verdict.condition
    # Each place is asked for once: it is the whole CASE. Earlier groups got less far, later ones no further.
    wanted = {g: [_failing(c) for c in range(condition + (g > group))] for g in groups}
    wanted[group] = [_failing(condition)]
    return reduce(and_, (Q(**{f"place{g}__in": failing}) for g, failing in wanted.items()))
