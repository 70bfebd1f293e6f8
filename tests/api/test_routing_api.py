"""The dry run of the routing over REST: what it refuses, and by what names accounts are known."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from csplaybooks.accounts.factories import AccountFactory, AccountIdentityFactory, ApiTokenFactory, TeamMemberFactory
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/routing/"


@pytest.fixture
def account(db: None) -> Any:
    """An account of Carla's, known to the crm as `a-17`."""
    CalendarFactory()
    made = AccountFactory(csm=TeamMemberFactory(name="Carla"))
    AccountIdentityFactory(account=made, source="crm", external_id="a-17")
    return made


@pytest.fixture
def recipe(db: None) -> Any:
    """A playbook that runs."""
    return PlaybookVersionFactory(playbook=PlaybookFactory(key="seats"))


@pytest.fixture
def integration(db: None) -> Client:
    """A token that may read plays."""
    return Client(headers={"authorization": f"Token {ApiTokenFactory(scopes=['plays:read']).value}"})


def test_an_account_is_known_by_its_id_with_its_source_or_without(integration, account, recipe):
    for asked in ({"account": "a-17"}, {"account": "crm:a-17"}, {"account": "a-17", "account_source": "crm"}):
        (answer,) = integration.get(ADDRESS, asked).json()["results"]
        assert answer["owner"]["name"] == "Carla", asked
    # A colon is no source where the whole is an id, and no second source beside the one that is said.
    AccountIdentityFactory(account=AccountFactory(), source="mail", external_id="crm:a-17")
    (answer,) = integration.get(ADDRESS, {"account": "crm:a-17"}).json()["results"]
    assert answer["why"] == "the least loaded of the pool"
    refused = integration.get(ADDRESS, {"account": "crm:a-17", "account_source": "crm"})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_account")


@pytest.mark.parametrize(
    ("asked", "status", "code", "field"),
    [
        ({"draft": "maybe"}, 400, "invalid_filter", "draft"),
        ({"draft": "1"}, 400, "invalid_filter", "draft"),
        ({"playbook": "none"}, 404, "unknown_playbook", "playbook"),
        ({"playbook": "new"}, 400, "invalid_filter", "playbook"),
        ({"ceiling": "moon"}, 400, "invalid_filter", "ceiling"),
        ({"account": "nobody"}, 404, "unknown_account", "account"),
        ({"account": "crm:nobody"}, 404, "unknown_account", "account"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(integration, account, recipe, asked, status, code, field):
    PlaybookFactory(key="new")
    response = integration.get(ADDRESS, {"account": "a-17", **asked})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_a_draft_is_asked_for_in_words(integration, account, recipe):
    for draft, version in (("true", None), ("false", 1)):
        (answer,) = integration.get(ADDRESS, {"account": "a-17", "playbook": "seats", "draft": draft}).json()["results"]
        assert answer["playbook_version"] == version
