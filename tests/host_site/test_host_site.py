"""A release goes into a site that has accounts and signals of its own, as the README says, and both work.

The site asks nothing of the database that the other tests run on: it starts its own, and runs once, beside SQLite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests import postgres
from tests.host_site.host import EMAIL, PASSWORD, Host, environment_with, wait_for
from tests.host_site.pages import Visitor
from tests.release import built_release

pytestmark = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql",
    reason="runs once, beside the tests on SQLite, and on PostgreSQL by itself",
)

#: What the names of each kind have to begin with. Constraints and indexes have but 30 characters.
PREFIXES = {
    "labels": ("csplaybooks",),
    "tables": ("csplaybooks_",),
    "constraints": ("csp_",),
    "indexes": ("csp_",),
    "permissions": ("csplaybooks_",),
    "commands": ("csplaybooks_",),
    "templates": ("csplaybooks/", "admin/csplaybooks_"),
    "static files": ("csplaybooks/",),
    "template libraries": ("csplaybooks",),
    "schedules": ("csplaybooks:",),
    "addresses": ("csplaybooks:", "admin:csplaybooks_"),
    "checks": ("csplaybooks.",),
    "loggers": ("csplaybooks",),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel was installed; psycopg the host had before."""
    wheel = built_release(tmp_path_factory).wheel
    return environment_with(wheel, tmp_path_factory.mktemp("installed") / "venv", "psycopg[binary]")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The site, set up as the README says; its programs are ended afterwards, and nobody is left."""
    folder = tmp_path_factory.mktemp(request.param) / "site"
    if request.param == "sqlite":
        yield from running(Host(folder, python))
        return
    binaries = postgres.find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries on this machine")
    with postgres.throwaway_server(binaries) as address:
        url = urlsplit(address)
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.removeprefix("/"),
            "USER": url.username,
            "PASSWORD": url.password,
            "HOST": url.hostname,
            "PORT": url.port,
        }
        yield from running(Host(folder, python, database))


on_sqlite = pytest.mark.parametrize("host", ["sqlite"], indirect=True)
on_both = pytest.mark.parametrize("host", ["sqlite", "postgresql"], indirect=True)


def running(host: Host) -> Iterator[Host]:
    """Lend a host whose database is made; then end what it started."""
    try:
        host.cluster = host.follow_the_readme()
        yield host
    finally:
        host.end()
    assert list(host.members()) == []


@on_sqlite
def test_checks_are_silent_and_no_migration_is_missing(host: Host) -> None:
    """For all apps: the host's other primary keys write no migration into the plugin, and its own are its own."""
    assert "(0 silenced)" in host.manage("check", "--fail-level", "WARNING", "--database", "default")
    assert "No changes detected" in host.manage("makemigrations", "--check", "--dry-run")
    assert "[ ]" not in host.manage("showmigrations")


@on_sqlite
def test_names_do_not_clash_and_are_marked_as_ours(host: Host) -> None:
    source = Path(__file__).with_name("names.py").read_text()
    found: dict[str, dict[str, list[str]]] = json.loads(host.manage("shell", "--no-imports", "-c", source))

    assert set(found) == set(PREFIXES) - ({"template libraries"} - set(found))
    unmarked = {
        kind: [name for name in names["ours"] if not name.startswith(PREFIXES[kind])] for kind, names in found.items()
    }
    assert unmarked == {kind: [] for kind in found}
    clashes = {kind: sorted(set(names["ours"]) & set(names["others"])) for kind, names in found.items()}
    assert clashes == {kind: [] for kind in found}
    # What would clash without the mark is there, the host's beside ours: else this test could not fail.
    host_names = {
        "labels": {"accounts", "signals"},
        "tables": {"accounts_account", "signals_signal"},
        "permissions": {"accounts.add_account", "signals.add_signal"},
        "commands": {"setup", "doctor"},
        "templates": {"accounts/list.html", "signals/list.html"},
        "addresses": {"api:signals", "accounts:list", "admin:accounts_account_changelist"},
    }
    for kind, names in host_names.items():
        assert names <= set(found[kind]["others"]), kind
    assert {"csplaybooks_accounts.add_account", "csplaybooks_signals.add_signal"} <= set(found["permissions"]["ours"])
    assert {"csplaybooks:api:signals", "admin:csplaybooks_accounts_account_changelist"} <= set(
        found["addresses"]["ours"]
    )
    assert host.manage("setup").strip() == "the host's own setup"


