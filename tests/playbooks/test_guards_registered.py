"""Guards that a host adds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F, Value

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import DRAFT, MatchFactory
from csplaybooks.playbooks.guards import (
    Ceiling,
    Guard,
    Hold,
    Judgement,
    Question,
    guards,
    judge_matches,
    register,
)
from csplaybooks.playbooks.guards import registry as module
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Route
from csplaybooks.playbooks.reach import reaches

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


class ByName(Guard):
    """Holds accounts by their name; its fact is called as one of ours is."""

    key = "by_name"
    defaults = {"name": "Nobody", "days": 3}
    settings_schema = {"name": {"type": "string"}, "days": {"type": "integer", "minimum": 0}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"lifecycle": F("name"), "health": Value(1)}

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        return {"days": timedelta(days=settings["days"])}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | Ceiling | None:
        if row["lifecycle"] == settings["name"]:
            return Hold(self.key, f"its name is {row['lifecycle']}")
        return Ceiling(self.key, Route.EMAIL, "by mail") if row["lifecycle"] == "Mail only" else None


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(module, "_registry", dict(module._registry))


def settings_of(**guards_given: Any) -> dict[str, Any]:
    """The guards of a document that says nothing but this, with all others off."""
    text = DRAFT.format(key="k", name="n", motion="tier_upsell") + f"guards: {guards_given}\n"
    filled = read_document(text)["guards"]
    return {key: value if key in ("gone", "not_paying", *guards_given) else "off" for key, value in filled.items()}


def judge(name: str, settings: Mapping[str, Any]) -> Judgement:
    """What the guards say about a match of an account of this name."""
    match = MatchFactory(account=AccountFactory(name=name, facts__lifecycle="paying"))
    question = Question(NOW, Known.now(), "tier_upsell")
    ((_, judgement),) = judge_matches(Match.objects.filter(pk=match.pk), question, settings)
    return judgement


@pytest.mark.django_db
def test_it_is_asked_last_and_holds_or_caps_by_facts_of_its_own() -> None:
    register(ByName)
    assert [guard.key for guard in guards()][-1] == "by_name"
    settings = settings_of(by_name={"name": "Acme"})
    # `not_paying` reads a fact of the same name, which is still ours.
    assert judge("Acme", settings) == Judgement(Hold("by_name", "its name is Acme"), None)
    assert judge("Mail only", settings) == Judgement(None, Ceiling("by_name", Route.EMAIL, "by mail"))
    assert judge("Another", settings) == Judgement(None, None)


@pytest.mark.django_db
def test_it_takes_no_query_more(django_assert_num_queries: Any) -> None:
    register(ByName)
    settings = settings_of(by_name={})
    for _ in range(3):
        MatchFactory()
    question = Question(NOW, Known.now(), "tier_upsell")
    with django_assert_num_queries(3):
        assert len(list(judge_matches(Match.objects.all(), question, settings))) == 3


def test_documents_take_its_settings_and_its_defaults() -> None:
    register(ByName)
    text = DRAFT.format(key="k", name="n", motion="tier_upsell")
    assert read_document(text)["guards"]["by_name"] == {"name": "Nobody", "days": 3}
    assert read_document(f"{text}guards: {{by_name: {{days: 9}}}}\n")["guards"]["by_name"]["days"] == 9
    assert read_document(f"{text}guards: {{by_name: off}}\n")["guards"]["by_name"] == "off"
    with pytest.raises(DocumentError, match="guards/by_name/days: -1 is less than 0"):
        read_document(f"{text}guards: {{by_name: {{days: -1}}}}\n")


def test_without_it_a_document_that_names_it_is_refused() -> None:
    text = DRAFT.format(key="k", name="n", motion="tier_upsell")
    with pytest.raises(DocumentError, match="guards: by_name is unknown here; known are gone"):
        read_document(f"{text}guards: {{by_name: {{}}}}\n")


@pytest.mark.django_db
def test_a_version_from_before_it_does_not_know_it() -> None:
    settings = settings_of()
    register(ByName)
    assert judge("Nobody", settings) == Judgement(None, None)
    document = read_document(DRAFT.format(key="k", name="n", motion="tier_upsell"))
    del document["guards"]["by_name"]
    assert not [path for path, _ in reaches(document, {}) if "by_name" in path]


@pytest.mark.django_db
def test_nothing_gets_past_a_guard_whose_app_is_missing() -> None:
    register(ByName)
    settings = settings_of(by_name={})
    del module._registry["by_name"]
    with pytest.raises(LookupError, match="no guard by_name is registered"):
        judge("Another", settings)
    assert judge("Another", {**settings, "by_name": "off"}) == Judgement(None, None)


def test_how_far_back_it_looks_is_told_beside_ours() -> None:
    register(ByName)
    document = read_document(DRAFT.format(key="k", name="n", motion="tier_upsell"))
    told = dict(reaches(document, {"health": 35}))
    assert told["guards/by_name/days"] == timedelta(days=3)
    assert told["guards/dismissed/days"] == timedelta(days=7)
    assert told["guards/unhealthy"] == timedelta(days=35)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"key": "gone"}, "the key 'gone' is registered already"),
        ({"key": "By name"}, "'By name' is no key of a guard"),
        ({"key": "k" * 51}, "is no key of a guard"),
        (
            {"key": "other", "defaults": {"days": "three"}},
            "guard 'other' do not fit its schema: 'three'",
        ),
        ({"key": "other", "defaults": {"weeks": 1}}, "do not fit its schema"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_registered(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        register(type("Other", (ByName,), attributes))
    assert len(guards()) == 9
