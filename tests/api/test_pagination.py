"""Pages by cursor: each row once, in order, whatever happens to the rows in between."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, QuerySet
from django.db.models.functions import Length
from django.test import override_settings
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from csplaybooks.api.pagination import StableCursorPagination, unique_order
from csplaybooks.api.problems import Problem

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class View:
    """What the paginator looks at in a view."""

    def __init__(self, *ordering: str) -> None:
        self.ordering = ordering


def turn_to(queryset: QuerySet[Any], address: str, view: Any) -> tuple[list[Any], str | None, str | None]:
    paginator = StableCursorPagination()
    rows = paginator.paginate_queryset(queryset, Request(APIRequestFactory().get(address)), view)
    answer = paginator.get_paginated_response(rows).data
    return answer["results"], answer["next"], answer["previous"]


def walk(queryset: QuerySet[Any], view: Any, address: str = "/?page_size=3") -> list[list[Any]]:
    """All pages forwards; on the way back they must be the same."""
    pages = []
    step: str | None = address
    previous = None
    while step:
        rows, step, previous = turn_to(queryset, step, view)
        pages.append(rows)
    back = pages[-1:]
    while previous:
        rows, following, previous = turn_to(queryset, previous, view)
        back.insert(0, rows)
        assert following is not None
    assert back == pages
    return pages


def refused(query: str, code: str, *ordering: str) -> None:
    with pytest.raises(Problem) as caught:
        turn_to(User.objects.all(), f"/?{query}", View(*(ordering or ("date_joined", "id"))))
    problem = caught.value
    assert (problem.status_code, problem.code) == (400, code)
    assert [error.field for error in problem.errors] == [query.partition("=")[0]]


@pytest.fixture
def people(db):
    """Twelve users: half of them joined at one instant, some never signed in."""
    User.objects.bulk_create(
        User(
            username=f"user-{number:02}",
            date_joined=NOON + timedelta(microseconds=max(0, number - 6)),
            last_login=NOON + timedelta(hours=number // 3) if number % 2 else None,
        )
        for number in range(12)
    )


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "ordering",
    [
        ("id",),
        ("-id",),
        ("username",),
        ("date_joined", "id"),
        ("-date_joined", "-id"),
        ("-date_joined", "id"),
        ("date_joined", "-username"),
        ("is_active",),
        ("is_active", "-date_joined"),
    ],
)
def test_every_row_stands_on_one_page_in_order(ordering):
    expected = list(User.objects.order_by(*unique_names(User.objects.all(), ordering)))
    for size in (1, 3, 5, 12, 13):
        pages = walk(User.objects.all(), View(*ordering), f"/?page_size={size}")
        assert [row for page in pages for row in page] == expected
        assert {len(page) for page in pages[:-1]} <= {size}


@pytest.mark.usefixtures("people")
def test_missing_values_come_after_all_others():
    ascending = list(User.objects.order_by(F("last_login").asc(nulls_last=True), "id"))
    descending = list(User.objects.order_by(F("last_login").desc(nulls_first=True), "-id"))
    for size in (1, 2, 4):
        for view, expected in ((View("last_login"), ascending), (View("-last_login"), descending)):
            pages = walk(User.objects.all(), view, f"/?page_size={size}")
            assert [row for page in pages for row in page] == expected


@pytest.mark.django_db
@pytest.mark.parametrize("ordering", [("content_type__model",), ("-content_type",), ("content_type_id", "codename")])
def test_fields_of_related_rows(ordering):
    expected = list(Permission.objects.order_by(*unique_names(Permission.objects.all(), ordering)))
    pages = walk(Permission.objects.select_related("content_type"), View(*ordering), "/?page_size=7")
    assert [row for page in pages for row in page] == expected
    assert len(pages) > 3


@pytest.mark.usefixtures("people")
def test_annotations_and_dicts():
    User.objects.filter(username__endswith="3").update(username="x")
    queryset = User.objects.annotate(length=Length("username"))
    expected = list(queryset.order_by("-length", "-id").values("id", "length"))
    pages = walk(queryset.values("id", "length"), View("-length"))
    assert [row for page in pages for row in page] == expected


@pytest.mark.usefixtures("people")
def test_more_rows_at_one_instant_than_any_offset_can_count():
    User.objects.bulk_create(User(username=f"mass-{number}", date_joined=NOON) for number in range(2500))
    seen = [row.pk for page in walk_forward(View("date_joined", "id"), 400) for row in page]
    assert len(seen) == len(set(seen)) == 2512


def walk_forward(view: Any, size: int) -> list[list[Any]]:
    pages = []
    step: str | None = f"/?page_size={size}"
    while step:
        rows, step, _ = turn_to(User.objects.all(), step, view)
        pages.append(rows)
    return pages


@pytest.mark.usefixtures("people")
def test_rows_that_change_between_pages_are_seen_again_and_none_is_missed():
    chance = random.Random(7)
    view = View("date_joined", "id")
    seen: dict[int, datetime] = {}
    step: str | None = "/?page_size=2"
    now = NOON + timedelta(days=1)
    for turn in range(100):
        rows, step, _ = turn_to(User.objects.all(), step or "", view)
        seen.update({row.pk: row.date_joined for row in rows})
        if step is None:
            break
        if turn < 10:
            # A change stamps its row anew; one row is removed, the one that the cursor names.
            changed = chance.sample(list(User.objects.values_list("pk", flat=True)), 2)
            User.objects.filter(pk__in=changed).update(date_joined=now + timedelta(seconds=turn))
            if turn == 3:
                User.objects.filter(pk=rows[-1].pk).delete()
    state = dict(User.objects.values_list("pk", "date_joined"))
    assert turn > 6
    assert {pk: seen[pk] for pk in state} == state


@pytest.mark.usefixtures("people")
def test_a_page_costs_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        _, step, _ = turn_to(User.objects.all(), "/?page_size=5", View("date_joined", "id"))
    with django_assert_num_queries(1):
        turn_to(User.objects.all(), step or "", View("date_joined", "id"))


@pytest.mark.usefixtures("people")
def test_the_addresses_keep_the_other_parameters():
    _, step, previous = turn_to(User.objects.all(), "/?page_size=5&is_active=true&x=%C3%A4%26", View("id"))
    assert previous is None
    assert urlsplit(step or "").netloc == "testserver"
    query = parse_qs(urlsplit(step or "").query)
    assert {key: value for key, value in query.items() if key != "cursor"} == {
        "page_size": ["5"],
        "is_active": ["true"],
        "x": ["ä&"],
    }


@pytest.mark.usefixtures("people")
def test_an_empty_list():
    assert turn_to(User.objects.none(), "/", View("id")) == ([], None, None)


@pytest.mark.usefixtures("people")
def test_the_size_of_pages():
    def size(query: str) -> int:
        return len(turn_to(User.objects.all(), f"/?{query}", View("id"))[0])

    with override_settings(CSPLAYBOOKS={"PAGE_SIZE": 4, "PAGE_SIZE_MAX": 6}):
        assert size("") == 4
        assert size("page_size=1") == 1
        assert size("page_size=006") == 6
        assert size("page_size=6") == 6
        for more in ("7", "9" * 5000):
            refused(f"page_size={more}", "bad_page_size")
    with override_settings(CSPLAYBOOKS={"PAGE_SIZE": 9, "PAGE_SIZE_MAX": 6}):
        assert size("") == 6


@pytest.mark.parametrize("size", ["0", "-1", "", "a", "1.5", "00", "%D9%A3", "1e2", "%20"])
def test_a_bad_size_is_refused(size):
    refused(f"page_size={size}", "bad_page_size")


def cursor(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return "cursor=" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


GOOD = "2026-11-22T12:00:00+00:00"
ORDER = "date_joined,id"


@pytest.mark.django_db
def test_the_cursors_below_are_bad_by_one_thing_only():
    turn_to(User.objects.all(), "/?" + cursor([ORDER, 0, [GOOD, 1]]), View("date_joined", "id"))


@pytest.mark.parametrize(
    "query",
    [
        "cursor=",
        "cursor=x",
        "cursor=!!!!",
        "cursor=%C3%A4",
        "cursor=" + "A" * 5000,
        cursor("[" * 2000),
        cursor("{"),
        cursor([]),
        cursor({"a": 1, "b": 2, "c": 3}),
        cursor([ORDER, 0, "ab"]),
        cursor([ORDER, 2, [GOOD, 1]]),
        cursor([ORDER, [], [GOOD, 1]]),
        cursor([ORDER, 0, [GOOD]]),
        cursor([ORDER, 0, [GOOD, 1, 1]]),
        cursor(["date_joined,-id", 0, [GOOD, 1]]),
        cursor([ORDER, 0, [None, 1]]),
        cursor([ORDER, 0, [GOOD, None]]),
        cursor([ORDER, 0, [GOOD, "one"]]),
        cursor([ORDER, 0, [GOOD, [1]]]),
        cursor([ORDER, 0, [GOOD, 10**30]]),
        cursor([ORDER, 0, [GOOD, float("nan")]]),
        cursor([ORDER, 0, [GOOD, float("inf")]]),
        cursor([ORDER, 0, ["", 1]]),
        cursor([ORDER, 0, [1, 1]]),
        cursor([ORDER, 0, ["2026-13-22T12:00:00Z", 1]]),
        cursor([ORDER, 0, ["0001-01-01T00:00:00+14:00", 1]]),
        cursor([ORDER, 0, ["9999-12-31T23:59:59-12:00", 1]]),
    ],
)
def test_a_bad_cursor_is_refused(query):
    refused(query, "bad_cursor")


@pytest.mark.parametrize("name", ["a\x00", "\ud800", "x" * 200])
def test_a_bad_text_in_a_cursor_is_refused(name):
    refused(cursor(["username", 0, [name]]), "bad_cursor", "username")


@pytest.mark.usefixtures("people")
def test_an_order_is_made_unique():
    pages = walk(User.objects.all(), View("-is_active", "last_login"), "/?page_size=5")
    expected = User.objects.order_by("-is_active", F("last_login").asc(nulls_last=True), "id")
    assert [row for page in pages for row in page] == list(expected)


@pytest.mark.usefixtures("people")
def test_a_cursor_is_tied_to_its_order():
    _, step, _ = turn_to(User.objects.all(), "/?page_size=5", View("username"))
    with pytest.raises(Problem) as caught:
        turn_to(User.objects.all(), step or "", View("date_joined"))
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize(
    ("ordering", "unique"),
    [
        (("date_joined",), ["date_joined", "id"]),
        (("-date_joined",), ["-date_joined", "-id"]),
        (("id", "date_joined"), ["id"]),
        (("pk",), ["id"]),
        (("-username", "date_joined"), ["-username"]),
        (("date_joined", "date_joined"), ["date_joined", "id"]),
        (("last_login", "-is_active"), ["last_login", "-is_active", "-id"]),
    ],
)
def test_an_order_ends_with_a_unique_field(ordering, unique):
    assert unique_names(User.objects.all(), ordering) == unique


def unique_names(queryset: QuerySet[Any], ordering: tuple[str, ...]) -> list[str]:
    return [("-" if term.descending else "") + term.name for term in unique_order(queryset, ordering)]


@pytest.mark.parametrize("ordering", [(), ("nothing",), ("groups",), ("?",), ("groups__name",)])
def test_an_order_that_cannot_be_is_a_fault_of_ours(ordering):
    with pytest.raises(ImproperlyConfigured):
        unique_order(User.objects.all(), ordering)


def test_the_default_order_needs_its_fields():
    assert StableCursorPagination.ordering == ("updated_at", "id")
    with pytest.raises(ImproperlyConfigured, match="Group cannot be ordered by 'updated_at'"):
        turn_to(Group.objects.all(), "/", View())
