"""`make demo`: everything starts, the README's third hit becomes an owned play, and ctrl-C leaves nobody behind."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from csplaybooks.playbooks.demo.live import __name__ as live_module
from csplaybooks.playbooks.demo.lock import Held, held, lock_file_of, mails_of
from csplaybooks.playbooks.demo.processes import Programs
from csplaybooks.playbooks.management.commands.csplaybooks_demo import _environment

CHECKOUT = Path(__file__).resolve().parents[2]
#: Long for a busy machine; what is waited for is asked for all the time.
PATIENCE = 180.0
#: What the live mode says before it tells a story; the playbook at its end.
SAID = re.compile(r".+: ([A-Z][a-z ]+)\.")


def wait_for(what: Callable[[], Any], *, within: float = PATIENCE) -> Any:
    """What `what` answers as soon as it is true; fails when it never is."""
    deadline = time.monotonic() + within
    while not (answer := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)  # between two looks
    return answer


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lines_of(stream: IO[str]) -> queue.Queue[str]:
    """The lines of a stream as they come; an empty one at its end."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


class Demo:
    """A running demo, as somebody at a terminal meets it."""

    def __init__(self, database: Path, *options: str) -> None:
        self.port = free_port()
        self.said = database.with_suffix(".log")
        environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        environment |= {"DATABASE_URL": f"sqlite:///{database}", "SECRET_KEY": "for this test only"}
        with self.said.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "csplaybooks_demo", "--port", str(self.port), *options],
                cwd=CHECKOUT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self._lines = lines_of(self.process.stdout)
        self.family: list[psutil.Process] = []

    def ready(self) -> dict[str, str]:
        """Wait for `ready`; answers what was printed before it, by its name."""
        printed = {}
        while (line := self._lines.get(timeout=PATIENCE)) != "ready":
            assert line, self.said.read_text()
            name, _, value = line.partition(": ")
            printed[name] = value
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        return printed

    def end(self) -> None:
        """Leave nobody behind, whatever the test came to."""
        for process in (*self.family, *_children(self.process.pid)):
            if process.is_running():
                process.kill()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def _has_ended(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def live_programs(demo: Demo) -> list[psutil.Process]:
    """The live mode of a running demo."""
    return [process for process in _children(demo.process.pid) if process.cmdline()[-1] == live_module]


def call(address: str, token: str, body: Any = None) -> Any:
    """What the API answers; no proxy between."""
    request = Request(  # noqa: S310 - the demo's own address
        address,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Token {token}", "Content-Type": "application/json"},
    )
    with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
        return json.load(response)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos on one database, and ends them at last."""
    demos: list[Demo] = []

    def start_one(*options: str) -> Demo:
        demos.append(Demo(tmp_path / "demo.sqlite3", *options))
        return demos[-1]

    yield start_one
    for demo in demos:
        demo.end()


@pytest.mark.any_database
def test_demo_from_an_empty_database_to_an_owned_play_and_back(start: Callable[..., Demo]) -> None:
    demo = start("--accounts", "6")
    printed = demo.ready()
    address, token = printed["address"], printed["token"]
    assert list(printed) == ["address", "csm", "ae", "manager", "token"]
    assert address == f"http://127.0.0.1:{demo.port}"
    assert all(len(printed[role].split(" / ")) == 2 for role in ("csm", "ae", "manager"))
    plays = f"{address}/api/v1/plays/?account=acme"
    assert call(plays, token)["results"] == []

    hit = {
        "source": "product",
        "external_id": "evt-1",
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "actor": "u-17",
    }
    assert call(f"{address}/api/v1/signals/", token, [hit])["stored"] == 1
    (play,) = wait_for(lambda: [one for one in call(plays, token)["results"] if one["clocks"]])
    assert (play["stage"], play["owner"]["name"]) == ("owned", "Carla Mendes")
    assert {clock["target"]: clock["state"] for clock in play["clocks"]} == {
        "first_touch": "running",
        "closed": "running",
    }

    # A second one on the same database leaves passwords and token as they are.
    second = start()
    assert second.process.wait(timeout=PATIENCE) == 1
    assert f"Another demo runs on this database (process {demo.process.pid}, {address})" in second.said.read_text()
    # Workers may still have something to do with the play, such as its first step.
    assert [(one["id"], one["owner"]) for one in call(plays, token)["results"]] == [(play["id"], play["owner"])]

    # Ctrl-C. The web server, the cluster and all that they started end with it.
    assert len(demo.family) >= 6
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=PATIENCE) == 0, demo.said.read_text()
    assert [process for process in demo.family if process.is_running()] == []

    # Again: the company is there, the token is a new one, and the old one is of no use.
    again = start()
    printed_again = again.ready()
    plays_again = f"{printed_again['address']}/api/v1/plays/?account=acme"
    (play_again,) = call(plays_again, printed_again["token"])["results"]
    assert (play_again["id"], play_again["owner"]) == (play["id"], play["owner"])
    assert printed_again["token"] != token
    # When one of the two dies, the other does not live on alone.
    cluster = next(process for process in again.family if process.cmdline()[-1] == "qcluster")
    cluster.kill()
    assert again.process.wait(timeout=PATIENCE) == 1
    assert "The cluster ended by itself (signal 9)." in again.said.read_text()
    assert [process for process in again.family if process.is_running()] == []


@pytest.mark.any_database
def test_live_customers_open_plays_before_ones_eyes(start: Callable[..., Demo]) -> None:
    demo = start("--accounts", "40")
    printed = demo.ready()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    # It says what comes, and names the playbook that opens.
    line = wait_for(lambda: next((line for line in demo.said.read_text().splitlines() if SAID.fullmatch(line)), None))
    playbook = SAID.fullmatch(line)[1].lower().replace(" ", "_")  # type: ignore[index]  # it matched above

    def opened() -> list[Any]:
        newest = f"{printed['address']}/api/v1/plays/?playbook={playbook}&updated_since={began.replace('+', '%2B')}"
        plays = call(newest, printed["token"])["results"]
        return [play for play in plays if play["opened_at"] >= began[:19] and play["owner"] and play["clocks"]]

    assert wait_for(opened)

    # It leaves the account of the README alone, and ends with the others.
    assert call(f"{printed['address']}/api/v1/plays/?account=acme", printed["token"])["results"] == []
    (live,) = live_programs(demo)
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=PATIENCE) == 0, demo.said.read_text()
    assert not live.is_running()

    still = start("--no-live")
    still.ready()
    assert live_programs(still) == []


@pytest.mark.any_database
def test_ending_the_demo_while_it_makes_the_company_leaves_nothing_half_made(start: Callable[..., Demo]) -> None:
    demo = start("--accounts", "200")
    wait_for(lambda: "Making a sample company" in demo.said.read_text())
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(timeout=PATIENCE) == 0, demo.said.read_text()
    assert "Stopped." in demo.said.read_text()

    whole = start("--accounts", "2")
    printed = whole.ready()
    whole.process.send_signal(signal.SIGTERM)
    assert whole.process.wait(timeout=PATIENCE) == 0
    assert printed["token"]
    assert "Made: 2 accounts" in whole.said.read_text()


@pytest.mark.any_database
def test_programs_end_with_all_they_started_even_if_they_will_not() -> None:
    programs = Programs()
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "time.sleep(600)"
    )
    programs.start("the stubborn", [sys.executable, "-c", stubborn], os.environ)
    parent = psutil.Process(next(iter(programs.pids())))
    (child,) = wait_for(parent.children)
    assert programs.ended() is None
    # What runs beside the others may end, and they go on.
    programs.start("the brief", [sys.executable, "-c", ""], os.environ, beside=True)
    wait_for(lambda: len([pid for pid in programs.pids() if _has_ended(pid)]) == 1)
    assert programs.ended() is None

    programs.stop(hurry=lambda: True)

    assert not child.is_running()
    assert not parent.is_running()


def test_a_port_in_use_is_told_before_the_long_work(capsys: pytest.CaptureFixture[str]) -> None:
    # Without access to a database: the command has not got that far.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"Cannot listen on 127\.0\.0\.1, port {port}"):
            call_command("csplaybooks_demo", port=port)
    assert capsys.readouterr().out == ""


def test_a_second_demo_on_the_database_is_refused_before_it_touches_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Without access to a database, too.
    with (
        held(lock_file_of(connection.settings_dict), about="process 17, http://there"),
        pytest.raises(CommandError, match=r"Another demo .*\(process 17, http://there\)\. End it with ctrl-C, or name"),
    ):
        call_command("csplaybooks_demo", port=free_port())
    assert capsys.readouterr().out == ""


def test_the_lock_ends_with_its_process_even_when_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    holder = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from csplaybooks.playbooks.demo.lock import held\n"
        "with held(Path(sys.argv[1]), about='the other'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(file)], cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(Held, match="the other"), held(file, about="us"):
                pass
        finally:
            process.kill()
    with held(file, about="us"):
        assert file.read_text() == "us\n"


def test_the_lock_belongs_to_the_database_and_not_to_who_signs_in(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite3").symlink_to(tmp_path / "a.sqlite3")
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "a.sqlite3"}
    assert lock_file_of(sqlite) == tmp_path.resolve() / "a.sqlite3-demo.lock"
    assert lock_file_of({**sqlite, "NAME": str(tmp_path / "link.sqlite3")}) == lock_file_of(sqlite)
    postgres = {"ENGINE": "django.db.backends.postgresql", "HOST": "db", "PORT": "", "NAME": "a", "USER": "ann"}
    assert lock_file_of({**postgres, "USER": "bob"}) == lock_file_of(postgres)
    assert lock_file_of({**postgres, "NAME": "b"}) != lock_file_of(postgres)


def test_no_mail_ever_leaves_a_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_URL", "smtp://mail.example.com")
    told = _environment("127.0.0.1", 8001)
    folder = mails_of(connection.settings_dict)
    assert told["EMAIL_URL"] == f"filemail://{folder}"
    # Beside the lock: a database in a file and one on a server are named differently.
    assert folder.name == lock_file_of(connection.settings_dict).name.removesuffix(".lock") + "-mails"
    assert told["CSPLAYBOOKS_SITE_URL"] == "http://127.0.0.1:8001"
