"""Ways to break what must hold, past the acts and past the constraints; each answers the id of a row that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    AccountFactsFactory,
    AccountTeamFactory,
    ChangeFactory,
    EntitlementFactory,
    FindingFactory,
    FindingStateFactory,
    MovementFactory,
    PlanFactory,
    PlanLimitFactory,
    ProductFactory,
    TeamMemberFactory,
    TimelineEntryFactory,
)
from csplaybooks.playbooks.factories import (
    ClockFactory,
    HandoffFactory,
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
    TouchFactory,
    TriggerFactory,
)
from csplaybooks.playbooks.models import ClockEvent, Credit, Interval, Match, Play, Playbook, PlayMatch, Run
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.signals.factories import IntakeBatchFactory, MeterFactory, ReadingFactory, SignalFactory
from tests.operations import breaking_steps

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@contextmanager
def without_check(model: Any, name: str) -> Iterator[None]:
    """Let rows in that a check constraint refuses; what is taken away comes back with the test's transaction."""
    assert name in [constraint.name for constraint in model._meta.constraints]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        else:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(f"ALTER TABLE {model._meta.db_table} DROP CONSTRAINT {name}")
        yield
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def drop_index(name: str) -> None:
    """Take a partial unique index away, until the test's transaction is rolled back."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"DROP INDEX {name}")


def id_of(row: Any) -> int:
    pk: int = row.pk
    return pk


def changed_past(check: str, row: Any, **values: Any) -> int:
    """Give a row values that a check constraint refuses."""
    with without_check(type(row), check):
        type(row).objects.filter(pk=row.pk).update(**values)
    return id_of(row)


def a_batch_told_to_a_run_to_come() -> int:
    return id_of(IntakeBatchFactory(seen_by_run=RunFactory().pk + 1))


def a_batch_told_to_a_run_that_is_gone() -> int:
    RunFactory()
    run = RunFactory()
    RunFactory()
    batch = IntakeBatchFactory(seen_by_run=run.pk)
    run.delete()
    return id_of(batch)


def a_change_told_to_no_run() -> int:
    return id_of(ChangeFactory(seen_by_run=3))


def a_signal_that_corrects_another_account() -> int:
    return id_of(SignalFactory(corrects=SignalFactory()))


def a_reading_that_corrects_another_meter() -> int:
    first = ReadingFactory()
    return id_of(ReadingFactory(account=first.account, corrects=first, meter=MeterFactory(key="calls")))


def overlapping(factory: Any, **key: Any) -> int:
    """A period inside one that has no end."""
    factory(**key, valid_from=START)
    return id_of(factory(**key, valid_from=START + DAY, valid_to=START + 2 * DAY))


def facts_that_overlap() -> int:
    return overlapping(AccountFactsFactory, account=AccountFactory(facts=None))


def two_at_once_in_one_role() -> int:
    return overlapping(AccountTeamFactory, account=AccountFactory())


def a_subscription_held_twice() -> int:
    return overlapping(EntitlementFactory, account=AccountFactory(), subscription="S-1")


def two_limits_of_one_meter() -> int:
    return overlapping(PlanLimitFactory, plan=PlanFactory())


def a_finding_with_two_statuses() -> int:
    return overlapping(FindingStateFactory, finding=FindingFactory(state=None))


def a_finding_without_status() -> int:
    return id_of(FindingFactory(state=None))


def a_plan_of_another_product() -> int:
    return id_of(EntitlementFactory(plan=PlanFactory(), product=ProductFactory()))


def a_reversal_that_adds() -> int:
    line = MovementFactory()
    return id_of(MovementFactory(account=line.account, amount_minor=line.amount_minor, reverses=line))


def a_reversal_at_another_account() -> int:
    line = MovementFactory()
    return id_of(MovementFactory(amount_minor=-line.amount_minor, reverses=line))


def revenue_of_nothing_held() -> int:
    return id_of(MovementFactory().account)


def another_price_than_the_ledger_says() -> int:
    held = EntitlementFactory(mrr_minor=100)
    MovementFactory(account=held.account, amount_minor=99)
    return id_of(held.account)


def a_story_of_no_play() -> int:
    return id_of(TimelineEntryFactory(subject_type="csplaybooks_playbooks.play", subject_id=99))


def a_story_at_another_account() -> int:
    play = PlayFactory()
    return id_of(TimelineEntryFactory(subject_type="csplaybooks_playbooks.play", subject_id=play.pk))


def a_run_before_the_one_before() -> int:
    RunFactory(moment=NOW)
    return id_of(RunFactory(moment=NOW - HOUR))


def a_run_that_counted_wrong() -> int:
    match = MatchFactory()
    Run.objects.update(counts={str(match.trigger_id): {"matched": 2, "opened": 2, "closed": 0}})
    return id_of(match.opened_run)


def a_run_that_forgot_a_trigger() -> int:
    match = MatchFactory()
    Run.objects.update(counts={str(TriggerFactory().pk): {"matched": 0, "opened": 0, "closed": 0}})
    return id_of(match.opened_run)


def a_match_at_another_moment_than_its_run() -> int:
    return id_of(MatchFactory(opened_at=NOW))


def a_match_open_twice() -> int:
    drop_index("csp_match_one_open")
    match = MatchFactory()
    return id_of(MatchFactory(account=match.account, version=match.version))


def a_closed_match_that_waits() -> int:
    return changed_past(
        "csp_match_closed_not_waiting", MatchFactory(), closed_run=RunFactory(moment=NOW), closed_at=NOW
    )


def a_match_that_opened_a_play_and_is_called_folded() -> int:
    MatchFactory()
    assert open_plays(now=NOW) == 1
    PlayMatch.objects.update(folded=True)
    return id_of(PlayMatch.objects.get())


def a_match_without_a_step() -> int:
    return id_of(MatchFactory(step=None))


def a_match_that_was_changed_past_its_steps() -> int:
    match = MatchFactory()
    Match.objects.filter(pk=match.pk).update(admitted_run=None, queued_at=NOW, waits_until=NOW + HOUR)
    return id_of(match)


def a_run_whose_sum_does_not_close() -> int:
    return id_of(RunFactory(errors={"sum:1": "trigger 1: 2 episodes are not 1 fired + 0 folded"}))


def a_run_whose_counts_do_not_add_up() -> int:
    episodes = {"all": 2, "fired": 1, "folded": 0, "held": 0, "queued": 0, "expired": 0, "ended": 0}
    return id_of(RunFactory(counts={"1": {"matched": 0, "opened": 0, "closed": 0, "episodes": episodes}}))


def a_match_of_another_playbook() -> int:
    return id_of(MatchFactory(trigger=TriggerFactory(playbook=PlaybookFactory())))


def a_playbook_that_publishes_another() -> int:
    version = PlaybookVersionFactory()
    Playbook.objects.update(published=None)
    playbook = PlaybookFactory()
    Playbook.objects.filter(pk=playbook.pk).update(published=version)
    return id_of(playbook)


def a_won_play_without_owner() -> int:
    play = PlayFactory(stage="closed", outcome="won", closed_at=NOW, interval=None)
    return changed_past("csp_play_owned_has_owner", play, owner=None)


def an_open_play_with_an_outcome() -> int:
    return changed_past("csp_play_closed_has_outcome", PlayFactory(), outcome="won")


def a_play_declined_without_reason() -> int:
    values = {"stage": "closed", "outcome": "declined", "closed_at": NOW}
    return changed_past("csp_play_declined_has_reason", PlayFactory(), **values)


def a_play_of_another_playbook() -> int:
    return id_of(PlayFactory(playbook=PlaybookFactory()))


def a_pause_without_reason() -> int:
    PlayFactory(state="paused")
    return id_of(Interval.objects.get())


def an_offer_to_nobody() -> int:
    return id_of(PlayFactory(state="offered"))


def an_offer_of_somebody_else() -> int:
    return id_of(HandoffFactory(offered_by=TeamMemberFactory()).play)


def an_offer_of_a_play_that_is_worked() -> int:
    return id_of(HandoffFactory(play=PlayFactory(), offered_to=TeamMemberFactory(ae=True)))


def an_offer_of_a_play_that_is_over() -> int:
    offer = HandoffFactory()
    Play.objects.update(stage="closed", outcome="lost", closed_at=NOW)
    return id_of(offer)


def an_offer_that_no_clock_measures() -> int:
    return id_of(HandoffFactory())


def an_offer_whose_clock_ticks_on() -> int:
    offer = HandoffFactory(answer="accepted", answered_at=NOW)
    offer.clock = ClockFactory(play=offer.play, target="handoff_accepted", started_at=offer.offered_at)
    offer.save(update_fields=["clock"])
    return id_of(offer)


def an_answered_offer_of_another_time() -> int:
    offer = HandoffFactory(answer="accepted", answered_at=NOW)
    offer.clock = ClockFactory(play=offer.play, target="handoff_accepted", state="met", done_at=NOW, started_at=NOW)
    offer.save(update_fields=["clock"])
    return id_of(offer)


def a_paused_play_in_the_tray() -> int:
    return id_of(PlayFactory(state="paused", tray_at=NOW))


def a_contact_with_another_account() -> int:
    return id_of(TouchFactory(account=AccountFactory()))


def a_credit_for_another_account() -> int:
    credit = Credit(play=PlayFactory(), movement=MovementFactory(), amount_minor=1, credited_at=NOW)
    credit.save()
    return id_of(credit)


def a_breach_that_no_event_tells() -> int:
    return id_of(ClockFactory(state="breached", breached_at=NOW, noticed_at=NOW))


def an_event_of_a_breach_that_is_not() -> int:
    clock = ClockFactory()
    ClockEvent.objects.create(clock=clock, kind="breached", due_at=NOW, noticed_at=NOW)
    return id_of(clock)


def a_warning_before_its_time() -> int:
    return id_of(ClockEvent.objects.create(clock=ClockFactory(), kind="warned", due_at=NOW, noticed_at=NOW - HOUR))


def a_rung_climbed_without_a_breach() -> int:
    return id_of(ClockEvent.objects.create(clock=ClockFactory(), kind="escalated", due_at=NOW, noticed_at=NOW))


BREAKERS: dict[str, list[Callable[[], int]]] = {
    "batches_marked_by_runs": [a_batch_told_to_a_run_to_come, a_batch_told_to_a_run_that_is_gone],
    "changes_marked_by_runs": [a_change_told_to_no_run],
    "signals_correct_their_own": [a_signal_that_corrects_another_account],
    "readings_correct_their_own": [a_reading_that_corrects_another_meter],
    "facts_do_not_overlap": [facts_that_overlap],
    "team_roles_do_not_overlap": [two_at_once_in_one_role],
    "entitlements_do_not_overlap": [a_subscription_held_twice],
    "plan_limits_do_not_overlap": [two_limits_of_one_meter],
    "finding_states_do_not_overlap": [a_finding_with_two_statuses],
    "findings_have_status": [a_finding_without_status],
    "plans_of_held_products": [a_plan_of_another_product],
    "reversals_are_opposite": [a_reversal_that_adds, a_reversal_at_another_account],
    "ledger_equals_held": [revenue_of_nothing_held, another_price_than_the_ledger_says],
    "timeline_tells_of_its_plays": [a_story_of_no_play, a_story_at_another_account],
    "runs_in_order": [a_run_before_the_one_before],
    "runs_count_their_matches": [a_run_that_counted_wrong, a_run_that_forgot_a_trigger],
    "matches_follow_their_runs": [a_match_at_another_moment_than_its_run],
    "one_open_match_per_trigger": [a_match_open_twice],
    "closed_matches_wait_for_nothing": [a_closed_match_that_waits],
    "plays_know_their_matches": [a_match_that_opened_a_play_and_is_called_folded],
    "steps_tell_their_match": [a_match_without_a_step, a_match_that_was_changed_past_its_steps],
    "sums_of_runs_close": [a_run_whose_sum_does_not_close, a_run_whose_counts_do_not_add_up],
    "matches_of_their_playbook": [a_match_of_another_playbook],
    "playbooks_publish_their_own": [a_playbook_that_publishes_another],
    "owned_plays_have_owner": [a_won_play_without_owner],
    "closed_plays_have_outcome": [an_open_play_with_an_outcome, a_play_declined_without_reason],
    "plays_of_their_playbook": [a_play_of_another_playbook],
    "paused_plays_have_reason": [a_pause_without_reason],
    "offered_plays_have_offer": [an_offer_to_nobody, an_offer_of_somebody_else],
    "offers_wait_on_offered_plays": [an_offer_of_a_play_that_is_worked, an_offer_of_a_play_that_is_over],
    "offers_have_their_clock": [
        an_offer_that_no_clock_measures,
        an_offer_whose_clock_ticks_on,
        an_answered_offer_of_another_time,
    ],
    "tray_holds_what_waits": [a_paused_play_in_the_tray],
    "touches_at_their_account": [a_contact_with_another_account],
    "credits_at_their_account": [a_credit_for_another_account],
    "breaches_have_their_event": [a_breach_that_no_event_tells, an_event_of_a_breach_that_is_not],
    "clock_events_in_order": [a_warning_before_its_time, a_rung_climbed_without_a_breach],
    **breaking_steps.BREAKERS,
}
