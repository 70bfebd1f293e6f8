"""What a Containerfile says, done without containers: its lines run in a folder that stands for the image's root."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile in their order: the word, and what follows it; joined where they go on."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        yield word.upper(), rest.strip()


class Image:
    """An image, as far as it can be had without a container: files, environment, and what it runs.

    Paths of the image (those it names itself, under /opt, /srv and /usr/local) are read as paths below `root`.
    """

    #: What may be written to; the rest of the image's root is that of this machine.
    PLACES = ("/opt/csplaybooks", "/srv/csplaybooks", "/usr/local/bin/run-site")

    def __init__(self, root: Path, context: Path) -> None:
        """`context` is the folder that COPY copies from."""
        self._root = root
        self._context = context
        # `python` is ours, as it is the base image's there; nothing else of our environment counts.
        self._outside = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        # Nothing is compiled that nobody imports: that takes longer than all the rest.
        self.environment: dict[str, str] = {"PATH": self._outside, "HOME": str(root), "PIP_NO_COMPILE": "1"}
        self.user = ""
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.workdir = root

    def here(self, text: str) -> str:
        """A text with the image's paths as ours."""
        for place in self.PLACES:
            text = text.replace(place, f"{self._root}{place}")
        return text

    def build(self, text: str, leave_out: frozenset[str]) -> list[str]:
        """Do what the Containerfile says; answers the instructions that were met. `leave_out` names variables."""
        met = []
        for word, rest in instructions(text):
            met.append(word)
            match word:
                case "FROM" | "EXPOSE":
                    pass
                case "ENV":
                    name, _, value = rest.partition("=")
                    if name not in leave_out:
                        self.environment[name] = string.Template(self.here(value)).substitute(self.environment)
                case "WORKDIR":
                    self.workdir = Path(self.here(rest))
                    self.workdir.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(rest)
                case "RUN":
                    self._run(rest)
                case "USER":
                    self.user = rest
                case "ENTRYPOINT":
                    self.entrypoint = [self.here(part) for part in json.loads(rest)]
                case "CMD":
                    self.command = json.loads(rest)
                case _:
                    raise AssertionError(f"no idea how to do {word} {rest}")
        return met

    def start(self, *command: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Run a container, as a process group; its own command where none is given."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.entrypoint, *(command or self.command)],
                cwd=self.workdir,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        destination = Path(self.here(target))
        assert destination != Path(target), f"{target} lies outside of what the test may write to"
        for source in sources:
            found = list(self._context.glob(source))
            assert found, f"COPY {source}: there is none"
            for path in found:
                into = destination / path.name if target.endswith("/") else destination
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, into)

    def _run(self, rest: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", self.here(rest)],
            cwd=self.workdir,
            env={**os.environ, **self.environment},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout}{done.stderr}"
