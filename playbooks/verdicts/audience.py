"""The audience in words: what an account is, and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import OuterRef, Subquery

from csplaybooks.accounts.models import AccountFacts, Entitlement
from csplaybooks.playbooks.measures import Moment
from csplaybooks.playbooks.measures.lists import TextList

#: By the name in a document: the fact, and what it is called.
_FACTS = {
    "segments": ("segment", "segment"),
    "lifecycles": ("lifecycle", "lifecycle"),
    "regions": ("region", "region"),
    "tags": ("tags", "tags"),
}


class Facets:
    """What an audience asks of an account, one by one."""

    def __init__(self, audience: Mapping[str, Any]) -> None:
        self._audience = audience

    def columns(self, moment: Moment) -> dict[str, Any]:
        """What accounts are at the moment, by name, as expressions over `Account`."""
        mark = moment.known.mark
        facts = AccountFacts.objects.holding_at(moment.as_of, mark).filter(account=OuterRef("pk")).order_by()
        columns: dict[str, Any] = {
            f"is_{name}": Subquery(facts.values(fact)[:1])
            for name, (fact, _) in _FACTS.items()
            if name in self._audience
        }
        if "plans" in self._audience:
            held = Entitlement.objects.holding_at(moment.as_of, mark).filter(account=OuterRef("pk"), plan__isnull=False)
            plans = held.order_by().values("account").annotate(keys=TextList("plan__key")).values("keys")
            columns["is_plans"] = Subquery(plans)
        return columns

    def words(self, row: Mapping[str, Any]) -> str:
        """What does not fit; where all does, what fits."""
        if not self._audience:
            return "everybody is asked for"
        facets = [
            (set(_listed(row[f"is_{name}"])) & set(wanted), self._facet(name, row[f"is_{name}"]))
            for name, wanted in self._audience.items()
        ]
        failing = [words for fits, words in facets if not fits]
        return "; ".join(failing or [words for _, words in facets])

    def _facet(self, name: str, value: Any) -> str:
        held, asked = _listed(value), ", ".join(self._audience[name])
        if name == "plans":
            return f"it holds {', '.join(sorted(held)) or 'no plan'}, asked for {asked}"
        called = _FACTS[name][1]
        if name == "tags":
            return f"its tags are {', '.join(held) or 'none'}, asked for any of {asked}"
        return f"its {called} is {value or 'unknown'}, asked for {asked}"


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
