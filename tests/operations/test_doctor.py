"""The doctor tells what it sees and what to do, one finding for each thing; nothing of it is raised."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache.backends.filebased import FileBasedCache
from django.core.checks import Error, Warning
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from csplaybooks.accounts.factories import ChangeFactory, TeamMemberFactory
from csplaybooks.playbooks import heartbeats, tasks
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.doctor import Level, Report, examine
from csplaybooks.playbooks.doctor import clusters as cluster_questions
from csplaybooks.playbooks.doctor import database as database_questions
from csplaybooks.playbooks.doctor.examination import SYSTEM, WEB
from csplaybooks.playbooks.doctor.findings import in_words
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    ClockFactory,
    MatchFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
)
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Lease, Match, Play, Round, Run
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.signals.factories import IntakeBatchFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def well(now: datetime = NOW) -> None:
    """An installation in which nothing is wrong at a moment."""
    with pokes_silenced():
        set_up(now=now)
    Schedule.objects.update(next_run=now + MINUTE)
    # What set-up told.
    run = RunFactory(kind="full", moment=now)
    ChangeFactory._meta.model.objects.update(seen_by_run=run.pk)
    beat(heartbeats.SWEEP, now, expected=9, seen=9)
    beat(heartbeats.WATCHER, now, expected=0, seen=0)


def troubles(now: datetime = NOW) -> dict[str, tuple[str, str, str]]:
    """What is not ok: level, what was seen, what to do; by name."""
    found = [finding for finding in examine(now=now).findings if finding.level != Level.OK]
    assert all(finding.mend for finding in found)
    return {finding.name: (finding.level.value, finding.seen, finding.mend) for finding in found}


def trouble(name: str, now: datetime = NOW) -> tuple[str, str]:
    """The one thing that is not ok: its level and what was seen."""
    found = troubles(now)
    assert list(found) == [name]
    return found[name][:2]


def test_nothing_is_wrong_with_an_installation_that_works() -> None:
    well()
    report = examine(now=NOW)
    assert troubles() == {}
    assert report.level == Level.OK
    assert {finding.name for finding in report.findings} >= {question.name for question in SYSTEM}


# Database, migrations, checks


def test_migrations_that_were_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    MigrationRecorder.Migration.objects.filter(app="csplaybooks_signals", name="0001_initial").delete()
    level, seen = trouble("migrations")
    assert (level, seen) == ("red", "Not applied: csplaybooks_signals.0001_initial")
    # Nothing is asked of tables that may not be there.
    asked = {finding.name for finding in examine(now=NOW).findings}
    assert asked == {"database", "migrations"}


def test_migrations_of_other_apps_are_the_site_s_own_matter() -> None:
    well()
    MigrationRecorder.Migration.objects.filter(app="sessions").delete()
    assert trouble("migrations") == ("warn", "Not applied, of other apps: sessions.0001_initial")


def test_migrations_that_this_code_does_not_know() -> None:
    well()
    MigrationRecorder(connection).record_applied("csplaybooks_playbooks", "0999_of_tomorrow")
    level, seen = trouble("migrations")
    assert (level, seen) == (
        "warn",
        "Applied, but not known to this code: csplaybooks_playbooks.0999_of_tomorrow",
    )


def test_a_squashed_migration_is_applied_where_all_that_it_replaces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    old = frozenset({("csplaybooks_signals", "0001_initial"), ("csplaybooks_signals", "0002_x")})
    steps = {("csplaybooks_signals", "0001_squashed"): old}
    assert database_questions._missing(steps, set(old)) == set()
    assert database_questions._missing(steps, set(list(old)[:1])) == steps.keys()


def test_before_migrate_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationRecorder, "has_table", lambda self: False)
    report = examine(now=NOW)
    red = [finding for finding in report.findings if finding.level == Level.RED]
    assert [finding.name for finding in red] == ["migrations"]
    assert "manage.py migrate" in red[0].mend


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("connection refused\nis it running?")

    database = type(connections[DEFAULT_DB_ALIAS])
    monkeypatch.setattr(database, "cursor", refuse)
    monkeypatch.setattr(database, "ensure_connection", refuse)
    found = troubles()
    assert list(found) == ["database", "broker"]
    assert found["database"][1] == "The database does not answer: connection refused"


def test_a_table_that_is_gone_is_a_finding_and_ends_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    well()

    def refuse(look: Any) -> Any:
        raise OperationalError("no such table: csplaybooks_playbooks_clock")

    monkeypatch.setattr(
        "csplaybooks.playbooks.doctor.examination.EVERYTHING",
        (*WEB, type(WEB[0])("clocks", refuse), *SYSTEM[-1:]),
    )
    from csplaybooks.playbooks.doctor import examination

    report = examine(now=NOW, questions=examination.EVERYTHING)
    assert [finding.name for finding in report.findings] == ["database", "migrations", "clocks"]
    assert "no such table" in report.findings[-1].seen


def test_a_question_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    well()

    def fail(look: Any) -> Any:
        raise KeyError("odd")

    questions = (type(WEB[0])("odd", fail), *WEB)
    report = examine(now=NOW, questions=questions)
    assert [finding.name for finding in report.findings] == ["odd", "database", "migrations"]
    assert (report.level, report.findings[0].seen) == (Level.RED, "Could not be asked: KeyError: 'odd'")


@pytest.mark.parametrize(("kind", "level"), [(Error, "red"), (Warning, "warn")])
def test_what_the_system_checks_say(monkeypatch: pytest.MonkeyPatch, kind: Any, level: str) -> None:
    well()
    message = kind("CSPLAYBOOKS has an unknown key.\nMore.", id="csplaybooks.E001")
    monkeypatch.setattr(database_questions, "run_checks", lambda: [message])
    found = trouble("system_checks")
    assert found[0] == level
    assert found[1].endswith(": csplaybooks.E001: CSPLAYBOOKS has an unknown key.")


# Schedules


def test_a_schedule_that_is_missing() -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").delete()
    assert trouble("schedules") == ("red", "There is no schedule csplaybooks:sweep.")


def test_a_schedule_that_is_there_twice() -> None:
    well()
    row = Schedule.objects.get(name="csplaybooks:sweep")
    Schedule.objects.create(name=row.name, func=row.func, schedule_type="I", minutes=1, next_run=NOW + MINUTE)
    level, seen = trouble("schedules")
    assert level == "warn"
    assert "2 schedules csplaybooks:sweep" in seen


@pytest.mark.parametrize("values", [{"minutes": 5}, {"schedule_type": "H"}, {"args": "1"}, {"func": "math.sqrt"}])
def test_a_schedule_that_is_not_as_it_was_made(values: dict[str, Any]) -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").update(**values)
    assert trouble("schedules") == ("warn", "The schedule csplaybooks:sweep is not as it was made.")


@pytest.mark.parametrize("values", [{"repeats": 0}, {"next_run": None}])
def test_a_schedule_that_has_ended(values: dict[str, Any]) -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:sweep").update(**values)
    assert trouble("schedules") == ("red", "The schedule csplaybooks:sweep has ended: it does not fire any more.")


def test_a_schedule_that_does_not_fire() -> None:
    well()
    Schedule.objects.filter(name="csplaybooks:run_full").update(next_run=NOW - 180 * SECOND)
    assert troubles() == {}
    level, seen = trouble("schedules", NOW + SECOND)
    assert level == "red"
    assert "csplaybooks:run_full should have fired 3 minutes ago" in seen


@pytest.mark.parametrize(
    "values",
    [
        {"args": "1, nonsense("},
        {"args": "open('x')"},
        {"kwargs": "[1, 2]"},
        {"schedule_type": "C", "cron": "not a cron"},
    ],
)
def test_one_unreadable_schedule_of_the_site_would_stop_them_all(values: dict[str, Any]) -> None:
    well()
    row = Schedule(name="theirs", func="theirs.task", next_run=NOW + HOUR, schedule_type="D")
    row.save()
    Schedule.objects.filter(pk=row.pk).update(**values)
    level, seen = trouble("readable_schedules")
    assert level == "red"
    assert seen.startswith(f"The schedule 'theirs' (id {row.pk}) cannot be read: ")


def test_schedules_that_can_be_read() -> None:
    well()
    for values in ({"args": "1, 'x'"}, {"kwargs": "{'x': 1}"}, {"kwargs": "x=1"}, {"schedule_type": "O"}):
        Schedule.objects.create(**{"func": "theirs.task", "next_run": NOW + HOUR, "schedule_type": "D", **values})
    assert troubles() == {}


# Heartbeats


def test_a_cluster_that_never_ran() -> None:
    well()
    Lease.objects.all().delete()
    found = troubles()
    assert [(name, level) for name, (level, _, _) in found.items()] == [("sweep", "red"), ("watcher", "red")]
    assert "Start `manage.py qcluster`" in found["sweep"][2]


@pytest.mark.parametrize("name", ["sweep", "watcher"])
def test_a_heartbeat_that_is_old(name: str) -> None:
    well()
    beat(f"csplaybooks:{name}", NOW - 180 * SECOND, expected=1, seen=1)
    assert troubles() == {}
    beat(f"csplaybooks:{name}", NOW - 181 * SECOND, expected=1, seen=1)
    level, seen, mend = troubles()[name]
    assert level == "red"
    assert "3 minutes ago" in seen
    assert "kill -9 -- -GROUP" in mend


def test_steps_of_the_sweep_that_fail() -> None:
    well()
    beat(heartbeats.SWEEP, NOW, expected=9, seen=7)
    found = examine(now=NOW)
    assert [finding.seen for finding in found.findings if finding.level == Level.RED] == [
        "2 of the 9 steps of the last sweep failed."
    ]


def test_clocks_that_could_not_be_dealt_with() -> None:
    well()
    beat(heartbeats.WATCHER, NOW, expected=4, seen=3)
    assert trouble("watcher") == ("warn", "1 of the 4 clocks that were due could not be dealt with.")


def test_the_sweep_writes_its_heartbeat_even_when_a_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_machine.travel(NOW, tick=False):
        tasks.sweep()
        lease = Lease.objects.get(name=heartbeats.SWEEP)
        assert (lease.last_run_at, lease.seen) == (NOW, lease.expected)
        monkeypatch.setattr(tasks, "judge_held", lambda now: 1 / 0)
        with pytest.raises(ExceptionGroup):
            tasks.sweep()
    lease.refresh_from_db()
    assert lease.seen == lease.expected - 1 > 0


# Clusters


def begin(times: int = 1) -> list[dict[str, Any]]:
    """What a worker does at the beginning of tasks, each after a pause."""
    begun: list[dict[str, Any]] = []
    for _ in range(times):
        heartbeats._noted = None
        begun.append({"func": "x"})
        heartbeats.task_begun(task=begun[-1])
    return begun


def test_a_monitor_that_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    # The test's connection has to last.
    monkeypatch.setattr("django_q.utils.close_old_django_connections", lambda: None)
    with time_machine.travel(NOW, tick=False):
        begin(3)
        assert troubles() == {}
        last = begin()[0]
        level, seen = trouble("clusters")
        assert level == "red"
        assert "has begun 4 tasks in a row and reported none: its monitor is dead" in seen
        heartbeats.task_reported(task=last)
        assert troubles() == {}
    assert last == {"func": "x"}


def test_a_cluster_that_is_gone_is_not_waited_for() -> None:
    well()
    with time_machine.travel(NOW - 361 * SECOND, tick=False):
        begin(4)
    assert troubles() == {}


def test_a_worker_notes_only_some_of_its_tasks() -> None:
    heartbeats._noted = None
    marked = []
    for _ in range(3):
        task: dict[str, Any] = {}
        heartbeats.task_begun(task=task)
        marked.append(heartbeats.MARK in task)
    assert marked == [True, False, False]
    assert Lease.objects.get(name=heartbeats.own_cluster_name()).expected == 1


def test_a_task_that_runs_in_the_caller_s_own_process_is_no_heartbeat() -> None:
    heartbeats._noted = None
    heartbeats.task_begun(task={"sync": True})
    assert not Lease.objects.exists()


def test_a_heartbeat_that_cannot_be_written_stops_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise OperationalError("locked")

    monkeypatch.setattr(heartbeats, "_note_begin", refuse)
    (task,) = begin()
    assert heartbeats.MARK not in task
    assert "could not write the heartbeat" in caplog.text


def test_rows_of_clusters_that_are_long_gone_are_forgotten() -> None:
    Lease.objects.create(name=heartbeats.cluster_name("old", 1), last_run_at=NOW - timedelta(days=2))
    Lease.objects.create(name=heartbeats.cluster_name("young", 1), last_run_at=NOW - HOUR)
    Lease.objects.create(name="csplaybooks:run", last_run_at=NOW - timedelta(days=2))
    with time_machine.travel(NOW, tick=False):
        begin()
    names = set(Lease.objects.values_list("name", flat=True))
    assert names == {heartbeats.own_cluster_name(), heartbeats.cluster_name("young", 1), "csplaybooks:run"}


class Stat:
    """What django-q2 says of a cluster."""

    def __init__(self, *, fetched: int, born: datetime, sentinel: int = 7) -> None:
        self.host, self.sentinel, self.task_q_size, self.tob = "machine", sentinel, fetched, born


def said(monkeypatch: pytest.MonkeyPatch, *stats: Stat, folder: Path) -> None:
    """Let a shared cache hold what clusters say of themselves."""
    import django_q.brokers
    import django_q.status

    cache = FileBasedCache(str(folder), {})
    monkeypatch.setattr(django_q.brokers.Broker, "get_cache", staticmethod(lambda: cache))
    monkeypatch.setattr(django_q.status.Stat, "get_all", lambda broker: list(stats))


def test_no_cluster_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    said(monkeypatch, folder=tmp_path)
    assert trouble("stalled_clusters") == ("red", "No cluster is running.")


def test_one_of_several_clusters_stands_still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    old = NOW - HOUR
    said(monkeypatch, Stat(fetched=2, born=old), Stat(fetched=0, born=old, sentinel=8), folder=tmp_path)
    level, seen = trouble("stalled_clusters")
    assert level == "red"
    assert seen.startswith("The cluster machine:7 has fetched 2 tasks and begun none for 60 minutes")
    # One that is at work, or has just been started.
    said(monkeypatch, Stat(fetched=2, born=NOW - MINUTE), folder=tmp_path)
    assert troubles() == {}
    Lease.objects.create(name=heartbeats.cluster_name("machine", 7), last_run_at=NOW - MINUTE)
    said(monkeypatch, Stat(fetched=2, born=old), folder=tmp_path)
    assert troubles() == {}


def test_what_clusters_say_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    well()
    said(monkeypatch, folder=tmp_path)

    def refuse(broker: Any) -> Any:
        raise ConnectionError("no")

    monkeypatch.setattr("django_q.status.Stat.get_all", refuse)
    assert trouble("stalled_clusters")[0] == "warn"


# The broker


def queued(at: datetime, *, taken: datetime | None = None) -> OrmQ:
    """A task that was queued at a moment, and perhaps taken at another."""
    with time_machine.travel(at, tick=False):
        async_task("csplaybooks.playbooks.tasks.work")
    row: OrmQ = OrmQ.objects.latest("pk")
    if taken is not None:
        OrmQ.objects.filter(pk=row.pk).update(lock=taken + timedelta(seconds=300))
    return row


def test_tasks_that_no_worker_takes() -> None:
    well()
    queued(NOW - 180 * SECOND)
    assert troubles() == {}
    queued(NOW - HOUR)
    level, seen = trouble("broker")
    assert (level, seen) == (
        "red",
        "the database answers; 2 tasks waiting, the oldest for 60 minutes: no worker takes tasks.",
    )


def test_a_task_whose_worker_was_killed_is_nothing_much() -> None:
    well()
    queued(NOW - 200 * SECOND, taken=NOW - 180 * SECOND)
    assert troubles() == {}
    queued(NOW - 200 * SECOND, taken=NOW - 181 * SECOND)
    assert trouble("unreported_tasks")[0] == "warn"


def test_tasks_that_are_taken_again_and_again() -> None:
    well()
    queued(NOW - 600 * SECOND, taken=NOW - 200 * SECOND)
    level, seen = trouble("unreported_tasks")
    assert level == "red"
    assert "1 of them taken again and again: the monitor of a cluster is dead" in seen


def test_many_tasks_that_were_never_reported_done() -> None:
    well()
    for _ in range(3):
        queued(NOW - 200 * SECOND, taken=NOW - 200 * SECOND)
    assert trouble("unreported_tasks")[0] == "red"


def test_tasks_of_another_queue_are_not_ours() -> None:
    well()
    queued(NOW - HOUR)
    OrmQ.objects.update(key="theirs")
    assert troubles() == {}


def test_a_package_that_cannot_be_read_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    well()
    row = queued(NOW - 600 * SECOND, taken=NOW - 200 * SECOND)
    OrmQ.objects.filter(pk=row.pk).update(payload=SignedPackage.dumps(["no task"]))
    assert trouble("unreported_tasks")[0] == "warn"


def test_a_broker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    well()

    def refuse(now: datetime) -> Any:
        raise ConnectionError("Connection refused")

    monkeypatch.setattr(cluster_questions, "queue", refuse)
    level, seen = trouble("broker")
    assert (level, seen) == ("red", "The broker does not answer: ConnectionError: Connection refused")


# Our own rows


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
    clock = ClockFactory(is_stale=False, next_event_at=NOW - 601 * SECOND, play__clocks_started_at=NOW)
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


# The command


def doctor(*arguments: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    told = io.StringIO()
    try:
        with time_machine.travel(NOW, tick=False):
            call_command("csplaybooks_doctor", *arguments, stdout=told, no_color=True)
    except SystemExit as ended:
        return int(ended.code or 0), told.getvalue()
    return 0, told.getvalue()


def test_the_command_prints_a_line_for_each_finding_and_what_to_do() -> None:
    well()
    status, told = doctor()
    assert status == 0
    assert told.splitlines()[-1] == "All is well."
    assert len(told.splitlines()) == len(examine(now=NOW).findings) + 1
    Schedule.objects.filter(name="csplaybooks:sweep").delete()
    status, told = doctor()
    assert status == 1
    assert (
        "red  schedules: There is no schedule csplaybooks:sweep.\n     -> Run `manage.py csplaybooks_setup`.\n" in told
    )
    assert told.splitlines()[-1] == "Something is red."


def test_warnings_fail_only_where_that_is_asked_for() -> None:
    well()
    beat(heartbeats.WATCHER, NOW, expected=2, seen=1)
    assert doctor()[0] == 0
    assert doctor("--strict")[0] == 1


def test_the_command_tells_programs() -> None:
    well()
    status, told = doctor("--json")
    answer = json.loads(told)
    assert (status, answer["status"], answer["at"]) == (0, "ok", NOW.isoformat())
    assert answer["findings"][0]["name"] == "database"
    assert set(answer["findings"][0]) == {"name", "level", "seen", "mend"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (200_000, "2 days"),
    ],
)
def test_spans_in_words(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


def test_the_worst_finding_is_the_report_s() -> None:
    assert Report(NOW, []).level == Level.OK


def test_people_who_cannot_do_what_their_role_asks_are_named():
    well()
    assert named(examine(now=NOW), "team") == [Level.OK]
    TeamMemberFactory(name="Carla", user=User.objects.create_user("carla", is_staff=True))
    report = examine(now=NOW)
    assert Level.WARN in named(report, "team")
    assert any("carla lacks the group" in finding.seen for finding in report.findings if finding.name == "team")


def named(report: Report, name: str) -> list[Level]:
    return [finding.level for finding in report.findings if finding.name == name]
