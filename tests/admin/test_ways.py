"""Ways through the admin: links between rows that belong together, the front page, the pages of the apps."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission
from django.urls import reverse

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, Champion, Change
from csplaybooks.admin_base import BaseAdmin, ReadOnlyAdmin
from csplaybooks.admin_base.related import _ways
from csplaybooks.admin_site import ORDER
from csplaybooks.playbooks.factories import CalendarFactory, MatchFactory, PlayFactory
from csplaybooks.playbooks.models import Calendar, Match, Play, Run, Trigger
from csplaybooks.signals.factories import SignalFactory
from csplaybooks.signals.models import IntakeBatch, Signal
from tests.admin.pages import act, url
from tests.admin.rows import LABELS, MODELS, make

pytestmark = pytest.mark.django_db


def links(client: Any, row: Any) -> dict[str, str]:
    """Heading and address of what a row's page leads to."""
    return dict(client.get(url(type(row), "change", row.pk)).context["see_also"])


@pytest.mark.parametrize("model", [model for model in MODELS if model in _ways], ids=lambda model: model.__name__)
def test_every_way_leads_to_a_page(model, boss):
    [row] = make(model)
    if model is Change:
        # Before a run has taken note of it, it leads nowhere.
        model.objects.update(seen_by_run=make(Run)[0].pk)
    found = links(boss, row)
    assert found
    for heading, address in found.items():
        response = boss.get(address)
        # A lookup that a list does not allow leads back with `e=1`.
        assert response.status_code == 200, (heading, address)


def listed(client: Any, address: str) -> list[Any]:
    return list(client.get(address).context["cl"].result_list)


def test_account_leads_to_its_rows_and_to_no_others(boss):
    play, other = PlayFactory(), PlayFactory()
    match = MatchFactory(account=play.account)
    MatchFactory(account=other.account)
    found = links(boss, play.account)
    assert set(list(found)[:2]) == {"Plays", "Matches"}
    assert listed(boss, found["Plays"]) == [play]
    assert listed(boss, found["Matches"]) == [match]


def test_match_play_run_and_batch_lead_to_each_other(boss):
    play = PlayFactory()
    match = MatchFactory(account=play.account, state="fired", play=play, fired_at=play.opened_at)
    assert listed(boss, links(boss, play)["Matches that led to it"]) == [match]
    page = boss.get(url(Match, "change", match.pk)).content.decode()
    for row in (play, match.trigger, match.version, match.opened_run):
        assert url(type(row), "change", row.pk) in page
    assert listed(boss, links(boss, match.opened_run)["Matches it opened"]) == [match]
    assert listed(boss, links(boss, match.trigger)["Matches"]) == [match]
    signal = SignalFactory()
    assert url(IntakeBatch, "change", signal.batch.pk) in boss.get(url(Signal, "change", signal.pk)).content.decode()
    assert listed(boss, links(boss, signal.batch)["Signals"]) == [signal]
    assert "The run that took note of it" not in links(boss, signal.batch)
    IntakeBatch.objects.filter(pk=signal.batch.pk).update(seen_by_run=match.opened_run.pk)
    address = links(boss, signal.batch)["The run that took note of it"]
    assert address == url(Run, "change", match.opened_run.pk)
    assert listed(boss, links(boss, match.opened_run)["Batches it took note of"]) == [signal.batch]


def test_ways_that_one_may_not_go_are_not_shown(signed_in, carla):
    user = UserFactory(username="reader")
    carla.user = user
    carla.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_account", "view_champion"]))
    assert list(links(signed_in(user), AccountFactory(csm=carla))) == ["Subsidiaries", "Champions"]


def test_links_are_no_way_around_what_is_seen(csm, carla):
    account = AccountFactory(csm=TeamMemberFactory())
    PlayFactory(account=account)
    assert listed(csm, f"{url(Play, 'changelist')}?account__id__exact={account.pk}") == []


def test_filters_of_matches_speak_in_words(boss):
    match = MatchFactory(trigger__key="seats_above_80", state="held", held_by="not_paying")
    MatchFactory()
    specs = {spec.title: spec for spec in boss.get(url(Match, "changelist")).context["cl"].filter_specs}
    assert f"{match.trigger.playbook}: Seats above 80" in dict(specs["trigger"].lookup_choices).values()
    assert ("not_paying", "Not paying") in specs["held by"].lookup_choices
    assert listed(boss, f"{url(Match, 'changelist')}?trigger={match.trigger.pk}") == [match]
    assert listed(boss, f"{url(Match, 'changelist')}?held_by=not_paying") == [match]
    assert listed(boss, f"{url(Match, 'changelist')}?trigger=x") == []


