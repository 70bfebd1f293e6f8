"""What a release holds: the five folders under one package and nothing else; in the sdist also what tests them."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.parser import Parser

import pytest

import csplaybooks
from tests.release import Release, built_release

ROOMS = ("accounts", "signals", "playbooks", "templates")
#: What stands at the top of the checkout and belongs to those who work on it: their tools' settings.
OURS_ALONE = {".gitignore", ".ci/run", "MANIFEST.in"}
#: What a build adds to an sdist.
OF_THE_BUILD = {"PKG-INFO", "setup.cfg"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release."""
    return built_release(tmp_path_factory)


def files_of_the_sdist(release: Release) -> set[str]:
    """The paths of the files in the sdist, below its one folder."""
    top = f"csplaybooks-{csplaybooks.__version__}/"
    with tarfile.open(release.sdist) as sdist:
        names = [member.name for member in sdist.getmembers() if member.isfile()]
    assert [name for name in names if not name.startswith(top)] == []
    return {name.removeprefix(top) for name in names}


def test_wheel_holds_the_five_folders_and_nothing_else(release: Release) -> None:
    expected = {name for name in release.names if name.startswith("csplaybooks/")} | {
        f"csplaybooks/{name}" for name in release.names if name.partition("/")[0] in ROOMS
    }
    with zipfile.ZipFile(release.wheel) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert sorted(found - expected) == []
    assert sorted(expected - found) == []
    assert "csplaybooks/accounts/apps.py" in found
    assert "csplaybooks/playbooks/static/csplaybooks/admin.css" in found


def test_files_of_the_wheel_are_those_of_the_checkout(release: Release) -> None:
    """The same bytes, not just the same names."""
    with zipfile.ZipFile(release.wheel) as wheel:
        changed = [
            name
            for name in wheel.namelist()
            if ".dist-info/" not in name and wheel.read(name) != _source_of(name, release)
        ]

    assert changed == []


def _source_of(name: str, release: Release) -> bytes:
    inside = name.removeprefix("csplaybooks/")
    return (release.copy / (inside if inside.partition("/")[0] in ROOMS else name)).read_bytes()


def test_sdist_holds_all_of_the_checkout_and_nothing_of_this_machine(release: Release) -> None:
    """So that whoever packages it can run the tests, and read the docs."""
    found = files_of_the_sdist(release)
    by_the_build = {name for name in found if name in OF_THE_BUILD or ".egg-info/" in name}

    assert sorted(release.names - found - OURS_ALONE) == []
    assert sorted(found - release.names - by_the_build) == []
    assert found > {"manage.py", "Makefile", "README.md", "docs/index.md", "tests/host_site/project/manage.py"}


def test_metadata_says_what_pyproject_says(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        text = wheel.read(name).decode()
        (licence,) = [name for name in wheel.namelist() if re.search(r"\.dist-info/licenses/LICENSE$", name)]
        assert wheel.read(licence) == (release.copy / "LICENSE").read_bytes()
    metadata = Parser().parsestr(text)

    assert (metadata["Name"], metadata["Version"]) == ("csplaybooks", csplaybooks.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    required = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {re.split("[<>=!~]", line)[0] for line in required} >= {"django", "django-q2", "djangorestframework"}
    # What the site needs is not forced upon a host.
    assert not [line for line in required if line.startswith(("gunicorn", "psycopg", "whitenoise", "redis"))]
