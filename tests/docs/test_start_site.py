"""docs/start-site.md is followed word by word, in an empty folder, with a release installed apart."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import IO, Any

import pytest
from django.conf import settings

from tests.docs.page import DOCS, Block, Table, parts_of
from tests.host_site.host import PASSWORD, environment_with, wait_for
from tests.host_site.pages import Visitor
from tests.release import built_release

pytestmark = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql",
    reason="the page is about SQLite: it is followed once, beside the tests on SQLite",
)

PAGE = (DOCS / "start-site.md").read_text()
_DONE = "the block is done"


class Newcomer:
    """Somebody in front of three terminals and a browser. What they type is what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._here = f"127.0.0.1:{probe.getsockname()[1]}"
        self._environment = {
            "PATH": os.environ["PATH"],
            # A terminal asks for the password; here nobody sits before it.
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            # The page's port may be taken on this machine.
            "BIND": self._here,
        }
        self.token = ""
        self._said: list[IO[bytes]] = []
        self._programs: list[subprocess.Popen[Any]] = []
        self._first = self._start(["bash", "-eu", "-o", "pipefail"], stdin=subprocess.PIPE)
        self.browser = Visitor(f"http://{self._here}")
        #: The pages of the admin, and the ids of the rows made there, by the words on the screen.
        self._tables: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def _start(self, words: list[str], **options: Any) -> subprocess.Popen[bytes]:
        log = (self.folder / f"terminal-{len(self._programs) + 1}.log").open("wb")
        self._said.append(log)
        program = subprocess.Popen(
            words,
            cwd=self.folder,
            env=self._environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        self._programs.append(program)
        return program

    def said(self) -> str:
        """What all terminals show."""
        return "\n".join(f"--- {log.name}\n{Path(log.name).read_text()}" for log in self._said)

    def type(self, block: Block) -> str:
        """Type a block into the terminal that it is for; answers what the first one then shows."""
        text = block.text.replace("127.0.0.1:8000", self._here).replace("TOKEN=...", f"TOKEN={self.token}")
        if block.mark:
            self._start(["bash", "-eu", "-c", text])
            return ""
        return self.run(text.replace("createsuperuser ", "createsuperuser --no-input "))

    def run(self, text: str) -> str:
        """Run lines in the first terminal, and wait for them; answers what they print."""
        shown = Path(self._said[0].name)
        begins = shown.stat().st_size
        assert self._first.stdin is not None
        self._first.stdin.write(f"{text}\necho '{_DONE}'\n".encode())
        self._first.stdin.flush()

        def answer() -> str:
            return shown.read_bytes()[begins:].decode()

        def done() -> bool:
            assert self._first.poll() is None, f"{text}\n{self.said()}"
            return answer().endswith(f"{_DONE}\n")

        wait_for(done, that=f"{text}\n{self.said()}")
        return answer().removesuffix(f"{_DONE}\n")

    def sign_in(self) -> None:
        """Open the admin and sign in, unless that was done."""
        if self._tables:
            return
        wait_for(self._site_answers, that=f"the web server\n{self.said()}")
        page = self.browser.fill_in("/admin/", "login-form", username="admin", password=PASSWORD)
        self._tables = {
            unescape(name): address
            for address, name in re.findall(r'<a href="(/admin/\w+/\w+/)"[^>]*>([^<]+)</a>', page.text)
        }

    def has_swept(self) -> bool:
        """Whether the schedules were looked at."""
        return "Processed 'csplaybooks.playbooks.tasks.sweep'" in self.said()

    def _site_answers(self) -> bool:
        with socket.socket() as probe:
            host, _, port = self._here.partition(":")
            return probe.connect_ex((host, int(port))) == 0

    def fill_in(self, table: Table) -> str:
        """Add a row in the admin as a table of the page says: fields by the names on the screen."""
        name = table.before.removeprefix("**").partition("**")[0]
        address = self._tables[name]
        form = f"{address.split('/')[-2]}_form"
        page = self.browser.ask(f"{address}add/").text
        values: dict[str, str | list[str]] = {"_save": "on"}
        for field, entered in table.rows:
            values |= self._field(page, field, self._meant(entered))
        after = self.browser.fill_in(f"{address}add/", form, **values)
        assert after.address.endswith(address), f"{name}: {values}\n{after.text}"
        ids = re.findall(rf'{address}(\d+)/change/"[^>]*>([^<]+)<', after.text)
        self._ids |= {unescape(shown): pk for pk, shown in ids}
        return after.text

    @staticmethod
    def _meant(entered: str) -> list[str]:
        if exact := re.findall("`([^`]+)`", entered):
            return exact
        if entered in ("a day half a year ago", "the same day"):
            return [(datetime.now(UTC).date() - timedelta(days=182)).isoformat()]
        assert entered == "tick", entered
        return ["on"]

    def _field(self, page: str, field: str, values: list[str]) -> dict[str, str | list[str]]:
        """A field of the form by the words on the screen, with what is sent for what was entered."""
        if inline := re.fullmatch(r"\*(Add another .+)\*: (.+)", field):
            # A row of a table on the form: its columns are named by their heads.
            prefix = re.search(rf'"name": "#(\w+)"[^<]*"addText": "{inline[1]}"', unescape(page))
            assert prefix, inline[1]
            (column,) = {
                name
                for name, words in re.findall(r'<th class="column-(\w+)[^"]*">\s*([^<]+?)\s*<', page)
                if words == inline[2] and f'name="{prefix[1]}-__prefix__-{name}"' in page
            }
            return {f"{prefix[1]}-0-{column}": values, f"{prefix[1]}-TOTAL_FORMS": "1"}
        labels = {unescape(words).strip().rstrip(":"): name for name, words in _labels(page)}
        assert field in labels, f"no field {field!r} among {sorted(labels)}"
        name = labels[field]
        if options := re.findall(
            r'<option value="([^"]*)"[^>]*>([^<]*)</option>', _within(page, rf'<select name="{name}"', "</select>")
        ):
            by_words = {unescape(words).strip(): value for value, words in options}
            # A list that is filled while one types has no options on the page.
            return {name: [by_words.get(value) or self._ids[value] for value in values]}
        if f'<select name="{name}"' in page:
            return {name: [self._ids[value] for value in values]}
        return {name: values}

    def leave(self) -> None:
        """End what was started, and all that it started, at once: nobody asks what becomes of it."""
        for program in self._programs:
            try:
                os.killpg(program.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            program.wait()
        assert self._first.stdin is not None
        self._first.stdin.close()
        for log in self._said:
            log.close()


def _labels(page: str) -> list[tuple[str, str]]:
    """The labels of a form: the name of the field, and the words."""
    labels = re.findall(r'<label[^>]*? for="id_(\w+?)(?:_0)?"[^>]*>\s*([^<]+?)\s*</label>', page)
    # Choices to tick have one label for all of them, which is for none.
    among = r"<label(?![^>]* for=)[^>]*>\s*([^<]+?)\s*</label>\s*<div[^>]*>.*?name=\"(\w+)\""
    shared = re.findall(among, page, re.DOTALL)
    return [*labels, *((name, words) for words, name in shared)]


def _within(text: str, begin: str, end: str) -> str:
    found = re.search(f"{begin}.*?{end}", text, re.DOTALL)
    return found[0] if found else ""


@pytest.fixture
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """Somebody in an empty folder, with what the page's first block installs."""
    folder = tmp_path_factory.mktemp("newcomer")
    # With its extra, as pip is told it.
    wheel = Path(f"{built_release(tmp_path_factory).wheel}[site]")
    environment_with(wheel, folder / "venv")
    person = Newcomer(folder)
    try:
        yield person
    finally:
        person.leave()


def test_the_page_leads_from_an_empty_folder_to_the_first_play(newcomer: Newcomer) -> None:
    """Every block in its order and every table in the admin; what the page says of the answers is so."""
    install, *parts = [part for part in parts_of(PAGE) if isinstance(part, Block) or part.header == ("field", "enter")]
    assert isinstance(install, Block)
    assert 'pip install "csplaybooks[site]"' in install.text
    newcomer.run(". venv/bin/activate")
    answers: list[str] = []
    for part in parts:
        if isinstance(part, Table):
            newcomer.sign_in()
            shown = newcomer.fill_in(part)
            if token := re.search(r"The token is (\S+) ", shown):
                newcomer.token = token[1]
        elif "csplaybooks_doctor" in part.text:
            # Half a minute, as the page says. To ask the doctor all the while is dear.
            wait_for(newcomer.has_swept, that=f"the sweep\n{newcomer.said()}")
            line = part.text.strip()
            answers.append(newcomer.run(f"until {line} > doctor.txt; do sleep 1; done; cat doctor.txt"))
        elif "/plays/" in part.text:
            found: list[str] = []

            def play_is_there(block: Block = part, found: list[str] = found) -> bool:
                found[:] = [newcomer.type(block)]
                return bool(json.loads(found[0])["results"])

            wait_for(play_is_there, that=f"the play\n{newcomer.said()}")
            answers += found
        else:
            answers.append(newcomer.type(part))
            if "rdg-1" in part.text:
                _is_held(newcomer)

    said = "\n".join(answers)
    assert "made: 5 groups" in said
    assert "16 playbooks, 2 schedules" in said
    assert "All is well." in said
    assert '"stored": 3' in said.replace('"stored":3', '"stored": 3')
    (play,) = json.loads(answers[-1])["results"]
    assert (play["playbook"], play["expected_amount"]) == ("gate_knocker", "710.00")
    assert play["owner"]["name"] == "Carla Mendes"
    assert len(play["clocks"]) == 2
    assert "Gate knocker" in newcomer.browser.ask("/admin/csplaybooks_playbooks/play/").text


def _is_held(newcomer: Newcomer) -> None:
    """As the page says: under Matches, held by the guard unhealthy, with its reason."""

    def held() -> bool:
        page = newcomer.browser.ask("/admin/csplaybooks_playbooks/match/?held_by=unhealthy").text
        return "Acme" in page

    wait_for(held, that=f"the match that is held\n{newcomer.said()}")
    listed = newcomer.browser.ask("/admin/csplaybooks_playbooks/match/?held_by=unhealthy").text
    address = re.search(r"/admin/csplaybooks_playbooks/match/\d+/change/", listed)
    assert address, listed
    assert "health is unknown" in unescape(newcomer.browser.ask(address[0]).text)
