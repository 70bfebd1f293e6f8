"""Walks two documents side by side, and says what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.text import capfirst

from csplaybooks.playbooks.differences import matching, words
from csplaybooks.playbooks.differences.matching import Likeness, exact
from csplaybooks.playbooks.differences.words import MISSING
from csplaybooks.playbooks.guards import guards


@dataclass(frozen=True)
class Difference:
    """One difference, in a line for people.

    `before` and `after` are where it stands in the two documents, as in `triggers/0/any/1`; None where it does not.
    """

    words: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return self.words


#: Lists whose entries have a name of their own: how they are called, and what makes two of them the same thing.
_LISTS: Mapping[str, tuple[words.Entry, Likeness]] = {
    "triggers": (words.TRIGGER, matching.same("key")),
    "triggers/*/any": (words.GROUP, matching.groups),
    "triggers/*/any/*/all": (words.CONDITION, matching.same("measure")),
    "routes": (words.ROUTE, matching.routes),
    "targets": (words.TARGET, matching.same("target")),
    "steps": (words.STEP, matching.steps),
}
_CONDITION = "triggers/*/any/*/all/*"

#: Parts in which nothing said means everybody.
_FOR_ALL = ("audience", "routes/*/when")


@dataclass(frozen=True)
class _Place:
    """Where the walk is: what it is called, and its path in both documents. `kind` is the path without numbers."""

    called: tuple[str, ...] = ()
    kind: str = ""
    before: str = ""
    after: str = ""

    def into(self, name: str) -> _Place:
        """A setting of it."""
        return replace(
            self, kind=_join(self.kind, name), before=_join(self.before, name), after=_join(self.after, name)
        )

    def entry(self, before: int, after: int) -> _Place:
        """An entry of it, by its place in both lists."""
        ours, theirs = _join(self.before, str(before)), _join(self.after, str(after))
        return replace(self, kind=_join(self.kind, "*"), before=ours, after=theirs)

    def named(self, *called: str) -> _Place:
        """The same, called more closely."""
        return replace(self, called=(*self.called, *filter(None, called)))

    def says(self, told: str, before: str | None = None, after: str | None = None) -> Difference:
        """A difference here; with paths, there."""
        line = f"{', '.join(self.called)}: {told}" if self.called else told
        if before is None and after is None:
            before, after = self.before, self.after
        return Difference(capfirst(line), before, after)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What differs between two documents that were read, in the order of a document; nothing where they mean the same.

    Entries of lists are told apart by what they are (triggers by key, targets by target) or by how alike they are, so
    that one which was moved is not told as two that changed.
    """
    return list(_mapping(_Place(), before, after))


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _mapping(place: _Place, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    names = set(before) | set(after)
    if place.kind == _CONDITION:
        ours, theirs = words.comparison_of(before), words.comparison_of(after)
        if ours is not None and theirs is not None:
            yield from _threshold(place, before, after, ours, theirs)
            names -= {ours, theirs}
    for name in words.ordered(names):
        yield from _setting(place, name, before.get(name, MISSING), after.get(name, MISSING))


def _setting(place: _Place, name: str, before: Any, after: Any) -> Iterator[Difference]:
    if exact(before) == exact(after):
        return
    here = place.into(name)
    listed = _are(list, before, after) and _are(Mapping, *before, *after)
    if here.kind == "guards" and _are(Mapping, before, after):
        yield from _guards(here, before, after)
    elif here.kind == "amount" and _are(Mapping, before, after) and before.get("rule") != after.get("rule"):
        yield here.named("amount").says(f"{words.amount(before)} → {words.amount(after)}")
    elif here.kind in _LISTS and listed:
        yield from _entries(here, before, after, *_LISTS[here.kind])
    elif listed:
        entry = words.Entry(words.plain(name))
        yield from _entries(here, before, after, entry, matching.shared)
    elif _are(Mapping, before, after):
        # A condition of routes says by itself what it is.
        called = "" if here.kind == "routes/*/when" else words.plain(name)
        yield from _mapping(here.named(called), before, after)
    else:
        yield _value(place, here, name, before, after)


def _are(kind: Any, *values: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _value(place: _Place, here: _Place, name: str, before: Any, after: Any) -> Difference:
    """Of a single value, or of a list of such."""
    label, unit = words.setting(name)
    missing = "any" if place.kind in _FOR_ALL else "not set"
    old, new = words.shown(before, missing), words.shown(after, missing)
    told = f"{words.with_unit(old, unit)} → {new}" if after is MISSING else f"{old} → {words.with_unit(new, unit)}"
    paths = (None if before is MISSING else here.before, None if after is MISSING else here.after)
    if words.is_long(before) or words.is_long(after) or old == new or "" in (before, after):
        done = "written" if before in ("", MISSING) else "taken out" if after in ("", MISSING) else "reworded"
        if not isinstance(before if after is MISSING else after, str):
            done = "changed"
        said = f"the {label} was {done}"
    elif not place.kind:
        said = f"{words.top_label(name)} {told}"
    else:
        said = f"{label} {told}"
    return here.says(said, *paths)


def _threshold(
    place: _Place, before: Mapping[str, Any], after: Mapping[str, Any], ours: str, theirs: str
) -> Iterator[Difference]:
    """Of a condition's comparison and number together; `ours` and `theirs` are the names of the comparisons."""
    if ours != theirs or exact(before[ours]) != exact(after[theirs]):
        said = f"{words.threshold(before, ours)} → {words.threshold(after, theirs, unit=True)}"
        yield place.says(said, _join(place.before, ours), _join(place.after, theirs))


def _guards(place: _Place, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Of guards, in the order in which they are asked."""
    asked = [guard.key for guard in guards()]
    rest = sorted((set(before) | set(after)) - set(asked))
    for key in (*asked, *rest):
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        if exact(old) == exact(new):
            continue
        here, called = place.into(key), f"guard {words.plain(key)}"
        if _are(Mapping, old, new):
            yield from _mapping(here.named(called), old, new)
        elif new is MISSING:
            yield here.says(f"{called} is not asked any more", here.before, None)
        elif new == "off":
            there = None if old is MISSING else here.before
            yield here.says(f"{called} {'added, switched off' if there is None else 'switched off'}", there, here.after)
        else:
            there = None if old is MISSING else here.before
            with_settings = f", with {words.settings(new)}" if new and _are(Mapping, new) else ""
            done = "added" if there is None else "switched on"
            yield here.says(f"{called} {done}{with_settings}", there, here.after)


def _entries(
    place: _Place, before: Sequence[Any], after: Sequence[Any], entry: words.Entry, likeness: Likeness
) -> Iterator[Difference]:
    """Of the entries of a list: what is gone, then, in their new order, what is new, stands elsewhere, and changed."""
    matched = matching.pairs(before, after, likeness)
    ours, elsewhere = {j: i for i, j in matched}, matching.moved(matched)
    gone = set(range(len(before))) - set(ours.values())
    # What needs no name on one side, because it stands alone, needs one where the other side has several.
    among = before if len(before) >= len(after) else after
    for i in sorted(gone):
        yield place.says(f"{entry.noun} removed: {entry.whole(before[i])}", _join(place.before, str(i)), None)
    for j, item in enumerate(after):
        if j not in ours:
            yield place.says(f"{entry.noun} added: {entry.whole(item)}", None, _join(place.after, str(j)))
            continue
        i = ours[j]
        label = entry.label(before[i], i + 1, among)
        here = place.entry(i, j)
        if (i, j) in elsewhere:
            called = ", ".join((*place.called, label))
            yield replace(here, called=()).says(f"{called} moved from place {i + 1} to {j + 1}")
        yield from _mapping(here.named(label), before[i], item)
