"""Who becomes the owner of a play, and that no cap is overshot, whoever works at the same time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AbsenceFactory, AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory, PlayFactory
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Calendar, Handoff, Play, PlaybookVersion
from csplaybooks.playbooks.pipeline.owners import assign_owners
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
TODAY = date(2026, 11, 16)

pytestmark = pytest.mark.django_db


@pytest.fixture
def recipe(db: None) -> PlaybookVersion:
    """A published playbook; accounts differ, so that each may have an open play of it."""
    version: PlaybookVersion = PlaybookVersionFactory()
    return version


def routed(recipe: PlaybookVersion, account: Any = None, route: str = "csm", opened_at: datetime = NOW) -> Play:
    """A play that waits for an owner."""
    play: Play = PlayFactory(
        recipe=recipe, account=account or AccountFactory(), route=route, unowned=True, opened_at=opened_at
    )
    return play


def owner_of(play: Play, now: datetime = NOW) -> TeamMember | None:
    """Who owns it once the worker has come by; it is in the tray exactly where nobody does."""
    assert assign_owners(now=now) == 1
    play.refresh_from_db()
    assert (play.tray_at is not None) == (play.owner is None)
    assert [v for v in violations() if v.count] == []
    return play.owner


def busy(member: TeamMember, plays: int = 1, route: str = "csm") -> None:
    """Give a member open plays."""
    for _ in range(plays):
        PlayFactory(owner=member, route=route, opened_at=NOW - timedelta(days=1))


def why(play: Play) -> str:
    """What the timeline says about the owner."""
    return TimelineEntry.objects.get(kind="play_assigned", subject_id=play.pk).text


def test_the_account_s_own_csm_owns_it_and_holds_it(recipe: PlaybookVersion) -> None:
    carla = TeamMemberFactory(name="Carla")
    TeamMemberFactory(name="Idle")
    play = routed(recipe, AccountFactory(csm=carla))
    assert owner_of(play) == carla
    assert (play.stage, play.state, play.holder) == ("owned", "working", carla)
    assert why(play) == "Carla owns it: the account's CSM"


def test_a_csm_at_the_cap_leaves_it_to_the_least_loaded_of_the_pool(recipe: PlaybookVersion) -> None:
    carla = TeamMemberFactory(open_play_cap=2)
    loaded, free, _ = TeamMemberFactory(), TeamMemberFactory(), TeamMemberFactory(ae=True)
    busy(loaded, 1)
    account = AccountFactory(csm=carla)
    busy(carla, 1)
    assert owner_of(routed(recipe, account)) == carla
    play = routed(recipe, AccountFactory(csm=carla))
    assert owner_of(play) == free
    passed = f"{carla.name}, the account's CSM, carries 2 of 2"
    assert why(play) == f"{free.name} owns it: the least loaded of the pool; {passed}"


def test_closed_and_automated_plays_are_no_load(recipe: PlaybookVersion) -> None:
    carla = TeamMemberFactory(open_play_cap=1)
    busy(carla, 3, route="email")
    closed = PlayFactory(owner=carla, opened_at=NOW)
    close_plays(play_ids=[closed.pk], outcome="won", now=NOW)
    assert owner_of(routed(recipe, AccountFactory(csm=carla))) == carla


def test_of_equals_in_the_pool_the_one_who_came_first(recipe: PlaybookVersion) -> None:
    first, _ = TeamMemberFactory(), TeamMemberFactory()
    assert owner_of(routed(recipe)) == first


def test_who_takes_no_pool_work_or_has_left_or_is_away_is_not_in_the_pool(recipe: PlaybookVersion) -> None:
    TeamMemberFactory(takes_pool_work=False)
    TeamMemberFactory(is_active=False)
    AbsenceFactory(member=TeamMemberFactory(), first_day=TODAY, last_day=TODAY)
    TeamMemberFactory(open_play_cap=0)
    TeamMemberFactory(leads=True)
    play = routed(recipe)
    assert owner_of(play) is None
    assert play.tray_at == NOW
    assert why(play) == "Waits for a manager to name an owner: nobody is here and under their cap"
    # It waits for a person from here on.
    TeamMemberFactory()
    assert assign_owners(now=NOW) == 0


def test_a_stand_in_owns_it_and_chains_of_them_are_followed(recipe: PlaybookVersion) -> None:
    carla, stand_in, second = TeamMemberFactory(), TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, first_day=TODAY, last_day=TODAY, stand_in=stand_in)
    account = AccountFactory(csm=carla)
    play = routed(recipe, account)
    assert owner_of(play) == stand_in
    passed = f"{carla.name}, the account's CSM, is away until 2026-11-16"
    assert why(play) == f"{stand_in.name} owns it: stands in for the account's CSM; {passed}"
    AbsenceFactory(member=stand_in, first_day=TODAY, last_day=TODAY, stand_in=second)
    play = routed(recipe, AccountFactory(csm=carla))
    assert owner_of(play) == second
    assert why(play).startswith(f"{second.name} owns it: stands in for the account's CSM; ")
    # From tomorrow on she is back.
    assert owner_of(routed(recipe, AccountFactory(csm=carla)), NOW + timedelta(days=1)) == carla


def test_stand_ins_that_go_round_in_a_circle_end_in_the_pool(recipe: PlaybookVersion) -> None:
    carla, dora, pool = TeamMemberFactory(), TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, first_day=TODAY, last_day=TODAY, stand_in=dora)
    AbsenceFactory(member=dora, first_day=TODAY, last_day=TODAY, stand_in=carla)
    assert owner_of(routed(recipe, AccountFactory(csm=carla))) == pool


def test_a_csm_who_left_hands_on_to_whoever_stands_in_and_else_to_the_pool(recipe: PlaybookVersion) -> None:
    gone, stand_in, pool = TeamMemberFactory(is_active=False), TeamMemberFactory(open_play_cap=1), TeamMemberFactory()
    assert owner_of(routed(recipe, AccountFactory(csm=gone))) == stand_in
    AbsenceFactory(member=gone, first_day=TODAY, last_day=TODAY, stand_in=stand_in)
    # At the cap by now.
    assert owner_of(routed(recipe, AccountFactory(csm=gone))) == pool


def test_absence_is_counted_in_company_days(recipe: PlaybookVersion, settings: Any) -> None:
    settings.CSPLAYBOOKS = {"TIME_ZONE": "Pacific/Auckland"}
    carla, pool = TeamMemberFactory(), TeamMemberFactory()
    AbsenceFactory(member=carla, first_day=date(2026, 11, 17), last_day=date(2026, 11, 17))
    midnight = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
    assert owner_of(routed(recipe, AccountFactory(csm=carla)), midnight - timedelta(seconds=1)) == carla
    assert owner_of(routed(recipe, AccountFactory(csm=carla)), midnight) == pool


def test_a_sales_play_goes_to_the_csm_first_and_without_one_to_the_ae(recipe: PlaybookVersion) -> None:
    carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True)
    both, executive_only = AccountFactory(csm=carla, ae=erik), AccountFactory(ae=erik)
    assert owner_of(routed(recipe, both, route="sales")) == carla
    assert owner_of(routed(recipe, executive_only, route="sales")) == erik
    # A conversation at an account without a CSM is no work for an AE.
    assert owner_of(routed(recipe, AccountFactory(ae=erik), route="csm")) == carla


def test_a_sales_play_without_csm_or_ae_goes_to_the_pool_of_aes(recipe: PlaybookVersion) -> None:
    TeamMemberFactory()
    erik = TeamMemberFactory(ae=True)
    assert owner_of(routed(recipe, route="sales")) == erik


@pytest.mark.parametrize("route", ["self_serve", "email"])
def test_automated_plays_without_a_csm_go_to_the_digital_desk(recipe: PlaybookVersion, route: str) -> None:
    pool, desk = TeamMemberFactory(), TeamMemberFactory(desk=True, open_play_cap=0)
    assert owner_of(routed(recipe, route=route)) == desk
    assert owner_of(routed(recipe, AccountFactory(csm=pool), route=route)) == pool
    TeamMember.objects.filter(pk=desk.pk).update(is_active=False)
    assert owner_of(routed(recipe, route=route)) == pool


def test_a_desk_owns_no_conversations(recipe: PlaybookVersion) -> None:
    TeamMemberFactory(desk=True)
    assert owner_of(routed(recipe, route="csm")) is None


def test_loads_are_counted_on_inside_a_batch(recipe: PlaybookVersion) -> None:
    members = TeamMemberFactory.create_batch(3, open_play_cap=2)
    plays = [routed(recipe) for _ in range(8)]
    assert assign_owners(now=NOW) == 8
    owners = Counter(Play.objects.values_list("owner", flat=True))
    assert owners == {**{member.pk: 2 for member in members}, None: 2}
    # The oldest were served first.
    assert Play.objects.filter(pk__in=[play.pk for play in plays[-2:]], tray_at=NOW).count() == 2


@pytest.mark.parametrize("number", [2, 30])
def test_a_batch_takes_the_same_number_of_queries_whatever_its_size(
    recipe: PlaybookVersion, number: int, django_assert_max_num_queries: Any
) -> None:
    TeamMemberFactory(open_play_cap=100)
    for _ in range(number):
        routed(recipe)
    # PostgreSQL takes one more than SQLite: it locks what it claims in a statement of its own.
    with django_assert_max_num_queries(33):
        assert assign_owners(now=NOW) == number


def frozen(**said: Any) -> dict[str, Any]:
    """What a rule of a route may say."""
    return {"routing": {"rule": 1, **said}}


def by_rule(recipe: PlaybookVersion, account: Any, route: str = "csm", **said: Any) -> Play:
    """A play that waits for an owner, under a rule that says more."""
    play = routed(recipe, account, route)
    Play.objects.filter(pk=play.pk).update(**frozen(**said))
    return play


def test_a_rule_may_say_that_it_is_the_ae_s(recipe: PlaybookVersion) -> None:
    carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True, open_play_cap=1)
    idle = TeamMemberFactory(ae=True)
    account = AccountFactory(csm=carla, ae=erik)
    assert owner_of(by_rule(recipe, account, owner="ae")) == erik
    second = by_rule(recipe, AccountFactory(csm=carla, ae=erik), owner="ae")
    assert owner_of(second) == idle
    assert why(second).endswith(f"the least loaded of the pool; {erik.name}, the account's AE, carries 1 of 1")


def test_a_rule_may_say_that_it_is_the_desk_s_or_a_manager_s(recipe: PlaybookVersion) -> None:
    mona = TeamMemberFactory(leads=True)
    carla, desk = TeamMemberFactory(manager=mona), TeamMemberFactory(desk=True)
    other = TeamMemberFactory(leads=True)
    assert owner_of(by_rule(recipe, AccountFactory(csm=carla), "email", owner="desk")) == desk
    assert owner_of(by_rule(recipe, AccountFactory(csm=carla), owner="manager")) == mona
    # Nobody leads the people of an account that has none.
    TeamMember.objects.filter(pk=mona.pk).update(open_play_cap=0)
    assert owner_of(by_rule(recipe, None, owner="manager")) == other


def test_without_a_desk_a_play_of_the_desk_goes_the_usual_way(recipe: PlaybookVersion) -> None:
    carla = TeamMemberFactory()
    assert owner_of(by_rule(recipe, AccountFactory(csm=carla), "email", owner="desk")) == carla


def test_who_has_no_role_for_a_route_is_passed_over(recipe: PlaybookVersion) -> None:
    erik, pool = TeamMemberFactory(ae=True, takes_pool_work=False), TeamMemberFactory()
    play = routed(recipe, AccountFactory(csm=erik), "email")
    assert owner_of(play) == pool
    assert why(play).endswith(f"; {erik.name}, the account's CSM, owns no plays by E-mail")


class TestOffers:
    """A play for sales begins with the CSM, and is offered to the AE at once."""

    @pytest.fixture(autouse=True)
    def calendar(self, db: None) -> None:
        """The hours in which an answer is promised."""
        CalendarFactory()

    def offered_to(self, play: Play) -> TeamMember | None:
        """To whom the play is on offer once the worker has come by."""
        assert assign_owners(now=NOW) == 1
        play.refresh_from_db()
        assert [v for v in violations() if v.count] == []
        offer = Handoff.objects.filter(play=play).select_related("offered_to").first()
        assert (play.state == "offered") == (offer is not None)
        if offer is None:
            return None
        assert (play.holder, offer.offered_by) == (offer.offered_to, play.owner)
        to: TeamMember = offer.offered_to
        return to

    def test_the_csm_owns_it_and_the_account_s_ae_holds_it(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Erik", ae=True)
        play = routed(recipe, AccountFactory(csm=carla, ae=erik), "sales")
        assert self.offered_to(play) == erik
        assert play.owner == carla
        said = TimelineEntry.objects.get(kind="play_offer", subject_id=play.pk).text
        assert said.endswith("Offered to Erik: the account's AE")
        context = Handoff.objects.get(play=play).context
        assert context["account"] == play.account.name

    def test_or_whoever_stands_in_for_the_ae_or_else_the_least_loaded(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(), TeamMemberFactory(name="Erik", ae=True)
        eve, busy = TeamMemberFactory(name="Eve", ae=True), TeamMemberFactory(ae=True)
        AbsenceFactory(member=erik, first_day=TODAY, last_day=TODAY, stand_in=eve)
        busy_with = routed(recipe, AccountFactory(csm=carla, ae=busy), "sales")
        assert self.offered_to(busy_with) == busy
        assert self.offered_to(routed(recipe, AccountFactory(csm=carla, ae=erik), "sales")) == eve
        TeamMember.objects.filter(pk=eve.pk).update(open_play_cap=1)
        # Eve is full with what is on offer to her; so it is Busy's turn.
        third = routed(recipe, AccountFactory(csm=carla, ae=erik), "sales")
        assert self.offered_to(third) == busy
        said = TimelineEntry.objects.get(kind="play_offer", subject_id=third.pk).text
        assert said.endswith(
            "the least loaded AE; Erik, the account's AE, is away until 2026-11-16; "
            "Eve, who stands in for the account's AE, carries 1 of 1"
        )

    def test_where_no_ae_has_room_the_csm_keeps_it_and_the_timeline_says_so(self, recipe: PlaybookVersion) -> None:
        carla = TeamMemberFactory()
        TeamMemberFactory(ae=True, open_play_cap=0)
        play = routed(recipe, AccountFactory(csm=carla), "sales")
        assert self.offered_to(play) is None
        assert play.owner == carla
        said = TimelineEntry.objects.get(kind="play_not_offered", subject_id=play.pk).text
        assert said == "Not offered to an account executive: nobody is here and under their cap"

    def test_what_is_offered_in_a_batch_counts_for_the_next_of_it(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True, open_play_cap=2)
        for _ in range(3):
            routed(recipe, AccountFactory(csm=carla, ae=erik), "sales")
        assert assign_owners(now=NOW) == 3
        assert list(Play.objects.order_by("pk").values_list("state", "owner")) == [
            ("offered", carla.pk),
            ("offered", carla.pk),
            ("working", carla.pk),
        ]
        assert Handoff.objects.filter(offered_to=erik).count() == 2

    def test_who_sells_and_owns_it_keeps_it(self, recipe: PlaybookVersion) -> None:
        erik = TeamMemberFactory(ae=True)
        TeamMemberFactory(ae=True)
        both = TeamMemberFactory(is_account_executive=True)
        assert self.offered_to(routed(recipe, AccountFactory(ae=erik), "sales")) is None
        assert self.offered_to(routed(recipe, AccountFactory(csm=both, ae=erik), "sales")) is None

    def test_a_rule_may_offer_a_conversation_and_may_keep_a_sale(self, recipe: PlaybookVersion) -> None:
        carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True)
        accounts = [AccountFactory(csm=carla, ae=erik) for _ in range(2)]
        assert self.offered_to(by_rule(recipe, accounts[0], "csm", offer_to="ae")) == erik
        assert self.offered_to(by_rule(recipe, accounts[1], "sales", offer_to="nobody")) is None

    def test_where_no_answer_can_be_promised_the_csm_owns_it_all_the_same(self, recipe: PlaybookVersion) -> None:
        Calendar.objects.all().delete()
        carla, erik = TeamMemberFactory(), TeamMemberFactory(ae=True)
        plays = [routed(recipe, AccountFactory(csm=carla, ae=erik), "sales") for _ in range(2)]
        assert assign_owners(now=NOW) == 2
        for play in plays:
            play.refresh_from_db()
            assert (play.owner, play.state, play.attempts) == (carla, "working", 0)
            said = TimelineEntry.objects.get(kind="play_not_offered", subject_id=play.pk).text
            assert "n answer cannot be promised in working hours" in said

    def test_a_batch_of_offers_takes_the_same_number_of_queries(self, recipe: PlaybookVersion) -> None:
        TeamMemberFactory(open_play_cap=100), TeamMemberFactory(ae=True, open_play_cap=100)
        seen = []
        assign_owners(now=NOW)
        for number in (1, 2, 25):
            for _ in range(number):
                routed(recipe, AccountFactory(csm=TeamMember.objects.first()), "sales")
            with CaptureQueriesContext(connection) as queries:
                assert assign_owners(now=NOW) == number
            seen.append(len(queries))
        assert seen[1] == seen[2]


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_never_overshoot_a_cap() -> None:
    recipe = PlaybookVersionFactory(playbook=PlaybookFactory())
    members = TeamMemberFactory.create_batch(3, open_play_cap=4)
    for _ in range(20):
        routed(recipe)

    def worker() -> int:
        taken = 0
        while batch := assign_owners(now=NOW, limit=3):
            taken += batch
        return taken

    assert sum(at_once(*[worker] * 4)) == 20
    assert Counter(Play.objects.values_list("owner", flat=True)) == {**{m.pk: 4 for m in members}, None: 8}
    assert Play.objects.filter(tray_at__isnull=False).count() == 8
    assert TimelineEntry.objects.filter(kind="play_assigned").count() == 20
    assert [v for v in violations() if v.count] == []
