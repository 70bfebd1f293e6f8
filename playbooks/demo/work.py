"""How the people of the sample company work their plays, told by the acts of the room `playbooks`.

What is to become of a play is drawn when somebody first sees it. Then everybody has an hour after each run, and one
about a week later, in which they do what has come due: acts are on sets of plays, so an hour costs a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle
from random import Random
from typing import Any

from csplaybooks.accounts.acts.members import change_member
from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks.acts.handoffs import take_back_plays
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    open_play_by_hand,
    pause_plays,
    start_plays,
)
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.books import Books
from csplaybooks.playbooks.demo.customers import Customer
from csplaybooks.playbooks.demo.market import grow
from csplaybooks.playbooks.demo.offers import Offers
from csplaybooks.playbooks.demo.reviews import Reviews
from csplaybooks.playbooks.demo.seasons import DAY, appetite, at_work, is_working_day
from csplaybooks.playbooks.demo.vendor import Vendor
from csplaybooks.playbooks.models import Outcome, Play, Playbook, Route, State, Touch

_CHANNELS = {
    Route.SELF_SERVE: Touch.Channel.PROMPT,
    Route.EMAIL: Touch.Channel.EMAIL,
    Route.CSM: Touch.Channel.CALL,
    Route.SALES: Touch.Channel.MEETING,
}
_NOTES = ("", "", "Asked what they are after.", "Sent the numbers.", "They want to talk it over.")
_REPLIES = ("Want a quote for the next step.", "Ask for a call next week.", "Say it has to wait for the budget.")
_LOST = (
    *("No budget this year", "They found another way", "The sponsor left", "Went with a competitor"),
    *("Price: they wanted half", "No answer after three tries"),
)
_DECLINED = (
    *("Not the right time", "They just signed", "Merger ahead: ask again in summer", "Hiring stopped"),
    "Happy with what they have",
)
_WAITING = (
    *("Waits for their budget round", "Their contact is on holiday", "Legal reads the terms"),
    "Their board decides next month",
)
_BY_HAND = (
    *("Their CFO asked me at the fair", "Said so on the phone last week", "Their new site opens in spring"),
    "They asked for a quote in a ticket",
)

#: How likely somebody takes a play up in the first hour they have; people differ.
_DILIGENCE = (0.97, 0.92, 0.85, 0.72)
#: How likely a play of a motion is won, and after how many days it ends, least and most.
_CHANCES = {
    Motion.SEAT_EXPANSION: (0.47, (6, 27)),
    Motion.TIER_UPSELL: (0.36, (18, 62)),
    Motion.USAGE_GROWTH: (0.42, (6, 36)),
    Motion.CROSS_SELL: (0.28, (20, 85)),
}
#: What becomes of the others, of a hundred; what nothing becomes of expires.
_OTHERWISE = {Outcome.LOST: 48, Outcome.DECLINED: 24, Outcome.EXPIRED: 28}
_PAUSED, _REPLIED, _TOUCHED_AGAIN = 0.18, 0.6, 0.18


@dataclass
class _Fate:
    """What is still to become of a play; moments at which it comes due, None when it does not or is done."""

    play: Play
    touched_at: datetime | None
    again_at: datetime | None
    ends_at: datetime | None
    outcome: Outcome
    paused_at: datetime | None
    replies: bool
    #: Somebody else was asked to take it: the owner waits for the answer.
    on_offer: bool = False


@dataclass
class _Desk:
    """One owner's work: their plays by id, until they end."""

    fates: dict[int, _Fate] = field(default_factory=dict)


