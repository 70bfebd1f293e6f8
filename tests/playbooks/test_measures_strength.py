"""Strength: what conditions say by themselves, and groups of them that are weak alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from csplaybooks.playbooks.acts.recipes import check_names
from csplaybooks.playbooks.document import DocumentError, names_used, read_document
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.measures import Measure, get_measure, measures
from csplaybooks.playbooks.measures.base import OF_ITS_KINDS
from csplaybooks.signals.factories import MeterFactory, SignalTypeFactory
from csplaybooks.signals.models import Strength

RENEWAL = {"measure": "days_to_renewal", "at_most": 60}
SEASON = {"measure": "season"}
SMALL = {"measure": "segment", "segments": ["small"]}
NEWS = {"measure": "signal_count", "signal_type": "funding_announced", "window_days": 30, "at_least": 1}
LOGINS = {**NEWS, "signal_type": "login"}
SEATS = {"measure": "share_of_limit", "meters": ["seats"], "above": 80}
WIN = {"measure": "finding", "kinds": ["win"]}
MEND = "add a condition that is moderate or strong, as weak news never opens a play by itself"


def draft(*groups: list[dict[str, Any]], **trigger: Any) -> str:
    """A document whose second trigger has these groups."""
    document = yaml.safe_load(DRAFT.format(key="k", name="K", motion="add_on"))
    document["triggers"].append({"key": "t", "any": [{"all": group} for group in groups], **trigger})
    return json.dumps(document)


def faults(*groups: list[dict[str, Any]], **trigger: Any) -> list[tuple[str, str]]:
    """What is wrong with a document with these groups, by itself and with the catalogue."""
    try:
        check_names(read_document(draft(*groups, **trigger)))
    except DocumentError as error:
        return error.errors
    return []


@pytest.fixture
def catalogue(db: None) -> None:
    """Signal types and meters of each strength."""
    for key, strength in (("funding_announced", "weak"), ("login", "moderate"), ("feature_gate_hit", "strong")):
        SignalTypeFactory(key=key, strength=strength)
    for key, strength in (("seats", "strong"), ("nps", "weak")):
        MeterFactory(key=key, strength=strength)


@pytest.mark.parametrize(
    ("group", "which"),
    [
        ([RENEWAL], "days_to_renewal is weak"),
        ([RENEWAL, SEASON], "days_to_renewal and season are weak"),
        ([RENEWAL, SMALL], "days_to_renewal is weak, and segment says nothing alone"),
        ([SMALL, {"measure": "tenure", "above": 30}], "segment and tenure say nothing alone"),
        ([{"measure": "head_count", "above": 200}, SMALL, SMALL], "head_count is weak, and segment says nothing alone"),
        ([{"measure": "tagged", "tags": ["vip"]}], "tagged says nothing alone"),
        ([{"measure": "plan_held", "plans": ["team"]}], "plan_held says nothing alone"),
        ([{"measure": "product_held", "products": ["analytics"]}], "product_held says nothing alone"),
    ],
)
def test_what_the_document_alone_can_tell_is_refused_when_it_is_read(group, which):
    with pytest.raises(DocumentError) as caught:
        read_document(draft([SEATS], group))
    assert caught.value.errors == [("triggers/1/any/1", f"{which}: {MEND}")]


@pytest.mark.parametrize("strength", list(Strength.values))
def test_what_the_trigger_is_called_changes_nothing(strength):
    with pytest.raises(DocumentError, match="triggers/1/any/0: season is weak"):
        read_document(draft([SEASON], strength=strength))
    assert read_document(draft([SEASON, WIN], strength=strength))["triggers"][1]["strength"] == strength


@pytest.mark.parametrize(
    "group", [[SEASON, WIN], [RENEWAL, SEATS], [NEWS, LOGINS], [{"measure": "open_gap"}], [SMALL, SEATS]]
)
def test_one_condition_lifts_the_others(catalogue, group):
    assert faults(group) == []


def test_every_weak_group_is_named():
    with pytest.raises(DocumentError) as caught:
        read_document(draft([SEASON], [SEATS], [SMALL]))
    assert [path for path, _ in caught.value.errors] == ["triggers/1/any/0", "triggers/1/any/2"]


@pytest.mark.parametrize(
    ("group", "which"),
    [
        ([NEWS], "signal_count of funding_announced is weak"),
        (
            [{**NEWS, "measure": "distinct_count"}, RENEWAL, SMALL],
            "distinct_count of funding_announced and days_to_renewal are weak, and segment says nothing alone",
        ),
        ([{"measure": "level", "meters": ["nps"], "above": 8}], "level of nps is weak"),
        # The condition holds by either, so the weaker one counts.
        ([{"measure": "level", "meters": ["seats", "nps"], "above": 8}], "level of seats, nps is weak"),
        ([{"measure": "level_change", "meter": "nps", "window_days": 9, "above": 8}], "level_change of nps is weak"),
    ],
)
def test_what_the_catalogue_tells_is_refused_when_it_is_published(catalogue, group, which):
    assert read_document(draft(group))
    assert faults(group) == [("triggers/1/any/0", f"{which}: {MEND}")]


def test_strength_is_that_of_the_catalogue_of_the_day(catalogue):
    SignalTypeFactory._meta.model.objects.filter(key="funding_announced").update(strength="moderate")
    assert faults([NEWS]) == []
    SignalTypeFactory._meta.model.objects.filter(key="login").update(strength="weak")
    assert [path for path, _ in faults([LOGINS])] == ["triggers/1/any/0"]


def test_what_is_missing_is_told_and_not_called_weak(catalogue):
    nowhere = {**NEWS, "signal_type": "nowhere"}
    assert faults([nowhere, SEASON]) == [("triggers/1/any/0/all/0/signal_type", "there is no signal type nowhere")]


def test_defaults_must_be_there_too(catalogue):
    new, touched = {"measure": "new_area", "window_days": 7}, {"measure": "next_tier_touched", "window_days": 7}
    names = names_used(read_document(draft([new, {**touched, "above": 70}])))
    path = "triggers/1/any/0/all"
    assert names.signal_types == {
        "feature_used": f"{path}/0/signal_type",
        "feature_gate_hit": f"{path}/1/signal_types",
    }
    assert faults([new, {**touched, "above": 70}]) == [
        (f"{path}/0/signal_type", "there is no signal type feature_used")
    ]
    assert faults([{**new, "signal_type": "login"}]) == []
    assert faults([{**touched, "above": 70, "signal_types": ["login"]}]) == []
    assert [where for where, _ in faults([{**touched, "above": 70, "signal_types": ["funding_announced"]}])] == [
        "triggers/1/any/0"
    ]


def test_publishing_asks_each_table_once(catalogue, django_assert_num_queries):
    document = read_document(draft([NEWS, LOGINS], [SEATS, SMALL], [{"measure": "open_gap", "products": ["x"]}]))
    with django_assert_num_queries(3), pytest.raises(DocumentError, match="there is no product x"):
        check_names(document)


def test_a_measure_of_a_host_is_moderate_unless_it_says_otherwise():
    class Plain(Measure):
        key = "plain"
        settings_schema: dict[str, Any] = {}

    class OnSignals(Plain):
        signal_type_settings = ("signal_type",)

    class Strong(OnSignals):
        strength = "strong"

    assert Plain().strength_of({}, {}, {}) == "moderate"
    assert OnSignals().strength_of({}, {}, {}) == "moderate"
    kinds = {"login": "weak", "gate": "strong"}
    assert OnSignals().strength_of({"signal_type": "login"}, kinds, {}) == "weak"
    assert OnSignals().strength_of({"signal_type": ["gate", "login"]}, kinds, {}) == "weak"
    assert Strong().strength_of({"signal_type": "login"}, kinds, {}) == "strong"
    with pytest.raises(KeyError):
        OnSignals().strength_of({"signal_type": "nowhere"}, kinds, {})


def test_strengths_of_the_page_are_those_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "playbooks.md").read_text()
    section = page.partition("\n## Measures\n")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \| [^|]* \|$", section, re.MULTILINE))
    for key, measure in measures().items():
        if measure.strength == OF_ITS_KINDS:
            kinds = (measure.signal_type_settings and "its signal type") or (measure.meter_settings and "its meter")
            assert told[key].removesuffix("s") == (kinds or "moderate"), key
        else:
            assert told[key] == (measure.strength or "-"), key
    assert get_measure("season").strength == "weak"
