"""A host site: an environment with the plugin's wheel in it, a project, a database, a web server and a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from tests.host_site.pages import Visitor
from tests.release import CHECKOUT

#: Longer than anything takes that works at all, on a busy machine.
PATIENCE = 90.0
PROJECT = Path(__file__).with_name("project")
EMAIL, PASSWORD = "hanna@host.example", "a long one, for this test"


def wait_for(what: Callable[[], Any], *, that: str) -> Any:
    """What `what` answers as soon as it is true. Raises AssertionError, saying what was waited for, if it never is."""
    give_up = time.monotonic() + PATIENCE
    while not (answer := what()):
        assert time.monotonic() < give_up, f"waited {PATIENCE} seconds for {that}"
        time.sleep(0.05)  # between two looks
    return answer


def environment_with(wheel: Path, folder: Path, *extras: str) -> Path:
    """Make a virtual environment in `folder`, install the wheel as its users do, and answer its Python.

    Of what the wheel asks for it gets the versions that are pinned, so that the test is the same from day to day.
    `extras` are packages that the host has for itself.
    """
    # Without pip: ours installs into it, and nothing is there but what is asked for.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    pins = str(CHECKOUT / "requirements" / "site.txt")
    answer = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", "--constraint", pins, str(wheel), *extras],
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return python


def blocks_of_the_readme() -> dict[str, list[str]]:
    """The code blocks of the README's section for host sites, by language, in order."""
    text = (CHECKOUT / "README.md").read_text()
    section = text.partition("## Put it into your own Django site\n")[2].partition("\n## ")[0]
    blocks: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        blocks.setdefault(language, []).append(block)
    return blocks


class Host:
    """The host project in a folder of its own, with the README's lines in it and its database made."""

    def __init__(self, folder: Path, python: Path, database: Mapping[str, Any] | None = None) -> None:
        """`database` is Django's settings for it; None is SQLite in `folder`."""
        self.folder = folder
        self._python = python
        #: The command that works tasks off, as the README names it.
        self.cluster = ""
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        # Nothing of the environment of whoever runs the tests: it names settings and databases of the checkout.
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error::DeprecationWarning,error::PendingDeprecationWarning",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        if database is not None:
            self._environment["HOST_DATABASES"] = json.dumps({"default": dict(database)})
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
        settings, on_sqlite, urls = blocks_of_the_readme()["python"]
        # As the README says of the second line: what is there already is left out.
        assert settings.count('"rest_framework"') == 1
        settings = settings.replace(', "rest_framework"', "")
        self._add("mysite/settings.py", settings + (on_sqlite if database is None else ""))
        self._add("mysite/urls.py", urls)

    def _add(self, name: str, lines: str) -> None:
        file = self.folder / name
        file.write_text(f"{file.read_text()}\n{lines}")

    def manage(self, *words: str) -> str:
        """Run a command of the host's manage.py; answers what it printed. Raises AssertionError when it failed."""
        answer = subprocess.run(
            [self._python, "manage.py", *words],
            cwd=self.folder,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, f"{' '.join(words)[:80]}\n{answer.stdout}\n{answer.stderr}"
        return answer.stdout

    def follow_the_readme(self) -> str:
        """Run its commands but the last, which stays beside the web server; answers what that one is.

        What a site does anyway when something new was installed is done too: its static files are collected.
        """
        (commands,) = blocks_of_the_readme()["sh"]
        words = [line.removeprefix("python manage.py ").split() for line in commands.splitlines()]
        for command in words[:-1]:
            self.manage(*command)
        self.manage("collectstatic", "--no-input", "--verbosity", "0")
        self.manage("createsuperuser", "--no-input", "--email", EMAIL)
        return words[-1][0]

    def start(self, *words: str) -> None:
        """Start a command of manage.py that stays, in a process group of its own."""
        log = (self.folder / f"{words[0]}.log").open("wb")
        self._logs.append(log)
        self._running.append(
            subprocess.Popen(
                [self._python, "-u", "manage.py", *words],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def serve(self) -> Visitor:
        """Start the web server; answers a visitor who can reach it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.start("runserver", "--noreload", f"127.0.0.1:{port}")
        wait_for(lambda: self.check_programs() and _answers(port), that="the web server")
        return Visitor(f"http://127.0.0.1:{port}")

    def check_programs(self) -> bool:
        """True. Raises AssertionError when one of the programs has ended by itself."""
        ended = [program.args for program in self._running if program.poll() is not None]
        assert not ended, f"{ended} ended by itself:\n{self.said()}"
        return True

    def said(self) -> str:
        """What the programs that stay have printed so far."""
        return "\n".join(Path(log.name).read_text() for log in self._logs)

    def members(self) -> Iterator[psutil.Process]:
        """All processes of the groups that were started, which still live."""
        groups = {program.pid for program in self._running}
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue

    def end(self) -> None:
        """End the programs as a supervisor does: ask, wait, and then kill whatever is left of their groups."""
        for program in self._running:
            if program.poll() is None:
                program.terminate()
        try:
            for program in self._running:
                program.wait(timeout=PATIENCE)
        finally:
            for program in self._running:
                try:
                    os.killpg(program.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                program.wait()
            for log in self._logs:
                log.close()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
