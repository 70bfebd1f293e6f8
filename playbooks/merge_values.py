"""What the merge fields of mails stand for, for many plays at once.

It goes to a customer: nothing of health, readiness, findings, people or money is in it, and of what was found only
what is about their own use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Champion, Entitlement, Feature
from csplaybooks.playbooks.mail_texts import Letter
from csplaybooks.playbooks.measures.base import from_milli, in_days, number
from csplaybooks.playbooks.models import Play
from csplaybooks.signals.models import Reading

#: The meter that counts seats.
SEATS = "seats"

#: Meters that say what we think of a customer, or what they think of us.
_OURS = frozenset({"health", "nps"})

#: The most lines of what was found, and the most names in one of them.
MOST_LINES = 5
MOST_NAMES = 5


def letters_for(plays: Sequence[Play], to: Mapping[int, Champion], now: datetime) -> dict[int, Letter]:
    """What the fields stand for on each play, by its id; a constant number of queries.

    `plays` have their account, owner and product at hand; `to` says whom a play's mail goes to.
    """
    accounts = sorted({play.account_id for play in plays})
    held = _held(accounts, now)
    seats = _seats(accounts, now)
    features = _features(plays)
    letters = {}
    for play in plays:
        person, own, use = to.get(play.pk), held.get(play.account_id), seats.get(play.account_id)
        plan = None if own is None else own.plan
        product = play.product or (None if own is None else own.product)
        letters[play.pk] = Letter(
            account=play.account.name,
            champion_name="" if person is None else person.name,
            champion_first_name="" if person is None else first_name(person.name),
            champion_title="" if person is None else person.title,
            owner_name="" if play.owner is None else play.owner.name,
            owner_email=address_of(play.owner),
            product="" if product is None else product.name,
            plan="" if plan is None else plan.name,
            next_plan="" if plan is None or plan.next_plan is None else plan.next_plan.name,
            seats_used="" if use is None else number(from_milli(use[0])),
            seats_limit="" if use is None or not use[1] else number(from_milli(use[1])),
            found="\n".join(f"- {line}" for line in lines_found(play.evidence, features)),
        )
    return letters


def first_name(name: str) -> str:
    """The first word of a name that is no title: `Dr. Ada Lovelace` is Ada."""
    words = [word for word in name.split() if not word.endswith(".")]
    return words[0] if words else ""


def address_of(member: Any) -> str:
    """The e-mail address of a member of the team: their own, or else that of their sign-in."""
    if member is None:
        return ""
    return str(member.email or getattr(member.user, "email", "") or "")


def _held(accounts: Sequence[int], now: datetime) -> dict[int, Entitlement]:
    """What each account holds of the base product: the first line with a plan; one query."""
    rows = Entitlement.objects.holding_at(now).filter(account__in=Ids(accounts), plan__isnull=False)
    held: dict[int, Entitlement] = {}
    for row in rows.select_related("product", "plan__next_plan").order_by("pk"):
        held.setdefault(row.account_id, row)
    return held


def _seats(accounts: Sequence[int], now: datetime) -> dict[int, tuple[int, int | None]]:
    """The last reading of seats of each account: how many are used, of how many; one query."""
    rows = (
        Reading.objects.effective_at(None)
        .filter(account__in=Ids(accounts), meter__key=SEATS, occurred_at__lte=now)
        .order_by("account", "-occurred_at", "-pk")
        .values_list("account", "used_milli", "limit_milli", "occurred_at")
    )
    last: dict[int, tuple[int, int | None]] = {}
    for account, used, limit, _ in rows.iterator(chunk_size=2000):
        last.setdefault(account, (used, limit))
    return last


def _features(plays: Iterable[Play]) -> dict[str, str]:
    """The names of the features that the evidence of plays names, by key; one query where there are any."""
    named = {key for play in plays for item in play.evidence for key in _keys(item.get("found", {}))}
    if not named:
        return {}
    return dict(Feature.objects.filter(key__in=named).order_by().values_list("key", "name"))


def _keys(found: Mapping[str, Any]) -> list[str]:
    told = found.get("next_tier")
    keys = told.get("features") if isinstance(told, Mapping) else found.get("features")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def lines_found(evidence: Iterable[Mapping[str, Any]], features: Mapping[str, str]) -> list[str]:
    """What was found of a customer's own use, in words for them; of anything else nothing."""
    lines: list[str] = []
    for item in evidence:
        say = _LINES.get(item.get("measure", ""))
        if say is not None:
            lines += say(item.get("settings") or {}, item.get("found") or {}, features)
    return list(dict.fromkeys(lines))[:MOST_LINES]


_Say = Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, str]], list[str]]


def _use(settings: Mapping[str, Any], found: Mapping[str, Any], features: Mapping[str, str]) -> list[str]:
    """`18 of 20 seats in use`, for each meter of which there was a reading with a limit."""
    lines = []
    for index, meter in enumerate(settings.get("meters", ())):
        used, limit = found.get(f"used{index}"), found.get(f"limit{index}")
        if meter not in _OURS and isinstance(used, int) and isinstance(limit, int) and limit > 0:
            what = meter.replace("_", " ")
            lines.append(f"{number(from_milli(used))} of {number(from_milli(limit))} {what} in use")
    return lines


#: What is said of signals of a type, of which customers know that we see them.
_COUNTED: Mapping[str, str] = MappingProxyType(
    {
        "feature_gate_hit": "{count} tries of features beyond your plan in {span}",
        "user_added": "{count} people added in {span}",
        "invite_refused": "{count} invitations refused for want of a seat in {span}",
    }
)


def _count(settings: Mapping[str, Any], found: Mapping[str, Any], features: Mapping[str, str]) -> list[str]:
    text, count = _COUNTED.get(settings.get("signal_type", "")), found.get("count")
    if text is None or not isinstance(count, int) or "window_days" not in settings:
        return []
    return [text.format(count=count, span=in_days(settings["window_days"]))]


def _reached(settings: Mapping[str, Any], found: Mapping[str, Any], features: Mapping[str, str]) -> list[str]:
    names = [features.get(key, key.replace("_", " ")) for key in _keys(found)][:MOST_NAMES]
    return [f"features that you have reached for: {', '.join(names)}"] if names else []


_LINES: Mapping[str, _Say] = MappingProxyType(
    {
        "share_of_limit": _use,
        "amount_over_limit": _use,
        "signal_count": _count,
        "unheld_features": _reached,
        "next_tier_touched": _reached,
    }
)
