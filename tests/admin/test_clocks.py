"""Promises in the admin: what was broken is excused with a reason, and open plays follow what is published."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.plays import assign_plays
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    CalendarUseFactory,
    ClockFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Clock, ClockEvent, Play, Playbook
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.sweep import watch_all
from csplaybooks.playbooks.roles import COLUMNS, RIGHTS
from tests.admin.pages import act, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DRAFT = "key: k\nname: K\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
DRAFT += "routes: [{route: csm}]\ntargets: [{target: first_touch, hours: 8}]\n"
CLOCKS = ("view_clock", "view_clockevent", "view_play", "view_playbook")


@pytest.fixture(autouse=True)
def late(time_machine: Any) -> None:
    """The day after, when the promises are broken."""
    time_machine.move_to(NOW + DAY, tick=False)


@pytest.fixture
def manager(db: None) -> Any:
    """Who leads the team and has the rights for these actions, and sees what the team sees."""
    member = TeamMemberFactory(name="Mara", is_manager=True)
    names = (*CLOCKS, "excuse_clock", "assign_play")
    member.user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return member


@pytest.fixture
def plays(manager: Any) -> list[Play]:
    """Two plays of the team and one of somebody else, each with a broken promise."""
    CalendarFactory()
    recipe = PlaybookVersionFactory(playbook=PlaybookFactory(key="k", motion="add_on", draft=DRAFT))
    carla = TeamMemberFactory(manager=manager)
    made: list[Play] = [
        PlayFactory(account=AccountFactory(csm=owner), recipe=recipe, owner=owner, opened_at=NOW)
        for owner in (carla, carla, TeamMemberFactory())
    ]
    start_clocks(now=NOW)
    watch_all(now=NOW + DAY)
    return made


def excused() -> list[tuple[str, str]]:
    """Who excused what, and why."""
    rows = Clock.objects.exclude(excused_at=None).order_by("pk")
    return [(clock.excused_by.get_username(), clock.excuse_reason) for clock in rows]


def test_a_promise_is_called_by_what_is_promised_and_of_which_play(plays: list[Play]) -> None:
    clock = Clock(play=plays[0], target=Clock.Target.CLOSED)
    assert str(clock) == f"Close of K at {plays[0].account}"


def test_names_of_promises_take_no_queries_of_their_own(plays: list[Play], boss: Any) -> None:
    pages = (url(Clock, "changelist"), url(ClockEvent, "changelist"), url(Play, "change", plays[0].pk))
    counts = []
    for more in (0, 6):
        for number in range(more):
            ClockFactory(play=PlayFactory(), due_at=NOW)
            clock = ClockFactory(play=plays[0], number=10 + number, due_at=NOW)
            ClockEvent.objects.create(clock=clock, kind=ClockEvent.Kind.WARNED, level=50, due_at=NOW, noticed_at=NOW)
        for page in pages:
            boss.get(page)
            with CaptureQueriesContext(connection) as queries:
                assert boss.get(page).status_code == 200
            counts.append(len(queries))
    assert counts[:3] == counts[3:]


def test_a_manager_excuses_with_a_reason(plays: list[Play], manager: Any, signed_in: Any) -> None:
    browser, clocks = signed_in(manager.user), list(Clock.objects.filter(play__in=plays[:2]).order_by("pk"))
    page = act(browser, Clock, "excuse", clocks)
    assert page.status_code == 200
    assert "The breach stays written" in page.content.decode()
    assert excused() == []
    again = act(browser, Clock, "excuse", clocks, perform="1", reason=" ")
    assert again.context["form"].errors == {"reason": ["This field is required."]}
    done = act(browser, Clock, "excuse", clocks, perform="1", reason="Fire drill")
    assert told(done) == ["2 broken promises were excused."]
    assert excused() == [(manager.user.get_username(), "Fire drill")] * 2
    shown = browser.get(url(Clock, "change", clocks[0].pk)).content.decode()
    assert "Fire drill" in shown
    refused = act(browser, Clock, "excuse", clocks[:1], perform="1", reason="Again")
    assert told(refused) == [f"{clocks[0]}: it is excused already: Fire drill"]


def test_the_list_says_why_a_breach_does_not_count_and_that_a_promise_runs_on(
    plays: list[Play], manager: Any, signed_in: Any
) -> None:
    first, second = Clock.objects.filter(play__in=plays[:2]).order_by("pk")
    browser = signed_in(manager.user)
    act(browser, Clock, "excuse", [first], perform="1", reason="Fire drill")
    nights = CalendarFactory(key="nights", is_default=False, blocks=[(day, 20 * 60, 24 * 60) for day in range(5)])
    use = CalendarUseFactory(calendar=nights, member=TeamMemberFactory())
    assign_plays(play_ids=[second.play_id], owner_id=use.member_id, now=NOW + DAY)
    listed = browser.get(url(Clock, "changelist")).content.decode()
    cells = re.findall(r'<td class="field-(state|excuse_words)[^>]*>([^<]*)</td>', listed)
    # The newest comes first.
    assert [text for _, text in cells] == ["Running", "By a later due time", "Breached, still open", "Fire drill"]


def test_only_what_they_see_is_excused(plays: list[Play], manager: Any, signed_in: Any) -> None:
    others = Clock.objects.get(play=plays[2])
    act(signed_in(manager.user), Clock, "excuse", [others], perform="1", reason="Fire drill")
    assert excused() == []


def test_who_may_only_look_is_offered_nothing(plays: list[Play], signed_in: Any) -> None:
    looker = UserFactory(username="looker")
    looker.user_permissions.set(Permission.objects.filter(codename__in=(*CLOCKS, "view_everything")))
    browser = signed_in(looker)
    act(browser, Clock, "excuse", Clock.objects.all(), perform="1", reason="Fire drill")
    assert excused() == []
    assert "Excuse the selected" not in browser.get(url(Clock, "changelist")).content.decode()
    assert "Move open plays" not in browser.get(url(Playbook, "changelist")).content.decode()


def test_managers_and_nobody_else_may_excuse() -> None:
    rights = dict(zip(COLUMNS, RIGHTS[Clock], strict=True))
    assert [role for role, may in rights.items() if "excuse" in may] == [Role.MANAGER]


def test_a_manager_moves_open_plays_to_what_is_published(plays: list[Play], manager: Any, signed_in: Any) -> None:
    playbook = Playbook.objects.get()
    playbook.draft = DRAFT.replace("hours: 8", "hours: 80")
    version = PlaybookVersionFactory(playbook=playbook, number=2)
    browser = signed_in(manager.user)
    page = act(browser, Playbook, "move_promises", [playbook])
    asked = page.content.decode()
    assert "are measured by the targets published now" in asked
    assert (
        "As things stand 2 plays move, and 2 promises change: 0 would be missed at once, "
        "2 that were missed would be excused until their new due time."
    ) in asked
    assert not Play.objects.filter(promises__isnull=False).exists()
    done = act(browser, Playbook, "move_promises", [playbook], perform="1")
    assert told(done) == ["2 open plays were moved to the targets published now."]
    # Those that the person sees.
    assert list(Play.objects.order_by("pk").values_list("promises", flat=True)) == [version.pk, version.pk, None]
    assert set(Clock.objects.filter(play__in=plays[:2]).values_list("promised_seconds", flat=True)) == {80 * 3600}
    assert "As things stand no play moves." in act(browser, Playbook, "move_promises", [playbook]).content.decode()
    again = act(browser, Playbook, "move_promises", [playbook], perform="1")
    assert told(again) == ["0 open plays were moved to the targets published now."]
