"""What holds for every table of the three apps: registered, seen by the right people, quick to list."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from csplaybooks.admin_base import BaseAdmin, VisibleRelatedFilter
from csplaybooks.playbooks.models import Play
from tests.admin.rows import MAKERS, MODELS, make

pytestmark = pytest.mark.django_db

every_table = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def url(model: type[models.Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_every_table_has_a_maker_of_rows():
    assert set(MAKERS) == set(MODELS)


@every_table
def test_is_registered_described_and_has_visible_rows(model):
    assert isinstance(admin.site.get_model_admin(model), BaseAdmin)
    # Django writes a docstring of its own where there is none: the names of the fields.
    assert model.__doc__
    assert not model.__doc__.startswith(f"{model.__name__}(")
    assert callable(model._default_manager.all().visible_to)
    assert type(admin.site.get_model_admin(model)).__doc__


@every_table
def test_list_opens_with_as_many_queries_for_thirty_rows_as_for_three(model, boss, django_assert_max_num_queries):
    make(model, 3)
    # The first time also finds what is cached from then on, such as the content types.
    boss.get(url(model, "changelist"))
    with CaptureQueriesContext(
        connection,
    ) as with_three:
        response = boss.get(url(model, "changelist"))
    assert response.status_code == 200
    assert response.context["cl"].result_count >= 3
    make(model, 27)
    with django_assert_max_num_queries(min(len(with_three), 20)):
        response = boss.get(url(model, "changelist"))
    assert response.context["cl"].result_count >= 30


@every_table
def test_pages_open_for_whoever_sees_everything(model, boss):
    [row] = make(model)
    assert boss.get(url(model, "change", row.pk)).status_code == 200
    assert boss.get(url(model, "history", row.pk)).status_code == 200
    model_admin: Any = admin.site.get_model_admin(model)
    assert boss.get(url(model, "add")).status_code in (200, 403)
    assert boss.get(url(model, "delete", row.pk)).status_code == (200 if model_admin.deletable else 403)
    if model_admin.search_fields:
        assert boss.get(url(model, "changelist"), {"q": "any thing"}).status_code == 200


@every_table
def test_stranger_finds_nothing(model, stranger):
    [row] = make(model)
    response = stranger.get(url(model, "changelist"))
    assert response.status_code == 200
    assert response.context["cl"].result_count == 0
    # Nor do the filters beside the list name anything.
    named = [spec for spec in response.context["cl"].filter_specs if isinstance(spec, VisibleRelatedFilter)]
    assert [spec.lookup_choices for spec in named if spec.lookup_choices] == []
    for page in ("change", "history", "delete"):
        response = stranger.get(url(model, page, row.pk))
        assert (response.status_code, response.get("Location")) in [(302, reverse("admin:index")), (403, None)], page
    assert stranger.post(url(model, "change", row.pk), {}).status_code in (302, 403)


@every_table
def test_stranger_is_offered_no_choices(model, stranger):
    make(model)
    response = stranger.get(url(model, "add"))
    assert response.status_code in (200, 403)
    if response.status_code == 403:
        return
    forms = [response.context["adminform"].form]
    forms += [formset.formset.empty_form for formset in response.context["inline_admin_formsets"]]
    for form in forms:
        for name, field in form.fields.items():
            offered = getattr(field, "queryset", None)
            if offered is not None and offered.model in MODELS and not field.widget.is_hidden:
                assert not offered.exists(), name


@every_table
def test_stranger_gets_no_autocompletion(model, stranger):
    make(model)
    for field in model._meta.fields:
        if isinstance(field, models.ForeignKey) and field.remote_field.model in MODELS:
            response = stranger.get(
                reverse("admin:autocomplete"),
                {
                    "app_label": model._meta.app_label,
                    "model_name": model._meta.model_name,
                    "field_name": field.name,
                    "term": "",
                },
            )
            assert response.status_code in (200, 403, 404)
            if response.status_code == 200:
                assert response.json()["results"] == []


@every_table
def test_no_action_reaches_rows_that_are_not_seen(model, stranger):
    [row] = make(model)
    before = type(row).objects.filter(pk=row.pk).values().get()
    for action in admin.site.get_model_admin(model).actions or ():
        name = action if isinstance(action, str) else action.__name__
        stranger.post(
            url(model, "changelist"),
            {
                "action": name,
                ACTION_CHECKBOX_NAME: row.pk,
                "index": 0,
                "perform": "1",
                "reason": "Because",
                "channel": "call",
            },
        )
    assert type(row).objects.filter(pk=row.pk).values().get() == before


def test_filters_offer_what_is_seen(boss):
    [play] = make(Play)
    specs = boss.get(url(Play, "changelist")).context["cl"].filter_specs
    offered = {spec.title: spec.lookup_choices for spec in specs if isinstance(spec, VisibleRelatedFilter)}
    assert offered["owner"] == [(play.owner.pk, play.owner.name)]
