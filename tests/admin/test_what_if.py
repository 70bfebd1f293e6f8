"""The page "What if" of a playbook."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, EntitlementFactory, TeamMemberFactory, UserFactory
from csplaybooks.playbooks.acts.recipes import publish_playbook
from csplaybooks.playbooks.admin import what_if
from csplaybooks.playbooks.factories import DRAFT, PlaybookFactory
from csplaybooks.playbooks.models import Playbook
from csplaybooks.signals.factories import MeterFactory, ReadingFactory
from csplaybooks.signals.models import PrunedDay
from tests.admin.pages import act, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = DRAFT.format(key="more_seats", name="More seats", motion="seat_expansion")


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def playbook(db):
    return PlaybookFactory(key="more_seats", draft=TEXT)


def customer(name: str, used: int = 95, health: int = 90, days_ago: int = 0, **more: Any) -> Any:
    account = AccountFactory(name=name, **more)
    for key, value in (("seats", used), ("health", health)):
        ReadingFactory(
            account=account,
            meter=MeterFactory(key=key),
            used_milli=value * 1000,
            limit_milli=100_000,
            occurred_at=NOW - days_ago * DAY,
        )
    EntitlementFactory(account=account)
    return account


def page(client: Any, playbook: Any, **asked: Any) -> str:
    response = client.get(url(Playbook, "what_if", playbook.pk), asked)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def test_it_shows_matches_held_free_and_owners_with_links(boss, playbook):
    carla = TeamMemberFactory(name="Carla")
    free, ill = customer("Free Inc", csm=carla), customer("Ill Inc", health=20)
    for name in ("Calm", "Quiet"):
        customer(name, used=10)
    shown = page(boss, playbook)
    assert f'{free.pk}/change/">Free Inc</a>' in shown
    assert f'{ill.pk}/change/">Ill Inc</a>' in shown
    assert "health is 20, needed at least 60" in shown
    assert "Carla: the account&#x27;s CSM" in shown
    assert "2 of 4 accounts." in shown
    assert "Nothing of it runs now." in shown
    assert "messagelist" not in shown
    assert "Quiet" not in shown
    assert "<style" not in shown
    assert "style=" not in shown


def test_the_page_of_the_playbook_leads_there(boss, playbook, signed_in):
    assert url(Playbook, "what_if", playbook.pk) in boss.get(url(Playbook, "change", playbook.pk)).content.decode()
    assert url(Playbook, "what_if", 1) not in boss.get(url(Playbook, "add")).content.decode()


def test_it_warns(boss, playbook):
    customer("Free Inc")
    shown = page(boss, playbook)
    assert "“Seats above 80” matches 1 of the 1 account, 100 %" in shown


def test_a_csm_sees_their_own_and_the_pool_s(csm, carla, playbook):
    customer("Mine", csm=carla)
    customer("Nobody&apos;s".replace("&apos;", ""), csm=None)
    customer("Hers", csm=TeamMemberFactory())
    shown = page(csm, playbook, weeks="8", start="2026-11-01")
    assert "2 of 2 accounts that you see" in shown
    assert ">Mine</a>" in shown
    assert ">Nobodys</a>" in shown
    assert "Hers" not in shown


def test_whoever_may_not_look_at_matches_or_playbooks_is_refused(signed_in, playbook):
    for missing in ("view_playbook", "view_match"):
        user = UserFactory()
        names = {"view_playbook", "view_match", "view_everything"} - {missing}
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client = signed_in(user)
        assert client.get(url(Playbook, "what_if", playbook.pk)).status_code == 403
        if missing == "view_match":
            # Nor is it offered.
            change = client.get(url(Playbook, "change", playbook.pk)).content.decode()
            assert url(Playbook, "what_if", playbook.pk) not in change


def test_a_playbook_that_is_not_there_leads_home(boss):
    assert boss.get(url(Playbook, "what_if", 99)).status_code == 302


def test_a_draft_that_could_not_be_published_says_why(boss, playbook):
    shown = page(boss, playbook, weeks="8")
    assert "triggers/0/any/0/all/0/meters: there is no meter seats" in shown
    Playbook.objects.update(draft="key: [")
    assert "this is not the YAML of a playbook" in page(boss, playbook)


def test_a_draft_of_another_motion_says_that_it_could_not_be_published(boss, playbook):
    customer("Free Inc")
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    playbook.refresh_from_db()
    Playbook.objects.update(draft=playbook.draft.replace(f"motion: {playbook.motion}", "motion: service"))
    said = f"motion: the motion of a published playbook stays: {playbook.motion}; make a new playbook"
    shown = page(boss, playbook)
    assert said in shown
    assert "Matches today" not in shown
    asked = act(boss, Playbook, "publish", [playbook]).content.decode()
    assert said in asked
    assert "Matches today" not in asked


def test_weeks_are_worked_out_when_asked_for(boss, playbook):
    carla = TeamMemberFactory(name="Carla")
    customer("Late Inc", days_ago=3, csm=carla)
    assert "by owner and week" not in page(boss, playbook)
    _, shown = page(boss, playbook, weeks="8").split("<h2>Episodes that would have opened, by owner and week</h2>")
    row = re.search(r"<td[^>]*>Carla</td>((?:<td[^>]*>\d+</td>)+)", shown)
    assert row is not None
    assert re.findall(r"\d+(?=</td>)", row[1]) == ["0"] * 7 + ["1", "1"]


def test_a_past_period_shows_its_episodes(boss, playbook):
    customer("Late Inc", days_ago=3)
    shown = page(boss, playbook, start="2026-11-01", end="2026-11-20", every="12h", known="now")
    assert "asked 31 times: 1 episode opened, 0 were there at the start, 1 lasts." in shown
    assert "Nov. 13, 2026, noon" in shown
    assert "0 episodes opened" in page(boss, playbook, start="2026-11-01", known="then")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"start": "yesterday"}, "Enter a valid date"),
        ({"start": "2027-01-01"}, "still to come"),
        ({"start": "1999-01-01"}, "from 2000-01-01"),
        ({"start": "2026-11-10", "end": "2026-11-01"}, "2026-11-01 lies before 2026-11-10"),
        ({"start": "2000-01-01", "every": "1h"}, "moments, and at most 10,000"),
        ({"start": "2026-11-10", "every": "1s"}, "Select a valid choice"),
    ],
)
def test_a_period_that_is_none_is_told_on_the_page(boss, playbook, asked, said):
    customer("Late Inc")
    assert said in page(boss, playbook, **asked)


def test_what_is_pruned_is_told_on_the_page(boss, playbook):
    customer("Late Inc")
    days = MeterFactory(key="seats").max_age_days
    before = NOW - (days + 5) * DAY
    PrunedDay.objects.create(day=before.date(), before=before, signals=0, readings=0, pruned_at=NOW)
    assert "Answered from" in page(boss, playbook, start=f"{(NOW - 20 * DAY).date()}")
    assert "are pruned" in page(boss, playbook, start="2025-01-01", end="2025-02-01")


def test_what_takes_too_long_for_a_page_names_the_command(boss, playbook, monkeypatch):
    customer("Late Inc")
    monkeypatch.setattr(what_if, "MOST_SECONDS", -1)
    shown = page(boss, playbook, start="2026-11-01")
    assert "takes longer than a page may" in shown
    assert "csplaybooks_whatif --playbook more_seats --draft" in shown


def test_long_lists_are_cut_and_say_how_many_there_are(boss, playbook, monkeypatch):
    TeamMemberFactory()
    monkeypatch.setattr(what_if, "MOST_ROWS", 2)
    for number in range(3):
        customer(f"Company {number}", days_ago=2)
    shown = page(boss, playbook, start="2026-11-01")
    assert shown.count("The first 2 of 3.") == 2


def test_the_number_of_queries_stays_whatever_matches(boss, playbook):
    def counted() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(boss, playbook)
        return len(queries)

    carla = TeamMemberFactory()
    customer("One", csm=carla)
    customer("Two", health=10)
    counted()
    few = counted()
    for number in range(20):
        customer(f"Free {number}", csm=carla)
        customer(f"Held {number}", health=10)
    assert counted() == few


def test_publishing_asks_with_what_it_would_come_to(boss, playbook, monkeypatch):
    customer("Free Inc")
    asked = act(boss, Playbook, "publish", [playbook]).content.decode()
    assert "Warning: “Seats above 80” matches 1 of the 1 account, 100 %: that is more than half." in asked
    assert "Matches today: 1, at 1 of 1 account; 0 held, 1 free, 0 stay as they are." in asked
    many = [playbook, *(PlaybookFactory() for _ in range(3))]
    # Of many at once it would take too long.
    assert "Matches today" not in act(boss, Playbook, "publish", many).content.decode()
