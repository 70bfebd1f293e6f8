"""Documents that people write in YAML: read without its traps, checked against a JSON schema, faults told in words."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

import jsonschema
import yaml

#: A document longer than this is refused before it is parsed.
MAX_CHARACTERS = 200_000

#: More errors than this are not listed.
MAX_ERRORS = 50

#: The schema of a key. "Nothing follows" is spelled out, because `$` lets a line break follow.
KEY = {"type": "string", "pattern": r"^[a-z][a-z0-9_]{0,79}(?![\s\S])"}


class DocumentError(ValueError):
    """A document that cannot be used; `errors` are (path, message) pairs, the path as in `triggers/0/any/1`."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in errors))


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases (a few bytes of which can stand for gigabytes) and without doubled keys.

    Plain words mean what they mean in YAML 1.2, not 1.1: `off` and `no` are text, and so are dates.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias where it is used."""
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice in one mapping."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is not text", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # Longer numbers are text: nothing counts so far, and reading them takes long.
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_yaml(text: str, *, of: str) -> dict[str, Any]:
    """The mapping that a text of YAML says; `of` names what it is a text of, as in "a playbook".

    Raises `DocumentError`, with line and column where there is one.
    """
    if len(text) > MAX_CHARACTERS:
        raise DocumentError([("", f"the document is longer than {MAX_CHARACTERS:,} characters")])
    if "\0" in text:
        raise DocumentError([("", "the document holds a NUL character")])
    try:
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = str(error.problem)
        if "'\\t'" in problem:
            problem = "a tab stands where YAML takes spaces only: indent with spaces"
        raise DocumentError([(where, f"this is not the YAML of {of}: {problem}")]) from error
    except yaml.reader.ReaderError as error:
        message = f"the character {error.character:#04x} at position {error.position} has no place in a document"
        raise DocumentError([("", message)]) from error
    except RecursionError as error:
        raise DocumentError([("", "the document is nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError([("", "this is not YAML")]) from error
    if not isinstance(document, dict):
        raise DocumentError([("", f"{of} document is a mapping of names to values")])
    return document


def check_schema(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """Raise `DocumentError` with the faults of a document that was read, each with its path and in words."""
    if errors := list(_unusable(document))[:MAX_ERRORS] or _schema_errors(document, schema):
        raise DocumentError(errors)


def _unusable(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    # YAML knows .nan and .inf, and can write characters by number that no database keeps.
    if isinstance(value, float) and not math.isfinite(value):
        yield path, "is not a number"
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        yield path, "holds a character that is none (NUL, or half of a pair)"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _unusable(key, path)
            yield from _unusable(inner, f"{path}/{key}".lstrip("/"))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unusable(inner, f"{path}/{index}".lstrip("/"))


def _entries(validator: Any, entries: Any, instance: Any, schema: Any) -> Iterable[jsonschema.ValidationError]:
    # Of a list that is too long that is said, and no more: looking at ten thousand entries takes seconds.
    if not isinstance(instance, list) or len(instance) <= schema.get("maxItems", len(instance)):
        yield from jsonschema.Draft202012Validator.VALIDATORS["items"](validator, entries, instance, schema)


def _is_whole(checker: Any, instance: Any) -> bool:
    # To JSON schema 2.0 is whole. Here it stays a float: it cannot count a list, and reads "2.0 days" in sentences.
    return isinstance(instance, int) and not isinstance(instance, bool)


_extend: Any = jsonschema.validators.extend
_Validator: Any = _extend(
    jsonschema.Draft202012Validator,
    {"items": _entries},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)


def _schema_errors(document: dict[str, Any], schema: dict[str, Any]) -> list[tuple[str, str]]:
    validator = _Validator(schema)
    found: dict[tuple[str, str], None] = {}
    for error in validator.iter_errors(document):
        found["/".join(str(part) for part in error.absolute_path), _in_words(error)] = None
        if len(found) == MAX_ERRORS:
            break
    return sorted(found)


_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping of names to values",
    "string": "text",
}


def _in_words(error: jsonschema.ValidationError) -> str:
    """What is wrong, for somebody who has never seen a JSON schema."""
    value: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    shown = _shown(value)
    match error.validator:
        case "required":
            missing = [name for name in wanted if name not in value]
            return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        case "additionalProperties":
            known = schema["properties"]
            names = [str(name)[:60] for name in value if name not in known]
            said = f"{', '.join(names)} is unknown here{''.join(_meant(name, known) for name in names[:3])}"
            return f"{said}; known are {', '.join(known)}" if known else said
        case "type" if value == "off" and error.absolute_path and error.absolute_path[0] == "guards":
            return "this cannot be turned off"
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            needed = " or ".join(_KINDS[kind] for kind in kinds)
            if value is None:
                return f"nothing stands here, and {needed} is needed"
            return f"{shown} is not {needed}{_mend(value, kinds)}"
        case "const":
            return f"{shown} is not possible here, only {wanted}"
        case "enum":
            return f"{shown}{_meant(value, wanted)} is not one of {', '.join(str(choice) for choice in wanted)}"
        case "oneOf" if all(list(choice) == ["required"] for choice in wanted):
            return f"exactly one of {', '.join(choice['required'][0] for choice in wanted)} is needed"
        case "pattern" if wanted == KEY["pattern"]:
            return f"{shown} is no key: small letters, digits and underscores, a letter first, at most 80"
        case "pattern" if wanted.startswith(r"^\d{4}-"):
            return f"{shown} is no date such as 2026-12-24"
        case "minimum":
            return f"{shown} is less than {wanted}, the least that is possible"
        case "maximum":
            return f"{shown} is more than {wanted}, the most that is possible"
        case "minLength" | "minItems" | "minProperties":
            return "is empty"
        case "maxLength":
            return f"is longer than {wanted} characters"
        case "maxItems" | "maxProperties":
            return f"has {len(value)} entries, and at most {wanted} are possible"
        case "uniqueItems":
            return "the same entry stands twice"
        case _:
            return error.message[:300]


def _shown(value: Any) -> str:
    """A value as it is written in YAML, or what it is where that is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list) and value:
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _meant(value: Any, known: Iterable[Any]) -> str:
    """What may have been meant by a word that is not known; empty where nothing comes near."""
    names = [str(name) for name in known if isinstance(name, str)]
    close = difflib.get_close_matches(value[:100], names, n=1) if isinstance(value, str) else []
    return f" (did you mean {close[0]}?)" if close else ""


def _mend(value: Any, kinds: Iterable[str]) -> str:
    """What to write in place of a value of the wrong kind, where that is plain."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**18 and "integer" in kinds:
        return f": write {int(value)}"
    if not isinstance(value, str):
        return ""
    if "array" in kinds:
        return f": write [{value}]" if len(value) <= 60 else ""
    if not {"integer", "number"} & set(kinds):
        return ""
    if re.fullmatch(r"[-+]?[0-9]{19,}", value):
        return ": it is too large"
    if re.fullmatch(r"[-+]?[0-9.]+", value):
        return ": write it without quotes"
    return ": write the number alone" if re.match(r"[-+]?[0-9]", value) else ""
