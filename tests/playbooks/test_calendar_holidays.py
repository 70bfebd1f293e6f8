"""Public holidays as rows: imported, imported anew, forgotten; and what a person entered for the same day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks import holiday_source
from csplaybooks.playbooks.acts.calendars import DayHours, change_calendar
from csplaybooks.playbooks.acts.holidays import forget_holidays, import_holidays, import_holidays_anew
from csplaybooks.playbooks.calendar_choice import calendar_value
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory
from csplaybooks.playbooks.holiday_source import holidays_of, known_place, source_version, years_in
from csplaybooks.playbooks.models import Calendar, CalendarDay, Clock, HolidayImport

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
UNITY = date(2026, 10, 3)
EPIPHANY = date(2026, 1, 6)
CHRISTMAS = date(2026, 12, 25)


@pytest.fixture
def calendar() -> Calendar:
    return CalendarFactory()


def bring(calendar: Calendar, country: str = "DE", **values: Any) -> Any:
    values = {"years": [2026], "now": NOW, "actor": None, **values}
    return import_holidays(calendar_id=calendar.pk, country=country, **values)


def closed(calendar: Calendar) -> set[date]:
    return set(calendar_value(Calendar.objects.get(pk=calendar.pk)).closed_dates)


def test_holidays_are_rows_that_say_where_they_come_from(calendar):
    answer = bring(calendar, "de", subdivision="by", years=[2027, 2026, 2026])
    assert [str(row) for row in answer.imports] == ["DE-BY 2026", "DE-BY 2027"]
    assert (answer.kept, answer.differs) == ([], True)
    days = CalendarDay.objects.filter(day__year=2026)
    assert days.get(day=UNITY).name == "German Unity Day"
    assert days.get(day=EPIPHANY).imported == answer.imports[0]
    source = f"holidays {source_version()}"
    assert set(days.values_list("source", flat=True)) == {f"{source}, DE-BY 2026"}
    assert {(row.source, row.source_version, row.imported_at) for row in HolidayImport.objects.all()} == {
        ("holidays", source_version(), NOW)
    }
    assert closed(calendar) == set(CalendarDay.objects.values_list("day", flat=True))
    said = f"Calendar Office hours: holidays of DE-BY 2026, 2027 imported from {source}: {answer.days} days"
    assert TimelineEntry.objects.get().text == said
    assert Calendar.objects.get().version == 2


def test_only_another_import_moves_a_promise(calendar, monkeypatch):
    answer = bring(calendar)
    clock = ClockFactory(calendar=calendar, is_stale=False)

    def later_release(country: str, subdivision: str, year: int) -> dict[date, str]:
        return {CHRISTMAS: "Christmas Day", date(2026, 11, 17): "A day that was given away"}

    monkeypatch.setattr("csplaybooks.playbooks.acts.holidays.holidays_of", later_release)
    monkeypatch.setattr("csplaybooks.playbooks.acts.holidays.source_version", lambda: "9.9")
    assert UNITY in closed(calendar)
    assert not Clock.objects.filter(is_stale=True).exists()
    [anew] = import_holidays_anew(import_ids=[answer.imports[0].pk], now=NOW, actor=None)
    assert closed(calendar) == {CHRISTMAS, date(2026, 11, 17)}
    assert (anew.days, anew.differs, anew.imports[0].pk) == (2, True, answer.imports[0].pk)
    assert HolidayImport.objects.get().source_version == "9.9"
    assert str(anew) == "holidays of DE 2026 imported from holidays 9.9: 2 days"
    assert list(Clock.objects.filter(is_stale=True)) == [clock]


def test_the_same_again_moves_nothing(calendar):
    bring(calendar)
    ClockFactory(calendar=calendar, is_stale=False)
    answer = bring(calendar)
    assert not answer.differs
    assert str(answer).endswith(f": {answer.days} days, as before")
    assert HolidayImport.objects.count() == 1
    assert CalendarDay.objects.count() == answer.days
    assert not Clock.objects.filter(is_stale=True).exists()
    assert Calendar.objects.get().version == 2


def test_what_a_person_entered_stays_and_counts(calendar):
    entered = [DayHours(CHRISTMAS, 600, 720, "Skeleton crew"), DayHours(UNITY, name="Fair"), DayHours(date(2026, 5, 4))]
    change_calendar(calendar_id=calendar.pk, values={}, days=entered, now=NOW, actor=None)
    answer = bring(calendar)
    assert answer.kept == [UNITY, CHRISTMAS]
    assert str(answer).endswith("days, on 2 of which what was entered by hand counts")
    value = calendar_value(Calendar.objects.get())
    assert [str(block) for block in value.blocks_on(CHRISTMAS)] == ["10:00-12:00"]
    # Told whole once more, as the form does: imported days are not among what people tell, and stay.
    change_calendar(calendar_id=calendar.pk, values={}, days=entered[1:], now=NOW, actor=None)
    assert CHRISTMAS in closed(calendar)
    assert forget_holidays(import_ids=[answer.imports[0].pk], now=NOW, actor=None) == 1
    assert closed(calendar) == {UNITY, date(2026, 5, 4)}


def test_imports_stand_beside_each_other(calendar):
    bavaria, berlin = bring(calendar, subdivision="BY"), bring(calendar, subdivision="BE")
    assert EPIPHANY in closed(calendar)
    clock = ClockFactory(calendar=calendar, is_stale=False)
    forget_holidays(import_ids=[bavaria.imports[0].pk], now=NOW, actor=None)
    # Epiphany was Bavaria's alone; the Day of German Unity is Berlin's too.
    assert EPIPHANY not in closed(calendar)
    assert UNITY in closed(calendar)
    assert list(Clock.objects.filter(is_stale=True)) == [clock]
    assert HolidayImport.objects.get() == berlin.imports[0]
    assert TimelineEntry.objects.latest("pk").text == "Calendar Office hours: holidays of DE-BY 2026 forgotten"
    assert forget_holidays(import_ids=[bavaria.imports[0].pk], now=NOW, actor=None) == 0


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"country": "XX"}, "country", "'XX'. Write its ISO 3166-1 code of two letters, such as DE or US."),
        ({"country": "Germany"}, "country", "'Germany'. Write DE (Germany)."),
        ({"country": "germny"}, "country", "Write DE (Germany)"),
        ({"country": "DEU"}, "country", "Write DE (Germany)"),
        ({"country": "UK"}, "country", "Write GB (United Kingdom)"),
        ({"country": "united states"}, "country", "Write US (United States)."),
        ({"country": "korea"}, "country", "Write KR (South Korea)."),
        ({"country": "DE", "subdivision": "ZZ"}, "subdivision", "No region 'ZZ' of DE is known. There are: BB, BE,"),
        ({"country": "NO", "subdivision": "1"}, "subdivision", "No region '1' of NO"),
        ({"country": "MC", "subdivision": "1"}, "subdivision", "It has none: leave this empty."),
        ({"country": "DE", "years": [1066]}, "years", "No public holidays of DE are known in 1066."),
        ({"country": "DE", "years": [2026, 99999]}, "years", "known in 99999. The years that may be asked for are"),
        ({"country": "US", "years": [1800]}, "years", "in 1800. The years that may be asked for are 18"),
        ({"country": "KR", "years": [1947]}, "years", "in 1947. The years that may be asked for are 1948 to 2"),
        ({"country": "DE", "years": [-1]}, "years", "known in -1."),
        ({"country": "IN", "years": [2050]}, "years", "Not all public holidays of IN are known in 2050: Requested"),
        ({"country": "DE", "years": []}, "years", "Name at least one year."),
    ],
)
def test_what_is_not_known_is_refused_by_field(calendar, values, field, said):
    with pytest.raises(ValidationError) as refused:
        bring(calendar, **values)
    assert said in " ".join(refused.value.message_dict[field])
    assert not HolidayImport.objects.exists()
    assert not TimelineEntry.objects.exists()


def test_a_calendar_that_would_never_open_is_not_closed(calendar):
    calendar.blocks.all().delete()
    CalendarDay.objects.create(calendar=calendar, day=date(2026, 11, 17), start_minute=540, end_minute=1020)
    bring(calendar)
    CalendarDay.objects.filter(imported=None).update(day=date(2020, 1, 2))
    with pytest.raises(ValidationError, match="never opens again"):
        bring(calendar, years=[2027])
    assert not HolidayImport.objects.filter(year=2027).exists()


def test_holidays_are_those_that_fall_into_the_year():
    # New Year's Day of 2022 was a Saturday: it was observed on the last day of 2021.
    assert date(2021, 12, 31) in holidays_of("US", "", 2021)
    assert {day.year for day in holidays_of("US", "", 2022)} == {2022}
    assert known_place(" de ", "AUGSBURG") == ("DE", "Augsburg")


@pytest.mark.parametrize(
    ("words", "years"),
    [("2026", [2026]), ("2026-2028", [2026, 2027, 2028]), ("2028, 2026 2026", [2026, 2028])],
)
def test_years_in_words(words, years):
    assert years_in(words) == years


@pytest.mark.parametrize("words", ["", "soon", "26", "2028-2026", "2026-", "\u0662\u0660\u0662\u0666"])
def test_words_that_are_no_years(words):
    with pytest.raises(ValidationError):
        years_in(words)


def test_the_library_is_asked_by_imports_alone(calendar, monkeypatch):
    bring(calendar)

    def never(*args: Any) -> Any:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(holiday_source, "_library_days", never)
    monkeypatch.setattr(holiday_source, "_countries", never)
    assert UNITY in closed(calendar)
    change_calendar(calendar_id=calendar.pk, values={"zone": "Europe/Berlin"}, now=NOW, actor=None)


# The command


def test_the_command_imports(calendar, capsys):
    call_command("csplaybooks_holidays", "office", "DE", "2026-2027", "2029", subdivision="BY")
    assert list(HolidayImport.objects.values_list("year", flat=True)) == [2026, 2027, 2029]
    assert "Office hours: holidays of DE-BY 2026, 2027, 2029 imported from holidays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "DE", "2026"), "There is no calendar 'nowhere'. There are: office."),
        (("office", "XX", "2026"), "country: No holidays are known of the country 'XX'."),
        (("office", "DE", "soon"), "years: 'soon' is no year"),
    ],
)
def test_the_command_names_what_is_wrong(calendar, arguments, said):
    with pytest.raises(CommandError, match=said):
        call_command("csplaybooks_holidays", *arguments)
    assert not HolidayImport.objects.exists()
