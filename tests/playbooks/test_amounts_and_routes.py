"""Expected amounts with their working, by each rule; and the route that a play takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory, EntitlementFactory, PlanFactory, ProductFactory
from csplaybooks.playbooks.acts.recipes import LIBRARY
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.models import Route
from csplaybooks.playbooks.pipeline.amounts import Case, work_out_amounts
from csplaybooks.playbooks.route_rules import RouteFacts, choose_route

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


def seats(used: float, limit: float | None, meter: str = "seats", meters: list[str] | None = None) -> dict[str, Any]:
    """The evidence of a condition on meters, of which one has a reading."""
    meters = meters or [meter]
    index = meters.index(meter)
    return {
        "measure": "share_of_limit",
        "settings": {"measure": "share_of_limit", "meters": meters, "above": 80},
        "found": {
            f"used{index}": round(used * 1000),
            f"limit{index}": None if limit is None else round(limit * 1000),
        },
    }


def gap(product: str) -> dict[str, Any]:
    """The evidence of an open gap."""
    return {"measure": "open_gap", "settings": {"measure": "open_gap"}, "found": {"product": product}}


def amount(account: Any, rule: dict[str, Any], *evidence: dict[str, Any], at: datetime = NOW) -> tuple[int | None, str]:
    """The amount of one case, and its working in words."""
    (answer,) = work_out_amounts([Case(account.pk, rule, evidence)], at)
    assert answer.working["rule"] == rule["rule"]
    return answer.minor, answer.working["words"]


@pytest.mark.django_db
class TestAmounts:
    """One rule after the other."""

    def test_fixed(self) -> None:
        assert amount(AccountFactory(), {"rule": "fixed", "amount_minor": 12_345}) == (12_345, "a fixed amount")

    def test_unknown_goes_to_a_person(self) -> None:
        assert amount(AccountFactory(), {"rule": "unknown"}) == (
            None,
            "unknown: the playbook has no rule for the amount",
        )

    def test_share_of_mrr_adds_up_all_that_is_held_and_rounds_down(self) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, mrr_minor=100_005)
        EntitlementFactory(account=account, mrr_minor=5_000)
        EntitlementFactory(account=account, mrr_minor=99_999, valid_to=NOW)
        EntitlementFactory(mrr_minor=77_777)
        assert amount(account, {"rule": "share_of_mrr", "percent": 10}) == (10_500, "10 % of MRR")
        assert amount(account, {"rule": "share_of_mrr", "percent": 10}, at=NOW - timedelta(seconds=1))[0] == 20_500

    def test_share_of_nothing_is_unknown(self) -> None:
        unknown = (None, "unknown: the account has no MRR on record")
        assert amount(AccountFactory(), {"rule": "share_of_mrr", "percent": 10}) == unknown
        free = AccountFactory()
        EntitlementFactory(account=free, mrr_minor=0)
        assert amount(free, {"rule": "share_of_mrr", "percent": 10}) == unknown

    def test_list_price_is_of_the_product_that_the_rule_or_else_the_evidence_names(self) -> None:
        account = AccountFactory()
        ProductFactory(key="analytics", name="Analytics", list_price_minor=50_000)
        ProductFactory(key="reports", name="Reports", list_price_minor=30_000)
        ProductFactory(key="gift", name="Gift", list_price_minor=None)
        rule = {"rule": "list_price"}
        assert amount(account, rule, gap("analytics")) == (50_000, "list price of Analytics")
        assert amount(account, {**rule, "product": "reports"}, gap("analytics")) == (30_000, "list price of Reports")
        unknown = (None, "unknown: no product with a list price is known")
        assert amount(account, rule) == amount(account, rule, gap("gift")) == amount(account, rule, gap("x")) == unknown

    def test_next_plan_minus_the_current_one_for_all_seats(self) -> None:
        account = AccountFactory()
        business = PlanFactory(key="business", name="Business", price_minor=200_000, seat_price_minor=3_000)
        team = PlanFactory(name="Team", price_minor=100_000, seat_price_minor=2_500, next_plan=business)
        EntitlementFactory(account=account, plan=team, quantity=20)
        assert amount(account, {"rule": "next_plan"}) == (110_000, "Business instead of Team for 20 seats")

    def test_the_highest_plan_and_no_plan_have_no_next_one(self) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account)
        unknown = (None, "unknown: no next plan is known")
        assert amount(account, {"rule": "next_plan"}) == unknown
        assert amount(AccountFactory(), {"rule": "next_plan"}) == unknown

    @pytest.mark.parametrize(
        ("used", "limit", "target", "more"),
        [
            (18, 20, 80, 3),  # 22.5, rounded up
            (20, 20, 80, 5),
            (20.001, 20, 80, 6),
            (16, 20, 80, 1),  # at least one
            (25, 20, 100, 5),
            (30, 20, 100, 10),
        ],
    )
    def test_seats_over_bring_use_back_to_the_target(self, used: float, limit: int, target: int, more: int) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=2_500))
        rule = {"rule": "seats_over", "meters": ["seats"], "target_percent": target}
        words = f"{more} more {'seat brings' if more == 1 else 'seats bring'} use to {target} % of the limit"
        assert amount(account, rule, seats(used, limit)) == (more * 2_500, words)

    def test_the_target_is_the_whole_limit_where_the_rule_says_nothing(self) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=2_500))
        assert amount(account, {"rule": "seats_over", "meters": ["seats"]}, seats(22, 20))[0] == 5_000

    @pytest.mark.parametrize(("used", "minor"), [(9, 90_00), (10, 90_00), (19, 171_00), (20, 160_00)])
    def test_volume_bands_discount_all_seats_from_their_first_on(self, used: int, minor: int) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=10_00))
        bands = [
            {"from_seats": 20, "discount_percent": 20},
            {"from_seats": 10, "discount_percent": 10},
        ]
        rule = {"rule": "seats_over", "meters": ["seats"], "bands": bands}
        assert amount(account, rule, seats(used + 5, 5))[0] == minor

    def test_seats_over_is_unknown_without_a_price_or_a_reading_or_a_limit(self) -> None:
        account = AccountFactory()
        rule = {"rule": "seats_over", "meters": ["seats"]}
        assert amount(account, rule, seats(9, 5)) == (None, "unknown: no price of a seat is known")
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=2_500))
        no_reading = (None, "unknown: the evidence holds no reading of seats")
        assert amount(account, rule) == no_reading
        assert amount(account, rule, seats(9, None)) == amount(account, rule, seats(9, 0)) == no_reading
        assert amount(account, rule, seats(9, 5, "users")) == no_reading
        assert amount(account, rule, seats(9, 5, "seats", ["users", "seats"]))[0] == 10_000

    @pytest.mark.parametrize(
        ("active_users", "licensed", "minor", "meter"),
        [
            (None, (18, 10), 20_000, "seats"),
            ((17, 10), (18, 10), 17_500, "active_users"),
            ((9, 10), (18, 10), 20_000, "seats"),
            ((10, 10), (18, 10), 20_000, "seats"),
            ((18, None), (17, 10), 17_500, "seats"),
            # None is over: the first with a reading.
            ((10, 10), (5, 10), 2_500, "active_users"),
            (None, (5, 10), 2_500, "seats"),
        ],
    )
    def test_seats_over_counts_the_first_meter_that_is_over(
        self, active_users: tuple[float, float | None] | None, licensed: tuple[float, float], minor: int, meter: str
    ) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=2_500))
        meters = ["active_users", "seats"]
        evidence = seats(*licensed, meter="seats", meters=meters)
        evidence["found"].update({"used0": None, "limit0": None})
        if active_users is not None:
            evidence["found"].update(seats(*active_users, meter="active_users", meters=meters)["found"])
        rule = {"rule": "seats_over", "meters": meters}
        (answer,) = work_out_amounts([Case(account.pk, rule, [evidence])], NOW)
        assert (answer.minor, answer.working["meter"]) == (minor, meter)
        # Wherever among the evidence it stands.
        apart = [seats(*licensed), *([] if active_users is None else [seats(*active_users, meter="active_users")])]
        assert work_out_amounts([Case(account.pk, rule, apart)], NOW) == [answer]

    def test_over_the_licence_has_an_amount_whichever_of_its_meters_is_over(self) -> None:
        account = AccountFactory()
        EntitlementFactory(account=account, plan=PlanFactory(seat_price_minor=2_500))
        document = read_document((LIBRARY / "over_the_licence.yaml").read_text(encoding="utf-8"))
        ((condition,),) = [group["all"] for group in document["triggers"][0]["any"]]
        for meter in condition["meters"]:
            assert amount(account, document["amount"], seats(18, 10, meter, condition["meters"]))[0] == 20_000

    def test_many_cases_are_worked_out_in_order_and_in_two_queries(self, django_assert_max_num_queries: Any) -> None:
        accounts = AccountFactory.create_batch(20)
        for number, account in enumerate(accounts):
            EntitlementFactory(account=account, mrr_minor=1_000 * (number + 1))
        cases = [Case(account.pk, {"rule": "share_of_mrr", "percent": 100}, ()) for account in accounts]
        cases.append(Case(accounts[0].pk, {"rule": "list_price"}, [gap("analytics")]))
        with django_assert_max_num_queries(2):
            answers = work_out_amounts(cases, NOW)
        assert [answer.minor for answer in answers] == [*(1_000 * (number + 1) for number in range(20)), None]


# Routes

SELF_SERVE_IF_SMALL_AND_CHEAP = {
    "when": {"segments": ["small"], "amount_below_minor": 500},
    "route": "self_serve",
}
SALES_IF_DEAR = {"when": {"amount_at_least_minor": 500}, "route": "sales"}
ELSE_CSM = {"route": "csm"}
RULES: list[dict[str, Any]] = [SELF_SERVE_IF_SMALL_AND_CHEAP, SALES_IF_DEAR, ELSE_CSM]


@pytest.mark.parametrize(
    ("segment", "minor", "route"),
    [
        ("small", 499, Route.SELF_SERVE),
        ("small", 500, Route.SALES),
        ("mid_market", 499, Route.CSM),
        ("mid_market", 500, Route.SALES),
        # An unknown amount fits no bound, neither the upper nor the lower.
        ("small", None, Route.CSM),
        ("", 0, Route.CSM),
    ],
)
def test_the_first_route_that_fits_is_taken(segment: str, minor: int | None, route: Route) -> None:
    assert choose_route(RULES, RouteFacts(segment), minor).route == route


@pytest.mark.parametrize("ceiling", list(Route))
@pytest.mark.parametrize("chosen", list(Route))
def test_a_ceiling_lowers_a_route_and_never_lifts_one(chosen: Route, ceiling: Route) -> None:
    route = choose_route([{"route": chosen.value}], RouteFacts(), 1, ceiling.value).route
    assert route == (ceiling if ceiling.weight < chosen.weight else chosen)
    assert choose_route([{"route": chosen.value}], RouteFacts(), 1).route == chosen


def test_only_people_s_routes_count_toward_their_load() -> None:
    assert [route for route in Route if route.counts_toward_load] == [Route.CSM, Route.SALES]
    assert sorted(Route, key=lambda route: route.weight) == [Route.SELF_SERVE, Route.EMAIL, Route.CSM, Route.SALES]