# The front page


def named(client: Any, address: str) -> dict[str, list[str]]:
    """The tables on a page that lists apps, by app."""
    apps = client.get(address).context["app_list"]
    return {app["app_label"]: [table["object_name"] for table in app["models"]] for app in apps}


def test_front_page_lists_what_people_work_with_in_the_order_of_use(boss):
    found = named(boss, reverse("admin:index"))
    assert list(found)[:3] == ["csplaybooks_playbooks", "csplaybooks_accounts", "csplaybooks_signals"]
    for label, names in ORDER.items():
        assert found[label] == list(names)


def test_what_is_not_on_the_front_page_is_on_the_page_of_its_app(boss):
    for label in LABELS:
        address = reverse("admin:app_list", args=[label])
        page = boss.get(address)
        on_front = set(named(boss, address)[label])
        others = [model for model in MODELS if model._meta.app_label == label and model.__name__ not in on_front]
        assert others
        for model in others:
            assert isinstance(admin.site.get_model_admin(model), ReadOnlyAdmin)
            assert f'href="{url(model, "changelist")}"' in page.content.decode()


def test_page_of_an_app_lists_only_what_one_may_look_at(signed_in):
    user = UserFactory(username="reader")
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_match", "view_interval"]))
    client = signed_in(user)
    page = client.get(reverse("admin:app_list", args=["csplaybooks_playbooks"])).content.decode()
    assert "Intervals" in page
    assert "Triggers" not in page
    assert "csplaybooks_accounts" not in named(client, reverse("admin:index"))


def test_who_may_look_at_parts_alone_finds_them(signed_in):
    user = UserFactory(username="reader")
    user.user_permissions.set(Permission.objects.filter(codename="view_trigger"))
    assert named(signed_in(user), reverse("admin:index")) == {"csplaybooks_playbooks": [Trigger.__name__]}


def test_stock_admin_of_a_host_shows_the_same_tables(boss, rf):
    """Its own order is by name; ours needs nothing of it."""
    site = AdminSite(name="host")
    for model in MODELS:
        site.register(model, type(admin.site.get_model_admin(model)))
    request = rf.get("/")
    request.user = UserFactory(superuser=True)
    shown = {
        app["app_label"]: {each["object_name"] for each in app["models"]}
        for app in site._build_app_dict(request).values()
    }
    assert shown == {label: set(names) for label, names in ORDER.items()}


def test_lists_say_what_can_be_searched_for():
    silent = [
        model.__name__
        for model in MODELS
        if (page := admin.site.get_model_admin(model)).search_fields and not getattr(page, "search_help_text", "")
    ]
    assert not silent


# Deleting


def test_what_an_act_refuses_to_delete_is_told_and_stays(boss):
    member = PlayFactory().owner
    response = act(boss, type(member), "delete_selected", [member], post="yes")
    assert type(member).objects.filter(pk=member.pk).exists()
    # The page between names the kinds of row, and none of them.
    assert "Plays" in response.context["protected"]


def test_rule_of_an_act_is_told_where_one_deletes(boss):
    default = CalendarFactory()
    address = url(Calendar, "delete", default.pk)
    response = boss.post(address, {"post": "yes"}, follow=True)
    assert "make another the default first" in response.content.decode()
    response = boss.post(
        url(Calendar, "changelist"),
        {"action": "delete_selected", "_selected_action": [default.pk], "index": 0, "post": "yes"},
        follow=True,
    )
    assert "make another the default first" in response.content.decode()
    assert Calendar.objects.filter(pk=default.pk).exists()


def test_only_pages_of_acts_write():
    page: Any = admin.site.get_model_admin(Account)
    with pytest.raises(TypeError, match="let it be an ActAdmin"):
        BaseAdmin(Champion, page.admin_site).save_model(None, None, None, False)  # type: ignore[arg-type]  # never read
    with pytest.raises(TypeError, match="let it be an ActAdmin"):
        BaseAdmin(Champion, page.admin_site).save_related(None, None, None, False)  # type: ignore[arg-type]  # as above
