"""Whose hours calendars are, and public holidays, in the admin."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.admin_base import LOST_UPDATE
from csplaybooks.playbooks.factories import CalendarFactory, CalendarUseFactory, ClockFactory, HolidayImportFactory
from csplaybooks.playbooks.models import Calendar, CalendarDay, CalendarUse, Clock, HolidayImport
from tests.admin.pages import act, faults, opened, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
CHRISTMAS = date(2026, 12, 25)


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


# Whose hours


def test_a_calendar_is_given_to_a_team_changed_and_taken_away(boss, operator):
    night = CalendarFactory(key="night", is_default=False)
    moritz, carla = TeamMemberFactory(name="Moritz", leads=True), TeamMemberFactory(name="Carla")
    clock = ClockFactory(play__owner=carla, is_stale=False)
    assert send(boss, url(CalendarUse, "add"), calendar=night.pk, team=moritz.pk).status_code == 302
    use = CalendarUse.objects.get()
    assert (use.calendar, use.team, use.member, use.region) == (night, moritz, None, "")
    assert not Clock.objects.filter(is_stale=True).exists()
    page = url(CalendarUse, "change", use.pk)
    before = opened(boss, page)
    assert send(boss, page, team="", member=carla.pk).status_code == 302
    assert list(Clock.objects.filter(is_stale=True)) == [clock]
    assert TimelineEntry.objects.latest("pk").actor == operator
    answer = boss.post(page, before)
    assert faults(answer)["__all__"] == [LOST_UPDATE]
    assert act(boss, CalendarUse, "delete_selected", [use], post="yes").status_code == 302
    assert not CalendarUse.objects.exists()


def test_faults_of_a_use_stand_on_its_fields(boss):
    use = CalendarUseFactory(member=TeamMemberFactory(name="Carla"))
    add = url(CalendarUse, "add")
    office = {"calendar": use.calendar.pk}
    one = ["Name a member, a team or a region: one of them."]
    assert one in faults(send(boss, add, **office)).values()
    other = TeamMemberFactory().pk
    assert one in faults(send(boss, add, **office, member=other, region="apac")).values()
    [taken] = faults(send(boss, add, **office, member=use.member.pk))["member"]
    assert taken == f"Carla has a calendar already: {use.calendar}."
    said = f"The region EMEA has a calendar already: {CalendarUseFactory(member=None, region='EMEA').calendar}."
    for region in ("emea", "EMEA"):
        assert faults(send(boss, add, **office, region=region))["region"] == [said]
    nobody = TeamMemberFactory(name="Nele")
    said = "Nele is no manager and leads nobody: name them as the member."
    assert faults(send(boss, add, **office, team=nobody.pk))["team"] == [said]
    assert CalendarUse.objects.count() == 2


def test_a_region_that_no_account_has_is_told_and_saved(boss):
    AccountFactory(facts__region="emea")
    office = CalendarFactory()
    answer = send(boss, url(CalendarUse, "add"), calendar=office.pk, region="EMAE")
    said = "No account is of the region EMAE: this counts for none until one is."
    assert said in told(answer)
    use = CalendarUse.objects.get()
    answer = send(boss, url(CalendarUse, "change", use.pk), region="EMEA")
    assert not any("No account" in each for each in told(answer))
    assert CalendarUse.objects.get().region == "EMEA"


def test_zone_of_a_member_stands_on_their_form(boss):
    carla = TeamMemberFactory(name="Carla")
    page = url(TeamMember, "change", carla.pk)
    [said] = faults(send(boss, page, zone="Mars/Olympus"))["zone"]
    assert said.startswith("There is no time zone 'Mars/Olympus'")
    assert send(boss, page, zone="Asia/Tokyo").status_code == 302
    assert TeamMember.objects.get().zone == "Asia/Tokyo"


# Holidays


def test_holidays_are_imported_from_the_page_of_a_calendar(boss):
    office = CalendarFactory()
    CalendarDay.objects.create(calendar=office, day=CHRISTMAS, start_minute=600, end_minute=720)
    add = boss.get(url(Calendar, "change", office.pk)).context["import_holidays"]
    assert opened(boss, add)["calendar"] == str(office.pk)
    answer = send(boss, add, country="de", subdivision="by", years="2026-2027")
    assert answer.status_code == 302
    assert [str(row) for row in HolidayImport.objects.order_by("year")] == ["DE-BY 2026", "DE-BY 2027"]
    assert answer.headers["Location"] == url(HolidayImport, "changelist")
    [said] = told(answer)
    assert said.startswith("Office hours: holidays of DE-BY 2026, 2027 imported from holidays ")
    assert "on one of which what was entered by hand counts." in said
    # On the calendar's form stands what people entered; what was imported stands beside it, to look at.
    page = boss.get(url(Calendar, "change", office.pk))
    assert page.content.decode().count(">DE-BY 2026</a>") == 1
    assert opened(boss, url(Calendar, "change", office.pk))["days-TOTAL_FORMS"] == "1"
    days = CalendarDay.objects.count()
    assert send(boss, url(Calendar, "change", office.pk), name="Renamed").status_code == 302
    assert CalendarDay.objects.count() == days
    page = boss.get(url(HolidayImport, "change", HolidayImport.objects.get(year=2026).pk))
    assert "German Unity Day" in page.content.decode()


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"country": "XX"}, "country", "such as DE or US."),
        ({"country": "United Kingdom"}, "country", "Write GB (United Kingdom)"),
        ({"subdivision": "ZZ"}, "subdivision", "There are: BB, BE,"),
        ({"years": "1066"}, "years", "No public holidays of DE are known in 1066."),
        ({"years": "soon"}, "years", "'soon' is no year: write 2026, or 2026-2028."),
        ({"calendar": ""}, "calendar", "required"),
    ],
)
def test_what_cannot_be_imported_stands_on_the_form(boss, values, field, said):
    given = {"calendar": CalendarFactory().pk, "country": "DE", "years": "2026", **values}
    assert said in " ".join(faults(send(boss, url(HolidayImport, "add"), **given))[field])
    assert not HolidayImport.objects.exists()


def test_imports_are_taken_anew_and_forgotten(boss):
    row = HolidayImportFactory(country="DE", year=2026)
    answer = act(boss, HolidayImport, "import_anew", [row])
    assert any("holidays of DE 2026 imported from holidays" in said for said in told(answer))
    row.refresh_from_db()
    assert row.source_version != "0.1"
    assert row.days.filter(day=CHRISTMAS).exists()
    boss.post(url(HolidayImport, "delete", row.pk), {"post": "yes"})
    assert not HolidayImport.objects.exists()
    assert not CalendarDay.objects.exists()
    assert "forgotten" in TimelineEntry.objects.latest("pk").text


def test_a_csm_looks_and_does_not_import(csm, carla):
    row = HolidayImportFactory()
    page = url(Calendar, "change", row.calendar.pk)
    assert csm.get(page).context["import_holidays"]
    user = carla.user
    user.user_permissions.remove(
        *user.user_permissions.filter(codename__in=["add_holidayimport", "delete_holidayimport"])
    )
    assert "import_holidays" not in csm.get(page).context
    assert csm.get(url(HolidayImport, "add")).status_code == 403
    assert csm.get(url(HolidayImport, "change", row.pk)).status_code == 200


# Bad hours


@pytest.mark.parametrize(
    ("opens", "closes", "said"),
    [
        ("24:00", "30:00", {"start_minute": "Enter a time of the day, from 00:00 to 23:59, such as 09:00."}),
        ("abc", "17:00", {"start_minute": "Enter a time of the day, from 00:00 to 23:59, such as 09:00."}),
        *[
            (
                "22:00",
                late,
                {"end_minute": "Enter a time, such as 17:00; past midnight, go on counting: 30:00, at most 48:00."},
            )
            for late in ("late", "48:01")
        ],
    ],
)
def test_what_is_no_hour_is_told_with_the_bounds_of_its_field(boss, opens, closes, said):
    office = CalendarFactory(blocks=[])
    block = {
        "blocks-TOTAL_FORMS": 1,
        "blocks-0-weekday": 0,
        "blocks-0-start_minute": opens,
        "blocks-0-end_minute": closes,
    }
    page = url(Calendar, "change", office.pk)
    assert faults(send(boss, page, **block)) == {name: [words] for name, words in said.items()}
    # What is told of the end of a block is possible.
    right = {"blocks-0-start_minute": "22:00", "blocks-0-end_minute": "30:00"}
    assert send(boss, page, **block | right).status_code == 302
    assert office.blocks.get().end_minute == 30 * 60


def test_overlapping_blocks_of_another_day_are_refused_by_name(boss):
    office = CalendarFactory()
    days = {
        "days-TOTAL_FORMS": 2,
        **{"days-0-day": "2026-12-24", "days-0-start_minute": "9:00", "days-0-end_minute": "12:00"},
        **{"days-1-day": "2026-12-24", "days-1-start_minute": "11:00", "days-1-end_minute": "13:00"},
    }
    [said] = faults(send(boss, url(Calendar, "change", office.pk), **days))["__all__"]
    assert said == "Special date 2026-12-24: the blocks 09:00-12:00 and 11:00-13:00 overlap."
    assert not CalendarDay.objects.exists()
