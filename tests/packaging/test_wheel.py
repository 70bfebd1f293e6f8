"""What a release holds: all of the five folders and nothing else, found under one package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import csplaybooks

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("accounts", "signals", "playbooks", "templates")

# One build for all of them.
pytestmark = pytest.mark.xdist_group("release")


def files_of_the_checkout() -> list[str]:
    """Return the paths of all files that a commit of everything would hold."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Build sdist and wheel from a copy of the checkout; return their paths and the copied files' names.

    A copy, since a build in place would leave files behind and pick up what earlier ones left.
    """
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of files to hold the wheel against")
    copy = tmp_path_factory.mktemp("checkout")
    dist = tmp_path_factory.mktemp("dist")
    names = files_of_the_checkout()
    for name in names:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, target)
    build = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, copy],
        cwd=copy,
        check=False,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    return SimpleNamespace(wheel=wheel, sdist=sdist, names=names)


def test_wheel_holds_the_five_folders_and_nothing_else(release: SimpleNamespace) -> None:
    expected = {name for name in release.names if name.startswith("csplaybooks/")} | {
        f"csplaybooks/{name}" for name in release.names if name.partition("/")[0] in ROOMS
    }
    with zipfile.ZipFile(release.wheel) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert sorted(found - expected) == []
    assert sorted(expected - found) == []
    assert "csplaybooks/accounts/apps.py" in found
    assert "csplaybooks/playbooks/static/csplaybooks/admin.css" in found


def test_sdist_holds_the_tests_and_what_runs_them(release: SimpleNamespace) -> None:
    top = f"csplaybooks-{csplaybooks.__version__}"
    with tarfile.open(release.sdist) as sdist:
        found = {name.removeprefix(f"{top}/") for name in sdist.getnames()}
    expected = {
        name
        for name in release.names
        if name.partition("/")[0] in {"tests", "docs", "requirements", "csplaybooks", *ROOMS}
    } | {"manage.py", "Makefile", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"}

    assert sorted(expected - found) == []


HOST_SETTINGS = """
SECRET_KEY = "for tests only"
USE_TZ = True
ROOT_URLCONF = "host_urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "host.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
}}
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles",
    "django_q", "django_filters", "rest_framework", "accounts",
    "csplaybooks", "csplaybooks.accounts", "csplaybooks.signals", "csplaybooks.playbooks",
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
STATIC_URL = "static/"
Q_CLUSTER = {
    "name": "host", "orm": "default", "workers": 2, "queue_limit": 2, "timeout": 60, "retry": 300,
    "max_attempts": 3, "ack_failures": True, "catch_up": False,
}
"""

HOST_URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("expansion/", include("csplaybooks.urls"))]
"""

HOST_MODELS = """
from django.db import models


class Account(models.Model):
    name = models.CharField(max_length=10)
"""

ASK_THE_HOST = """
import django
django.setup()

import accounts.models
import csplaybooks
import csplaybooks.accounts.models
from django.apps import apps
from django.core.management import call_command

assert len(csplaybooks.__path__) == 1, csplaybooks.__path__
assert apps.get_model("accounts", "Account") is accounts.models.Account
assert apps.get_model("csplaybooks_accounts", "Account") is csplaybooks.accounts.models.Account
call_command("check", fail_level="WARNING")
call_command(
    "makemigrations", "csplaybooks_accounts", "csplaybooks_signals", "csplaybooks_playbooks",
    check_changes=True, dry_run=True,
)
call_command("migrate", run_syncdb=True, verbosity=0)
from django.contrib import admin
from django.contrib.staticfiles import finders

assert finders.find("csplaybooks/admin.css")
# The admin is the host's.
import host_urls
assert admin.site.site_header == admin.AdminSite.site_header
print("host is well")
"""


def test_wheel_serves_a_host_that_has_accounts_of_its_own(release: SimpleNamespace, tmp_path: Path) -> None:
    """The host also differs in DEFAULT_AUTO_FIELD, which must not write migrations into the package."""
    installed, host = tmp_path / "installed", tmp_path / "host"
    shutil.unpack_archive(release.wheel, installed, "zip")
    (host / "accounts").mkdir(parents=True)
    (host / "accounts" / "__init__.py").touch()
    (host / "accounts" / "models.py").write_text(HOST_MODELS)
    (host / "host_settings.py").write_text(HOST_SETTINGS)
    (host / "host_urls.py").write_text(HOST_URLS)

    answer = subprocess.run(
        [sys.executable, "-c", ASK_THE_HOST],
        cwd=host,
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(host), str(installed)]),
            "DJANGO_SETTINGS_MODULE": "host_settings",
        },
    )

    assert answer.stdout.endswith("host is well\n"), answer.stdout + answer.stderr