@on_both
def test_signals_of_a_newcomers_account_become_an_owned_play(host: Host) -> None:
    """The whole way, by HTTP: signed in to the host's admin, everything made by its forms, signals by a token."""
    host.start(host.cluster)
    visitor = host.serve()
    signed_in = visitor.fill_in("/admin/", "login-form", username=EMAIL, password=PASSWORD)
    assert "Django-Verwaltung" in signed_in.text
    token = make_an_account(visitor)
    static_files_have_their_hashes(visitor, signed_in.text)

    now = datetime.now(UTC)
    readings = [
        {"meter": "seats", "used": 15, "limit": 20, "external_id": "r-1"},
        {"meter": "health", "used": 90, "external_id": "r-2"},
    ]
    hits = [{"type": "feature_gate_hit", "actor": f"u-{number}", "external_id": f"evt-{number}"} for number in range(3)]
    common = {"source": "product", "account": "acme", "occurred_at": now.isoformat()}
    program = Visitor(visitor.site)
    for name, items in (("readings", readings), ("signals", hits)):
        answer = program.send(f"/expansion/api/v1/{name}/", [common | item for item in items], token)
        assert (answer.status, answer.json()["stored"]) == (200, len(items)), answer.text

    def owned() -> Any:
        host.check_programs()
        page = program.ask("/expansion/api/v1/plays/?account=acme", Authorization=f"Token {token}")
        assert page.status == 200, page.text
        return [play for play in page.json()["results"] if play["owner"] and play["clocks"]]

    (play,) = wait_for(owned, that=f"the play:\n{host.said()}")
    assert (play["playbook"], play["stage"], play["owner"]["name"]) == ("gate_knocker", "owned", "Carla Mendes")
    # By our rules, whatever the host says of dates.
    assert datetime.fromisoformat(play["updated_at"]) >= now
    listed = visitor.ask("/admin/csplaybooks_playbooks/play/").text
    assert "Acme" in listed
    assert "Carla Mendes" in listed
    assert visitor.ask(f"/admin/csplaybooks_playbooks/play/{play['id']}/change/").status == 200, host.said()
    # By the session too, as people read it.
    assert visitor.ask("/expansion/api/v1/accounts/").json()["results"][0]["name"] == "Acme"

    every_list_opens(visitor, signed_in.text)
    each_answers_in_its_own_way(program)
    assert not re.search("^(ERROR|CRITICAL|Traceback)", host.said(), re.MULTILINE), host.said()


def make_an_account(visitor: Visitor) -> str:
    """Make what the README says in the admin, and something to sell; answers a token's value."""
    made = "/admin/csplaybooks_accounts"
    since = (datetime.now(UTC) - timedelta(days=200)).date().isoformat()

    def add(kind: str, **values: str | list[str]) -> str:
        page = visitor.fill_in(f"{made}/{kind}/add/", f"{kind}_form", _save="on", **values)
        assert page.status == 200, page.text
        assert urlsplit(page.address).path == f"{made}/{kind}/", page.text
        return page.text

    def id_in(text: str, kind: str) -> str:
        # The latest of the list; thousands have no separator in an address.
        return str(max(re.findall(rf"/{kind}/(\d+)/change/", text), key=int))

    product = id_in(add("product", key="base", name="Base", is_base="on", list_price_minor="490.00"), "product")
    add("plan", product=product, key="team", name="Team", rank="1", price_minor="490.00", seat_price_minor="25.00")
    member = id_in(add("teammember", name="Carla Mendes", is_customer_success_manager="on"), "teammember")
    add(
        "account",
        name="Acme",
        lifecycle="paying",
        segment="mid_market",
        customer_since=since,
        activated_on=since,
        csm=member,
        **{"identities-TOTAL_FORMS": "1", "identities-0-source": "crm", "identities-0-external_id": "acme"},
    )
    scopes = ["signals:write", "readings:write", "accounts:read", "plays:read"]
    said = add("apitoken", name="product", scopes=scopes)
    found = re.search(r"The token is (\S+) ", said)
    assert found, said
    return str(found[1])


def static_files_have_their_hashes(visitor: Visitor, index: str) -> None:
    """The host's storage names every file by what is in it, the plugin's too, and has them all."""
    pages = index + visitor.ask("/admin/csplaybooks_playbooks/play/").text
    files = set(re.findall(r"""(?:href|src)="(/assets/[^"]+)\"""", pages))
    assert files
    for file in files:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", file), file
        assert visitor.ask(file).status == 200


def every_list_opens(visitor: Visitor, index: str) -> None:
    """All tables of the plugin are in the host's admin, beside its own."""
    lists = set(re.findall(r'href="(/admin/\w+/\w+/)"', index))
    assert len([address for address in lists if "/csplaybooks_" in address]) > 20
    assert {"/admin/accounts/account/", "/admin/signals/signal/"} <= lists
    assert [address for address in sorted(lists) if visitor.ask(address).status != 200] == []


def each_answers_in_its_own_way(program: Visitor) -> None:
    """The host's REST_FRAMEWORK is for its own views, and none of it for ours; its pages are its own."""
    theirs, ours = program.ask("/api/v1/signals/"), program.ask("/expansion/api/v1/plays/")
    assert (theirs.status, theirs.text) == (418, "{'HOST SAYS': 'NO'}")
    assert (ours.status, ours.headers.get_content_type()) == (401, "application/problem+json")
    assert "The host's own accounts" in program.ask("/accounts/").text
    assert "The host's own signals" in program.ask("/signals/").text
