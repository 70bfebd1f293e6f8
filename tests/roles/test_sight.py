"""What people wrote down about customers is not read on the pages of other tables by who may not look at it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.models import Q
from django.test import Client

from csplaybooks.accounts.acts import timeline_entry, write_timeline
from csplaybooks.accounts.factories import (
    START,
    ChampionFactory,
    FindingFactory,
    QbrFactory,
    TeamMemberFactory,
    TimelineEntryFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Account, Champion, Finding, Qbr, TimelineEntry
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.factories import ClockFactory, MatchFactory, PlayFactory, TouchFactory
from csplaybooks.playbooks.models import Handoff, Match, Play, PlayStep, Touch
from csplaybooks.playbooks.roles import COLUMNS, RIGHTS
from tests.admin.pages import url
from tests.meta.canary import mark, sings

pytestmark = pytest.mark.django_db

WORD = "canaryshut"


@pytest.fixture
def play() -> Any:
    """A play at an account about which much was written down."""
    play = PlayFactory()
    account = play.account
    QbrFactory(account=account).attendees.add(ChampionFactory(account=account))
    FindingFactory(account=account)
    TimelineEntryFactory(account=account)
    write_timeline(
        [timeline_entry(account_id=account.pk, at=START, now=START, kind="touch", text="Called", subject=play)]
    )
    TouchFactory(play=play, note="They said")
    PlayStep.objects.create(play=play, number=1, kind="task", text="Call.")
    Handoff.objects.create(
        play=play, offered_by=play.owner, offered_to=TeamMemberFactory(ae=True), offered_at=START, reason="Big"
    )
    ClockFactory(play=play)
    MatchFactory(account=account, state=Match.State.FIRED, play=play, fired_at=START)
    return play


def pages_of(play: Any) -> list[str]:
    match = Match.objects.get(play=play)
    pages = [url(type(row), page, row.pk) for row in (play.account, play, match) for page in ("change", "history")]
    return pages + [url(model, "changelist") for model in (Account, Play, Match)]


def shut() -> list[Any]:
    """The tables that an integration admin may not look at, with the word in all their texts."""
    tables = [model for model, rights in RIGHTS.items() if not rights[COLUMNS.index(Role.INTEGRATION_ADMIN)]]
    mark(Q(), tables, WORD)
    return tables


def test_pages_tell_nothing_of_tables_that_a_role_may_not_look_at(play):
    make_groups()
    user = UserFactory()
    user.groups.add(Group.objects.get(name=Role.INTEGRATION_ADMIN.group))
    client = Client()
    client.force_login(user)
    assert {Champion, Finding, PlayStep, Qbr, TimelineEntry, Touch} <= set(shut())
    for address in pages_of(play):
        response = client.get(address)
        assert response.status_code == 200
        assert not sings(response, WORD), address


def test_what_is_not_read_there_is_there_to_be_read(play):
    client = Client()
    client.force_login(UserFactory(superuser=True))
    shut()
    account_page, _, play_page, *_ = pages_of(play)
    assert sings(client.get(account_page), WORD)
    assert sings(client.get(play_page), WORD)
