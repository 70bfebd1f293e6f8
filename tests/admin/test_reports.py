"""The pages of reports: whose time it was, how offers went, and their files; what stands on the page of one play."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays
from csplaybooks.playbooks.admin import handoff_report, whose_time
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Interval, Play
from tests.admin.conftest import SignIn
from tests.admin.pages import url

pytestmark = pytest.mark.django_db

#: A Monday; what follows happened on it and the day after.
NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = reverse("admin:csplaybooks_playbooks_play_whose_time")
OFFERS = reverse("admin:csplaybooks_playbooks_handoff_report")


@pytest.fixture(autouse=True)
def now(time_machine):
    CalendarFactory()
    time_machine.move_to(NOW + 48 * HOUR, tick=False)


@pytest.fixture
def eve(db: None) -> Any:
    return TeamMemberFactory(name="Eve", ae=True)


@pytest.fixture
def play(carla: Any, eve: Any) -> Play:
    """A play of Carla's, offered to Eve after 12 hours and refused after 12 more."""
    made: Play = PlayFactory(account__csm=carla, account__name="Acme", owner=carla, opened_at=NOW)
    offer_plays(play_ids=[made.pk], to_id=eve.pk, now=NOW + 12 * HOUR)
    refuse_plays(play_ids=[made.pk], reason="=Too small", now=NOW + 24 * HOUR)
    return made


def page(client: Client, address: str, **asked: Any) -> str:
    response = client.get(address, asked)
    assert response.status_code == 200
    content = response.content.decode()
    assert "<script>" not in content.split('<div id="content-main"')[1]
    assert "style=" not in content.split('<div id="content-main"')[1]
    return re.sub(r"\s+", " ", content)


