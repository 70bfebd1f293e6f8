"""The site as it runs on several machines, all of them this one: web servers, clusters, and who sends to them."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.utils import timezone

from csplaybooks.accounts.acts import make_token
from tests.crash.clusters import PATIENCE, Cluster, Group, wait_until
from tests.postgres import free_port


class Web(Group):
    """One web server: gunicorn's master and the process that it has serve."""

    def __init__(self, log: Path, port: int, **environment: str) -> None:
        super().__init__(
            log,
            *("-m", "gunicorn", "--config", "python:csplaybooks.gunicorn_settings", "csplaybooks.wsgi"),
            BIND=f"127.0.0.1:{port}",
            WEB_PROCESSES="1",
            **environment,
        )
        self.port = port

    def ask(self, method: str, path: str, *, body: str = "", token: str = "", cookie: str = "") -> tuple[int, str]:
        """Status and body of the answer to a request. Raises OSError or HTTPException where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/json", "Cookie": cookie}
        if token:
            headers["Authorization"] = f"Token {token}"
        try:
            connection.request(method, path, body=body or None, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_up(self) -> bool:
        """Whether it answers at all; what, is another question."""
        try:
            return self.ask("GET", "/admin/login/")[0] > 0
        except (OSError, http.client.HTTPException):
            return False


class Site:
    """Web servers and clusters, each of which can be killed whole and started again in its place."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        """Nothing runs yet; what the programs print will go into `folder`."""
        self._environment = {"REDIS_URL": redis_url, "DJANGO_SETTINGS_MODULE": "tests.cluster.settings"}
        self._logs = {name: folder / f"{name}.log" for name in ("web", "cluster")}
        self.webs: list[Web] = []
        self.clusters: list[Cluster] = []
        self.token = ""
        self.has_ended = False

    def start(self, *, webs: int, clusters: int) -> None:
        """Start so many of each; returns when all work."""
        scopes = ["signals:write", "readings:write"]
        _, self.token = make_token(name="Product", scopes=scopes, now=timezone.now(), actor=None)
        self.webs += [Web(self._logs["web"], free_port(), **self._environment) for _ in range(webs)]
        self.clusters += [Cluster(self._logs["cluster"], **self._environment) for _ in range(clusters)]
        for web in self.webs:
            wait_until(web.is_up, what="a web server")
        for cluster in self.clusters:
            cluster.workers()

    def kill_web(self, number: int) -> None:
        """Kill a web server whole, and start another on its port."""
        wait_until(self.webs[number].is_up, what="a web server")
        assert self.webs[number].kill_group() > 1
        self.webs[number] = Web(self._logs["web"], self.webs[number].port, **self._environment)

    def kill_cluster(self, number: int) -> None:
        """Kill a cluster whole, and start another."""
        # Only what is up is worth killing: main process, sentinel, monitor, pusher and workers.
        wait_until(self.clusters[number].workers, what="a worker")
        assert self.clusters[number].kill_group() > 4
        self.clusters[number] = Cluster(self._logs["cluster"], **self._environment)

    def printed(self, name: str) -> str:
        """All that the web servers ("web") or the clusters ("cluster") have printed."""
        return self._logs[name].read_text()

    def end(self) -> None:
        """Leave nobody behind."""
        self.has_ended = True
        for group in (*self.webs, *self.clusters):
            group.end()


class Senders:
    """Threads that send to both web servers in turn, each batch again and again until it is taken.

    They send no more than what was `released`.
    """

    def __init__(self, site: Site, jobs: Sequence[Sequence[tuple[str, list[dict[str, Any]]]]], *, threads: int) -> None:
        """`jobs` are requests (path, items) that must follow each other; different jobs go side by side."""
        self._site = site
        self._jobs = iter(jobs)
        self._next = threading.Lock()
        self._ports = itertools.count()
        self._room = threading.Semaphore(0)
        self.answers: list[dict[str, Any]] = []
        self.failures: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def release(self, count: int) -> None:
        """Let so many more jobs be sent."""
        for _ in range(count):
            self._room.release()

    def join(self) -> None:
        """Wait until everything is sent and taken. Raises what a sender met that it could not bear."""
        self.release(len(self._threads))  # that each sees the end
        for thread in self._threads:
            thread.join(timeout=2 * PATIENCE)
            assert not thread.is_alive(), "a sender never came to its end"
        if self.errors:
            raise self.errors[0]

    def _send_all(self) -> None:
        try:
            while True:
                self._room.acquire()
                with self._next:
                    job = next(self._jobs, None)
                if job is None:
                    return
                for path, items in job:
                    self.answers.append(self._send(path, json.dumps(items)))
        except BaseException as error:  # noqa: BLE001 - told by `join`
            self.errors.append(error)

    def _send(self, path: str, body: str) -> dict[str, Any]:
        give_up = time.monotonic() + PATIENCE
        while True:
            webs = self._site.webs
            try:
                status, answer = webs[next(self._ports) % len(webs)].ask(
                    "POST", path, body=body, token=self._site.token
                )
            except (OSError, http.client.HTTPException) as error:
                self.failures[type(error).__name__] += 1
            else:
                if status == 200:
                    document: dict[str, Any] = json.loads(answer)
                    return document
                assert status in (500, 502, 503, 504), f"{status}: {answer}"
                self.failures[str(status)] += 1
            assert not self._site.has_ended, "the site ended before all was sent"
            assert time.monotonic() < give_up, f"nobody takes {path}: {self.failures}"
            time.sleep(0.05)  # and is asked again
