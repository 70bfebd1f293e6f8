"""The sample company: the same for the same seed, whole, and with one account that stands one hit short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError
from django.db import transaction

from csplaybooks.accounts.factories import AccountFactory, ProductFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountTeam,
    ApiToken,
    Champion,
    ChampionChange,
    Entitlement,
    Finding,
    FindingState,
    Movement,
    Qbr,
    TeamMember,
    TimelineEntry,
)
from csplaybooks.playbooks import invariants
from csplaybooks.playbooks.demo import company
from csplaybooks.playbooks.demo.company import NotTheDemo, NotWhole, made_at, make_company
from csplaybooks.playbooks.demo.sign_ins import renew_sign_ins, renew_token
from csplaybooks.playbooks.invariants.registry import by_query
from csplaybooks.playbooks.management.commands.csplaybooks_demo import Command
from csplaybooks.playbooks.models import (
    CalendarUse,
    Clock,
    Credit,
    Interval,
    Match,
    Play,
    Run,
    Touch,
)
from csplaybooks.playbooks.pipeline import owners
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
    (AccountTeam, ("account__name", "role", "member__name", "valid_from", "valid_to")),
    (Entitlement, ("subscription", "plan__key", "quantity", "mrr_minor", "valid_from", "valid_to")),
    (Movement, ("external_id", "account__name", "amount_minor", "motion", "effective_on", "recorded_at", "note")),
    (Champion, ("name", "title", "role", "account__name", "left_on")),
    (ChampionChange, ("champion__name", "kind", "occurred_at", "new_title")),
    (Qbr, ("account__name", "held_at", "led_by__name", "next_on")),
    (Finding, ("account__name", "kind", "text", "product__key")),
    (FindingState, ("finding__text", "status", "valid_from", "valid_to")),
    (TimelineEntry, ("account__name", "at", "recorded_at", "kind", "text", "actor_label")),
    (Signal, ("external_id", "account__name", "type__key", "occurred_at", "actor", "properties", "body_hash")),
    (Reading, ("external_id", "account__name", "meter__key", "occurred_at", "used_milli", "limit_milli")),
    (IntakeBatch, ("kind", "received", "stored", "duplicate", "conflict", "refused", "recorded_at")),
    (Match, ("account__name", "trigger__key", "state", "opened_at", "closed_at")),
    (Play, ("account__name", "motion", "route", "stage", "state", "outcome", "owner__name", "opened_at", "closed_at")),
    (Interval, ("play__account__name", "seq", "owner__name", "stage", "state", "valid_from", "valid_to")),
    (Touch, ("play__account__name", "channel", "direction", "at", "by_member__name", "note")),
    (Credit, ("play__account__name", "movement__external_id", "amount_minor", "credited_at")),
    (Run, ("kind", "moment", "accounts")),
    (Clock, ("play__account__name", "play__motion", "target", "state", "due_at", "done_at")),
)


def digests(**arguments: Any) -> dict[str, str]:
    """Make a company and forget it; answers for each table how its rows look, without their ids."""
    with transaction.atomic():
        make_company(**arguments)
        told = {}
        for model, names in SHOWN:
            digest = sha256()
            for row in model.objects.order_by("pk").values_list(*names):
                # Bytes come as a view of memory from some databases, whose words tell where it lies.
                digest.update(repr([bytes(v) if isinstance(v, memoryview) else v for v in row]).encode())
            told[model.__name__] = digest.hexdigest()
        transaction.set_rollback(True)
    return told


def test_the_same_seed_makes_the_same_company(db) -> None:
    first = digests(now=NOW, seed=7, accounts=12)
    second = digests(now=NOW, seed=7, accounts=12)
    other = digests(now=NOW, seed=8, accounts=12)

    assert first == second
    assert {name for name in first if first[name] == other[name]} <= {"TeamMember"}


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


def test_what_failed_on_the_way_is_told_and_nothing_is_kept(db, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("nobody there")

    monkeypatch.setattr(owners, "give", broken)
    with (
        transaction.atomic(),
        pytest.raises(NotWhole, match=r"work on \d+ plays failed, .*: RuntimeError: nobody there"),
    ):
        make_company(now=NOW, accounts=12)
    assert made_at() is None
    assert not Play.objects.exists()


def test_what_does_not_hold_is_told_too(db, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobodys() -> Any:
        return Account.objects.all()

    monkeypatch.setattr(invariants, "INVARIANTS", (by_query("no_accounts", "There are no accounts.", nobodys),))
    with pytest.raises(NotWhole, match="1 invariants do not hold, no_accounts among them: There are no accounts"):
        make_company(now=NOW, accounts=2)


def test_the_command_ends_with_it(db, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(**kwargs: Any) -> None:
        raise NotWhole("work on 3 plays failed.")

    # It lowers what is logged; this puts it back.
    caplog.set_level(logging.WARNING, logger="csplaybooks")
    monkeypatch.setattr(f"{Command.__module__}.call_command", lambda *args, **kwargs: None)
    monkeypatch.setattr(company, "make_company", fails)
    with pytest.raises(CommandError, match=r"was not made: work on 3 plays failed\. Nothing of it is kept"):
        Command()._prepare({"fresh": False, "seed": None, "accounts": None})


def test_a_region_and_a_member_have_hours_of_their_own(db) -> None:
    make_company(now=NOW, accounts=2)
    use = CalendarUse.objects.get()
    assert (use.region, use.calendar.zone, use.calendar.is_default) == ("apac", "Australia/Sydney", False)
    years = range((NOW - timedelta(days=364)).year, NOW.year + 2)
    assert list(use.calendar.imports.order_by("year").values_list("year", flat=True)) == list(years)
    assert use.calendar.days.filter(imported__year=NOW.year, name="Australia Day").exists()
    assert list(TeamMember.objects.exclude(zone="").values_list("name", "zone")) == [
        ("Cosmin Popa", "Europe/Bucharest")
    ]


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
