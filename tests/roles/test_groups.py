"""The groups: made once, mended, left as a site's people want them; and who comes into them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import groups as groups_acts
from csplaybooks.accounts.acts.groups import Moved, match_groups, mismatches
from csplaybooks.accounts.acts.members import add_member, change_member, delete_members
from csplaybooks.accounts.factories import START, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts import roles as roles_acts
from csplaybooks.playbooks.acts.roles import PermissionsMissing, make_groups
from csplaybooks.playbooks.roles import grants

pytestmark = pytest.mark.django_db

CSM, AE, MANAGER = Role.CUSTOMER_SUCCESS_MANAGER, Role.ACCOUNT_EXECUTIVE, Role.MANAGER


def rights_of(role: Role) -> set[str]:
    rows = Group.objects.get(name=role.group).permissions.values_list("content_type__app_label", "codename")
    return {f"{label}.{codename}" for label, codename in rows}


def groups_of(user: Any) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name.lower())
def test_each_role_gets_a_group_with_its_rights(role):
    make_groups()
    assert rights_of(role) == grants(role)


def test_doing_it_again_makes_nothing():
    assert make_groups() == (5, sum(len(grants(role)) for role in Role))
    assert make_groups() == (0, 0)


def test_the_number_of_queries_does_not_grow_with_the_grants(django_assert_max_num_queries):
    make_groups()
    with django_assert_max_num_queries(10):
        make_groups()


def test_what_a_site_adds_to_a_group_stays_and_what_it_takes_out_comes_back():
    make_groups()
    group = Group.objects.get(name=CSM.group)
    extra = Permission.objects.get(codename="change_account", content_type__app_label="csplaybooks_accounts")
    needed = Permission.objects.get(codename="add_play")
    group.permissions.add(extra)
    group.permissions.remove(needed)
    assert make_groups() == (0, 1)
    assert rights_of(CSM) == grants(CSM) | {"csplaybooks_accounts.change_account"}


def test_what_a_release_withdraws_goes_from_the_one_role(monkeypatch):
    make_groups()
    lease = Permission.objects.get(codename="view_lease")
    for role in (CSM, AE):
        Group.objects.get(name=role.group).permissions.add(lease)
    monkeypatch.setattr(roles_acts, "WITHDRAWN", {CSM: {"csplaybooks_playbooks.view_lease": "1.0"}})
    assert make_groups() == (0, 0)
    assert rights_of(CSM) == grants(CSM)
    assert rights_of(AE) == grants(AE) | {"csplaybooks_playbooks.view_lease"}


def test_what_a_role_has_is_not_withdrawn_from_it(monkeypatch):
    monkeypatch.setattr(roles_acts, "WITHDRAWN", {CSM: {"csplaybooks_playbooks.view_play": "1.0"}})
    make_groups()
    assert rights_of(CSM) == grants(CSM)


def test_missing_permissions_are_said_with_the_mend():
    Permission.objects.filter(codename="assign_play").delete()
    with pytest.raises(PermissionsMissing, match=r"csplaybooks_playbooks\.assign_play: run manage.py migrate first"):
        make_groups()
    assert not Group.objects.exists()


def test_who_has_a_role_comes_into_its_group_when_it_is_made_and_not_again():
    carla, mona = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Mona", leads=True)
    TeamMemberFactory(name="Desk", desk=True)
    gone = TeamMemberFactory(name="Gone", is_active=False)
    make_groups()
    assert [groups_of(member.user) for member in (carla, mona, gone)] == [{CSM.group}, {MANAGER.group}, set()]
    carla.user.groups.clear()
    mona.user.groups.clear()
    Group.objects.get(name=MANAGER.group).delete()
    make_groups()
    assert groups_of(carla.user) == set()
    assert groups_of(mona.user) == {MANAGER.group}


@pytest.fixture
def team() -> dict[str, Any]:
    """Groups, and members who are not in them yet."""
    make_groups()
    return {"carla": TeamMemberFactory(name="Carla"), "alex": TeamMemberFactory(name="Alex", ae=True)}


def test_users_come_into_the_groups_of_their_roles_and_out_of_others(team):
    carla, alex = team["carla"].user, team["alex"].user
    kept = Group.objects.create(name="Ours")
    for user in (carla, alex):
        user.groups.add(kept, Group.objects.get(name=Role.OPERATIONS.group))
    assert match_groups(user_ids=[carla.pk, alex.pk], actor=None) == {
        carla.pk: Moved(joined=(CSM,)),
        alex.pk: Moved(joined=(AE,)),
    }
    TeamMember.objects.filter(pk=team["carla"].pk).update(is_customer_success_manager=False, is_manager=True)
    TeamMember.objects.filter(pk=team["alex"].pk).update(is_active=False)
    assert match_groups(user_ids=[carla.pk, alex.pk], actor=None) == {
        carla.pk: Moved(joined=(MANAGER,), left=(CSM,)),
        alex.pk: Moved(left=(AE,)),
    }
    assert groups_of(carla) == {"Ours", Role.OPERATIONS.group, MANAGER.group}
    assert groups_of(alex) == {"Ours", Role.OPERATIONS.group}


def test_a_sign_in_given_to_somebody_else_takes_the_groups_along(team):
    before, after = team["carla"].user, UserFactory()
    match_groups(user_ids=[before.pk], actor=None)
    TeamMember.objects.filter(pk=team["carla"].pk).update(user=after)
    match_groups(user_ids=[before.pk, after.pk], actor=None)
    assert (groups_of(before), groups_of(after)) == (set(), {CSM.group})


def test_matching_twice_moves_nobody(team):
    pk = team["carla"].user.pk
    match_groups(user_ids=[pk], actor=None)
    assert match_groups(user_ids=[pk, pk], actor=None) == {pk: Moved()}


def test_the_number_of_queries_does_not_grow_with_the_people(team, django_assert_num_queries):
    members = [TeamMemberFactory() for _ in range(10)]
    # The groups, the members, who is in, who comes in; and a savepoint.
    with django_assert_num_queries(6):
        match_groups(user_ids=[member.user.pk for member in members], actor=None)


def test_only_who_may_change_users_gives_rights(team):
    carla = team["carla"].user
    keeper = UserFactory()
    keeper.user_permissions.add(Permission.objects.get(codename="view_everything"))
    with pytest.raises(ValidationError, match="only somebody who may change users") as refused:
        match_groups(user_ids=[carla.pk], actor=keeper)
    assert list(refused.value.message_dict) == ["user"]
    assert groups_of(carla) == set()
    match_groups(user_ids=[carla.pk], actor=UserFactory(superuser=True))
    # Nothing moves, so nobody is asked.
    assert match_groups(user_ids=[carla.pk], actor=keeper) == {carla.pk: Moved()}


def test_without_groups_nothing_is_moved():
    carla = TeamMemberFactory().user
    assert match_groups(user_ids=[carla.pk], actor=None) == {carla.pk: Moved()}
    make_groups()
    assert groups_of(carla) == {CSM.group}


def test_a_user_model_without_groups_has_none(team, monkeypatch):
    pk = team["carla"].user.pk
    monkeypatch.setattr(groups_acts, "get_user_model", lambda: TeamMember)
    assert match_groups(user_ids=[pk], actor=None) == {pk: Moved()}
    assert mismatches() == []


def test_what_has_come_apart_is_told(team, django_assert_num_queries):
    carla, alex = team["carla"].user, team["alex"].user
    match_groups(user_ids=[carla.pk, alex.pk], actor=None)
    assert mismatches() == []
    alex.is_staff = False
    alex.save()
    alex.groups.clear()
    other = UserFactory(username="other")
    other.groups.add(Group.objects.get(name=MANAGER.group))
    with django_assert_num_queries(5):
        told = mismatches()
    assert told == [
        f"Alex: the user {alex.username} cannot sign in: tick active and staff status.",
        f"Alex: the user {alex.username} lacks the group '{AE.group}'.",
        f"The user other is in the group '{MANAGER.group}', but has no such role in the team, and sees nothing by it.",
    ]
    Group.objects.get(name=CSM.group).delete()
    assert f"The group '{CSM.group}' is missing: run csplaybooks_setup." in mismatches()


def test_saving_a_member_moves_their_sign_in(team):
    chief, user, other = UserFactory(superuser=True), UserFactory(), UserFactory()
    member = add_member(values={"name": "Nele", "is_manager": True, "user": user}, now=START, actor=chief)
    assert groups_of(user) == {MANAGER.group}
    values: list[dict[str, Any]] = [
        {"is_account_executive": True},
        {"user": other},
        {"open_play_cap": 7},
        {"is_active": False},
    ]
    expected = [
        ({MANAGER.group, AE.group}, set()),
        (set(), {MANAGER.group, AE.group}),
        (set(), {MANAGER.group, AE.group}),
        (set(), set()),
    ]
    for each, (before, after) in zip(values, expected, strict=True):
        change_member(member_id=member.pk, values=each, now=START, actor=chief)
        assert (groups_of(user), groups_of(other)) == (before, after), each


def test_saving_a_member_again_mends_what_had_come_apart(team):
    """As the doctor says. Who may not give rights changes what gives none, and mends nothing."""
    user, member = team["carla"].user, team["carla"]
    change_member(member_id=member.pk, values={"open_play_cap": 7}, now=START, actor=UserFactory())
    assert groups_of(user) == set()
    change_member(member_id=member.pk, values={"open_play_cap": 7}, now=START, actor=UserFactory(superuser=True))
    assert groups_of(user) == {CSM.group}


def test_who_goes_loses_the_groups_and_keeps_the_sign_in(team):
    user = team["carla"].user
    match_groups(user_ids=[user.pk], actor=None)
    assert delete_members(member_ids=[team["carla"].pk], now=START, actor=None) == 1
    user.refresh_from_db()
    assert groups_of(user) == set()


def test_a_member_is_not_saved_by_who_may_not_give_rights(team):
    keeper = UserFactory()
    with pytest.raises(ValidationError, match="only somebody who may change users"):
        change_member(member_id=team["carla"].pk, values={"is_manager": True}, now=START, actor=keeper)
    assert not TeamMember.objects.get(pk=team["carla"].pk).is_manager
    change_member(member_id=team["carla"].pk, values={"open_play_cap": 7}, now=START, actor=keeper)
