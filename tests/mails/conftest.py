"""A site that tells its people by mail, and some of these people."""

from __future__ import annotations

from typing import Any

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import PlaybookVersion


@pytest.fixture(autouse=True)
def by_mail(settings: Any) -> None:
    """Notices go by mail, with links."""
    settings.CSPLAYBOOKS = {
        "NOTICES_BY_MAIL": True,
        "SITE_URL": "https://growth.example.com/",
        "MAIL_FROM": "growth@vendor.example",
    }


@pytest.fixture
def office() -> Any:
    """Monday to Friday, nine to five."""
    return CalendarFactory()


@pytest.fixture
def mona() -> TeamMember:
    """The manager."""
    member: TeamMember = TeamMemberFactory(
        name="Mona", leads=True, user=UserFactory(), manager=TeamMemberFactory(name="Zoe", leads=True)
    )
    return member


@pytest.fixture
def carla(mona: TeamMember) -> TeamMember:
    """A customer success manager."""
    member: TeamMember = TeamMemberFactory(name="Carla", manager=mona, user=UserFactory())
    return member


@pytest.fixture
def eve(mona: TeamMember) -> TeamMember:
    """An account executive."""
    member: TeamMember = TeamMemberFactory(name="Eve", ae=True, manager=mona, user=UserFactory())
    return member


@pytest.fixture
def recipe() -> PlaybookVersion:
    """A published playbook."""
    version: PlaybookVersion = PlaybookVersionFactory(playbook__name="Seats nearly full")
    return version
