"""Filters that refuse what they do not know."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django_filters import rest_framework as filters
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

from csplaybooks.api.filters import StrictFilterBackend
from csplaybooks.api.views import ApiMixin, ApiView
from tests.api.doubles import body_of, problem_of


class NumberInFilter(filters.BaseInFilter, filters.NumberFilter):
    pass


class UserFilters(filters.FilterSet):
    joined = filters.IsoDateTimeFromToRangeFilter(field_name="date_joined")
    letter = filters.MultipleChoiceFilter(field_name="username", choices=[(x, x) for x in "abc"])
    number = NumberInFilter(field_name="id", lookup_expr="in")
    at_least = filters.NumberFilter(field_name="id", lookup_expr="gte")

    class Meta:
        model = User
        fields = ["username", "is_active", "joined", "letter", "number", "at_least"]


class UserSerializer(ModelSerializer):
    class Meta:
        model = User
        fields = ["username"]


class UsersView(ApiMixin, ListAPIView):
    permission_classes = ()
    queryset = User.objects.all()
    serializer_class = UserSerializer
    filterset_class: Any = UserFilters
    filter_backends: Any = (StrictFilterBackend,)
    ordering = ("id",)
    search_fields = ("username",)
    query_parameters: Any = ("fields",)

    def get_authenticators(self) -> list[Any]:
        return []


class UnfilteredView(UsersView):
    filterset_class = None
    filter_backends = (StrictFilterBackend,)
    query_parameters = ()


class EndpointView(ApiView):
    permission_classes = ()
    query_parameters = ("day",)

    def get_authenticators(self) -> list[Any]:
        return []

    def get(self, request: Request) -> Response:
        return Response({})


def get(query: str, view: Any = UsersView) -> Any:
    return view.as_view()(APIRequestFactory().get(f"/?{query}"))


@pytest.fixture
def people(db):
    for name in "abcd":
        User.objects.create(username=name, is_active=name != "d")


def names(query: str) -> str:
    return "".join(row["username"] for row in body_of(get(query))["results"])


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abcd"),
        ("username=b", "b"),
        ("is_active=false", "d"),
        ("is_active=TRUE", "abc"),
        ("letter=a&letter=c", "ac"),
        ("joined_after=2000-01-01T00:00:00Z", "abcd"),
        ("joined_before=2000-01-01T00:00:00Z", ""),
        ("number=-1,-2", ""),
        ("at_least=99999999999999999999", ""),
        ("fields=username&format=json&page_size=10", "abcd"),
    ],
)
def test_known_parameters_work(query, found):
    assert names(query) == found


@pytest.mark.parametrize("name", ["user_name", "Username", "joined", "joined_min", "letter__in", "page", "%00", "é"])
def test_an_unknown_parameter_is_refused_by_name(name):
    document = problem_of(get(f"username=a&{name}=1"), 400, "unknown_filter")
    (error,) = document["errors"]
    assert error["pointer"] == f"/{error['field']}"
    assert error["field"] in (name, "\\x00")
    listed = document["message"].partition("The known ones are: ")[2].rstrip(".").split(", ")
    assert listed == [
        "at_least",
        "cursor",
        "fields",
        "format",
        "is_active",
        "joined_after",
        "joined_before",
        "letter",
        "number",
        "page_size",
        "username",
    ]


def test_all_unknown_parameters_are_named():
    document = problem_of(get("b=1&a=1&username=x"), 400, "unknown_filter")
    assert [error["field"] for error in document["errors"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("is_active=maybe", "is_active"),
        ("at_least=many", "at_least"),
        ("at_least=NaN", "at_least"),
        ("number=1,x", "number"),
        ("letter=z", "letter"),
        ("joined_after=yesterday", "joined"),
        ("username=%00", "username"),
        ("username=", "username"),
        ("username=%20", "username"),
        ("is_active=", "is_active"),
        ("letter=a&letter=", "letter"),
        ("joined_after=", "joined_after"),
    ],
)
def test_an_invalid_value_is_refused(query, field):
    document = problem_of(get(query), 400, "invalid_filter")
    assert {error["pointer"] for error in document["errors"]} == {f"/{field}"}
    assert field in document["message"]


SINGLE = ["username", "is_active", "at_least", "joined_after", "cursor", "page_size", "fields"]


@pytest.mark.parametrize("name", SINGLE)
def test_a_parameter_of_one_value_cannot_be_given_twice(name):
    document = problem_of(get(f"{name}=1&{name}=2"), 400, "repeated_parameter")
    assert [error["field"] for error in document["errors"]] == [name]


def test_a_list_without_filters_refuses_them_all():
    document = problem_of(get("username=a", UnfilteredView), 400, "unknown_filter")
    assert document["message"].endswith("The known ones are: cursor, format, page_size.")


def test_endpoints_without_a_list_refuse_unknown_parameters_too():
    assert get("day=1", EndpointView).status_code == 200
    problem_of(get("days=1", EndpointView), 400, "unknown_filter")
    problem_of(get("day=1&day=2", EndpointView), 400, "repeated_parameter")


def test_one_query_for_a_filtered_page(people, django_assert_num_queries):
    with django_assert_num_queries(1):
        names("is_active=true&username=b")
