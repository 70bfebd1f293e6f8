"""What the sweep does when one play of a batch cannot be moved: the others go on, and the one is put back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.plays import pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Clock, Handoff, Interval, Pause, Play
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.pipeline.sweep import expire_plays, lapse_waiting_offers, wake_plays
from tests.playbooks.plays import broken

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


def waking() -> Callable[[Play], bool]:
    """Plays that are paused for a day."""
    ids = list(Play.objects.values_list("pk", flat=True))
    pause_plays(play_ids=ids, reason="Holidays", wakes_at=NOW + DAY, now=NOW)
    return lambda play: play.state == "working"


def lapsing() -> Callable[[Play], bool]:
    """Plays on offers that lapse."""
    ids = list(Play.objects.values_list("pk", flat=True))
    offer_plays(play_ids=ids, to_id=TeamMemberFactory(ae=True).pk, now=NOW)
    Clock.objects.update(hours="wall", calendar=None)
    Handoff.objects.update(expires_at=NOW + DAY, lapse_seconds=24 * 3600)
    return lambda play: play.state == "working"


def break_it(play: Play) -> None:
    """Its next interval has the number of the one before, past the acts: no act can move it."""
    row = Interval.objects.get(play=play, valid_to__isnull=True)
    Interval.objects.create(
        play=play,
        seq=row.seq + 1,
        owner=row.owner,
        held_by="customer",
        stage=row.stage,
        state=row.state,
        valid_from=NOW,
        valid_to=NOW,
    )


def mend_it(play: Play) -> None:
    """Take that away again."""
    Interval.objects.filter(play=play).order_by("-seq")[:1].get().delete()


@pytest.mark.parametrize(("make", "step"), [(waking, wake_plays), (lapsing, lapse_waiting_offers)])
def test_one_broken_play_does_not_stop_the_others(make, step, caplog) -> None:
    CalendarFactory()
    owner = TeamMemberFactory(manager=TeamMemberFactory(is_manager=True))
    plays = [PlayFactory(owner=owner, opened_at=NOW) for _ in range(3)]
    is_moved = make()
    bad = plays[1]
    break_it(bad)
    assert step(now=NOW + DAY) == 2
    for play in plays:
        play.refresh_from_db()
    assert [is_moved(play) for play in plays] == [True, False, True]
    assert f"play {bad.pk} failed" in caplog.text
    assert (bad.attempts, bad.next_try_at) == (1, NOW + DAY + MINUTE)
    assert bad.last_error.startswith("IntegrityError")
    # It is put back for later, and after its last attempt waits for somebody who mends it.
    assert step(now=NOW + DAY) == 0
    moment = NOW + DAY
    for _ in range(9):
        moment += 2 * MINUTE
        assert step(now=moment) == 0
    bad.refresh_from_db()
    assert bad.stuck_at is not None
    mend_it(bad)
    assert retry_stuck(Play, [bad.pk], now=moment) == 1
    assert step(now=moment) == 1
    bad.refresh_from_db()
    assert is_moved(bad)
    assert bad.attempts == 0


def test_one_broken_play_does_not_keep_others_open(caplog) -> None:
    CalendarFactory()
    plays = [PlayFactory(opened_at=NOW, expires_at=NOW + DAY) for _ in range(3)]
    unowned = PlayFactory(unowned=True, opened_at=NOW, expires_at=NOW + DAY)
    # Without an open interval there is nothing to close.
    Interval.objects.filter(play=plays[0]).delete()
    assert expire_plays(now=NOW + DAY) == 3
    assert list(Play.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "",
        "expired",
        "expired",
        "withdrawn",
    ]
    assert Play.objects.get(pk=unowned.pk).closed_at == NOW + DAY
    assert "plays without an open interval" in caplog.text


def test_a_late_sweep_wakes_from_now_on() -> None:
    CalendarFactory()
    play = PlayFactory(opened_at=NOW)
    pause_plays(play_ids=[play.pk], reason="Holidays", wakes_at=NOW + HOUR, now=NOW)
    assert wake_plays(now=NOW + DAY) == 1
    # Until then nobody was told to go on: the time is the customer's.
    rows = Interval.objects.filter(play=play).order_by("seq").values_list("held_by", "valid_from", "valid_to")
    assert list(rows) == [
        ("member", NOW, NOW),
        ("customer", NOW, NOW + DAY),
        ("member", NOW + DAY, None),
    ]
    assert Pause.objects.get().wakes_at == NOW + HOUR
    assert wake_plays(now=NOW + 2 * DAY) == 0
    assert broken() == []
