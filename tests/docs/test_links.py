"""Links of the documentation lead somewhere, and what it names is there: commands, targets, settings, paths, addresses.

No network is asked: of links to elsewhere only the form is looked at, and that the host is one that is meant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.apps import apps
from django.core.management import get_commands
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from csplaybooks.conf import DEFAULTS
from tests.docs.page import CHECKOUT, DOCS, blocks_of

PAGES = [CHECKOUT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(DOCS.glob("*.md"))
NAMES = [str(page.relative_to(CHECKOUT)) for page in PAGES]

#: Where a link may lead that leaves the pages; what a reader types into a browser at home is none of them.
HOSTS: frozenset[str] = frozenset()
HERE = frozenset({"127.0.0.1"})

#: Words in capitals that are settings of others, or part of a sentence: Django's, django-q2's, pip's, pytest's, SQL.
OTHERS = frozenset(
    {
        "ACCOUNTS",
        "AUTH_USER_MODEL",
        "COMMAND",
        "DATABASES",
        "DEFAULT_AUTO_FIELD",
        "DEFAULT_FROM_EMAIL",
        "DJANGO_SETTINGS_MODULE",
        "EMAIL_BACKEND",
        "GET",
        "HEAD",
        "INSTALLED_APPS",
        "LIVE",
        "MAILERS",
        "MIDDLEWARE",
        "PORT",
        "POST",
        "Q_CLUSTER",
        "REST_FRAMEWORK",
        "ROOT_URLCONF",
        "SIGNALS",
        "SILENCED_SYSTEM_CHECKS",
        "TOKEN",
        "USE_TZ",
        "VACUUM",
        "VALUE",
    }
)

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def prose_of(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCED.sub("", page.read_text())


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, by the rule that GitHub and the built pages share."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        found.append(words if words not in found else f"{words}-{found.count(words)}")
    return frozenset(found)


def codes_of(page: Path) -> list[str]:
    """What stands in backticks."""
    return _CODE.findall(prose_of(page))


@cache
def make_targets() -> frozenset[str]:
    """The targets of the Makefile."""
    return frozenset(re.findall(r"^([a-z.][\w.-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


@cache
def variables() -> frozenset[str]:
    """What the stand-alone site and its web server read from the environment, by what their settings tell of them."""
    told = ""
    for name in ("settings.py", "gunicorn_settings.py"):
        told += ast.get_docstring(ast.parse((CHECKOUT / "csplaybooks" / name).read_text())) or ""
    return frozenset(re.findall(r"``([A-Z_]+)``", told))


@cache
def library_words() -> frozenset[str]:
    """Every word in capitals of the code and its tools, such as the names of constants."""
    words: set[str] = set()
    for folder in ("accounts", "signals", "playbooks", "csplaybooks", "tests", "bench"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            words.update(re.findall(r"^([A-Z][A-Z_]+)(?::.*)? = ", file.read_text(), re.MULTILINE))
    return frozenset(words)


@cache
def loggers() -> frozenset[str]:
    """The names of the plugin's loggers."""
    found: set[str] = set()
    for folder in ("accounts", "signals", "playbooks", "csplaybooks"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            found.update(re.findall(r'getLogger\("([\w.]+)"\)', file.read_text()))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_what_is_there(page: Path) -> None:
    broken = []
    for image, target in _LINK.findall(prose_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file():
            broken.append(f"{target}: no such file")
        elif not file.is_relative_to(CHECKOUT):
            broken.append(f"{target}: outside the checkout")
        elif page.parent == DOCS and not file.is_relative_to(DOCS):
            broken.append(f"{target}: the built pages hold nothing above docs/")
        elif anchor and anchor not in anchors_of(file):
            broken.append(f"{target}: no such heading; there are {', '.join(sorted(anchors_of(file)))}")
        elif image and not file.read_bytes().lstrip().startswith(b"<svg"):
            broken.append(f"{target}: not an SVG")
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_addresses_elsewhere_are_meant(page: Path) -> None:
    wrong = []
    for address in re.findall(r"https?://[^\s)>\"'`]+", page.read_text()):
        parts = urlsplit(address)
        example = (parts.hostname or "").endswith(".example.com") or parts.hostname == "example.com"
        if parts.hostname in HERE or example:
            continue
        if parts.scheme != "https" or parts.hostname not in HOSTS:
            wrong.append(address)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_targets_that_are_named_exist(page: Path) -> None:
    known = set(get_commands()) | {config.label for config in apps.get_app_configs()}
    text = page.read_text()
    commands = set(re.findall(r"(?<![\w./:])(csplaybooks_[a-z]+)(?![\w]*[.(])", text))
    assert sorted(commands - known) == []
    typed = " ".join([*codes_of(page), *(block.text for block in blocks_of(text) if block.language == "sh")])
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*|\.typing)", typed))
    assert sorted(targets - make_targets()) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_that_are_named_exist(page: Path) -> None:
    known = {*DEFAULTS, *variables(), *OTHERS, *library_words()}
    setting = re.compile(r"^(?:CSPLAYBOOKS_)?([A-Z][A-Z_]{2,}[A-Z])(?:=.*)?$")
    named = {word for code in codes_of(page) for word in setting.findall(code)}
    assert sorted(named - known - {"CSPLAYBOOKS"}) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_that_are_named_exist(page: Path) -> None:
    tops = {path.name for path in CHECKOUT.iterdir()} - {".git"}
    missing = []
    for code in codes_of(page):
        for word in code.split():
            path = word.strip(",;").rstrip("/").partition("::")[0]
            # A path begins with something that lies at the top of the checkout; build/ and its like are made.
            if "/" in path and path.partition("/")[0] in tops and re.fullmatch(r"[\w./@-]+", path):
                made = path.startswith((".venv/", "docs/_build"))
                if not made and not (CHECKOUT / path).exists():
                    missing.append(path)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_addresses_of_the_site_that_are_named_exist(page: Path) -> None:
    missing = []
    for address in re.findall(r"(?:127\.0\.0\.1:8000|`(?:GET |POST )?)(/[\w/?=.-]*)", page.read_text()):
        path = address.partition("?")[0].removeprefix("/expansion")
        if not path.startswith(("/api/", "/admin/", "/health/")):
            continue
        try:
            found = resolve(path)
        except Resolver404:
            missing.append(path)
            continue
        # Below /api/v1/ every address is answered; what nothing is at by this view.
        if found.url_name == "not-found":
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_of_the_code_that_are_named_exist(page: Path) -> None:
    missing = [name for name in _dotted(page) if not _is_there(name)]
    assert missing == []


def _dotted(page: Path) -> Iterator[str]:
    for code in codes_of(page):
        name = re.fullmatch(r"(csplaybooks(?:\.\w+)+)(?:\(.*\))?", code)
        # The ids of system checks look like it; their page is made from the code.
        if name and not re.search(r"\.[EWI]\d{3}$", name[1]):
            yield name[1]


def _is_there(name: str) -> bool:
    inside = CHECKOUT.joinpath(*name.split(".")[1:])
    folder = CHECKOUT / "csplaybooks" / Path(*name.split(".")[1:])
    if any(path.is_dir() or path.with_suffix(".py").is_file() for path in (inside, folder)):
        return True
    try:
        import_string(name)
    except ImportError:
        return name in loggers()
    return True


def test_acts_that_are_named_can_be_called() -> None:
    """docs/extending.md tells which acts there are: by their names, in the table."""
    from csplaybooks.accounts import acts

    table = (DOCS / "extending.md").read_text().partition("| to tell | act |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", table)
    assert len(named) > 10
    assert [name for name in named if not callable(getattr(acts, name, None))] == []


def test_the_pages_of_a_host_site_say_what_the_readme_says() -> None:
    """The blocks of the README's section are run in a host site; the page has the same ones."""
    section = (CHECKOUT / "README.md").read_text().partition("## Put it into your own Django site\n")[2]
    readme = [block.text for block in blocks_of(section)]
    page = [block.text for block in blocks_of((DOCS / "start-plugin.md").read_text())]
    assert len(readme) == 4
    assert [block for block in readme if block not in page] == []


def test_the_demo_page_says_what_the_readme_says() -> None:
    """The same lines open the same play."""
    (readme,) = (block.text for block in blocks_of((CHECKOUT / "README.md").read_text()) if "evt-1" in block.text)
    assert readme in [block.text for block in blocks_of((DOCS / "start-demo.md").read_text())]


#: A row of the table of measures: its key, its settings, how it treats nothing, what is too old, and zero.
_MEASURE = r"^\| `(\w+)` \| (.*) \| (.*) \|$"


def test_measures_guards_and_settings_of_playbooks_are_all_told() -> None:
    """docs/playbooks.md has a row for each, with all its settings; of a measure also how it treats nothing."""
    from csplaybooks.playbooks.guards import guards
    from csplaybooks.playbooks.measures import measures

    text = (DOCS / "playbooks.md").read_text()
    section = text.partition("\n## Measures\n")[2].partition("\n## ")[0]
    told = {key: (settings, treats) for key, settings, treats in re.findall(_MEASURE, section, re.MULTILINE)}
    assert sorted(told) == sorted(measures())
    for measure in measures().values():
        settings, treats = told[measure.key]
        assert [name for name in measure.settings_schema if f"`{name}`" not in settings] == [], measure.key
        assert (measure.key, treats) == (measure.key, measure.treats)
        assert treats.strip("- ")
    rows = dict(re.findall(r"^\| `(\w+)` (\|.*)$", text.partition("\n## Guards")[2], re.MULTILINE))
    for guard in guards():
        assert [name for name in guard.settings_schema if f"`{name}`" not in rows[guard.key]] == [], guard.key
    asked = [key for key in rows if key in {guard.key for guard in guards()}]
    assert asked == [guard.key for guard in guards()]
