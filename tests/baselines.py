"""Answers that are reviewed in a file: a test compares with it, and the environment says when it is written anew.

    REWRITE_BASELINES=1 .venv/bin/python -m pytest tests/meta tests/roles

In one process: no `-n`. Then read the difference (`git diff`) as you would read code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

REWRITE = "REWRITE_BASELINES"


def reviewed(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What the file says of the entries that were found; first written there where `REWRITE_BASELINES` is set.

    Entries of the file that were not found are left: a test may look at a part. `forget` takes out what is gone.
    """
    said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if os.environ.get(REWRITE):
        said |= found
        _write(path, said)
    return {name: said.get(name) for name in found}


def forget(path: Path, there: set[str]) -> set[str]:
    """The entries of the file that are none of `there`; taken out first where `REWRITE_BASELINES` is set."""
    said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if os.environ.get(REWRITE):
        said = {name: entry for name, entry in said.items() if name in there}
        _write(path, said)
    return set(said) - there


def _write(path: Path, said: dict[str, Any]) -> None:
    # A line for each entry, so that a difference shows what it is about.
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(said[name], sort_keys=True)}" for name in sorted(said))
    path.write_text(f"{{\n{lines}\n}}\n")
