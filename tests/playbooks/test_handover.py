"""What goes with an offer: the value shown, what the account holds, and who is told what of it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AccountFactory,
    ApiTokenFactory,
    ChampionFactory,
    EntitlementFactory,
    FindingFactory,
    PlanFactory,
    QbrFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.playbooks.acts.handoffs import (
    accept_plays,
    lapse_offers,
    offer_plays,
    refuse_plays,
    take_back_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, PlayFactory
from csplaybooks.playbooks.handover import MOST_OF_A_SUMMARY, contexts_of, readable_context
from csplaybooks.playbooks.models import Clock, Handoff, Play
from csplaybooks.playbooks.pipeline.sweep import lapse_waiting_offers
from csplaybooks.signals.factories import MeterFactory, ReadingFactory
from tests.playbooks.plays import DAY, HOUR, NOW, broken, owned

pytestmark = pytest.mark.django_db


@pytest.fixture
def eve() -> Any:
    """The account executive to whom plays are offered."""
    CalendarFactory()
    return TeamMemberFactory(name="Eve", ae=True)


def told(play: Play) -> dict[str, Any]:
    """What would go with an offer of a play."""
    play = Play.objects.select_related("account", "playbook").get(pk=play.pk)
    return contexts_of([play], NOW)[play.pk]


def known(play: Play) -> None:
    """Tell something of everything that goes with an offer."""
    account = play.account
    ChampionFactory(account=account, name="Jo Diaz")
    FindingFactory(account=account, kind="goal", text="Roll out in Spain")
    FindingFactory(account=account, kind="win", text="Reports in half the time")
    QbrFactory(account=account, held_at=NOW - 30 * DAY, summary="They love it.")
    ReadingFactory(account=account, occurred_at=NOW - DAY)
    EntitlementFactory(account=account, plan=PlanFactory(name="Team"), quantity=1200, mrr_minor=150_000)


def test_the_value_shown_goes_with_it() -> None:
    play = owned(account=AccountFactory(facts__renewal_on=date(2027, 3, 1)))
    account = play.account
    FindingFactory(account=account, kind="win", text="Reports in half the time")
    FindingFactory(account=account, kind="win", text="Rolled out in Spain", state__status="settled")
    FindingFactory(account=account, kind="win", text="Was none", state__status="dropped")
    FindingFactory(account=account, kind="gap", text="No forecasts")
    FindingFactory(account=account, kind="gap", text="Filled", state__status="settled")
    FindingFactory(kind="win", text="Of somebody else")
    QbrFactory(account=account, held_at=NOW - 90 * DAY, summary="The one before.")
    QbrFactory(account=account, held_at=NOW - 30 * DAY, summary=" They love it. ")
    QbrFactory(account=account, held_at=NOW + DAY, summary="Yet to come.")
    seats, calls, health = (MeterFactory(key=key) for key in ("seats", "api_calls", "health"))
    ReadingFactory(account=account, meter=seats, occurred_at=NOW - 2 * DAY, used_milli=12_000)
    last = ReadingFactory(account=account, meter=seats, occurred_at=NOW - DAY, used_milli=17_500)
    ReadingFactory(account=account, meter=seats, occurred_at=NOW - DAY, used_milli=18_000, corrects=last)
    ReadingFactory(account=account, meter=seats, occurred_at=NOW + DAY, used_milli=99_000)
    ReadingFactory(account=account, meter=calls, occurred_at=NOW - DAY, used_milli=7_500, limit_milli=None)
    ReadingFactory(account=account, meter=health, occurred_at=NOW - 36 * DAY, used_milli=80_000)
    team = PlanFactory(name="Team")
    EntitlementFactory(account=account, plan=team, quantity=1200, mrr_minor=150_000)
    EntitlementFactory(account=account, plan=None, product=team.product, quantity=2, mrr_minor=200_000)
    EntitlementFactory(account=account, plan=team, mrr_minor=1, valid_to=NOW)
    context = told(play)
    assert context["wins"] == ["Rolled out in Spain", "Reports in half the time"]
    assert context["findings"] == ["Gap: No forecasts"]
    assert context["review"] == f"{(NOW - 30 * DAY).date()}: They love it."
    # What counts, is not too old and has happened.
    assert context["usage"] == ["Api calls: 7.5 on 2026-11-15", "Seats: 18 of 20 on 2026-11-15"]
    product = team.product.name
    assert context["plans"] == [f"{product}: 2", f"{product}, Team: 1,200"]
    assert context["mrr_minor"] == 350_000
    assert context["renewal_on"] == "2027-03-01"


def test_where_nothing_is_known_nothing_is_told_and_much_is_cut_short() -> None:
    play = owned()
    context = told(play)
    for name, nothing in (("wins", []), ("usage", []), ("plans", []), ("review", ""), ("mrr_minor", None)):
        assert context[name] == nothing, name
    QbrFactory(account=play.account, held_at=NOW, summary="x" * 2000)
    assert len(told(play)["review"]) == len("2026-11-16: ") + MOST_OF_A_SUMMARY + 1


def test_as_many_queries_for_many_plays_as_for_one() -> None:
    counts = []
    for number in (1, 12):
        while Play.objects.count() < number:
            known(owned())
        plays = list(Play.objects.select_related("account", "playbook"))
        with CaptureQueriesContext(connection) as queries:
            contexts = contexts_of(plays, NOW)
        assert all(context["usage"] and context["plans"] for context in contexts.values())
        counts.append(len(queries))
    assert counts == [7, 7]


@pytest.mark.parametrize(
    ("right", "names"),
    [
        ("view_champion", {"people"}),
        ("view_finding", {"findings", "wins"}),
        ("view_qbr", {"review"}),
        ("view_reading", {"usage"}),
        ("view_entitlement", {"plans", "mrr_minor"}),
        ("view_accountfacts", {"renewal_on"}),
    ],
)
def test_each_thing_is_told_to_whoever_may_look_at_such(eve: Any, right: str, names: set[str]) -> None:
    play = owned()
    known(play)
    assert offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW, note="Be quick") == {play.pk: None}
    offer = Handoff.objects.select_related("play").get()
    plain = {"account", "playbook", "found", "worth_minor", "worked_out", "note"}
    eve.user.user_permissions.add(Permission.objects.get(codename=right))
    assert set(readable_context(eve.user, offer)) == plain | names
    assert set(readable_context(UserFactory(superuser=True), offer)) == set(offer.context)
    # A token reads what one of its scopes is of; and who does not see the account nothing of this.
    assert set(readable_context(ApiTokenFactory(), offer)) == plain
    permitted = UserFactory()
    permitted.user_permissions.add(Permission.objects.get(codename=right))
    assert set(readable_context(permitted, offer)) == plain


# An offer whose time is over, until the sweep comes


def expiry() -> datetime:
    """When the only offer lapses."""
    expires_at = Handoff.objects.get().expires_at
    assert expires_at is not None
    return expires_at


@pytest.mark.parametrize(
    ("answer", "how", "owner", "state"),
    [
        ("accepted", accept_plays, "Eve", "missed"),
        ("refused", refuse_plays, "Carla", "missed"),
        ("taken_back", take_back_plays, "Carla", "missed"),
    ],
)
def test_who_is_late_and_still_first_answers(eve: Any, answer: str, how: Any, owner: str, state: str) -> None:
    carla = TeamMemberFactory(name="Carla", manager=TeamMemberFactory(leads=True))
    play = owned(owner=carla)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
    late = expiry() + HOUR
    more = {"reason": "Too late"} if how is refuse_plays else {}
    actor = carla.user if how is take_back_plays else eve.user
    assert how(play_ids=[play.pk], now=late, actor=actor, **more) == {play.pk: None}
    play.refresh_from_db()
    assert (str(play.owner), str(play.holder), play.state) == (owner, owner, "working")
    offer = Handoff.objects.get()
    assert (offer.answer, offer.answered_at) == (answer, late)
    # That it was late stays on its clock, and the sweep that comes after finds nothing to end.
    clock = Clock.objects.get(target="handoff_accepted")
    assert (clock.state, clock.breached_at) == (state, NOW + DAY)
    assert lapse_waiting_offers(now=late + timedelta(minutes=1)) == 0
    assert lapse_offers(play_ids=[play.pk], now=late)[play.pk] is not None
    assert broken() == []


def test_whoever_comes_after_the_sweep_is_told_what_became_of_it(eve: Any) -> None:
    mona = TeamMemberFactory(name="Mona", leads=True)
    play = PlayFactory(owner=TeamMemberFactory(name="Carla", manager=mona), opened_at=NOW)
    offer_plays(play_ids=[play.pk], to_id=eve.pk, now=NOW)
    late = expiry()
    assert lapse_waiting_offers(now=late) == 1
    (why,) = accept_plays(play_ids=[play.pk], now=late, actor=eve.user).values()
    assert (why or "").startswith("Accept the offer is not possible: the play is owned and working")
    play.refresh_from_db()
    assert (str(play.owner), str(play.holder)) == ("Carla", "Mona")
