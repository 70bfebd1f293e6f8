"""The doctor's question about the team: whether people can do what their roles ask of them."""

from __future__ import annotations

from collections.abc import Iterator

from csplaybooks.accounts.acts.groups import mismatches
from csplaybooks.playbooks.doctor.findings import Finding, Level, Look


def team(look: Look) -> Iterator[Finding]:
    """Whether sign-ins, groups and places in the team fit each other; four queries."""
    found = mismatches()
    for seen in found:
        yield Finding(
            "team", Level.WARN, seen, "Save the team member again, which puts its user into the groups of its roles."
        )
    if not found:
        yield Finding("team", Level.OK, "all who sign in have the groups of their roles")
