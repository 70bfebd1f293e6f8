"""The doctor's questions about mail: what waits to be written or sent, and what was given up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import Coalesce

from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.doctor.findings import Finding, Level, Look, in_words
from csplaybooks.playbooks.doctor.limits import waiting_limit
from csplaybooks.playbooks.doctor.waiting import PASSED_BY, admin_page
from csplaybooks.playbooks.models import Delivery
from csplaybooks.playbooks.pipeline.digests import due_today
from csplaybooks.playbooks.pipeline.mails import unwritten
from csplaybooks.playbooks.pipeline.sender import queued

SEE_TO_THE_SERVER = (
    "Where the mail server is named here, see to it, or to the settings that lead to it (EMAIL_HOST and its like, "
    f"MAILERS, EMAIL_URL): all mails wait and none is lost. {PASSED_BY}"
)


def mails(look: Look) -> Iterator[Finding]:
    """Whether notices get their mails, and mails are sent; two queries, and one more where notices wait too long."""
    notice: Any = unwritten(look.now).order_by("pk").values_list("at", flat=True).first()
    if notice is not None and look.age(notice) > waiting_limit():
        late = unwritten(look.now).filter(at__lt=look.now - waiting_limit())
        counted = late.aggregate(notices=Count("pk"), members=Count("member", distinct=True))
        count = in_numbers(counted["notices"], "notice") + " of " + in_numbers(counted["members"], "member")
        seen = f"The oldest notice has waited {in_words(look.age(notice))} for its mail to be written; {count} so long."
        yield Finding("mails", Level.RED, seen, f"{PASSED_BY} It names the members whose mail cannot be written.")
    # One that failed waits for its next try: that is told of the tray. One put back waits since then.
    ready = queued().filter(attempts=0).workable_at(look.now).annotate(since=Coalesce("next_try_at", "queued_at"))
    oldest = ready.order_by("queued_at", "pk").values_list("since", "last_error").first()
    if oldest is None:
        if notice is None:
            yield Finding("mails", Level.OK, "no mail waits")
        return
    age = look.age(oldest[0])
    seen = f"The oldest mail has waited {in_words(age)} to be sent" + (f": {oldest[1]}" if oldest[1] else ".")
    is_late = age > waiting_limit()
    yield Finding("mails", Level.RED, seen, SEE_TO_THE_SERVER) if is_late else Finding("mails", Level.OK, seen)


def in_numbers(count: int, noun: str) -> str:
    """So many of something: `1 notice`, `3 notices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def overdue_digests(now: datetime) -> list[str]:
    """Whose digest was due for longer than anything may wait, and still is, by name; two queries."""
    if not csplaybooks_settings.NOTICES_BY_MAIL:
        return []
    before = {(day.member.pk, day.on) for day in due_today(now - waiting_limit())}
    return [str(day.member) for day in due_today(now) if (day.member.pk, day.on) in before] if before else []


def mail_tray(look: Look) -> Iterator[Finding]:
    """How many mails were given up, are tried again, or are unclear, and whose digest fails; four queries."""
    counted = queued().aggregate(
        stuck=Count("pk", filter=Q(stuck_at__isnull=False)),
        failing=Count("pk", filter=Q(stuck_at__isnull=True, attempts__gt=0)),
    )
    unclear = Delivery.objects.filter(state=Delivery.State.UNCLEAR).count()
    told = (
        (counted["stuck"], "given up", "?stuck_at__isempty=0", "Mend what its error names, then choose the action"),
        (counted["failing"], "put back after a failure, and will be tried again", "?state=queued", ""),
        (
            unclear,
            "left unclear: whoever sent it died, or the connection broke",
            "?state=unclear",
            "Nobody knows whether it went, so it is not sent again by itself. Where it matters more that it comes than "
            "that it comes once, choose the action",
        ),
    )
    clean = True
    for count, what, query, mend in told:
        if count:
            clean = False
            was = "1 mail was" if count == 1 else f"{count} mails were"
            page = admin_page("delivery", query)
            action = f"{mend} 'Try again what is stuck', or 'Do not send'" if mend else "Its error stands there"
            yield Finding("mail_tray", Level.WARN, f"{was} {what}.", f"See its page{page}. {action}.")
    failing = overdue_digests(look.now)
    if failing:
        clean = False
        whose = in_numbers(len(failing), "member") + f" ({', '.join(failing[:3])}{', ...' if failing[3:] else ''})"
        seen = f"The digest of {whose} could not be written, and is tried again."
        yield Finding("mail_tray", Level.WARN, seen, "The log of the cluster tells why.")
    if clean:
        yield Finding("mail_tray", Level.OK, "no mail failed")
