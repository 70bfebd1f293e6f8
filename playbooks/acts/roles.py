"""The act that makes the groups of the roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Concat

from csplaybooks.accounts.acts.groups import match_groups
from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.roles import TEAM_ROLES
from csplaybooks.playbooks.roles import COLUMNS, WITHDRAWN, grants


class PermissionsMissing(Exception):
    """Permissions of our tables are not there: Django makes them at the end of `migrate`."""


@transaction.atomic
def make_groups() -> tuple[int, int]:
    """Make the group of each role and give it what the role must have; answers how many groups, and grants, were made.

    Safe to call again: what a role must have comes back, what a release withdrew goes, and what a site's people added
    to a group stays. When the group of a role in the team is made, who has the role comes into it; later that is told
    where members are saved, so who was taken out stays out.

    Raises PermissionsMissing.
    """
    wanted = {role: grants(role) for role in COLUMNS}
    ids = _ids_of({name for names in wanted.values() for name in names})
    groups = {role: Group.objects.get_or_create(name=role.group) for role in COLUMNS}
    through = Group.permissions.through
    ours = [group.pk for group, _ in groups.values()]
    standing = set(through.objects.filter(group__in=ours).values_list("group_id", "permission_id"))
    missing = {(groups[role][0].pk, ids[name]) for role, names in wanted.items() for name in names} - standing
    through.objects.bulk_create(
        [through(group_id=group_id, permission_id=permission_id) for group_id, permission_id in sorted(missing)],
        ignore_conflicts=True,
    )
    for role, names in WITHDRAWN.items():
        groups[role][0].permissions.remove(*_named(set(names) - wanted[role]))
    made = [role for role, (_, created) in groups.items() if created]
    if new := [role for role in made if role in TEAM_ROLES.values()]:
        users = TeamMember.objects.filter(user__isnull=False).values_list("user", flat=True)
        match_groups(user_ids=users, roles=new, actor=None)
    return len(made), len(missing)


def _ids_of(names: set[str]) -> dict[str, int]:
    """The ids of permissions by full name. Raises PermissionsMissing."""
    found = dict(_named(names).values_list("full_name", "pk"))
    if missing := sorted(names - found.keys()):
        raise PermissionsMissing(f"There is no permission {', '.join(missing)}: run manage.py migrate first.")
    return found


def _named(names: Iterable[str]) -> QuerySet[Any]:
    """The permissions with these full names."""
    return Permission.objects.annotate(
        full_name=Concat(F("content_type__app_label"), Value("."), F("codename"))
    ).filter(full_name__in=list(names))
