"""The only evaluator: which accounts meet a trigger at a moment, as known at a mark, and what was found.

Live runs, replays, previews and every "why?" call `evaluate`. Each group of a trigger's conditions is compiled to one
set-based query over all accounts (or over those that changed); there is no loop over accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from csplaybooks.accounts.models import Account, AccountFacts, Entitlement
from csplaybooks.playbooks.compiled import ask
from csplaybooks.playbooks.measures import Known, Moment, compile_group, get_measure
from csplaybooks.playbooks.measures.facts import TaggedAnyOf
from csplaybooks.playbooks.models import Playbook, PlaybookVersion
from csplaybooks.playbooks.reach import require_kept


@dataclass(frozen=True)
class TriggerVersion:
    """One trigger as one published version defines it, or a draft.

    `guards` (settings by key) and `motion` are those of its playbook: what judges its matches, which `evaluate` does
    not ask. Trigger and version of a draft are 0: no row has that id.
    """

    trigger_id: int
    version_id: int
    definition: Mapping[str, Any]
    audience: Mapping[str, Any]
    guards: Mapping[str, Any] = field(default_factory=dict)
    motion: str = ""

    @classmethod
    def of(cls, version: PlaybookVersion, trigger_ids: Mapping[str, int]) -> list[TriggerVersion]:
        """All triggers of a version; `trigger_ids` gives the identity of each by its key."""
        return cls._of_document(version.document, version.pk, trigger_ids)

    @classmethod
    def of_some(cls, version: PlaybookVersion, trigger_ids: Mapping[str, int]) -> list[TriggerVersion]:
        """Those triggers of a version whose keys are in `trigger_ids`."""
        asked = [item for item in version.document["triggers"] if item["key"] in trigger_ids]
        return cls._of_document({**version.document, "triggers": asked}, version.pk, trigger_ids)

    @classmethod
    def of_draft(cls, document: Mapping[str, Any]) -> list[TriggerVersion]:
        """All triggers of a document that is not published, as `read_document` answers it."""
        return cls._of_document(document, 0, dict.fromkeys((item["key"] for item in document["triggers"]), 0))

    @classmethod
    def _of_document(
        cls, document: Mapping[str, Any], version_id: int, trigger_ids: Mapping[str, int]
    ) -> list[TriggerVersion]:
        return [
            cls(
                trigger_ids[definition["key"]],
                version_id,
                definition,
                document["audience"],
                document["guards"],
                document["motion"],
            )
            for definition in document["triggers"]
        ]

    @property
    def is_draft(self) -> bool:
        """Whether nothing of it was ever published: it has no episodes."""
        return self.trigger_id == 0


def running_versions() -> list[tuple[PlaybookVersion, list[TriggerVersion]]]:
    """The published versions of all running playbooks with their triggers; two queries."""
    playbooks = Playbook.objects.running().select_related("published").prefetch_related("triggers").order_by("pk")
    return [
        (playbook.published, TriggerVersion.of(playbook.published, {t.key: t.pk for t in playbook.triggers.all()}))
        for playbook in playbooks
    ]


#: How the rows of one group of conditions are read: of each condition its settings, and the column of each finding.
Columns = Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]


@dataclass(frozen=True)
class Hit:
    """An account that meets a trigger, with what each condition of the group that held found."""

    account_id: int
    row: Mapping[str, Any] = field(repr=False)
    columns: Columns = field(repr=False)

    # Put into words where somebody reads it: most of those who match have matched before.
    @cached_property
    def evidence(self) -> list[dict[str, Any]]:
        """By condition: `measure`, `words`, `settings` and what was `found`, as it can be kept as JSON."""
        told = []
        for settings, names in self.columns:
            found = {name: self.row[column] for name, column in names.items()}
            told.append(
                {
                    "measure": settings["measure"],
                    "words": get_measure(settings["measure"]).words(settings, found),
                    "settings": dict(settings),
                    "found": {name: _storable(value) for name, value in found.items()},
                }
            )
        return told


def evaluate(
    trigger: TriggerVersion, as_of: datetime, known: Known, accounts: Sequence[int] | None = None
) -> list[Hit]:
    """Which accounts meet `trigger` at `as_of`, as far as was `known`.

    One query for each group of conditions, whatever the number of accounts. `accounts` limits the question to some
    accounts by id (None: all). Windows are `(as_of - length, as_of]`. Of groups that hold the first is told. Answers
    are ordered by account id. Raises `reach.Forgotten` where a window begins before `known.kept_from`: what lies there
    may be pruned, and the answer would be wrong.
    """
    require_kept(trigger.definition, as_of, known)
    moment = Moment(as_of, known, None if accounts is None else tuple(accounts))
    hits: dict[int, Hit] = {}
    # One by one: of conditions that must all hold PostgreSQL makes joins, and of "or" between them it cannot.
    for group in range(len(trigger.definition["any"])):
        rows, columns = ask(
            partial(compile_query, trigger, group=group),
            definition=trigger.definition,
            audience=trigger.audience,
            moment=moment,
            what=f"matches of group {group}",
        )
        for row in rows:
            hits.setdefault(row["pk"], Hit(row["pk"], row, columns))
    return [hits[pk] for pk in sorted(hits)]


def compile_query(trigger: TriggerVersion, moment: Moment, *, group: int = 0) -> tuple[QuerySet[Any, Any], Columns]:
    """The query behind `evaluate` for one group of conditions, and how to read its rows."""
    holds = audience_q(trigger.audience, moment)
    columns: list[tuple[Mapping[str, Any], dict[str, str]]] = []
    annotations: dict[str, Any] = {}
    conditions = compile_group(trigger.definition["any"][group], moment)
    for number, (settings, compiled) in enumerate(conditions):
        holds &= Q(compiled.holds)
        names = {name: f"c{number}_{name}" for name in compiled.found}
        annotations.update({names[name]: expression for name, expression in compiled.found.items()})
        columns.append((settings, names))
    accounts = Account.objects.known_at(moment.known.mark).filter(holds)
    if moment.accounts is not None:
        accounts = accounts.filter(pk__in=moment.accounts)
    return accounts.order_by("pk").values("pk", **annotations), columns


def audience_q(audience: Mapping[str, Any], moment: Moment) -> Q:
    """Whom a playbook is for, over accounts, by the facts that held at the moment. An empty audience is everybody."""
    conditions = Q()
    facts = {
        column: audience[name]
        for name, column in (("segments", "segment"), ("lifecycles", "lifecycle"), ("regions", "region"))
        if name in audience
    }
    mark = moment.known.mark
    if facts or "tags" in audience:
        holding = AccountFacts.objects.holding_at(moment.as_of, mark).filter(account=OuterRef("pk"))
        fitting = holding.filter(**{f"{column}__in": values for column, values in facts.items()})
        if "tags" in audience:
            fitting = fitting.filter(TaggedAnyOf(audience["tags"]))
        conditions &= Q(Exists(fitting))
    if "plans" in audience:
        held = Entitlement.objects.holding_at(moment.as_of, mark).filter(account=OuterRef("pk"))
        conditions &= Q(Exists(held.filter(plan__key__in=audience["plans"])))
    return conditions


def _storable(value: Any) -> Any:
    # A moment is a day as well.
    return value.isoformat() if isinstance(value, date) else value
