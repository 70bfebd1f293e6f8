"""The doctor on our own rows: what waits too long, what failed, and who cannot do what their role asks."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from csplaybooks.accounts.factories import ChangeFactory, TeamMemberFactory
from csplaybooks.playbooks.doctor import Level, Report, examine
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    ClockFactory,
    MatchFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
)
from csplaybooks.playbooks.models import Match, Play, Round, Run
from csplaybooks.signals.factories import IntakeBatchFactory
from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, trouble, troubles, well

pytestmark = pytest.mark.django_db


def test_what_came_in_and_no_run_took_note_of() -> None:
    well()
    IntakeBatchFactory(recorded_at=NOW - 601 * SECOND, stored=0)
    IntakeBatchFactory(recorded_at=NOW - 600 * SECOND)
    assert troubles() == {}
    ChangeFactory(recorded_at=NOW - 601 * SECOND)
    level, seen = trouble("inputs")
    assert (level, seen) == ("red", "The oldest change has waited 10 minutes for a run to take note of it.")


def test_a_match_that_does_not_become_a_play() -> None:
    run = RunFactory(moment=NOW - 2 * HOUR)
    MatchFactory(opened_run=run)
    well()
    # A guard may have freed it in the last run or sweep.
    assert troubles() == {}
    found = troubles(NOW + 11 * MINUTE)
    assert found["matches"][1] == "The oldest match has waited 11 minutes to become a play."
    Match.objects.update(attempts=1, next_try_at=NOW)
    assert "matches" not in troubles(NOW + 11 * MINUTE)


def test_a_play_without_an_owner() -> None:
    play = PlayFactory(unowned=True, opened_at=NOW - 601 * SECOND)
    well()
    assert trouble("plays") == ("red", "The oldest play has waited 10 minutes for an owner.")
    # In the manager's tray it waits for a person.
    Play.objects.filter(pk=play.pk).update(tray_at=NOW)
    assert troubles() == {}


def test_a_play_without_clocks_waits_since_it_is_owned() -> None:
    play = PlayFactory(opened_at=NOW - 601 * SECOND)
    well()
    assert trouble("unclocked_plays") == ("red", "The oldest owned play has waited 10 minutes for its clocks.")
    play.intervals.update(valid_from=NOW - MINUTE)
    assert troubles() == {}


def test_a_clock_that_nobody_watches() -> None:
    CalendarFactory()
    since = NOW - 601 * SECOND
    clock = ClockFactory(is_stale=False, due_at=NOW, next_event_at=since, play__clocks_started_at=NOW)
    well()
    level, seen = trouble("clocks")
    assert (level, seen) == ("red", "The oldest clock on which something is due has waited 10 minutes for the watcher.")
    type(clock).objects.update(next_event_at=NOW - 600 * SECOND)
    assert troubles() == {}


def test_a_full_run_that_does_not_come() -> None:
    well()
    Run.objects.update(moment=NOW - 3 * HOUR)
    assert troubles() == {}
    level, seen = trouble("full_run", NOW + SECOND)
    assert (level, seen) == ("red", "All accounts were last looked at 3 hours ago.")
    Round.objects.create(asked_at=NOW - HOUR, moved_at=NOW, part_size=1, finished_at=NOW)
    assert troubles(NOW + SECOND) == {}


def test_a_full_run_that_asked_for_a_round_looked_at_none() -> None:
    well()
    unfinished = Round.objects.create(asked_at=NOW, moved_at=NOW, part_size=1)
    Run.objects.update(round=unfinished)
    assert trouble("full_run")[0] == "warn"


def test_rows_in_the_tray() -> None:
    well()
    MatchFactory.create_batch(2, stuck_at=NOW, attempts=5, opened_run=Run.objects.get())
    level, seen, mend = troubles()["tray"]
    assert (level, seen) == ("warn", "2 matches were given up after the last attempt.")
    assert "/admin/csplaybooks_playbooks/match/?stuck_at__isempty=0" in mend


def test_rows_that_fail_and_will_be_tried_again() -> None:
    PlayFactory(unowned=True, opened_at=NOW - HOUR, attempts=1, next_try_at=NOW)
    well()
    assert trouble("tray") == ("warn", "1 play was put back after a failure, and will be tried again.")


def test_the_page_of_the_tray_shows_exactly_these(client: Any) -> None:
    well()
    stuck = MatchFactory(stuck_at=NOW, opened_run=Run.objects.get())
    MatchFactory(opened_run=Run.objects.get())
    mend = troubles()["tray"][2]
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(mend[mend.index("(") + 1 : mend.index(")")])
    assert [row.pk for row in page.context["cl"].result_list] == [stuck.pk]


def test_a_playbook_that_could_not_be_evaluated_is_named() -> None:
    well()
    version = PlaybookVersionFactory()
    Run.objects.update(errors={str(version.pk): "FieldError: odd"})
    level, seen = trouble("run_errors")
    assert level == "warn"
    assert seen == f"{version} could not be evaluated by {Run.objects.get()}: FieldError: odd"
    RunFactory(moment=NOW)
    assert troubles() == {}


def test_people_who_cannot_do_what_their_role_asks_are_named():
    well()
    assert named(examine(now=NOW), "team") == [Level.OK]
    TeamMemberFactory(name="Carla", user=User.objects.create_user("carla", is_staff=True))
    report = examine(now=NOW)
    assert Level.WARN in named(report, "team")
    assert any("carla lacks the group" in finding.seen for finding in report.findings if finding.name == "team")


def named(report: Report, name: str) -> list[Level]:
    return [finding.level for finding in report.findings if finding.name == name]
