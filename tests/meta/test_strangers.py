"""A stranger before every door of the admin: somebody of the back office who may do everything and sees nothing.

All texts of all rows say one word (see `canary`): the stranger must never read it, and nothing may change. That a row
could be read or changed is shown by a superuser through the same door. A door that nobody tries here fails the first
test: write how it is tried, or name it among `EXEMPT` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from csplaybooks.accounts.models import Account
from csplaybooks.admin_base import VisibleRelatedFilter
from csplaybooks.playbooks.models import Handoff, Play, Playbook, Trigger
from tests.admin.pages import told, url
from tests.admin.rows import MODELS
from tests.meta.canary import CANARY, World, sings, snapshot
from tests.meta.doors import OLD_ADDRESS, Door, doors, ours

pytestmark = pytest.mark.django_db

#: What a search finds the word by; pages repeat what was searched for.
PART = CANARY[1:]

#: Pages of a table that are about no one row.
WITHOUT_ROW = ("changelist", "add", "whose_time", "report", "routing_all")

#: Doors before which no stranger is put, with the reason.
EXEMPT = {
    "admin:login": "whoever is not signed in must be let in here; it reads no row",
    "admin:logout": "ends the caller's own session; it reads no row",
}


def is_no_page(response: Any) -> bool:
    """Whether the answer is that of a row that does not exist, or of a page that is not for the caller."""
    return (response.status_code, response.get("Location")) in [(302, reverse("admin:index")), (403, None), (404, None)]


# How each page of a table is tried: the faults it finds, none when all is well.


def through_list(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    for query in ({}, {"q": PART}, {"_popup": "1"}, {"all": ""}):
        response = stranger.get(url(model, "changelist"), query)
        if response.status_code != 200:
            yield f"{query}: {response.status_code}"
            continue
        if response.context["cl"].result_count or sings(response):
            yield f"{query}: shows a row"
        specs = [spec for spec in response.context["cl"].filter_specs if isinstance(spec, VisibleRelatedFilter)]
        if any(spec.lookup_choices for spec in specs):
            yield f"{query}: a filter names a row"
    if not boss.get(url(model, "changelist")).context["cl"].result_count:
        yield "shows nothing to anybody"


def through_add(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    page = url(model, "add")
    response = stranger.get(page)
    if response.status_code not in (200, 403) or sings(response):
        yield f"GET: {response.status_code}"
    for inline in response.context["inline_admin_formsets"] if response.status_code == 200 else ():
        for name, choice in inline.formset.empty_form.fields.items():
            offered = getattr(choice, "queryset", None)
            if offered is not None and offered.model in world and not choice.widget.is_hidden and offered.exists():
                yield f"inline {inline.formset.prefix}: {name} offers a row"
    if response.status_code == 403:
        return
    # The ids of rows, sent as if somebody had chosen them.
    sent = {}
    for name in response.context["adminform"].form.fields:
        field: Any = next((field for field in model._meta.get_fields() if field.name == name), None)
        if getattr(field, "remote_field", None) and field.remote_field.model in world:
            sent[name] = world[field.remote_field.model].pk
    management = {
        f"{inline.formset.prefix}-{count}": 0
        for inline in response.context["inline_admin_formsets"]
        for count in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    answers = [client.post(page, {**sent, **management}) for client in (stranger, boss)]
    for name in sent:
        by_stranger, by_boss = (_is_no_choice(answer.context["adminform"].form, name) for answer in answers)
        if not by_stranger:
            yield f"{name}: the stranger may choose a row"
        if by_boss:
            yield f"{name}: nobody may choose the row"


def _is_no_choice(form: Any, name: str) -> bool:
    errors = form.errors.as_data().get(name, ())
    return bool({"invalid_choice", "invalid_pk_value"} & {error.code for error in errors})


def _through_row(page: str) -> Callable[..., Iterator[str]]:
    def through(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
        address = url(model, page, world[model].pk)
        for method in ("get", "post"):
            response = getattr(stranger, method)(address, {"post": "yes"} if method == "post" else {})
            if not is_no_page(response) or sings(response):
                yield f"{method}: {response.status_code}"
        shown = boss.get(address)
        its_page: Any = admin.site.get_model_admin(model)
        nobody = page == "delete" and not its_page.deletable
        if shown.status_code != (403 if nobody else 200):
            yield f"opens to nobody: {shown.status_code}"

    return through


def through_what_if(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    if model is Playbook:
        yield from _through_row("what_if")(world, stranger, boss, model)


def through_routing(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    if model is Playbook:
        yield from _through_row("routing")(world, stranger, boss, model)


def through_routing_of_all(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    if model is not Playbook:
        return
    for query in ({}, {"account": world[Account].pk}, {"account": world[Account].name}, {"format": "csv"}):
        response = stranger.get(url(model, "routing_all"), query)
        told = b"".join(response) if response.streaming else response.content
        # What was asked stands on the page again; nothing may tell that there is such an account.
        if response.status_code != 200 or CANARY in told.decode().replace(str(query.get("account")), "").lower():
            yield f"{query}: {response.status_code}"
    if not sings(boss.get(url(model, "routing_all"), {"account": world[Account].pk})):
        yield "tells nobody of rows"


def through_why(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    if model is Trigger:
        address = reverse("admin:csplaybooks_playbooks_trigger_why", args=[world[Account].pk])
        response = stranger.get(address)
        if not is_no_page(response) or sings(response):
            yield str(response.status_code)
        if boss.get(address).status_code != 200:
            yield "opens to nobody"


def _through_verdicts(kind: str) -> Callable[..., Iterator[str]]:
    """A page of a trigger that counts or lists accounts: it opens, and is of the accounts that one looks after."""

    def through(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
        if model is Trigger:
            address = reverse(f"admin:csplaybooks_playbooks_trigger_{kind}", args=[world[Trigger].pk])
            response = stranger.get(address, {"verdict": "failed:0:0"})
            if not is_no_page(response) or sings(response):
                yield str(response.status_code)

    return through


def _through_report(report: str, table: type[models.Model]) -> Callable[..., Iterator[str]]:
    """A report over many rows, and its file: it opens, and is of the rows that one sees."""

    def through(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
        if model is not table:
            return
        period = {"since": "2000-01-01", "by": "play"}
        for query in ({}, period, {**period, "csv": "1"}, {**period, "csv": "reasons"}):
            response = stranger.get(url(model, report), query)
            told = b"".join(response) if response.streaming else b""
            if response.status_code != 200 or (not response.streaming and sings(response)):
                yield f"{query}: {response.status_code}"
            if CANARY in told.decode().lower() or len(told.splitlines()) > 1:
                yield f"{query}: tells of rows"
        if not sings(boss.get(url(model, report), period)):
            yield "tells nobody of rows"

    return through


def through_old_address(world: World, stranger: Client, boss: Client, model: type[models.Model]) -> Iterator[str]:
    address = f"{url(model, 'changelist')}{world[model].pk}/"
    response = stranger.get(address)
    if response["Location"] != url(model, "change", world[model].pk) or sings(response):
        yield f"leads to {response['Location']}"


PAGES: dict[str, Callable[..., Iterator[str]]] = {
    "changelist": through_list,
    "add": through_add,
    "change": _through_row("change"),
    "history": _through_row("history"),
    "delete": _through_row("delete"),
    "what_if": through_what_if,
    "routing": through_routing,
    "routing_all": through_routing_of_all,
    "why": through_why,
    "verdicts": _through_verdicts("verdicts"),
    "accounts": _through_verdicts("accounts"),
    "whose_time": _through_report("whose_time", Play),
    "report": _through_report("report", Handoff),
    OLD_ADDRESS: through_old_address,
}


# How the pages of the whole site are tried.


def through_index(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    # What the boss did last stands on the boss's own page only.
    row = world[Account]
    boss_id = boss.session["_auth_user_id"]
    LogEntry.objects.log_actions(boss_id, [row], CHANGE, "Changed.", single_object=True)
    if not sings(boss.get(reverse("admin:index"))):
        yield "tells nobody of what they did"
    if sings(stranger.get(reverse("admin:index"))):
        yield "tells of rows"


def through_app_list(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    for label in sorted({model._meta.app_label for model in world}):
        response = stranger.get(reverse("admin:app_list", args=[label]))
        if response.status_code != 200 or sings(response):
            yield f"{label}: {response.status_code}"


def through_password_page(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    for name in ("password_change", "password_change_done"):
        response = stranger.get(reverse(f"admin:{name}"))
        if response.status_code != 200 or sings(response):
            yield f"{name}: {response.status_code}"


def through_jsi18n(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    if sings(stranger.get(reverse("admin:jsi18n"))):
        yield "tells of rows"


def through_view_on_site(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    for model, row in world.items():
        content_type = ContentType.objects.get_for_model(model)
        response = stranger.get(reverse("admin:view_on_site", args=[content_type.pk, row.pk]))
        if response.status_code != 404 or sings(response):
            yield f"{model.__name__}: {response.status_code}"


def through_catch_all(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    response = stranger.get(reverse("admin:index") + "nothing/here/")
    if response.status_code != 404 or sings(response):
        yield str(response.status_code)


def through_autocomplete(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    completed = 0
    for model in world:
        for field in model._meta.get_fields():
            if not getattr(field, "remote_field", None) or field.auto_created:
                continue
            asked: dict[str, str] = {
                "app_label": model._meta.app_label,
                "model_name": str(model._meta.model_name),
                "field_name": field.name,
                "term": "",
            }
            completed += bool(_completed(boss.get(reverse("admin:autocomplete"), asked)))
            for term in ("", PART):
                response = stranger.get(reverse("admin:autocomplete"), {**asked, "term": term})
                if response.status_code not in (200, 403, 404) or _completed(response) or sings(response):
                    yield f"{model.__name__}.{field.name}: {response.status_code}"
    if not completed:
        yield "completes nothing for anybody"


def _completed(response: Any) -> list[Any]:
    results: list[Any] = response.json()["results"] if response.status_code == 200 else []
    return results


def through_root(world: World, stranger: Client, boss: Client) -> Iterator[str]:
    if stranger.get("/")["Location"] != reverse("admin:index"):
        yield "leads elsewhere"


SITE: dict[str, Callable[..., Iterator[str]]] = {
    "": through_root,
    "admin:index": through_index,
    "admin:app_list": through_app_list,
    "admin:autocomplete": through_autocomplete,
    "admin:jsi18n": through_jsi18n,
    "admin:password_change": through_password_page,
    "admin:password_change_done": through_password_page,
    "admin:view_on_site": through_view_on_site,
    "admin/(?P<url>.*)$": through_catch_all,
}


def of_the_admin() -> list[Door]:
    """Every door but those of the API, which `test_strangers_api` walks."""
    return [door for door in doors() if not door.name.startswith("csplaybooks:")]


def test_a_stranger_is_put_before_every_door():
    untried = [door.name for door in of_the_admin() if ours(door) and door.kind not in PAGES]
    untried += [door.name for door in of_the_admin() if door.model is None and door.name not in {*SITE, *EXEMPT}]
    assert untried == [], "Nobody tried these doors as a stranger: add to PAGES or SITE how, or to EXEMPT why not."


def test_what_is_tried_or_exempt_is_there():
    kinds = {door.kind for door in of_the_admin() if ours(door)}
    names = {door.name for door in of_the_admin() if door.model is None}
    assert set(PAGES) == kinds
    assert SITE.keys() | EXEMPT.keys() == names
    assert not SITE.keys() & EXEMPT.keys()
    assert all(EXEMPT.values())


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_tables_show_a_stranger_nothing(page, world, stranger, boss):
    before = snapshot()
    faults = [f"{model.__name__}: {fault}" for model in MODELS for fault in PAGES[page](world, stranger, boss, model)]
    assert faults == []
    assert snapshot() == before


@pytest.mark.parametrize("name", SITE)
def test_pages_of_the_site_tell_a_stranger_nothing(name, world, stranger, boss):
    assert list(SITE[name](world, stranger, boss)) == []


def test_pages_of_tables_that_are_not_ours_are_shut(world, stranger):
    others = [door for door in of_the_admin() if door.model is not None and not ours(door)]
    assert others
    for door in others:
        if door.kind in WITHOUT_ROW:
            assert stranger.get(reverse(door.name)).status_code == 403, door


def test_filters_find_a_stranger_nothing(world, stranger, boss):
    tried = 0
    for model in MODELS:
        changelist = boss.get(url(model, "changelist")).context["cl"]
        for spec in changelist.filter_specs:
            # The first choice is all rows.
            for choice in list(spec.choices(changelist))[1:3]:
                response = stranger.get(url(model, "changelist") + choice["query_string"])
                # Where the stranger has nothing to choose from, the choice is no filter: the list without it.
                if response.status_code == 302:
                    response = stranger.get(response["Location"])
                assert response.context["cl"].result_count == 0, (model, choice)
                # Pages repeat what was asked for.
                assert CANARY in choice["query_string"] or not sings(response), (model, choice)
                tried += 1
    assert tried > len(MODELS)


def test_lists_answer_nothing_about_rows_of_other_tables(world, boss):
    """Such as who owns a play, asked of the list of team members with the play's id."""
    asked = 0
    for model in MODELS:
        for field in model._meta.get_fields():
            if field.auto_created and not field.concrete and field.related_model in world:
                answer = boss.get(url(model, "changelist"), {field.name: world[field.related_model].pk})
                assert answer.status_code == 400, (model, field.name)
                asked += 1
    assert asked > 10


