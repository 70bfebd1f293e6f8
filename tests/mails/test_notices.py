"""Notices: who is told what, once, in the transaction of what it tells of, and the mails they become."""

from __future__ import annotations

import pytest
import time_machine
from django.db import transaction

from csplaybooks.accounts.factories import AbsenceFactory, AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays
from csplaybooks.playbooks.acts.notices import tell_assigned, tell_events
from csplaybooks.playbooks.acts.plays import log_touch, pause_plays, resume_plays
from csplaybooks.playbooks.factories import (
    ClockFactory,
    NoticeSettingsFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import ClockEvent, Delivery, Notice, Play
from csplaybooks.playbooks.pipeline import letters, mails
from csplaybooks.playbooks.pipeline.clocks import start_clocks
from csplaybooks.playbooks.pipeline.mails import CLOCKS_WITHIN, write_mails
from csplaybooks.playbooks.pipeline.sender import send_deliveries
from csplaybooks.playbooks.pipeline.sweep import have_mail_sent, wake_plays, watch_all, work
from tests.mails.post_office import addresses
from tests.mails.telling import assigned, at, told
from tests.playbooks.plays import DAY, HOUR, NOW, done, owned, story

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("office")]


def test_a_new_owner_is_told_and_gets_one_mail(recipe, carla, mona, mailoutbox):
    play = at("Acme", recipe, TeamMemberFactory())
    evidence = [{"measure": "gone", "found": {}, "settings": {}, "words": "Seats used: 85 %"}]
    Play.objects.update(evidence=evidence, reason="They asked")
    assigned([play], carla, actor=mona.user)
    work(now=NOW)
    assert told() == [("Carla", "assigned", "now", "Seats nearly full at Acme is yours")]
    assert have_mail_sent(now=NOW) == 1
    send_deliveries(now=NOW)
    (mail,) = mailoutbox
    assert (mail.to, mail.subject) == (["carla@example.com"], "Seats nearly full at Acme is yours")
    assert mail.body.startswith("A play is yours.\n\nSeats nearly full at Acme is yours\n")
    # What people wrote down is not for everybody: of a measure that is gone only its key.
    assert "  Why: gone\n  Why: Opened by hand: They asked\n" in mail.body
    assert "  First touch due: Tue 17 Nov 2026, 10:00 (UTC)\n" in mail.body
    assert f"  https://growth.example.com/admin/csplaybooks_playbooks/play/{play.pk}/change/\n" in mail.body
    assert story(play)[-1] == "Mail sent: to Carla: Seats nearly full at Acme is yours"
    assert mail.body.endswith("/admin/csplaybooks_playbooks/noticesettings/\n")
    assert write_mails(now=NOW + DAY) == 0
    assert send_deliveries(now=NOW + DAY) == 0


def test_nobody_is_told_what_they_did_themselves(recipe, carla):
    assigned([at("Acme", recipe, TeamMemberFactory())], carla, actor=carla.user)
    assert told() == []


def test_whoever_stands_in_is_told_too(recipe, carla, eve, mona, mailoutbox):
    ben, dan = (TeamMemberFactory(name=name, manager=mona, user=UserFactory()) for name in ("Ben", "Dan"))
    today = NOW.date()
    AbsenceFactory(member=carla, stand_in=ben, first_day=today, last_day=today)
    AbsenceFactory(member=ben, stand_in=dan, first_day=today, last_day=today)
    play = at("Acme", recipe, carla)
    assert done(offer_plays(play_ids=[play.pk], to_id=eve.pk, note="", now=NOW))
    assert done(refuse_plays(play_ids=[play.pk], reason="No budget", now=NOW, actor=eve.user))
    # Ben is away himself: whoever stands in for him stands in for Carla as well.
    refused = [row for row in told() if row[1] == "refused"]
    text = "Eve refused Seats nearly full at Acme: No budget"
    assert refused == [
        ("Carla", "refused", "now", text),
        ("Dan", "refused", "now", f"For Carla, who is away: {text}"),
    ]
    with time_machine.travel(NOW, tick=False):
        work(now=NOW)
        have_mail_sent(now=NOW)
        send_deliveries(now=NOW)
    assert "dan@example.com" in addresses(mailoutbox)
    # The day after they are back.
    assigned([play], eve, now=NOW + DAY)
    assigned([play], carla, now=NOW + DAY)
    assert [who for who, kind, *_ in told() if kind == "assigned"] == ["Eve", "Carla"]


