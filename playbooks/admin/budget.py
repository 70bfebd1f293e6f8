"""The queue and close rates as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.accounts.admin.show import money
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.admin_base import BaseAdmin, lines_of, shown, table_of
from csplaybooks.playbooks.budget import POOL_NAMES, places, waiting_by_pool
from csplaybooks.playbooks.close_rates import CloseRates
from csplaybooks.playbooks.models import Match, Playbook, Run, Trigger
from csplaybooks.playbooks.models.matches import BY_VALUE
from csplaybooks.playbooks.sums import STATES


class QueueFilter(admin.SimpleListFilter):
    """Matches by whether there is room for them."""

    title = "queue"
    parameter_name = "queue"
    WAITS = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The choices."""
        return [(self.WAITS, "waits for room"), ("in", "let in")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """The matches of the choice."""
        rows: Any = queryset
        if self.value() == self.WAITS:
            return rows.waiting()
        return rows.admitted() if self.value() == "in" else rows


class QueuePages(BaseAdmin):
    """Pages of matches: what waits is listed as it stands in the queue."""

    queue_columns = ("found_by", "account_link", "worth", "route", "queued_at", "waits_until", "place")
    worth = shown("Expected value", lambda match: money(match.expected_value_minor), ordering="expected_value_minor")
    amount = shown("Expected amount", lambda match: money(match.expected_amount_minor))
    place = shown("Place", lambda match: getattr(match, "place", None))
    stands = shown("Room", lambda match: room_in_words(match))

    def _waits(self, request: HttpRequest) -> bool:
        return request.GET.get(QueueFilter.parameter_name) == QueueFilter.WAITS

    def get_list_display(self, request: HttpRequest) -> Any:
        """The columns of the queue where it is asked for."""
        return self.queue_columns if self._waits(request) else super().get_list_display(request)

    def get_ordering(self, request: HttpRequest) -> Any:
        """The order of the queue where it is asked for."""
        return BY_VALUE if self._waits(request) else super().get_ordering(request)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list; each match that waits knows its place."""
        changes = super().get_changelist_instance(request)
        if self._waits(request):
            place_of = places()
            for match in changes.result_list:
                match.place = place_of.get(match.pk)
        return changes

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; above the queue stands how many wait, and for whom."""
        more = dict(extra_context or {})
        if self._waits(request) and not scope_of(request.user).nothing:
            more["subtitle"] = queue_in_words(request.user)
        return super().changelist_view(request, more)


def room_in_words(match: Match) -> str | None:
    """Why a match is not a play yet, for all the guards care; None of one that does not stand in the queue."""
    if match.state != Match.State.QUEUED:
        return None
    if match.admitted_run_id is not None:
        return "There is room: it becomes a play as soon as a worker comes by."
    place_of = places()
    place = f", in place {place_of[match.pk]:,} of {len(place_of):,}" if match.pk in place_of else ""
    return f"Waits{place}: nobody who may own it is here and under their cap."


def queue_in_words(viewer: Any) -> str:
    """How many matches wait for room, for whom, and how much room there is; a constant number of queries.

    Room is shared, so it tells of all accounts; and whoever does not see them all reads how many of these they see.
    """
    pools = waiting_by_pool(timezone.now())
    if not pools:
        return "No match waits for room."
    said = "; ".join(
        f"{number:,} {'waits' if number == 1 else 'wait'} for {POOL_NAMES[pool]} ({_room(free)})"
        for pool, (number, free) in pools.items()
    )
    if scope_of(viewer).everything:
        return f"{said}."
    seen = Match.objects.waiting().visible_to(viewer).count()
    return f"Of all accounts, {said}. You see {f'{seen:,}' if seen else 'none'} of them."


def close_rate_of(playbook: Playbook) -> str:
    """The close rate that a playbook goes by today; one query."""
    document = playbook.published.document if playbook.published else {"motion": playbook.motion}
    return str(CloseRates(timezone.now()).of(playbook.pk, document))


def episodes_of(trigger: Trigger, viewer: Any) -> Any:
    """The episodes of a trigger that a person may see, by state, with their sum; one query."""
    rows = Match.objects.visible_to(viewer).filter(trigger=trigger).order_by()
    counted: dict[str, int] = dict(rows.values_list("state").annotate(n=Count("pk")))
    lines: list[tuple[str, int]] = [(str(state.label), counted.get(state.value, 0)) for state in STATES]
    return table_of(("Episodes", ""), [*lines, ("All", sum(counted.values()))])


def budget_of(run: Run) -> Any:
    """What the budget of a run stood on: room by pool, and the close rates it went by."""
    capacities: Mapping[str, int | None] = run.inputs.get("capacities") or {}
    lines = [f"{POOL_NAMES[pool].capitalize()}: {_room(free)}" for pool, free in capacities.items()]
    return lines_of(lines) if lines else "Nothing waited for room."


def _room(free: int | None) -> str:
    """The free places of a pool in words; None: nobody belongs to it."""
    return "nobody belongs to them" if free is None else f"{free:,} free {'place' if free == 1 else 'places'}"
