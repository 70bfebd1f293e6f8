"""What a run keeps of the catalogue, and what a document may ask of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from csplaybooks.accounts.acts import change_row, make_row
from csplaybooks.accounts.acts.catalogue import FEATURES, PLANS
from csplaybooks.accounts.factories import FeatureFactory
from csplaybooks.accounts.models import Change, Feature, Plan
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.document import DocumentError, names_used, read_document
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.measures import Known, get_measure, uses_catalogue
from csplaybooks.playbooks.measures.sold import Catalogue
from csplaybooks.playbooks.models import Match, Playbook, Run
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from tests.playbooks.selling import DAY, NEW, NEXT, NOW, SOLD, TICKETS, holder, sell, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sold() -> None:
    """What is sold in these tests."""
    sell()


def draft(condition: dict[str, Any]) -> str:
    """A playbook with one trigger of one condition."""
    text = DRAFT.format(key="features", name="Features", motion="tier_upsell")
    seats = "- {measure: share_of_limit, meters: [seats], above: 80}"
    assert seats in text
    return text.replace(seats, f"- {json.dumps(condition)}")


def last_run() -> Run:
    """The last run there was."""
    run = Run.objects.newest()
    assert run is not None
    return run


def publish(condition: dict[str, Any]) -> None:
    save_draft(text=draft(condition), now=NOW)
    publish_playbook(playbook_id=Playbook.objects.get(key="features").pk, now=NOW)


def test_catalogue_comes_back_from_json_as_it_was():
    catalogue = Catalogue.now()
    assert len(catalogue.features) == len(SOLD)
    assert catalogue.features["sso"].area == "administration"
    known = Known(mark=3, signal_types={"a": 1}, meters={"b": 2}, max_age_days={"b": 7}, catalogue=catalogue)
    told = json.loads(json.dumps(known.as_json()))
    again = Known.from_json(3, told)
    assert again == known
    assert again.as_json() == known.as_json()
    # What was kept before there was a catalogue in it.
    assert Known.from_json(3, {key: told[key] for key in ("signal_types", "meters", "max_age_days")}) == Known(
        mark=3, signal_types={"a": 1}, meters={"b": 2}, max_age_days={"b": 7}
    )


def test_five_hundred_features_are_kept_in_few_bytes():
    plan = Plan.objects.get(key="team")
    FeatureFactory.create_batch(500, least_plan=plan, area="collaboration")
    assert len(json.dumps(Catalogue.now().as_json())) < 10_000


def test_catalogue_is_read_and_kept_only_for_who_asks(django_assert_num_queries):
    set_up(now=NOW, schedules=False)
    Playbook.objects.exclude(key="gate_knocker").update(is_active=False)
    with django_assert_num_queries(3):
        Known.now(catalogue=False, readiness=False)
    with django_assert_num_queries(5):
        Known.now(readiness=False)
    run_triggers(now=NOW, full=True)
    assert "catalogue" not in last_run().inputs
    publish({**NEXT, "at_least": 75})
    run_triggers(now=NOW, full=True)
    assert last_run().inputs["catalogue"] == Catalogue.now().as_json()


def test_who_asks_is_told_by_the_measure():
    asks = {"any": [{"all": [{"measure": "signal_count"}]}, {"all": [{"measure": "open_gap"}, NEW]}]}
    assert uses_catalogue(asks)
    assert not uses_catalogue({"any": [{"all": [{"measure": "signal_count"}, {"measure": "gone_with_its_app"}]}]})


def test_run_replays_with_the_catalogue_it_had():
    set_up(now=NOW, schedules=False)
    publish({**NEXT, "at_least": 75})
    acme, other = holder("starter"), holder("team")
    send(acme, "approvals", "comments", "guests")
    send(other, "audit", "comments")
    run_triggers(now=NOW)
    first = last_run()
    (key,) = Match.objects.filter(trigger__playbook__key="features").values_list("trigger", flat=True)
    assert matches_after(first)[key] == replay_run(first)[key] == [acme.pk]

    team = Plan.objects.get(key="team")
    for number in range(3):
        values = {"product": team.product, "key": f"new-{number}", "name": "New", "least_plan": team}
        make_row(table=FEATURES, values=values, now=NOW, actor=None)
    sso = Feature.objects.get(key="sso")
    change_row(table=FEATURES, row_id=sso.pk, values={"least_plan": None}, now=NOW, actor=None)
    assert list(Change.objects.unclaimed().values_list("kind", "account")) == [("feature_changed", None)]
    run_triggers(now=NOW + DAY)
    second = last_run()
    assert second.kind == Run.Kind.FULL
    assert matches_after(second)[key] == replay_run(second)[key] == [other.pk]
    assert replay_run(first)[key] == [acme.pk]

    Feature.objects.all().delete()
    assert replay_run(first)[key] == [acme.pk]
    assert replay_run(second)[key] == [other.pk]


def test_changes_of_the_catalogue_that_triggers_ask_about_are_told():
    starter, sso = Plan.objects.get(key="starter"), Feature.objects.get(key="sso")
    change_row(table=PLANS, row_id=starter.pk, values={"name": "First"}, now=NOW, actor=None)
    change_row(table=FEATURES, row_id=sso.pk, values={"name": "One sign-on"}, now=NOW, actor=None)
    told = Change.objects.filter(kind__in=["plan_changed", "feature_changed"])
    assert not told.exists()
    change_row(table=PLANS, row_id=starter.pk, values={"next_plan": None}, now=NOW, actor=None)
    change_row(table=FEATURES, row_id=sso.pk, values={"area": "safety", "least_plan": None}, now=NOW, actor=None)
    assert sorted(told.values_list("kind", flat=True)) == ["feature_changed", "plan_changed"]


# What a document may say


@pytest.mark.parametrize(
    ("condition", "path", "problem"),
    [
        ({**NEXT}, "", "exactly one of at_least, above is needed"),
        ({**NEXT, "at_least": 101}, "at_least", "more than 100"),
        ({**NEXT, "at_least": 0}, "at_least", "less than 1"),
        ({**NEXT, "at_least": 70.5}, "at_least", "is not a whole number"),
        ({**NEXT, "above": 100}, "above", "more than 99"),
        ({**NEXT, "at_least": 70, "signal_types": []}, "signal_types", "is empty"),
        ({**NEXT, "at_least": 70, "property": ""}, "property", "is empty"),
        ({"measure": "next_tier_touched", "at_least": 70}, "", "window_days is missing"),
        ({**TICKETS, "at_least": 0}, "at_least", "less than 1"),
        ({"measure": "unheld_features", "window_days": 7, "at_least": 1}, "", "signal_type is missing"),
        ({**NEW, "at_least": 1}, "", "at_least is unknown here"),
        ({**NEW, "quiet_days": 0}, "quiet_days", "less than 1"),
        ({**NEW, "window_days": -7}, "window_days", "less than 1"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_where_it_is_wrong(condition, path, problem):
    with pytest.raises(DocumentError) as caught:
        read_document(draft(condition))
    (where, what), *others = caught.value.errors
    assert where == f"triggers/0/any/0/all/0{path and '/' + path}"
    assert problem in what
    assert others == []


def test_named_signal_types_are_looked_up():
    document = read_document(draft({**NEXT, "at_least": 70, "signal_types": ["login", "report_run"]}))
    assert names_used(document).signal_types == dict.fromkeys(
        ("login", "report_run"), "triggers/0/any/0/all/0/signal_types"
    )


def test_reach_covers_the_quiet_days():
    measure = get_measure("new_area")
    assert measure.reach(NEW, {}) == {"quiet_days": 210 * DAY}
    assert measure.reach({**NEW, "quiet_days": 10}, {}) == {"quiet_days": 40 * DAY}
    assert get_measure("next_tier_touched").reach({**NEXT, "at_least": 1}, {}) == {"window_days": 30 * DAY}


def test_words_where_nothing_was_found():
    nothing = {"next_tier": None, "count": 0, "features": None, "area": None, "first_at": None}
    conditions = ({**NEXT, "at_least": 25}, {**TICKETS, "at_least": 1}, NEW)
    said = [get_measure(condition["measure"]).words(condition, nothing) for condition in conditions]
    assert said == [
        "no feature that a next plan adds was touched in 30 days, needed at least 25 %",
        "support ticket: 0 about features not held in 30 days, needed at least 1",
        "feature used: no new area in 30 days, needed an area that was not used in the 180 days before",
    ]