@pytest.mark.parametrize("who", ["carla", "eve"])
def test_neither_the_absent_nor_their_stand_in_tells_the_other_what_they_did(recipe, carla, eve, who):
    AbsenceFactory(member=carla, stand_in=eve, first_day=NOW.date(), last_day=NOW.date())
    actor = {"carla": carla, "eve": eve}[who]
    assigned([at("Acme", recipe, TeamMemberFactory())], carla, actor=actor.user)
    # From her holiday Carla has seen to it herself; what Eve did for her Carla is told.
    assert [name for name, *_ in told()] == {"carla": [], "eve": ["Carla"]}[who]


def test_a_notice_goes_with_its_act(recipe, carla):
    play = at("Acme", recipe, TeamMemberFactory())
    with transaction.atomic():
        assigned([play], carla)
        transaction.set_rollback(True)
    assert told() == []


def test_each_assignment_is_told_once_also_at_one_instant(recipe, carla, eve):
    play = at("Acme", recipe, TeamMemberFactory())
    assigned([play], carla)
    assigned([play], eve)
    assigned([play], carla)
    assert [who for who, *_ in told()] == ["Carla", "Eve", "Carla"]
    # Told of again, nothing is written.
    tell_assigned([play], {play.pk: carla.pk}, now=NOW + HOUR)
    assert len(told()) == 3


def test_many_plays_are_one_mail_to_each_that_lists_them(recipe, carla, eve, mailoutbox):
    plays = [at(f"Account {number:03}", recipe, TeamMemberFactory()) for number in range(120)]
    assigned(plays, carla)
    assigned([at("Acme", recipe, carla), at("Bolt", recipe, carla)], eve)
    work(now=NOW)
    write_mails(now=NOW)
    assert send_deliveries(now=NOW) == 2
    assert addresses(mailoutbox) == ["carla@example.com", "eve@example.com"]
    assert [mail.subject for mail in mailoutbox] == ["120 plays are yours", "2 plays are yours"]
    assert mailoutbox[0].body.count(" is yours\n") == 100
    assert "\nAnd 20 more.\n" in mailoutbox[0].body
    assert {story(play)[-1] for play in plays} == {
        f"Mail sent: to Carla: Seats nearly full at Account {number:03} is yours" for number in range(120)
    }


def test_a_mail_of_a_new_play_waits_for_its_clocks_but_not_for_ever(recipe, carla):
    assigned([at("Acme", recipe, TeamMemberFactory())], carla)
    assert write_mails(now=NOW) == 0
    assert write_mails(now=NOW + CLOCKS_WITHIN) == 1
    assert "due" not in Delivery.objects.get().body


def test_the_pipeline_tells_owners_and_has_their_mails_written(recipe, django_capture_on_commit_callbacks):
    carla = TeamMemberFactory(name="Carla")
    play = PlayFactory(unowned=True, account__name="Acme", recipe=recipe, opened_at=NOW)
    with django_capture_on_commit_callbacks() as pokes:
        work(now=NOW)
    assert [(who, text) for who, _, _, text in told()] == [
        ("Carla", "Seats nearly full at Acme is yours: the routing chose the least loaded of the pool")
    ]
    assert story(play)[0].startswith("Carla owns it: the least loaded of the pool")
    assert len(pokes) >= 1
    assert write_mails(now=NOW) == 1
    assert Delivery.objects.get().member == carla


