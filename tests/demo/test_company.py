"""The sample company: the same for the same seed, whole, and with one account that stands one hit short."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.db import transaction

from csplaybooks.accounts.factories import AccountFactory, ProductFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    ApiToken,
    Champion,
    Entitlement,
    Finding,
    Qbr,
    TeamMember,
)
from csplaybooks.playbooks.demo.company import NotTheDemo, made_at, make_company
from csplaybooks.playbooks.demo.sign_ins import renew_sign_ins, renew_token
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Clock, ClockEvent, Match, Play, Touch
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import IntakeBatch, Reading, Signal

#: A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
#: A Sunday, at night.
SUNDAY = datetime(2026, 11, 22, 23, 30, 15, 250, tzinfo=UTC)

#: What a story is, without ids: two of them are the same where these are.
SHOWN: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Account, ("name", "created_at")),
    (AccountFacts, ("account__name", "lifecycle", "segment", "valid_from", "valid_to")),
    (TeamMember, ("name", "user__username", "manager__name")),
    (Entitlement, ("subscription", "plan__key", "quantity", "mrr_minor", "valid_from", "valid_to")),
    (Champion, ("name", "title", "role", "account__name")),
    (Qbr, ("account__name", "held_at", "led_by__name")),
    (Finding, ("account__name", "kind", "text", "product__key")),
    (Signal, ("external_id", "account__name", "type__key", "occurred_at", "actor", "properties", "body_hash")),
    (Reading, ("external_id", "account__name", "meter__key", "occurred_at", "used_milli", "limit_milli")),
    (IntakeBatch, ("kind", "received", "stored", "duplicate", "conflict", "refused", "recorded_at")),
    (Match, ("account__name", "trigger__key", "state", "opened_at", "closed_at")),
    (Play, ("account__name", "motion", "route", "stage", "state", "outcome", "owner__name", "opened_at", "closed_at")),
    (Touch, ("play__account__name", "channel", "at", "by_member__name")),
    (Clock, ("play__account__name", "play__motion", "target", "state", "due_at", "done_at")),
)


def story(**arguments: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Make a company, tell it, and forget it."""
    with transaction.atomic():
        make_company(**arguments)
        told = {
            model.__name__: [
                tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                for row in model.objects.order_by("pk").values_list(*names)
            ]
            for model, names in SHOWN
        }
        transaction.set_rollback(True)
    return told


def test_the_same_seed_makes_the_same_company(db) -> None:
    first = story(now=NOW, seed=7, accounts=8)
    second = story(now=NOW, seed=7, accounts=8)

    assert first == second
    assert len(first["Account"]) <= 8  # some come later than others, one may be still to come
    assert first["Signal"]
    assert first["Play"]
    other = story(now=NOW, seed=8, accounts=8)
    assert other["Account"] != first["Account"]


def test_a_company_is_whole_and_lived_in(db) -> None:
    told = make_company(now=SUNDAY, accounts=40)

    assert [violation for violation in violations() if violation.count] == []
    assert told.signals == Signal.objects.count()
    assert told.readings == Reading.objects.count()
    assert not Signal.objects.filter(occurred_at__gt=SUNDAY).exists()
    assert not Signal.objects.filter(occurred_at__lt=SUNDAY - timedelta(days=365)).exists()
    assert IntakeBatch.objects.filter(duplicate__gt=0).exists()
    # People have worked: plays in every stage and with every outcome that people decide on.
    assert set(Play.objects.values_list("stage", flat=True)) >= {"owned", "running", "closed"}
    assert set(Play.objects.values_list("outcome", flat=True)) >= {"", "won", "lost"}
    assert set(Clock.objects.values_list("state", flat=True)) >= {"running", "met", "missed"}
    assert set(ClockEvent.objects.values_list("kind", flat=True)) == {"warned", "breached", "escalated"}
    assert not Play.objects.filter(stage="routed").exists()
    assert made_at() == SUNDAY


@pytest.mark.parametrize("now", [NOW, SUNDAY])
def test_the_sample_account_stands_one_hit_short(db, now: datetime) -> None:
    make_company(now=now, accounts=2)
    acme = Account.objects.get(identities__source="crm", identities__external_id="acme")
    assert not acme.plays.exists()
    assert not Match.objects.filter(account=acme).exists()
    hits = acme.signals.filter(type__key="feature_gate_hit")
    assert hits.filter(occurred_at__gt=now - timedelta(days=7)).count() == hits.count() == 2
    seats = acme.readings.filter(meter__key="seats").latest("occurred_at")
    assert (seats.used_milli * 100, now - seats.occurred_at < timedelta(days=7)) == (seats.limit_milli * 75, True)
    # Days later, too: nothing but a third hit is missing, and nothing happens without it.
    later = now + timedelta(days=4)
    run_triggers(now=later, full=True)
    work(now=later)
    assert not acme.plays.exists()

    item = {
        "source": "product",
        "external_id": "evt-1",
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": later.replace(microsecond=0).isoformat(),
        "actor": "u-17",
    }
    assert take_in_signals(items=[item], now=later).stored == 1
    run_triggers(now=later)
    work(now=later)

    play = acme.plays.get()
    assert (play.stage, play.state, play.motion, play.route) == ("owned", "working", "tier_upsell", "email")
    assert play.owner is not None
    assert play.owner.user == get_user_model().objects.get(username="carla")
    assert play.expected_amount_minor == 160_000
    assert {clock.target: clock.state for clock in play.clocks.all()} == {
        "first_touch": "running",
        "closed": "running",
    }


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (AccountFactory, "accounts"),
        (TeamMemberFactory, "team members"),
        (ProductFactory, "products"),
        (lambda: UserFactory(username="mona"), "sign-ins"),
    ],
)
def test_what_others_have_made_is_left_alone(db, make: Callable[[], Any], named: str) -> None:
    assert made_at() is None
    make()

    with pytest.raises(NotTheDemo, match=f"this database holds {named}"):
        made_at()
    with pytest.raises(NotTheDemo, match=f"this database holds {named}"):
        make_company(now=NOW, accounts=2)
    assert not Signal.objects.exists()


def test_each_start_has_its_own_passwords_and_token(db) -> None:
    make_company(now=NOW, accounts=2)
    before, old_token = renew_sign_ins(), renew_token(now=NOW)
    after, token = renew_sign_ins(), renew_token(now=NOW + timedelta(minutes=1))

    assert list(after) == ["csm", "ae", "manager"]
    for role, (name, password) in after.items():
        assert authenticate(username=name, password=before[role][1]) is None
        user = authenticate(username=name, password=password)
        assert user is not None
        assert (user.is_staff, user.is_superuser) == (True, False)
        assert user.has_perm("csplaybooks_accounts.view_account")
        assert user.has_perm("csplaybooks_playbooks.change_play")
        assert user.has_perm("csplaybooks_playbooks.change_playbook") == (role == "manager")
        # What sees everything, what lets others in and what runs code is for nobody here.
        for forbidden in (
            "csplaybooks_accounts.view_everything",
            "csplaybooks_accounts.add_apitoken",
            "django_q.add_schedule",
            "auth.change_user",
        ):
            assert not user.has_perm(forbidden)
    valid = ApiToken.objects.filter(revoked_at__isnull=True)
    assert [one.digest for one in valid] == [ApiToken.digest_of(token)]
    assert ApiToken.objects.get(digest=ApiToken.digest_of(old_token)).revoked_at is not None
