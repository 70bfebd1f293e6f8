"""Who sees what: one scope for each viewer, read by every `visible_to`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet


@dataclass(frozen=True)
class Scope:
    """What a viewer may see.

    `members` are the ids of the team members whose work the viewer sees: themselves, and for a manager everyone
    below. `accounts` limits an integration token to some accounts (None: no limit).
    """

    everything: bool = False
    members: frozenset[int] = field(default_factory=frozenset)
    pool: bool = False
    accounts: frozenset[int] | None = None

    @property
    def nothing(self) -> bool:
        """True for a stranger."""
        return not self.everything and not self.members and self.accounts is None


#: Higher rooms add ways in which a member comes to see an account (an AE to whom a play was offered). Each takes
#: the ids of team members and answers a queryset of account ids.
account_doors: list[Callable[[frozenset[int]], QuerySet[Any]]] = []


def tokens_seen(viewer: Any) -> QuerySet[Any]:
    """The ids of the API tokens that a viewer sees: what the timeline tells of them is for nobody else."""
    from csplaybooks.accounts.models import ApiToken

    return ApiToken.objects.visible_to(viewer).values("pk")


#: Subjects of timeline entries that are guarded, by the `label_lower` of their model; higher rooms add theirs. Who came
#: to an account through a door, and whoever reads of the vendor's own, reads of those only which they see. Each takes
#: a viewer and answers a queryset of subject ids.
subject_doors: dict[str, Callable[[Any], QuerySet[Any]]] = {"csplaybooks_accounts.apitoken": tokens_seen}


def scope_of(viewer: Any) -> Scope:
    """The scope of a user or an API token; cached on the viewer, so that a request asks once.

    Superusers see everything. Users with the permission `csplaybooks_accounts.view_everything` (integration
    admins, operations) do too. A user without a team member sees nothing.
    """
    from csplaybooks.accounts.models import ApiToken

    if isinstance(viewer, ApiToken):
        if viewer.limited_to_accounts:
            return Scope(accounts=frozenset(viewer.accounts.values_list("pk", flat=True)))
        return Scope(everything=True)
    if viewer is None or not getattr(viewer, "is_authenticated", False) or not viewer.is_active:
        return Scope()
    cached = getattr(viewer, "_csplaybooks_scope", None)
    if cached is None:
        cached = _scope_of_user(viewer)
        viewer._csplaybooks_scope = cached
    return cached


def _scope_of_user(user: Any) -> Scope:
    from csplaybooks.accounts.models import TeamMember

    if user.is_superuser or user.has_perm("csplaybooks_accounts.view_everything"):
        return Scope(everything=True)
    member = TeamMember.objects.filter(user=user, is_active=True).first()
    if member is None:
        return Scope()
    members = {member.pk}
    if member.is_manager:
        # The table of team members is small (people, not customers): one query, then the tree in memory.
        below: dict[int | None, list[int]] = {}
        for pk, manager_id in TeamMember.objects.values_list("pk", "manager_id"):
            below.setdefault(manager_id, []).append(pk)
        waiting = [member.pk]
        while waiting:
            fresh = [pk for pk in below.get(waiting.pop(), []) if pk not in members]
            members.update(fresh)
            waiting.extend(fresh)
    return Scope(members=frozenset(members), pool=member.is_manager or member.is_customer_success_manager)
