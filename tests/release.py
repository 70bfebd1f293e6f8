"""A release of what is in the checkout, built once for all tests that look into it or install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Release:
    """The two files of a release, and the copy of the checkout that it was built from, with the paths of its files."""

    sdist: Path
    wheel: Path
    copy: Path
    names: frozenset[str]


_built: list[Release] = []


def files_of_the_checkout() -> frozenset[str]:
    """The paths of all files that a commit of everything would hold. Skips the test where git cannot tell."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of the files that belong to it")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    return frozenset(name for name in listing.stdout.split("\0") if name and (CHECKOUT / name).is_file())


def built_release(temporary: pytest.TempPathFactory) -> Release:
    """The release; built by the first who asks, as `python -m build` does: the sdist, and the wheel out of that.

    From a copy, since a build in place would leave files behind and pick up what earlier ones left. Tests that use it
    are of the group `release` in `tests.together`, so that one process builds it once.
    """
    if not _built:
        names = files_of_the_checkout()
        copy, dist = temporary.mktemp("checkout"), temporary.mktemp("dist")
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
        (sdist,) = dist.glob("*.tar.gz")
        (wheel,) = dist.glob("*.whl")
        _built.append(Release(sdist=sdist, wheel=wheel, copy=copy, names=names))
    return _built[0]
