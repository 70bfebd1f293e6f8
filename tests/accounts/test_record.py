"""Changes and the timeline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.acts.record import record_changes, timeline_entry, write_timeline
from csplaybooks.accounts.factories import (
    START,
    ApiTokenFactory,
    BareAccountFactory,
    ChampionFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Change, TimelineEntry

pytestmark = pytest.mark.django_db


def test_one_change_for_each_different_account_and_one_word_to_the_evaluator(
    told: list[str], django_assert_num_queries: Any
) -> None:
    one, two = BareAccountFactory.create_batch(2)
    with django_assert_num_queries(1):
        changes = record_changes(kind="facts", account_ids=[two.pk, one.pk, two.pk, None], now=START)
    assert [change.account_id for change in changes] == [two.pk, one.pk, None]
    assert set(Change.objects.all()) == set(changes)
    assert {(change.kind, change.recorded_at, change.seen_by_run) for change in changes} == {("facts", START, None)}
    assert told == ["facts"]


def test_nothing_changed_is_not_told(told: list[str], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert record_changes(kind="facts", account_ids=[], now=START) == []
    assert told == []


def test_an_entry_names_its_subject_whatever_room_it_lives_in() -> None:
    champion = ChampionFactory(name="Ada")
    user = UserFactory(first_name="Grace", last_name="Hopper")
    entry = timeline_entry(
        account_id=champion.account_id,
        at=START,
        now=START + timedelta(days=1),
        kind="note",
        text="Hello",
        subject=champion,
        actor=user,
        data={"a": 1},
    )
    assert entry.pk is None
    write_timeline([entry])
    [entry] = TimelineEntry.objects.all()
    assert (entry.subject_type, entry.subject_id) == ("csplaybooks_accounts.champion", champion.pk)
    assert entry.subject_label == str(champion)
    assert (entry.actor, entry.actor_label) == (user, "Grace Hopper")
    assert (entry.at, entry.recorded_at, entry.data) == (START, START + timedelta(days=1), {"a": 1})


def test_nobody_and_tokens_act_by_name() -> None:
    account = BareAccountFactory()

    def entry_by(actor: Any) -> TimelineEntry:
        return timeline_entry(account_id=account.pk, at=START, now=START, kind="note", text="Hello", actor=actor)

    nobody, user, token = (
        entry_by(actor) for actor in (None, UserFactory(username="ada"), ApiTokenFactory(name="Billing"))
    )
    assert (nobody.actor, nobody.actor_label, nobody.subject_type) == (None, "system", "")
    assert user.actor_label == "ada"
    assert (token.actor, token.actor_label) == (None, "token Billing")


def test_a_moment_without_zone_is_refused() -> None:
    naive = datetime(2025, 1, 6)  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="now needs a time zone"):
        record_changes(kind="facts", account_ids=[None], now=naive)
    with pytest.raises(ValueError, match="at needs a time zone"):
        timeline_entry(account_id=1, at=naive, now=START, kind="note", text="Hello")