def cells(content: str) -> list[list[str]]:
    """The rows of the tables, as text."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", content.split('<div id="content-main"')[1])
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows
    ]


def taken(client: Client, address: str, **asked: Any) -> list[dict[str, str]]:
    """The rows of a file, by heading."""
    response = client.get(address, {"csv": "1", **asked})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


# Whose time was it.


def test_time_by_holder_with_shares_and_a_way_to_the_plays_behind(boss, play, carla, eve):
    content = page(boss, TIME)
    assert cells(content) == [
        ["Holder", "Time", "%", "Share", "Plays"],
        ["Carla", "1 d 12 h", "75.0", "", "1"],
        ["Eve", "12 h", "25.0", "", "1"],
    ]
    assert "2 d of 1 play, until Nov. 18, 2026, 10 a.m." in content
    (behind,) = re.findall(rf'href="(\?[^"]*key={eve.pk}[^"]*)"', content)
    shown = boss.get(TIME + behind.replace("&amp;", "&"))
    told = re.sub(r"\s+", " ", shown.content.decode())
    assert "<strong>Holder: Eve</strong>" in told
    assert ["Play", "Time", "%", "Share"] in cells(told)
    assert [f"{play.playbook} at Acme", "12 h", "100.0", ""] in cells(told)
    assert url(Play, "change", play.pk) in told


def test_each_cut_and_week_by_week(boss, play):
    for by, first in (("owner", "Carla"), ("team", "In no team"), ("stage", "Owned"), ("state", "Working")):
        assert cells(page(boss, TIME, by=by))[1][0] == first
    week = cells(page(boss, TIME, by="week"))
    assert week[0] == ["Week", "Time", "%", "Share"]
    assert ["2026-W47", "2 d", "100.0", ""] in week
    rows = cells(page(boss, TIME, by="stage", weekly="on", since="2026-11-09", until="2026-11-20"))
    assert rows[0][-2:] == ["2026-W46", "2026-W47"]
    assert rows[1][-2:] == ["", "2 d"]


def test_a_week_leads_to_its_days(boss, play):
    (address,) = re.findall(r'<a href="(\?[^"]*)">2026-W47</a>', page(boss, TIME, by="week"))
    assert "since=2026-11-16" in address
    assert "until=2026-11-18" in address


def test_filters_of_the_page(boss, play, carla):
    PlayFactory(opened_at=NOW, account__name="Other", segment="small", route="email")
    assert "of 2 plays" in page(boss, TIME)
    for asked in (
        {"account": "acm"},
        {"owner": carla.pk},
        {"playbook": play.playbook.key},
        {"account": "acme", "motion": play.motion, "route": play.route},
    ):
        assert "2 d of 1 play," in page(boss, TIME, **asked), asked
    assert "No play was open then." in page(boss, TIME, segment="enterprise")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"since": "2026-11-17", "until": "2026-11-16"}, "2026-11-16 lies before 2026-11-17"),
        ({"since": "1999-01-01"}, "Ask from 2000-01-01 to 9998-12-31."),
        ({"since": "9999-12-31", "until": "9999-12-31"}, "Ask from 2000-01-01 to 9998-12-31."),
        ({"since": "2030-01-01", "until": "2030-02-01"}, "This lies ahead"),
        ({"since": "nonsense"}, "Enter a valid date."),
        ({"by": "weather"}, "Select a valid choice."),
        ({"of": "holder", "key": "nobody"}, "&#x27;nobody&#x27; is no line of this cut."),
        ({"by": "week", "since": "2020-01-01"}, "more than 54 weeks: ask for a shorter period"),
        ({"owner": "99999999999999999999"}, "Select a valid choice."),
    ],
)
def test_what_cannot_be_answered_is_said_on_the_form(boss, play, asked, said):
    content = page(boss, TIME, **asked)
    assert said in content
    assert cells(content) == []
    # Nor is there a file of it.
    assert boss.get(TIME, {**asked, "csv": "1"}).headers["Content-Type"].startswith("text/html")


def test_each_sees_the_time_of_their_plays(csm, stranger, signed_in: SignIn, play, eve):
    PlayFactory(account__csm=TeamMemberFactory(), owner=TeamMemberFactory(), opened_at=NOW)
    assert "2 d of 1 play," in page(csm, TIME)
    assert "No play was open then." in page(stranger, TIME)
    colleague = TeamMemberFactory(name="Colleague")
    colleague.user.user_permissions.set(Permission.objects.filter(codename__in=["view_play", "view_interval"]))
    assert "No play was open then." in page(signed_in(colleague.user), TIME)
    assert taken(signed_in(colleague.user), TIME) == []


@pytest.mark.parametrize("missing", ["view_play", "view_interval"])
def test_whoever_may_not_look_at_plays_or_intervals_is_refused(signed_in: SignIn, missing):
    user = UserFactory()
    names = {"view_play", "view_interval", "view_everything"} - {missing}
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = signed_in(user)
    assert client.get(TIME).status_code == 403
    if missing == "view_interval":
        # Nor is it offered.
        assert TIME not in client.get(url(Play, "changelist")).content.decode()


def test_the_list_and_the_page_of_the_app_lead_to_the_reports(boss, play):
    index = boss.get(reverse("admin:app_list", args=["csplaybooks_playbooks"])).content.decode()
    for address, model in ((TIME, Play), (OFFERS, Handoff)):
        assert address in index
        assert address in boss.get(url(model, "changelist")).content.decode()


def test_the_file_of_time_has_everything_that_is_told_and_more_plays_than_the_page(boss, play, carla, monkeypatch):
    row = taken(boss, TIME, weekly="on")[0]
    assert (row["Holder"], row["Key"], row["Seconds"], row["Hours"]) == ("Carla", str(carla.pk), "129600", "36.0000")
    assert (row["Per cent"], row["Plays"], row["Hours in 2026-W47"]) == ("75.0", "1", "36.0000")
    assert (row["From"][:10], row["To"]) == ("2026-10-20", "2026-11-18T10:00:00+00:00")
    PlayFactory(account__name="=1+1", opened_at=NOW)
    monkeypatch.setattr(whose_time, "MOST_LINES", 1)
    assert "1 more play has less time: it is in the file." in page(boss, TIME, by="play")
    assert len(taken(boss, TIME, by="play")) == 2
    carla.name = "=Carla"
    carla.save()
    assert "'=Carla" in {row["Holder"] for row in taken(boss, TIME)}


def test_broken_intervals_are_told_on_the_page(boss, play):
    assert "csplaybooks_check" not in page(boss, TIME)
    Interval.objects.filter(play=play, seq=0).delete()
    assert "csplaybooks_check names those that are broken" in page(boss, TIME)


def test_the_page_of_a_play_tells_whose_time_it_was(boss, csm, play, eve):
    content = re.sub(r"\s+", " ", csm.get(url(Play, "change", play.pk)).content.decode())
    panel = content.split("csplaybooks-side-by-side")[1]
    for words in ("Carla", "1 d 12 h", "75.0", "Eve", "12 h", "25.0", "Owned", "2 d", "100.0"):
        assert words in panel
    # Of what was opened this instant there is nothing to tell.
    fresh = PlayFactory(opened_at=NOW + 48 * HOUR)
    assert "csplaybooks-side-by-side" not in boss.get(url(Play, "change", fresh.pk)).content.decode()


# How offers went.


def test_offers_by_pair_with_reasons(boss, play):
    content = page(boss, OFFERS)
    rows = cells(content)
    assert rows[2][:9] == ["Carla → Eve", "1", "0", "1", "0", "0", "0", "0", "0"]
    assert rows[2][-4:-2] == ["12 h", "12 h"]
    assert rows[3][:4] == ["All", "1", "0", "1"]
    assert ["Carla → Eve", "=Too small", "Nov. 17, 2026, 10 a.m."] in rows
    (address,) = {each for each in re.findall(r'href="([^"]*/handoff/\?[^"]*)"', content) if "offered_to" in each}
    listed = boss.get(address.replace("&amp;", "&"))
    assert [row.pk for row in listed.context["cl"].result_list] == [Handoff.objects.get().pk]


def test_offers_by_month_and_the_files(boss, play, eve):
    rows = cells(page(boss, OFFERS, pairing="all", every="month"))
    assert rows[2][:4] == ["2026-11", "1", "0", "1"]
    [row] = taken(boss, OFFERS)
    assert (row["Who offered"], row["To whom"], row["Offered"], row["Refused"]) == ("Carla", "Eve", "1", "1")
    assert (row["Median hours"], row["Promise: called off"]) == ("12.0000", "1")
    [reason] = taken(boss, OFFERS, csv="reasons")
    assert (reason["Reason"], reason["Day"]) == ("'=Too small", "2026-11-17")


def test_each_sees_the_offers_of_their_side(csm, stranger, signed_in: SignIn, play, eve):
    for member, seen in ((eve, True), (TeamMemberFactory(ae=True), False)):
        member.user.user_permissions.set(Permission.objects.filter(codename="view_handoff"))
        assert ("Carla → Eve" in page(signed_in(member.user), OFFERS)) == seen
    assert "Carla → Eve" in page(csm, OFFERS)
    assert "Nothing was offered then." in page(stranger, OFFERS)
    assert taken(stranger, OFFERS) == taken(stranger, OFFERS, csv="reasons") == []


def test_whoever_may_not_look_at_offers_is_refused(signed_in: SignIn, carla):
    carla.user.user_permissions.set(Permission.objects.filter(codename__in=["view_play", "view_interval"]))
    assert signed_in(carla.user).get(OFFERS).status_code == 403


def test_more_refusals_than_are_shown_are_counted(boss, play, monkeypatch):
    monkeypatch.setattr(handoff_report, "MOST_REFUSALS", 1)
    from csplaybooks.playbooks.reports import handoffs

    monkeypatch.setattr(handoffs, "MOST_REFUSALS", 1)
    offer_plays(play_ids=[play.pk], to_id=Handoff.objects.get().offered_to_id, now=NOW + 30 * HOUR)
    refuse_plays(play_ids=[play.pk], reason="Again", now=NOW + 31 * HOUR)
    assert "The newest 1; 1 more were refused before them." in page(boss, OFFERS)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        (TIME, {}),
        *((TIME, {"by": by, "weekly": "on"}) for by in ("team", "play", "week")),
        (OFFERS, {"every": "week"}),
    ],
)
def test_pages_take_as_many_queries_for_many_plays_as_for_one(csm, carla, eve, address, asked):
    counts = []
    for number in (1, 5):
        for _ in range(number):
            made = PlayFactory(account__csm=carla, owner=carla, opened_at=NOW)
            offer_plays(play_ids=[made.pk], to_id=eve.pk, now=NOW + HOUR)
            accept_plays(play_ids=[made.pk], now=NOW + 2 * HOUR)
        page(csm, address, **asked)
        with CaptureQueriesContext(connection) as queries:
            page(csm, address, **asked)
        counts.append(len(queries))
    assert counts[0] == counts[1]
