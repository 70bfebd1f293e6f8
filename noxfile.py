"""The suite on the oldest and the newest pair of Python and Django, with the newest and the lowest dependencies.

    nox                                                     all four sessions, everything, on both databases
    nox -s 'suite-3.11(lowest)' -- --on sqlite              one of them, on one database
    nox -s 'suite-3.13(newest)' -- tests/api -n 0           what follows is pytest's
    nox -- --on sqlite --brief                              without the tests that start real processes, and with
                                                            a fourth of the examples that hypothesis tries

Newest is what the package index has today, not the pins of `requirements/`: that is where news breaks first. Lowest are
the floors that pyproject.toml names, whatever has come since; the tools of the tests are the newest in both.
`make versions` runs this file, and `.ci/run` a choice of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

#: What belongs together: Python 3.11 can run nothing above Django 5.2.
PAIRS = {"3.11": "django>=5.2,<5.3", "3.13": "django>=6.1,<6.2"}

#: What `--brief` leaves out. These tests wait for clusters, web servers, builds and installations: they are most of
#: what takes long, and ask about processes and files, which other versions of the dependencies hardly change. They
#: have been run by `make test` wherever that was run.
PROCESSES = (
    "tests/browser",
    "tests/bench",
    "tests/cluster",
    "tests/crash",
    "tests/demo",
    "tests/deploy",
    "tests/docs",
    "tests/host_site",
    "tests/operations/test_stalled_clusters.py",
    "tests/packaging",
)

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
# A missing interpreter is told and skipped, in CI too, where nox would fail for it.
nox.options.error_on_missing_interpreters = False
# The machine's own interpreters only.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# uv reads none of pip's settings: where packages come from is told to both alike.
for _pip, _uv in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
    _asked = [sys.executable, "-m", "pip", "config", "get"]
    for _place in (":env:", "global"):
        _answer = subprocess.run([*_asked, f"{_place}.{_pip}"], check=False, capture_output=True, text=True)
        if _answer.returncode == 0:
            os.environ.setdefault(_uv, _answer.stdout.strip())


def _folder_of(version: str) -> Path | None:
    """Where an interpreter lies that pyenv has installed, but does not show on the PATH; None: nowhere."""
    pyenv = shutil.which("pyenv")
    root = os.environ.get("PYENV_ROOT") or (
        subprocess.run([pyenv, "root"], check=False, capture_output=True, text=True).stdout.strip() if pyenv else ""
    )
    found = Path(root, "versions").glob(f"{version}.*/bin/python{version}") if root else ()
    return max((path.parent for path in found), default=None, key=lambda path: int(path.parent.name.rsplit(".", 1)[1]))


def _runs(program: str) -> bool:
    """Whether a program is on the PATH and can be run: a shim of pyenv's may be there for nothing."""
    return bool(shutil.which(program)) and (
        subprocess.run([program, "-c", ""], check=False, capture_output=True).returncode == 0
    )


for _version in PAIRS:
    if not _runs(f"python{_version}") and (_folder := _folder_of(_version)):
        os.environ["PATH"] = f"{_folder}{os.pathsep}{os.environ['PATH']}"


def _options(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """What the command line says after `--`: our options, and what is left for pytest."""
    parser = argparse.ArgumentParser(prog="nox --", allow_abbrev=False)
    parser.add_argument("--on", action="append", choices=["sqlite", "postgresql"], help="which database; default both")
    parser.add_argument(
        "--brief", action="store_true", help="without the tests that start real processes, and with fewer examples"
    )
    return parser.parse_known_args(words)


@nox.session(python=list(PAIRS))
@nox.parametrize("dependencies", [nox.param(name, id=name) for name in ("newest", "lowest")])
def suite(session: nox.Session, dependencies: str) -> None:
    """The tests, with every warning an error, on SQLite and on a throwaway PostgreSQL."""
    options, for_pytest = _options(session.posargs)
    pins = Path(session.create_tmp(), "pins.txt").resolve()
    django = pins.with_name("django.txt")
    django.write_text(PAIRS[str(session.python)])
    asked = ["--extra=site", "--extra=redis", "--extra=demo", f"--constraint={django}"]
    session.run_install(
        *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--upgrade", "--only-binary=:all:"),
        f"--resolution={'lowest-direct' if dependencies == 'lowest' else 'highest'}",
        *(f"--python={session.virtualenv.location}", f"--output-file={pins}", *asked, "pyproject.toml"),
        silent=True,
    )
    # Not the package itself: the tests ask the checkout, and have the wheel built where they ask the wheel.
    session.install("--quiet", "--upgrade", f"--requirement={pins}", "--group=test")

    tests = ["--hypothesis-profile=brief", *(f"--ignore={path}" for path in PROCESSES)] if options.brief else []
    pytest = ["python", "-m", "pytest", "--numprocesses=2", *tests, *for_pytest]
    environment = {
        # Leaks and what Python only whispers about are warnings too, and so errors; also in the programs that tests
        # start with this environment.
        "PYTHONDEVMODE": "1",
        "DATABASE_URL": None,
        "REDIS_URL": None,
    }
    for database in options.on or ["sqlite", "postgresql"]:
        session.log(f"{database}, Python {session.python}, {dependencies} dependencies")
        lent = ["python", "-m", "tests.postgres"] if database == "postgresql" else []
        if lent:
            # Says so where there are no server binaries, and fails in CI.
            session.run(*lent)
        # On ctrl-C the tests end what they started, and PostgreSQL goes last.
        session.run(*lent, *pytest, env=environment, interrupt_timeout=30, terminate_timeout=30)
