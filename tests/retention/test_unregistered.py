"""A running playbook names a measure or a guard that is no longer registered: nobody knows what it looks at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from csplaybooks.playbooks import measures as measure_module
from csplaybooks.playbooks.acts.pruning import prune_a_little, prune_before, prune_next_events
from csplaybooks.playbooks.doctor.findings import Level, Look
from csplaybooks.playbooks.doctor.retention import retention
from csplaybooks.playbooks.factories import PlaybookVersionFactory
from csplaybooks.playbooks.guards import Guard
from csplaybooks.playbooks.guards import registry as guard_module
from csplaybooks.playbooks.measures import SignalCount
from csplaybooks.playbooks.reach import days_needed, too_far
from csplaybooks.signals.horizon import to_prune_before
from csplaybooks.signals.models import Signal
from tests.retention.history import Told, draft, write

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=400)

LOGINS = {"measure": "signal_count", "signal_type": "kind-0", "at_least": 1, "window_days": 3}

pytestmark = pytest.mark.django_db


class Logins(SignalCount):
    """Counts signals, as another one does."""

    key = "own_logins"


class ByName(Guard):
    """Looks at nothing."""

    key = "by_name"
    defaults: dict[str, Any] = {}
    settings_schema: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def ten_days(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten days are kept, an old signal is there, and what a test registers is gone after it."""
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}
    monkeypatch.setattr(measure_module, "_registry", dict(measure_module._registry))
    monkeypatch.setattr(guard_module, "_registry", dict(guard_module._registry))
    write(Signal, [Told(0, 0, OLD)], [True])


def measure_gone() -> tuple[Any, str]:
    """A version that runs on a measure which is not registered any more, and where it names it."""
    measure_module.register(Logins)
    text = draft(LOGINS, {**LOGINS, "measure": "own_logins"}, key="own")
    version = PlaybookVersionFactory(playbook__key="own", playbook__draft=text)
    del measure_module._registry["own_logins"]
    return version, "triggers/0/any/0/all/1/measure"


def guard_gone() -> tuple[Any, str]:
    """The same with a guard."""
    guard_module.register(ByName)
    version = PlaybookVersionFactory(playbook__key="own", playbook__draft=draft(LOGINS, key="own"))
    del guard_module._registry["by_name"]
    return version, "guards/by_name"


both = pytest.mark.parametrize("gone", [measure_gone, guard_gone])


def prune(*words: str) -> list[str]:
    """The lines that the command writes."""
    out = StringIO()
    with time_machine.travel(NOW, tick=False):
        call_command("csplaybooks_prune", *words, stdout=out, stderr=out)
    return out.getvalue().splitlines()


@both
def test_all_is_kept_until_it_is_registered_or_switched_off(gone):
    version, _ = gone()
    # One that all is known of does not make it less.
    PlaybookVersionFactory(playbook__key="other", playbook__draft=draft(LOGINS, key="other"))
    assert days_needed() is None
    assert prune_before(NOW) is None
    assert prune_next_events(now=NOW) is None
    prune_a_little(now=NOW)
    assert Signal.objects.exists()

    version.playbook.is_active = False
    version.playbook.save()
    assert days_needed() is not None
    assert prune_a_little(now=NOW) > 0
    assert not Signal.objects.exists()


@both
def test_the_doctor_names_it(gone, settings):
    version, path = gone()
    [fault] = too_far()
    assert (fault.version, fault.path) == (version, path)
    [finding] = retention(Look(NOW))
    assert (finding.name, finding.level) == ("retention", Level.WARN)
    assert finding.seen.startswith(f"{version}: {path} names a {gone.__name__.split('_')[0]} that is not registered")
    assert "Until then everything is kept." in finding.mend
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 0}
    assert [finding.level for finding in retention(Look(NOW))] == [Level.OK]


def test_the_command_says_so_and_leaves_it(settings):
    version, path = measure_gone()
    lines = prune()
    assert lines[0] == "Signals, readings, intake batches and runs all stay for now."
    assert lines[1].startswith(f"{version}: {path} names a measure that is not registered")
    assert lines[1].endswith("Until then everything is kept.")
    assert "0 signals" in prune("--dry-run")[2]
    with pytest.raises(CommandError, match="--until 2026-01-01: nothing may go"):
        prune("--until", "2026-01-01")
    assert Signal.objects.exists()


def test_a_switched_off_guard_that_is_not_registered_looks_at_nothing():
    guard_module.register(ByName)
    text = draft(LOGINS, key="own", guards={"by_name": "off"})
    PlaybookVersionFactory(playbook__key="own", playbook__draft=text)
    del guard_module._registry["by_name"]
    assert days_needed() is not None


def test_no_number_of_days_keeps_all():
    assert to_prune_before(NOW, at_least_days=None) is None
