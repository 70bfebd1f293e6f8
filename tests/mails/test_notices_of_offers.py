"""Notices of offers: made, refused, and not answered; by whom, to whom, and with whom the play is then."""

from __future__ import annotations

import pytest

from csplaybooks.accounts.factories import AbsenceFactory, TeamMemberFactory
from csplaybooks.playbooks.acts.handoffs import lapse_offers, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.models import Delivery, Handoff
from csplaybooks.playbooks.pipeline.mails import write_mails
from csplaybooks.playbooks.pipeline.sweep import work
from tests.mails.telling import at, told
from tests.playbooks.plays import DAY, NOW, done

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("office")]


def test_who_is_told_anyway_is_not_told_again_as_a_stand_in(recipe, carla, eve, mona):
    AbsenceFactory(member=carla, stand_in=mona, first_day=NOW.date(), last_day=(NOW + 30 * DAY).date())
    play = at("Acme", recipe, carla)
    assert done(offer_plays(play_ids=[play.pk], to_id=eve.pk, note="", now=NOW))
    lapse_offers(play_ids=[play.pk], now=NOW + 30 * DAY)
    # It lapsed to Mona, who holds it now: that is told her as her own.
    text = "Eve did not answer the offer of Seats nearly full at Acme: it is with"
    assert [row for row in told() if row[1] == "refused"] == [
        ("Carla", "refused", "now", f"{text} Mona now"),
        ("Mona", "refused", "now", f"{text} you now, to assign or to offer anew"),
    ]


def test_of_an_offer_that_lapses_to_a_manager_who_is_away_their_stand_in_is_told(recipe, carla, eve, mona):
    boss = TeamMemberFactory(name="Boss", leads=True)
    late = NOW + 30 * DAY
    AbsenceFactory(member=mona, stand_in=boss, first_day=late.date(), last_day=late.date())
    play = at("Acme", recipe, carla)
    assert done(offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW))
    assert done(lapse_offers(play_ids=[play.pk], now=late))
    text = "Eve did not answer the offer of Seats nearly full at Acme: it is with"
    assert [row for row in told() if row[1] == "refused"] == [
        ("Carla", "refused", "now", f"{text} Mona now"),
        ("Mona", "refused", "now", f"{text} you now, to assign or to offer anew"),
        ("Boss", "refused", "now", f"For Mona, who is away: {text} Mona now, to assign or to offer anew"),
    ]


def test_both_sides_of_an_offer_are_told(recipe, carla, eve, mona):
    play = at("Acme", recipe, carla)
    work(now=NOW)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, actor=carla.user)
    refuse_plays(play_ids=[play.pk], reason="No budget", now=NOW, actor=eve.user)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, actor=carla.user)
    take_back_plays(play_ids=[play.pk], now=NOW, actor=carla.user)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, actor=carla.user)
    lapse_offers(play_ids=[play.pk], now=NOW + 30 * DAY)
    acme = "Seats nearly full at Acme"
    assert [(who, kind, text) for who, kind, _, text in told()] == [
        ("Eve", "offered", f"Carla offers you {acme}"),
        ("Carla", "refused", f"Eve refused {acme}: No budget"),
        ("Eve", "offered", f"Carla offers you {acme}"),
        ("Eve", "offered", f"Carla offers you {acme}"),
        ("Eve", "breached", f"Hand-off accepted of {acme}: the promise was missed"),
        ("Carla", "breached", f"Hand-off accepted of {acme}: the promise was missed"),
        ("Carla", "refused", f"Eve did not answer the offer of {acme}: it is with Mona now"),
        ("Mona", "refused", f"Eve did not answer the offer of {acme}: it is with you now, to assign or to offer anew"),
    ]
    assert Handoff.objects.count() == 3
    write_mails(now=NOW)
    # The play is none of Eve's any more.
    assert sorted(Delivery.objects.values_list("to_address", "subject")) == [
        ("carla@example.com", f"Eve did not answer the offer of {acme}: it is with Mona now"),
        ("carla@example.com", f"Eve refused {acme}: No budget"),
        ("carla@example.com", f"Hand-off accepted of {acme}: the promise was missed"),
        ("mona@example.com", f"Eve did not answer the offer of {acme}: it is with you now, to assign or to offer anew"),
    ]
    leads = {mail.subject: mail.body.split("\n", 1)[0] for mail in Delivery.objects.filter(member=carla)}
    assert sorted(leads.values()) == ["A promise was missed.", "An offer was refused.", "Nobody answered an offer."]
    assert "due" not in Delivery.objects.get(to_address="mona@example.com").body


def test_refusals_and_lapses_are_mails_of_their_own(recipe, carla, eve, mona):
    refused, lapsed = ([at(f"{name} {number}", recipe, carla) for number in range(2)] for name in ("No", "Quiet"))
    for play in (*refused, *lapsed):
        assert done(offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, actor=carla.user))
    assert done(refuse_plays(play_ids=[play.pk for play in refused], reason="No budget", now=NOW, actor=eve.user))
    assert done(lapse_offers(play_ids=[play.pk for play in lapsed], now=NOW + 30 * DAY))
    write_mails(now=NOW + 30 * DAY)
    several = Delivery.objects.filter(subject__contains="offers").values_list("member__name", "subject")
    assert sorted(several) == [
        ("Carla", "2 offers were refused"),
        ("Carla", "Nobody answered 2 offers"),
        ("Mona", "Nobody answered 2 offers"),
    ]


def test_a_lapsed_offer_of_a_manager_is_theirs_to_assign_and_of_somebody_alone_theirs_again(recipe, eve, mona):
    alone = TeamMemberFactory(name="Ada")
    sold = TeamMemberFactory(name="Sol", ae=True)
    plays = [at("Acme", recipe, mona), at("Bolt", recipe, alone)]
    assert done(offer_plays(play_ids=[plays[0].pk], to_id=eve.pk, now=NOW))
    assert done(offer_plays(play_ids=[plays[1].pk], to_id=sold.pk, now=NOW))
    assert done(lapse_offers(play_ids=[play.pk for play in plays], now=NOW + 30 * DAY))
    assert [(who, text.split(": ")[1]) for who, kind, _, text in told() if kind == "refused"] == [
        ("Mona", "it is with you now, to assign or to offer anew"),
        ("Ada", "it is with you again"),
    ]


def test_an_offer_that_waits_says_until_when(recipe, carla, eve):
    play = at("Acme", recipe, carla)
    work(now=NOW)
    for _ in range(2):
        offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, actor=carla.user)
        if Handoff.objects.count() == 1:
            take_back_plays(play_ids=[play.pk], now=NOW, actor=carla.user)
    write_mails(now=NOW)
    mail = Delivery.objects.get(to_address="eve@example.com")
    assert mail.subject == "2 plays are offered to you"
    assert "Hand-off accepted due: Tue 17 Nov 2026, 10:00 (UTC)" in mail.body