def test_actions_reach_nothing_of_a_stranger_s(world, stranger, boss, chief):
    values = {
        "perform": "1",
        "post": "yes",
        "reason": "Because",
        "channel": "call",
        "direction": "out",
        "owner": next(row.pk for model, row in world.items() if model.__name__ == "TeamMember"),
    }
    request = RequestFactory().get("/")
    request.user = chief
    before = snapshot()
    tried = []
    for model in MODELS:
        for name in admin.site.get_model_admin(model).get_actions(request):
            sent = {"action": name, ACTION_CHECKBOX_NAME: world[model].pk, "index": 0, **values}
            response = stranger.post(url(model, "changelist"), sent)
            assert not sings(response), (model, name)
            assert snapshot() == before, (model, name)
            with transaction.atomic():
                response = boss.post(url(model, "changelist"), {**sent, "perform": ""})
                # Whoever sees the row is asked, told or obeyed.
                assert response.status_code == 200 or told(response), (model, name)
                assert "No action selected." not in told(response), (model, name)
                transaction.set_rollback(True)
            tried.append(name)
    assert len(tried) > 10


def test_nobody_who_is_not_signed_in_comes_further_than_the_sign_in(world, client):
    for door in of_the_admin():
        if door.model is None:
            continue
        row = world[door.model].pk if door.model in world else 1
        address = f"{url(door.model, 'changelist')}{row}/"
        if door.kind != OLD_ADDRESS:
            address = reverse(door.name, args=() if door.kind in WITHOUT_ROW else (row,))
        response = client.get(address)
        assert (response.status_code, response["Location"].split("?")[0]) == (302, reverse("admin:login")), door
        assert not sings(response), door
