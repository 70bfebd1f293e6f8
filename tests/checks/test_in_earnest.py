"""What somebody reads who has forgotten something: `manage.py check` of a host, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.host_site.host import blocks_of_the_readme

CHECKOUT = Path(__file__).resolve().parents[2]

SETTINGS = """
SECRET_KEY = "for tests only"
ROOT_URLCONF = "pages"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages",
    "csplaybooks", "csplaybooks.accounts", "csplaybooks.signals", "csplaybooks.playbooks",
    "django_q", "django_filters", "rest_framework",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
}}
Q_CLUSTER = {"name": "mysite", "orm": "default", "workers": 2, "queue_limit": 2, "timeout": 60,
             "retry": 300, "max_attempts": 3, "ack_failures": True, "catch_up": False, "save_limit": -1}
"""

PAGES = """
from django.urls import include, path

urlpatterns = [path("expansion/", include("csplaybooks.urls"))]
"""


def check(folder: Path, change: str = "", *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `check` on a host whose settings end with the lines of `change`."""
    (folder / "host_settings.py").write_text(SETTINGS + change)
    (folder / "pages.py").write_text(PAGES)
    return subprocess.run(
        [sys.executable, "-m", "django", "check", *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(folder), str(CHECKOUT)]),
            "DJANGO_SETTINGS_MODULE": "host_settings",
        },
    )


def test_the_host_has_its_apps_in_the_order_of_the_readme_and_of_the_site() -> None:
    """Before django_q, or nothing of ours is asked before it stumbles."""
    apps = re.compile(r'"((?:csplaybooks|django_|rest_)[\w.]*)"')
    order = apps.findall(SETTINGS)

    assert order.index("csplaybooks") < order.index("django_q")
    assert apps.findall(blocks_of_the_readme()["python"][0]) == order
    assert [name for name in settings.INSTALLED_APPS if name in order] == order


def test_a_host_that_has_all(tmp_path: Path) -> None:
    answer = check(tmp_path, "", "--database", "default", "--fail-level", "INFO")

    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert answer.stdout == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize("name", ["csplaybooks", "csplaybooks.signals", "django_q"])
def test_a_missing_app_is_one_message(tmp_path: Path, name: str) -> None:
    """Models of ours would else be taken for those of the app `csplaybooks`, in silence."""
    answer = check(tmp_path, f"INSTALLED_APPS.remove({name!r})", "--fail-level", "WARNING")

    assert answer.returncode == 1
    assert f"INSTALLED_APPS lacks {name!r}" in answer.stderr
    assert f"\tHINT: Add to INSTALLED_APPS: {name!r}.\n" in answer.stderr
    assert answer.stderr.endswith("\nSystem check identified 1 issue (0 silenced).\n"), answer.stderr


@pytest.mark.parametrize(
    ("change", "last"),
    [
        (
            'INSTALLED_APPS = [name for name in INSTALLED_APPS if not name.startswith("csplaybooks.")]',
            "INSTALLED_APPS lacks csplaybooks.accounts, which csplaybooks needs. Add to INSTALLED_APPS: "
            "'csplaybooks.accounts', 'csplaybooks.signals', 'csplaybooks.playbooks'.",
        ),
        (
            'INSTALLED_APPS = [name for name in INSTALLED_APPS if name not in ("csplaybooks", "csplaybooks.signals")]',
            "INSTALLED_APPS lacks csplaybooks.signals, which csplaybooks.playbooks needs. "
            "Add to INSTALLED_APPS: 'csplaybooks.signals', 'csplaybooks'.",
        ),
        (
            'INSTALLED_APPS.remove("django.contrib.auth")',
            "INSTALLED_APPS lacks django.contrib.auth, which csplaybooks needs. "
            "Add to INSTALLED_APPS: 'django.contrib.auth'.",
        ),
        (
            'INSTALLED_APPS.remove("django.contrib.admin")',
            "INSTALLED_APPS lacks django.contrib.admin, which csplaybooks needs. "
            "Add to INSTALLED_APPS: 'django.contrib.admin'.",
        ),
    ],
)
def test_where_django_cannot_get_as_far_as_its_checks_the_last_line_tells(
    tmp_path: Path, change: str, last: str
) -> None:
    answer = check(tmp_path, change)

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1] == f"django.core.exceptions.ImproperlyConfigured: {last}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            'Q_CLUSTER["retry"] = "300"',
            "Q_CLUSTER['retry'] must be a number, not str ('300'). Write it without quotes.",
        ),
        ('Q_CLUSTER["workers"] = "two"', "Q_CLUSTER['workers'] must be a number, not str ('two'). Write it without"),
        ('Q_CLUSTER["retry"] = None', "Q_CLUSTER['retry'] must be a number, not NoneType (None)."),
        ("Q_CLUSTER = [2]", "Q_CLUSTER must be a dict, not list."),
        (
            'Q_CLUSTER["log_level"] = "debug"',
            "Q_CLUSTER['log_level'] is 'debug'; it must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL.",
        ),
        (
            'Q_CLUSTER["save_limit_per"] = "day"',
            "Q_CLUSTER['save_limit_per'] is 'day'; it must be 'group', 'name' or 'func'.",
        ),
        ('Q_CLUSTER["error_reporter"] = "sentry"', "Q_CLUSTER['error_reporter'] must be a dict, not str ('sentry')."),
        (
            'import os\nos.environ["Q_CLUSTER_NAME"] = "long"',
            "The environment has Q_CLUSTER_NAME=long, but there is no Q_CLUSTER['ALT_CLUSTERS'] with its settings.",
        ),
    ],
)
def test_what_django_q_would_stumble_over_is_told_by_us(tmp_path: Path, change: str, told: str) -> None:
    answer = check(tmp_path, change)

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith(f"django.core.exceptions.ImproperlyConfigured: {told}")


def test_an_error_stands_with_its_mend(tmp_path: Path) -> None:
    answer = check(tmp_path, 'CSPLAYBOOKS = {"TIME_ZON": "Europe/Berlin"}')

    assert answer.returncode == 1
    assert answer.stderr == (
        "SystemCheckError: System check identified some issues:\n\n"
        "ERRORS:\n"
        "?: (csplaybooks.E001) The setting CSPLAYBOOKS has an unknown key 'TIME_ZON'.\n"
        "\tHINT: Did you mean 'TIME_ZONE'?\n\n"
        "System check identified 1 issue (0 silenced).\n"
    )


def test_a_warning_stops_nothing(tmp_path: Path) -> None:
    answer = check(tmp_path, 'Q_CLUSTER["retry"] = 120')

    assert answer.returncode == 0
    assert "(csplaybooks.W008) Q_CLUSTER['retry'] is 120, and must be above 180" in answer.stderr
    assert '\tHINT: Set "retry": 271, or a shorter "timeout".\n' in answer.stderr
