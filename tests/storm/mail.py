"""Mail that goes into a folder, each in a file of its own: what is sent twice is there twice."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

#: The longest that a mail server takes before it takes a mail, and after it has, in seconds.
SLOWEST = 0.004


class FolderBackend(BaseEmailBackend):
    """Writes messages into the folder of the settings (`STORM_MAILS`)."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write each message, and answer how many there were. Whoever dies in between has sent it, or has not."""
        folder = Path(settings.STORM_MAILS)
        for message in email_messages:
            name = uuid.uuid4().hex
            time.sleep(random.uniform(0, SLOWEST))
            draft = folder / f"{name}.part"
            draft.write_bytes(message.message().as_bytes())
            # This is the moment in which it has gone.
            draft.rename(folder / f"{name}.eml")
            time.sleep(random.uniform(0, SLOWEST))
        return len(email_messages)


def mails_in(folder: Path) -> Counter[tuple[str, str]]:
    """How often each mail has gone, by its Message-ID and address."""
    parser = BytesHeaderParser()
    gone: Counter[tuple[str, str]] = Counter()
    for path in folder.glob("*.eml"):
        with path.open("rb") as file:
            headers: Any = parser.parse(file)
        gone[str(headers["Message-ID"]), str(headers["To"])] += 1
    return gone
