"""The stated rules."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.playbooks.replay.customers import Customer, Window
from csplaybooks.playbooks.replay.overrides import edited, read_overrides
from csplaybooks.playbooks.replay.rules import WINDOW_DAYS, LicenceRule
from csplaybooks.playbooks.replay.scene import product_key

DAY = date(2024, 1, 1)


@pytest.mark.parametrize(("active", "seats"), [(0, 5), (4, 5), (5, 10), (8, 10), (9, 15), (16, 20), (100, 125)])
def test_licence_is_a_quarter_more_rounded_up_to_fives(active: int, seats: int) -> None:
    assert LicenceRule().seats(active) == seats
    assert LicenceRule().usage(active * 10) == seats * 10


@given(
    active=st.integers(0, 10**6), headroom=st.integers(0, 300), step=st.integers(1, 100), minimum=st.integers(1, 100)
)
def test_licence_is_the_least_that_the_rule_allows(active: int, headroom: int, step: int, minimum: int) -> None:
    seats = LicenceRule(minimum=minimum, headroom_percent=headroom, step=step).seats(active)
    assert seats >= minimum
    assert seats * 100 >= active * (100 + headroom)
    assert seats == minimum or (seats % step == 0 and (seats - step) * 100 < active * (100 + headroom))


@pytest.mark.parametrize("wrong", [{"minimum": 0}, {"step": 0}, {"headroom_percent": -1}, {"after_days": 0}])
def test_licence_rule_must_make_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="licence rule"):
        LicenceRule(**wrong)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1), st.sampled_from(["", "a", "b", "c"])), max_size=60))
def test_window_holds_the_last_28_days(rows: list[tuple[int, int, str]]) -> None:
    customers = [Customer(number, number, f"c{number}", 1, since=DAY, last_row=DAY) for number in range(2)]
    window = Window()
    for number in range(100):
        day = DAY + timedelta(days=number)
        window.add(day, [(customers[which], user) for at, which, user in rows if at == number])
        window.slide(day)
        for which, customer in enumerate(customers):
            inside = [user for at, of, user in rows if of == which and number - WINDOW_DAYS < at <= number]
            assert customer.rows == len(inside)
            assert customer.active_users == len({user for user in inside if user})
    assert not window


def test_days_above_the_licence_are_counted_from_the_first_of_them() -> None:
    customer = Customer(1, 0, "acme", 1, since=DAY, last_row=DAY)
    window = Window()
    for number, users in enumerate(["a", "ab", "ab"]):
        day = DAY + timedelta(days=number)
        window.add(day, [(customer, user) for user in users])
        customer.licence = 1
        customer.compare(day)
    assert customer.above_since == DAY + timedelta(days=1)
    customer.licence = 2
    customer.compare(DAY)
    assert customer.above_since is None


def test_overrides_edit_the_documents_they_name() -> None:
    document = {"key": "one", "guards": {"onboarding": {"days": 3}}, "expires_days": 9}
    assert edited(document, read_overrides())["guards"] == {"onboarding": {"days": 3}, "unhealthy": "off"}
    assert document["guards"] == {"onboarding": {"days": 3}}
    others = [{"playbooks": ["two"], "path": ["expires_days"], "value": 1}]
    assert edited(document, others) == document


def test_product_keys_differ_where_their_texts_do() -> None:
    texts = ["nova", "Nova", "nova compute", "nova-compute", "新", "旧", "x" * 300, "x" * 301]
    keys = {product_key(text) for text in texts}
    assert len(keys) == len(texts)
    assert max(map(len, keys)) <= 100