class Work:
    """The days of the team: plays are taken up, waited for, won and lost."""

    def __init__(
        self,
        random: Random,
        vendor: Vendor,
        agenda: Agenda,
        books: Books,
        *,
        reviews: Reviews,
        customers: Sequence[Customer],
        then: Callable[[datetime], None],
    ) -> None:
        """`then` is what the cluster does after people have worked."""
        self._random = random
        self._vendor = vendor
        self._agenda = agenda
        self._books = books
        self._reviews = reviews
        self._customers = customers
        self._by_account: dict[int, Customer] = {}
        self._then = then
        people = (*vendor.csms, *vendor.aes, vendor.leaver, vendor.manager)
        self._diligence: dict[int, float] = dict(zip((person.pk for person in people), cycle(_DILIGENCE), strict=False))
        self._desks: dict[int, _Desk] = {}
        self._seen = 0
        self._offers = Offers(random, vendor, agenda, moved=self._moved)

    def plan(self, at: datetime, until: datetime) -> None:
        """Look at what a run at `at` has opened, and enter the hours of everybody until the next one."""
        self._by_account = {customer.account_id: customer for customer in self._customers}
        rows = Play.objects.open().filter(pk__gt=self._seen, owner__isnull=False)
        fresh = list(rows.select_related("owner__user", "holder__user", "product", "playbook").order_by("pk"))
        for play in fresh:
            self._seen = play.pk
            self._desks.setdefault(play.owner_id or 0, _Desk()).fates[play.pk] = self._draw(play, at)
        self._offers.plan(fresh, at)
        hours = [at + timedelta(hours=1)]
        if until - at > 4 * DAY:
            hours.append(at + (until - at) / 2)
        for place, hour in enumerate(hours):
            day = hour.date()
            for owner_id in self._desks:
                # The first hour lies between the run and the end of the day, so that what is promised for today holds.
                opens = 9 if place else hour.hour + 1
                self._agenda.add(at_work(self._random, day, opens=opens, closes=17), partial(self._sit_down, owner_id))
            self._agenda.add(at_work(self._random, day, opens=16.9, closes=17), self._then)

    def open_by_hand(self, at: datetime) -> None:
        """Somebody knows more than the product does, and opens a play at one of their accounts."""
        playbook = Playbook.objects.get(key=self._random.choice(("growing_team", "near_the_cap", "seats_nearly_full")))
        taken = set(Play.objects.open().filter(motion=playbook.motion).values_list("account", flat=True))
        free = [
            customer
            for customer in self._customers
            if customer.csm
            and customer.is_paying
            and not customer.is_sample
            and not customer.fades(at)
            and customer.occupancy > 0.6
            and customer.account_id not in taken
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

    def hand_over(self, at: datetime) -> None:
        """All plays of the leaver go to whoever follows them, and they leave."""
        leaver, successor, manager = self._vendor.leaver, self._vendor.csms[-1], self._vendor.manager
        rows = Play.objects.open().filter(owner=leaver).order_by("pk")
        on_offer = list(rows.filter(state=State.OFFERED).values_list("pk", flat=True))
        take_back_plays(play_ids=on_offer, reason=f"{leaver.name} leaves", now=at, actor=manager.user)
        ids = list(rows.values_list("pk", flat=True))
        assign_plays(play_ids=ids, owner_id=successor.pk, now=at, actor=manager.user)
        theirs = self._desks.pop(leaver.pk, _Desk()).fates
        for fate in theirs.values():
            fate.play.owner, fate.play.owner_id, fate.on_offer = successor, successor.pk, False
        self._desks.setdefault(successor.pk, _Desk()).fates.update(theirs)
        # Who may sign in is no matter of a manager: the site's administrators see to that.
        change_member(member_id=leaver.pk, values={"is_active": False}, now=at, actor=None)

    def leave_one_offer(self, end: datetime) -> None:
        """Have a play offered that nobody answers before the story ends."""
        self._offers.leave_one(end)

    def _moved(self, play_id: int, on_offer: bool, owner: Any) -> None:
        """A play was offered, or came back, or has gone to somebody else, with all that is to become of it."""
        for desk in self._desks.values():
            fate = desk.fates.pop(play_id, None)
            if fate is not None:
                fate.play.owner, fate.play.owner_id, fate.on_offer = owner, owner.pk, on_offer
                self._desks.setdefault(owner.pk, _Desk()).fates[play_id] = fate
                return

    def _draw(self, play: Play, at: datetime) -> _Fate:
        """What is to become of a play."""
        random = self._random
        customer = self._by_account[play.account_id]
        chance, (least, most) = _CHANCES[Motion(play.motion)]
        chance *= self._books.mood(at) * (0.5 if customer.fades(at) or customer.health < 60 else 1)
        buys_at = customer.buys_at if not customer.is_paying else None
        if random.random() < chance or (
            buys_at is not None and play.expires_at is not None and buys_at < play.expires_at
        ):
            outcome = Outcome.WON
        else:
            (outcome,) = random.choices(list(_OTHERWISE), weights=list(_OTHERWISE.values()))
        lasts = random.uniform(least, most) * DAY / appetite(at.date()) ** 0.3
        if play.expires_at is not None:
            lasts = min(lasts, play.expires_at - at - 2 * DAY)
        if buys_at is not None and outcome == Outcome.WON:
            # Somebody who tries it buys when they buy.
            lasts = buys_at - at + timedelta(hours=1)
        paused = random.random() < _PAUSED and buys_at is None
        return _Fate(
            play=play,
            touched_at=at if random.random() < self._diligence_of(play) else at + 3 * DAY,
            again_at=at + lasts * 0.5 if random.random() < _TOUCHED_AGAIN else None,
            ends_at=None if outcome == Outcome.EXPIRED else at + lasts,
            outcome=outcome,
            paused_at=at + lasts * 0.3 if paused else None,
            replies=random.random() < _REPLIED,
        )

    def _diligence_of(self, play: Play) -> float:
        return self._diligence.get(play.owner_id or 0, 0.98)

    def _sit_down(self, owner_id: int, at: datetime) -> None:
        """An hour of one owner, at `at`."""
        desk = self._desks.get(owner_id, _Desk()).fates
        fates = {pk: fate for pk, fate in desk.items() if not fate.on_offer}
        if not fates:
            return
        random = self._random
        self._touch([fate for fate in fates.values() if _is_due(fate.touched_at, at)], "touched_at", at)
        self._touch([fate for fate in fates.values() if _is_due(fate.again_at, at)], "again_at", at)
        if is_working_day(at.date()):
            self._pause([fate for fate in fates.values() if _is_due(fate.paused_at, at)], at)
        ended = [fate for fate in fates.values() if fate.ends_at is not None and fate.ends_at <= at]
        for fate in ended:
            if fate.outcome == Outcome.WON and not self._buys(fate.play, at):
                fate.outcome = Outcome.LOST
        for outcome, reasons in ((Outcome.WON, ("",)), (Outcome.LOST, _LOST), (Outcome.DECLINED, _DECLINED)):
            plays = [fate.play for fate in ended if fate.outcome == outcome]
            if plays:
                self._close(plays, outcome, random.choice(reasons), at)
        for play_id in [pk for pk, fate in fates.items() if fate in ended or _has_lapsed(fate.play, at)]:
            del desk[play_id]

    def _buys(self, play: Play, at: datetime) -> bool:
        """Whether the customer who would buy still does: it has not left, and nobody has bought too much this year."""
        customer = self._by_account[play.account_id]
        return customer.is_paying and not customer.fades(at) and self._books.mood(at) > 0

    def _touch(self, fates: Sequence[_Fate], due: str, at: datetime) -> None:
        random = self._random
        groups: dict[Touch.Channel, list[_Fate]] = {}
        for fate in fates:
            setattr(fate, due, None)
            groups.setdefault(_CHANNELS[Route(fate.play.route)], []).append(fate)
        for channel, group in groups.items():
            ids, actor = [fate.play.pk for fate in group], _user_of(group[0].play)
            person = group[0].play.owner if channel != Touch.Channel.PROMPT else None
            if due == "touched_at" and random.random() < 0.06:
                # Taken up without a contact yet: that follows.
                start_plays(play_ids=ids, now=at, actor=actor)
                for fate in group:
                    fate.touched_at = at + DAY
                continue
            log_touch(
                play_ids=ids,
                channel=channel,
                by_member_id=None if person is None or person.user is None else person.pk,
                note=random.choice(_NOTES) if person is not None else "",
                now=at,
                actor=actor,
            )
            if person is not None:
                # Whoever talks to a customer is a step further; where none is to be done, nothing is.
                finish_steps(play_ids=ids, now=at, actor=actor)
            replied = [fate.play.pk for fate in group if fate.replies and due == "again_at"]
            if replied:
                log_touch(
                    play_ids=replied,
                    channel=Touch.Channel.EMAIL,
                    direction=Touch.Direction.IN,
                    note=random.choice(_REPLIES),
                    now=at + timedelta(minutes=random.randrange(5, 50)),
                    actor=actor,
                )

    def _pause(self, fates: Sequence[_Fate], at: datetime) -> None:
        for fate in fates:
            fate.paused_at = None
        if fates:
            days = self._random.randint(4, 20)
            pause_plays(
                play_ids=[fate.play.pk for fate in fates],
                reason=self._random.choice(_WAITING),
                wakes_at=at_work(self._random, (at + days * DAY).date(), opens=9, closes=10),
                now=at,
                actor=_user_of(fates[0].play),
            )
            for fate in fates:
                if fate.ends_at is not None:
                    fate.ends_at += days * DAY

    def _close(self, plays: Sequence[Play], outcome: Outcome, reason: str, at: datetime) -> None:
        answers = close_plays(
            play_ids=[play.pk for play in plays], outcome=outcome, reason=reason, now=at, actor=_user_of(plays[0])
        )
        if outcome == Outcome.WON:
            self._book((play for play in plays if answers[play.pk] is None), at)

    def _book(self, won: Iterable[Play], at: datetime) -> None:
        """What was won is held from now on, and the limits of the next readings are the new ones."""
        for play in won:
            customer = self._by_account[play.account_id]
            if play.playbook.key == "free_to_paid":
                # What they hold since stands in the ledger as that of a new customer.
                continue
            product = play.product.key if play.product is not None else self._wanted(customer, play)
            grow(self._random, customer, play.motion, product=product, amount=play.expected_amount_minor or 0)
            self._books.hold(customer, at, motion=play.motion, note=f"Won: {play.playbook.name}", play=play)
            if product is not None:
                self._reviews.gap_filled(customer, product, at)

    def _wanted(self, customer: Customer, play: Play) -> str | None:
        """What a cross-sell that names no product comes to sell."""
        missing = [product.key for product in self._vendor.products if product.key not in customer.products]
        return self._random.choice(missing) if play.motion == Motion.CROSS_SELL and missing else None


def _is_due(moment: datetime | None, at: datetime) -> bool:
    return moment is not None and moment <= at


def _has_lapsed(play: Play, at: datetime) -> bool:
    """Whether a play's time has run out long enough ago that nobody will do anything about it."""
    return play.expires_at is not None and play.expires_at + 40 * DAY < at


def _user_of(play: Play) -> Any:
    return play.owner.user if play.owner else None
