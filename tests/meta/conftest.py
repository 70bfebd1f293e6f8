"""The people before the doors: who sees everything, and a stranger who may do everything and see nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from csplaybooks.accounts.factories import UserFactory
from tests.admin.conftest import SignIn, permitted, sign_in
from tests.meta.canary import World, world_of_canaries


@pytest.fixture
def outsider(db: None) -> Any:
    """A user of the back office who is not in the team, with every permission of ours but to see everything."""
    return permitted(UserFactory(username="stranger"))


@pytest.fixture
def chief(db: None) -> Any:
    """A superuser."""
    return UserFactory(username="chief", superuser=True)


@pytest.fixture
def world(outsider: Any, chief: Any) -> World:
    """A row in each table, and in all their texts the word that nobody may read."""
    return world_of_canaries(outsider, chief)


@pytest.fixture
def stranger(outsider: Any) -> Client:
    """The stranger's browser."""
    return sign_in(outsider)


@pytest.fixture
def boss(chief: Any) -> Client:
    """The superuser's browser: what the stranger does not see must be there to be seen."""
    return sign_in(chief)


@pytest.fixture
def signed_in() -> SignIn:
    """A browser in which a user has signed in."""
    return sign_in
