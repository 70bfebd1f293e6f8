"""The vendor's own side of the sample company: the team, and what it sells. Single things, from the factories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from csplaybooks.accounts.acts import NewPlanLimit, set_plan_limits
from csplaybooks.accounts.factories import (
    AbsenceFactory,
    FeatureFactory,
    PlanFactory,
    ProductFactory,
    TeamMemberFactory,
    UserFactory,
)

#: The people who can sign in, by what they do.
SIGN_INS = {"csm": "carla", "ae": "andre", "manager": "mona"}

_CSMS = ("Carla Mendes", "Callum Reid", "Chidi Eze", "Clara Vogel", "Cosmin Popa", "Cybele Laurent")
#: Whoever left during the story, and handed the accounts over.
_LEFT = "Cedric Baum"
#: Who works in a zone of their own, whichever calendar counts.
_ZONES = {"Cosmin Popa": "Europe/Bucharest"}
_AES = ("Andre Dubois", "Anika Rao", "Aldo Ferri")
_MANAGER = "Mona Lindqvist"
#: The names of all sign-ins of the team; the people who are not in `SIGN_INS` have no password.
USERNAMES = tuple(name.split()[0].lower() for name in (*_CSMS, _LEFT, *_AES, _MANAGER))

#: Key, name, monthly base price, monthly price of a seat, API calls a month and GB of storage included.
PLANS: tuple[tuple[str, str, int, int, int, int], ...] = (
    ("starter", "Starter", 9_900, 1_500, 20_000, 50),
    ("team", "Team", 49_000, 2_500, 100_000, 250),
    ("business", "Business", 149_000, 3_500, 500_000, 1_000),
    ("enterprise", "Enterprise", 399_000, 4_500, 2_000_000, 5_000),
)
_PRODUCTS = (("analytics", "Analytics", 50_000), ("automation", "Automation", 75_000), ("vault", "Vault", 90_000))
#: Key, name, the place of the least plan that has it, and its area.
FEATURES = (
    ("boards", "Boards", 0, "work"),
    ("dashboards", "Dashboards", 0, "reporting"),
    ("exports", "Exports", 0, "reporting"),
    ("forms", "Forms", 0, "work"),
    ("mobile", "Mobile", 0, "work"),
    ("search", "Search", 0, "work"),
    ("approvals", "Approvals", 1, "collaboration"),
    ("guest-access", "Guest access", 1, "collaboration"),
    ("shared-calendars", "Shared calendars", 1, "collaboration"),
    ("templates", "Templates", 1, "collaboration"),
    ("single-sign-on", "Single sign-on", 2, "administration"),
    ("audit-log", "Audit log", 2, "administration"),
    ("custom-roles", "Custom roles", 2, "administration"),
    ("portfolios", "Portfolios", 2, "planning"),
    ("data-residency", "Data residency", 3, "administration"),
    ("own-keys", "Keys of their own", 3, "administration"),
    ("sandbox", "Sandbox", 3, "administration"),
    ("scenarios", "Scenarios", 3, "planning"),
)


@dataclass(frozen=True)
class Vendor:
    """Who sells, and what: rows by role and in the order of their rank."""

    manager: Any
    csms: tuple[Any, ...]
    #: A CSM who is there at the start and leaves later.
    leaver: Any
    aes: tuple[Any, ...]
    desk: Any
    base: Any
    plans: tuple[Any, ...]
    products: tuple[Any, ...]
    #: For each plan, the keys of the features it does not have.
    gated: tuple[tuple[str, ...], ...]


#: The most plays that somebody works on at a time: they are nearly full, and what comes then waits for room.
_CSM_CAP = 8
_AE_CAP = 4


def make_vendor(*, start: datetime, now: datetime) -> Vendor:
    """Make the team and the catalogue as they stand from `start` on.

    In summer most are away for two weeks, and one CSM is away in the week around `now`.
    """
    manager = _member(_MANAGER, start, leads=True)
    csms = tuple(_member(name, start, manager=manager, zone=_ZONES.get(name, "")) for name in _CSMS)
    leaver = _member(_LEFT, start, manager=manager)
    aes = tuple(_member(name, start, manager=manager, ae=True) for name in _AES)
    desk = TeamMemberFactory(name="Digital desk", desk=True, manager=manager, updated_at=start)
    for place, member in enumerate((*csms, *aes)):
        stand_in = csms[place - 1] if place < len(csms) else aes[place - len(csms) - 1]
        for year in range(start.year, now.year + 1):
            first = date(year, 7, 6) + timedelta(days=5 * place)
            if start.date() < first < now.date() - timedelta(days=30):
                _away(member, stand_in, first, 12, start)
    _away(csms[-1], csms[-2], now.date() - timedelta(days=3), 8, start)
    base = ProductFactory(base=True, updated_at=start)
    plans: list[Any] = []
    for rank, (key, name, price, seat_price, _, _) in enumerate(PLANS, start=1):
        plan = PlanFactory(
            product=base,
            key=key,
            name=name,
            rank=rank,
            price_minor=price,
            seat_price_minor=seat_price,
            updated_at=start,
        )
        if plans:
            plans[-1].next_plan = plan
            plans[-1].save(update_fields=["next_plan"])
        plans.append(plan)
    for key, name, least, area in FEATURES:
        FeatureFactory(key=key, name=name, least_plan=plans[least], area=area, updated_at=start)
    limits = []
    for plan, (*_, api_calls, storage) in zip(plans, PLANS, strict=True):
        limits.append(NewPlanLimit(plan_id=plan.pk, meter_key="api_calls", limit_milli=api_calls * 1000))
        limits.append(NewPlanLimit(plan_id=plan.pk, meter_key="storage", limit_milli=storage * 1000))
    set_plan_limits(items=limits, effective_at=start, now=start, actor=None)
    return Vendor(
        manager=manager,
        csms=csms,
        leaver=leaver,
        aes=aes,
        desk=desk,
        base=base,
        plans=tuple(plans),
        products=tuple(
            ProductFactory(key=key, name=name, list_price_minor=price, updated_at=start)
            for key, name, price in _PRODUCTS
        ),
        gated=tuple(tuple(key for key, _, least, _ in FEATURES if least > place) for place in range(len(PLANS))),
    )


def _away(member: Any, stand_in: Any, first: date, days: int, start: datetime) -> None:
    last = first + timedelta(days=days - 1)
    AbsenceFactory(member=member, stand_in=stand_in, first_day=first, last_day=last, updated_at=start)


def _member(name: str, start: datetime, **traits: Any) -> Any:
    """A member with a user, so that the timeline can name who acted; nobody can sign in before a password is set."""
    first, last = name.split()
    user = UserFactory(username=first.lower(), first_name=first, last_name=last, password=None)
    cap = _AE_CAP if "ae" in traits else _CSM_CAP
    return TeamMemberFactory(name=name, user=user, open_play_cap=cap, updated_at=start, **traits)
