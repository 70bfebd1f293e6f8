"""Each invariant is broken on purpose, past the acts and past the constraints, and is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays
from csplaybooks.playbooks.acts.plays import close_plays, log_touch, open_play_by_hand, pause_plays, start_plays
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    ClockFactory,
    MatchFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
)
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Clock, Handoff, Interval, Match, Play, PlayMatch
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.sweep import watch_all, work
from csplaybooks.signals.factories import (
    IntakeBatchFactory,
    PrunedDayFactory,
    ReadingFactory,
    RefusedItemFactory,
    SignalFactory,
)
from csplaybooks.signals.models import IntakeBatch, RefusedItem, Signal
from tests.operations.breaking import BREAKERS as OTHER_BREAKERS
from tests.operations.breaking import drop_index, without_check

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def worked() -> Play:
    """A play that was opened, started, paused and closed by the acts, with its clocks."""
    play = running()
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + 2 * HOUR)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + 3 * HOUR)
    return play


def running() -> Play:
    """A play that was opened and started by the acts, with its clocks."""
    CalendarFactory()
    account = AccountFactory(csm=TeamMemberFactory())
    playbook = PlaybookVersionFactory().playbook
    play = open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    work(now=NOW)
    watch_all(now=NOW)
    start_plays(play_ids=[play.pk], now=NOW + HOUR)
    play.refresh_from_db()
    return play


def counts_that_do_not_add_up() -> int:
    batch = IntakeBatchFactory(stored=0)
    with pytest.raises(IntegrityError, match="csp_batch_adds_up"), transaction.atomic():
        IntakeBatch.objects.update(received=2)
    with without_check(IntakeBatch, "csp_batch_adds_up"):
        IntakeBatch.objects.update(received=2)
    pk: int = batch.pk
    return pk


def a_stored_signal_that_is_not_there() -> int:
    signal = SignalFactory()
    Signal.objects.all().delete()
    pk: int = signal.batch_id
    return pk


def a_reading_too_many() -> int:
    reading = ReadingFactory()
    ReadingFactory(batch=reading.batch)
    pk: int = reading.batch_id
    return pk


def more_refused_items_than_were_refused() -> int:
    item = RefusedItemFactory()
    RefusedItemFactory(batch=item.batch, index=1)
    pk: int = item.batch_id
    return pk


def a_batch_that_says_more_was_pruned() -> int:
    signal = SignalFactory()
    IntakeBatch.objects.update(pruned=1)
    pk: int = signal.batch_id
    return pk


def a_pruned_signal_that_no_sum_has() -> int:
    pk: int = PrunedDayFactory().pk
    return pk


def an_owned_play_without_owner() -> int:
    play = PlayFactory(opened_at=NOW)
    with pytest.raises(IntegrityError, match="csp_play_owned_has_owner"), transaction.atomic():
        Play.objects.update(owner=None)
    with without_check(Play, "csp_play_owned_has_owner"):
        Play.objects.update(owner=None)
    pk: int = play.pk
    return pk


def two_open_plays_of_one_motion() -> int:
    play = PlayFactory(opened_at=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        PlayFactory(account=play.account, recipe=play.recipe, opened_at=NOW)
    drop_index("csp_play_one_open")
    PlayFactory(account=play.account, recipe=play.recipe, opened_at=NOW)
    pk: int = play.pk
    return pk


def an_interval_that_begins_late() -> int:
    play = worked()
    interval = Interval.objects.get(play=play, seq=1)
    Interval.objects.filter(pk=interval.pk).update(valid_from=F("valid_from") + SECOND)
    return interval.pk


def a_missing_interval() -> int:
    play = worked()
    Interval.objects.get(play=play, seq=1).delete()
    return Interval.objects.get(play=play, seq=2).pk


def an_interval_that_overlaps_the_one_before() -> int:
    play = running()
    last = Interval.objects.get(play=play, seq=2)
    Interval.objects.filter(pk=last.pk).update(valid_from=NOW)
    return last.pk


def a_play_that_opened_before_its_first_interval() -> int:
    play = running()
    Play.objects.update(opened_at=NOW - SECOND)
    return play.pk


def a_closed_play_with_an_open_interval() -> int:
    play = worked()
    Interval.objects.filter(play=play, seq=3).update(valid_to=None)
    return play.pk


def an_open_play_without_an_open_interval() -> int:
    play = running()
    Interval.objects.filter(play=play, valid_to__isnull=True).update(valid_to=NOW + 9 * HOUR)
    return play.pk


def a_play_without_intervals() -> int:
    play = PlayFactory(interval=None)
    pk: int = play.pk
    return pk


def a_play_that_was_closed_later_than_its_last_interval() -> int:
    play = worked()
    Play.objects.update(closed_at=NOW + 4 * HOUR)
    return play.pk


def another_owner_than_the_interval_says() -> int:
    play = running()
    Play.objects.update(owner=TeamMemberFactory())
    return play.pk


def another_holder_than_the_interval_says() -> int:
    play = running()
    Play.objects.update(holder=None)
    return play.pk


def another_stage_than_the_interval_says() -> int:
    play = running()
    Play.objects.update(stage="owned")
    return play.pk


def another_state_than_the_interval_says() -> int:
    play = running()
    Play.objects.update(state="paused")
    return play.pk


def a_missing_first_interval() -> int:
    play = worked()
    Interval.objects.get(play=play, seq=0).delete()
    return Interval.objects.get(play=play, seq=1).pk


def a_number_that_was_left_out() -> int:
    play = running()
    last = Interval.objects.get(play=play, seq=2)
    Interval.objects.filter(pk=last.pk).update(seq=3)
    return last.pk


def a_number_that_does_not_begin_at_zero() -> int:
    play = running()
    first = Interval.objects.get(play=play, seq=0)
    for seq in (2, 1, 0):
        Interval.objects.filter(play=play, seq=seq).update(seq=seq + 1)
    return first.pk


def an_interval_after_the_open_one() -> int:
    play = running()
    # A play has one open interval: the last one is closed first.
    Interval.objects.filter(play=play, seq=2).update(valid_to=NOW + 2 * HOUR)
    Interval.objects.filter(play=play, seq=1).update(valid_to=None)
    return Interval.objects.get(play=play, seq=2).pk


def intervals_in_the_wrong_order() -> int:
    play = worked()
    first, second = (Interval.objects.get(play=play, seq=seq) for seq in (1, 2))
    for row, other in ((first, second), (second, first)):
        Interval.objects.filter(pk=row.pk).update(valid_from=other.valid_from, valid_to=other.valid_to)
    return first.pk


def a_gap_of_a_microsecond() -> int:
    play = worked()
    last = Interval.objects.get(play=play, seq=3)
    Interval.objects.filter(pk=last.pk).update(valid_from=F("valid_from") + timedelta(microseconds=1))
    return last.pk


def an_owner_of_a_closed_play_who_is_not_the_last() -> int:
    play = worked()
    Play.objects.update(owner=TeamMemberFactory())
    return play.pk


def a_last_interval_of_another_holder() -> int:
    play = worked()
    Interval.objects.filter(play=play, seq=3).update(holder=TeamMemberFactory(), held_by="member")
    return play.pk


def offered() -> Play:
    """A play that is on offer by the acts."""
    play = running()
    offer_plays(play_ids=[play.pk], to_id=TeamMemberFactory(ae=True).pk, now=NOW + 2 * HOUR)
    assert [violation for violation in violations() if violation.count] == []
    play.refresh_from_db()
    return play


def accepted() -> Play:
    """A play that was offered and accepted by the acts."""
    play = offered()
    accept_plays(play_ids=[play.pk], now=NOW + 3 * HOUR)
    assert [violation for violation in violations() if violation.count] == []
    return play


def an_interval_on_offer_of_another_owner() -> int:
    row = Interval.objects.get(play=accepted(), state="offered")
    Interval.objects.filter(pk=row.pk).update(owner=TeamMemberFactory())
    return row.pk


def an_interval_on_offer_to_another() -> int:
    row = Interval.objects.get(play=accepted(), state="offered")
    Interval.objects.filter(pk=row.pk).update(holder=TeamMemberFactory())
    return row.pk


def an_interval_on_offer_before_it_was_offered() -> int:
    row = Interval.objects.get(play=offered(), state="offered")
    Handoff.objects.update(offered_at=NOW + 2 * HOUR + SECOND)
    return row.pk


def an_interval_on_offer_after_the_answer() -> int:
    row = Interval.objects.get(play=accepted(), state="offered")
    Handoff.objects.update(answered_at=NOW + 3 * HOUR - SECOND)
    return row.pk


def an_acceptance_that_changed_no_owner() -> int:
    play = accepted()
    Interval.objects.filter(play=play, valid_to__isnull=True).update(owner=TeamMemberFactory())
    return Handoff.objects.get().pk


def fired_match() -> Match:
    """A match that opened a play."""
    match = MatchFactory()
    assert open_plays(now=NOW) == 1
    match.refresh_from_db()
    assert [violation for violation in violations() if violation.count] == []
    return match


def a_fired_match_that_its_play_does_not_know() -> int:
    match = fired_match()
    PlayMatch.objects.all().delete()
    return match.pk


def a_fired_match_whose_play_is_another_s() -> int:
    match = fired_match()
    Match.objects.filter(pk=match.pk).update(play=PlayFactory(opened_at=NOW))
    return match.pk


def a_fired_match_of_another_account() -> int:
    match = fired_match()
    Match.objects.filter(pk=match.pk).update(account=AccountFactory())
    return match.pk


def a_routed_play_with_clocks() -> int:
    play = PlayFactory(unowned=True, clocks_started_at=NOW)
    pk: int = play.pk
    return pk


def a_closed_play_with_a_ticking_clock() -> int:
    play = worked()
    clock = play.clocks.get()
    Clock.objects.update(state="running", done_at=None)
    return clock.pk


def a_promise_without_a_clock() -> int:
    play = worked()
    play.clocks.order_by("pk")[:1].get().delete()
    return play.pk


def a_clock_that_is_not_promised() -> int:
    play = running()
    ClockFactory(play=play, target="closed", started_at=NOW)
    return play.pk


def a_promise_called_off_on_an_open_play() -> int:
    play = running()
    Clock.objects.update(state="cancelled", done_at=NOW + HOUR, next_event_at=None)
    return play.pk


def a_clock_in_the_hours_of_somebody_else() -> int:
    return clock_with(zone="Asia/Tokyo")


def clock_with(**values: Any) -> int:
    """The clock of a running play, with these values put in past the acts."""
    clock = running().clocks.get()
    Clock.objects.update(**values)
    return clock.pk


def a_due_time_that_was_patched() -> int:
    return clock_with(due_at=NOW + HOUR)


def a_due_time_that_was_lost() -> int:
    return clock_with(due_at=None)


def a_clock_that_started_at_another_time() -> int:
    return clock_with(started_at=NOW - HOUR)


def a_breach_before_the_due_time() -> int:
    return clock_with(state="breached", breached_at=NOW + HOUR, noticed_at=NOW + HOUR)


def broken_and(**values: Any) -> int:
    """A clock that was broken, with these values put in past the acts."""
    clock = running().clocks.get()
    watch_all(now=NOW + 48 * HOUR)
    Clock.objects.update(**values)
    return clock.pk


def an_excuse_without_a_later_due_time() -> int:
    return broken_and(excused_at=NOW + 48 * HOUR)


def a_breach_that_counts_before_the_due_time() -> int:
    clock = Clock.objects.get(pk=broken_and())
    moved = clock.events.get(kind="breached").due_at - HOUR
    clock.events.filter(kind="breached").update(due_at=moved)
    Clock.objects.update(breached_at=moved, excused_at=NOW + 48 * HOUR)
    return clock.pk


def a_moved_promise_that_nobody_will_see_missed() -> int:
    pk = a_breach_that_counts_before_the_due_time()
    Clock.objects.update(state="running", next_event_at=None)
    return pk


def what_was_done_late_and_excused_by_nobody() -> int:
    play = running()
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 90 * HOUR)
    Clock.objects.update(excused_at=NOW + 90 * HOUR)
    return play.clocks.get().pk


def a_breach_on_a_clock_that_runs() -> int:
    clock = running().clocks.get()
    watch_all(now=NOW + 48 * HOUR)
    Clock.objects.update(state="running")
    return clock.pk


def a_pause_that_its_clock_does_not_know() -> int:
    clock = running().clocks.get()
    row = Interval.objects.get(play=clock.play, seq=1)
    Interval.objects.filter(pk=row.pk).update(state="paused", holder=None, held_by="customer")
    return clock.pk


def finished(**values: Any) -> int:
    """A clock that was met, with these values put in past the acts."""
    play = running()
    log_touch(play_ids=[play.pk], channel="call", now=NOW + 2 * HOUR)
    Clock.objects.update(**values)
    return play.clocks.get().pk


def a_promise_met_too_late() -> int:
    return finished(done_at=NOW + 90 * HOUR)


def a_promise_missed_in_time() -> int:
    return finished(state="missed", breached_at=NOW + HOUR, noticed_at=NOW + HOUR)


def a_broken_promise_that_was_called_off() -> int:
    return finished(state="cancelled", done_at=NOW + 90 * HOUR)


BREAKERS: dict[str, list[Callable[[], int]]] = {
    "batches_add_up": [counts_that_do_not_add_up],
    "batches_have_their_rows": [
        a_stored_signal_that_is_not_there,
        a_reading_too_many,
        a_batch_that_says_more_was_pruned,
    ],
    "refusals_are_counted": [more_refused_items_than_were_refused],
    "owned_plays_have_owner": [an_owned_play_without_owner],
    "one_open_play_per_motion": [two_open_plays_of_one_motion],
    "intervals_without_gap": [
        an_interval_that_begins_late,
        a_missing_interval,
        an_interval_that_overlaps_the_one_before,
        a_missing_first_interval,
        a_number_that_was_left_out,
        a_number_that_does_not_begin_at_zero,
        an_interval_after_the_open_one,
        intervals_in_the_wrong_order,
        a_gap_of_a_microsecond,
    ],
    "closed_plays_agree_with_intervals": [
        an_owner_of_a_closed_play_who_is_not_the_last,
        a_last_interval_of_another_holder,
    ],
    "offered_time_has_offer": [
        an_interval_on_offer_of_another_owner,
        an_interval_on_offer_to_another,
        an_interval_on_offer_before_it_was_offered,
        an_interval_on_offer_after_the_answer,
    ],
    "accepted_plays_change_owner": [an_acceptance_that_changed_no_owner],
    "intervals_tile_plays": [
        a_play_that_opened_before_its_first_interval,
        a_closed_play_with_an_open_interval,
        an_open_play_without_an_open_interval,
        a_play_without_intervals,
        a_play_that_was_closed_later_than_its_last_interval,
    ],
    "plays_agree_with_intervals": [
        another_owner_than_the_interval_says,
        another_holder_than_the_interval_says,
        another_stage_than_the_interval_says,
        another_state_than_the_interval_says,
        a_play_without_intervals,
    ],
    "intervals_sum_to_elapsed": [a_play_that_was_closed_later_than_its_last_interval],
    "fired_matches_have_play": [
        a_fired_match_that_its_play_does_not_know,
        a_fired_match_whose_play_is_another_s,
        a_fired_match_of_another_account,
    ],
    "clocks_only_on_owned_plays": [a_routed_play_with_clocks],
    "closed_plays_have_no_ticking_clock": [a_closed_play_with_a_ticking_clock],
    "pruned_is_rolled_up": [a_pruned_signal_that_no_sum_has],
    "plays_have_promised_clocks": [
        a_promise_without_a_clock,
        a_clock_that_is_not_promised,
        a_promise_called_off_on_an_open_play,
    ],
    "clocks_agree_with_intervals": [
        a_due_time_that_was_patched,
        a_due_time_that_was_lost,
        a_clock_that_started_at_another_time,
        a_clock_in_the_hours_of_somebody_else,
        a_breach_before_the_due_time,
        a_breach_on_a_clock_that_runs,
        an_excuse_without_a_later_due_time,
        a_breach_that_counts_before_the_due_time,
        a_moved_promise_that_nobody_will_see_missed,
        what_was_done_late_and_excused_by_nobody,
        a_pause_that_its_clock_does_not_know,
        a_promise_met_too_late,
        a_promise_missed_in_time,
        a_broken_promise_that_was_called_off,
    ],
}


def test_all_of_them_hold_over_an_empty_database_and_each_has_a_test_that_breaks_it() -> None:
    found = violations()
    assert {violation.invariant for violation in found} == BREAKERS.keys() | OTHER_BREAKERS.keys()
    assert {violation.count for violation in found} == {0}


def test_all_of_them_hold_over_what_acts_and_factories_write() -> None:
    worked()
    MatchFactory(opened_run=RunFactory())
    open_plays(now=NOW)
    SignalFactory()
    ReadingFactory()
    RefusedItemFactory()
    # Pruned in time.
    RefusedItem.objects.all().delete()
    assert [violation for violation in violations() if violation.count] == []


@pytest.mark.parametrize(
    ("invariant", "breaker"),
    [
        pytest.param(name, breaker, id=f"{name}-{breaker.__name__}")
        for name, breakers in BREAKERS.items()
        for breaker in breakers
    ],
)
def test_what_breaks_an_invariant_is_named(invariant: str, breaker: Callable[[], int]) -> None:
    broken_id = breaker()
    found = {violation.invariant: violation for violation in violations()}
    assert broken_id in found[invariant].examples
    assert found[invariant].count == len(found[invariant].examples)


def test_of_many_only_ten_are_named_and_all_are_counted() -> None:
    recipe = PlaybookVersionFactory()
    PlayFactory.create_batch(12, recipe=recipe, interval=None)
    found = {violation.invariant: violation for violation in violations(chunk=5)}
    assert found["intervals_tile_plays"].count == 12
    assert len(found["intervals_tile_plays"].examples) == 10


def test_clocks_are_looked_at_in_chunks() -> None:
    clock = running().clocks.get()
    for _ in range(4):
        PlayFactory(opened_at=NOW)
    work(now=NOW)
    watch_all(now=NOW)
    Clock.objects.exclude(pk=clock.pk).update(due_at=None)
    found = {violation.invariant: violation for violation in violations(chunk=2)}
    assert found["clocks_agree_with_intervals"].count == 4
    assert clock.pk not in found["clocks_agree_with_intervals"].examples
