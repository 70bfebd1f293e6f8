"""What people have done, in their own words: written down before and after each act, for whoever looks afterwards.

A line is handed to the system before the next thing happens, and so outlives whoever wrote it (not the machine).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: An act on a play, by its name and the play's id.
Deed = tuple[str, int]


class Journal:
    """The journal of one process of people, which goes on where the one before it was killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # So that the acts of one who has died have other names. What it was writing then ends here.
        self._begun = path.stat().st_size
        self._number = 0
        os.write(self._file, b"\n")

    def will(self, verb: str, play_ids: Iterable[int]) -> str:
        """Write what is about to be done; answers by which name it is to be told of."""
        self._number += 1
        name = f"{self._begun}-{self._number}"
        self._write(name=name, will=verb, plays=list(play_ids))
        return name

    def did(self, name: str, done: Iterable[int], refused: Mapping[int, str]) -> None:
        """Write what an act has answered: the plays on which it was done, and why not of the others."""
        self._write(name=name, done=list(done), refused=dict(refused))

    def failed(self, name: str, error: str) -> None:
        """Write that an act has failed."""
        self._write(name=name, failed=error)

    def _write(self, **entry: object) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


@dataclass
class Told:
    """What the journals of a storm tell.

    `done` counts what was answered to be done, `unknown` what was begun by somebody who died before they could write
    how it went. `refused` counts the reasons why acts were not done, by act and the first words.
    """

    done: Counter[Deed] = field(default_factory=Counter)
    unknown: Counter[Deed] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    cut_off: int = 0


def read_journals(paths: Iterable[Path]) -> Told:
    """Read the journals of all processes; a line that was cut off by a death counts as not written."""
    told = Told()
    for path in paths:
        open_acts: dict[str, tuple[str, list[int]]] = {}
        with path.open() as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    told.cut_off += bool(line.strip())
                    continue
                if "will" in entry:
                    open_acts[entry["name"]] = (entry["will"], entry["plays"])
                    continue
                verb, plays = open_acts.pop(entry["name"])
                if "failed" in entry:
                    told.failures.append(f"{verb} of {plays[:5]}: {entry['failed']}")
                    told.unknown.update((verb, play) for play in plays)
                    continue
                told.done.update((verb, play) for play in entry["done"])
                told.refused.update((verb, _short(why)) for why in entry["refused"].values())
        for verb, plays in open_acts.values():
            told.unknown.update((verb, play) for play in plays)
    return told


def _short(why: str) -> str:
    return why.split(";")[0][:100]
