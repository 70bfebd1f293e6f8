"""What lies behind the horizon is refused where it is sent, where it is looked at and where it is asked about."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.doctor.findings import Level, Look
from csplaybooks.playbooks.doctor.retention import retention
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.factories import PlaybookVersionFactory, RunFactory
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.reach import Forgotten, days_needed, too_far
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.acts.catalogue import change_meter
from csplaybooks.signals.factories import MeterFactory, PrunedDayFactory, SignalFactory, SignalTypeFactory
from csplaybooks.signals.horizon import pruned_before
from csplaybooks.signals.intake import IntakeAnswer, act, take_in_readings, take_in_signals
from csplaybooks.signals.intake.lookups import find_stored
from csplaybooks.signals.models import IntakeBatch, PrunedDay, Signal
from tests.retention.history import claim_all, draft, prune_all

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)

#: Of ten days the first that intake takes, and the first that is kept.
TAKEN_FROM = datetime(2026, 11, 6, tzinfo=UTC)
KEPT_FROM = datetime(2026, 11, 5, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ten_days(settings: Any) -> None:
    """Ten days are kept; one account, one kind of signal, one meter."""
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}
    AccountFactory(name="Acme")
    SignalTypeFactory(key="login")
    MeterFactory(key="seats", max_age_days=9)


def send(*items: tuple[str, datetime] | tuple[str, datetime, str], now: datetime = NOW) -> IntakeAnswer:
    """Take signals in: id, moment, and what is corrected."""
    return take_in_signals(
        items=[
            {
                "source": "product",
                "external_id": item[0],
                "account": "acme",
                "type": "login",
                "occurred_at": item[1],
                "corrects": item[2] if len(item) == 3 else None,
            }
            for item in items
        ],
        now=now,
    )


def codes(answer: IntakeAnswer) -> list[str]:
    return [result.code or result.status.value for result in answer.results]


def test_intake_refuses_what_lies_before_the_retention():
    second = timedelta(microseconds=1)
    answer = send(("old", TAKEN_FROM - second), ("just", TAKEN_FROM))
    assert codes(answer) == ["too_old", "stored"]
    assert answer.results[0].field == "occurred_at"
    assert answer.results[0].message == (
        "The field 'occurred_at' lies before 2026-11-06: signals from before that day are pruned, and none is taken "
        "in, because its duplicates could be told no more."
    )
    reading = {"source": "s", "external_id": "r", "account": "acme", "meter": "seats", "used": 1}
    answer = take_in_readings(items=[{**reading, "occurred_at": TAKEN_FROM - second}], now=NOW)
    assert codes(answer) == ["too_old"]
    assert "readings from before" in answer.results[0].message


def test_days_are_those_of_the_company(settings):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "Asia/Tokyo"}
    midnight = datetime(2026, 11, 5, 15, 0, tzinfo=UTC)
    assert codes(send(("old", midnight - timedelta(microseconds=1)), ("just", midnight))) == ["too_old", "stored"]


def test_what_was_taken_in_and_pruned_is_not_taken_in_again():
    send(("one", TAKEN_FROM), ("two", TAKEN_FROM + DAY))
    claim_all()
    # While its row is there, it is a duplicate, also of a day that is taken no more.
    assert codes(send(("one", TAKEN_FROM), now=NOW + DAY)) == ["duplicate"]
    assert len(prune_all(NOW + 2 * DAY)) == 1
    assert codes(send(("one", TAKEN_FROM), ("two", TAKEN_FROM + DAY), now=NOW + 2 * DAY)) == ["too_old", "duplicate"]
    assert Signal.objects.get().external_id == "two"


def test_after_a_change_of_time_zone_the_horizon_covers_all_that_is_pruned(settings):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "Asia/Tokyo"}
    # Both are of the 5th in Los Angeles, but the later one is of the 6th in Tokyo.
    early, late = datetime(2026, 11, 5, 10, 0, tzinfo=UTC), datetime(2026, 11, 6, 5, 0, tzinfo=UTC)
    now = datetime(2026, 11, 16, 16, 0, tzinfo=UTC)
    send(("early", early), ("late", late), now=now - 9 * DAY)
    claim_all()
    assert [pruned.signals for pruned in prune_all(now)] == [1]
    assert pruned_before() == datetime(2026, 11, 5, 15, 0, tzinfo=UTC)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "America/Los_Angeles"}
    assert [pruned.signals for pruned in prune_all(now + 2 * DAY)] == [1]
    day = PrunedDay.objects.get()
    assert (day.before, day.signals) == (datetime(2026, 11, 6, 8, 0, tzinfo=UTC), 2)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 30, "TIME_ZONE": "America/Los_Angeles"}
    assert codes(send(("late", late), now=now + 2 * DAY)) == ["too_old"]


def test_after_a_change_of_time_zone_the_horizon_does_not_move_back(settings):
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "America/Los_Angeles"}
    send(("one", datetime(2026, 11, 5, 10, 0, tzinfo=UTC)), now=NOW - 10 * DAY)
    claim_all()
    prune_all(NOW + 2 * DAY)
    before = pruned_before()
    assert before == datetime(2026, 11, 6, 8, 0, tzinfo=UTC)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10, "TIME_ZONE": "Asia/Tokyo"}
    # Of the same day in Tokyo, which ends earlier.
    SignalFactory(occurred_at=datetime(2026, 11, 5, 11, 0, tzinfo=UTC), batch__seen_by_run=RunFactory().pk)
    assert [pruned.day for pruned in prune_all(NOW + 2 * DAY)] == [date(2026, 11, 5)]
    assert (PrunedDay.objects.get().signals, pruned_before()) == (2, before)


def test_a_retention_made_longer_brings_nothing_back(settings):
    send(("one", TAKEN_FROM))
    claim_all()
    prune_all(NOW + 2 * DAY)
    for days in (20, 0):
        settings.CSPLAYBOOKS = {"RETENTION_DAYS": days}
        assert codes(send(("one", TAKEN_FROM), (f"next-{days}", TAKEN_FROM + DAY), now=NOW + 2 * DAY)) == [
            "too_old",
            "stored",
        ]


def test_corrections_of_what_lies_behind_the_horizon_are_refused():
    send(("one", TAKEN_FROM), ("two", TAKEN_FROM + 5 * DAY, "one"))
    claim_all()
    later = NOW + 3 * DAY
    answer = send(("three", later, "one"), ("four", later, "two"), now=later)
    # What hangs on the second is there as long as the second is.
    assert codes(answer) == ["too_old", "stored"]
    assert answer.results[0].field == "corrects"
    send(("five", later), now=later)
    answer = send(("six", later, "gone"), now=later)
    assert codes(answer) == ["unknown_correction"]
    assert answer.results[0].message == (
        "The source 'product' has sent no signal 'gone' before this one, or it is pruned, as what lies before "
        "2026-11-09 is."
    )


def test_what_is_pruned_while_a_batch_is_judged_is_refused_and_not_stored_again(monkeypatch, settings):
    """The setting of whoever prunes is shorter than that of this process, which has looked at the horizon already."""
    send(("one", TAKEN_FROM), ("base", NOW))
    claim_all()
    before = IntakeBatch.objects.count()
    looked = find_stored
    pruned: list[Any] = []

    def prune_then_look(*args: Any) -> Any:
        if not pruned:
            settings.CSPLAYBOOKS = {"RETENTION_DAYS": 3}
            pruned.extend(prune_all(NOW))
            settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}
        return looked(*args)

    monkeypatch.setattr(act, "find_stored", prune_then_look)
    # The first judging is rolled back, and what was pruned inside of it too: so this stands for another connection.
    monkeypatch.setattr(act, "_MOST_ATTEMPTS", 1)
    with pytest.raises(OperationalError):
        send(("one", TAKEN_FROM))
    assert pruned
    assert IntakeBatch.objects.count() == before
    PrunedDayFactory(day=TAKEN_FROM.date(), before=TAKEN_FROM + DAY)
    assert codes(send(("other", TAKEN_FROM))) == ["too_old"]


def test_a_window_longer_than_what_is_kept_cannot_be_published(settings):
    def publish(*conditions: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
        playbook = save_draft(text=draft(*conditions, **more), now=NOW)
        try:
            publish_playbook(playbook_id=playbook.pk, now=NOW)
        except DocumentError as error:
            return error.errors
        return []

    logins = {"measure": "signal_count", "signal_type": "login", "at_least": 1}
    seats = {"measure": "share_of_limit", "meters": ["seats"], "at_least": 80}
    assert publish({**logins, "window_days": 10}, {**seats, "grace_hours": 24}) == []
    assert publish({**logins, "window_days": 10}, {**logins, "window_days": 11}) == [
        (
            "triggers/0/any/0/all/1/window_days",
            "looks 11 days back, and signals and readings are kept for 10 days: shorten it (where it names a meter, "
            "the meter's maximum age), or raise RETENTION_DAYS",
        )
    ]
    [(path, message)] = publish({**seats, "grace_hours": 25})
    assert path == "triggers/0/any/0/all/0/meters"
    assert message.startswith("looks 11 days back")
    [(path, _)] = publish({**logins, "window_days": 1}, guards={"dismissed": {"days": 11}})
    assert path == "guards/dismissed/days"
    MeterFactory(key="health", max_age_days=11)
    [(path, _)] = publish({**logins, "window_days": 2})
    assert path == "guards/unhealthy"
    off = {"unhealthy": "off"}
    assert publish({**logins, "window_days": 3}, guards=off) == []
    MeterFactory(key="stock", max_age_days=30)
    [(path, _)] = publish(
        {**logins, "window_days": 4}, guards=off, amount={"rule": "seats_over", "meters": ["seats", "stock"]}
    )
    assert path == "amount/meters"
    # A champion's change is no signal, and is kept for ever.
    assert publish({"measure": "champion_change", "kinds": ["promoted"], "window_days": 730}, guards=off) == []

    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    assert publish({**logins, "window_days": 730}, guards=off) == []
    # What was pruned does not come back either.
    PrunedDayFactory(day=KEPT_FROM.date() - DAY, before=KEPT_FROM)
    assert publish({**logins, "window_days": 12}, guards=off) == [
        (
            "triggers/0/any/0/all/0/window_days",
            "looks 12 days back, and signals and readings from before 2026-11-05 are pruned; "
            "it can be used from 2026-11-18 on",
        )
    ]
    assert publish({**logins, "window_days": 11}, guards=off) == []


def test_running_versions_that_look_further_back_are_named(settings):
    text = draft({"measure": "signal_count", "signal_type": "login", "at_least": 1, "window_days": 30})
    version = PlaybookVersionFactory(playbook__key="long", playbook__draft=text)
    assert days_needed() == 30
    [fault] = too_far()
    assert (fault.version, fault.path) == (version, "triggers/0/any/0/all/0/window_days")
    assert "kept for 10 days" in fault.message
    [finding] = retention(Look(NOW))
    assert (finding.name, finding.level) == ("retention", Level.WARN)
    assert finding.seen.startswith(f"{version}: triggers/0/any/0/all/0/window_days looks 30 days back")
    assert "the last 30 days are kept" in finding.mend
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 30}
    assert too_far() == []
    assert [finding.level for finding in retention(Look(NOW))] == [Level.OK]
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    assert too_far() == []
    version.playbook.is_active = False
    version.playbook.save()
    assert days_needed() == 0


def test_a_question_about_what_may_be_pruned_is_an_error_and_no_answer():
    PrunedDayFactory(day=KEPT_FROM.date() - DAY, before=KEPT_FROM)
    known = Known.now()

    def ask(condition: dict[str, Any], as_of: datetime) -> list[Any]:
        return evaluate(TriggerVersion(0, 0, {"key": "t", "any": [{"all": [condition]}]}, {}), as_of, known)

    logins = {"measure": "signal_count", "signal_type": "login", "at_least": 1, "window_days": 3}
    seats = {"measure": "share_of_limit", "meters": ["seats"], "at_least": 80, "grace_hours": 24}
    for condition, days in ((logins, 3), (seats, 10)):
        assert ask(condition, KEPT_FROM + days * DAY) == []
        with pytest.raises(Forgotten, match=f"trigger t, .* looks {days} days back, .* before 2026-11-05 are pruned"):
            ask(condition, KEPT_FROM + days * DAY - timedelta(microseconds=1))
    # What is not about signals or readings can be asked for ever.
    assert ask({"measure": "open_gap"}, KEPT_FROM - 999 * DAY) == []


def test_a_run_is_replayed_as_long_as_what_it_looked_at_is_there(settings):
    text = draft({"measure": "signal_count", "signal_type": "login", "at_least": 1, "window_days": 3})
    PlaybookVersionFactory(playbook__draft=text)
    runs = []
    with pokes_silenced():
        for day in range(8):
            now = NOW - 8 * DAY + day * DAY
            send((f"login-{day}", now), now=now)
            report = run_triggers(now=now)
            assert report is not None
            runs.append(Run.objects.get(pk=report.run_id))
    for run in runs:
        assert replay_run(run) == matches_after(run)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 3}
    assert prune_all(NOW)
    # The 12th is the first day that is kept; the fifth run, of the 12th, looks at the 9th.
    for run in runs[:7]:
        with pytest.raises(Forgotten):
            replay_run(run)
    for run in runs[7:]:
        assert [len(found) for found in replay_run(run).values()] == [1]


def test_a_run_that_was_told_what_is_pruned_is_not_replayed_over_the_rest(settings):
    """Its window reaches back a day, but it looked at an account because of older news that came late."""
    text = draft({"measure": "signal_count", "signal_type": "login", "at_least": 1, "window_days": 1})
    PlaybookVersionFactory(playbook__draft=text)
    with pokes_silenced():
        send(("login", NOW))
        run_triggers(now=NOW)
        send(("late", NOW - 8 * DAY))
        report = run_triggers(now=NOW)
    assert report is not None
    run = Run.objects.get(pk=report.run_id)
    assert [len(found) for found in replay_run(run).values()] == [1]
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 3}
    assert prune_all(NOW)
    with pytest.raises(Forgotten, match="looked at 1 accounts for what it was told, some of which is pruned"):
        replay_run(run)


def test_a_meter_s_readings_are_not_wanted_for_longer_than_they_are_kept():
    meter = MeterFactory(key="seats")
    with pytest.raises(ValidationError, match="kept for 10 days"):
        change_meter(meter_id=meter.pk, max_age_days=11, now=NOW, actor=None)
    assert change_meter(meter_id=meter.pk, max_age_days=10, now=NOW, actor=None).max_age_days == 10
