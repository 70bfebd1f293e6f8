"""A recorded month, asked again: every run gives the live matches exactly, and each thing that a run keeps matters."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable

import pytest

from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Playbook, Run, Trigger
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import matches_after, replay_run
from tests.playbooks.month import OWN_TRIGGERS, record_a_month

pytestmark = pytest.mark.django_db


def test_every_run_of_a_recorded_month_gives_the_live_matches_exactly() -> None:
    with pokes_silenced():
        month = record_a_month()
    runs = list(Run.objects.order_by("pk"))
    assert not any(run.errors for run in runs)
    # What each run found then, and what it finds when it is asked today.
    live = {run.pk: matches_after(run) for run in runs}
    replayed = {run.pk: replay_run(run) for run in runs}
    assert replayed == live
    _has_teeth(runs, live)
    _month_was_full(runs, month.told)
    assert [violation for violation in violations() if violation.count] == []


def _month_was_full(runs: list[Run], told: Counter[str]) -> None:
    """What the month held: of everything some, so that none of it is passed over."""
    kinds = Counter(run.kind for run in runs)
    assert kinds["full"] >= 5, kinds
    assert kinds["changed"] >= 20, kinds
    assert kinds["part"] >= 6, kinds
    least = {"signals": 250, "readings": 250, "ahead": 5, "late": 8, "duplicates": 10, "corrected": 3, "void": 3}
    least |= {"people": 5, "reviews": 3, "settled": 1, "holdings": 5, "facts": 5}
    least |= {"published": 2, "ages": 1, "features": 1, "merged": 1}
    assert {name: told[name] for name in least if told[name] < least[name]} == {}
    opened = Counter(Match.objects.order_by().values_list("opened_run", flat=True))
    closed = Counter(Match.objects.exclude(closed_run=None).order_by().values_list("closed_run", flat=True))
    assert len(opened) >= 25
    assert len(closed) >= 25
    # Each kind of run opened some and closed some.
    by_id = {run.pk: run.kind for run in runs}
    assert {by_id[pk] for pk in opened} == {by_id[pk] for pk in closed} == set(Run.Kind.values)
    for key in OWN_TRIGGERS:
        episodes = Match.objects.filter(trigger__key=key)
        assert episodes.exists(), key
        assert episodes.exclude(closed_run=None).exists(), key
    assert set(Match.objects.order_by().values_list("state", flat=True)) >= {"fired", "folded", "held", "ended"}
    versions = {version for run in runs for version in run.versions.values()}
    assert versions >= set(Playbook.objects.get(key="month").versions.values_list("pk", flat=True))


def _has_teeth(runs: list[Run], live: dict[int, dict[int, list[int]]]) -> None:
    """Runs asked with one thing that they kept replaced by today's do not give the live matches: it is not for show."""
    last = runs[-1]

    def told_everything(run: Run) -> None:
        # A later mark, over all accounts or the same part of them: what came late is known too early.
        run.pk = last.pk

    def asked_by_todays_versions(run: Run) -> None:
        run.versions = last.versions

    def with_todays_ages(run: Run) -> None:
        run.inputs = {**run.inputs, "max_age_days": last.inputs["max_age_days"]}

    def with_todays_catalogue(run: Run) -> None:
        run.inputs = {**run.inputs, "catalogue": last.inputs["catalogue"]}

    # Runs over what changed say by their mark what they looked at. Our own triggers, and half of the runs, are enough.
    ours = set(Trigger.objects.filter(playbook__key="month").values_list("pk", flat=True))
    asked = [run for run in runs if run.kind != Run.Kind.CHANGED][::2]
    changes: dict[Callable[[Run], None], int] = {
        told_everything: 4,
        asked_by_todays_versions: 2,
        with_todays_ages: 1,
        with_todays_catalogue: 1,
    }
    for change, at_least in changes.items():
        different = 0
        for run in asked:
            other = copy.copy(run)
            change(other)
            other.versions = {pk: version for pk, version in other.versions.items() if int(pk) in ours}
            different += any(found != live[run.pk][pk] for pk, found in replay_run(other).items())
        assert different >= at_least, (change.__name__, different, len(asked))
    assert Known.now().max_age_days["seats"] != runs[0].inputs["max_age_days"]["seats"]
