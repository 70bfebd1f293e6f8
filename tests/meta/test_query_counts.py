"""Every list takes the same number of queries for thirty rows as for three: the number that stands in the baseline.

The baseline, `query_counts.json`, is reviewed: a list that asks more, or less, shows as a difference in it. See
`tests.baselines` for how it is written anew. The counts are the same on both databases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory, TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.models import Play, Trigger
from tests.admin.conftest import permitted
from tests.admin.pages import url
from tests.admin.rows import MODELS, make
from tests.baselines import forget, reviewed
from tests.meta.doors import doors

pytestmark = pytest.mark.django_db

BASELINE = Path(__file__).with_name("query_counts.json")

#: The lists of the API, and what is in them.
API_LISTS = {"accounts-list": Account, "plays-list": Play, "triggers-list": Trigger}


def entry_of(model: Any) -> str:
    """The name of a table's list in the baseline."""
    return f"admin {model._meta.app_label.removeprefix('csplaybooks_')}.{model.__name__}"


@pytest.fixture
def callers(signed_in) -> dict[str, Client]:
    """Who sees everything, and a CSM, whose rows are looked for: rows without a CSM are seen by all of them."""
    member = TeamMemberFactory(name="Carla")
    token = ApiTokenFactory()
    return {
        "csm": signed_in(permitted(member.user)),
        "token": Client(headers={"authorization": f"Token {token.value}"}),
    }


def linked(model: Any, number: int) -> None:
    """Rows of a list; accounts with a parent and a merger, because Django 5.2.0 asks for those that are nowhere too."""
    made = make(model, number)
    if model is Account:
        other = AccountFactory()
        Account.objects.filter(pk__in=[row.pk for row in made]).update(parent=other, merged_into=other)


def counted(client: Client, address: str) -> int:
    """How many queries an address takes."""
    # The first time also finds what is cached from then on, such as the content types.
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_lists_of_the_admin(model, callers, boss):
    address = url(model, "changelist")
    people = {"superuser": boss, "csm": callers["csm"]}
    linked(model, 3)
    with_three = {name: counted(client, address) for name, client in people.items()}
    linked(model, 27)
    with_thirty = {name: counted(client, address) for name, client in people.items()}
    assert with_thirty == with_three
    assert boss.get(address).context["cl"].result_count >= 30
    assert reviewed(BASELINE, {entry_of(model): with_thirty}) == {entry_of(model): with_thirty}


@pytest.mark.parametrize("name", API_LISTS)
def test_lists_of_the_api(name, callers):
    address = reverse(f"csplaybooks:api:{name}")
    make(API_LISTS[name], 3)
    with_three = {caller: counted(client, address) for caller, client in callers.items()}
    make(API_LISTS[name], 27)
    with_thirty = {caller: counted(client, address) for caller, client in callers.items()}
    assert with_thirty == with_three
    assert len(callers["token"].get(address).json()["results"]) >= 30
    assert reviewed(BASELINE, {f"api {name}": with_thirty}) == {f"api {name}": with_thirty}


def test_the_baseline_holds_every_list_and_no_other():
    lists = {door.name.removeprefix("csplaybooks:api:") for door in doors() if door.name.endswith("-list")}
    assert lists == set(API_LISTS)
    assert forget(BASELINE, {entry_of(model) for model in MODELS} | {f"api {name}" for name in lists}) == set()
