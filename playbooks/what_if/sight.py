"""Of whom a what-if speaks, and which triggers a draft has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q

from csplaybooks.accounts.models import Account
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.playbooks.evaluator import Hit, TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Playbook
from csplaybooks.playbooks.quotes import readable
from csplaybooks.playbooks.rounds import MOST_LISTED_ACCOUNTS
from csplaybooks.playbooks.what_if.words import how_many


@dataclass(frozen=True)
class Sight:
    """The accounts that a what-if speaks of: all of them, or those that a viewer sees.

    `ids` is None for all. `gone` are those of them that were deleted or merged, `population` how many the others are.
    `viewer` is whoever reads what is found of them (None: who may read everything).
    """

    ids: frozenset[int] | None
    gone: frozenset[int]
    population: int
    viewer: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, viewer: Any = None) -> Sight:
        """What a viewer sees (None: everything); two queries, and what it takes to know the viewer.

        As with matches: an account that is seen for the sake of one play of it is not among them.
        """
        rows = Account.objects.order_by()
        there = rows.filter(deleted_at__isnull=True, merged_into__isnull=True)
        if viewer is None or scope_of(viewer).everything:
            gone = rows.filter(Q(deleted_at__isnull=False) | Q(merged_into__isnull=False))
            return cls(None, frozenset(gone.values_list("pk", flat=True)), there.count(), viewer)
        seen = rows.in_scope(scope_of(viewer), through_doors=False)
        states = list(seen.values_list("pk", "deleted_at", "merged_into"))
        without = frozenset(pk for pk, deleted_at, merged_into in states if deleted_at or merged_into)
        return cls(frozenset(pk for pk, _, _ in states), without, len(states) - len(without), viewer)

    def evidence(self, hit: Hit) -> list[dict[str, Any]]:
        """What was found, as far as the viewer may read it."""
        return readable(self.viewer, hit.evidence)

    def hits(self, trigger: TriggerVersion, as_of: datetime, known: Known) -> list[Hit]:
        """What the evaluator answers for these accounts; one query. Raises `reach.Forgotten` like `evaluate`."""
        if self.ids is None:
            return evaluate(trigger, as_of, known)
        if len(self.ids) <= MOST_LISTED_ACCOUNTS[connection.vendor == "postgresql"]:
            return evaluate(trigger, as_of, known, sorted(self.ids))
        return [hit for hit in evaluate(trigger, as_of, known) if hit.account_id in self.ids]

    def sees(self, account_id: int) -> bool:
        """Whether an account is among them."""
        return self.ids is None or account_id in self.ids

    @property
    def words(self) -> str:
        """Of whom is spoken: `1,234 accounts`, with "that you see" where these are not all."""
        return f"{how_many(self.population, 'account', 'accounts')}{'' if self.ids is None else ' that you see'}"


def draft_triggers(document: Mapping[str, Any]) -> tuple[Playbook | None, list[TriggerVersion]]:
    """The triggers of a document that was read, for the evaluator, and the playbook whose key it has, if any.

    A trigger that the playbook has had before keeps its identity, so that guards know when it fired; the id of a new
    one is 0. Two queries at most.
    """
    playbook = Playbook.objects.select_related("published").filter(key=document["key"]).first()
    ids = {} if playbook is None else dict(playbook.triggers.values_list("key", "pk"))
    triggers = TriggerVersion.of_draft(document)
    return playbook, [replace(trigger, trigger_id=ids.get(trigger.definition["key"], 0)) for trigger in triggers]


def identity_of(trigger: TriggerVersion) -> int | None:
    """The id of a trigger that there is; None for one that only a draft has."""
    return None if trigger.is_draft else trigger.trigger_id
