"""Where the live mode can tell which story: customers at which nothing stands in the way of a play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from django.db.models import Count

from csplaybooks.accounts.models import (
    AccountFacts,
    AccountIdentity,
    Entitlement,
    Finding,
    FindingState,
    Lifecycle,
    Motion,
)
from csplaybooks.playbooks.demo.customers import SAMPLE_ID
from csplaybooks.playbooks.demo.live import Cast, stories
from csplaybooks.playbooks.demo.vendor import FEATURES, PLANS
from csplaybooks.playbooks.models import Match, Play, Touch
from csplaybooks.signals.models import Reading, Signal

#: What the starter library asks for: see its playbooks.
_HEALTHY, _ACTIVATED_DAYS, _COOLDOWN_DAYS, _USE = 62, 30, 60, 0.7
_DISMISSED_DAYS, _CONTACT_DAYS, _MOST_CONTACTS, _MOST_PLAYS = 7, 7, 2, 2

#: What fits into a variable of the environment.
_MOST_ACCOUNTS, _MOST_STORIES = 400, 80


@dataclass(frozen=True)
class _Known:
    """One customer, as the database tells it; used and limit by meter, in whole units."""

    external_id: str
    name: str
    plan: str
    levels: Mapping[str, tuple[float, float]]
    #: The motions of which nothing is open, waits or cools down.
    free: frozenset[str]

    def share(self, meter: str) -> float:
        used, limit = self.levels.get(meter, (0, 0))
        return used / limit if limit else 0.0


def make_live_cast(*, now: datetime, seed: int, address: str, token: str) -> Cast:
    """The cast for a site at `address`, the root of its API; a constant number of queries."""
    random = Random(seed)  # noqa: S311 - made-up people need no secrecy
    everybody, ready = _look(now)
    random.shuffle(ready)
    told: dict[str, list[Mapping[str, Any]]] = {
        "gate": [],
        "seats": [],
        "team": [],
        "invite": [],
        "cap": [],
        "over": [],
    }
    for known in ready:
        if Motion.TIER_UPSELL in known.free and known.plan != PLANS[-1][0]:
            told["gate"] += _gate(random, known)
        if Motion.SEAT_EXPANSION in known.free:
            told["seats"] += _seats(known)
            told["team"] += _team(random, known)
            told["invite"] += _invite(random, known)
            told["over"] += _over(known)
        if Motion.USAGE_GROWTH in known.free:
            told["cap"] += _cap(known)
    return Cast(
        address=address,
        token=token,
        seed=seed,
        accounts=everybody[:_MOST_ACCOUNTS],
        stories=list(islice(stories(random, told), _MOST_STORIES)),
    )


def _look(now: datetime) -> tuple[list[str], list[_Known]]:
    """The external ids of all who pay, and those with whom a play may begin, both without the sample account."""
    facts = AccountFacts.objects.current().filter(lifecycle=Lifecycle.PAYING)
    activated = dict(facts.values_list("account", "activated_on"))
    names = {
        account_id: (external_id, name)
        for account_id, external_id, name in AccountIdentity.objects.filter(source="crm", account__in=activated)
        .exclude(external_id=SAMPLE_ID)
        .order_by("external_id")
        .values_list("account", "external_id", "account__name")
    }
    plans = dict(
        Entitlement.objects.current().filter(plan__isnull=False, account__in=names).values_list("account", "plan__key")
    )
    levels = _levels(now)
    since = (now - timedelta(days=_ACTIVATED_DAYS + 1)).date()
    barred = _barred(now)
    busy = _busy(now)
    ready = [
        _Known(
            external_id=external_id,
            name=name,
            plan=plans[pk],
            levels=levels[pk],
            free=frozenset(motion.value for motion in Motion if (pk, motion.value) not in busy),
        )
        for pk, (external_id, name) in names.items()
        if pk in plans
        and pk not in barred
        and (day := activated[pk]) is not None
        and day <= since
        and levels.get(pk, {}).get("health", (0, 0))[0] >= _HEALTHY
    ]
    return [external_id for external_id, _ in names.values()], ready


def _levels(now: datetime) -> dict[int, dict[str, tuple[float, float]]]:
    """The latest readings of five weeks, by account and meter."""
    rows = Reading.objects.filter(occurred_at__gt=now - timedelta(days=35), is_void=False)
    levels: dict[int, dict[str, tuple[float, float]]] = {}
    for account_id, meter, used, limit in rows.order_by("occurred_at", "pk").values_list(
        "account", "meter__key", "used_milli", "limit_milli"
    ):
        levels.setdefault(account_id, {})[meter] = (used / 1000, (limit or 0) / 1000)
    return levels


def _barred(now: datetime) -> set[int]:
    """Accounts at which a guard would hold whatever matched: a risk, a dismissal, too many contacts or plays."""
    risks = FindingState.objects.current().filter(finding__kind=Finding.Kind.RISK, status=FindingState.Status.OPEN)
    dismissed = Signal.objects.filter(
        type__key="prompt_dismissed", occurred_at__gt=now - timedelta(days=_DISMISSED_DAYS + 1)
    )
    contacts = Touch.objects.filter(at__gt=now - timedelta(days=_CONTACT_DAYS), direction=Touch.Direction.OUT)
    plays = Play.objects.open()
    return {
        *risks.values_list("finding__account", flat=True),
        *dismissed.values_list("account", flat=True),
        *_more_than(contacts, _MOST_CONTACTS),
        *_more_than(plays, _MOST_PLAYS),
    }


def _more_than(rows: Any, most: int) -> list[int]:
    counted = rows.order_by().values("account").annotate(n=Count("pk")).filter(n__gt=most)
    return list(counted.values_list("account", flat=True))


def _busy(now: datetime) -> set[tuple[int, str]]:
    """Accounts and motions of which something is open, or was not long ago."""
    lately = now - timedelta(days=_COOLDOWN_DAYS + 1)
    return {
        *Play.objects.open().values_list("account", "motion"),
        *Play.objects.filter(closed_at__gt=lately).values_list("account", "motion"),
        *Match.objects.episode_open().values_list("account", "trigger__playbook__motion"),
        *Match.objects.filter(fired_at__gt=lately).values_list("account", "trigger__playbook__motion"),
    }


def _story(known: _Known, line: str, *posts: tuple[str, list[dict[str, Any]]]) -> Mapping[str, Any]:
    return {
        "account": known.external_id,
        "line": line,
        "posts": [{"endpoint": endpoint, "items": items} for endpoint, items in posts],
    }


def _gate(random: Random, known: _Known) -> list[Mapping[str, Any]]:
    if max(known.share(meter) for meter in ("seats", "api_calls", "storage")) <= _USE:
        return []
    place = [key for key, *_ in PLANS].index(known.plan)
    feature = random.choice([(key, name) for key, name, least, _ in FEATURES if least > place])
    hits = [
        {"type": "feature_gate_hit", "actor": f"u-{random.randint(1, 20)}", "properties": {"feature": feature[0]}}
        for _ in range(3)
    ]
    line = f"{known.name} knocks on {feature[1]} three times, which its plan does not have: Gate knocker."
    return [_story(known, line, *(("signals", [hit]) for hit in hits))]


def _seats(known: _Known) -> list[Mapping[str, Any]]:
    _, limit = known.levels.get("seats", (0, 0))
    if not 0.5 < known.share("seats") <= 0.8:
        return []
    level = {"meter": "seats", "used": limit, "limit": limit}
    line = f"{known.name} reaches its seat limit of {limit:g}: Seats nearly full."
    return [_story(known, line, ("readings", [level]))]


def _invite(random: Random, known: _Known) -> list[Mapping[str, Any]]:
    if not 0.3 < known.share("seats") <= 0.8:
        return []
    item = {"type": "invite_refused", "actor": f"u-{random.randint(1, 20)}"}
    line = f"Somebody at {known.name} invites a colleague, and there is no seat left: Invite at the limit."
    return [_story(known, line, ("signals", [item]))]


def _team(random: Random, known: _Known) -> list[Mapping[str, Any]]:
    if not 0.3 < known.share("seats") <= 0.75:
        return []
    added = random.randint(3, 5)
    item = {"type": "user_added", "actor": "u-1", "properties": {"by": "admin"}}
    line = f"An admin at {known.name} adds {added} people: Growing team."
    return [_story(known, line, ("signals", [item] * added))]


def _over(known: _Known) -> list[Mapping[str, Any]]:
    _, limit = known.levels.get("active_users", (0, 0))
    if limit < 20 or not 0.6 < known.share("active_users") <= 0.8:
        return []
    used = limit + 5 + round(limit / 20)
    line = f"{known.name} has {used:g} active people on {limit:g} seats: Over the licence."
    return [_story(known, line, ("readings", [{"meter": "active_users", "used": used, "limit": limit}]))]


def _cap(known: _Known) -> list[Mapping[str, Any]]:
    _, limit = known.levels.get("api_calls", (0, 0))
    # From further down it would be a take-off.
    if not 0.72 < known.share("api_calls") < 0.8:
        return []
    line = f"{known.name} has used up its API calls of the month: Near the cap."
    return [_story(known, line, ("readings", [{"meter": "api_calls", "used": limit, "limit": limit}]))]
