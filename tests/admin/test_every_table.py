"""What holds for the pages of every table, for whoever sees everything. Strangers are in `tests.meta`."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin

from csplaybooks.admin_base import VisibleRelatedFilter
from csplaybooks.playbooks.models import Play
from tests.admin.pages import url
from tests.admin.rows import MODELS, make

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_pages_open_for_whoever_sees_everything(model, boss):
    [row] = make(model)
    assert boss.get(url(model, "change", row.pk)).status_code == 200
    assert boss.get(url(model, "history", row.pk)).status_code == 200
    model_admin: Any = admin.site.get_model_admin(model)
    assert boss.get(url(model, "add")).status_code in (200, 403)
    assert boss.get(url(model, "delete", row.pk)).status_code == (200 if model_admin.deletable else 403)
    if model_admin.search_fields:
        assert boss.get(url(model, "changelist"), {"q": "any thing"}).status_code == 200


def test_filters_offer_what_is_seen(boss):
    [play] = make(Play)
    specs = boss.get(url(Play, "changelist")).context["cl"].filter_specs
    offered = {spec.title: spec.lookup_choices for spec in specs if isinstance(spec, VisibleRelatedFilter)}
    assert offered["owner"] == [(play.owner.pk, play.owner.name)]
