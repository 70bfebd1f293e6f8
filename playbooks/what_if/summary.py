"""A preview in a few lines, for the page that asks before a draft is published."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.what_if.preview import Preview, preview


def what_if_summary(document: Mapping[str, Any], now: datetime, viewer: Any = None) -> list[str]:
    """What publishing a document (as `read_document` answers it) would come to: the warnings first, then the numbers.

    A document that could not be published answers why not. See `preview` for what `viewer` means.
    """
    try:
        return lines_of(preview(document, now=now, viewer=viewer))
    except DocumentError as error:
        return [f"{path}: {message}" if path else message for path, message in error.errors]


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
    lines.append(f"Plays that would be opened: {len(answer.plays):,}.")
    if answer.runs is not None or answer.going:
        new = sum(len(trigger.new) for trigger in answer.triggers)
        lines.append(f"Compared with what runs: {new:,} new, {len(answer.going):,} would end.")
    return lines
