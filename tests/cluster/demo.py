"""`make demo-cluster`: the sample company on a throwaway PostgreSQL and Redis, two web servers and three clusters.

Ends with ctrl-C, SIGTERM or the death of whoever started it (`make`), and leaves no process behind. What stands on the
standard output is for programs to read; the rest is on the standard error.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

from csplaybooks.playbooks.demo.processes import Programs
from tests import postgres, redis
from tests.postgres import end_with_parent

CHECKOUT = Path(__file__).resolve().parents[2]
WEBS = 2
CLUSTERS = 3
#: How long all may take to work, in seconds.
STARTS_WITHIN = 120.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Refused(Exception):
    """Why it cannot start, in a sentence."""


def main() -> int:
    """Prepare, start, wait, end; answers the exit status."""
    port = int(os.environ.get("PORT") or 8000)
    accounts = int(os.environ.get("ACCOUNTS") or 0)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    # Killed with kill -9, make can tell us nothing.
    end_with_parent(signal.SIGTERM)
    try:
        with _services() as environment:
            ports = [port + number for number in range(WEBS)]
            for one in ports:
                _require_free(one)
            lines = _prepare(environment, accounts)
            for line in (*(f"address: http://127.0.0.1:{one}" for one in ports), *lines):
                _print(line)
            _tell_how_to_watch(environment)
            _run(ports, environment)
    except Refused as reason:
        _say(str(reason))
        return 1
    except KeyboardInterrupt:
        pass
    _say("Stopped.")
    return 0


@contextlib.contextmanager
def _services() -> Iterator[dict[str, str]]:
    """PostgreSQL and Redis while it lasts; yields the environment of a site on them."""
    binaries, binary = postgres.find_binaries(), redis.find_binary()
    if missing := [name for name, found in (("postgresql", binaries), ("redis-server", binary)) if found is None]:
        raise Refused(f"Not on this machine: {', '.join(missing)} (on Debian: apt-get install {' '.join(missing)}).")
    assert binaries is not None
    assert binary is not None
    _say("Starting a PostgreSQL and a Redis that are thrown away at the end.")
    with postgres.throwaway_server(binaries) as database_url, redis.throwaway_redis(binary) as server:
        yield {
            "DATABASE_URL": database_url,
            "REDIS_URL": server.url,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DJANGO_SETTINGS_MODULE": "csplaybooks.settings",
            # No mail ever leaves a demo.
            "EMAIL_URL": f"filemail://{Path(tempfile.gettempdir()) / 'csplaybooks-demo-cluster-mails'}",
        }


def _prepare(environment: Mapping[str, str], accounts: int) -> list[str]:
    """Make tables, sample company and sign-ins; answers the lines that say how to get in."""
    os.environ.update(environment)
    import django
    from django.core.management import call_command
    from django.db import connections
    from django.utils import timezone

    django.setup()
    from csplaybooks.playbooks.demo.company import ACCOUNTS, make_company
    from csplaybooks.playbooks.demo.sign_ins import renew_sign_ins, renew_token

    call_command("migrate", verbosity=0, interactive=False)
    _say("Making the sample company.")
    make_company(now=timezone.now(), accounts=accounts or ACCOUNTS)
    people = renew_sign_ins()
    token = renew_token(now=timezone.now())
    # The programs open their own.
    connections.close_all()
    return [*(f"{role}: {name} / {password}" for role, (name, password) in people.items()), f"token: {token}"]


def _tell_how_to_watch(environment: Mapping[str, str]) -> None:
    words = " ".join(f"{name}={value}" for name, value in environment.items() if name != "DJANGO_SETTINGS_MODULE")
    _say(
        f"To look into it, in another terminal:\n\n  export {words}\n  .venv/bin/python manage.py csplaybooks_doctor\n"
    )


def _run(ports: list[int], environment: Mapping[str, str]) -> None:
    """Start the programs, say when all work, and end them when we are told to or one of them dies."""
    from django.utils import timezone

    from csplaybooks.playbooks.models import Lease
    from csplaybooks.playbooks.pokes import poke

    caught: list[float] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, frame: caught.append(time.monotonic()))
    programs = Programs()
    asked_at = timezone.now()
    try:
        for count, port in enumerate(ports, start=1):
            command = ["gunicorn", "--config", "python:csplaybooks.gunicorn_settings", "csplaybooks.wsgi"]
            web = {**os.environ, **environment, "BIND": f"127.0.0.1:{port}"}
            programs.start(f"web server {count}", [sys.executable, "-m", *command], web)
        for count in range(1, CLUSTERS + 1):
            command = [sys.executable, "-m", "django", "qcluster"]
            programs.start(f"cluster {count}", command, {**os.environ, **environment})
        # Its heartbeat is written by a worker: it shows that tasks get from here to there.
        poke("watch_clocks")
        answers: dict[str, Callable[[], bool]] = {
            f"the web server on port {port}": lambda port=port: _answers(port) for port in ports
        }
        answers["the clusters"] = lambda: Lease.objects.filter(
            name="csplaybooks:watcher", last_run_at__gte=asked_at
        ).exists()
        deadline = time.monotonic() + STARTS_WITHIN
        while not caught:
            if dead := programs.ended():
                raise Refused(f"{dead[0].upper()}{dead[1:]}.")
            if answers:
                answers = {name: answer for name, answer in answers.items() if not answer()}
                if not answers:
                    _print("ready")
                elif time.monotonic() > deadline:
                    raise Refused(f"No answer within {STARTS_WITHIN:.0f} seconds: {', '.join(answers)}.")
            time.sleep(0.2)  # between two looks
    finally:
        # Told again, we do not wait any longer; make and the terminal may both tell us of one ctrl-C.
        again = time.monotonic() + 1
        programs.stop(hurry=lambda: bool(caught) and caught[-1] > again)


def _answers(port: int) -> bool:
    """Whether the page on which people sign in is shown."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/admin/login/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise Refused(
                f"Cannot listen on port {port}: {error}. Choose others (PORT=8100 takes 8100 and 8101)."
            ) from error


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
