"""A row that cannot be worked: the others go on, its attempts are counted, and it ends in the tray."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from csplaybooks.accounts.models import Account
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.models import Clock, Interval, Match, Play, Stage
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pipeline.queue import retry_stuck
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from tests.crash.company import assert_all_once, make_company, readings, signals

pytestmark = pytest.mark.django_db

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
WAIT = timedelta(seconds=csplaybooks_settings.RETRY_SECONDS)
ATTEMPTS = csplaybooks_settings.MAX_ATTEMPTS


@pytest.fixture
def names() -> list[str]:
    """A company on whose accounts all triggers of `signals` and `readings` have matched."""
    names = make_company(5, NOW, managers=1)
    take_in_readings(items=readings(names, NOW - timedelta(hours=1)), now=NOW)
    take_in_signals(items=signals(names, NOW), now=NOW)
    run_triggers(now=NOW)
    return names


def assert_given_up_in_the_end(worker, row, error):
    """Called again and again, the worker tries the row only when its time has come, and gives up after the last."""
    for attempt in range(1, ATTEMPTS + 1):
        moment = NOW + (attempt - 1) * WAIT
        if attempt > 1:
            assert worker(now=moment) == 1
        row.refresh_from_db()
        assert row.attempts == attempt
        assert row.last_error.startswith(error)
        assert row.next_try_at == moment + WAIT
        assert row.stuck_at == (moment if attempt == ATTEMPTS else None)
        assert worker(now=moment + WAIT - timedelta(seconds=1)) == 0
    assert worker(now=NOW + timedelta(days=1)) == 0
    assert list(type(row).objects.stuck()) == [row]


def test_a_match_that_opens_no_play(names):
    match = Match.objects.filter(trigger__key="gates_at_high_usage")[2]
    Match.objects.filter(pk=match.pk).update(ceiling="by pigeon")
    assert open_plays(now=NOW) == 15
    assert list(Match.objects.exclude(state__in=["fired", "folded"])) == [match]
    assert_given_up_in_the_end(open_plays, match, "ValueError: 'by pigeon' is not a valid Route")

    Match.objects.filter(pk=match.pk).update(ceiling="")
    assert retry_stuck(Match, [match.pk], now=NOW) == 1
    for worker in (open_plays, assign_owners, start_clocks):
        worker(now=NOW + timedelta(days=1))
    assert_all_once(names)
    match.refresh_from_db()
    assert (match.attempts, match.last_error) == (0, "")


def test_a_match_that_opens_no_play_leaves_that_to_the_next_of_its_motion(names):
    account = Account.objects.get(name=names[0])
    first, second = account.matches.filter(version__playbook__motion="seat_expansion").order_by("pk")
    Match.objects.filter(pk=first.pk).update(ceiling="by pigeon")
    open_plays(now=NOW)
    play = Play.objects.get(account=account, motion="seat_expansion")
    assert list(play.play_matches.values_list("match", "folded")) == [(second.pk, False)]


def test_a_play_that_gets_no_owner(names):
    open_plays(now=NOW)
    play = Play.objects.order_by("opened_at", "pk")[3]
    route = play.route
    Play.objects.filter(pk=play.pk).update(route="by pigeon")
    assert assign_owners(now=NOW) == 10
    assert list(Play.objects.filter(stage=Stage.ROUTED)) == [play]
    assert_given_up_in_the_end(assign_owners, play, "ValueError: 'by pigeon' is not a valid Route")

    Play.objects.filter(pk=play.pk).update(route=route)
    assert retry_stuck(Play, [play.pk], now=NOW) == 1
    for worker in (assign_owners, start_clocks):
        worker(now=NOW + timedelta(days=1))
    assert_all_once(names)


def test_a_play_that_gets_no_clocks(names):
    open_plays(now=NOW)
    assign_owners(now=NOW)
    play = Play.objects.order_by("opened_at", "pk")[3]
    owned = play.intervals.get(owner__isnull=False)
    Interval.objects.filter(pk=owned.pk).delete()
    assert start_clocks(now=NOW) == 10
    assert list(Play.objects.filter(clocks_started_at__isnull=True)) == [play]
    assert_given_up_in_the_end(start_clocks, play, "KeyError")

    owned.save(force_insert=True)
    assert retry_stuck(Play, [play.pk], now=NOW) == 1
    start_clocks(now=NOW + timedelta(days=1))
    assert_all_once(names)


def test_attempts_at_one_step_do_not_count_at_the_next(names):
    open_plays(now=NOW)
    play = Play.objects.order_by("opened_at", "pk")[3]
    route = play.route
    Play.objects.filter(pk=play.pk).update(route="by pigeon")
    assign_owners(now=NOW)
    Play.objects.filter(pk=play.pk).update(route=route)
    assign_owners(now=NOW + WAIT)
    play.refresh_from_db()
    assert (play.stage, play.attempts, play.last_error, play.next_try_at) == (Stage.OWNED, 0, "", None)


def test_retry_leaves_rows_alone_that_are_not_stuck(names):
    match = Match.objects.first()
    assert match is not None
    later = NOW + timedelta(hours=1)
    Match.objects.filter(pk=match.pk).update(attempts=2, next_try_at=later)
    assert retry_stuck(Match, [match.pk], now=NOW) == 0
    match.refresh_from_db()
    assert (match.attempts, match.next_try_at) == (2, later)
    assert not Clock.objects.exists()
