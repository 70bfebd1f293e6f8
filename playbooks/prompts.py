"""The prompts due at an account: what the product shows to customers who are to help themselves.

A prompt is the face of an open play on the route self-serve. Its texts stand in the version of the playbook that opened
the play; what was shown, dismissed, started and done comes back as signals that name it in their property `prompt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db.models import Max, Q, QuerySet, TextField, Value
from django.db.models.functions import Coalesce

from csplaybooks.accounts.models import Entitlement, Motion
from csplaybooks.playbooks.guards import DISMISSED_TYPE, Dismissed
from csplaybooks.playbooks.measures.properties import PropertyText
from csplaybooks.playbooks.models import Play, Route, State
from csplaybooks.playbooks.prompt_texts import fill_in_link
from csplaybooks.signals.models import Signal

#: What the product sends when somebody has bought by a prompt.
DONE_TYPE = "upgrade_done"

#: The property of a signal that says which prompt it is about.
PROPERTY = "prompt"

#: What can become of a prompt, and the type of the signal that tells it.
ANSWERS: Mapping[str, str] = MappingProxyType(
    {"shown": "prompt_shown", "dismissed": DISMISSED_TYPE, "started": "upgrade_started", "done": DONE_TYPE}
)


@dataclass(frozen=True)
class Prompt:
    """A prompt that is due. `id` is for good that of its play's prompt; `since` is when the play opened."""

    id: str
    play: Play
    title: str
    gain: str
    action: str
    link: str
    dismissible: bool

    @property
    def since(self) -> datetime:
        """Since when there is something to prompt for."""
        return self.play.opened_at


def prompt_id(play_id: int) -> str:
    """The id of a play's prompt, by which signals name it."""
    return f"play-{play_id}"


def prompts_due(*, account_id: int, external_id: str, now: datetime, plays: QuerySet[Any]) -> list[Prompt]:
    """The prompts due at an account at `now`, the oldest first; at most one for each motion.

    `plays` are those that the asker may see, `external_id` is the account's id in links. Due is the prompt of an open
    self-serve play that is being worked (not paused, not on offer), has not run out, and whose version has a prompt;
    unless it was dismissed in the days of the guard `dismissed` (7 where the playbook has that off: who waved a prompt
    away is left in peace), or somebody is done with it. A signal that names no prompt is about all that stood at the
    account: nobody is asked again for what they may have refused or bought just now.

    Three queries, one where no such play is open.
    """
    standing = [play for play in _standing(plays, account_id, now) if "prompt" in play.recipe.document]
    if not standing:
        return []
    dismissed, done = _answers(standing, account_id, now)
    due = [
        play
        for play in standing
        if not _among(play, done, after=play.opened_at)
        and not _among(play, dismissed, after=now - timedelta(days=_peace_days(play)))
    ]
    held = _held(account_id, now) if due else None
    return [_prompt(play, external_id, held) for play in due]


def _standing(plays: QuerySet[Any], account_id: int, now: datetime) -> Iterable[Play]:
    """Plays that could be prompted for, with their texts."""
    rows: QuerySet[Any] = (
        plays.open()  # type: ignore[attr-defined]  # a PlayQuerySet
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), account=account_id)
        .filter(route=Route.SELF_SERVE, state=State.WORKING, opened_at__lte=now)
        .select_related("playbook", "recipe", "product")
        .defer("playbook__draft", "recipe__source", "evidence", "amount_working")
        .order_by("opened_at", "pk")
    )
    return rows


def _peace_days(play: Play) -> int:
    """For how many days a dismissed prompt is not due."""
    settings = play.recipe.document["guards"].get(Dismissed.key, "off")
    return int((Dismissed.defaults if settings == "off" else settings)["days"])


#: When signals last came, by the prompt that they name ("": none).
_Last = Mapping[str, datetime]


def _answers(plays: Sequence[Play], account_id: int, now: datetime) -> tuple[_Last, _Last]:
    """When the account last dismissed, and was last done with, each prompt of these plays; one query."""
    quiet = now - timedelta(days=max(map(_peace_days, plays)))
    opened = min(play.opened_at for play in plays)
    rows = (
        Signal.objects.effective_at(None)
        .filter(account=account_id, type__key__in=[DISMISSED_TYPE, DONE_TYPE])
        .filter(
            Q(type__key=DISMISSED_TYPE, occurred_at__gt=quiet) | Q(type__key=DONE_TYPE, occurred_at__gt=opened),
            # Both bounds stand above as well; this one serves the index, whatever the database makes of an OR.
            occurred_at__gt=min(quiet, opened),
            occurred_at__lte=now,
        )
        .annotate(named=Coalesce(PropertyText(PROPERTY), Value(""), output_field=TextField()))
        .filter(named__in=["", *(prompt_id(play.pk) for play in plays)])
        .order_by()
        .values("type__key", "named")
        .annotate(last=Max("occurred_at"))
    )
    found: dict[str, dict[str, datetime]] = {DISMISSED_TYPE: {}, DONE_TYPE: {}}
    for row in rows:
        found[row["type__key"]][row["named"]] = row["last"]
    return found[DISMISSED_TYPE], found[DONE_TYPE]


def _among(play: Play, last: _Last, *, after: datetime) -> bool:
    """Whether a signal after this moment is about the play's prompt."""
    return any((at := last.get(name)) is not None and at > after for name in ("", prompt_id(play.pk)))


def _held(account_id: int, now: datetime) -> Entitlement | None:
    """What the account holds of the base product: the first line with a plan; one query."""
    holding: QuerySet[Entitlement] = Entitlement.objects.holding_at(now).filter(account=account_id, plan__isnull=False)
    return holding.select_related("product", "plan__next_plan").order_by("pk").first()


def _prompt(play: Play, external_id: str, held: Entitlement | None) -> Prompt:
    texts: dict[str, Any] = play.recipe.document["prompt"]
    plan = None if held is None else held.plan
    if plan is not None and play.motion == Motion.TIER_UPSELL:
        plan = plan.next_plan
    product = play.product if play.product is not None or held is None else held.product
    values = {
        "account": external_id,
        "play": str(play.pk),
        "product": "" if product is None else product.key,
        "plan": "" if plan is None else plan.key,
    }
    return Prompt(
        id=prompt_id(play.pk),
        play=play,
        title=texts["title"],
        gain=texts["gain"],
        action=texts["action"],
        link=fill_in_link(texts["link"], values),
        dismissible=texts["dismissible"],
    )


def answer_bodies(
    prompt: Prompt, *, account: str, account_source: str | None, user: str | None
) -> dict[str, dict[str, Any]]:
    """What to send to the intake of signals when something becomes of a prompt, by what; without what only the sender
    knows: `source`, `external_id` and `occurred_at`.

    `user` is who sees it, and goes along as the signal's actor. One that cannot be dismissed has no body for that.
    """
    known = {"account": account, "account_source": account_source, "actor": user}
    told = {name: value for name, value in known.items() if value is not None}
    return {
        what: {**told, "type": key, "properties": {PROPERTY: prompt.id}}
        for what, key in ANSWERS.items()
        if prompt.dismissible or what != "dismissed"
    }
