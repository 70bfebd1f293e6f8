"""What a guard is: one small class that says which facts it needs, and judges one match by them."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import OuterRef, Q, Subquery

from csplaybooks.accounts.models import AccountFacts
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.measures.base import Known
from csplaybooks.playbooks.models import Route

#: The account that is judged, in a subquery.
ACCOUNT = OuterRef("pk")


@dataclass(frozen=True)
class Pass:
    """A guard's "go on", with what it saw."""

    guard: str
    reason: str


@dataclass(frozen=True)
class Hold:
    """A guard's "not now"."""

    guard: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Ceiling:
    """A guard's "yes, but no heavier than this"."""

    guard: str
    route: Route
    reason: str


Answer = Pass | Hold | Ceiling


@dataclass(frozen=True)
class Question:
    """What the guards of one playbook are asked about: when, knowing what, for which motion.

    `cooldown_days` are those of its triggers, by id. `past` is true where `at` is not the present: what people and the
    system did later (plays opened and closed, matches fired) is then not seen. Of the present everything is seen, also
    what a machine wrote whose clock is ahead of ours.
    """

    at: datetime
    known: Known
    motion: str
    cooldown_days: Mapping[int, int] = field(default_factory=dict)
    past: bool = False

    # Kept: they are asked for by each guard and account.
    @cached_property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The company time zone, in which dates are counted."""
        return zoneinfo.ZoneInfo(csplaybooks_settings.TIME_ZONE)

    @cached_property
    def today(self) -> date:
        """The calendar day of the moment, in the company time zone."""
        return self.at.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """The first instant of a day in the company time zone."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone)

    def days_after(self, day: date, days: int) -> datetime | None:
        """The first instant of the day so many days after another; None where the calendar has ended by then."""
        try:
            return self.midnight(day + timedelta(days=days))
        except OverflowError:
            return None

    def facts(self, name: str) -> Subquery:
        """One fact of the account at the moment, as was known."""
        return Subquery(
            AccountFacts.objects.holding_at(self.at, self.known.mark).filter(account=ACCOUNT).values(name)[:1]
        )

    def done_by_then(self, column: str) -> Q:
        """That what a column dates had happened by the moment; of the present, that it has a date at all."""
        return Q(**{f"{column}__lte": self.at}) if self.past else Q(**{f"{column}__isnull": False})


class Guard:
    """One guard, without state; subclasses are registered by key.

    `defaults` are its settings when a playbook says nothing; `schema` checks those it gives.
    """

    key: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    settings_schema: ClassVar[dict[str, Any]] = {}
    can_be_off: ClassVar[bool] = True
    #: Whether `facts` only shifts `question.at` by spans and hands it and `question.known` on as parameters of the SQL.
    #: Then the query is built once and asked for every moment (`csplaybooks.playbooks.compiled`). Leave it False for a
    #: guard whose facts look at the moment itself, its calendar day for one.
    moment_is_a_parameter: ClassVar[bool] = False

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of the guard's settings in a document."""
        return {"type": "object", "properties": cls.settings_schema, "additionalProperties": False}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The expressions over `Account` rows that the judging needs, by name.

        In a subquery the account is `ACCOUNT`. The guards of this package share their names: one name is one
        expression. Those of a registered guard are its own.
        """
        return {}

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """How far back from the moment it looks at signals and readings, by the setting that says so ("": none does).

        What lies further back may be pruned. `max_age_days` are those of the meters, by key.
        """
        return {}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer | None:
        """The guard's answer for one match; None is pass, without a word on why.

        `row` holds the facts, `trigger` (the id of the match's trigger, None of a draft), its `cooldown_days`, and
        `admitted`: the motions of those who stand in the queue before it at the account, and are no plays yet. A hold
        without an end is asked about again by each run that looks at the account.
        """
        raise NotImplementedError  # pragma: no cover - every guard has its own

    def answer(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """What `judge` says, in words in any case."""
        return self.judge(question, settings, row) or Pass(self.key, "nothing speaks against it")
