"""The doctor's question about what is kept: whether it is enough for what runs."""

from __future__ import annotations

from collections.abc import Iterator

from csplaybooks.playbooks.doctor.findings import Finding, Level, Look
from csplaybooks.playbooks.reach import needed_in_words, too_far


def retention(look: Look) -> Iterator[Finding]:
    """Whether running playbooks look no further back than `RETENTION_DAYS`; four queries, two where all is well.

    Where they do nothing of what they look at is deleted, so more is kept than the setting says.
    """
    faults = too_far()
    for fault in faults:
        yield Finding(
            "retention",
            Level.WARN,
            f"{fault.version}: {fault.path} {fault.message}.",
            f"Until then {needed_in_words()}. Publish the playbook with a shorter window or without what is not "
            "registered, switch it off, or raise CSPLAYBOOKS['RETENTION_DAYS'].",
        )
    if not faults:
        yield Finding("retention", Level.OK, "all running playbooks look no further back than is kept")
