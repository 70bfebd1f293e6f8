"""Letting somebody in, step by step as `docs/roles.md` says, on the pages of the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from csplaybooks.accounts.acts.groups import mismatches
from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.models import Play
from tests.admin.pages import act, send, url

pytestmark = pytest.mark.django_db

PASSWORD = "a-long-enough-pass-phrase"


def groups_of(user: Any) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


@pytest.fixture
def chief() -> Client:
    """The browser of a superuser, on a site that was set up."""
    make_groups()
    client = Client()
    client.force_login(UserFactory(superuser=True))
    return client


@pytest.fixture
def mona(chief: Client) -> Any:
    """A user with a password and staff status, who is in the team as a manager."""
    users = get_user_model()
    made = send(chief, url(users, "add"), username="mona", password1=PASSWORD, password2=PASSWORD)
    assert made.status_code == 302
    user = users.objects.get(username="mona")
    assert send(chief, url(users, "change", user.pk), is_staff="on").status_code == 302
    added = send(chief, url(TeamMember, "add"), name="Mona", user=str(user.pk), is_manager="on")
    assert added.status_code == 302
    return user


def test_a_new_manager_opens_the_plays(mona):
    assert groups_of(mona) == {Role.MANAGER.group}
    assert mismatches() == []
    client = Client()
    assert client.login(username="mona", password=PASSWORD)
    assert client.get(url(Play, "changelist")).status_code == 200


def test_saving_the_member_again_unchanged_mends_the_groups(chief, mona):
    mona.groups.clear()
    assert len(mismatches()) == 1
    assert send(chief, url(TeamMember, "change", TeamMember.objects.get(user=mona).pk)).status_code == 302
    assert mismatches() == []


@pytest.mark.parametrize("by_list", [True, False], ids=["list", "page"])
def test_who_is_deleted_from_the_team_goes_out_of_its_groups(chief, mona, by_list):
    member = TeamMember.objects.get(user=mona)
    if by_list:
        act(chief, TeamMember, "delete_selected", [member], post="yes")
    else:
        chief.post(url(TeamMember, "delete", member.pk), {"post": "yes"})
    assert not TeamMember.objects.filter(pk=member.pk).exists()
    assert groups_of(mona) == set()
