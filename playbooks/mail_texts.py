"""The texts of mails to customers: plain strings with merge fields such as `{{account}}`, from a fixed catalogue.

A field is a name that stands for a piece of text, and nothing else: no conditions, no filters, no way to any object.
What a field stands for is worked out beforehand, and put in as it is: it is not read again for fields. A field of
which nothing is known stands in the text as a gap (`[account?]`), which a person has to mend before it can be sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: The most characters of a subject, and of a body once its fields are filled in.
MOST_IN_SUBJECT = 200
MOST_IN_BODY = 20_000

#: The most characters that one field puts in.
MOST_IN_FIELD = 1_000


@dataclass(frozen=True)
class Letter:
    """What is known when a mail is written, as the words that are put into it; empty where nothing is."""

    account: str = ""
    champion_name: str = ""
    champion_first_name: str = ""
    champion_title: str = ""
    owner_name: str = ""
    owner_email: str = ""
    product: str = ""
    plan: str = ""
    next_plan: str = ""
    seats_used: str = ""
    seats_limit: str = ""
    found: str = ""


#: Each field, and what it stands for.
FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "account": "the name of the account",
        "champion_name": "whom it goes to",
        "champion_first_name": "their first name",
        "champion_title": "their title",
        "owner_name": "who owns the play",
        "owner_email": "the owner's address",
        "product": "the product that the play is about, or what they hold",
        "plan": "the plan they hold",
        "next_plan": "the plan that follows theirs",
        "seats_used": "how many seats are in use",
        "seats_limit": "how many seats they have",
        "found": "what was found of their use, a line for each thing",
    }
)

#: Fields of several lines, which fit into no subject.
OF_SEVERAL_LINES = frozenset({"found"})

_FIELD = re.compile(r"\{\{[ \t]*([a-z_]+)[ \t]*\}\}")
_BRACES = re.compile(r"\{\{[^{}\n]{0,60}\}?\}?|\}\}")
_GAP = re.compile(r"\[(" + "|".join(FIELDS) + r")\?\]")
_LINE_BREAK = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")


def text_errors(subject: str, body: str) -> Iterable[tuple[str, str]]:
    """What is wrong with the texts of a mail as a playbook has them: which of the two (`subject`, `body`), and why."""
    if fault := subject_fault(subject):
        yield "subject", fault
    if not body.strip():
        yield "body", "is empty"
    for name, text in (("subject", subject), ("body", body)):
        for field in dict.fromkeys(_FIELD.findall(text)):
            if field not in FIELDS:
                yield name, f"there is no field {{{{{field[:60]}}}}}; there are {_known()}"
            elif name == "subject" and field in OF_SEVERAL_LINES:
                yield name, f"{{{{{field}}}}} is of several lines, which fit into no subject: put it into the body"
        if stray := _BRACES.search(_FIELD.sub("", text)):
            yield name, f"{stray[0][:60]!r} is no field: these are written like {{{{account}}}}; there are {_known()}"


def subject_fault(subject: str) -> str | None:
    """What is wrong with a subject; None when nothing is. A line break in it would begin another header."""
    if not subject.strip():
        return "is empty"
    if _LINE_BREAK.search(subject):
        return "is one line: take the line breaks out"
    if "\0" in subject:
        return "a NUL character cannot be sent"
    if len(subject) > MOST_IN_SUBJECT:
        return f"has at most {MOST_IN_SUBJECT} characters, not {len(subject)}"
    return None


def unfinished(subject: str, body: str) -> list[str]:
    """What of a mail is still to be mended: its gaps and fields that nobody has filled in, as they stand there."""
    found = [gap[0] for text in (subject, body) for gap in (*_GAP.finditer(text), *_BRACES.finditer(text))]
    return list(dict.fromkeys(found))


def fill_in_subject(text: str, letter: Letter) -> str:
    """A subject with its fields filled in, in one line, and no longer than it may be."""
    return " ".join(_filled(text, letter).split())[:MOST_IN_SUBJECT]


def fill_in_body(text: str, letter: Letter) -> str:
    """A body with its fields filled in, and no longer than it may be."""
    return _filled(text, letter)[:MOST_IN_BODY]


def _filled(text: str, letter: Letter) -> str:
    # One pass: what is put in is never looked at again, whatever braces stand in it.
    return _FIELD.sub(lambda field: _value(field[1], letter), text)


def _value(name: str, letter: Letter) -> str:
    # Braces and gaps in a name of somebody's would keep the mail from being sent: nobody has left them there to mend.
    value = str(getattr(letter, name, "")).replace("\0", "").replace("{{", "{ {").replace("}}", "} }").strip()
    if name not in OF_SEVERAL_LINES:
        value = " ".join(value.split())
    return value[:MOST_IN_FIELD] or f"[{name}?]"


def _known() -> str:
    return ", ".join(f"{{{{{name}}}}}" for name in FIELDS)
