"""What is killed at every point, in a process where notices go by mail."""

from __future__ import annotations

from typing import Any

from django.test import override_settings

from csplaybooks.playbooks.pipeline import digests, mails

_ON = override_settings(CSPLAYBOOKS={"NOTICES_BY_MAIL": True})


@_ON
def write_digests(**arguments: Any) -> int:
    """See `csplaybooks.playbooks.pipeline.digests`."""
    return digests.write_digests(**arguments)


@_ON
def write_mails(**arguments: Any) -> int:
    """See `csplaybooks.playbooks.pipeline.mails`."""
    return mails.write_mails(**arguments)
