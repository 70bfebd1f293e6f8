"""How the stand-alone site writes its log."""

from __future__ import annotations

import copy
import logging


class PlainFormatter(logging.Formatter):
    """Writes a request that was refused as one line, without the traceback of the refusal.

    These are the warnings of `django.request` (403, 404 and the like) and all of `django.security.DisallowedHost`: what
    others send is no fault of ours. Faults (500) keep their traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        if _is_refusal(record) and (record.exc_info or record.exc_text):
            # A copy: other handlers may want to know more.
            record = copy.copy(record)
            record.exc_info = record.exc_text = None
        return super().format(record)


def _is_refusal(record: logging.LogRecord) -> bool:
    if record.name == "django.request":
        return record.levelno < logging.ERROR
    return record.name == "django.security.DisallowedHost"
