"""The compiled pins serve what pyproject.toml asks for, on the oldest and the newest Python."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, cast

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def pins(file_name: str, python: str) -> dict[str, str]:
    """Return the pinned version by package name, as ``python`` ("3.11") on this system would install them."""
    environment: dict[str, str | AbstractSet[str]] = {
        **cast("dict[str, str]", default_environment()),
        "python_version": python,
        "python_full_version": f"{python}.9",
    }
    lines = (CHECKOUT / "requirements" / file_name).read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]
    return {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def asked(file_name: str) -> list[Requirement]:
    """Return what ``file_name`` must serve: run time and extras, and for dev.txt the groups too."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    if file_name == "dev.txt":
        lines += [line for group in groups.values() for line in group if isinstance(line, str)]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("file_name", ["site.txt", "dev.txt"])
def test_pins_serve_what_is_asked(file_name: str, python: str) -> None:
    pinned = pins(file_name, python)

    unserved = [
        str(requirement)
        for requirement in asked(file_name)
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ]

    assert unserved == []


@pytest.mark.parametrize(("python", "series"), [("3.11", "5.2"), ("3.13", "6.1")])
def test_each_python_gets_its_django(python: str, series: str) -> None:
    assert pins("site.txt", python)["django"].startswith(f"{series}.")


def test_versions_that_are_told_are_those_that_nox_tests() -> None:
    project = PROJECT["project"]
    pairs: dict[str, str] = next(
        ast.literal_eval(node.value)
        for node in ast.parse((CHECKOUT / "noxfile.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAIRS"
    )
    told = [line.rpartition(" :: ") for line in project["classifiers"]]
    pythons = [end for start, _, end in told if start.endswith(":: Python") and "." in end]
    djangos = [end for start, _, end in told if start.endswith(":: Django")]

    assert [pythons[0], pythons[-1]] == list(pairs)
    assert project["requires-python"] == f">={pythons[0]}"
    assert [line.partition(",")[0] for line in pairs.values()] == [f"django>={series}" for series in djangos]
    # The floor of the older pair is the floor.
    assert f"django>={djangos[0]}" in project["dependencies"]


def test_the_site_runs_on_the_versions_that_are_tested() -> None:
    assert pins("site.txt", "3.11").items() <= pins("dev.txt", "3.11").items()


def test_pins_name_no_address() -> None:
    for file in (CHECKOUT / "requirements").glob("*.txt"):
        text = file.read_text()
        assert "://" not in text
        assert "--" not in text