def test_the_watcher_tells_each_the_last_that_concerns_them(recipe, carla, mona):
    play = at("Acme", recipe, carla)
    work(now=NOW)
    watch_all(now=NOW + 5 * HOUR)
    first = "First touch of Seats nearly full at Acme"
    assert told() == [("Carla", "warned", "digest", f"{first}: 50 % of the promised time is used")]
    # After a week in which nobody watched: a warning, the breach and both rungs, of which each hears one thing.
    watch_all(now=NOW + 7 * DAY)
    mine = [row for row in told()[1:] if row[3].startswith(first)]
    assert mine == [
        ("Carla", "breached", "now", f"{first}: the promise was missed"),
        ("Mona", "escalated", "now", f"{first}: still open after the promise was missed"),
        ("Zoe", "escalated", "now", f"{first}: still open after the promise was missed"),
    ]
    count = len(told())
    watch_all(now=NOW + 7 * DAY)
    tell_events(list(ClockEvent.objects.filter(kind="breached")), now=NOW + 8 * DAY)
    assert len(told()) == count
    assert log_touch(play_ids=[play.pk], channel="call", now=NOW + 7 * DAY) == {play.pk: None}
    write_mails(now=NOW + 7 * DAY)
    mail = Delivery.objects.get(to_address="carla@example.com")
    assert "  First touch was due: Tue 17 Nov 2026, 10:00 (UTC)\n" in mail.body


def test_who_gets_a_play_whose_promise_was_missed_already_reads_that_it_was_due(recipe, carla, eve):
    play = at("Acme", recipe, carla)
    work(now=NOW)
    assigned([play], eve, now=NOW + 7 * DAY)
    write_mails(now=NOW + 7 * DAY)
    assert "  First touch was due: Tue 17 Nov 2026, 10:00 (UTC)\n" in Delivery.objects.get(member=eve).body


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("the digital desk", "the routing chose the digital desk"),
        (
            "stands in for the account's CSM; Ben, the account's CSM, is away",
            "the routing chose whoever stands in for the account's CSM; Ben, the account's CSM, is away",
        ),
        ("Ben has left the team", "Ben has left the team"),
    ],
)
def test_why_a_play_is_theirs_is_said_in_a_sentence(recipe, carla, why, said):
    play = at("Acme", recipe, carla)
    tell_assigned([play], {play.pk: carla.pk}, now=NOW, why={play.pk: why})
    assert told() == [("Carla", "assigned", "now", f"Seats nearly full at Acme is yours: {said}")]


def test_a_play_that_woke_up_by_itself_is_told_in_the_digest(recipe, carla, eve, settings):
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": "Europe/Berlin"}
    NoticeSettingsFactory(member=eve, assigned="off")
    plays = [at("Acme", recipe, carla), at("Bolt", recipe, eve), at("Cove", recipe, carla)]
    pause_plays(play_ids=[play.pk for play in plays], reason="Holidays", now=NOW, wakes_at=NOW + DAY)
    # Who takes one up by hand knows.
    resume_plays(play_ids=[plays[2].pk], now=NOW + HOUR)
    assert wake_plays(now=NOW + DAY) == 2
    over = "the pause until Tue 17 Nov 2026, 11:00 (Europe/Berlin) is over"
    assert sorted(told()) == [
        ("Carla", "assigned", "digest", f"Seats nearly full at Acme is yours to work again: {over}"),
        ("Eve", "assigned", "off", f"Seats nearly full at Bolt is yours to work again: {over}"),
    ]
    assert write_mails(now=NOW + 2 * DAY) == 0
    assert story(plays[0])[-2:] == [
        "Seats nearly full: Paused until Tue 17 Nov 2026, 11:00 (Europe/Berlin): Holidays",
        f"Seats nearly full: Woken: {over}",
    ]
    assert story(plays[2])[-1] == "Seats nearly full: Resumed"


@pytest.mark.parametrize("number", [1, 30])
def test_waking_takes_the_same_number_of_queries_whatever_wakes(recipe, carla, number, django_assert_max_num_queries):
    plays = [at(f"Account {one}", recipe, carla) for one in range(number)]
    pause_plays(play_ids=[play.pk for play in plays], reason="Holidays", now=NOW, wakes_at=NOW + DAY)
    with django_assert_max_num_queries(40):
        assert wake_plays(now=NOW + DAY) == number


