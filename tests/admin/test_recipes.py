"""Playbooks and calendars in the admin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Permission
from django.utils.html import escape

from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import Change
from csplaybooks.admin_base import LOST_UPDATE
from csplaybooks.playbooks.acts.calendars import calendar_changed
from csplaybooks.playbooks.admin.calendars import time_of_day
from csplaybooks.playbooks.factories import DRAFT, CalendarFactory, ClockFactory, PlaybookFactory
from csplaybooks.playbooks.models import Calendar, CalendarBlock, CalendarDay, Clock, Playbook, PlaybookVersion
from csplaybooks.signals.factories import MeterFactory
from tests.admin.pages import act, faults, opened, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
TEXT = DRAFT.format(key="more_seats", name="More seats", motion="seat_expansion")


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


# Playbooks


def test_draft_is_kept_byte_for_byte(boss):
    # As a browser sends it.
    assert send(boss, url(Playbook, "add"), draft=TEXT.replace("\n", "\r\n")).status_code == 302
    playbook = Playbook.objects.get()
    assert (playbook.key, playbook.name, playbook.motion) == ("more_seats", "More seats", "seat_expansion")
    assert playbook.draft == TEXT
    assert send(boss, url(Playbook, "change", playbook.pk)).status_code == 302
    playbook.refresh_from_db()
    assert playbook.version == 1


def test_every_fault_of_a_document_stands_on_the_form_with_its_place(boss):
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    text = TEXT.replace("above: 80", "above: lots").replace("hours: 8", "hours: -1")
    said = faults(send(boss, url(Playbook, "change", playbook.pk), draft=text))["draft"]
    assert {fault.split(":")[0] for fault in said} == {"triggers/0/any/0/all/0/above", "targets/0/hours"}
    assert faults(send(boss, url(Playbook, "change", playbook.pk), draft="key: [")).keys() == {"draft"}
    playbook.refresh_from_db()
    assert playbook.draft == TEXT


def test_key_of_a_playbook_stays(boss):
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    other = TEXT.replace("key: more_seats", "key: other")
    page = url(Playbook, "change", playbook.pk)
    assert faults(send(boss, page, draft=other)) == {"draft": ["key: the key of a playbook stays: more_seats"]}
    assert faults(send(boss, url(Playbook, "add"), draft=TEXT)) == {
        "draft": ["key: there is a playbook more_seats already"]
    }
    assert Playbook.objects.count() == 1


def test_of_two_people_who_edit_a_draft_the_second_is_told(boss):
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    page = url(Playbook, "change", playbook.pk)
    form = opened(boss, page)
    assert boss.post(page, form | {"draft": TEXT.replace("hours: 8", "hours: 4")}).status_code == 302
    assert faults(boss.post(page, form | {"draft": TEXT.replace("hours: 8", "hours: 2")})) == {"__all__": [LOST_UPDATE]}


def test_draft_is_published(boss):
    MeterFactory(key="seats")
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    assert told(act(boss, Playbook, "publish", [playbook], perform="1")) == [f"{playbook} v1 is published."]
    again = act(boss, Playbook, "publish", [playbook], perform="1")
    assert told(again) == [f"{playbook}: the draft is what runs already."]
    version = PlaybookVersion.objects.get()
    assert str(version.published_by) == "operator"
    assert "share_of_limit" in boss.get(url(PlaybookVersion, "change", version.pk)).content.decode()


def test_publishing_asks_first(boss):
    MeterFactory(key="seats")
    playbooks = [PlaybookFactory(key="more_seats", draft=TEXT), PlaybookFactory()]
    asked = act(boss, Playbook, "publish", playbooks[:1], select_across="1").content.decode()
    assert "another draft mends it" in asked
    assert all(str(playbook) in asked for playbook in playbooks)
    assert 'name="select_across" value="1"' in asked
    assert not PlaybookVersion.objects.exists()


def test_draft_that_names_what_is_not_there_is_not_published(boss):
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    [said] = told(act(boss, Playbook, "publish", [playbook], perform="1"))
    assert "triggers/0/any/0/all/0/meters: there is no meter seats" in said
    assert not PlaybookVersion.objects.exists()


def test_playbook_is_switched_off_and_on(boss):
    playbook = PlaybookFactory()
    assert told(act(boss, Playbook, "switch_off", [playbook])) == [f"{playbook} is switched off."]
    assert told(act(boss, Playbook, "switch_off", [playbook])) == [f"{playbook} was switched off already."]
    assert told(act(boss, Playbook, "switch_on", [playbook])) == [f"{playbook} is switched on."]
    assert Change.objects.filter(kind="playbook_switched").count() == 2


def test_whoever_may_only_look_sees_the_draft_with_its_indentation(signed_in):
    user = UserFactory(username="reader")
    names = ("view_playbook", "view_everything")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    playbook = PlaybookFactory(key="more_seats", draft=TEXT)
    page = signed_in(user).get(url(Playbook, "change", playbook.pk)).content.decode()
    assert f"<pre>{escape(TEXT)}</pre>" in page
    assert "<textarea" not in page


# Calendars


def hours(**values):
    return {
        "blocks-TOTAL_FORMS": 1,
        "blocks-0-weekday": "0",
        "blocks-0-start_minute": "9:00",
        "blocks-0-end_minute": "17:30",
        **values,
    }


def test_calendar_is_made_with_hours_and_days(boss):
    days = {"days-TOTAL_FORMS": 1, "days-0-day": "2026-12-25", "days-0-name": "Christmas"}
    values = {"key": "berlin", "name": "Berlin", "zone": "Europe/Berlin"}
    assert send(boss, url(Calendar, "add"), **values, **hours(), **days).status_code == 302
    block = CalendarBlock.objects.get()
    assert (block.weekday, block.start_minute, block.end_minute) == (0, 540, 1050)
    day = CalendarDay.objects.get()
    assert (day.start_minute, day.name) == (None, "Christmas")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"blocks-TOTAL_FORMS": 0}, "__all__"),
        ({"blocks-0-end_minute": "08:00"}, "__all__"),
        ({"blocks-0-end_minute": "25:61"}, "end_minute"),
        ({"blocks-0-end_minute": "noon"}, "end_minute"),
        ({"blocks-0-start_minute": "24:00", "blocks-0-end_minute": "25:00"}, "start_minute"),
    ],
)
def test_impossible_calendar_stands_on_the_form_and_is_not_kept(boss, values, field):
    given = {"key": "office", "name": "Office", "zone": "UTC", **hours(), **values}
    assert field in faults(send(boss, url(Calendar, "add"), **given))
    assert not Calendar.objects.exists()


def test_blocks_that_overlap_are_told_by_day(boss):
    calendar = CalendarFactory()
    page = url(Calendar, "change", calendar.pk)
    more = {
        "blocks-TOTAL_FORMS": 6,
        "blocks-5-weekday": "0",
        "blocks-5-start_minute": "16:00",
        "blocks-5-end_minute": "20:00",
    }
    [said] = faults(send(boss, page, **more))["__all__"]
    assert said == "Monday: the blocks 09:00-17:00 and 16:00-20:00 overlap."
    assert calendar.blocks.count() == 5


def test_calendar_that_never_opens_again_is_refused():
    calendar = CalendarFactory(blocks=[])
    CalendarDay.objects.create(calendar=calendar, day="2020-01-06", start_minute=540, end_minute=1020)
    with pytest.raises(Exception, match="never opens again"):
        calendar_changed(calendar_id=calendar.pk, now=NOW)


def test_edit_makes_its_ticking_clocks_stale_and_no_others(boss):
    clock = ClockFactory(is_stale=False)
    done = ClockFactory(is_stale=False, state=Clock.State.MET, done_at=NOW)
    elsewhere = ClockFactory(is_stale=False, calendar=CalendarFactory(key="other", is_default=False))
    page = url(Calendar, "change", clock.calendar.pk)
    assert opened(boss, page)["blocks-0-start_minute"] == "09:00"
    assert send(boss, page, **{"blocks-0-start_minute": "08:00"}).status_code == 302
    stale = {pk for (pk,) in Clock.objects.filter(is_stale=True).values_list("pk")}
    assert stale == {clock.pk}
    assert {done.pk, elsewhere.pk}.isdisjoint(stale)
    clock.calendar.refresh_from_db()
    assert clock.calendar.version == 2


def test_block_is_taken_away(boss):
    calendar = CalendarFactory()
    assert send(boss, url(Calendar, "change", calendar.pk), **{"blocks-4-DELETE": "on"}).status_code == 302
    assert calendar.blocks.count() == 4


@pytest.mark.parametrize(("minute", "words"), [(None, None), (0, "00:00"), (545, "09:05"), (1800, "30:00")])
def test_minutes_as_time(minute, words):
    assert time_of_day(minute) == words
