"""Plays that rest, wake, run out of time, and end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, open_play_by_hand, pause_plays, resume_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Outcome, Pause, Play
from csplaybooks.playbooks.pipeline.sweep import expire_plays, wake_plays, work
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, intervals, owned

pytestmark = pytest.mark.django_db


def test_a_pause_needs_a_reason_and_wakes_in_the_future() -> None:
    play = owned()
    for changes in ({"reason": " "}, {"reason": "x" * 501}, {"reason": "Holidays", "wakes_at": NOW}):
        with pytest.raises(ValidationError):
            pause_plays(play_ids=[play.pk], now=NOW, **changes)
    assert len(intervals(play)) == 1


def test_paused_plays_wake_when_their_date_has_come_and_only_then() -> None:
    dated, lasting, ended = owned(), owned(), owned()
    pause_plays(play_ids=[dated.pk, ended.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    pause_plays(play_ids=[lasting.pk], reason="A reorganisation", now=NOW)
    resume_plays(play_ids=[ended.pk], now=NOW + HOUR)
    pause_plays(play_ids=[ended.pk], reason="Again", now=NOW + HOUR)
    assert wake_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert wake_plays(now=NOW + DAY) == 1
    assert wake_plays(now=NOW + DAY) == 0
    assert list(Play.objects.filter(state="paused").order_by("pk")) == [lasting, ended]
    assert Pause.objects.count() == 4
    assert broken() == []


def test_a_paused_play_that_is_reassigned_stays_paused_and_wakes_when_it_was_to() -> None:
    CalendarFactory()
    play = owned()
    work(now=NOW)
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW + HOUR)
    carla = TeamMemberFactory()
    assert done(assign_plays(play_ids=[play.pk], owner_id=carla.pk, now=NOW + 2 * HOUR))
    assert play.clocks.get().state == "paused"
    assert wake_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert wake_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.state, play.owner, play.holder) == ("working", carla, carla)
    assert play.clocks.get().state == "running"
    assert broken() == []


def test_of_several_pauses_a_reassigned_play_goes_on_with_the_last() -> None:
    play = owned()
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    resume_plays(play_ids=[play.pk], now=NOW + HOUR)
    pause_plays(play_ids=[play.pk], reason="A reorganisation", wakes_at=NOW + 3 * DAY, now=NOW + 2 * HOUR)
    assert done(assign_plays(play_ids=[play.pk], owner_id=TeamMemberFactory().pk, now=NOW + 3 * HOUR))
    pause = Pause.objects.get(interval__valid_to=None)
    assert (pause.reason, pause.wakes_at) == ("A reorganisation", NOW + 3 * DAY)
    assert broken() == []


def test_a_play_that_is_paused_until_later_does_not_expire_meanwhile() -> None:
    play = owned(expires_at=NOW + DAY)
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + 3 * DAY, now=NOW + HOUR)
    assert expire_plays(now=NOW + 2 * DAY) == 0
    assert expire_plays(now=NOW + 3 * DAY) == 1


# Closing


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_closes(outcome: Outcome) -> None:
    play = owned()
    assert done(close_plays(play_ids=[play.pk], outcome=outcome, reason="No budget", now=NOW + HOUR))
    play.refresh_from_db()
    assert (play.stage, play.outcome, play.closed_at) == ("closed", outcome, NOW + HOUR)
    assert broken() == []


def test_a_decline_needs_a_reason_and_an_outcome_must_be_one() -> None:
    play = owned()
    with pytest.raises(ValidationError, match="Say why it was declined"):
        close_plays(play_ids=[play.pk], outcome="declined", reason=" ", now=NOW)
    with pytest.raises(ValidationError, match="none of won, lost, declined, expired, withdrawn"):
        close_plays(play_ids=[play.pk], outcome="forgotten", now=NOW)
    with pytest.raises(ValidationError, match="At most 500 characters"):
        close_plays(play_ids=[play.pk], outcome="lost", reason="x" * 501, now=NOW)


def test_a_play_without_owner_may_be_withdrawn_and_the_account_gets_a_new_one() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW)
    assert done(close_plays(play_ids=[play.pk], outcome="withdrawn", now=NOW + HOUR))
    again = open_play_by_hand(account_id=play.account_id, playbook_id=play.playbook_id, reason="Now", now=NOW + HOUR)
    assert again.pk != play.pk
    assert broken() == []


def test_plays_expire_at_their_time_unless_they_were_closed() -> None:
    due, later, won = owned(expires_at=NOW + DAY), owned(expires_at=NOW + 2 * DAY), owned(expires_at=NOW + DAY)
    close_plays(play_ids=[won.pk], outcome="won", now=NOW)
    pause_plays(play_ids=[due.pk], reason="Holidays", now=NOW)
    assert expire_plays(now=NOW + DAY - timedelta(microseconds=1)) == 0
    assert expire_plays(now=NOW + DAY) == 1
    assert expire_plays(now=NOW + DAY) == 0
    assert list(Play.objects.order_by("pk").values_list("outcome", flat=True)) == ["expired", "", "won"]
    assert later.pk
    assert broken() == []


def test_a_play_whose_time_runs_out_in_the_tray_is_withdrawn_and_frees_its_motion() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW, tray_at=NOW, expires_at=NOW + DAY)
    assert expire_plays(now=NOW + DAY) == 1
    play.refresh_from_db()
    assert (play.stage, play.outcome) == ("closed", "withdrawn")
    assert "before anybody owned it" in play.outcome_reason
    assert broken() == []
