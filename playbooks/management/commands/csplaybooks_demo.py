"""Show csplaybooks at work: a sample company, a web server and a cluster, until ctrl-C. `make demo` calls this."""

from __future__ import annotations

import argparse
import http.client
import importlib.metadata
import importlib.util
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections
from django.urls import reverse
from django.utils import timezone

from csplaybooks.playbooks.demo.live import ENVIRONMENT
from csplaybooks.playbooks.demo.live import __name__ as LIVE
from csplaybooks.playbooks.demo.lock import Held, Unavailable, held, lock_file_of, mails_of
from csplaybooks.playbooks.demo.processes import Programs
from csplaybooks.playbooks.models import Lease
from csplaybooks.playbooks.pokes import poke

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How long web server and cluster may take to answer, in seconds.
_STARTS_WITHIN = 60.0
#: Between two looks at them, in seconds.
_POLL = 0.2
#: What is known of the sample account is this short of being out of date.
_FRESH = timedelta(days=4)


class Command(BaseCommand):
    """See the module."""

    help = (
        "Fill an empty database with a sample company (once), start a web server and a cluster, print how to get in, "
        "and end both with ctrl-C. What stands on the standard output is for programs to read; the rest is on the "
        "standard error."
    )
    # The tables may not be there yet.
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """See `BaseCommand.add_arguments`."""
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--host", default="127.0.0.1", help="Where to listen. Default: this machine only.")
        parser.add_argument("--seed", type=int, help="Another number makes another company.")
        parser.add_argument("--accounts", type=int, help="How many customers the company has. Default: 200.")
        parser.add_argument("--fresh", action="store_true", help="Empty the demo's database first.")
        parser.add_argument(
            "--live",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="Whether the customers go on sending, so that plays are seen opening. Default: they do.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, start, wait, end."""
        host, port = options["host"], options["port"]
        needed = ("factory", "gunicorn")
        if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
            raise CommandError(f"Not installed: {', '.join(missing)}. The extras site and demo bring them.")
        _require_free(host, port)
        # Whatever ends us early ends what was begun: the company is made whole or not at all.
        for number in _SIGNALS:
            signal.signal(number, _interrupt)
        try:
            # Before anything is touched: a second demo would give everybody new passwords, and revoke the token.
            with _only_demo(about=f"process {os.getpid()}, http://{_in_url(host)}:{port}"):
                lines = self._prepare(options)
                for line in (f"address: http://{_in_url(host)}:{port}", *lines):
                    self._print(line)
                live = self._live_cast(options, lines) if options["live"] else None
                # The programs open their own.
                connections.close_all()
                self._run(host, port, live)
        except KeyboardInterrupt:
            pass
        self._say("Stopped.")

    def _prepare(self, options: dict[str, Any]) -> list[str]:
        """Make what is missing in the database; answers the lines that say how to get in."""
        # Needs factory-boy, which only a demo has.
        from csplaybooks.playbooks.demo.company import ACCOUNTS, SEED, NotTheDemo, NotWhole, made_at, make_company
        from csplaybooks.playbooks.demo.sign_ins import renew_sign_ins, renew_token

        logging.getLogger("csplaybooks").setLevel(logging.WARNING)
        self._say("Bringing the tables up to date.")
        call_command("migrate", verbosity=0, interactive=False)
        try:
            since = made_at()
            if since is not None and options["fresh"]:
                self._say("Emptying the demo's database.")
                call_command("flush", verbosity=0, interactive=False)
                since = None
            if since is None:
                self._say("Making a sample company, with eighteen months of history. This takes half a minute.")
                began = time.monotonic()
                told = make_company(
                    now=timezone.now(),
                    seed=SEED if options["seed"] is None else options["seed"],
                    accounts=options["accounts"] or ACCOUNTS,
                )
                self._say(
                    f"Made: {told.accounts} accounts, {told.signals:,} signals, {told.readings:,} readings, "
                    f"in {time.monotonic() - began:.0f} seconds."
                )
            elif timezone.now() - since > _FRESH:
                self._say(
                    f"The sample company is of {since:%Y-%m-%d} and has stood still since. "
                    "--fresh (make demo FRESH=1) makes a new one."
                )
        except NotTheDemo as error:
            raise CommandError(
                f"{str(error)[0].upper()}{str(error)[1:]}. Name another in DATABASE_URL; this one is left as it is."
            ) from error
        except NotWhole as error:
            raise CommandError(
                f"The sample company was not made: {error} Nothing of it is kept. This is an error of the program, or "
                "of what is installed beside it: report it with these words."
            ) from error
        people = renew_sign_ins()
        token = renew_token(now=timezone.now())
        return [*(f"{role}: {name} / {password}" for role, (name, password) in people.items()), f"token: {token}"]

    def _live_cast(self, options: dict[str, Any], lines: list[str]) -> str:
        """What the live mode must know, for its environment."""
        from csplaybooks.playbooks.demo.company import SEED
        from csplaybooks.playbooks.demo.live_cast import make_live_cast

        token = lines[-1].removeprefix("token: ")
        address = f"http://{_in_url(options['host'])}:{options['port']}{reverse('csplaybooks:api:index').rstrip('/')}"
        seed = SEED if options["seed"] is None else options["seed"]
        return make_live_cast(now=timezone.now(), seed=seed, address=address, token=token).as_json()

    def _run(self, host: str, port: int, live: str | None) -> None:
        """Start web server and cluster, say when both work, and end both when we are told to or one of them dies.

        `live` is what the live mode must know; it starts when both work. None: there is none.
        """
        caught: list[float] = []
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: caught.append(time.monotonic()))
        programs = Programs()
        asked_at = timezone.now()
        try:
            programs.start("the web server", _web_server(host, port), _environment(host, port))
            programs.start("the cluster", [sys.executable, "-m", "django", "qcluster"], _environment(host, port))
            # The watcher's heartbeat is written by a worker: it shows that tasks get from here to there.
            poke("watch_clocks")
            answers: dict[str, Callable[[], bool]] = {
                "the web server": lambda: _page_answers(host, port),
                "the cluster": lambda: Lease.objects.filter(
                    name="csplaybooks:watcher", last_run_at__gte=asked_at
                ).exists(),
            }
            deadline = time.monotonic() + _STARTS_WITHIN
            while not caught:
                if dead := programs.ended():
                    raise CommandError(f"{dead[0].upper()}{dead[1:]}.")
                if answers:
                    answers = {name: answer for name, answer in answers.items() if not answer()}
                    if not answers:
                        self._print("ready")
                        if live is not None:
                            command = [sys.executable, "-m", LIVE]
                            programs.start(
                                "the live mode", command, _environment(host, port) | {ENVIRONMENT: live}, beside=True
                            )
                    elif time.monotonic() > deadline:
                        raise CommandError(f"No answer within {_STARTS_WITHIN:.0f} seconds: {', '.join(answers)}.")
                time.sleep(_POLL)
        finally:
            # Told again, we do not wait any longer; make and the terminal may both tell us of one ctrl-C.
            again = time.monotonic() + 1
            programs.stop(hurry=lambda: bool(caught) and caught[-1] > again)

    def _say(self, text: str) -> None:
        self.stderr.write(text, style_func=str)
        self.stderr.flush()

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _only_demo(*, about: str) -> Iterator[None]:
    """Be the only demo on the database while it lasts. Raises CommandError where another one is."""
    file = lock_file_of(connections[DEFAULT_DB_ALIAS].settings_dict)
    try:
        with held(file, about=about):
            yield
    except Held as other:
        raise CommandError(
            f"Another demo runs on this database ({other}). End it with ctrl-C, or name another database in "
            "DATABASE_URL (DATABASE_URL=sqlite:///other.sqlite3 make demo PORT=8001)."
        ) from None
    except Unavailable as error:
        raise CommandError(f"Whether another demo runs on this database cannot be told: {error}.") from error


