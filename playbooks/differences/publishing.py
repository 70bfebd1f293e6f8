"""What publishing a text would change, and what a version changed, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csplaybooks.playbooks.differences.comparing import differences
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.models import Playbook, PlaybookVersion

#: Of a text that is another, and means the same.
SAME = "Only the text differs (comments, layout, order of names): it means the same."

#: Of what was never published.
NEW = "It is new: nothing of it runs yet."


def changes_by(published: PlaybookVersion | None, text: str, document: Mapping[str, Any] | None = None) -> list[str]:
    """What runs after `text` is published in place of a version, and did not before; nothing where it is that text.

    `document` is the text read, where the caller has read it. Raises `DocumentError` for a text that cannot be.
    """
    if published is None:
        return [NEW]
    if published.source == text:
        return []
    after = read_document(text) if document is None else document
    return [difference.words for difference in differences(published.document, after)] or [SAME]


def changes_of_draft(playbook: Playbook) -> list[str]:
    """What publishing a playbook's draft would change; see `changes_by`. `published` is read, so have it followed."""
    return changes_by(playbook.published, playbook.draft)


def changes_of_version(version: PlaybookVersion) -> list[str]:
    """What a version changed of the one before it; nothing of the first, and of one that was the same text. One query.

    Both are taken as they were frozen: what either was filled in with then is part of it.
    """
    before = PlaybookVersion.objects.filter(playbook=version.playbook_id, number__lt=version.number)
    earlier = before.order_by("-number").first()
    if earlier is None or earlier.source == version.source:
        return []
    return [difference.words for difference in differences(earlier.document, version.document)] or [SAME]
