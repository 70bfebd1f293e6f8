"""The table of rights: no more than a role needs, nothing that leads further, nothing that opens no door."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import RequestFactory

from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import ApiToken, TeamMember
from csplaybooks.accounts.roles import TEAM_ROLES, Role
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.roles import COLUMNS, RIGHTS, WITHDRAWN, grants
from tests.admin.rows import LABELS
from tests.baselines import REWRITE

every_role = pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())

#: Every grant that ever was, a line each; lines are added and never taken out.
GIVEN = Path(__file__).with_name("given.txt")

#: Grants that no page of the admin asks for, with the reason.
BY_OTHER_DOORS = {
    "csplaybooks_signals.add_signal": "asked by the API of people, and of whoever hands out signals:write",
    "csplaybooks_signals.add_reading": "asked by the API of people, and of whoever hands out readings:write",
}


def test_each_role_has_a_column():
    assert set(COLUMNS) == set(Role)
    assert {len(rights) for rights in RIGHTS.values()} == {len(COLUMNS)}


def test_the_roles_of_the_team_are_columns_of_its_table():
    assert {field.name for field in TeamMember._meta.fields} > set(TEAM_ROLES)


@every_role
def test_no_role_comes_near_users_groups_permissions_or_the_task_queue(role):
    assert {name.split(".")[0] for name in grants(role)} <= set(LABELS)


@every_role
def test_only_integration_admins_write_tokens(role):
    writes = {name for name in grants(role) if name.endswith("_apitoken") and ".view_" not in name}
    expected = {"csplaybooks_accounts.add_apitoken", "csplaybooks_accounts.change_apitoken"}
    assert writes == (expected if role is Role.INTEGRATION_ADMIN else set())


@every_role
def test_everything_is_seen_by_those_who_keep_the_machine_and_not_by_those_who_sell(role):
    sees = "csplaybooks_accounts.view_everything" in grants(role)
    assert sees == (role not in TEAM_ROLES.values())
    # What only they see is no use to the others.
    assert sees or not [name for name in grants(role) if name.endswith(("_run", "_lease", "_intakebatch", "_change"))]


def test_operations_change_nothing_and_put_back_what_is_stuck():
    writes = {name for name in grants(Role.OPERATIONS) if ".view_" not in name}
    assert writes == {f"csplaybooks_playbooks.retry_{name}" for name in ("delivery", "match", "play")}


@every_role
def test_who_may_write_may_look(role):
    for model, rights in RIGHTS.items():
        cell = rights[COLUMNS.index(role)]
        assert not cell or cell.startswith("v"), model


def test_a_manager_may_what_their_people_may():
    led = grants(Role.CUSTOMER_SUCCESS_MANAGER) | grants(Role.ACCOUNT_EXECUTIVE)
    assert led < grants(Role.MANAGER)


@pytest.mark.django_db
def test_every_permission_of_ours_is_somebody_s_or_a_superuser_s():
    given = {name for role in Role for name in grants(role)}
    there = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Permission.objects.filter(content_type__app_label__in=LABELS).select_related("content_type")
    }
    assert given <= there
    verbs = {name for name in there if name.split(".")[1].split("_")[0] not in ("view", "add", "change", "delete")}
    assert verbs <= given
    assert "csplaybooks_accounts.view_everything" in given


@pytest.mark.django_db
@every_role
def test_no_grant_is_idle(role):
    """A grant that opens nothing misleads whoever reads the groups."""
    make_groups()
    user: Any = UserFactory()
    user.groups.add(Group.objects.get(name=role.group))
    request = RequestFactory().get("/")
    request.user = user
    opened = {name for name in grants(role) if name.endswith(".view_everything")}
    for model in RIGHTS:
        page: Any = admin.site.get_model_admin(model)
        name = f"{model._meta.app_label}.{{}}_{model._meta.model_name}".format
        opened |= {name(verb) for verb in ("view", "add", "change", "delete") if _may(page, verb, request)}
        for action in page.get_actions(request).values():
            # A tuple up to Django 6.0, and from 6.1 on an object that warns when it is taken for one.
            function = action.func if hasattr(action, "func") else action[0]
            asked = getattr(function, "allowed_permissions", ())
            # An action that asks for a right of its own, such as settling findings, may go by a stock permission.
            opened |= {name("change") for verb in asked if _may(page, verb, request)}
            opened |= {name(verb) for verb in asked if _may(page, verb, request)}
        for inline in page.get_inline_instances(request):
            inner = f"{inline.opts.app_label}.{{}}_{inline.opts.model_name}".format
            opened |= {inner(verb) for verb in ("add", "change", "delete") if _may(inline, verb, request, None)}
    assert grants(role) - opened - BY_OTHER_DOORS.keys() == set()
    assert all(BY_OTHER_DOORS.values())


def _may(page: Any, verb: str, request: Any, *args: Any) -> bool:
    return bool(getattr(page, f"has_{verb}_permission")(request, *args))


def test_grants_by_other_doors_are_given():
    assert {name for role in Role for name in grants(role)} >= BY_OTHER_DOORS.keys()
    # Who makes tokens may hand out each scope, but to work plays: that needs a manager's rights beside.
    needed = {scope: set(permissions) for scope, permissions in ApiToken.PERMISSIONS.items()}
    beside = {scope for scope, permissions in needed.items() if not permissions <= grants(Role.INTEGRATION_ADMIN)}
    assert beside == {"plays:write"}
    assert needed["plays:write"] <= grants(Role.MANAGER)


def test_what_was_once_given_is_still_given_or_withdrawn():
    """A grant that only left the table would stay in the groups of every site: it must be named in `WITHDRAWN`."""
    now = {f"{role.name} {name}" for role in Role for name in grants(role)}
    withdrawn = {f"{role.name} {name}" for role, names in WITHDRAWN.items() for name in names}
    ever = set(GIVEN.read_text().splitlines()) if GIVEN.exists() else set()
    if os.environ.get(REWRITE):
        ever |= now
        GIVEN.write_text("\n".join(sorted(ever)) + "\n")
    assert ever == now | withdrawn
    assert not now & withdrawn
