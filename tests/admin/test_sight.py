"""Who sees what in the admin: a CSM their own accounts and the pool's, and what hangs on them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from csplaybooks.accounts.acts import timeline_entry, write_timeline
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    ChampionFactory,
    TeamMemberFactory,
    TimelineEntryFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Account, ApiToken, Champion, Qbr, TeamMember, TimelineEntry
from csplaybooks.playbooks.factories import MatchFactory, PlaybookVersionFactory, PlayFactory, TouchFactory
from csplaybooks.playbooks.models import Clock, Interval, Match, Play, Touch
from tests.admin.conftest import permitted
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


@pytest.fixture
def alex() -> Any:
    """An account executive with every model permission, in no account's team."""
    member = TeamMemberFactory(name="Alex", ae=True)
    permitted(member.user)
    return member


@pytest.fixture
def offered(accounts, alex, colleague) -> dict[str, Any]:
    """Two plays of an account of Colin's: Alex holds one, and has nothing to do with the other."""
    plays = {
        "given": PlayFactory(account=accounts["theirs"], owner=colleague, holder=alex),
        "other": PlayFactory(account=accounts["theirs"], owner=colleague, motion="cross_sell"),
    }
    for name, play in plays.items():
        TouchFactory(play=play, note=f"Note on {name}")
        MatchFactory(
            account=play.account, state="fired", play=play, fired_at=START, evidence=[{"words": f"Found for {name}"}]
        )
        text = f"Contact on {name}"
        write_timeline(
            [timeline_entry(account_id=play.account_id, at=START, now=START, kind="touch", text=text, subject=play)]
        )
    MatchFactory(account=accounts["theirs"], state="queued", evidence=[{"words": "Found, waiting"}])
    TimelineEntryFactory(account=accounts["theirs"], text="Renewed")
    return plays


def test_who_works_one_play_reads_nothing_of_the_others(signed_in, accounts, alex, offered):
    client = signed_in(alex.user)
    assert listed(client, Account) == {"Theirs"}
    story = client.get(url(Account, "change", accounts["theirs"].pk)).content.decode()
    assert "Contact on given" in story
    assert "Renewed" in story
    assert "Contact on other" not in story
    assert listed(client, TimelineEntry) == {"Contact on given", "Renewed"}
    assert [touch.note for touch in Touch.objects.visible_to(alex.user)] == ["Note on given"]
    assert [match.play for match in Match.objects.visible_to(alex.user)] == [offered["given"]]
    hidden = Match.objects.exclude(play=offered["given"])
    assert {client.get(url(Match, "change", match.pk)).status_code for match in hidden} == {302}
    assert "Contact on given" in client.get(url(Play, "change", offered["given"].pk)).content.decode()
    assert client.get(url(Play, "change", offered["other"].pk)).status_code == 302


def test_who_looks_after_the_account_reads_all_of_it(signed_in, accounts, colleague, offered):
    permitted(colleague.user)
    client = signed_in(colleague.user)
    story = client.get(url(Account, "change", accounts["theirs"].pk)).content.decode()
    assert all(text in story for text in ("Contact on given", "Contact on other", "Renewed"))
    assert Match.objects.visible_to(colleague.user).count() == 3


def test_closed_play_shuts_the_door_of_its_account(signed_in, accounts, alex, offered):
    Play.objects.filter(pk=offered["given"].pk).update(
        owner=alex, stage="closed", outcome="won", closed_at=START, updated_at=START
    )
    client = signed_in(alex.user)
    assert listed(client, Account) == set()
    assert client.get(url(Account, "change", accounts["theirs"].pk)).status_code == 302
    # Their own work stays theirs to read, with its story.
    assert listed(client, Play) == {str(offered["given"])}
    assert "Contact on given" in client.get(url(Play, "change", offered["given"].pk)).content.decode()
    assert listed(client, TimelineEntry) == {"Contact on given"}


def test_pages_with_a_story_take_as_many_queries_for_a_long_one(
    signed_in, accounts, alex, offered, django_assert_num_queries
):
    client = signed_in(alex.user)
    play = offered["given"]
    for address in (url(Account, "change", play.account_id), url(Play, "change", play.pk)):
        client.get(address)
        with CaptureQueriesContext(connection) as short:
            client.get(address)
        write_timeline(
            timeline_entry(account_id=play.account_id, at=START, now=START, kind="touch", text="More", subject=subject)
            for subject in offered.values()
            for _ in range(20)
        )
        with django_assert_num_queries(len(short)):
            assert "More" in client.get(address).content.decode()


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


@pytest.mark.parametrize(
    "lookup",
    ["parent", "parent__id__exact", "parent_id", "merged_into", "merged_into__id__exact", "merged_into__pk"],
)
def test_parent_that_is_not_seen_cannot_be_asked_for(csm, accounts, lookup):
    Account.objects.filter(pk=accounts["own"].pk).update(parent=accounts["theirs"])
    response = csm.get(url(Account, "changelist"), {lookup: accounts["theirs"].pk})
    assert response.status_code == 400


@pytest.mark.parametrize("column", ["parent", "merged_into"])
def test_parent_that_is_seen_may_be_asked_for(csm, accounts, boss, colleague, column):
    other = AccountFactory(name="Other", csm=colleague)
    below = [accounts["own"].pk, other.pk]
    Account.objects.filter(pk__in=below).update(**{column: accounts["pool"]})
    lookup = f"{column}__id__exact"
    assert listed(csm, Account, **{lookup: accounts["pool"].pk}) == {"Own"}
    assert listed(boss, Account, **{lookup: accounts["pool"].pk}) == {"Own", "Other"}
    # Beside one that is seen, another is not let through.
    both = [accounts["pool"].pk, accounts["theirs"].pk]
    assert csm.get(url(Account, "changelist"), {lookup: both}).status_code == 400


@pytest.mark.parametrize(
    "lookup", ["parent", "parent_id", "parent__pk", "parent__id__in", "parent__id__gt", "parent__name"]
)
def test_parent_is_asked_for_in_one_spelling(boss, accounts, lookup):
    assert boss.get(url(Account, "changelist"), {lookup: accounts["pool"].pk}).status_code == 400


@pytest.mark.parametrize("value", ["", "x", "1.5", "0", "9" * 30, "9" * 5000, "1,2"])
def test_what_is_no_id_of_an_account_is_refused(boss, accounts, value):
    Account.objects.filter(pk=accounts["own"].pk).update(parent=accounts["pool"])
    assert boss.get(url(Account, "changelist"), {"parent__id__exact": value}).status_code == 400


def test_parent_that_is_not_seen_has_no_name(csm, accounts, boss):
    Account.objects.filter(pk=accounts["own"].pk).update(parent=accounts["theirs"])
    page = url(Account, "change", accounts["own"].pk)
    assert "Theirs" not in csm.get(page).content.decode()
    assert "Theirs" in boss.get(page).content.decode()


def test_account_into_which_one_was_merged_is_named_to_who_sees_it(csm, accounts, boss):
    Account.objects.filter(pk=accounts["own"].pk).update(merged_into=accounts["theirs"])
    page, link = url(Account, "change", accounts["own"].pk), url(Account, "change", accounts["theirs"].pk)
    assert link not in csm.get(page).content.decode()
    assert link in boss.get(page).content.decode()


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
