"""Playbook documents as files: read byte for byte from where people keep them, and written back the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from csplaybooks.accounts.documents import MAX_CHARACTERS
from csplaybooks.playbooks.document import DocumentError, read_document

#: How the files of a directory end that are taken for playbooks. A file that is named itself may end as it likes.
ENDINGS = (".yaml", ".yml")

#: A character takes so many bytes at most. A longer file is not read to its end.
_MOST_BYTES = 4 * MAX_CHARACTERS

#: A fault: the file, or the file and the place in it, and what is wrong.
Fault = tuple[str, str]


def read_files(paths: Iterable[str]) -> tuple[dict[str, str], list[Fault]]:
    """The texts of files, and of the YAML files right inside directories, by their path, in the order of their names.

    A text keeps its line ends and whatever else it has. What cannot be read is among the faults.
    """
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    for given in dict.fromkeys(paths):
        path = Path(given)
        try:
            files = sorted(file for file in path.iterdir() if _is_taken(file)) if path.is_dir() else [path]
        except OSError as error:
            faults.append((shown(path), _why(error)))
            continue
        if not files:
            faults.append((shown(path), f"the directory holds no file that ends in {' or '.join(ENDINGS)}"))
        for file in files:
            try:
                texts[shown(file)] = _read(file)
            except OSError as error:
                faults.append((shown(file), _why(error)))
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                faults.append((shown(file), f"is not UTF-8: the byte {byte:#04x} at position {error.start}"))
    return texts, faults


def _is_taken(file: Path) -> bool:
    return file.suffix in ENDINGS and not file.name.startswith(".") and file.is_file()


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    # Of a longer one the last character may be cut in two, and its length is all that matters.
    return data.decode("utf-8", "strict" if len(data) <= _MOST_BYTES else "replace")


def _why(error: OSError) -> str:
    return "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be used: {error.strerror}"


def shown(path: Path) -> str:
    """A path as it is told, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_name(path: str) -> str:
    """The name of a file without its directory."""
    return Path(path).name


def read_texts(texts: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """The documents of texts by the texts' names, and the faults of all of them, whose places begin with the name.

    Two texts of one key are a fault of the second.
    """
    documents: dict[str, dict[str, Any]] = {}
    faults: list[Fault] = []
    first: dict[str, str] = {}
    for name, text in texts.items():
        try:
            document = read_document(text)
        except DocumentError as error:
            faults += [(f"{name}: {path}" if path else name, message) for path, message in error.errors]
            continue
        key = document["key"]
        if key in first:
            faults.append((f"{name}: key", f"the key {key} stands in {first[key]} too"))
            continue
        first[key] = name
        documents[name] = document
    return documents, faults


def in_the_way(files: Mapping[Path, str]) -> list[Path]:
    """The files that are there already and hold something else than is to be written. Raises OSError."""
    return [path for path, text in files.items() if path.exists() and path.read_bytes() != text.encode()]


def write_file(path: Path, text: str) -> bool:
    """Write a text byte for byte, whole or not at all; False where the file holds it already. Raises OSError."""
    data = text.encode()
    if path.exists() and path.read_bytes() == data:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # A temporary file is for its owner alone; this one is for whom any new file is.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True
