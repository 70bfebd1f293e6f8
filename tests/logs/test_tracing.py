"""From a request to what it caused, by numbers; and no secret on the way."""

from __future__ import annotations

import json
import queue
import re
from multiprocessing import Value
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from django_q.worker import worker

from csplaybooks.accounts.factories import AccountFactory, ApiTokenFactory
from csplaybooks.logs import JsonFormatter
from csplaybooks.playbooks.api import PlayViewSet
from csplaybooks.playbooks.models import Run
from csplaybooks.signals.factories import SignalTypeFactory
from csplaybooks.signals.models import IntakeBatch
from tests.logs.test_formatters import record_of


def signal(external_id: str) -> dict[str, Any]:
    return {
        "source": "product",
        "external_id": external_id,
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": timezone.now().isoformat(),
    }


def work_off() -> None:
    """What a worker of the cluster does with the tasks that wait: django-q2's own, in this process."""
    tasks: queue.Queue[Any] = queue.Queue()
    for row in OrmQ.objects.order_by("pk"):
        tasks.put(row.task)
        row.delete()
    tasks.put("STOP")
    worker(tasks, queue.Queue(), Value("f", -1))


@pytest.mark.django_db(transaction=True)
def test_from_a_request_to_the_run_that_took_note_of_it(written):
    SignalTypeFactory(key="feature_gate_hit")
    AccountFactory(name="Acme")
    token = ApiTokenFactory()
    for number in (1, 2):
        response = Client().post(
            "/api/v1/signals/",
            json.dumps([signal(f"evt-{number}")]),
            content_type="application/json",
            headers={"Authorization": f"Token {token.value}", "X-Request-ID": f"request-{number}"},
        )
        assert response.status_code == 200
    work_off()

    first, second = IntakeBatch.objects.order_by("pk")
    assert [(line["request_id"], line["message"]) for line in written.of("csplaybooks.intake")] == [
        (
            f"request-{number}",
            f"batch {batch.pk} of signals taken in: 1 received, 1 stored, 0 duplicate, 0 conflict, 0 refused",
        )
        for number, batch in ((1, first), (2, second))
    ]
    run = Run.objects.earliest("pk")
    assert {first.seen_by_run, second.seen_by_run} == {run.pk}
    (line,) = written.of("csplaybooks.runs")
    assert f"2 intake batches ({first.pk} to {second.pk})" in line["message"]
    assert (line["run"], line["task"], line["request_id"]) == (str(run.pk), "csplaybooks:run_changed", None)
    assert re.fullmatch("[0-9a-f]{32}", line["task_id"])
    # The task is over, and no later line is taken for one of it.
    document = json.loads(JsonFormatter().format(record_of()))
    assert (document["task"], document["run"]) == (None, None)


def test_a_poke_carries_nothing_of_the_request(db, written, django_capture_on_commit_callbacks):
    SignalTypeFactory(key="feature_gate_hit")
    AccountFactory(name="Acme")
    token = ApiTokenFactory()
    with django_capture_on_commit_callbacks(execute=True):
        Client().post(
            "/api/v1/signals/",
            json.dumps([signal("evt-1")]),
            content_type="application/json",
            headers={"Authorization": f"Token {token.value}", "X-Request-ID": "request-1"},
        )
    task = OrmQ.objects.get().task
    assert (task["args"], task["kwargs"]) == ((), {})
    assert "request-1" not in repr(task)


@pytest.mark.django_db
def test_secrets_do_not_get_into_the_log(written, monkeypatch):
    token, user = ApiTokenFactory(), get_user_model().objects.create_superuser("carla", password="pass-secret-word")
    bearer = {"Authorization": f"Token {token.value}"}
    client = Client(raise_request_exception=False)
    client.get("/admin/login/")
    wrong = {"username": "carla", "password": "wrong-secret-word"}
    client.post("/admin/login/?next=/admin/", wrong)
    assert client.login(username="carla", password="pass-secret-word")
    client.get("/admin/?code=query-secret-word")
    client.post("/admin/login/?next=/admin/", {"username": "carla", "password": "pass-secret-word"})
    client.get("/api/v1/plays/", headers=bearer)
    client.get("/api/v1/plays/", headers={"Authorization": "Token csp_not-a-secret-word"})
    client.get("/api/v1/plays/?token=query-secret-word", headers=bearer)
    client.post("/api/v1/signals/", "{", content_type="application/json", headers=bearer)
    csrf = Client(enforce_csrf_checks=True)
    csrf.get("/admin/login/")
    csrf.post("/admin/login/", {"username": "carla", "password": "pass-secret-word"})

    def fail(self: Any, request: Any) -> None:
        secret = request.headers.get("Authorization")
        raise ZeroDivisionError(f"{len(secret or '')} characters")

    monkeypatch.setattr(PlayViewSet, "list", fail)
    assert client.get("/api/v1/plays/", headers=bearer).status_code == 500

    cookies = [morsel.value for one in (client, csrf) for morsel in one.cookies.values() if morsel.value]
    assert len(cookies) >= 3
    secrets = [token.value, token.digest.hex() if isinstance(token.digest, bytes) else token.digest, user.password]
    for secret in (*secrets, *cookies, "secret-word"):
        assert secret not in written.text
    # It was listened to.
    assert len(written.of("csplaybooks.requests")) == 11
    assert "ZeroDivisionError" in written.text
