"""`/health/live` and `/health/ready`: the status for all, the findings for those who may; cheap, and never old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from django_q.models import Schedule

from csplaybooks import health
from csplaybooks.accounts.acts import make_token
from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.playbooks import heartbeats
from csplaybooks.playbooks.doctor import Report
from csplaybooks.playbooks.leases import beat
from csplaybooks.playbooks.models import Lease
from tests.at_once import at_once
from tests.operations.examining import NOW, well

pytestmark = pytest.mark.django_db

LIVE, READY = "/health/live", "/health/ready"


def get(address: str = READY, client: Any = None, **headers: str) -> Any:
    """The answer now."""
    with time_machine.travel(NOW, tick=False):
        return (client or Client()).get(address, headers=headers)


def token(*scopes: str, **limits: Any) -> dict[str, str]:
    """The header of a token with these scopes."""
    made = make_token(name="Monitor", scopes=scopes, now=datetime(2026, 1, 1, tzinfo=UTC), actor=None, **limits)
    return {"Authorization": f"Token {made[1]}"}


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise OperationalError("connection to 10.0.0.5 refused")


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer."""
    database = type(connections[DEFAULT_DB_ALIAS])
    monkeypatch.setattr(database, "cursor", refuse)
    monkeypatch.setattr(database, "ensure_connection", refuse)


