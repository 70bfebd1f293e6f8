"""How the people of the sample company work their plays, told by the acts of the room `playbooks`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import cycle
from random import Random
from typing import Any

from csplaybooks.accounts.acts import set_finding_status
from csplaybooks.accounts.models import Finding, FindingState, Motion
from csplaybooks.playbooks.acts.plays import close_plays, log_touch, open_play_by_hand, pause_plays, start_plays
from csplaybooks.playbooks.demo.customers import WEEK, Customer
from csplaybooks.playbooks.demo.relations import Relations
from csplaybooks.playbooks.demo.vendor import PLANS, Vendor
from csplaybooks.playbooks.models import Outcome, Play, Playbook, Route, Stage, State, Touch

_CHANNELS = {
    Route.SELF_SERVE: Touch.Channel.PROMPT,
    Route.EMAIL: Touch.Channel.EMAIL,
    Route.CSM: Touch.Channel.CALL,
    Route.SALES: Touch.Channel.MEETING,
}
_NOTES = ("", "", "Asked what they are after.", "Sent the numbers.", "They want to talk it over.")
_LOST = ("No budget this year", "They found another way", "The sponsor left")
_DECLINED = ("Not the right time", "They just signed", "Merger ahead: ask again in summer")
_WAITING = ("Waits for their budget round", "Their contact is on holiday", "Legal reads the terms")
_BY_HAND = ("Their CFO asked me at the fair", "Said so on the phone last week", "Their new site opens in spring")

#: How likely somebody who has the time is to take a play up on a given working day; people differ.
_DILIGENCE = (0.95, 0.85, 0.7, 0.5)
#: Plays come to their end after so many days at the soonest, and then with these chances a week.
_SOONEST_END = timedelta(days=5)
_WON, _LOSS, _DECLINE = 0.09, 0.04, 0.02


class Work:
    """The days of the team: plays are taken up, waited for, won and lost."""

    def __init__(self, random: Random, vendor: Vendor, relations: Relations, customers: Sequence[Customer]) -> None:
        self._random = random
        self._relations = relations
        self._customers = customers
        people = (*vendor.csms, *vendor.aes, vendor.manager)
        self._diligence: dict[int, float] = dict(zip((person.pk for person in people), cycle(_DILIGENCE), strict=False))
        self._weeks = 1.0
        self._last: datetime | None = None

    def do(self, at: datetime) -> None:
        """One working day, at `at`."""
        self._weeks = (at - self._last) / WEEK if self._last else 1.0
        self._last = at
        open_plays = list(
            Play.objects.filter(stage__in=[Stage.OWNED, Stage.RUNNING], state=State.WORKING)
            .select_related("owner__user", "product")
            .order_by("pk")
        )
        self._touch([play for play in open_plays if self._is_taken_up(play)], at)
        running = [play for play in open_plays if play.stage == Stage.RUNNING]
        ends: dict[tuple[str, str, int], list[Play]] = {}
        for play in running:
            if (end := self._end_of(play, at)) is not None:
                ends.setdefault((*end, play.owner_id or 0), []).append(play)
        for (outcome, reason, _), plays in ends.items():
            close_plays(play_ids=_ids(plays), outcome=outcome, reason=reason, now=at, actor=_user_of(plays[0]))
        won = [play for (outcome, *_), plays in ends.items() if outcome == Outcome.WON for play in plays]
        self._book(won, at)
        ended = {play.pk for plays in ends.values() for play in plays}
        for play in running:
            if play.pk not in ended and self._random.random() < 0.07 * self._weeks:
                pause_plays(
                    play_ids=[play.pk],
                    reason=self._random.choice(_WAITING),
                    wakes_at=at + timedelta(days=self._random.randint(4, 20)),
                    now=at,
                    actor=_user_of(play),
                )

    def open_one_by_hand(self, playbook_key: str, at: datetime) -> None:
        """Somebody knows more than the product does, and opens a play of this playbook at one of their accounts."""
        playbook = Playbook.objects.get(key=playbook_key)
        taken = set(Play.objects.open().filter(motion=playbook.motion).values_list("account", flat=True))
        free = [
            customer
            for customer in self._customers
            if customer.csm and customer.is_live and not customer.is_sample and customer.account_id not in taken
        ]
        if free:
            customer = self._random.choice(free)
            open_play_by_hand(
                account_id=customer.account_id,
                playbook_id=playbook.pk,
                reason=self._random.choice(_BY_HAND),
                now=at,
                actor=customer.csm.user,
            )

    def _is_taken_up(self, play: Play) -> bool:
        if play.stage == Stage.RUNNING:
            return self._random.random() < 0.15 * self._weeks
        if play.owner is None or play.owner.user is None:
            return self._random.random() < 0.95
        return self._random.random() < self._diligence[play.owner.pk]

    def _touch(self, plays: Sequence[Play], at: datetime) -> None:
        groups: dict[tuple[str, int], list[Play]] = {}
        for play in plays:
            groups.setdefault((_CHANNELS[Route(play.route)].value, play.owner_id or 0), []).append(play)
        for (channel, _), group in groups.items():
            if self._random.random() < 0.1:
                start_plays(play_ids=[p.pk for p in group if p.stage == Stage.OWNED], now=at, actor=_user_of(group[0]))
                continue
            person = group[0].owner if channel != Touch.Channel.PROMPT else None
            log_touch(
                play_ids=_ids(group),
                channel=channel,
                by_member_id=None if person is None or person.user is None else person.pk,
                note=self._random.choice(_NOTES) if person is not None else "",
                now=at,
                actor=_user_of(group[0]),
            )

    def _end_of(self, play: Play, at: datetime) -> tuple[str, str] | None:
        if at - play.opened_at < _SOONEST_END:
            return None
        lot = self._random.random() / self._weeks
        if lot < _WON:
            return Outcome.WON.value, ""
        if lot < _WON + _LOSS:
            return Outcome.LOST.value, self._random.choice(_LOST)
        if lot < _WON + _LOSS + _DECLINE:
            return Outcome.DECLINED.value, self._random.choice(_DECLINED)
        return None

    def _book(self, won: Sequence[Play], at: datetime) -> None:
        """What was won is held from now on, and the limits of the next readings are the new ones."""
        by_account = {customer.account_id: customer for customer in self._customers}
        buyers = []
        for play in won:
            customer = by_account[play.account_id]
            if customer.is_live:
                _grow(customer, play)
                buyers.append(customer)
        self._relations.sell(list({customer.account_id: customer for customer in buyers}.values()), at)
        filled = [(play.account_id, play.product_id) for play in won if play.product_id is not None]
        gaps = Finding.objects.filter(kind=Finding.Kind.GAP, account__in=[account for account, _ in filled]).order_by(
            "pk"
        )
        set_finding_status(
            finding_ids=[gap.pk for gap in gaps if (gap.account_id, gap.product_id) in filled],
            status=FindingState.Status.SETTLED,
            effective_at=at,
            now=at,
            actor=None,
        )


def _grow(customer: Customer, play: Play) -> None:
    if play.motion == Motion.SEAT_EXPANSION:
        customer.seats = round(max(customer.people, customer.seats) * 1.3) + 1
    elif play.motion == Motion.TIER_UPSELL and customer.plan + 1 < len(PLANS):
        *_, api_calls, storage = PLANS[customer.plan]
        *_, more_api_calls, more_storage = PLANS[customer.plan + 1]
        customer.api_share *= api_calls / more_api_calls
        customer.storage_share *= storage / more_storage
        customer.plan += 1
    elif play.motion == Motion.USAGE_GROWTH:
        customer.blocks *= 2
        customer.api_share /= 2
        customer.storage_share /= 2
        customer.extra_minor += play.expected_amount_minor or 0
    elif play.motion == Motion.CROSS_SELL and play.product is not None and play.product.key not in customer.products:
        customer.products.append(play.product.key)


def _ids(plays: Sequence[Play]) -> list[int]:
    return [play.pk for play in plays]


def _user_of(play: Play) -> Any:
    return play.owner.user if play.owner else None
