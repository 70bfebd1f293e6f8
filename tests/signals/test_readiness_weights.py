"""The weights of readiness: what a document may say, and how a version is published, kept and deleted by nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError
from django.test import override_settings

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.acts.rows import delete_rows
from csplaybooks.accounts.documents import DocumentError
from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import Change, TimelineEntry
from csplaybooks.signals.acts.catalogue import SIGNAL_TYPE_TABLE, load_starter_catalogue
from csplaybooks.signals.acts.readiness import load_starter_weights, publish_weights
from csplaybooks.signals.factories import (
    WEIGHTS,
    ReadinessWeightsFactory,
    ScoreSnapshotFactory,
    SignalTypeFactory,
)
from csplaybooks.signals.models import ReadinessWeights, SignalType, Strength
from csplaybooks.signals.readiness import Weight, Weights
from csplaybooks.signals.readiness.weights import read_weights
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


def errors_of(text: str) -> list[tuple[str, str]]:
    """What is wrong with a document."""
    with pytest.raises(DocumentError) as caught:
        read_weights(text)
    return caught.value.errors


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("", "", "the weights document is a mapping of names to values"),
        ("{}", "", "motions is missing"),
        ("motions: {}", "motions", "is empty"),
        ("motions: {tier_upsell: {}}", "motions/tier_upsell", "is empty"),
        ("motions: {upsell: {login: {weight: 1}}}", "motions", "upsell is unknown here (did you mean tier_upsell?)"),
        ("motions: {tier_upsell: {login: 5}}", "motions/tier_upsell/login", "5 is not a mapping of names to values"),
        ("motions: {tier_upsell: {login: {}}}", "motions/tier_upsell/login", "weight is missing"),
        ("motions: {tier_upsell: {login: {weight: 0}}}", "motions/tier_upsell/login/weight", "0 is less than 1"),
        ("motions: {tier_upsell: {login: {weight: 101}}}", "motions/tier_upsell/login/weight", "101 is more than 100"),
        ("motions: {tier_upsell: {login: {weight: 1.5}}}", "motions/tier_upsell/login/weight", "not a whole number"),
        ("motions: {tier_upsell: {login: {weight: off}}}", "motions/tier_upsell/login/weight", "'off' is not a whole"),
        ("motions: {tier_upsell: {login: {weight: 5.0}}}", "motions/tier_upsell/login/weight", "5.0 is not a whole"),
        (
            "motions: {tier_upsell: {login: {weight: 5, at_most: 2.0}}}",
            "motions/tier_upsell/login/at_most",
            "2.0 is not a whole number: write 2",
        ),
        (
            "motions: {tier_upsell: {login: {weight: 1, at_most: 101}}}",
            "motions/tier_upsell/login/at_most",
            "101 is more than 100",
        ),
        (
            "motions: {tier_upsell: {login: {weight: 1, decay: 2}}}",
            "motions/tier_upsell/login",
            "decay is unknown here; known are weight, at_most",
        ),
        ("motions: {}\nnotes: x", "", "notes is unknown here; known are motions"),
        ("motions: &a {}\nothers: *a", "line 2, column 9", "this is not the YAML of the weights: aliases"),
    ],
)
def test_what_is_wrong_is_told_by_its_path(text, path, message):
    found = dict(errors_of(text))
    assert path in found
    assert message in found[path]


def test_what_was_left_out_is_filled_in():
    assert read_weights(WEIGHTS) == {"motions": {"tier_upsell": {"feature_gate_hit": {"weight": 8, "at_most": 10}}}}


@pytest.mark.django_db
class TestPublishing:
    def test_freezes_text_document_and_strengths(self):
        kind = SignalTypeFactory(strength=Strength.MODERATE)
        user = UserFactory(username="mona")
        published = publish_weights(text=WEIGHTS, now=NOW, actor=user)
        version = published.version
        assert (published.verdict, version.number, version.source) == ("created", 1, WEIGHTS)
        assert (version.published_at, version.published_by) == (NOW, user)
        SignalType.objects.update(strength=Strength.WEAK)
        weights = Weights.in_force()
        assert weights == Weights(
            version.pk, 1, {"tier_upsell": {kind.key: Weight(8, 10)}}, {"feature_gate_hit": "moderate"}
        )
        assert weights == Weights.by_id(version.pk)

    def test_tells_the_evaluator_and_the_timeline(self):
        SignalTypeFactory()
        version = publish_weights(text=WEIGHTS, now=NOW).version
        assert Change.objects.get(account=None).kind == "readiness_weights_published"
        line = TimelineEntry.objects.get()
        assert (line.text, line.subject_id, line.actor_label) == (
            "Readiness weights v1 published",
            version.pk,
            "system",
        )

    def test_the_same_text_again_changes_nothing_unless_a_strength_did(self):
        SignalTypeFactory()
        first = publish_weights(text=WEIGHTS, now=NOW).version
        again = publish_weights(text=WEIGHTS, now=NOW)
        assert (again.verdict, again.version) == ("unchanged", first)
        assert Change.objects.count() == TimelineEntry.objects.count() == 1
        SignalType.objects.update(strength=Strength.WEAK)
        mended = publish_weights(text=WEIGHTS, now=NOW)
        assert (mended.verdict, mended.version.number) == ("updated", 2)
        assert Weights.by_id(first.pk).strengths == {"feature_gate_hit": "strong"}

    def test_names_every_kind_that_is_not_there(self):
        text = "motions: {tier_upsell: {nope: {weight: 1}}, cross_sell: {nope: {weight: 1}, nor: {weight: 2}}}"
        with pytest.raises(DocumentError) as caught:
            publish_weights(text=text, now=NOW)
        assert caught.value.errors == [
            ("motions/tier_upsell/nope", "there is no signal type nope"),
            ("motions/cross_sell/nor", "there is no signal type nor"),
        ]
        assert not ReadinessWeights.objects.exists()

    @pytest.mark.parametrize(("kept", "fits"), [(42, True), (41, False), (0, True)])
    def test_nothing_counts_for_longer_than_it_is_kept(self, kept, fits):
        SignalTypeFactory()
        with override_settings(CSPLAYBOOKS={"RETENTION_DAYS": kept}):
            if fits:
                publish_weights(text=WEIGHTS, now=NOW)
                return
            with pytest.raises(DocumentError, match=r"feature_gate_hit: strong signals count for 42 days.* 41 days"):
                publish_weights(text=WEIGHTS, now=NOW)

    def test_of_two_who_opened_the_same_version_the_second_is_told(self):
        SignalTypeFactory()
        publish_weights(text=WEIGHTS, now=NOW, expected_number=0)
        with pytest.raises(Conflict):
            publish_weights(text=WEIGHTS.replace("8", "9"), now=NOW, expected_number=0)
        assert publish_weights(text=WEIGHTS.replace("8", "9"), now=NOW, expected_number=1).version.number == 2

    def test_the_starter_weights_are_published_once(self):
        load_starter_catalogue(now=NOW)
        published = load_starter_weights(now=NOW)
        assert published is not None
        assert published.verdict == "created"
        assert load_starter_weights(now=NOW) is None


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_is_published_or_both_follow_each_other():
    SignalTypeFactory()

    def publish(weight: int) -> object:
        try:
            return publish_weights(text=WEIGHTS.replace("8", str(weight)), now=NOW).version.number
        except Conflict:
            return "conflict"

    answers = at_once(lambda: publish(5), lambda: publish(6))
    numbers = sorted(ReadinessWeights.objects.values_list("number", flat=True))
    assert numbers in ([1], [1, 2])
    assert len(numbers) == sum(answer != "conflict" for answer in answers)


@pytest.mark.django_db
def test_a_version_that_scored_a_day_cannot_go():
    snapshot = ScoreSnapshotFactory()
    with pytest.raises(ProtectedError):
        snapshot.weights.delete()


@pytest.mark.django_db
def test_a_kind_that_weighs_something_cannot_go():
    named, other = SignalTypeFactory(), SignalTypeFactory(key="other")
    ReadinessWeightsFactory()
    with pytest.raises(ValidationError, match="Feature gate hit is in use: the readiness weights v1 name it"):
        delete_rows(table=SIGNAL_TYPE_TABLE, row_ids=[named.pk], now=NOW, actor=None)
    assert delete_rows(table=SIGNAL_TYPE_TABLE, row_ids=[other.pk], now=NOW, actor=None) == 1
    # What counts is the version in force.
    strengths, motions = {"login": "moderate"}, {"tier_upsell": {"login": {"weight": 1, "at_most": 1}}}
    ReadinessWeightsFactory(document={"motions": motions, "strengths": strengths})
    assert delete_rows(table=SIGNAL_TYPE_TABLE, row_ids=[named.pk], now=NOW, actor=None) == 1
