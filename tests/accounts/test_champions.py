"""Acts on the people at accounts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings

from csplaybooks.accounts.acts import Conflict, NewChampion, add_champion, add_champions, change_champion
from csplaybooks.accounts.factories import START, AccountFactory, ChampionFactory
from csplaybooks.accounts.models import Champion, ChampionChange, Change, TimelineEntry

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=100)
THEN = NOW - timedelta(days=2)


@pytest.mark.parametrize(
    ("role", "kind", "text"),
    [
        ("champion", "joined", "Joined: Ada, Director (champion)"),
        ("user", "joined", "Joined: Ada, Director (user)"),
        ("economic_buyer", "new_executive", "New executive: Ada, Director (economic buyer)"),
        ("executive_sponsor", "new_executive", "New executive: Ada, Director (executive sponsor)"),
    ],
)
def test_a_person_comes(role: str, kind: str, text: str, told: list[str]) -> None:
    account = AccountFactory()
    champion = add_champion(
        account_id=account.pk,
        name="Ada",
        email="ada@example.org",
        title="Director",
        role=role,
        occurred_at=THEN,
        now=NOW,
        actor=None,
    )
    champion.refresh_from_db()
    assert (champion.account, champion.email, champion.role) == (account, "ada@example.org", role)
    [change] = champion.changes.all()
    assert (change.kind, change.occurred_at, change.new_title, change.new_role) == (
        kind,
        THEN,
        "Director",
        role,
    )
    assert (change.old_title, change.old_role, change.account) == ("", "", account)
    assert (change.change.kind, change.change.account) == ("champions", account)
    entry = TimelineEntry.objects.get()
    assert (entry.text, entry.at, entry.subject_id) == (text, THEN, champion.pk)
    assert told == ["champions"]


@pytest.mark.parametrize("count", [1, 50])
def test_many_people_take_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    accounts = AccountFactory.create_batch(count)
    items = [NewChampion(account_id=account.pk, name="Ada") for account in accounts]
    # Savepoint (2); accounts, champions, record, history, timeline.
    with django_assert_num_queries(7):
        add_champions(items=items, now=NOW, actor=None)


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        ({"title": "VP"}, "promoted", "Ada promoted: VP (was Director)"),
        ({"role": "economic_buyer"}, "role_changed", "Ada changed role: economic buyer (was champion)"),
        (
            {"title": "CFO", "role": "economic_buyer"},
            "role_changed",
            "Ada changed role: CFO (was Director), economic buyer (was champion)",
        ),
        (
            {"title": "CFO", "role": "economic_buyer", "kind": "new_executive"},
            "new_executive",
            "New executive: Ada: CFO (was Director), economic buyer (was champion)",
        ),
    ],
)
def test_a_person_moves(values: dict[str, Any], kind: str, text: str, told: list[str]) -> None:
    champion = ChampionFactory(name="Ada", title="Director", role="champion")
    answer = change_champion(champion_id=champion.pk, occurred_at=THEN, now=NOW, actor=None, **values)
    champion.refresh_from_db()
    assert answer == champion
    assert (champion.version, champion.updated_at) == (answer.version, answer.updated_at) == (2, NOW)
    change = champion.changes.get()
    assert (change.kind, change.occurred_at) == (kind, THEN)
    assert (change.old_title, change.old_role) == ("Director", "champion")
    assert (change.new_title, change.new_role) == (champion.title, champion.role)
    assert champion.title == values.get("title", "Director")
    assert champion.role == values.get("role", "champion")
    assert (TimelineEntry.objects.get().text, TimelineEntry.objects.get().kind) == (text, f"champion_{kind}")
    assert told == ["champions"]


@override_settings(CSPLAYBOOKS={"TIME_ZONE": "Asia/Tokyo"})
def test_a_person_leaves_on_a_day_of_the_company() -> None:
    champion = ChampionFactory(name="Ada")
    late_evening = START.replace(hour=20)
    change_champion(champion_id=champion.pk, kind="left", occurred_at=late_evening, now=NOW, actor=None)
    champion.refresh_from_db()
    assert champion.left_on == date(2025, 1, 7)
    assert champion.changes.get().kind == "left"
    assert TimelineEntry.objects.get().text == "Ada left"


def test_nothing_new_writes_nothing(told: list[str], django_assert_num_queries: Any) -> None:
    champion = ChampionFactory(title="Director")
    # The savepoint and one read.
    with django_assert_num_queries(3):
        change_champion(
            champion_id=champion.pk,
            title="Director",
            role="champion",
            occurred_at=THEN,
            now=NOW,
            actor=None,
        )
    champion.refresh_from_db()
    assert champion.version == 1
    assert not ChampionChange.objects.exists()
    assert told == []


def test_a_mended_address_is_no_history(told: list[str]) -> None:
    champion = ChampionFactory(name="Ada")
    change_champion(champion_id=champion.pk, email="countess@example.org", occurred_at=NOW, now=NOW, actor=None)
    champion.refresh_from_db()
    assert (champion.email, champion.version) == ("countess@example.org", 2)
    assert not ChampionChange.objects.exists()
    assert TimelineEntry.objects.get().text == "Contact details of Ada changed"
    assert told == []


def test_who_read_an_older_version_is_told_so(told: list[str]) -> None:
    champion = ChampionFactory(version=3, title="Director")
    with pytest.raises(Conflict, match="has changed since version 2"):
        change_champion(champion_id=champion.pk, title="VP", occurred_at=NOW, now=NOW, actor=None, expected_version=2)
    champion.refresh_from_db()
    assert champion.title == "Director"
    assert told == []
    change_champion(champion_id=champion.pk, title="VP", occurred_at=NOW, now=NOW, actor=None, expected_version=3)
    champion.refresh_from_db()
    assert (champion.title, champion.version) == ("VP", 4)


def test_what_does_not_fit_is_refused_by_name() -> None:
    champion = ChampionFactory()

    def refused(**kwargs: Any) -> list[str]:
        given = {"occurred_at": NOW} | kwargs
        with pytest.raises(ValidationError) as error:
            change_champion(champion_id=champion.pk, now=NOW, actor=None, **given)
        return list(error.value.message_dict)

    assert refused(role="king") == ["role"]
    assert refused(kind="vanished") == ["kind"]
    assert refused(email="nowhere") == ["email"]
    assert refused(name="") == ["name"]
    assert refused(title="VP", occurred_at=NOW + timedelta(days=1)) == ["occurred_at"]
    with pytest.raises(Champion.DoesNotExist):
        change_champion(champion_id=999_999, title="VP", occurred_at=NOW, now=NOW, actor=None)
    with pytest.raises(ValidationError, match="There is no account with the id 999999"):
        add_champion(account_id=999_999, name="Ada", now=NOW, actor=None)
    assert not Change.objects.filter(kind="champions").exists()
