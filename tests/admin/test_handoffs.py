"""A play offered, accepted and refused on the pages of the admin, by the people on either side of the offer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from csplaybooks.accounts.factories import (
    AbsenceFactory,
    ChampionFactory,
    EntitlementFactory,
    FindingFactory,
    QbrFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Absence, Account
from csplaybooks.accounts.standing_in import absences_in_words
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.models import Handoff, Play
from csplaybooks.signals.factories import ReadingFactory
from tests.admin.conftest import SignIn, permitted
from tests.admin.pages import act, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(time_machine):
    CalendarFactory()
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def eve(db: None) -> Any:
    """An account executive with every model permission."""
    member = TeamMemberFactory(name="Eve", ae=True)
    permitted(member.user)
    return member


@pytest.fixture
def seller(signed_in: SignIn, eve: Any) -> Client:
    """Eve's browser."""
    return signed_in(eve.user)


@pytest.fixture
def play(carla: Any) -> Play:
    """A play of Carla's, at an account of hers."""
    made: Play = PlayFactory(
        account__csm=carla, owner=carla, evidence=[{"words": "18 of 20 seats <in> use"}], expected_amount_minor=150_000
    )
    return made


def buttons(client: Client, play: Play) -> list[str]:
    return [each.verb for each in client.get(url(Play, "change", play.pk)).context["acts"]]


def test_a_play_goes_from_one_to_the_other(csm, seller, eve, play):
    assert seller.get(url(Play, "change", play.pk)).status_code == 302
    asked = act(csm, Play, "offer_plays", [play])
    assert list(asked.context["form"].fields["to"].queryset) == [eve]
    assert told(act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk, note="Be quick")) == ["1 play: offered."]
    # From now on she sees it, and each of the two has the buttons of their side.
    assert buttons(csm, play) == ["touch", "take_back"]
    assert buttons(seller, play) == ["touch", "accept", "refuse"]
    page = seller.get(url(Handoff, "change", Handoff.objects.get().pk)).content.decode()
    for words in ("18 of 20 seats &lt;in&gt; use", "1,500.00 USD", "Be quick"):
        assert words in page
    assert told(act(seller, Play, "accept_plays", [play])) == ["1 play: offer accepted."]
    play.refresh_from_db()
    assert (play.owner, play.holder, play.state) == (eve, eve, "working")


def test_of_an_offer_to_somebody_who_is_away_it_is_told(csm, eve, play):
    TeamMemberFactory(name="Al", ae=True)
    ben, dan = TeamMemberFactory(name="Ben"), TeamMemberFactory(name="Dan")
    away = {"first_day": NOW.date(), "last_day": date(2026, 12, 5)}
    AbsenceFactory(member=eve, stand_in=ben, **away)
    offer = act(csm, Play, "offer_plays", [play])
    # What Django says for "nobody chosen yet" is another with each version.
    choices = [label for value, label in offer.context["form"].fields["to"].choices if value]
    assert choices == ["Al", "Eve (away until 5 Dec, Ben stands in)"]
    # Whoever is there in the end.
    AbsenceFactory(member=ben, stand_in=dan, **away)
    answer = act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    assert told(answer) == ["1 play: offered.", "Eve is away until 5 Dec, Dan stands in."]
    # Nothing was done, so nothing is told of it.
    assert len(told(act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk))) == 1
    Absence.objects.update(stand_in=None, last_day=date(2027, 1, 5))
    assert absences_in_words(NOW)[eve.pk] == "away until 5 Jan 2027, nobody stands in"
    assert absences_in_words(NOW + timedelta(days=60)) == {}


