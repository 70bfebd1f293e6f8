"""The act that gives people the rights of their place in the team, and what tells where the two have come apart."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import transaction
from django.db.models import Q

from csplaybooks.accounts.acts.record import actor_label
from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.roles import TEAM_ROLES, Role

logger = logging.getLogger("csplaybooks.accounts")

#: A user's id and a role.
_Pair = tuple[Any, Role]


@dataclass(frozen=True)
class Moved:
    """The groups that a user came into and went out of."""

    joined: tuple[Role, ...] = ()
    left: tuple[Role, ...] = ()


@transaction.atomic
def match_groups(
    *, user_ids: Iterable[Any], actor: Any, roles: Iterable[Role] = tuple(TEAM_ROLES.values())
) -> dict[Any, Moved]:
    """Put users into the groups of the roles that they have in the team, and out of those that they have not.

    A user who is nobody in the team, or has left it, has none of its roles. Call it with the users before and after
    whenever a member's sign-in, roles or presence change. Groups other than those of `roles` are left alone, and so
    is a role whose group is not there yet (`csplaybooks_setup` makes it and puts in who has the role). Answers by id
    what was moved.

    Groups are rights: raises ValidationError for `user` where something would move and `actor` is somebody who may
    not change users. None is the system.
    """
    ids = list(dict.fromkeys(user_ids))
    wanted = set(roles)
    groups = {role: pk for role, pk in _groups().items() if role in wanted}
    memberships = _Memberships()
    if not memberships.exist or not groups or not ids:
        return dict.fromkeys(ids, Moved())
    entitled = {pair for pair in _entitled(ids) if pair[1] in groups}
    standing = memberships.of(groups, ids)
    joining, leaving = entitled - standing, standing - entitled
    if (joining or leaving) and not may_move(actor):
        raise ValidationError(
            {"user": "This changes what the user may do: only somebody who may change users can save it."}
        )
    memberships.add((user_id, groups[role]) for user_id, role in joining)
    memberships.remove((user_id, groups[role]) for user_id, role in leaving)
    for word, pairs in (("joined", joining), ("left", leaving)):
        for user_id, role in sorted(pairs, key=str):
            logger.info("user %s %s the group %r, by %s", user_id, word, role.group, actor_label(actor))
    return {pk: Moved(_roles_of(pk, joining), _roles_of(pk, leaving)) for pk in ids}


def mismatches() -> list[str]:
    """Where sign-ins and places in the team have come apart, in words, by member; an empty list when all is well.

    Four queries, however many people there are.
    """
    groups = _groups()
    memberships = _Memberships()
    if not memberships.exist:
        return []
    found = [
        f"The group {role.group!r} is missing: run csplaybooks_setup."
        for role in TEAM_ROLES.values()
        if role not in groups
    ]
    entitled = {pair for pair in _entitled() if pair[1] in groups}
    standing = memberships.of(groups)
    signs_in = TeamMember.objects.filter(user__isnull=False).select_related("user")
    for member in signs_in:
        pk, user = member.user_id, member.user
        if member.is_active and not (user.is_active and getattr(user, "is_staff", True)):
            found.append(f"{member}: the user {user.get_username()} cannot sign in: tick active and staff status.")
        found += [
            f"{member}: the user {user.get_username()} lacks the group {role.group!r}."
            for role in _roles_of(pk, entitled - standing)
        ]
    names = dict(
        get_user_model()
        ._default_manager.filter(pk__in={pk for pk, _ in standing - entitled})
        .values_list("pk", get_user_model().USERNAME_FIELD)
    )
    for pk, name in sorted(names.items()):
        found += [
            f"The user {name} is in the group {role.group!r}, but has no such role in the team, and sees nothing by it."
            for role in _roles_of(pk, standing - entitled)
        ]
    return found


def _groups() -> dict[Role, int]:
    """The ids of the groups of the team's roles, of those that are there."""
    ids = dict(Group.objects.filter(name__in=[role.group for role in TEAM_ROLES.values()]).values_list("name", "pk"))
    return {role: ids[role.group] for role in TEAM_ROLES.values() if role.group in ids}


def _entitled(user_ids: Iterable[Any] | None = None) -> set[_Pair]:
    """Which users have which roles in the team."""
    members = TeamMember.objects.active().filter(user__isnull=False)
    if user_ids is not None:
        members = members.filter(user__in=user_ids)
    return {(member.user_id, role) for member in members for flag, role in TEAM_ROLES.items() if getattr(member, flag)}


def _roles_of(user_id: Any, pairs: Iterable[_Pair]) -> tuple[Role, ...]:
    wanted = set(pairs)
    return tuple(role for role in TEAM_ROLES.values() if (user_id, role) in wanted)


def may_move(actor: Any) -> bool:
    """Whether `actor` may move users between groups: who may change users, and the system (None)."""
    if actor is None:
        return True
    users = get_user_model()._meta
    return bool(actor.has_perm(f"{users.app_label}.change_{users.model_name}"))


class _Memberships:
    """The rows that put users into groups; a host's own user model may have none."""

    def __init__(self) -> None:
        try:
            field: Any = get_user_model()._meta.get_field("groups")
        except FieldDoesNotExist:
            self.exist = False
            return
        self.exist = True
        self._rows: Any = field.remote_field.through
        # Named after the model, so a host's own user model has another name here.
        self._user, self._group = f"{field.m2m_field_name()}_id", f"{field.m2m_reverse_field_name()}_id"

    def of(self, groups: dict[Role, int], user_ids: Iterable[Any] | None = None) -> set[_Pair]:
        """Who is in which of `groups`."""
        rows = self._rows.objects.filter(**{f"{self._group}__in": list(groups.values())})
        if user_ids is not None:
            rows = rows.filter(**{f"{self._user}__in": list(user_ids)})
        roles = {pk: role for role, pk in groups.items()}
        return {(user_id, roles[group_id]) for user_id, group_id in rows.values_list(self._user, self._group)}

    def add(self, pairs: Iterable[tuple[Any, int]]) -> None:
        """Put users into groups, by ids; who is in one stays in it."""
        self._rows.objects.bulk_create(
            [self._rows(**{self._user: user_id, self._group: group_id}) for user_id, group_id in pairs],
            ignore_conflicts=True,
        )

    def remove(self, pairs: Iterable[tuple[Any, int]]) -> None:
        """Take users out of groups, by ids."""
        gone = Q(pk__in=[])
        for user_id, group_id in pairs:
            gone |= Q(**{self._user: user_id, self._group: group_id})
        self._rows.objects.filter(gone).delete()