def test_live_asks_no_database(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = get(LIVE)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_live_answers_whatever_is_wrong(no_database: None) -> None:
    answer = get(LIVE, **{"Authorization": "Token wrong", "Cookie": "sessionid=abc"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_tells_the_status_and_no_more() -> None:
    well()
    answer = get()
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    Lease.objects.all().delete()
    answer = get()
    assert (answer.status_code, answer.json()) == (503, {"status": "red"})


def schedule_twice() -> None:
    """One of our schedules stands there twice, which the doctor warns of."""
    row = Schedule.objects.get(name="csplaybooks:sweep")
    Schedule.objects.create(
        name=row.name, func=row.func, schedule_type=row.schedule_type, minutes=row.minutes, next_run=row.next_run
    )


def test_a_warning_wakes_nobody() -> None:
    well()
    schedule_twice()
    assert get().json() == {"status": "ok"}


class Ticks:
    """The monotonic clock of this process, which goes on as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("csplaybooks.health.time.monotonic", lambda: self.now)
        # In place of what every other test is told.
        monkeypatch.setattr(health, "KEPT_SECONDS", 1.0)
        for name in ("_kept_web", "_kept_system"):
            monkeypatch.setattr(health, name, health.Kept(getattr(health, name)._questions))


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    return Ticks(monkeypatch)


def stop_sweeping() -> None:
    beat(heartbeats.SWEEP, NOW - timedelta(hours=1), expected=1, seen=1)


def test_what_everybody_is_told_is_kept_for_a_second(ticks: Ticks, django_assert_num_queries: Any) -> None:
    well()
    assert get().status_code == 200
    stop_sweeping()
    ticks.now += 0.99
    with django_assert_num_queries(0):
        assert get().json() == {"status": "ok"}
    ticks.now += 0.01
    assert get().status_code == 503
    beat(heartbeats.SWEEP, NOW, expected=1, seen=1)
    assert get().status_code == 503
    ticks.now += 1
    assert get().status_code == 200


def test_each_address_has_its_own_answer(ticks: Ticks) -> None:
    # No cluster has ever run.
    assert get().status_code == 503
    assert get(f"{READY}?only=web").status_code == 200
    assert get().status_code == 503


def test_who_may_know_more_is_told_anew(ticks: Ticks) -> None:
    well()
    header = token("health:read")
    client = Client()
    client.force_login(UserFactory(is_superuser=True))
    assert get().status_code == 200
    assert (get(**header).status_code, get(client=client).status_code) == (200, 200)
    stop_sweeping()
    assert (get(**header).status_code, get(client=client).status_code) == (503, 503)
    # Nor does what they are told become what everybody is.
    assert get().json() == {"status": "ok"}


@pytest.mark.parametrize("headers", [{"Authorization": "Token csp_x"}, {"Cookie": f"sessionid={'a' * 32}"}])
def test_nothing_kept_hides_that_nobody_can_be_known(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    assert get(f"{READY}?only=web").status_code == 200
    database = type(connections[DEFAULT_DB_ALIAS])
    monkeypatch.setattr(database, "cursor", refuse)
    monkeypatch.setattr(database, "ensure_connection", refuse)
    assert get(f"{READY}?only=web", **headers).status_code == 503


def test_many_at_once_cost_one_examination(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    examined = []

    def examine(**kwargs: Any) -> Report:
        examined.append(kwargs)
        return Report(NOW, [])

    monkeypatch.setattr(health, "examine", examine)
    kept = health.Kept(())
    reports = at_once(*[kept.report] * 5)
    assert len(examined) == 1
    assert all(report is reports[0] for report in reports)


def test_ready_is_cheap(django_assert_num_queries: Any) -> None:
    well()
    get()
    postgresql = connection.vendor == "postgresql"
    # Database; migrations (2); schedules; leases; broker (2); batches; changes; matches; plays; unclocked; clocks (2);
    # mails (2); full run and round. On PostgreSQL the bound on time as well, and the three statements of its savepoint.
    with django_assert_num_queries(18 + 4 * postgresql):
        get()
    with django_assert_num_queries(3 + 4 * postgresql):
        get(f"{READY}?only=web")


def test_a_load_balancer_asks_for_what_one_web_process_needs() -> None:
    # No cluster has ever run: that is no reason to take the web processes out.
    assert get().status_code == 503
    answer = get(f"{READY}?only=web")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    MigrationRecorder.Migration.objects.filter(app="csplaybooks_playbooks").delete()
    assert get(f"{READY}?only=web").status_code == 503


@pytest.mark.parametrize("address", [READY, f"{READY}?only=web"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Token csp_x"}, {"Cookie": "sessionid=abc"}])
def test_without_a_database_it_is_red_for_everybody(no_database: None, address: str, headers: dict[str, str]) -> None:
    answer = get(address, **headers)
    assert (answer.status_code, answer.json()) == (503, {"status": "red"})


@pytest.mark.parametrize(
    "address",
    [f"{READY}?only=all", f"{READY}?only=web&only=web", f"{READY}?only=", f"{READY}?full=1", f"{LIVE}?only=web"],
)
def test_unknown_parameters_are_refused(address: str) -> None:
    answer = get(address)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options", "trace"])
@pytest.mark.parametrize("address", [LIVE, READY])
def test_they_can_only_be_read(address: str, method: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)(address)
    assert answer.status_code == 405
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("address", [LIVE, f"{READY}?only=web"])
def test_head_tells_the_status_by_its_code(address: str) -> None:
    answer = Client().head(address)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("address", [LIVE, READY, f"{READY}?only=x"])
def test_nobody_on_the_way_keeps_an_answer(address: str) -> None:
    assert get(address).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "image/png"])
def test_a_probe_may_ask_for_anything(accept: str) -> None:
    assert get(LIVE, Accept=accept).json() == {"status": "ok"}


# Who may read the findings


def assert_told(answer: Any) -> None:
    body = answer.json()
    assert answer.status_code == 503
    assert body["status"] == "red"
    sweep = next(finding for finding in body["findings"] if finding["name"] == "sweep")
    assert sweep["level"] == "red"
    assert "qcluster" in sweep["mend"]


def test_a_token_for_it_is_told_everything() -> None:
    assert_told(get(**token("health:read")))


def test_a_warning_is_told_among_the_findings() -> None:
    well()
    header = token("health:read")
    schedule_twice()
    body = get(**header).json()
    assert body["status"] == "ok"
    assert "warn" in {finding["level"] for finding in body["findings"]}


@pytest.mark.parametrize(
    ("scopes", "limited", "code"),
    [(["plays:read"], False, "missing_scope"), (["health:read"], True, "limited_token")],
)
def test_another_token_is_refused_in_words(scopes: list[str], limited: bool, code: str) -> None:
    limits = {"account_ids": [AccountFactory().pk]} if limited else {}
    answer = get(**token(*scopes, **limits))
    assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_a_wrong_token_is_refused() -> None:
    answer = get(Authorization="Token csp_wrong")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_unknown")
    assert answer.headers["Cache-Control"] == "no-store"


def test_who_sees_everything_is_told_everything() -> None:
    client = Client()
    client.force_login(UserFactory(is_superuser=True))
    assert_told(get(client=client))


@pytest.mark.parametrize("member", [False, True])
def test_others_are_told_what_everybody_is(member: bool) -> None:
    user = UserFactory()
    if member:
        TeamMemberFactory(user=user, is_manager=True)
    client = Client()
    client.force_login(user)
    assert get(client=client).json() == {"status": "red"}


# In a host


@override_settings(ROOT_URLCONF="tests.operations.host_urls")
def test_they_are_found_below_the_host_s_own_prefix() -> None:
    assert get("/growth/health/live").status_code == 200
    assert get("/growth/health/ready?only=web").status_code == 200


def test_no_log_in_wall_stands_before_them(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert get(LIVE).status_code == 200
    assert get(f"{READY}?only=web").status_code == 200


def test_no_transaction_is_begun_for_them(monkeypatch: pytest.MonkeyPatch, no_database: None) -> None:
    monkeypatch.setitem(connections[DEFAULT_DB_ALIAS].settings_dict, "ATOMIC_REQUESTS", True)
    assert get(LIVE).status_code == 200
    assert get().json() == {"status": "red"}
