"""Which entry of one list is which of the other: by best likeness, and not by place alone."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

#: How much of the same two entries are: 0 is nothing, and they are two different things.
Likeness = Callable[[Any, Any], float]

#: Of longer lists, those that differ are held against each other place by place: so many comparisons are enough.
MOST_COMPARED = 10_000

_WORD = re.compile(r"\w+")


def exact(value: Any) -> Hashable:
    """A value as something to compare by: the same for documents that mean the same, and for no others.

    The order of names makes no difference, that of lists does. `true` is not 1, as it is to Python; 1 is 1.0.
    """
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Mapping):
        return ("mapping", frozenset((name, exact(inner)) for name, inner in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(exact(inner) for inner in value))
    return value  # type: ignore[no-any-return]  # a document holds nothing else but text, numbers and null


def pairs(before: Sequence[Any], after: Sequence[Any], likeness: Likeness) -> list[tuple[int, int]]:
    """Which entries of two lists are the same thing, as pairs of places, in the order of `after`.

    Equal ones first, each with the first that is left; of the rest those that are most alike, and of these the nearest.
    """
    places: dict[Hashable, deque[int]] = defaultdict(deque)
    for index, item in enumerate(before):
        places[exact(item)].append(index)
    matched: dict[int, int] = {}
    for index, item in enumerate(after):
        if waiting := places.get(exact(item)):
            matched[index] = waiting.popleft()
    rest = [index for index in range(len(after)) if index not in matched]
    taken = set(matched.values())
    left = [index for index in range(len(before)) if index not in taken]
    if len(left) * len(rest) > MOST_COMPARED:
        candidates = [(likeness(before[i], after[j]), i, j) for i, j in zip(left, rest, strict=False)]
    else:
        candidates = [(likeness(before[i], after[j]), i, j) for i in left for j in rest]
    candidates.sort(key=lambda found: (-found[0], abs(found[1] - found[2]), found[1], found[2]))
    for alike, i, j in candidates:
        if alike > 0 and i not in taken and j not in matched:
            matched[j] = i
            taken.add(i)
    return [(matched[j], j) for j in sorted(matched)]


def moved(matched: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of pairs in the order of their second places, those that moved: as few as tell how the order changed."""
    # The longest run of pairs whose first places follow each other stays where it is.
    tails: list[int] = []
    ends: list[int] = []
    earlier: list[int | None] = []
    for index, (first, _) in enumerate(matched):
        at = bisect_left(tails, first)
        tails[at : at + 1] = [first]
        ends[at : at + 1] = [index]
        earlier.append(ends[at - 1] if at else None)
    stays = set()
    at_end = ends[-1] if ends else None
    while at_end is not None:
        stays.add(at_end)
        at_end = earlier[at_end]
    return {pair for index, pair in enumerate(matched) if index not in stays and pair[0] != pair[1]}


def shared(before: Any, after: Any) -> float:
    """The share of settings that two mappings have in common, from 0 to 1."""
    ours, theirs = _settings(before), _settings(after)
    return len(ours & theirs) / len(ours | theirs) if ours and theirs else 0.0


def _settings(item: Any) -> set[Hashable]:
    return {(name, exact(value)) for name, value in item.items()} if isinstance(item, Mapping) else set()


def same(name: str, *, more: Likeness = shared) -> Likeness:
    """The likeness of entries that are the same thing only where the setting `name` is the same."""

    def likeness(before: Any, after: Any) -> float:
        if before.get(name) != after.get(name):
            return 0.0
        return 1.0 + more(before, after)

    return likeness


def groups(before: Any, after: Any) -> float:
    """The likeness of two groups: how many of their conditions ask the same, or nearly."""
    ours, theirs = before.get("all") or [], after.get("all") or []
    condition = same("measure")
    alike = sum(condition(ours[i], theirs[j]) for i, j in pairs(ours, theirs, condition))
    return alike / max(len(ours), len(theirs), 1)


def routes(before: Any, after: Any) -> float:
    """The likeness of two routes: for the same accounts, or the same way for some of them. The last is the last."""
    if ("when" in before) != ("when" in after):
        return 0.0
    if "when" not in before:
        return 3.0
    of_same_accounts = 1.0 if exact(before["when"]) == exact(after["when"]) else 0.0
    same_way = 0.5 if before.get("route") == after.get("route") else 0.0
    return of_same_accounts + same_way + shared(before["when"], after["when"])


def steps(before: Any, after: Any) -> float:
    """The likeness of two steps: the same words, or many of them for the same kind of step."""
    ours, theirs = set(_WORD.findall(before.get("text", ""))), set(_WORD.findall(after.get("text", "")))
    words = len(ours & theirs) / max(len(ours | theirs), 1)
    if before.get("kind") == after.get("kind"):
        return words
    return words if words > 0.5 else 0.0
