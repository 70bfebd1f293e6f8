"""The main job, in one process: signals come in, plays come out owned, with clocks running."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from csplaybooks.accounts.acts.companies import NewAccount, create_accounts, set_team_role
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Match, Play
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals

# A Monday, in working hours.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture
def acme(db):
    set_up(now=NOW, schedules=False)
    facts = {
        "lifecycle": "paying",
        "segment": "mid_market",
        "activated_on": date(2026, 1, 10),
        "customer_since": "2026-01-01",
    }
    (account,) = create_accounts(
        items=[
            NewAccount(name="Acme", identities=[("crm", "acme")], facts=facts, valid_from=NOW - timedelta(days=300))
        ],
        now=NOW - timedelta(days=300),
        actor=None,
    )
    csm = TeamMemberFactory(name="Carla", is_customer_success_manager=True)
    set_team_role(
        account_ids=[account.pk],
        role="csm",
        member_id=csm.pk,
        effective_at=NOW - timedelta(days=300),
        now=NOW - timedelta(days=300),
        actor=None,
    )
    take_in_readings(
        items=[
            {
                "source": "product",
                "external_id": "r1",
                "account": "acme",
                "meter": "seats",
                "used": 15,
                "limit": 20,
                "occurred_at": (NOW - timedelta(days=1)).isoformat(),
            },
            {
                "source": "product",
                "external_id": "r2",
                "account": "acme",
                "meter": "health",
                "used": 90,
                "occurred_at": (NOW - timedelta(days=1)).isoformat(),
            },
        ],
        now=NOW,
    )
    return account


def gate_hit(number: int, at: datetime) -> dict[str, object]:
    return {
        "source": "product",
        "external_id": f"evt-{number}",
        "account": "acme",
        "type": "feature_gate_hit",
        "occurred_at": at.isoformat(),
        "actor": f"u-{number}",
    }


def test_third_gate_hit_opens_an_owned_play_with_clocks(acme):
    take_in_signals(items=[gate_hit(n, NOW - timedelta(days=n)) for n in (1, 2)], now=NOW)
    run_triggers(now=NOW)
    assert work(now=NOW) == 0
    assert not Play.objects.exists()

    answer = take_in_signals(items=[gate_hit(3, NOW)], now=NOW)
    assert answer.stored == 1
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.opened == 1
    work(now=NOW)

    play = Play.objects.get()
    assert (play.stage, play.state, play.motion, play.route) == ("owned", "working", "tier_upsell", "email")
    assert play.owner is not None
    assert play.owner.name == "Carla"
    assert "feature gate hit: 3 in 7 days" in play.evidence[0]["words"]
    assert {clock.target: clock.state for clock in play.clocks.all()} == {"first_touch": "running", "closed": "running"}
    assert Match.objects.get().state == Match.State.FIRED
    assert [v for v in violations() if v.count] == []


def test_a_run_replays_to_its_own_matches_whatever_came_later(acme):
    take_in_signals(items=[gate_hit(n, NOW - timedelta(days=n)) for n in (1, 2, 3)], now=NOW)
    run_triggers(now=NOW)
    from csplaybooks.playbooks.models import Run

    first = Run.objects.latest("pk")
    # Late arrivals and a correction that takes one of the three away.
    take_in_signals(
        items=[
            gate_hit(4, NOW - timedelta(days=4)),
            {**gate_hit(5, NOW - timedelta(days=1)), "corrects": "evt-1", "void": True},
        ],
        now=NOW + timedelta(hours=1),
    )
    run_triggers(now=NOW + timedelta(hours=1))
    for run in Run.objects.order_by("pk"):
        assert replay_run(run) == matches_after(run)
    assert sum(len(ids) for ids in replay_run(first).values()) == 1
