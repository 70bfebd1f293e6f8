"""Finds calls that write to the database in the text of the package, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]

#: The folders of the package.
FOLDERS = ("accounts", "signals", "playbooks", "csplaybooks")

#: Methods that write whatever they are called with.
_SINGLE = ("save", "create", "get_or_create", "update_or_create", "delete", "_raw_delete")
WRITES = frozenset([*_SINGLE, "create_batch", "bulk_create", "bulk_update"])

#: What raw SQL that only reads or sets up a connection begins with.
READS = ("SELECT", "WITH", "EXPLAIN", "SHOW", "PRAGMA", "SET ", "VALUES")


def relations() -> frozenset[str]:
    """The attributes by which rows of other tables are set, added and removed: `qbr.attendees.set(...)`."""
    return frozenset(field.name for model in apps.get_models() for field in model._meta.many_to_many)


def sources() -> Iterator[tuple[str, str]]:
    """Path below the root and text of every module that is no migration."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/migrations/" not in name:
                yield name, path.read_text(encoding="utf-8")


def writes_in(text: str, relation_names: frozenset[str]) -> list[tuple[int, str]]:
    """Line and method of every call in a module that writes to the database."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id.endswith("Factory"):
            found.append((node.lineno, node.func.id))
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            plain = name[1:] if name.startswith("a") and name[1:] in {*WRITES, "update"} else name
            if _writes(plain, node, node.func.value, relation_names):
                found.append((node.lineno, name))
    return sorted(found)


def _writes(name: str, call: ast.Call, receiver: ast.expr, relation_names: frozenset[str]) -> bool:
    if name == "save":
        # A form or formset that only makes its rows ready.
        return not any(
            word.arg == "commit" and isinstance(word.value, ast.Constant) and word.value.value is False
            for word in call.keywords
        )
    if name in WRITES:
        return True
    if name == "update":
        # A queryset takes names only; sets and hashes take something, and dictionaries mostly do.
        dictionary = isinstance(receiver, ast.Attribute) and receiver.attr.endswith("kwargs")
        return bool(call.keywords) and not call.args and not dictionary
    if name in ("set", "add", "remove", "clear"):
        return isinstance(receiver, ast.Attribute) and receiver.attr in relation_names
    if name in ("execute", "executemany", "executescript") and call.args:
        return not _sql(call.args[0]).lstrip(" (\n").upper().startswith(READS)
    return False


def _sql(argument: ast.expr) -> str:
    """What a statement begins with; empty where its text is made elsewhere, so that somebody has to look."""
    if isinstance(argument, ast.JoinedStr) and argument.values:
        argument = argument.values[0]
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    return ""
