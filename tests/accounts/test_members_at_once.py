"""Two who change the team at the same instant: nobody leads somebody who leads them."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import members
from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import TeamMember
from tests.at_once import PATIENCE, begin, waiting_for_locks

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_who_make_the_halves_of_a_circle_the_second_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mona, vera = TeamMemberFactory(name="Mona", leads=True), TeamMemberFactory(name="Vera", leads=True)
    begun: list[Future[Any]] = []
    checked = members._led_by_no_circle

    def overtaken(member: TeamMember) -> None:
        checked(member)
        if begun:
            return
        # What the first one may do is settled, and not written yet.
        begun.append(begin(lambda: change_member(member_id=vera.pk, values={"manager": mona}, now=NOW, actor=None)))
        while not begun[0].done() and not waiting_for_locks():
            pass

    monkeypatch.setattr(members, "_led_by_no_circle", overtaken)
    change_member(member_id=mona.pk, values={"manager": vera}, now=NOW, actor=None)
    with pytest.raises(ValidationError, match="is led by"):
        begun[0].result(timeout=PATIENCE)
    assert dict(TeamMember.objects.values_list("name", "manager__name")) == {"Mona": "Vera", "Vera": None}
