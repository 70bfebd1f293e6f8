"""The doctor on mail: what waits to be written or sent, and what was given up."""

from __future__ import annotations

from typing import Any

import pytest

from csplaybooks.playbooks.factories import DeliveryFactory, NoticeFactory
from csplaybooks.playbooks.models import Delivery, Notice
from tests.operations.examining import HOUR, MINUTE, NOW, SECOND, trouble, troubles, well

pytestmark = pytest.mark.django_db


def test_a_notice_whose_mail_nobody_writes() -> None:
    NoticeFactory(way="now", at=NOW - 601 * SECOND, play__clocks_started_at=NOW)
    NoticeFactory(way="digest", at=NOW - HOUR, play__clocks_started_at=NOW)
    well()
    assert trouble("mails") == (
        "red",
        "The oldest notice has waited 10 minutes for its mail to be written; 1 notice of 1 member so long.",
    )
    Notice.objects.update(at=NOW - 600 * SECOND)
    assert troubles() == {}


def test_a_mail_that_nobody_sends() -> None:
    DeliveryFactory(queued_at=NOW - 601 * SECOND)
    well()
    assert trouble("mails") == ("red", "The oldest mail has waited 10 minutes to be sent.")
    Delivery.objects.update(last_error="ConnectionRefusedError: no")
    level, seen, mend = troubles()["mails"]
    assert (level, seen) == ("red", "The oldest mail has waited 10 minutes to be sent: ConnectionRefusedError: no")
    assert "EMAIL_HOST" in mend
    # Put back a moment ago it waits since then; one that failed is told of the tray.
    Delivery.objects.update(next_try_at=NOW - MINUTE)
    assert troubles() == {}
    Delivery.objects.update(next_try_at=NOW - HOUR, attempts=1)
    assert set(troubles()) == {"mail_tray"}


@pytest.mark.parametrize(
    ("values", "seen", "query", "action"),
    [
        ({"stuck_at": NOW, "attempts": 5}, "1 mail was given up.", "?stuck_at__isempty=0", "'Try again what is stuck'"),
        (
            {"attempts": 1, "next_try_at": NOW + HOUR},
            "1 mail was put back after a failure, and will be tried again.",
            "?state=queued",
            "Its error stands there",
        ),
        (
            {"state": "unclear"},
            "1 mail was left unclear: whoever sent it died, or the connection broke.",
            "?state=unclear",
            "'Do not send'",
        ),
    ],
)
def test_mails_that_failed(values: dict[str, Any], seen: str, query: str, action: str) -> None:
    DeliveryFactory(queued_at=NOW, **values)
    well()
    level, said, mend = troubles()["mail_tray"]
    assert (level, said) == ("warn", seen)
    assert f"{query})" in mend
    assert action in mend


def test_mails_that_went_are_no_trouble() -> None:
    DeliveryFactory(queued_at=NOW - HOUR, state="sent", sent_at=NOW)
    DeliveryFactory(queued_at=NOW - HOUR, state="cancelled")
    DeliveryFactory(queued_at=NOW)
    well()
    assert troubles() == {}
