"""The daily digest: one mail a day, at each one's hour in their zone, with all that waits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import (
    AbsenceFactory,
    AccountFactory,
    AccountTeamFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.doctor.findings import Look
from csplaybooks.playbooks.doctor.mails import mail_tray
from csplaybooks.playbooks.factories import (
    CalendarFactory,
    ClockFactory,
    DeliveryFactory,
    HandoffFactory,
    NoticeFactory,
    NoticeSettingsFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Delivery, Notice, NoticeSettings, Play
from csplaybooks.playbooks.pipeline import digests
from csplaybooks.playbooks.pipeline.digests import due_today, write_digests
from csplaybooks.playbooks.pipeline.sender import send_deliveries
from tests.at_once import at_once
from tests.crash.dying import die_everywhere
from tests.playbooks.plays import DAY, HOUR, NOW, story

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def something_for(member: TeamMember, **more: Any) -> Notice:
    """Something that happened, to be told in the digest."""
    notice: Notice = NoticeFactory(
        member=member, play__owner=member, play__opened_at=NOW, text="It happened", way="digest", at=NOW, **more
    )
    return notice


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def lines(part: str) -> list[str]:
    """What stands in one part of the only digest, without links."""
    body = Delivery.objects.get(kind="digest").body
    if f"\n{part} (" not in body:
        return []
    section = body.split(f"\n{part} (", 1)[1].split("\n\n")[0]
    return [line.removeprefix("- ") for line in section.split("\n")[1:] if not line.startswith("  ")]


@pytest.fixture
def office() -> Any:
    return CalendarFactory()


@pytest.fixture
def carla() -> TeamMember:
    member: TeamMember = TeamMemberFactory(name="Carla", user=UserFactory())
    return member


def test_it_comes_once_a_day_from_the_minute_on(carla, mailoutbox):
    something_for(carla)
    assert write_digests(now=at("2026-11-16T07:59")) == 0
    assert write_digests(now=at("2026-11-16T08:00")) == 1
    something_for(carla)
    assert write_digests(now=at("2026-11-16T08:01")) == 0
    assert write_digests(now=at("2026-11-17T07:59")) == 0
    assert write_digests(now=at("2026-11-17T18:59")) == 1
    assert send_deliveries(now=NOW) == 2
    assert [mail.subject for mail in mailoutbox] == [
        "Mon 16 Nov 2026: what happened: 1",
        "Tue 17 Nov 2026: what happened: 1",
    ]
    assert mailoutbox[0].body.startswith("What waits for you on Mon 16 Nov 2026.\n\nWhat happened (1)\n- It happened\n")
    # What was told once is not told again.
    assert write_digests(now=at("2026-11-18T09:00")) == 0


def test_who_has_nothing_waiting_gets_no_mail_and_the_day_is_over(carla):
    assert write_digests(now=at("2026-11-16T08:00")) == 0
    assert NoticeSettings.objects.get(member=carla).digest_on == date(2026, 11, 16)
    something_for(carla)
    assert write_digests(now=at("2026-11-16T09:00")) == 0
    assert write_digests(now=at("2026-11-17T08:00")) == 1


def test_missed_days_are_not_made_up_for(carla):
    something_for(carla)
    write_digests(now=at("2026-11-16T08:00"))
    something_for(carla)
    assert write_digests(now=at("2026-11-26T14:00")) == 1
    assert write_digests(now=at("2026-11-26T14:01")) == 0


@pytest.mark.parametrize(
    ("zone", "minute", "before", "due"),
    [
        ("Asia/Kathmandu", 8 * 60, "2026-11-16T02:14", "2026-11-16T02:15"),
        ("America/Los_Angeles", 8 * 60, "2026-11-16T15:59", "2026-11-16T16:00"),
        ("Pacific/Kiritimati", 0, "2026-11-16T09:59", "2026-11-16T10:00"),
        ("Pacific/Kiritimati", 1439, "2026-11-16T09:58", "2026-11-16T09:59"),
        # Half past two is not there on that day: right after it.
        ("Europe/Berlin", 150, "2026-03-29T00:59", "2026-03-29T01:00"),
        # Half past two is there twice on that day: the first.
        ("Europe/Berlin", 150, "2026-10-25T00:29", "2026-10-25T00:30"),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", 8 * 60, "2011-12-30T17:59", "2011-12-30T18:00"),
    ],
)
def test_it_comes_at_the_hour_of_each_ones_zone_once_a_day(carla, zone, minute, before, due):
    TeamMember.objects.update(zone=zone)
    NoticeSettingsFactory(member=carla, digest_minute=minute)
    # Yesterday's has gone.
    write_digests(now=at(before) - HOUR)
    something_for(carla)
    assert write_digests(now=at(before)) == 0
    assert write_digests(now=at(due)) == 1
    something_for(carla)
    for quarter in range(1, 4 * 23):
        now = at(due) + quarter * 15 * MINUTE
        assert write_digests(now=now) == 0, now
    assert write_digests(now=at(due) + 25 * HOUR) == 1


def test_the_zone_is_the_companys_where_a_member_names_none(carla, settings):
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": "Europe/Berlin"}
    something_for(carla)
    assert write_digests(now=at("2026-11-16T06:59")) == 0
    assert write_digests(now=at("2026-11-16T07:00")) == 1


def test_a_late_one_comes_also_after_midnight_unless_the_next_is_near(carla):
    settings = NoticeSettingsFactory(member=carla, digest_minute=23 * 60 + 59, digest_on=date(2026, 11, 15))
    something_for(carla)
    assert write_digests(now=at("2026-11-17T17:58")) == 1
    assert Delivery.objects.get().subject.startswith("Tue 17 Nov 2026")
    settings.refresh_from_db()
    assert settings.digest_on == date(2026, 11, 16)
    something_for(carla)
    assert write_digests(now=at("2026-11-17T23:58")) == 0
    assert write_digests(now=at("2026-11-18T17:59")) == 0
    assert write_digests(now=at("2026-11-18T23:59")) == 1


def test_who_moves_west_gets_no_day_twice(carla):
    something_for(carla)
    write_digests(now=at("2026-11-16T23:00"))
    TeamMember.objects.update(zone="America/Los_Angeles")
    something_for(carla)
    assert write_digests(now=at("2026-11-16T23:01")) == 0
    assert write_digests(now=at("2026-11-17T16:00")) == 1


def test_nobody_is_written_to_who_wants_none_or_cannot_be(carla, settings):
    others = [
        TeamMemberFactory(name="Off"),
        TeamMemberFactory(name="Gone", is_active=False),
        TeamMemberFactory(name="Nowhere", email=""),
    ]
    NoticeSettingsFactory(member=others[0], digest=False)
    for member in (carla, *others):
        something_for(member)
    assert [day.member for day in due_today(NOW)] == [carla]
    assert write_digests(now=NOW) == 1
    settings.CSPLAYBOOKS = {}
    something_for(carla)
    assert write_digests(now=NOW + DAY) == 0


def test_promises_missed_and_due_today_of_owner_and_holder(carla, office):
    recipe = PlaybookVersionFactory(playbook__name="Seats nearly full")
    TeamMember.objects.filter(pk=carla.pk).update(zone="Asia/Tokyo")
    # Nine in the morning in Tokyo; the day there ends at three in the afternoon.
    now = at("2026-11-16T00:00")

    def promise(name: str, due: str, **more: Any) -> None:
        play = PlayFactory(account=AccountFactory(name=name), recipe=recipe, **{"owner": carla, **more})
        ClockFactory(play=play, calendar=office, due_at=at(due))

    promise("Missed", "2026-11-15T23:00")
    promise("Just now", "2026-11-16T00:00")
    promise("Tonight", "2026-11-16T14:59")
    promise("Tomorrow", "2026-11-16T15:00")
    promise("Held", "2026-11-16T01:00", owner=TeamMemberFactory(email=""), holder=carla)
    promise("Owned", "2026-11-16T02:00", holder=TeamMemberFactory(email=""))
    promise("Not hers", "2026-11-16T01:00", owner=TeamMemberFactory(email=""))
    promise("Kept", "2026-11-16T01:00")
    kept = Play.objects.get(account__name="Kept").clocks.get()
    type(kept).objects.filter(pk=kept.pk).update(state="met", done_at=now)
    assert write_digests(now=now) == 1
    of = "First touch of Seats nearly full at"
    assert lines("Promises that were missed") == [
        f"{of} Missed: Mon 16 Nov 2026, 08:00 (Asia/Tokyo)",
        f"{of} Just now: Mon 16 Nov 2026, 09:00 (Asia/Tokyo)",
    ]
    assert lines("Due today") == [
        f"{of} Held: Mon 16 Nov 2026, 10:00 (Asia/Tokyo)",
        f"{of} Owned: Mon 16 Nov 2026, 11:00 (Asia/Tokyo)",
        f"{of} Tonight: Mon 16 Nov 2026, 23:59 (Asia/Tokyo)",
    ]
    play = Play.objects.get(account__name="Held")
    link = f"  https://growth.example.com/admin/csplaybooks_playbooks/play/{play.pk}/change/"
    assert link in Delivery.objects.get().body


def test_offers_that_wait(carla):
    eve = TeamMemberFactory(name="Eve", ae=True)
    TeamMember.objects.exclude(pk=eve.pk).update(email="")
    offer = HandoffFactory(offered_to=eve, play__holder=eve, play__owner=carla, expires_at=NOW + DAY)
    HandoffFactory(offered_to=eve, play__holder=eve, play__owner=carla, answer="refused", answered_at=NOW, reason="No")
    TeamMember.objects.exclude(pk=eve.pk).update(email="")
    write_digests(now=NOW)
    assert lines("Offers that wait for your answer") == [
        f"{offer.play}, from Carla, until Tue 17 Nov 2026, 10:00 (UTC)"
    ]


def test_the_tray_is_for_the_managers_above_and_of_the_pool_for_all(carla):
    mona = TeamMemberFactory(name="Mona", leads=True)
    other = TeamMemberFactory(name="Otto", leads=True)
    TeamMember.objects.filter(pk=carla.pk).update(manager=mona)
    hers = AccountTeamFactory(member=carla).account
    TeamMember.objects.exclude(name__in=["Mona", "Otto"]).update(email="")
    PlayFactory(unowned=True, account=hers, tray_at=NOW)
    PlayFactory(unowned=True, account__name="Pool", tray_at=NOW)
    lapsed = PlayFactory(owner=carla, holder=other, tray_at=NOW)
    PlayFactory(owner=carla)
    TeamMember.objects.exclude(name__in=["Mona", "Otto"]).update(email="")
    assert write_digests(now=NOW) == 2
    subjects = dict(Delivery.objects.values_list("member__name", "subject"))
    assert subjects == dict.fromkeys(("Mona", "Otto"), "Mon 16 Nov 2026: plays that wait for an owner: 2")
    bodies = dict(Delivery.objects.values_list("member__name", "body"))
    assert str(lapsed) in bodies["Otto"]
    assert str(hers) in bodies["Mona"]
    assert str(lapsed) not in bodies["Mona"]
    assert str(hers) not in bodies["Otto"]


def test_whoever_stands_in_reads_what_waits_for_the_absent(carla, office):
    boss = TeamMemberFactory(name="Boss", leads=True)
    mona = TeamMemberFactory(name="Mona", leads=True, ae=True, manager=boss)
    TeamMember.objects.filter(pk=carla.pk).update(manager=mona)
    AbsenceFactory(member=mona, stand_in=boss, first_day=NOW.date(), last_day=NOW.date())
    recipe = PlaybookVersionFactory(playbook__name="Seats nearly full")

    def play(name: str, **more: Any) -> Play:
        made: Play = PlayFactory(account=AccountFactory(name=name), recipe=recipe, **more)
        return made

    play("Lapsed", owner=carla, holder=mona, tray_at=NOW)
    AccountTeamFactory(member=carla, account=play("Above", unowned=True, tray_at=NOW).account)
    play("Pool", unowned=True, tray_at=NOW)
    ClockFactory(play=play("Missed", owner=mona, holder=boss), calendar=office, due_at=NOW)
    ClockFactory(play=play("Hers", owner=mona), calendar=office, due_at=NOW)
    HandoffFactory(play=play("Offered", owner=carla, holder=mona, state="offered"), offered_to=mona)
    TeamMember.objects.exclude(pk=boss.pk).update(email="")
    assert write_digests(now=NOW) == 1
    hers, full = "For Mona, who is away:", "Seats nearly full at"
    assert lines("Plays that wait for an owner") == [f"{hers} {full} Lapsed", f"{full} Above", f"{full} Pool"]
    assert lines("Offers that wait for your answer") == [f"{hers} {full} Offered, from Carla"]
    missed = [line.rsplit(": ", 1)[0] for line in lines("Promises that were missed")]
    # What concerns Boss anyway is told once, as their own.
    assert missed == [f"First touch of {full} Missed", f"{hers} First touch of {full} Hers"]
    # The day after Mona reads it herself.
    write_digests(now=NOW + DAY)
    assert "Mona" not in Delivery.objects.get(key__endswith=f"{(NOW + DAY).date()}").body


def test_what_may_not_have_come_is_listed_once(carla, mailoutbox):
    mails = {
        "Unclear": DeliveryFactory(member=carla, state="unclear"),
        "Given up": DeliveryFactory(member=carla, stuck_at=NOW, attempts=5),
        "Waits": DeliveryFactory(member=carla, next_try_at=NOW + DAY),
        "Sent": DeliveryFactory(member=carla, state="sent", sent_at=NOW),
    }
    for text, delivery in mails.items():
        NoticeFactory(member=carla, play__owner=carla, delivery=delivery, text=text, way="now", at=NOW)
    assert write_digests(now=NOW) == 1
    assert lines("Mails to you of which it is not known whether they came") == ["Unclear"]
    assert lines("Mails to you that could not be sent") == ["Given up"]
    send_deliveries(now=NOW)
    assert len(mailoutbox) == 1
    play = Notice.objects.get(text="Unclear").play
    assert story(play) == ["Mail sent: to Carla: Unclear"]
    assert write_digests(now=NOW + DAY) == 0
    # Where the digest itself may not have come, they are in the next.
    Delivery.objects.filter(kind="digest").update(state="unclear", sent_at=None)
    assert write_digests(now=NOW + 2 * DAY) == 1


def test_long_lists_are_cut_and_counted(carla):
    NoticeFactory.create_batch(
        103, member=carla, play=PlayFactory(owner=carla), text="It happened", way="digest", at=NOW
    )
    write_digests(now=NOW)
    assert lines("What happened") == ["It happened"] * 100 + ["and 3 more"]
    assert not Notice.objects.filter(delivery__isnull=True).exists()


@pytest.mark.parametrize("number", [1, 12])
def test_all_that_are_due_take_the_same_number_of_queries(number, office, django_assert_max_num_queries):
    for _ in range(number):
        member = TeamMemberFactory(leads=True, user=UserFactory())
        something_for(member)
        play = PlayFactory(owner=member)
        ClockFactory(play=play, calendar=office, due_at=NOW)
        PlayFactory(unowned=True, tray_at=NOW)
        away = TeamMemberFactory(leads=True, email="")
        AbsenceFactory(member=away, stand_in=member, first_day=NOW.date(), last_day=NOW.date())
        ClockFactory(play=PlayFactory(owner=away), calendar=office, due_at=NOW)
    with django_assert_max_num_queries(30):
        assert write_digests(now=NOW) == number
    with django_assert_max_num_queries(1):
        assert write_digests(now=NOW) == 0


@pytest.mark.django_db(transaction=True)
def test_two_at_once_write_one(carla):
    something_for(carla)
    assert sorted(at_once(*[lambda: write_digests(now=NOW)] * 2)) == [0, 1]
    assert Delivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_killed_at_every_point_it_is_written_once(carla):
    something_for(carla)
    assert die_everywhere("tests.mails.killing.write_digests", now=NOW) > 3
    assert Delivery.objects.count() == 1
    assert Notice.objects.get().delivery == Delivery.objects.get()


@pytest.mark.django_db(transaction=True)
def test_killed_at_every_point_each_mail_is_written_once(carla):
    plays = [PlayFactory(owner=carla) for _ in range(3)]
    for play in plays:
        NoticeFactory(member=carla, play=play, way="now", at=NOW - DAY)
    assert die_everywhere("tests.mails.killing.write_mails", now=NOW) > 3
    assert Delivery.objects.count() == 1
    assert set(Notice.objects.values_list("delivery", flat=True)) == {Delivery.objects.get().pk}


def test_a_digest_that_cannot_be_written_does_not_stop_the_others(carla, monkeypatch, caplog):
    eve = TeamMemberFactory(name="Eve")
    for member in (carla, eve):
        something_for(member)
    real = digests._mail

    def failing(day: Any, parts: Any) -> Any:
        if day.member == carla:
            raise ValueError("words of long ago")
        return real(day, parts)

    monkeypatch.setattr(digests, "_mail", failing)
    assert write_digests(now=at("2026-11-16T08:00")) == 1
    assert Delivery.objects.get().member == eve
    assert "the digest of Carla could not be written; tried again later" in caplog.text
    assert [found.seen for found in mail_tray(Look(at("2026-11-16T08:00")))] == ["no mail failed"]
    assert [found.seen for found in mail_tray(Look(at("2026-11-16T09:00")))] == [
        "The digest of 1 member (Carla) could not be written, and is tried again."
    ]
    monkeypatch.setattr(digests, "_mail", real)
    assert write_digests(now=at("2026-11-16T08:01")) == 1
    assert set(Delivery.objects.values_list("member", flat=True)) == {carla.pk, eve.pk}


def test_what_a_reader_does_not_see_any_more_stands_in_no_digest(carla):
    something_for(carla)
    notice = something_for(carla, play__account=AccountFactory(csm=TeamMemberFactory()))
    Play.objects.filter(pk=notice.play_id).update(owner=TeamMemberFactory(), holder=TeamMemberFactory())
    Notice.objects.filter(pk=notice.pk).update(text="It was theirs")
    assert write_digests(now=at("2026-11-16T08:00")) == 1
    assert lines("What happened") == ["It happened"]
    notice.refresh_from_db()
    assert notice.way == "off"
