"""Measures over what is true of an account: head-count, segment, tags. What is unknown fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import BooleanField, Func, OuterRef, Q, Subquery

from csplaybooks.accounts.models import AccountFacts, Segment
from csplaybooks.playbooks.measures.base import Compiled, Measure, Moment, both_ways, lookup, needed, threshold
from csplaybooks.playbooks.measures.lists import few_of
from csplaybooks.signals.models import Strength

TAGS: Mapping[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 200},
    "minItems": 1,
    "maxItems": 50,
    "uniqueItems": True,
}


class TaggedAnyOf(Func):
    """Whether a list of tags holds any of these, over rows of `AccountFacts`; letter by letter, whatever is in them.

    The tags are parameters of the SQL. Django's own JSON lookups know no membership on SQLite.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__("tags", output_field=BooleanField())
        self.tags = tuple(tags)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For PostgreSQL: a list contains a list of one where it holds that one."""
        column, params = compiler.compile(self.source_expressions[0])
        return (
            f"({' OR '.join([f'{column} @> %s::jsonb'] * len(self.tags))})",
            tuple(part for tag in self.tags for part in (*params, json.dumps([tag]))),
        )

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, tuple[Any, ...]]:
        """For SQLite, to which a number is never like a text."""
        column, params = compiler.compile(self.source_expressions[0])
        slots = ", ".join(["%s"] * len(self.tags))
        found = f"SELECT 1 FROM JSON_EACH({column}) AS tag WHERE tag.atom IN ({slots})"  # noqa: S608 - the column is Django's
        return f"(JSON_TYPE({column}) = 'array' AND EXISTS({found}))", (*params, *params, *self.tags)


class OfFacts(Measure):
    """What the measures on an account's facts share: they ask the one row of facts that held at the moment."""

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """The facts that are found."""
        raise NotImplementedError  # pragma: no cover - all subclasses have their own

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """The comparison, over `AccountFacts` rows."""
        raise NotImplementedError  # pragma: no cover - all subclasses have their own

    def compile(self, settings: Mapping[str, Any], moment: Moment) -> Compiled:
        """See `Measure.compile`."""
        facts = AccountFacts.objects.holding_at(moment.as_of, moment.known.mark).order_by()
        met = facts.filter(self.condition(settings, moment))
        if moment.accounts is not None:
            met = met.filter(account__in=moment.accounts)
        own = facts.filter(account=OuterRef("pk"))
        return Compiled(
            holds=Q(pk__in=met.values("account")),
            found={name: Subquery(own.values(name)[:1]) for name in self.shown(settings)},
        )


class HeadCount(OfFacts):
    """How many people work at the account."""

    key = "head_count"
    strength = Strength.WEAK.value
    treats = "unknown fails; zero is a number"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {}
    threshold_schema: ClassVar[dict[str, Any]] = {
        **both_ways(type="integer", minimum=0, maximum=1_000_000_000),
        "below": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
    }

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return ("head_count",)

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        return Q(**{f"head_count__{lookup(settings)}": int(threshold(settings))})

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        count = found["head_count"]
        return f"head count {'unknown' if count is None else count}, needed {needed(settings)}"


class InSegment(OfFacts):
    """The account is in one of some segments."""

    key = "segment"
    strength = None
    treats = "unknown fails"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {
        "segments": {"type": "array", "items": {"enum": list(Segment.values)}, "minItems": 1, "uniqueItems": True}
    }
    required = ("segments",)
    takes_threshold = False

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return ("segment",)

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        return Q(segment__in=settings["segments"])

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        labels = {segment: str(label).lower() for segment, label in Segment.choices}
        held = found["segment"]
        wanted = " or ".join(labels[segment] for segment in settings["segments"])
        return f"segment {labels.get(held, held) if held else 'unknown'}, needed {wanted}"


class Tagged(OfFacts):
    """The account has at least one of some tags, as they are written."""

    key = "tagged"
    strength = None
    treats = "no tags, or nothing known, fails"
    moment_is_a_parameter = True
    settings_schema: ClassVar[dict[str, Any]] = {"tags": TAGS}
    required = ("tags",)
    takes_threshold = False

    def shown(self, settings: Mapping[str, Any]) -> Sequence[str]:
        """See `OfFacts.shown`."""
        return ("tags",)

    def condition(self, settings: Mapping[str, Any], moment: Moment) -> Q:
        """See `OfFacts.condition`."""
        return Q(TaggedAnyOf(settings["tags"]))

    def words(self, settings: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        """See `Measure.words`."""
        # The column holds any JSON, and only a list holds tags.
        told = found["tags"] if isinstance(found["tags"], list) else []
        tags = [tag for tag in told if isinstance(tag, str)]
        if held := [tag for tag in settings["tags"] if tag in tags]:
            said = f"tagged {', '.join(held)}"
        else:
            said = f"no such tag (tagged {few_of(tags)})" if tags else "no tags"
        return f"{said}, needed {' or '.join(settings['tags'])}"
