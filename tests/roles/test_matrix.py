"""What each role finds behind every door: by table, and by whose row it is. The answers stand in `matrix.json`.

A line there says, for a role and a table, whether rows may be added and, for a row of each side, what opens: `listed`
on the list, `change` or `view` for its page, `history`, `delete`, and the actions that take it; `-` is nothing. See
`tests.baselines` for how the file is written anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models, transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import Account
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.playbooks.models import Play
from csplaybooks.signals.models import Meter, Reading, ScoreSnapshot, Signal, SignalType
from tests.admin.pages import told, url
from tests.admin.rows import MODELS
from tests.baselines import forget, reviewed
from tests.meta.canary import sings
from tests.roles.scene import ANY, SIDES, WHO, Scene, word_of

pytestmark = pytest.mark.django_db

MATRIX = Path(__file__).with_name("matrix.json")

#: Signals and readings are posted for an account, prompts are asked for one, the others are read.
API = {
    "accounts": Account,
    "plays": Play,
    "prompts": Play,
    "signals": Signal,
    "readings": Reading,
    "readiness": ScoreSnapshot,
}


def label(model: type[models.Model]) -> str:
    """A table's short name: `accounts.Account`."""
    return f"{model._meta.app_label.removeprefix('csplaybooks_')}.{model.__name__}"


class Visit:
    """A role's walk through all doors. `heard` is which sides' texts were read of which table."""

    def __init__(self, who: str) -> None:
        self.scene = Scene()
        self.user = self.scene.user(who)
        self.client = Client()
        self.client.force_login(self.user)
        # Which actions anybody is offered, and which this role is.
        self.anybody, self.request = RequestFactory().get("/"), RequestFactory().get("/")
        self.anybody.user, self.request.user = UserFactory(superuser=True), self.user
        self.heard: dict[str, set[str]] = {}
        self.seen: dict[str, set[str]] = {}

    def table(self, model: type[models.Model]) -> str:
        """The line of a table."""
        rows = self.scene.rows[model]
        response = self._look(model, "get", url(model, "changelist"), {"all": ""})
        listed: set[Any] = set()
        if response.status_code == 200:
            listed = {row.pk for row in response.context["cl"].queryset}
        self.seen[label(model)] = {side for side, row in rows.items() if row.pk in listed}
        added = self._look(model, "get", url(model, "add")).status_code == 200
        opens = {side: " ".join(self._row(model, row, row.pk in listed)) or "-" for side, row in rows.items()}
        # What the last act said stands on whichever page comes next: on one of this table.
        self._look(model, "get", url(model, "changelist"), {"all": ""})
        return "; ".join([f"add: {'yes' if added else '-'}", *(f"{side}: {what}" for side, what in opens.items())])

    def _row(self, model: type[models.Model], row: Any, is_listed: bool) -> Iterator[str]:
        if is_listed:
            yield "listed"
        page = self._look(model, "get", url(model, "change", row.pk))
        if page.status_code == 200:
            yield "change" if page.context["has_change_permission"] else "view"
        for name in ("history", "delete"):
            if self._look(model, "get", url(model, name, row.pk)).status_code == 200:
                yield name
        before = model._base_manager.filter(pk=row.pk).values().get()
        page_of_table = admin.site.get_model_admin(model)
        offered = page_of_table.get_actions(self.request)
        # Sent whether this role is offered it or not.
        for action in page_of_table.get_actions(self.anybody):
            with transaction.atomic():
                response = self._look(model, "post", url(model, "changelist"), self._sent(action, row))
                after = model._base_manager.filter(pk=row.pk).values().first()
                transaction.set_rollback(True)
            if action in offered and is_listed:
                # Done, asked, or told why not.
                assert after != before or response.status_code == 200 or told(response), (model, action)
                yield action
            else:
                assert after == before, (model, action)

    def _sent(self, action: str, row: Any) -> dict[str, Any]:
        return {
            "action": action,
            ACTION_CHECKBOX_NAME: row.pk,
            "index": 0,
            "perform": "1",
            "post": "yes",
            "reason": "Because",
            "channel": "call",
            "direction": "out",
            "owner": self.scene.members["csm"].pk,
        }

    def _look(self, model: type[models.Model], method: str, address: str, data: Any = None) -> Any:
        response = getattr(self.client, method)(address, data or {})
        self.heard.setdefault(label(model), set()).update(side for side in SIDES if sings(response, word_of(side)))
        return response

    def api(self, name: str) -> str:
        """The line of an endpoint."""
        answers = {side: self._called(name, side) for side in SIDES}
        return "; ".join(f"{side}: {answer}" for side, answer in answers.items())

    def _called(self, name: str, side: str) -> str:
        if name in ("accounts", "plays"):
            row = self.scene.rows[API[name]][side]
            listed = self.client.get(reverse(f"csplaybooks:api:{name}-list"), {"page_size": 500})
            read = self.client.get(reverse(f"csplaybooks:api:{name}-detail", args=[row.pk]))
            found = [listed.status_code == 200 and row.pk in {each["id"] for each in listed.json()["results"]}]
            found.append(read.status_code == 200)
            return " ".join(word for word, is_so in zip(("listed", "read"), found, strict=True) if is_so) or "-"
        identity = self.scene.rows[Account][side].identities.get()
        if name in ("prompts", "readiness"):
            asked = {"account": identity.external_id, "account_source": identity.source}
            return {200: "answered", 404: "unknown"}.get(
                self.client.get(reverse(f"csplaybooks:api:{name}"), asked).status_code, "-"
            )
        item = {
            "source": "product",
            "external_id": f"new-{side}",
            "account": identity.external_id,
            "account_source": identity.source,
            "occurred_at": timezone.now().isoformat(),
        }
        if API[name] is Signal:
            item["type"] = self.scene.rows[SignalType][ANY].key
        else:
            item |= {"meter": self.scene.rows[Meter][ANY].key, "used": 1}
        response = self.client.post(reverse(f"csplaybooks:api:{name}"), item, content_type="application/json")
        return str(response.json()["results"][0]["status"]) if response.status_code == 200 else "-"


@pytest.mark.parametrize("who", WHO)
def test_what_opens_to(who):
    visit = Visit(who)
    found = {f"{who} {label(model)}": visit.table(model) for model in MODELS}
    found |= {f"{who} api {name}": visit.api(name) for name in API}
    said = reviewed(MATRIX, found)
    assert {name: line for name, line in found.items() if said[name] != line} == {
        name: said[name] for name, line in found.items() if said[name] != line
    }
    if scope_of(visit.user).everything:
        return
    # Nobody reads a text of a row that is not on their list.
    unseen = {name: heard - visit.seen[name] for name, heard in visit.heard.items() if heard - visit.seen[name]}
    assert unseen == {}


def test_the_matrix_holds_every_role_and_table_and_no_other():
    names = {f"{who} {label(model)}" for who in WHO for model in MODELS} | {
        f"{who} api {name}" for who in WHO for name in API
    }
    assert forget(MATRIX, names) == set()
