"""Acts on reviews and findings."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import NewFinding, add_findings, log_qbr, set_finding_status
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    ChampionFactory,
    FindingFactory,
    ProductFactory,
    QbrFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Change, Finding, FindingState, Qbr, TimelineEntry

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=100)
HELD = NOW - timedelta(days=3)


def test_a_review_is_logged_with_its_outcome(told: list[str]) -> None:
    account, analytics, ada = AccountFactory(), ProductFactory(name="Analytics"), TeamMemberFactory()
    people = ChampionFactory.create_batch(2, account=account)
    user = UserFactory()
    qbr = log_qbr(
        account_id=account.pk,
        held_at=HELD,
        findings=[
            NewFinding(kind="gap", text="Reports by hand", product_id=analytics.pk),
            NewFinding(kind="risk", text="Budget is tight"),
        ],
        led_by_id=ada.pk,
        attendee_ids=[person.pk for person in people],
        summary="Good talk.",
        next_on=date(2026, 1, 1),
        now=NOW,
        actor=user,
    )
    qbr.refresh_from_db()
    assert (qbr.account, qbr.held_at, qbr.led_by, qbr.summary) == (account, HELD, ada, "Good talk.")
    assert (qbr.next_on, qbr.updated_at, set(qbr.attendees.all())) == (date(2026, 1, 1), NOW, set(people))
    risk, gap = qbr.findings.order_by("-pk")
    assert (gap.kind, gap.text, gap.product, gap.account) == ("gap", "Reports by hand", analytics, account)
    assert (risk.kind, risk.product) == ("risk", None)
    [change] = Change.objects.filter(kind="qbr")
    assert change.account == account
    assert {(state.status, state.valid_from, state.change) for state in FindingState.objects.all()} == {
        ("open", HELD, change)
    }
    entry = TimelineEntry.objects.get()
    assert entry.text == "QBR held; 2 findings: gap (Analytics), risk"
    assert (entry.at, entry.recorded_at, entry.actor, entry.subject_id) == (HELD, NOW, user, qbr.pk)
    assert told == ["qbr"]


def test_a_review_without_findings() -> None:
    log_qbr(account_id=AccountFactory().pk, held_at=HELD, findings=[], now=NOW, actor=None)
    assert TimelineEntry.objects.get().text == "QBR held; no findings"


def test_what_does_not_fit_is_refused_by_name(told: list[str]) -> None:
    account, product = AccountFactory(), ProductFactory()
    stranger = ChampionFactory(name="Eve")

    def refused(**kwargs: Any) -> dict[str, list[str]]:
        given: dict[str, Any] = {"account_id": account.pk, "held_at": HELD, "findings": []}
        with pytest.raises(ValidationError) as error:
            log_qbr(now=NOW, actor=None, **(given | kwargs))
        messages: dict[str, list[str]] = error.value.message_dict
        return messages

    assert list(refused(account_id=999_999)) == ["account"]
    assert list(refused(held_at=NOW + timedelta(hours=1))) == ["held_at"]
    assert list(refused(led_by_id=999_999)) == ["led_by"]
    assert list(refused(attendee_ids=[999_999])) == ["attendees"]
    assert refused(attendee_ids=[stranger.pk]) == {"attendees": ["Eve belongs to another account."]}
    assert list(refused(findings=[NewFinding(kind="gap", text="?", product_id=999_999)])) == ["product"]
    assert list(refused(findings=[NewFinding(kind="risk", text="?", product_id=product.pk)])) == ["product"]
    assert list(refused(findings=[NewFinding(kind="rumour", text="?")])) == ["kind"]
    assert list(refused(findings=[NewFinding(kind="gap", text="")])) == ["text"]
    assert list(refused(next_on=HELD.date())) == ["next_on"]
    assert not Qbr.objects.exists()
    assert told == []


@pytest.mark.parametrize("count", [1, 50])
def test_a_review_takes_the_same_queries_whatever_came_up(count: int, django_assert_num_queries: Any) -> None:
    account, product, ada = AccountFactory(), ProductFactory(), TeamMemberFactory()
    people = [person.pk for person in ChampionFactory.create_batch(count, account=account)]
    findings = [NewFinding(kind="gap", text="Reports", product_id=product.pk)] * count
    # Savepoint (2); account, leader, people, products; review, its people, record, findings, states, timeline.
    with django_assert_num_queries(12):
        log_qbr(
            account_id=account.pk,
            held_at=HELD,
            findings=findings,
            led_by_id=ada.pk,
            attendee_ids=people,
            now=NOW,
            actor=None,
        )


def test_findings_are_raised_by_hand(told: list[str]) -> None:
    account = AccountFactory()
    [finding] = add_findings(
        account_id=account.pk,
        findings=[NewFinding(kind="risk", text="Budget is tight")],
        at=HELD,
        now=NOW,
        actor=None,
    )
    assert (finding.account, finding.qbr) == (account, None)
    assert finding.states.get().valid_from == HELD
    entry = TimelineEntry.objects.get()
    assert (entry.text, entry.subject_id) == ("1 finding added: risk", finding.pk)
    assert told == ["findings"]


def test_findings_are_added_to_a_review_of_the_same_account() -> None:
    qbr = QbrFactory()
    given: dict[str, Any] = {
        "findings": [NewFinding(kind="win", text="Roll-out done")],
        "at": HELD,
        "now": NOW,
        "actor": None,
        "qbr_id": qbr.pk,
    }
    [finding] = add_findings(account_id=qbr.account_id, **given)
    assert finding.qbr == qbr
    assert TimelineEntry.objects.get().subject_label == str(qbr)
    with pytest.raises(ValidationError, match="held with another account"):
        add_findings(account_id=AccountFactory().pk, **given)


def test_no_findings_is_nothing_to_do(told: list[str]) -> None:
    assert add_findings(account_id=AccountFactory().pk, findings=[], at=HELD, now=NOW, actor=None) == []
    assert told == []


def test_a_finding_is_settled_and_opened_again(told: list[str]) -> None:
    finding = FindingFactory(text="Reports by hand")

    def put(status: str, days: int) -> Any:
        return set_finding_status(
            finding_ids=[finding.pk],
            status=status,
            effective_at=START + timedelta(days=days),
            now=NOW,
            actor=None,
        )[finding.pk]

    assert [put("open", 1), put("settled", 5), put("open", 9), put("dropped", 20)] == [
        "unchanged",
        "updated",
        "updated",
        "updated",
    ]
    states = FindingState.objects.filter(finding=finding)
    assert [states.holding_at(START + timedelta(days=days)).get().status for days in (0, 5, 9, 20)] == [
        "open",
        "settled",
        "open",
        "dropped",
    ]
    assert [entry.text for entry in TimelineEntry.objects.order_by("pk")] == [
        "Gap settled: Reports by hand",
        "Gap opened again: Reports by hand",
        "Gap dropped: Reports by hand",
    ]
    finding.refresh_from_db()
    assert (finding.version, finding.updated_at) == (4, NOW)
    assert told == ["findings"] * 3


def test_a_finding_is_not_settled_before_it_came_up_nor_in_the_future(told: list[str]) -> None:
    finding = FindingFactory()
    for moment in (START - timedelta(seconds=1), NOW + timedelta(seconds=1)):
        with pytest.raises(ValidationError) as refused:
            set_finding_status(finding_ids=[finding.pk], status="settled", effective_at=moment, now=NOW, actor=None)
        assert list(refused.value.message_dict) == ["effective_at"]
    assert FindingState.objects.get().status == "open"
    assert not TimelineEntry.objects.exists()


def test_an_unknown_finding_or_status_is_named() -> None:
    with pytest.raises(ValidationError, match="There is no finding with the id 999999"):
        set_finding_status(finding_ids=[999_999], status="settled", effective_at=NOW, now=NOW, actor=None)
    with pytest.raises(ValidationError) as refused:
        set_finding_status(finding_ids=[], status="gone", effective_at=NOW, now=NOW, actor=None)
    assert list(refused.value.message_dict) == ["status"]


@pytest.mark.parametrize("count", [1, 50])
def test_settling_many_takes_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    ids = [finding.pk for finding in FindingFactory.create_batch(count)]
    # Savepoints (4); findings; lock, read, record, supersede, insert; finding rows, timeline.
    with django_assert_num_queries(12):
        set_finding_status(finding_ids=ids, status="settled", effective_at=NOW, now=NOW, actor=None)
    assert Finding.objects.filter(version=2).count() == count
