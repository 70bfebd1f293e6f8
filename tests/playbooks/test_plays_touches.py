"""Contacts with a customer: what they start, what they keep, and which cannot be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.plays import assign_plays, log_touch, pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Touch
from csplaybooks.playbooks.pipeline.sweep import wake_plays, work
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, intervals, owned

pytestmark = pytest.mark.django_db


def test_a_contact_starts_a_play_and_may_have_been_made_before() -> None:
    play = owned()
    assert done(log_touch(play_ids=[play.pk], channel="email", at=NOW + HOUR, now=NOW + 5 * HOUR, direction="in"))
    touch = Touch.objects.get()
    assert (touch.at, touch.direction, touch.account, touch.by_member) == (NOW + HOUR, "in", play.account, None)
    assert intervals(play)[-1] == ("running", "working", "member", NOW + 5 * HOUR, None)
    assert done(log_touch(play_ids=[play.pk], channel="email", now=NOW + 6 * HOUR))
    # The second one moves nothing.
    assert len(intervals(play)) == 2
    assert broken() == []


def test_a_contact_with_a_paused_play_leaves_it_paused() -> None:
    play = owned()
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    assert done(log_touch(play_ids=[play.pk], channel="call", now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.stage, play.state) == ("owned", "paused")
    assert broken() == []
    # It wakes as it was to.
    assert wake_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.state, play.holder) == ("working", play.owner)
    assert broken() == []


def test_a_contact_cannot_lie_before_its_play_and_one_before_its_owner_keeps_the_promise() -> None:
    CalendarFactory()
    play = PlayFactory(unowned=True, opened_at=NOW)
    with pytest.raises(ValidationError, match="before its play was opened"):
        log_touch(play_ids=[play.pk], channel="call", at=NOW - timedelta(seconds=1), now=NOW + HOUR)
    assign_plays(play_ids=[play.pk], owner_id=TeamMemberFactory().pk, now=NOW + 2 * HOUR)
    work(now=NOW + 2 * HOUR)
    assert done(log_touch(play_ids=[play.pk], channel="call", at=NOW + HOUR, now=NOW + 3 * HOUR))
    clock = play.clocks.get(target="first_touch")
    assert (clock.state, clock.done_at) == ("met", clock.started_at)
    assert broken() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channel": "pigeon"}, "channel"),
        ({"direction": "up"}, "direction"),
        ({"at": NOW + HOUR}, "at"),
        ({"by_member_id": 0}, "by_member"),
        ({"note": "a\0b"}, "note"),
    ],
)
def test_a_contact_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        log_touch(**{"play_ids": [owned().pk], "channel": "call", "now": NOW, **changes})
    assert list(caught.value.message_dict) == [field]
