"""The measure over readiness scores: its edges, its words, and runs that replay with the weights they used."""

from __future__ import annotations

from datetime import timedelta

import pytest

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.measures import Known, Moment, get_measure, uses_readiness
from csplaybooks.playbooks.models import Run
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.acts.readiness import publish_weights
from csplaybooks.signals.factories import (
    WEIGHTS,
    PrunedDayFactory,
    ReadinessWeightsFactory,
    SignalFactory,
    SignalTypeFactory,
)
from csplaybooks.signals.models import SignalType
from tests.playbooks.asking import DAY, MOMENT, NOW, refused, said

pytestmark = pytest.mark.django_db

READY = {"measure": "readiness", "motion": "tier_upsell"}


def test_thresholds_and_words():
    ReadinessWeightsFactory()
    account = SignalFactory.create_batch(3, account=AccountFactory(), occurred_at=NOW)[0].account
    assert said(account, {**READY, "at_least": 24}) == "readiness for tier upsell: 24 of 100, needed at least 24"
    assert said(account, {**READY, "above": 23}) == "readiness for tier upsell: 24 of 100, needed above 23"
    assert said(account, {**READY, "at_least": 25}) is None


def test_a_part_of_a_point_does_not_reach_the_next():
    ReadinessWeightsFactory(
        document={
            "motions": {"tier_upsell": {"feature_gate_hit": {"weight": 7, "at_most": 10}}},
            "strengths": {"feature_gate_hit": "strong"},
        }
    )
    account = SignalFactory(occurred_at=NOW - 15 * DAY).account
    # Three and a half points.
    assert said(account, {**READY, "at_least": 3}) == "readiness for tier upsell: 3 of 100, needed at least 3"
    assert said(account, {**READY, "above": 3}) is None
    assert said(account, {**READY, "at_least": 4}) is None


def test_the_full_score_is_reached_by_all_above_it():
    ReadinessWeightsFactory(
        document={
            "motions": {"tier_upsell": {"feature_gate_hit": {"weight": 60, "at_most": 10}}},
            "strengths": {"feature_gate_hit": "strong"},
        }
    )
    account = SignalFactory.create_batch(2, account=AccountFactory(), occurred_at=NOW)[0].account
    assert said(account, {**READY, "at_least": 100}) == "readiness for tier upsell: 100 of 100, needed at least 100"
    assert said(account, {**READY, "above": 99}) is not None


def test_moments_and_marks():
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW, batch__seen_by_run=2).account
    condition = {**READY, "at_least": 8}
    assert said(account, condition, at=NOW - MOMENT) is None
    assert said(account, condition, at=NOW + 14 * DAY - MOMENT) is not None
    assert said(account, condition, at=NOW + 14 * DAY) is None
    assert [said(account, condition, mark=mark) is not None for mark in (1, 2, None)] == [False, True, True]


@pytest.mark.parametrize("published", [False, True], ids=["without weights", "without weights of the motion"])
def test_what_weighs_nothing_fails(published):
    if published:
        ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW).account
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{**READY, "motion": "service", "above": 0}]}]}, {})
    assert evaluate(trigger, NOW, Known.now()) == evaluate(trigger, NOW, Known.now(), [account.pk]) == []
    asked = TriggerVersion(
        1,
        1,
        {"key": "t", "any": [{"all": [{**READY, "motion": "service", "above": 0}]}, {"all": [SEEN]}]},
        {},
    )
    (hit,) = evaluate(asked, NOW, Known.now())
    assert [each["measure"] for each in hit.evidence] == ["signal_count"]


SEEN = {"measure": "signal_count", "signal_type": "feature_gate_hit", "window_days": 7, "at_least": 1}


def test_the_evidence_names_the_version():
    ReadinessWeightsFactory()
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=NOW)
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{**READY, "at_least": 8}]}]}, {})
    (hit,) = evaluate(trigger, NOW, Known.now())
    assert hit.evidence[0]["found"] == {"score": 8, "weights": 2}


