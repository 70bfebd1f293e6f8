"""Rows chosen on a list: what is sent as chosen and is no row is not chosen, on any of our lists."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin

from csplaybooks.accounts.factories import ProductFactory
from csplaybooks.accounts.models import Product
from csplaybooks.admin_base import BaseAdmin
from csplaybooks.admin_base.lists import ids_among
from tests.admin.pages import told, url
from tests.admin.rows import MODELS, make

pytestmark = pytest.mark.django_db

NOT_CHOSEN = "Items must be selected in order to perform actions on them. No items have been changed."

#: What is no id of a row, of any table of ours.
NO_IDS = ["abc", "", " ", "1.5", "\0", "٣x", "9" * 23, f"-{'9' * 23}", "9" * 5000]


def post(client: Any, model: Any, action: str, chosen: list[str], **more: str) -> Any:
    data = {"action": action, "_selected_action": chosen, "index": "0", **more}
    return client.post(url(model, "changelist"), data)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_what_is_no_id_of_a_row_is_not_chosen(model: Any, boss: Any) -> None:
    page: Any = admin.site.get_model_admin(model)
    assert isinstance(page, BaseAdmin)
    make(model)
    request = boss.get(url(model, "changelist")).wsgi_request
    actions = list(page.get_actions(request))
    before = list(model.objects.order_by("pk").values())
    for action in actions:
        for chosen in (*([no] for no in NO_IDS), NO_IDS):
            answer = post(boss, model, action, chosen)
            assert answer.status_code == 302, (action, chosen)
            assert told(answer) == [NOT_CHOSEN], (action, chosen)
    if not actions:
        # A list without actions is shown, whatever is sent to it.
        assert post(boss, model, "delete_selected", NO_IDS).status_code == 200
    assert list(model.objects.order_by("pk").values()) == before


def test_what_is_chosen_besides_is_done(boss: Any) -> None:
    gone, stays = ProductFactory(key="gone"), ProductFactory(key="stays")
    asked = post(boss, Product, "delete_selected", ["abc", str(gone.pk), "9" * 23])
    assert asked.status_code == 200
    done = post(boss, Product, "delete_selected", ["abc", str(gone.pk), "9" * 23], post="yes")
    assert done.status_code == 302
    assert list(Product.objects.all()) == [stays]


def test_all_rows_are_chosen_whatever_else_is(boss: Any) -> None:
    ProductFactory(key="gone")
    answer = post(boss, Product, "delete_selected", ["abc"], select_across="1", post="yes")
    assert answer.status_code == 302
    assert not Product.objects.exists()


def test_ids_of_a_row_that_borrows_its_key() -> None:
    class Borrowed:
        remote_field = object()
        target_field = Product._meta.pk

    class Meta:
        pk = Borrowed()

    assert ids_among(Meta, ["7", "abc", "9" * 23, "8"]) == ["7", "8"]
