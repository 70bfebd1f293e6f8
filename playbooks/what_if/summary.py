"""A preview in a few lines, for the page that asks before a draft is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from csplaybooks.playbooks.what_if.preview import Preview, preview


def what_if_summary(document: Mapping[str, Any], now: datetime, viewer: Any = None) -> list[str]:
    """What publishing a document (as `read_document` answers it) would come to: the warnings first, then the numbers.

    See `preview` for what `viewer` means, and for what is refused with a `DocumentError`.
    """
    return lines_of(preview(document, now=now, viewer=viewer))


def lines_of(answer: Preview) -> list[str]:
    """The warnings of a preview, and its numbers in sentences."""
    matched = sum(trigger.matched for trigger in answer.triggers)
    held = sum(len(trigger.held) for trigger in answer.triggers)
    free = sum(len(trigger.free) for trigger in answer.triggers)
    lines = [*(f"Warning: {warning}" for warning in answer.warnings)]
    lines.append(
        f"Matches today: {matched:,}, at {answer.where}; {held:,} held, {free:,} free, "
        f"{matched - held - free:,} stay as they are."
    )
    lines.append(f"Plays that would be opened: {len(answer.plays):,}{joining_of(answer)}.")
    if answer.runs is not None or answer.going:
        new = sum(len(trigger.new) for trigger in answer.triggers)
        lines.append(f"Compared with what runs: {new:,} new, {len(answer.going):,} would end.")
    return lines


def joining_of(answer: Preview) -> str:
    """What becomes of the free that do not open a play, after how many do; "" where all do."""
    others = len(answer.joining)
    return (
        f"; {others:,} more that {'is' if others == 1 else 'are'} free would join a play of this motion"
        if others
        else ""
    )


def numbers_of(answer: Preview, names: Mapping[str, str]) -> list[tuple[Any, ...]]:
    """What each trigger comes to: its name, matches, held, free, those that stay as they are, new, and would end.

    `names` are by key; one that is not there is told by its key. Triggers that the draft has no more have a row where
    something of theirs would end. Where there are several, the sums come last.
    """
    rows: list[tuple[Any, ...]] = [
        (names.get(t.key, t.key), t.matched, len(t.held), len(t.free), len(t.settled), len(t.new), len(t.going))
        for t in answer.triggers
    ]
    for key, number in sorted(Counter(going.trigger for going in answer.retired).items()):
        rows.append((f"{names.get(key, key)} (removed)", 0, 0, 0, 0, 0, number))
    if len(rows) > 1:
        rows.append(("In all", *(sum(row[column] for row in rows) for column in range(1, 7))))
    return rows
