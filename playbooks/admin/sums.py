"""The two sums of a run as its page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html

from csplaybooks.admin_base import link_to
from csplaybooks.playbooks.models import Run, Trigger
from csplaybooks.playbooks.sums import STATES
from csplaybooks.playbooks.verdicts import Kind

#: What a run counts of a trigger beside its episodes by state.
_DONE = {"matched": "Match now", "opened": "Opened", "closed": "Closed"}

#: A line of a sum: what it is of, and its numbers; None where the run did not count it.
_Line = tuple[Any, Sequence[int | None]]


def counts_in_words(run: Run) -> Any:
    """What a run found, over the accounts that it looked at: a row for each trigger, and the totals. One query."""
    lines: list[_Line] = []
    for trigger, counts in _by_trigger(run):
        episodes = counts.get("episodes", {})
        states = (episodes.get(name) for name in ("all", *(state.value for state in STATES)))
        lines.append((trigger, [*(counts.get(name, 0) for name in _DONE), *states]))
    if not lines:
        return None
    totals = [sum(number or 0 for number in column) for column in zip(*(numbers for _, numbers in lines), strict=True)]
    return _table([*_DONE.values(), "Episodes ever", *(str(state.label) for state in STATES)], lines, totals)


def verdicts_in_words(run: Run) -> Any:
    """The verdicts of a run over all accounts or a part of them: a row for each trigger; its sum are the accounts."""
    lines: list[_Line] = []
    for trigger, counts in _by_trigger(run):
        if (verdicts := counts.get("verdicts")) is not None:
            by_kind = (sum(n for key, n in verdicts.items() if key.split(":")[0] == kind.value) for kind in Kind)
            lines.append((trigger, [sum(verdicts.values()), *by_kind]))
    if not lines:
        return "Only counted where a run looks at all accounts, or at a part of them."
    return _table(["Accounts", *(str(kind.label) for kind in Kind)], lines)


def _table(headings: Sequence[str], lines: Sequence[_Line], totals: Sequence[int | None] = ()) -> str:
    """A row for each line; each number knows its heading, for where there is no room for a row of them."""
    rows = [(name, list(zip(headings, map(_shown, numbers), strict=True))) for name, numbers in lines]
    all_together = list(zip(headings, map(_shown, totals), strict=True)) if totals else None
    context = {"headings": headings, "rows": rows, "totals": all_together}
    return render_to_string("csplaybooks/admin/run_sum.html", context)


def _shown(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _by_trigger(run: Run) -> list[tuple[Any, Mapping[str, Any]]]:
    """Links to the triggers that a run evaluated, each with what it counted, by name; those that are gone come last."""
    triggers = (
        Trigger.objects.select_related("playbook").defer("playbook__draft").in_bulk([int(pk) for pk in run.counts])
    )
    named = [(triggers.get(int(pk)), counts) for pk, counts in run.counts.items()]
    named.sort(key=lambda row: (row[0] is None, str(row[0])))
    return [(_link(trigger) if trigger else "a trigger that is gone", counts) for trigger, counts in named]


def _link(trigger: Trigger) -> Any:
    """A link to a trigger by its name, which may take two lines."""
    return link_to(trigger, format_html("{}.<wbr>{}", trigger.playbook.key, trigger.key))
