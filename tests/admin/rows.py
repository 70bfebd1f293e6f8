"""One row of any table, on an account of its own: what the tests that walk all tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

from django.apps import apps
from django.db import models

from csplaybooks.accounts import factories as accounts
from csplaybooks.accounts import models as who
from csplaybooks.accounts.factories import START
from csplaybooks.playbooks import factories as playbooks
from csplaybooks.playbooks import models as what
from csplaybooks.signals import factories as signals
from csplaybooks.signals import models as events

LABELS = ("csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks")

#: Every table of the three apps.
MODELS = [model for label in LABELS for model in apps.get_app_config(label).get_models()]

_numbers: Iterator[int] = count(1)


def _calendar() -> Any:
    return playbooks.CalendarFactory(key=f"calendar-{next(_numbers)}", is_default=False)


def _interval() -> Any:
    return playbooks.PlayFactory().intervals.get()


def _play_match() -> Any:
    play = playbooks.PlayFactory()
    match = playbooks.MatchFactory(account=play.account, state=what.Match.State.FIRED, play=play, fired_at=START)
    return what.PlayMatch.objects.create(play=play, match=match, at=START)


def _credit() -> Any:
    play = playbooks.PlayFactory()
    movement = accounts.MovementFactory(account=play.account)
    return what.Credit.objects.create(play=play, movement=movement, amount_minor=150_000, credited_at=START)


#: How a row of each table is made; it hangs on an account or stands alone.
MAKERS: dict[type[models.Model], Callable[[], Any]] = {
    who.Absence: accounts.AbsenceFactory,
    who.Account: accounts.AccountFactory,
    who.AccountFacts: accounts.AccountFactsFactory,
    who.AccountIdentity: accounts.AccountIdentityFactory,
    who.AccountTeam: accounts.AccountTeamFactory,
    who.ApiToken: accounts.ApiTokenFactory,
    who.Champion: accounts.ChampionFactory,
    who.ChampionChange: accounts.ChampionChangeFactory,
    who.Change: accounts.ChangeFactory,
    who.Entitlement: accounts.EntitlementFactory,
    who.Feature: accounts.FeatureFactory,
    who.Finding: accounts.FindingFactory,
    who.FindingState: accounts.FindingStateFactory,
    who.IdempotencyKey: lambda: who.IdempotencyKey.objects.create(
        token=accounts.ApiTokenFactory(), key="once", body_hash="0", created_at=START
    ),
    who.Movement: accounts.MovementFactory,
    who.Plan: accounts.PlanFactory,
    who.PlanLimit: accounts.PlanLimitFactory,
    who.Product: accounts.ProductFactory,
    who.Qbr: accounts.QbrFactory,
    who.TeamMember: accounts.TeamMemberFactory,
    who.TimelineEntry: accounts.TimelineEntryFactory,
    events.IntakeBatch: signals.IntakeBatchFactory,
    events.IntakeDay: signals.IntakeDayFactory,
    events.Meter: lambda: signals.MeterFactory(key=f"meter-{next(_numbers)}"),
    events.PrunedDay: signals.PrunedDayFactory,
    events.ReadinessWeights: signals.ReadinessWeightsFactory,
    events.Reading: signals.ReadingFactory,
    events.ReadingDay: signals.ReadingDayFactory,
    events.RefusedItem: signals.RefusedItemFactory,
    events.ScoreSnapshot: signals.ScoreSnapshotFactory,
    events.Signal: signals.SignalFactory,
    events.SignalDay: signals.SignalDayFactory,
    events.SignalType: lambda: signals.SignalTypeFactory(key=f"kind-{next(_numbers)}"),
    events.Source: lambda: signals.SourceFactory(key=f"source-{next(_numbers)}"),
    what.Calendar: _calendar,
    what.CalendarBlock: lambda: _calendar().blocks.first(),
    what.CalendarDay: lambda: what.CalendarDay.objects.create(calendar=_calendar(), day=START.date(), name="Closed"),
    what.CalendarUse: playbooks.CalendarUseFactory,
    what.Clock: playbooks.ClockFactory,
    what.ClockEvent: lambda: what.ClockEvent.objects.create(
        clock=playbooks.ClockFactory(), kind=what.ClockEvent.Kind.WARNED, level=50, due_at=START, noticed_at=START
    ),
    what.Credit: _credit,
    what.Delivery: playbooks.DeliveryFactory,
    what.Handoff: playbooks.HandoffFactory,
    what.HolidayImport: playbooks.HolidayImportFactory,
    what.Interval: _interval,
    what.Lease: lambda: what.Lease.objects.create(name=f"job-{next(_numbers)}", last_run_at=START),
    what.MailDraft: playbooks.MailDraftFactory,
    what.Match: playbooks.MatchFactory,
    what.MatchStep: lambda: playbooks.MatchFactory().steps.get(),
    what.Notice: playbooks.NoticeFactory,
    what.NoticeSettings: playbooks.NoticeSettingsFactory,
    what.Pause: lambda: (
        lambda interval: what.Pause.objects.create(
            play=interval.play, interval=interval, reason="Budget", wakes_at=START + timedelta(days=7)
        )
    )(_interval()),
    what.Play: playbooks.PlayFactory,
    what.PlayMatch: _play_match,
    what.PlayStep: lambda: what.PlayStep.objects.create(
        play=playbooks.PlayFactory(), number=1, kind="task", text="Call."
    ),
    what.Playbook: playbooks.PlaybookFactory,
    what.PlaybookVersion: playbooks.PlaybookVersionFactory,
    what.Round: lambda: what.Round.objects.create(asked_at=START, moved_at=START, part_size=100),
    what.Run: playbooks.RunFactory,
    what.Suppression: playbooks.SuppressionFactory,
    what.Touch: playbooks.TouchFactory,
    what.Trigger: playbooks.TriggerFactory,
}


def make(model: type[models.Model], number: int = 1) -> list[Any]:
    """Make `number` rows of a table."""
    return [MAKERS[model]() for _ in range(number)]