def test_who_offered_it_cannot_answer(csm, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    (why,) = told(act(csm, Play, "accept_plays", [play]))
    assert (
        "Accept the offer is not possible: that is for Eve, whoever stands in for them, or somebody above them" in why
    )
    assert told(act(csm, Play, "take_back_plays", [play], perform="1", reason="They called me")) == [
        "1 play: offer taken back."
    ]
    assert Handoff.objects.get().reason == "They called me"


def test_a_refusal_needs_a_reason(csm, seller, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    refused = act(seller, Play, "refuse_plays", [play], perform="1", reason="")
    assert list(refused.context["form"].errors) == ["reason"]
    assert told(act(seller, Play, "refuse_plays", [play], perform="1", reason="Too small")) == [
        "1 play: offer refused."
    ]
    assert (Handoff.objects.get().answer, Handoff.objects.get().reason) == ("refused", "Too small")


def test_why_an_offer_cannot_be_made_stands_on_the_form(boss, carla, eve, play):
    own = PlayFactory(owner=eve)
    answer = act(boss, Play, "offer_plays", [own], perform="1", to=eve.pk)
    assert told(answer) == [f"{own}: Eve owns it already: offer it to somebody else"]
    answer = act(boss, Play, "offer_plays", [play], perform="1", to=carla.pk)
    assert list(answer.context["form"].errors) == ["to"]
    assert not Handoff.objects.exists()


def test_an_offer_is_answered_where_it_is_read(csm, seller, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    offer = Handoff.objects.get()
    page = url(Handoff, "change", offer.pk)
    assert [each.verb for each in seller.get(page).context["acts"]] == ["accept", "refuse"]
    assert [each.verb for each in csm.get(page).context["acts"]] == ["take_back"]
    answer = act(seller, Play, "accept_plays", [play], from_play="1")
    assert answer.headers["Location"] == url(Play, "change", play.pk)
    assert "acts" not in seller.get(page).context


def test_whoever_refused_is_led_to_what_they_still_see(csm, seller, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    answer = act(seller, Play, "refuse_plays", [play], perform="1", reason="Too small", from_play="1")
    assert answer.headers["Location"] == url(Play, "changelist")
    # Their own offers they see for good; of the people at the account no longer anything.
    page = seller.get(url(Handoff, "change", Handoff.objects.get().pk)).content.decode()
    assert "Too small" in page
    assert url(Play, "change", play.pk) not in page


def test_an_offer_that_is_gone_is_not_answered_by_silence(csm, seller, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    act(csm, Play, "take_back_plays", [play], perform="1", reason="")
    for action in ("accept_plays", "refuse_plays"):
        (said,) = told(act(seller, Play, action, [play], from_play="1"))
        assert "nothing was done" in said


def test_the_value_shown_is_read_on_the_page_of_the_offer(csm, seller, eve, play):
    FindingFactory(account=play.account, kind="win", text="Reports in <half> the time")
    QbrFactory(account=play.account, held_at=NOW, summary="They love it.")
    ReadingFactory(account=play.account, occurred_at=NOW)
    EntitlementFactory(account=play.account, mrr_minor=250_000)
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    page = seller.get(url(Handoff, "change", Handoff.objects.get().pk)).content.decode()
    for words in (
        *("Wins so far", "Reports in &lt;half&gt; the time", "Last review", "2026-11-16: They love it."),
        *("Usage", "Seats: 18 of 20 on 2026-11-16", "What they hold", "Monthly revenue now", "2,500.00 USD"),
    ):
        assert words in page, words
    eve.user.user_permissions.set(Permission.objects.filter(codename__in=["view_handoff", "view_finding"]))
    page = seller.get(url(Handoff, "change", Handoff.objects.get().pk)).content.decode()
    assert "Reports in &lt;half&gt; the time" in page
    for words in ("They love it.", "18 of 20 on", "2,500.00 USD"):
        assert words not in page, words


def test_people_of_an_account_are_told_to_those_who_see_it(csm, seller, eve, play):
    ChampionFactory(account=play.account, name="Jo Diaz")
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    page = url(Handoff, "change", Handoff.objects.get().pk)
    assert "Jo Diaz" in seller.get(page).content.decode()
    act(seller, Play, "refuse_plays", [play], perform="1", reason="Too small")
    assert "Jo Diaz" not in seller.get(page).content.decode()
    assert "Jo Diaz" in csm.get(page).content.decode()


def test_the_account_of_a_closed_play_is_no_link_for_whoever_does_not_see_it(csm, seller, eve, play):
    act(csm, Play, "offer_plays", [play], perform="1", to=eve.pk)
    act(seller, Play, "accept_plays", [play])
    account = url(Account, "change", play.account_id)
    assert account in seller.get(url(Play, "change", play.pk)).content.decode()
    act(seller, Play, "win_plays", [play], perform="1", reason="")
    for page in (url(Play, "change", play.pk), url(Play, "changelist")):
        assert account not in seller.get(page).content.decode()
        assert account in csm.get(page).content.decode()
