"""Acts on business reviews and their findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from csplaybooks.accounts.acts.checks import cleaned, found_by_id, require_not_later
from csplaybooks.accounts.acts.dated import PeriodWrite, Verdict, set_periods
from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import record_changes, require_aware, timeline_entry, write_timeline
from csplaybooks.accounts.models import (
    Account,
    Champion,
    Change,
    Finding,
    FindingState,
    Product,
    Qbr,
    TeamMember,
)
from csplaybooks.conf import company_time_zone


@dataclass(frozen=True, kw_only=True)
class NewFinding:
    """Something that came up; `product_id` is for gaps only, the product that fills it."""

    kind: str
    text: str
    product_id: int | None = None


@transaction.atomic
def log_qbr(
    *,
    account_id: int,
    held_at: datetime,
    findings: Sequence[NewFinding],
    now: datetime,
    actor: Any,
    led_by_id: int | None = None,
    attendee_ids: Iterable[int] = (),
    summary: str = "",
    next_on: date | None = None,
) -> Qbr:
    """Log a review that was held, with its outcome; its findings are open from `held_at` on.

    Raises ValidationError, naming the field, for an unknown account, leader, attendee or product, an attendee
    of another account, a product on something else than a gap, a review in the future or a next one before
    it.
    """
    require_not_later(now, held_at=held_at)
    _check_next(next_on, held_at)
    accounts = found_by_id(Account.objects.all(), [account_id], field="account")
    found_by_id(TeamMember.objects.all(), [led_by_id], field="led_by")
    attendees = _checked_attendees(attendee_ids, account_id)
    products = _checked_products(findings)
    qbr: Qbr = Qbr.objects.create(
        account=accounts[account_id],
        held_at=held_at,
        led_by_id=led_by_id,
        summary=summary,
        next_on=next_on,
        updated_at=now,
    )
    qbr.attendees.add(*attendees)
    [change] = record_changes(kind="qbr", account_ids=[account_id], now=now)
    _write_findings(findings, account_id=account_id, qbr=qbr, at=held_at, now=now, change=change)
    text = "QBR held; "
    text += f"{_count(findings)}: {_list(findings, products)}" if findings else "no findings"
    write_timeline(
        [
            timeline_entry(
                account_id=account_id,
                at=held_at,
                now=now,
                kind="qbr_held",
                text=text,
                subject=qbr,
                actor=actor,
            )
        ]
    )
    return qbr


@transaction.atomic
def mend_qbr(
    *,
    qbr_id: int,
    summary: str,
    next_on: date | None,
    attendee_ids: Iterable[int],
    findings: Sequence[NewFinding],
    now: datetime,
    actor: Any,
    expected_version: int | None = None,
) -> Qbr:
    """Mend the notes of a review, and add what was left out: it came up at the review, too.

    What differs is written and told, nothing else. Raises Qbr.DoesNotExist, Conflict when the review's version is not
    `expected_version` (None: whatever it is), ValidationError as `log_qbr` does.
    """
    require_aware(now=now)
    qbr: Qbr = Qbr.objects.select_related("account").select_for_update(of=("self",), no_key=True).get(pk=qbr_id)
    if expected_version is not None and qbr.version != expected_version:
        raise Conflict(qbr, expected=expected_version)
    _check_next(next_on, qbr.held_at)
    attendees = _checked_attendees(attendee_ids, qbr.account_id)
    there = set(qbr.attendees.values_list("pk", flat=True))
    parts = [
        name
        for name, differs in (
            ("summary", qbr.summary != summary),
            ("next review", qbr.next_on != next_on),
            ("attendees", there != set(attendees)),
        )
        if differs
    ]
    if parts:
        read_version = qbr.version
        qbr.summary, qbr.next_on, qbr.version, qbr.updated_at = summary, next_on, read_version + 1, now
        # Where the database has no row locks, the version decides who was first.
        unchanged = Qbr.objects.filter(pk=qbr_id, version=read_version)
        if not unchanged.update(summary=summary, next_on=next_on, version=qbr.version, updated_at=now):
            raise Conflict(qbr, expected=read_version)
        qbr.attendees.set(attendees)
        write_timeline(
            [
                timeline_entry(
                    account_id=qbr.account_id,
                    at=now,
                    now=now,
                    kind="qbr_mended",
                    text=f"{qbr} mended: {', '.join(parts)}",
                    subject=qbr,
                    actor=actor,
                )
            ]
        )
    add_findings(account_id=qbr.account_id, qbr_id=qbr.pk, findings=findings, at=qbr.held_at, now=now, actor=actor)
    return qbr


@transaction.atomic
def add_findings(
    *,
    account_id: int,
    findings: Sequence[NewFinding],
    at: datetime,
    now: datetime,
    actor: Any,
    qbr_id: int | None = None,
) -> list[Finding]:
    """Raise findings by hand, or add them to a review; they are open from `at` on. Answers in their order.

    Raises ValidationError, naming the field, for an unknown account, review or product, a review of another
    account, a product on something else than a gap, or a moment in the future.
    """
    require_not_later(now, at=at)
    found_by_id(Account.objects.all(), [account_id], field="account")
    qbr = found_by_id(Qbr.objects.all(), [qbr_id], field="qbr").get(qbr_id) if qbr_id is not None else None
    if qbr is not None and qbr.account_id != account_id:
        raise ValidationError({"qbr": "This review was held with another account."})
    products = _checked_products(findings)
    if not findings:
        return []
    [change] = record_changes(kind="findings", account_ids=[account_id], now=now)
    rows = _write_findings(findings, account_id=account_id, qbr=qbr, at=at, now=now, change=change)
    write_timeline(
        [
            timeline_entry(
                account_id=account_id,
                at=at,
                now=now,
                kind="findings_added",
                text=f"{_count(findings)} added: {_list(findings, products)}",
                subject=qbr or rows[0],
                actor=actor,
            )
        ]
    )
    return rows


@transaction.atomic
def set_finding_status(
    *, finding_ids: Iterable[int], status: str, effective_at: datetime, now: datetime, actor: Any
) -> dict[int, Verdict]:
    """Settle findings, drop them or open them again from `effective_at` on; answers by finding.

    Raises ValidationError for an unknown status or finding, a moment in the future or before a finding came
    up.
    """
    require_not_later(now, effective_at=effective_at)
    status = cleaned(FindingState, {"status": status})["status"]
    ids = list(dict.fromkeys(finding_ids))
    findings = found_by_id(Finding.objects.all(), ids, field="findings")
    results = set_periods(
        model=FindingState,
        writes=[
            PeriodWrite(
                key={"finding_id": pk},
                values={"status": status},
                effective_at=effective_at,
                account_id=findings[pk].account_id,
            )
            for pk in ids
        ],
        kind="findings",
        now=now,
    )
    if any(result.before is None for result in results):
        raise ValidationError({"effective_at": "This is before the finding came up."})
    verdicts = {pk: result.verdict for pk, result in zip(ids, results, strict=True)}
    told = [pk for pk, verdict in verdicts.items() if verdict != Verdict.UNCHANGED]
    if told:
        Finding.objects.filter(pk__in=told).update(version=F("version") + 1, updated_at=now)
    said = "opened again" if status == FindingState.Status.OPEN else status
    write_timeline(
        timeline_entry(
            account_id=findings[pk].account_id,
            at=effective_at,
            now=now,
            kind="finding_status",
            text=f"{findings[pk].get_kind_display()} {said}: {findings[pk].text}",
            subject=findings[pk],
            actor=actor,
        )
        for pk in told
    )
    return verdicts


def _check_next(next_on: date | None, held_at: datetime) -> None:
    if next_on is not None and next_on <= held_at.astimezone(company_time_zone()).date():
        raise ValidationError({"next_on": "The next review comes after this one."})


def _checked_attendees(attendee_ids: Iterable[int], account_id: int) -> dict[int, Champion]:
    """Who was there, by id; all of them people of this account."""
    attendees = found_by_id(Champion.objects.all(), attendee_ids, field="attendees")
    if strangers := [str(person.name) for person in attendees.values() if person.account_id != account_id]:
        raise ValidationError({"attendees": f"{', '.join(strangers)} belongs to another account."})
    return attendees


def _checked_products(findings: Sequence[NewFinding]) -> dict[int, Product]:
    """The products that findings name, by id; checks the findings themselves too."""
    for finding in findings:
        cleaned(Finding, {"kind": finding.kind, "text": finding.text})
        if finding.product_id is not None and finding.kind != Finding.Kind.GAP:
            raise ValidationError({"product": "Only a gap names the product that fills it."})
    return found_by_id(Product.objects.all(), (finding.product_id for finding in findings), field="product")


def _write_findings(
    findings: Sequence[NewFinding],
    *,
    account_id: int,
    qbr: Qbr | None,
    at: datetime,
    now: datetime,
    change: Change,
) -> list[Finding]:
    rows: list[Finding] = Finding.objects.bulk_create(
        Finding(
            account_id=account_id,
            qbr=qbr,
            kind=finding.kind,
            text=finding.text,
            product_id=finding.product_id,
            updated_at=now,
        )
        for finding in findings
    )
    # They are new, so they have no history that `set_periods` would have to mind.
    FindingState.objects.bulk_create(
        FindingState(finding=row, status=FindingState.Status.OPEN, valid_from=at, change=change) for row in rows
    )
    return rows


def _count(findings: Sequence[NewFinding]) -> str:
    return f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"


def _list(findings: Sequence[NewFinding], products: dict[int, Product]) -> str:
    """Such as `gap (Analytics), risk`."""
    return ", ".join(
        finding.kind if finding.product_id is None else f"{finding.kind} ({products[finding.product_id]})"
        for finding in findings
    )