def test_the_due_time_stands_in_the_zone_of_the_reader(recipe, settings):
    settings.CSPLAYBOOKS = {**settings.CSPLAYBOOKS, "TIME_ZONE": "Europe/Berlin"}
    eva = TeamMemberFactory(name="Eva", zone="Asia/Kathmandu")
    for owner in (eva, TeamMemberFactory(name="Ben")):
        play = at(f"Of {owner}", recipe, TeamMemberFactory())
        ClockFactory(play=play, due_at=NOW + DAY)
        Play.objects.update(clocks_started_at=NOW)
        assigned([play], owner)
    write_mails(now=NOW)
    due = {mail.to_address: mail.body.split("due: ")[1].split("\n")[0] for mail in Delivery.objects.all()}
    assert due["eva@example.com"].endswith(" (Asia/Kathmandu)")
    assert due["ben@example.com"].endswith(" (Europe/Berlin)")
    assert due["eva@example.com"] != due["ben@example.com"]


def test_each_is_told_as_they_want_to_be(recipe, carla, eve, mona):
    NoticeSettingsFactory(member=carla, assigned="off")
    NoticeSettingsFactory(member=eve, assigned="digest")
    NoticeSettingsFactory(member=mona, assigned="digest", digest=False)
    gone = TeamMemberFactory(name="Nobody", email="")
    for number, owner in enumerate((carla, eve, mona, gone)):
        assigned([at(f"Account {number}", recipe, TeamMemberFactory())], owner)
    assert [(who, way) for who, _, way, _ in told()] == [
        ("Carla", "off"),
        ("Eve", "digest"),
        ("Mona", "off"),
        ("Nobody", "off"),
    ]
    assert write_mails(now=NOW + DAY) == 0


def test_a_site_without_mail_keeps_notices_in_the_admin(recipe, carla, settings, django_capture_on_commit_callbacks):
    settings.CSPLAYBOOKS = {}
    with django_capture_on_commit_callbacks() as pokes:
        tell_assigned([play := at("Acme", recipe, carla)], {play.pk: carla.pk}, now=NOW)
    assert [way for _, _, way, _ in told()] == ["off"]
    assert pokes == []


def test_a_desk_that_nobody_reads_is_told_nothing(recipe):
    desk = TeamMemberFactory(name="Desk", desk=True, email="")
    assigned([at("Acme", recipe, TeamMemberFactory(), route="email")], desk)
    assert told() == []


def test_who_leaves_before_the_mail_is_written_gets_none(recipe, carla):
    assigned([at("Acme", recipe, TeamMemberFactory())], carla)
    TeamMember.objects.filter(pk=carla.pk).update(is_active=False)
    assert write_mails(now=NOW + DAY) == 1
    assert [way for _, _, way, _ in told()] == ["off"]
    assert write_mails(now=NOW + DAY) == 0
    assert not Delivery.objects.exists()


def test_without_an_address_of_the_site_there_are_no_links(recipe, carla, settings):
    settings.CSPLAYBOOKS = {"NOTICES_BY_MAIL": True}
    assigned([at("Acme", recipe, TeamMemberFactory())], carla)
    write_mails(now=NOW + DAY)
    body = Delivery.objects.get().body
    assert "http" not in body
    assert body.endswith('\n\n-- \nHow you are told of what: "Notice settings" in the admin\n')


def test_more_than_a_batch_is_written_in_one_go(recipe, carla, monkeypatch):
    monkeypatch.setattr("csplaybooks.playbooks.pipeline.mails.BATCH", 3)
    assigned([at(f"Account {number}", recipe, TeamMemberFactory()) for number in range(7)], carla)
    assert write_mails(now=NOW + DAY) == 7
    assert Delivery.objects.count() == 3


@pytest.mark.parametrize("number", [1, 30])
def test_telling_and_writing_take_the_same_number_of_queries(recipe, number, django_assert_max_num_queries, office):
    people = [TeamMemberFactory(name=f"Member {count}", user=UserFactory()) for count in range(number)]
    plays = [at(f"Account {count}", recipe, person) for count, person in enumerate(people)]
    with django_assert_max_num_queries(6):
        owners = {play.pk: person.pk for play, person in zip(plays, people, strict=True)}
        assert tell_assigned(plays, owners, now=NOW) == number
    with django_assert_max_num_queries(17):
        assert write_mails(now=NOW + DAY) == number
    clocks = [ClockFactory(play=play, calendar=office) for play in plays]
    events = [
        ClockEvent(clock=clock, kind="breached", due_at=NOW, noticed_at=NOW, holder=clock.play.owner, told=None)
        for clock in clocks
    ]
    ClockEvent.objects.bulk_create(events)
    with django_assert_max_num_queries(6):
        assert tell_events(events, now=NOW) == number


