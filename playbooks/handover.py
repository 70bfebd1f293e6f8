"""What goes with an offer: all that whoever it is offered to needs to know, in the words of that moment.

It is frozen on the offer (`Handoff.context`). Who reads it later is told as much of it as they may read of such things
then (`readable_context`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import OuterRef, Q, QuerySet, Subquery

from csplaybooks.accounts.models import Account, AccountFacts, Champion, Entitlement, Finding, FindingState, Qbr
from csplaybooks.playbooks.measures.base import day_of, from_milli, number
from csplaybooks.playbooks.models import Handoff, Play
from csplaybooks.playbooks.quotes import may_read, words_of
from csplaybooks.signals.models import Meter, Reading

#: At most this many people, findings, wins, meters and plans of an account are told.
MOST_TOLD = 10

#: At most this many letters of a review's summary.
MOST_OF_A_SUMMARY = 500

#: Whom to talk to first.
_IN_ORDER = (
    *(Champion.Role.ECONOMIC_BUYER, Champion.Role.CHAMPION, Champion.Role.EXECUTIVE_SPONSOR),
    *(Champion.Role.ADMIN, Champion.Role.USER),
)

#: What of it is for those who may look at such things of the account: its name to the table.
_NEEDS: Mapping[str, str] = {
    "people": "csplaybooks_accounts.champion",
    "findings": "csplaybooks_accounts.finding",
    "wins": "csplaybooks_accounts.finding",
    "review": "csplaybooks_accounts.qbr",
    "usage": "csplaybooks_signals.reading",
    "plans": "csplaybooks_accounts.entitlement",
    "mrr_minor": "csplaybooks_accounts.entitlement",
    "renewal_on": "csplaybooks_accounts.accountfacts",
}


def contexts_of(plays: Sequence[Play], now: datetime) -> dict[int, dict[str, Any]]:
    """What goes with the offers of plays, by play id. Their accounts and playbooks are at hand; seven queries.

    `found` are the words of the evidence, `worth_minor` the expected monthly revenue in minor units and `worked_out`
    how, `people` whom to talk to, `findings` what is open, the newest first. The value shown: `wins` that reviews
    brought up, the last `review`, and `usage`, the latest reading of each meter that is not too old. `plans` are what
    they hold, for `mrr_minor` a month, and `renewal_on` is the day on which they renew, in ISO 8601. Nothing known is
    an empty list, an empty text or None.
    """
    accounts = {play.account_id for play in plays}
    people = _people(accounts)
    findings: dict[int, list[str]] = defaultdict(list)
    wins: dict[int, list[str]] = defaultdict(list)
    for finding in _findings(accounts):
        told = wins if finding.kind == Finding.Kind.WIN else findings
        told[finding.account_id].append(
            finding.text if finding.kind == Finding.Kind.WIN else f"{finding.get_kind_display()}: {finding.text}"
        )
    plans, mrr = _holdings(accounts, now)
    latest = _latest(accounts, now)
    return {
        play.pk: {
            "account": play.account.name,
            "playbook": play.playbook.name,
            "found": [item["words"] for item in play.evidence if item.get("words")],
            "worth_minor": play.expected_amount_minor,
            "worked_out": play.amount_working.get("words", ""),
            "people": people[play.account_id][:MOST_TOLD],
            "findings": findings[play.account_id][:MOST_TOLD],
            "wins": wins[play.account_id][:MOST_TOLD],
            **latest[play.account_id],
            "plans": plans[play.account_id][:MOST_TOLD],
            "mrr_minor": mrr.get(play.account_id),
        }
        for play in plays
    }


def readable_context(viewer: Any, offer: Handoff) -> dict[str, Any]:
    """What went with an offer, as far as a viewer (a user or an API token) may see the account and such things now.

    The offer's play is at hand.
    """
    here = Account.objects.visible_to(viewer).filter(pk=offer.play.account_id).exists()
    reader = viewer if here else AnonymousUser()
    context = {
        name: said
        for name, said in offer.context.items()
        if name not in _NEEDS or (here and may_read(viewer, _NEEDS[name]))
    }
    told = words_of(reader, offer.play.evidence)
    if told != words_of(None, offer.play.evidence):
        context["found"] = list(told)
    return context


def _people(accounts: Iterable[int]) -> Mapping[int, list[str]]:
    people: dict[int, list[str]] = defaultdict(list)
    there = Champion.objects.filter(account__in=accounts, left_on__isnull=True).order_by("account", "pk")
    for champion in sorted(there, key=lambda person: _IN_ORDER.index(person.role)):
        title = f", {champion.title}" if champion.title else ""
        people[champion.account_id].append(f"{champion.name}{title} ({champion.get_role_display()})")
    return people


def _findings(accounts: Iterable[int]) -> QuerySet[Any]:
    """What is open at accounts, and the wins that were settled; the newest first."""
    status = FindingState.objects.current().filter(finding=OuterRef("pk")).order_by().values("status")[:1]
    rows = Finding.objects.filter(account__in=accounts).annotate(status=Subquery(status))
    is_open, settled = Q(status=FindingState.Status.OPEN), Q(status=FindingState.Status.SETTLED)
    told: QuerySet[Any] = rows.filter(is_open | (settled & Q(kind=Finding.Kind.WIN))).order_by("account", "-pk")
    return told


def _holdings(accounts: Iterable[int], now: datetime) -> tuple[Mapping[int, list[str]], Mapping[int, int]]:
    """What accounts hold now in words, the dearest first, and what they pay for it a month, in minor units."""
    plans: dict[int, list[str]] = defaultdict(list)
    mrr: dict[int, int] = defaultdict(int)
    held = Entitlement.objects.holding_at(now).filter(account__in=accounts).select_related("product", "plan")
    for row in held.order_by("account", "-mrr_minor", "pk"):
        what = row.product.name if row.plan is None else f"{row.product.name}, {row.plan.name}"
        plans[row.account_id].append(f"{what}: {row.quantity:,}")
        mrr[row.account_id] += row.mrr_minor
    return plans, mrr


def _latest(accounts: Iterable[int], now: datetime) -> Mapping[int, dict[str, Any]]:
    """The last review of accounts, the latest reading of each meter, and when they renew."""
    meters = {meter.pk: meter for meter in Meter.objects.order_by("key")[:MOST_TOLD]}
    review = Qbr.objects.filter(account=OuterRef("pk"), held_at__lte=now).order_by("-held_at", "-pk")
    facts = AccountFacts.objects.holding_at(now).filter(account=OuterRef("pk")).order_by("-valid_from", "-pk")
    rows = (
        Account.objects.filter(pk__in=accounts)
        .order_by()
        .values_list(
            "pk",
            Subquery(review.values("pk")[:1]),
            Subquery(facts.values("renewal_on")[:1]),
            *(Subquery(_readings(meter, now).values("pk")[:1]) for meter in meters.values()),
        )
    )
    found = list(rows)
    reviews = Qbr.objects.in_bulk([row[1] for row in found if row[1] is not None])
    readings = Reading.objects.in_bulk([pk for row in found for pk in row[3:] if pk is not None])
    return {
        account: {
            "review": _review(reviews[review_id]) if review_id is not None else "",
            "usage": [_usage(meters[readings[pk].meter_id], readings[pk]) for pk in reading_ids if pk is not None],
            "renewal_on": renewal_on.isoformat() if renewal_on is not None else None,
        }
        for account, review_id, renewal_on, *reading_ids in found
    }


def _readings(meter: Meter, now: datetime) -> QuerySet[Any]:
    """The readings of a meter at the account outside that count and are not too old, the latest first."""
    counting = Reading.objects.effective_one_by_one_at(None).filter(account=OuterRef("pk"), meter=meter)
    readings: QuerySet[Any] = counting.in_window(now - timedelta(days=meter.max_age_days), now)
    return readings.order_by("-occurred_at", "-pk")


def _review(review: Qbr) -> str:
    summary = review.summary.strip()
    if len(summary) > MOST_OF_A_SUMMARY:
        summary = f"{summary[:MOST_OF_A_SUMMARY].rstrip()}…"
    return day_of(review.held_at) + (f": {summary}" if summary else "")


def _usage(meter: Meter, reading: Reading) -> str:
    used, limit = from_milli(reading.used_milli), from_milli(reading.limit_milli or 0)
    of = f" of {number(limit)}" if limit else ""
    unit = f" {meter.unit}" if meter.unit else ""
    return f"{meter.name}: {number(used)}{of}{unit} on {day_of(reading.occurred_at)}"
