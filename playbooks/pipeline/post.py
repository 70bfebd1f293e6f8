"""The way out of the house: one mail at a time through the site's own mail backend, and what its answer means."""

from __future__ import annotations

import logging
import smtplib
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend

from csplaybooks.playbooks.acts.deliveries import mail_from
from csplaybooks.playbooks.models import Delivery

logger = logging.getLogger("csplaybooks.post")

#: The longest that a mail server may take for one answer, in seconds; a site's own shorter limit holds.
ANSWER_SECONDS = 10


class Fate(Enum):
    """What became of a mail that was handed to the mail server."""

    SENT = "sent"
    #: Not taken, and may be taken later.
    LATER = "later"
    #: Not taken, and never will be.
    REFUSED = "refused"
    #: The connection broke: nobody knows whether it was taken.
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Answer:
    """What became of a mail, with the error in words."""

    fate: Fate
    error: str = ""


class OutOfReach(Exception):
    """The mail server cannot be reached, or the site's mail is not set up: nothing can be sent now."""


class Post:
    """One connection to the mail server for a batch of mails. Every wait is bounded.

    Raises OutOfReach where the site's mail backend cannot be made.
    """

    def __init__(self) -> None:
        mailers = getattr(mail, "mailers", None)
        try:
            # From Django 6.1 on a site may name its mailers.
            self._backend: Any = mail.get_connection() if mailers is None else mailers["default"]
        # A backend of the site's own may raise anything.
        except Exception as error:
            raise OutOfReach(in_words(error)) from error
        if isinstance(self._backend, SmtpBackend):
            self._backend.timeout = min(self._backend.timeout or ANSWER_SECONDS, ANSWER_SECONDS)

    def connect(self) -> None:
        """Have a connection that works now. Raises OutOfReach where the server does not answer, or lets us not in."""
        server = getattr(self._backend, "connection", None)
        try:
            if isinstance(server, smtplib.SMTP) and not _answers(server):
                # Servers end a connection after some time, or some mails. Found out before a mail is under way.
                self.close()
            self._backend.open()
        # Sockets, TLS, the server's refusals, a backend of the site's own: each has errors of its own.
        except Exception as error:
            raise OutOfReach(in_words(error)) from error

    def close(self) -> None:
        """End the connection; what goes wrong then concerns no mail."""
        try:
            self._backend.close()
        except Exception:
            logger.info("the connection to the mail server did not end well", exc_info=True)

    def send(self, delivery: Delivery) -> Answer:
        """Hand over one mail. Never raises: whatever happens is an answer."""
        try:
            sent = self._backend.send_messages([_message(delivery)])
        # An error that were let through would leave the mail neither sent nor given back.
        except Exception as error:
            logger.warning("mail %s was not sent", delivery.key, exc_info=True)
            return Answer(_fate_of(error), in_words(error))
        # Backends of others may answer nothing; none sent is zero.
        return Answer(Fate.LATER, "The mail backend sent nothing.") if sent == 0 else Answer(Fate.SENT)


def in_words(error: Exception) -> str:
    """An error as a row keeps it and people read it, a sentence: what the mail server answered, or what broke."""
    return f"{_sentence(error)[:499].replace(chr(0), '').rstrip('. ')}."


def _sentence(error: Exception) -> str:
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused) if refused:
            address, (code, text) = next(iter(refused.items()))
            return f"The mail server {_did(code)} {address}: {_answer(code, text)}"
        case smtplib.SMTPSenderRefused(smtp_code=code, smtp_error=text, sender=sender):
            return f"The mail server takes no mail from {sender}: {_answer(code, text)}"
        case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=text):
            return f"The mail server does not let us in: {_answer(code, text)}"
        case smtplib.SMTPDataError(smtp_code=code, smtp_error=text):
            return f"The mail server {_did(code)} the mail: {_answer(code, text)}"
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=text):
            return f"The mail server answered: {_answer(code, text)}"
        case smtplib.SMTPServerDisconnected() | TimeoutError():
            return f"The connection to the mail server broke: {error}"
        case smtplib.SMTPException():
            return f"The mail server cannot be used: {error}"
        case OSError():
            return f"The connection to the mail server failed: {error.strerror or error}"
    # Of a backend of the site's own, or of how mail is set up: whoever looks after it knows the name of the error.
    return f"Sending mail failed: {error} ({type(error).__name__})"


def _did(code: int) -> str:
    return "refused" if code >= 500 else "put off"


def _answer(code: int, text: bytes | str) -> str:
    """The answer of a mail server, in one line."""
    words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return " ".join([str(code), *words.split()])


def _message(delivery: Delivery) -> EmailMessage:
    return EmailMessage(
        subject=delivery.subject,
        body=delivery.body,
        from_email=mail_from(),
        to=[delivery.to_address],
        reply_to=[delivery.reply_to] if delivery.reply_to else None,
        headers={"Message-ID": delivery.message_id}
        # No answers from those who are out of office to what no person has written.
        | ({} if delivery.kind == Delivery.Kind.DRAFT else {"Auto-Submitted": "auto-generated"}),
    )


def _fate_of(error: Exception) -> Fate:
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            final = bool(refused) and all(code >= 500 for code, _ in refused.values())
            return Fate.REFUSED if final else Fate.LATER
        case smtplib.SMTPDataError(smtp_code=code):
            return Fate.REFUSED if code >= 500 else Fate.LATER
        case smtplib.SMTPServerDisconnected():
            return Fate.UNCLEAR
        case smtplib.SMTPException():
            # Of the sender or of ourselves: that is for the site to mend, and then the mail goes.
            return Fate.LATER
        case OSError():
            return Fate.UNCLEAR
        case ValueError():
            # The mail itself cannot be written down, such as an address that is none.
            return Fate.REFUSED
    return Fate.LATER


def _answers(server: smtplib.SMTP) -> bool:
    try:
        return server.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False
