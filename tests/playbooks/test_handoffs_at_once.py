"""Offers that two people, or a person and the sweep, answer at the same instant: one wins, and all of it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.handoffs import (
    accept_plays,
    lapse_offers,
    offer_plays,
    refuse_plays,
    take_back_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Play
from csplaybooks.playbooks.pipeline.sweep import watch_all, work
from tests.at_once import at_once
from tests.playbooks.plays import DAY, NOW, broken

pytestmark = pytest.mark.django_db(transaction=True)

LATE = NOW + 30 * DAY


@pytest.fixture
def offered() -> list[int]:
    """Plays that were offered to Eve."""
    CalendarFactory()
    carla, eve = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Eve", ae=True)
    ids = [PlayFactory(owner=carla, opened_at=NOW).pk for _ in range(5)]
    work(now=NOW)
    offer_plays(play_ids=ids, to_id=eve.pk, now=NOW)
    watch_all(now=NOW)
    return ids


#: What may happen to an offer, all of it when its time is over too.
ENDS: dict[str, Callable[[list[int]], Any]] = {
    "accept": lambda ids: accept_plays(play_ids=ids, now=LATE),
    "refuse": lambda ids: refuse_plays(play_ids=ids, reason="No", now=LATE),
    "take back": lambda ids: take_back_plays(play_ids=ids, now=LATE),
    "lapse": lambda ids: lapse_offers(play_ids=ids, now=LATE),
}


@pytest.mark.parametrize(
    ("one", "other"),
    [("accept", "take back"), ("accept", "lapse"), ("refuse", "take back"), ("refuse", "lapse"), ("accept", "accept")],
)
def test_each_offer_is_answered_once(offered, one, other):
    first, second = at_once(lambda: ENDS[one](offered), lambda: ENDS[other](offered))
    for pk in offered:
        assert (first[pk] is None) != (second[pk] is None)
    assert not Handoff.objects.filter(answer="waiting").exists()
    assert Handoff.objects.count() == len(offered)
    assert broken() == []


def test_an_answer_and_the_watcher_at_once(offered):
    at_once(lambda: accept_plays(play_ids=offered, now=LATE), lambda: watch_all(now=LATE))
    assert Handoff.objects.filter(answer="accepted").count() == len(offered)
    assert broken() == []


def test_of_two_who_offer_the_same_play_one_is_told():
    CalendarFactory()
    play = PlayFactory(opened_at=NOW)
    sellers = TeamMemberFactory.create_batch(2, ae=True)
    answers = at_once(
        *[
            lambda seller=seller: offer_plays(play_ids=[play.pk], to_id=seller.pk, now=NOW)[play.pk]
            for seller in sellers
        ]
    )
    assert sorted(answer is None for answer in answers) == [False, True]
    assert Handoff.objects.count() == 1
    assert broken() == []


def test_nobody_is_given_work_while_they_leave():
    CalendarFactory()
    play, eve = PlayFactory(opened_at=NOW), TeamMemberFactory(name="Eve", ae=True)

    def offer() -> str:
        try:
            offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
        except ValidationError:
            return "refused"
        return "offered"

    def leave() -> str:
        try:
            change_member(member_id=eve.pk, values={"is_active": False}, now=NOW, actor=None)
        except ValidationError:
            return "stays"
        return "left"

    assert tuple(at_once(offer, leave)) in {("offered", "stays"), ("refused", "left")}
    eve.refresh_from_db()
    assert eve.is_active == Play.objects.filter(holder=eve).exists()
    assert broken() == []
