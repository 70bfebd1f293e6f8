"""Each field of a body takes its own type of JSON, over all addresses that take one; nothing is made of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.test import Client
from rest_framework import serializers

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.api.serializers import BodySerializer
from csplaybooks.playbooks.api import OpenBody
from csplaybooks.playbooks.api_acts import API_ACTS, MomentBodyField
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Play

pytestmark = pytest.mark.django_db

#: The bodies, by the part of the address behind that of plays; `{}` stands for the play.
BODIES: Mapping[str, type[BodySerializer]] = {"": OpenBody} | {f"{{}}/{act.verb}/": act.body for act in API_ACTS}

#: Of each kind of field: a value that it takes, values that it refuses by their type, and the code of that.
KINDS: tuple[tuple[type[Any], Any, list[Any], str], ...] = (
    (serializers.ChoiceField, None, [5, 5.5, True, [], {}, ["call"]], "not_text"),
    (serializers.CharField, "A word", [5, 5.5, 0, True, False, [], {}, ["A word"]], "not_text"),
    (serializers.IntegerField, 1, ["1", "", "one", 1.0, 1.5, True, [], [1], {}], "not_a_whole_number"),
    (MomentBodyField, None, [5, 5.5, True, [], {}], "invalid"),
)


def kind_of(field: Any) -> tuple[type[Any], Any, list[Any], str]:
    [kind] = [kind for kind in KINDS if isinstance(field, kind[0])]
    return kind


def fitting(body: type[BodySerializer]) -> dict[str, Any]:
    """A body that is right, of what it must have."""
    fields = {name: field for name, field in body().fields.items() if field.required}
    return {
        name: next(iter(field.choices)) if hasattr(field, "choices") else kind_of(field)[1]
        for name, field in fields.items()
    }


def mistyped() -> Iterator[Any]:
    for address, body in BODIES.items():
        for name, field in body().fields.items():
            _, _, values, code = kind_of(field)
            for value in values:
                yield pytest.param(address, {**fitting(body), name: value}, name, code, id=f"{address}{name}={value!r}")


@pytest.fixture
def boss(db: None) -> Client:
    """The browser of somebody who may do everything, and is in the team."""
    client = Client()
    CalendarFactory()
    client.force_login(TeamMemberFactory(user=UserFactory(superuser=True)).user)
    return client


@pytest.mark.parametrize(("address", "body", "field", "code"), list(mistyped()))
def test_a_value_of_another_type_is_refused_by_its_field(
    boss: Client, address: str, body: dict[str, Any], field: str, code: str
) -> None:
    play = PlayFactory()
    before, told = list(Play.objects.values()), TimelineEntry.objects.count()
    answer = boss.post(f"/api/v1/plays/{address.format(play.pk)}", body, content_type="application/json")
    assert answer.status_code == 400, answer.content
    problem = answer.json()
    assert problem["code"] == "invalid"
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(f"/{field}", code)]
    assert (list(Play.objects.values()), TimelineEntry.objects.count()) == (before, told)


@pytest.mark.parametrize("body", list(BODIES.values()), ids=lambda body: body.__name__)
def test_what_fits_is_taken_as_it_is(body: type[BodySerializer]) -> None:
    asked = body(data=fitting(body))
    assert asked.is_valid(), asked.errors
    assert fitting(body).items() <= asked.validated_data.items()


class EveryBody(BodySerializer):
    """One field of each kind, two of them needed."""

    text = serializers.CharField()
    number = serializers.IntegerField()
    flag = serializers.BooleanField(required=False)
    choice = serializers.ChoiceField(choices=["1", "2"], required=False)
    nothing = serializers.CharField(required=False, allow_null=True)


def codes(data: Any) -> dict[str, list[str]]:
    body = EveryBody(data=data)
    assert not body.is_valid()
    return {name: [error.code for error in errors] for name, errors in body.errors.items()}


@pytest.mark.parametrize("value", ["yes", "true", "on", 1, 0, "", []])
def test_true_and_false_are_words_of_json(value: Any) -> None:
    assert codes({"text": "a", "number": 1, "flag": value}) == {"flag": ["not_true_or_false"]}
    assert EveryBody(data={"text": "a", "number": 1, "flag": False}).is_valid()


def test_a_choice_is_a_word() -> None:
    assert codes({"text": "a", "number": 1, "choice": 1}) == {"choice": ["not_text"]}
    assert EveryBody(data={"text": "a", "number": 1, "choice": "1"}).is_valid()


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert codes({"text": 5, "choice": "3", "flag": "no"}) == {
        "text": ["not_text"],
        "number": ["required"],
        "choice": ["invalid_choice"],
        "flag": ["not_true_or_false"],
    }


def test_null_is_taken_where_nothing_may_be_said() -> None:
    assert codes({"text": None, "number": None, "nothing": None}) == {"text": ["null"], "number": ["null"]}
    assert EveryBody(data={"text": "a", "number": 1, "nothing": None}).is_valid()


@pytest.mark.parametrize(
    ("sent", "code"), [(b'{"reason": "a", "reason": "b"}', "duplicate_key"), (b'{"reason": NaN}', "not_a_number")]
)
def test_what_is_no_value_says_so(boss: Client, sent: bytes, code: str) -> None:
    answer = boss.post(f"/api/v1/plays/{PlayFactory().pk}/win/", sent, content_type="application/json")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [("/reason", code)]


def test_a_form_is_no_body(boss: Client) -> None:
    answer = boss.post(f"/api/v1/plays/{PlayFactory().pk}/win/", {"reason": "5"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
