"""Who sees what: one scope for each viewer, read by every `visible_to`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone


@dataclass(frozen=True)
class Scope:
    """What a viewer may see.

    `members` are the ids of the team members whose work the viewer sees: themselves, and for a manager everyone
    below. `stands_in_for` are those who are away today and for whom they stand in: of theirs, the viewer sees the plays
    alone. `accounts` limits an integration token to some accounts (None: no limit).
    """

    everything: bool = False
    members: frozenset[int] = field(default_factory=frozenset)
    stands_in_for: frozenset[int] = field(default_factory=frozenset)
    pool: bool = False
    accounts: frozenset[int] | None = None

    @property
    def nothing(self) -> bool:
        """True for a stranger."""
        return not self.everything and not self.members and self.accounts is None

    @property
    def work(self) -> frozenset[int]:
        """The ids of the members whose plays the viewer sees."""
        return self.members | self.stands_in_for


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
    from csplaybooks.accounts.standing_in import absences_at, stands_in_for

    if user.is_superuser or user.has_perm("csplaybooks_accounts.view_everything"):
        return Scope(everything=True)
    # What is seen follows the day on which it is looked at.
    now = timezone.now()
    stands_in = Exists(absences_at(now).filter(stand_in=OuterRef("pk")).order_by())
    members_of_user = TeamMember.objects.filter(user=user, is_active=True)
    member: Any = members_of_user.annotate(stands_in=stands_in).first()
    if member is None:
        return Scope()
    members = TeamMember.objects.below({member.pk}) if member.is_manager else frozenset({member.pk})
    return Scope(
        members=members,
        stands_in_for=stands_in_for(member.pk, now) if member.stands_in else frozenset(),
        pool=member.is_manager or member.is_customer_success_manager,
    )
