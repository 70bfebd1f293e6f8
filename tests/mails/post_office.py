"""A mail server that does as it is told, and what tests read of mails."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import django
from django.test import override_settings

from csplaybooks.playbooks.factories import DeliveryFactory
from csplaybooks.playbooks.models import Delivery
from tests.playbooks.plays import NOW


def waiting(number: int = 1, **more: Any) -> list[Delivery]:
    """Mails that wait to be sent."""
    return [DeliveryFactory(queued_at=NOW, **more) for _ in range(number)]


def states() -> list[str]:
    """How far each mail is, in the order in which they were queued."""
    return list(Delivery.objects.order_by("pk").values_list("state", flat=True))


class Server(socketserver.ThreadingTCPServer):
    """A mail server that gives its answers to `RCPT` and to the mail itself in order, and then takes everything.

    An answer of "" hangs up. `taken` are the mails that it took, as they came.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.recipients: list[str] = []
        self.mails: list[str] = []
        self.taken: list[str] = []
        self.greeting = "220 here"


class _Talk(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        """One connection."""
        if not self.server.greeting:
            # Silent until the other side has had enough.
            self.rfile.read()
            return
        self._say(self.server.greeting)
        for line in self.rfile:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"QUIT":
                self._say("221 bye")
                return
            if word == b"RCPT":
                answer = self.server.recipients.pop(0) if self.server.recipients else "250 fine"
            elif word == b"DATA":
                self._say("354 go on")
                text = b""
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    text += part
                answer = self.server.mails.pop(0) if self.server.mails else "250 taken"
                if answer.startswith("250"):
                    self.server.taken.append(text.decode())
            else:
                answer = "250 fine"
            if not answer:
                return
            self._say(answer)

    def _say(self, answer: str) -> None:
        self.wfile.write(answer.encode() + b"\r\n")


@contextmanager
def mail_server() -> Iterator[Server]:
    """A server, with the site's mail going there."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            with override_settings(**settings_of("smtp", host="127.0.0.1", port=server.server_address[1])):
                yield server
        finally:
            server.shutdown()
            thread.join()


def settings_of(backend: str, **options: Any) -> dict[str, Any]:
    """Django's settings for a mail backend of its own."""
    path = f"django.core.mail.backends.{backend}.EmailBackend"
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": path, "OPTIONS": options}}}
    return {"EMAIL_BACKEND": path, **{f"EMAIL_{name.upper()}": value for name, value in options.items()}}


def addresses(mails: Sequence[Any]) -> list[str]:
    """Whom mails went to, in order."""
    return [address for mail in mails for address in mail.to]
