"""Factories of the room `signals`: the smallest valid rows, the same at every call."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, time, timedelta
from typing import Any

import factory

from csplaybooks.accounts.factories import START, AccountFactory
from csplaybooks.accounts.models import Motion
from csplaybooks.signals import models


def _hash_of(event: Any) -> bytes:
    """Stands in for the hash of the item's body: different for different ids."""
    return hashlib.sha256(event.external_id.encode()).digest()


class SourceFactory(factory.django.DjangoModelFactory):
    """The product as a sender of events."""

    class Meta:
        model = models.Source
        django_get_or_create = ("key",)

    key = "product"
    first_seen_at = START


class SignalTypeFactory(factory.django.DjangoModelFactory):
    """A kind of event."""

    class Meta:
        model = models.SignalType
        django_get_or_create = ("key",)

    key = "feature_gate_hit"
    name = factory.LazyAttribute(lambda kind: kind.key.replace("_", " ").capitalize())
    strength = models.Strength.STRONG
    updated_at = START


class MeterFactory(factory.django.DjangoModelFactory):
    """A kind of level."""

    class Meta:
        model = models.Meter
        django_get_or_create = ("key",)

    key = "seats"
    name = factory.LazyAttribute(lambda meter: meter.key.replace("_", " ").capitalize())
    updated_at = START


class IntakeBatchFactory(factory.django.DjangoModelFactory):
    """A batch of one signal that was stored and that no run has taken note of."""

    class Meta:
        model = models.IntakeBatch

    class Params:
        readings = factory.Trait(kind=models.IntakeBatch.Kind.READINGS)

    kind = models.IntakeBatch.Kind.SIGNALS
    received = factory.LazyAttribute(lambda batch: batch.stored + batch.duplicate + batch.conflict + batch.refused)
    stored = 1
    duplicate = 0
    conflict = 0
    refused = 0
    recorded_at = START


class RefusedItemFactory(factory.django.DjangoModelFactory):
    """An item of an account that nobody knows."""

    class Meta:
        model = models.RefusedItem

    batch = factory.SubFactory(IntakeBatchFactory, stored=0, refused=1)
    index = 0
    code = "unknown_account"
    field = "account"
    message = "No account is known by this id."
    body = factory.LazyFunction(lambda: {"account": "nobody"})
    expires_at = START


class SignalFactory(factory.django.DjangoModelFactory):
    """A feature gate hit, in a batch of its own."""

    class Meta:
        model = models.Signal

    account = factory.SubFactory(AccountFactory)
    type = factory.SubFactory(SignalTypeFactory)
    source = factory.SubFactory(SourceFactory)
    external_id = factory.Sequence(lambda number: f"signal-{number}")
    occurred_at = START
    batch = factory.SubFactory(IntakeBatchFactory, recorded_at=factory.SelfAttribute("..occurred_at"))
    body_hash = factory.LazyAttribute(_hash_of)


class ReadingFactory(factory.django.DjangoModelFactory):
    """Eighteen of twenty seats in use, in a batch of its own; thousandths."""

    class Meta:
        model = models.Reading

    account = factory.SubFactory(AccountFactory)
    meter = factory.SubFactory(MeterFactory)
    source = factory.SubFactory(SourceFactory)
    external_id = factory.Sequence(lambda number: f"reading-{number}")
    occurred_at = START
    used_milli = 18_000
    limit_milli = 20_000
    batch = factory.SubFactory(IntakeBatchFactory, readings=True, recorded_at=factory.SelfAttribute("..occurred_at"))
    body_hash = factory.LazyAttribute(_hash_of)


class SignalDayFactory(factory.django.DjangoModelFactory):
    """Two pruned feature gate hits of one day, one of which was corrected."""

    class Meta:
        model = models.SignalDay

    account = factory.SubFactory(AccountFactory)
    type = factory.SubFactory(SignalTypeFactory)
    day = START.date()
    rows = 3
    count = 2


class ReadingDayFactory(factory.django.DjangoModelFactory):
    """One pruned reading: eighteen of twenty seats in use; thousandths."""

    class Meta:
        model = models.ReadingDay

    account = factory.SubFactory(AccountFactory)
    meter = factory.SubFactory(MeterFactory)
    day = START.date()
    rows = 1
    count = 1
    last_at = START
    last_row = 1
    last_used_milli = greatest_used_milli = least_used_milli = 18_000
    last_limit_milli = greatest_limit_milli = least_limit_milli = 20_000


class IntakeDayFactory(factory.django.DjangoModelFactory):
    """A pruned batch of one signal; each on a day of its own."""

    class Meta:
        model = models.IntakeDay

    kind = models.IntakeBatch.Kind.SIGNALS
    day = factory.Sequence(lambda number: START.date() + timedelta(days=number))
    batches = 1
    received = 1
    stored = 1
    duplicate = 0
    conflict = 0
    refused = 0


class PrunedDayFactory(factory.django.DjangoModelFactory):
    """A day whose one signal was pruned, in UTC; each another day."""

    class Meta:
        model = models.PrunedDay

    day = factory.Sequence(lambda number: START.date() + timedelta(days=number))
    before = factory.LazyAttribute(lambda row: datetime.combine(row.day, time(), tzinfo=UTC) + timedelta(days=1))
    signals = 1
    readings = 0
    pruned_at = START


#: What a gate hit weighs.
WEIGHTS = """motions:
  tier_upsell:
    feature_gate_hit: {weight: 8}
"""


class ReadinessWeightsFactory(factory.django.DjangoModelFactory):
    """Weights of one kind of signal for one motion; each the next version."""

    class Meta:
        model = models.ReadinessWeights

    number = factory.LazyFunction(lambda: models.ReadinessWeights.objects.count() + 1)
    source = WEIGHTS
    document = factory.LazyFunction(
        lambda: {
            "motions": {"tier_upsell": {"feature_gate_hit": {"weight": 8, "at_most": 10}}},
            "strengths": {"feature_gate_hit": "strong"},
        }
    )
    published_at = START


class ScoreSnapshotFactory(factory.django.DjangoModelFactory):
    """Half ready for a higher tier; each at another account."""

    class Meta:
        model = models.ScoreSnapshot

    account = factory.SubFactory(AccountFactory)
    motion = Motion.TIER_UPSELL
    day = START.date()
    score = 50
    weights = factory.SubFactory(ReadinessWeightsFactory)
