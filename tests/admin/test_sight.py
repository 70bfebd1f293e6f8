"""Who sees what in the admin: a CSM their own accounts and the pool's, and what hangs on them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from csplaybooks.accounts.factories import AccountFactory, ChampionFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, ApiToken, Champion, Qbr, TeamMember
from csplaybooks.playbooks.factories import PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.models import Clock, Interval, Play
from tests.admin.pages import act, faults, opened, send, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def colleague() -> Any:
    return TeamMemberFactory(name="Colin")


@pytest.fixture
def accounts(carla, colleague) -> dict[str, Any]:
    return {
        "own": AccountFactory(name="Own", csm=carla),
        "pool": AccountFactory(name="Pool"),
        "theirs": AccountFactory(name="Theirs", csm=colleague),
    }


def listed(client, model, **query) -> set[str]:
    return {str(row) for row in client.get(url(model, "changelist"), query).context["cl"].result_list}


def completed(client, model, field, term="") -> set[str]:
    query = {
        "app_label": model._meta.app_label,
        "model_name": model._meta.model_name,
        "field_name": field,
        "term": term,
    }
    return {result["text"] for result in client.get(reverse("admin:autocomplete"), query).json()["results"]}


def test_csm_sees_own_and_pool_accounts_only(csm, accounts):
    assert listed(csm, Account) == {"Own", "Pool"}
    assert listed(csm, Account, q="theirs") == set()
    assert csm.get(url(Account, "change", accounts["own"].pk)).status_code == 200
    hidden = csm.get(url(Account, "change", accounts["theirs"].pk))
    assert (hidden.status_code, hidden["Location"]) == (302, reverse("admin:index"))


def test_colleagues_play_is_not_there(csm, accounts, carla, colleague):
    mine = PlayFactory(account=accounts["own"], owner=carla)
    theirs = PlayFactory(account=accounts["theirs"], owner=colleague)
    assert listed(csm, Play) == {str(mine)}
    assert listed(csm, Interval) == {str(mine.intervals.get())}
    assert csm.get(url(Play, "change", theirs.pk)).status_code == 302
    act(csm, Play, "start_plays", [theirs])
    theirs.refresh_from_db()
    assert theirs.stage == "owned"


def test_play_handed_to_a_csm_is_there_without_the_others_of_its_account(csm, accounts, carla, colleague):
    given = PlayFactory(account=accounts["theirs"], owner=carla)
    PlayFactory(account=accounts["theirs"], owner=colleague, motion="cross_sell")
    assert listed(csm, Play) == {str(given)}
    assert listed(csm, Account) == {"Own", "Pool", "Theirs"}


def test_choices_of_accounts_do_not_leak(csm, accounts):
    PlaybookVersionFactory()
    for model in (Play, Champion, Qbr):
        assert completed(csm, model, "account") == {"Own", "Pool"}
        assert completed(csm, model, "account", "Theirs") == set()
    assert str(accounts["theirs"].pk) not in csm.get(url(Play, "add")).content.decode().split('<option value="')[1:]


def test_account_that_is_not_seen_cannot_be_sent(csm, accounts):
    version = PlaybookVersionFactory()
    values = {"account": accounts["theirs"].pk, "playbook": version.playbook.pk, "reason": "Asked for it"}
    assert set(faults(send(csm, url(Play, "add"), **values))) == {"account"}
    assert not Play.objects.exists()


def test_champions_of_others_do_not_come_to_a_review(csm, accounts):
    ChampionFactory(account=accounts["own"], name="Ada")
    ChampionFactory(account=accounts["theirs"], name="Grace")
    assert completed(csm, Qbr, "attendees") == {"Ada (Own)"}


def test_parent_that_is_not_seen_has_no_name(csm, accounts, boss):
    Account.objects.filter(pk=accounts["own"].pk).update(parent=accounts["theirs"])
    page = url(Account, "change", accounts["own"].pk)
    assert "Theirs" not in csm.get(page).content.decode()
    assert "Theirs" in boss.get(page).content.decode()


def test_csm_cannot_give_themselves_sight(csm, carla):
    form = opened(csm, url(TeamMember, "change", carla.pk))
    assert "open_play_cap" in form
    assert not {"user", "manager", "is_manager"} & set(form)
    response = send(csm, url(TeamMember, "change", carla.pk), is_manager="on", is_active=None)
    assert response.status_code == 302
    carla.refresh_from_db()
    assert not carla.is_manager
    assert carla.is_active
    assert csm.get(url(TeamMember, "add")).status_code == 403
    assert csm.get(url(ApiToken, "add")).status_code == 403


def test_what_may_be_seen_is_not_what_may_be_done(signed_in, accounts, carla):
    viewer = UserFactory(username="viewer")
    carla.user = viewer
    carla.save()
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = signed_in(viewer)
    play = PlayFactory(account=accounts["own"], owner=carla)
    page = client.get(url(Account, "change", accounts["own"].pk))
    assert "Mid-market" in page.content.decode()
    assert page.context["has_change_permission"] is False
    assert client.get(url(Play, "add")).status_code == 403
    assert "Log a contact" not in client.get(url(Play, "change", play.pk)).content.decode()
    act(client, Play, "start_plays", [play])
    play.refresh_from_db()
    assert play.stage == "owned"
    assert not Clock.objects.exists()