def test_accounts_that_do_not_meet_it_are_told_their_score():
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW).account
    measure = get_measure("readiness")
    found = measure.explain({**READY, "at_least": 60}, Moment(NOW, Known.now()))
    nothing = AccountFactory()
    answers = dict(Account.objects.annotate(score=found["score"]).values_list("pk", "score"))
    assert answers == {account.pk: 8, nothing.pk: 0}


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ("measure: readiness, at_least: 60", ""),
        ("measure: readiness, motion: upsell, at_least: 60", "motion"),
        ("measure: readiness, motion: tier_upsell, at_least: 0", "at_least"),
        ("measure: readiness, motion: tier_upsell, at_least: 101", "at_least"),
        ("measure: readiness, motion: tier_upsell, above: 100", "above"),
        ("measure: readiness, motion: tier_upsell, at_least: 60.5", "at_least"),
        ("measure: readiness, motion: tier_upsell", ""),
    ],
)
def test_what_a_document_may_not_say(condition, path):
    assert refused(condition)[0] == path


def test_it_looks_back_as_far_as_any_kind_counts():
    ReadinessWeightsFactory()
    SignalFactory(occurred_at=NOW)
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [{**READY, "at_least": 8}]}]}, {})
    PrunedDayFactory(before=NOW - 180 * DAY)
    assert len(evaluate(trigger, NOW, Known.now())) == 1
    with pytest.raises(Forgotten, match="looks 180 days back"):
        evaluate(trigger, NOW - MOMENT, Known.now())


def test_runs_keep_the_weights_they_used_and_replay_by_them():
    SignalTypeFactory()
    first = publish_weights(text=WEIGHTS, now=NOW).version
    text = DRAFT.format(key="k", name="K", motion="tier_upsell").replace(
        "{measure: share_of_limit, meters: [seats], above: 80}",
        "{measure: readiness, motion: tier_upsell, at_least: 20}",
    )
    publish_playbook(playbook_id=save_draft(text=text, now=NOW).pk, now=NOW)
    ready, nearly = AccountFactory(), AccountFactory()
    SignalFactory.create_batch(3, account=ready, occurred_at=NOW)
    SignalFactory.create_batch(2, account=nearly, occurred_at=NOW)
    run_triggers(now=NOW)
    # Other weights, and another strength, for which the old version is not asked any more.
    SignalType.objects.update(strength="weak")
    second = publish_weights(text=WEIGHTS.replace("8", "10"), now=NOW + DAY).version
    assert run_triggers(now=NOW + DAY) is not None
    assert run_triggers(now=NOW + 20 * DAY, full=True) is not None
    runs = list(Run.objects.order_by("pk"))
    assert [run.inputs["readiness"] for run in runs] == [first.pk, second.pk, second.pk]
    assert [matches_after(run) for run in runs] == [replay_run(run) for run in runs]
    found = [sorted(account for accounts in matches_after(run).values() for account in accounts) for run in runs]
    assert found == [[ready.pk], sorted([ready.pk, nearly.pk]), sorted([ready.pk, nearly.pk])]


def test_only_triggers_that_ask_for_it_make_a_run_keep_it():
    ReadinessWeightsFactory()
    known = Known.now(readiness=False)
    assert known.readiness is None
    assert "readiness" not in known.as_json()
    assert not uses_readiness({"any": [{"all": [SEEN]}]})
    assert uses_readiness({"any": [{"all": [SEEN]}, {"all": [{**READY, "at_least": 8}]}]})
    asked = Known.now(7)
    assert Known.from_json(7, asked.as_json()) == asked


def test_the_account_asked_about_is_all_that_is_counted():
    ReadinessWeightsFactory()
    account = SignalFactory(occurred_at=NOW).account
    SignalFactory.create_batch(5, occurred_at=NOW - timedelta(hours=1))
    assert said(account, {**READY, "at_least": 8}) is not None
