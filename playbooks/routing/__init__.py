"""The routing, asked without anything being written: which rule, whose play, and why not somebody else's.

`dry_run` answers for one account and a playbook, published or draft; `dry_runs` for several playbooks at once.
`compare` holds open plays against what the routing would say of them now.
"""

from __future__ import annotations

from csplaybooks.playbooks.routing.comparing import Comparison, Difference, compare
from csplaybooks.playbooks.routing.one import Asked, DryRun, Recipe, RuleAnswer, dry_run, dry_runs, recipes_of

__all__ = [
    "Asked",
    "Comparison",
    "Difference",
    "DryRun",
    "Recipe",
    "RuleAnswer",
    "compare",
    "dry_run",
    "dry_runs",
    "recipes_of",
]
