"""Whose team somebody is in: that of the nearest manager, as the team stands today."""

from __future__ import annotations

from csplaybooks.accounts.models import TeamMember


def teams_of_members() -> dict[int, int]:
    """The manager whose team each member is in, by member id; one query.

    A manager is in the team that they lead. Managers who have left lead nobody: those above them do. Whoever has no
    manager above is not in it.
    """
    rows = list(TeamMember.objects.order_by().values_list("pk", "manager_id", "is_active", "is_manager"))
    above = {pk: manager_id for pk, manager_id, _, _ in rows}
    managers = {pk for pk, _, is_active, is_manager in rows if is_active and is_manager}
    found = {}
    for pk in above:
        seen: set[int] = set()
        step: int | None = pk
        # Whoever stands above themselves, by some mistake, has nobody above.
        while step is not None and step not in managers and step not in seen:
            seen.add(step)
            step = above.get(step)
        if step in managers and step is not None:
            found[pk] = step
    return found
