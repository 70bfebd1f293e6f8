"""Absences: one at a time, with a stand-in who is here, and never in a circle."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from csplaybooks.accounts.acts.members import add_absence, change_absence
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Absence, TeamMember
from csplaybooks.accounts.standing_in import stands_in_for
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def day(number: int) -> date:
    """A day of November."""
    return date(2026, 11, number)


def away(member: Any, first: int, last: int, stand_in: Any = None) -> Absence:
    """Say that a member is away."""
    values = {"member": member, "first_day": day(first), "last_day": day(last), "stand_in": stand_in}
    return add_absence(values=values, now=NOW, actor=None)


def refused(*args: Any) -> dict[str, list[str]]:
    """Why an absence cannot be."""
    with pytest.raises(ValidationError) as error:
        away(*args)
    return dict(error.value.message_dict)


@pytest.fixture
def people(db: None) -> list[TeamMember]:
    """Four CSMs."""
    return [TeamMemberFactory(name=name) for name in ("Ada", "Ben", "Cleo", "Dan")]


def test_nobody_is_away_twice_on_a_day(people: list[TeamMember]) -> None:
    ada, ben, *_ = people
    away(ada, 10, 12)
    said = "Ada is away from 2026-11-10 to 2026-11-12 already: change that absence, or enter the other days alone."
    for first, last in ((12, 14), (8, 10), (11, 11), (1, 30)):
        assert refused(ada, first, last) == {"first_day": [said]}
    away(ada, 13, 14)
    away(ben, 10, 12)
    second = away(ada, 9, 9)
    with pytest.raises(ValidationError, match="Ada is away from 2026-11-10"):
        change_absence(absence_id=second.pk, values={"last_day": day(10)}, now=NOW, actor=None)
    # One is not in its own way.
    assert change_absence(absence_id=second.pk, values={"first_day": day(8)}, now=NOW, actor=None).first_day == day(8)


def test_who_has_left_stands_in_for_nobody(people: list[TeamMember]) -> None:
    ada, ben, *_ = people
    TeamMember.objects.filter(pk=ben.pk).update(is_active=False)
    assert refused(ada, 1, 2, ben) == {"stand_in": ["Ben has left the team: name somebody who works here."]}


def test_a_circle_is_refused_and_names_the_people_and_the_days(people: list[TeamMember]) -> None:
    ada, ben, cleo, _ = people
    away(ada, 10, 20, ben)
    away(ben, 12, 22, cleo)
    # A chain is none.
    assert stands_in_for(cleo.pk, NOW) == {ada.pk, ben.pk}
    said = "They would stand in for each other in a circle from 2026-11-15 to 2026-11-20: Cleo → Ada → Ben → Cleo."
    assert refused(cleo, 15, 25, ada) == {"stand_in": [said]}
    said = "They would stand in for each other in a circle on 2026-11-12: Cleo → Ada → Ben → Cleo."
    assert refused(cleo, 11, 12, ada) == {"stand_in": [said]}
    # On other days there is none.
    away(cleo, 21, 25, ada)
    with pytest.raises(ValidationError, match="a circle from 2026-11-21 to 2026-11-22: Ada"):
        away(ada, 21, 22, ben)


def test_a_circle_from_before_does_not_hang_anything(people: list[TeamMember]) -> None:
    ada, ben, cleo, _ = people
    for member, stand_in in ((ada, ben), (ben, ada)):
        Absence.objects.create(member=member, stand_in=stand_in, first_day=day(1), last_day=day(9), updated_at=NOW)
    assert away(cleo, 2, 3, ada).stand_in == ada


def test_days_the_wrong_way_round_are_refused_in_their_own_words(people: list[TeamMember]) -> None:
    assert refused(people[0], 5, 4, people[1]) == {"__all__": ["An absence must end on or after its first day."]}


class TestNeverACircle(TestCase):
    """Whatever is entered, of what was taken each day leads to somebody who is here, or to nobody; never round."""

    @settings(max_examples=30)
    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3)),
            max_size=12,
        )
    )
    def test_it(self, entered: list[tuple[int, int, int, int]]) -> None:
        members = [TeamMemberFactory(name=f"Person {number}") for number in range(4)]
        for who, first, more, by in entered:
            try:
                away(members[who], first, first + more, members[by])
            except ValidationError:
                continue
        for number in range(1, 10):
            rows = Absence.objects.filter(first_day__lte=day(number), last_day__gte=day(number))
            of = dict(rows.values_list("member", "stand_in"))
            assert len(of) == rows.count()
            for member in of:
                seen, here = set(), member
                while here in of:
                    assert here not in seen
                    seen.add(here)
                    here = of[here]


@pytest.mark.django_db(transaction=True)
def test_of_two_halves_of_a_circle_entered_at_once_one_is_refused() -> None:
    ada, ben = TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Ben")

    def enter(member: Any, stand_in: Any) -> str:
        try:
            away(member, 1, 2, stand_in)
        except ValidationError as error:
            return "circle" if "in a circle" in str(error) else str(error)
        return "taken"

    answers = at_once(lambda: enter(ada, ben), lambda: enter(ben, ada))
    assert sorted(answers) == ["circle", "taken"]