def _in_url(host: str) -> str:
    """A host as a URL has it; one that stands for all of them as this machine."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared with, not bound to
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _require_free(host: str, port: int) -> None:
    """Raise CommandError where nobody could listen at `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"Cannot listen on {host}, port {port}: {error}. Choose another port (make demo PORT=8001)."
            ) from error


def _web_server(host: str, port: int) -> list[str]:
    module, _, application = settings.WSGI_APPLICATION.rpartition(".")
    command = [sys.executable, "-m", "gunicorn", "--bind", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    command += ["--workers", "1", "--threads", "2", "--log-level", "warning"]
    if int(importlib.metadata.version("gunicorn").partition(".")[0]) >= 25:
        # One socket for all servers of a user: two demos would share it.
        command.append("--no-control-socket")
    return [*command, f"{module}:{application}"]


def _environment(host: str, port: int) -> dict[str, str]:
    """Ours, with the site's settings and modules within reach. Mails become files: none ever leaves a demo."""
    environment = dict(os.environ)
    folder = mails_of(connections[DEFAULT_DB_ALIAS].settings_dict)
    environment["EMAIL_URL"] = folder.as_uri().replace("file", "filemail", 1)
    environment.setdefault("CSPLAYBOOKS_SITE_URL", f"http://{_in_url(host)}:{port}")
    environment["DJANGO_SETTINGS_MODULE"] = settings.SETTINGS_MODULE
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (sys.path[0], environment.get("PYTHONPATH"))))
    # Else what the live mode says would drown in what it does.
    environment.setdefault("LOG_LEVEL", "WARNING")
    environment.setdefault("ALLOWED_HOSTS", ",".join(dict.fromkeys((*settings.ALLOWED_HOSTS, _in_url(host)))))
    return environment


def _page_answers(host: str, port: int) -> bool:
    """Whether the page on which people sign in is shown."""
    connection = http.client.HTTPConnection(_in_url(host).strip("[]"), port, timeout=5)
    try:
        connection.request("GET", reverse("admin:login"))
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