def test_who_does_not_see_a_play_any_more_gets_no_mail_of_it(recipe, carla, eve, mona):
    acme, cask = AccountFactory(name="Acme", csm=TeamMemberFactory()), AccountFactory(name="Cask", csm=carla)
    gone, known = (owned(account=account, recipe=recipe, owner=TeamMemberFactory()) for account in (acme, cask))
    stays = at("Bolt", recipe, TeamMemberFactory())
    assigned([gone, stays, known], carla)
    assigned([gone, known], eve)
    assert write_mails(now=NOW + DAY) == 5
    mail = Delivery.objects.get(to_address="carla@example.com")
    assert "Acme" not in mail.body
    # It is at an account of hers.
    assert ("Bolt" in mail.body, "Cask" in mail.body) == (True, True)
    assert Notice.objects.get(play=gone, member=carla).way == "off"
    # Whoever stands above the owner sees it.
    tell_assigned([stays], {stays.pk: mona.pk}, now=NOW + DAY)
    assert write_mails(now=NOW + 2 * DAY) == 1
    assert Delivery.objects.filter(to_address="mona@example.com").count() == 1


def test_a_member_whose_mail_cannot_be_written_does_not_stop_the_others(recipe, carla, eve, monkeypatch, caplog):
    monkeypatch.setattr(mails, "BATCH", 2)
    assigned([at(f"Account {number}", recipe, TeamMemberFactory()) for number in range(3)], carla)
    assigned([at("Acme", recipe, TeamMemberFactory())], eve)
    real = letters.why_it_fired

    def failing(member: TeamMember, play: Play) -> tuple[str, ...]:
        if member == carla:
            raise ValueError("evidence of long ago")
        return real(member, play)

    monkeypatch.setattr(mails, "why_it_fired", failing)
    assert write_mails(now=NOW + DAY) == 1
    assert [mail.to_address for mail in Delivery.objects.all()] == ["eve@example.com"]
    assert "of Carla could not be written; tried again later" in caplog.text
    monkeypatch.setattr(mails, "why_it_fired", real)
    assert write_mails(now=NOW + DAY) == 3


def test_a_breach_that_an_act_writes_before_the_watcher_is_told_as_well(recipe, carla, eve, mona):
    late, offered = at("Acme", recipe, carla), at("Bolt", recipe, carla)
    work(now=NOW)
    assert done(offer_plays(play_ids=[offered.pk], to_id=eve.pk, now=NOW))
    Notice.objects.all().delete()
    assert log_touch(play_ids=[late.pk], channel="call", now=NOW + 7 * DAY) == {late.pk: None}
    promise = "First touch of Seats nearly full at Acme: the promise was missed"
    assert told() == [("Carla", "breached", "now", promise)]
    Notice.objects.all().delete()
    assert done(accept_plays(play_ids=[offered.pk], now=NOW + 7 * DAY))
    # Who was asked, and who was accountable until then.
    answer = "Hand-off accepted of Seats nearly full at Bolt: the promise was missed"
    assert sorted(told()) == [("Carla", "breached", "now", answer), ("Eve", "breached", "now", answer)]
    # The watcher does not tell of them again.
    watch_all(now=NOW + 7 * DAY)
    assert Notice.objects.filter(text__in=[promise, answer]).count() == 2


def test_a_breach_of_a_clock_that_was_started_late_is_told(recipe, carla):
    play = at("Acme", recipe, carla)
    assert done(log_touch(play_ids=[play.pk], channel="call", now=NOW + 2 * DAY))
    start_clocks(now=NOW + 2 * DAY)
    text = "First touch of Seats nearly full at Acme: the promise was missed"
    assert told() == [("Carla", "breached", "now", text)]
