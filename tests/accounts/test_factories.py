"""The factories of the three rooms make rows that are valid and the same each time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import factory
import pytest

from csplaybooks.accounts import factories as accounts
from csplaybooks.accounts.models import AccountFacts
from csplaybooks.playbooks import factories as playbooks
from csplaybooks.playbooks.models import Interval, Play
from csplaybooks.signals import factories as signals

pytestmark = pytest.mark.django_db


def factories_of(room: ModuleType) -> list[Any]:
    """The factories that a room defines itself."""
    return [
        each
        for each in vars(room).values()
        if isinstance(each, type)
        and issubclass(each, factory.django.DjangoModelFactory)
        and each.__module__ == room.__name__
    ]


@pytest.mark.parametrize("make", [make for room in (accounts, signals, playbooks) for make in factories_of(room)])
def test_rows_of_factories_are_valid_and_can_be_made_twice(make: Any) -> None:
    for row in (make(), make()):
        row.refresh_from_db()
        row.validate_constraints()
        # Blank but allowed by the database: what is filled by the pipeline, and never by a form.
        row.clean_fields(exclude=[field.name for field in row._meta.fields if field.value_from_object(row) in ([], {})])
        assert str(row)


def test_an_account_comes_with_an_id_and_facts() -> None:
    ada, alex = accounts.TeamMemberFactory(), accounts.TeamMemberFactory(ae=True)
    account = accounts.AccountFactory(name="Acme Corp", csm=ada, ae=alex, facts__segment="small")
    assert [str(identity) for identity in account.identities.all()] == ["crm:acme-corp"]
    facts = AccountFacts.objects.current().get(account=account)
    assert (facts.segment, facts.lifecycle, facts.valid_from) == ("small", "paying", account.created_at)
    assert [row.member for row in account.team.order_by("role")] == [alex, ada]
    bare = accounts.AccountFactory(identity=None, facts=None)
    assert not bare.identities.exists()
    assert not bare.facts.exists()


def test_a_user_can_sign_in() -> None:
    assert accounts.UserFactory().check_password(accounts.PASSWORD)


def test_the_calendar_has_office_hours() -> None:
    calendar = playbooks.CalendarFactory()
    hours = calendar.blocks.values_list("weekday", "start_minute", "end_minute")
    assert list(hours) == [(weekday, 540, 1020) for weekday in range(5)]
    assert playbooks.CalendarFactory() == calendar
    assert not playbooks.CalendarFactory(key="never", is_default=False, blocks=[]).blocks.exists()


def test_a_play_stands_in_its_interval() -> None:
    play = playbooks.PlayFactory()
    interval = Interval.objects.get(play=play)
    assert (interval.owner, interval.holder, interval.stage) == (play.owner, play.owner, "owned")
    waiting = playbooks.PlayFactory(unowned=True)
    assert (waiting.owner, waiting.intervals.get().held_by) == (None, "tray")
    assert Play.objects.count() == 2
    assert play.playbook.published == play.recipe
