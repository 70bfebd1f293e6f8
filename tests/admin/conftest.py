"""The people in front of the admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from tests.admin.rows import LABELS

#: Signs a user in, in a browser of their own.
SignIn = Callable[[Any], Client]


def permitted(user: Any) -> Any:
    """Give a user every model permission of ours: what may be done, not what may be seen."""
    ours = Permission.objects.filter(content_type__app_label__in=LABELS)
    user.user_permissions.set(ours.exclude(codename="view_everything"))
    return user


def sign_in(user: Any) -> Client:
    """A browser of their own, in which a user has signed in."""
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def signed_in() -> SignIn:
    """A browser in which a user has signed in."""
    return sign_in


@pytest.fixture
def operator(db: None) -> Any:
    """Somebody who sees everything."""
    return UserFactory(username="operator", superuser=True)


@pytest.fixture
def carla(db: None) -> Any:
    """A CSM with every model permission."""
    member = TeamMemberFactory(name="Carla")
    permitted(member.user)
    return member


@pytest.fixture
def boss(signed_in: SignIn, operator: Any) -> Client:
    """The browser of somebody who sees everything."""
    return signed_in(operator)


@pytest.fixture
def csm(signed_in: SignIn, carla: Any) -> Client:
    """Carla's browser."""
    return signed_in(carla.user)


@pytest.fixture
def stranger(signed_in: SignIn, db: None) -> Client:
    """The browser of a user of the back office who is not in the team, with every model permission."""
    return signed_in(permitted(UserFactory(username="stranger")))
