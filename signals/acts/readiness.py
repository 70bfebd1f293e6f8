"""Acts on readiness: publish weights, write the scores of a day, forget those of days long past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.record import (
    acting_user,
    record_changes,
    require_aware,
    timeline_entry,
    write_timeline,
)
from csplaybooks.accounts.documents import DocumentError
from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.signals.acts.pruning.sums import delete_these
from csplaybooks.signals.horizon import midnight
from csplaybooks.signals.intake.storing import connection_of
from csplaybooks.signals.models import ReadinessWeights, ScoreSnapshot
from csplaybooks.signals.readiness.scoring import scoring
from csplaybooks.signals.readiness.weights import (
    PERIOD_DAYS,
    SHARES,
    STARTER,
    Weights,
    kinds_named,
    read_weights,
    strengths_now,
)


@dataclass(frozen=True)
class PublishedWeights:
    """What publishing came to: the version in force, and created, updated or unchanged."""

    version: ReadinessWeights
    verdict: str


def publish_weights(
    *, text: str, now: datetime, actor: Any = None, expected_number: int | None = None
) -> PublishedWeights:
    """Freeze a document as the next version of the weights, which count from now on.

    The strength of each kind of signal is frozen with it. A text equal to that in force changes nothing, unless a kind
    has another strength by now. The change is told to the evaluator like any other input, for all accounts.

    Raises `DocumentError` where the document is none, names a signal type that is not there, or one that counts for
    longer than signals are kept; Conflict where the version in force is not `expected_number` (0: none; None: whatever
    it is), or somebody else publishes at this moment.
    """
    require_aware(now=now)
    document = read_weights(text)
    with transaction.atomic():
        before = ReadinessWeights.objects.in_force()
        number = before.number if before else 0
        if expected_number is not None and expected_number != number:
            raise Conflict(before or "readiness weights", expected=expected_number)
        named = kinds_named(document)
        document["strengths"] = strengths_now(named)
        if errors := [*_unknown(named, document["strengths"]), *_too_long(named, document["strengths"])]:
            raise DocumentError(errors)
        if before is not None and (before.source, before.document) == (text, document):
            return PublishedWeights(before, "unchanged")
        version = ReadinessWeights(
            number=number + 1,
            source=text,
            document=document,
            published_at=now,
            published_by=acting_user(actor),
        )
        try:
            with transaction.atomic():
                version.save(force_insert=True)
        except IntegrityError:
            # Somebody else has published this very number meanwhile.
            raise Conflict(before or "readiness weights", expected=number) from None
        record_changes(kind="readiness_weights_published", account_ids=[None], now=now)
        said = timeline_entry(
            account_id=None,
            at=now,
            now=now,
            kind="readiness_weights_published",
            text=f"Readiness weights v{version.number} published",
            subject=version,
            actor=actor,
        )
        write_timeline([said])
    return PublishedWeights(version, "updated" if before else "created")


def _unknown(named: Mapping[str, str], there: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for key, path in named.items():
        if key not in there:
            yield path, f"there is no signal type {key}"


def _too_long(named: Mapping[str, str], strengths: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    kept = csplaybooks_settings.RETENTION_DAYS
    for key, path in named.items():
        strength = strengths.get(key)
        days = PERIOD_DAYS[strength] * len(SHARES) if strength else 0
        if kept and days > kept:
            yield (
                path,
                f"{strength} signals count for {days} days, and signals are kept for {kept:,} days: leave it out, or "
                "raise RETENTION_DAYS",
            )


def load_starter_weights(*, now: datetime, actor: Any = None) -> PublishedWeights | None:
    """Publish the weights that a new site begins with; None where there are weights already.

    Raises `DocumentError` as `publish_weights` does, where signals are kept for too short a time.
    """
    with transaction.atomic():
        if ReadinessWeights.objects.exists():
            return None
        return publish_weights(text=STARTER.read_text(encoding="utf-8"), now=now, actor=actor)


def snapshot_scores(*, now: datetime) -> int | None:
    """Write the score of every account that is there for every motion, for the day of `now`; answers how many rows.

    The day is that of the company time zone, and the scores are those of its first instant, as far as is known now.
    Scores of zero have no row. One statement in one transaction, whatever the number of accounts: it may die at any
    point, and a second time, or of two at once, it adds nothing. None where there are no weights.

    Raises `Forgotten` where signals that count have been pruned.
    """
    require_aware(now=now)
    weights = Weights.in_force()
    if weights is None:
        return None
    day = now.astimezone(company_time_zone()).date()
    with transaction.atomic():
        question = scoring(weights, list(weights.motions), as_of=midnight(day), living=True)
        if question is None:
            return 0
        sql, params = question
        connection = connection_of(ScoreSnapshot)
        table = connection.ops.quote_name(ScoreSnapshot._meta.db_table)
        # "WHERE TRUE" lets SQLite tell the ON of the conflict from that of a join. In the order of the key, so that
        # two at once wait for each other, and never both.
        statement = (
            f"INSERT INTO {table} (account_id, motion, day, score, weights_id)"  # noqa: S608 - names and SQL are ours
            f" SELECT owner, motion, %s, score, %s FROM {sql} scored WHERE TRUE ORDER BY owner, motion"
            " ON CONFLICT (account_id, motion, day) DO NOTHING"
        )
        with connection.cursor() as cursor:
            cursor.execute(statement, [connection.ops.adapt_datefield_value(day), weights.id, *params])
            return int(cursor.rowcount)


def prune_scores(*, before: date, limit: int) -> int:
    """Delete at most `limit` scores of days before a day, the oldest first; answers how many."""
    with transaction.atomic():
        old = ScoreSnapshot.objects.filter(day__lt=before).order_by("day", "motion")
        ids = list(old.values_list("pk", flat=True)[:limit])
        delete_these(ScoreSnapshot, ids)
    return len(ids)
