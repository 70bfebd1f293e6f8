"""How plays for sales go from CSMs to account executives in the sample company: by offers, most of them accepted.

The routing makes them as soon as a play has its CSM. What is to become of an offer is drawn when it is made. It has a
lot of its own, so that the rest of the story is the same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import assign_plays
from csplaybooks.playbooks.demo.agenda import Agenda
from csplaybooks.playbooks.demo.seasons import DAY, at_work, is_working_day
from csplaybooks.playbooks.demo.vendor import Vendor
from csplaybooks.playbooks.models import Handoff, Play, Route, Stage, State

_NOTES = (
    *("They asked for prices twice. Be quick.", "Talk to their finance first.", "I would like to join the first call."),
    *("", "", ""),
)
_REFUSED = (
    *("Too small for us: keep it with you", "I talked to them in spring, they are not ready"),
    *("No room this month", "Nobody there to decide"),
)
_TAKEN_BACK = ("They called me and signed up for a demo", "Wrong account")
#: What becomes of a dozen offers, dealt like cards: of each a share, in a few dozen as well. An offer lapses where
#: nobody answers it.
_ANSWERS = (
    *[Handoff.Answer.ACCEPTED] * 8,
    *[Handoff.Answer.REFUSED] * 2,
    Handoff.Answer.TAKEN_BACK,
    Handoff.Answer.EXPIRED,
)


#: So long before the end the last one is left without an answer: whoever looks finds few that wait.
_ALL_ANSWERED = 14 * DAY


class Offers:
    """The offers of the team. `moved` is told of a play: its id, whether it is on offer now, and who owns it."""

    def __init__(
        self,
        random: Random,
        vendor: Vendor,
        agenda: Agenda,
        *,
        moved: Callable[[int, bool, Any], None],
    ) -> None:
        self._random = Random()  # noqa: S311 - made-up people need no secrecy
        self._random.setstate(random.getstate())
        self._vendor = vendor
        self._agenda = agenda
        self._moved = moved
        self._dealt: list[Handoff.Answer] = []
        self._until: datetime | None = None

    def plan(self, plays: Iterable[Play], at: datetime) -> None:
        """Enter the answers to plays that were opened and offered at `at`, and what the manager does about the tray."""
        for play in plays:
            if play.state == State.OFFERED:
                self._moved(play.pk, True, play.owner)
                self._deal(play, play.holder, at)
        lapsed = Play.objects.open().filter(tray_at__isnull=False, owner__isnull=False, state=State.WORKING)
        for play in lapsed.select_related("owner__user").order_by("pk"):
            self._agenda.add(self._later(at, 0, 1), partial(self._decide, play))

    def leave_one(self, end: datetime) -> None:
        """Enter an offer to the executive who can sign in, on the last day of work before the end: it alone waits."""
        self._until = end - _ALL_ANSWERED
        day = end.date() - DAY
        while not is_working_day(day):
            day -= DAY
        self._agenda.add(at_work(self._random, day, opens=16, closes=16.9), self._offer_the_last)

    def _offer_the_last(self, at: datetime) -> None:
        free = Play.objects.filter(
            stage__in=[Stage.OWNED, Stage.RUNNING], state=State.WORKING, owner__is_customer_success_manager=True
        )
        play = (
            free.filter(route__in=[Route.SALES, Route.CSM]).select_related("owner__user").order_by("route", "pk").last()
        )
        if play is not None:
            self._make(play, self._vendor.aes[0], at)

    def _later(self, at: datetime, least: int, most: int) -> datetime:
        """A moment at work, so many days after `at`."""
        moment = at_work(self._random, (at + self._random.randint(least, most) * DAY).date(), opens=10, closes=16)
        return max(moment, at + timedelta(minutes=self._random.randint(20, 90)))

    def _deal(self, play: Play, seller: Any, at: datetime) -> None:
        """Draw what becomes of an offer, and enter it."""
        if not self._dealt:
            self._dealt = self._random.sample(_ANSWERS, len(_ANSWERS))
        answer = self._dealt.pop()
        is_late = self._until is not None and at > self._until
        if answer == Handoff.Answer.EXPIRED and is_late:
            answer = Handoff.Answer.ACCEPTED
        if answer != Handoff.Answer.EXPIRED:
            # Most answer within the promise, some do not.
            days = 0 if is_late else self._random.choice((0, 0, 0, 0, 0, 1, 1, 3))
            self._agenda.add(self._later(at, days, days), partial(self._answer, play, seller, answer))

    def _make(self, play: Play, seller: Any, at: datetime) -> bool:
        """Offer a play, unless it is closed or paused by now."""
        play.refresh_from_db(fields=["owner", "state", "stage"])
        if play.owner is None or play.owner == seller:
            return False
        note = self._random.choice(_NOTES)
        answers = offer_plays(play_ids=[play.pk], to_id=seller.pk, note=note, now=at, actor=play.owner.user)
        done = answers[play.pk] is None
        if done:
            self._moved(play.pk, True, play.owner)
        return done

    def _answer(self, play: Play, seller: Any, answer: Handoff.Answer, at: datetime) -> None:
        owner = play.owner
        if owner is None:
            return
        ids, reasons = [play.pk], {Handoff.Answer.REFUSED: _REFUSED, Handoff.Answer.TAKEN_BACK: _TAKEN_BACK}
        reason = self._random.choice(reasons.get(answer, ("",)))
        if answer == Handoff.Answer.ACCEPTED:
            answers = accept_plays(play_ids=ids, now=at, actor=seller.user)
        elif answer == Handoff.Answer.REFUSED:
            answers = refuse_plays(play_ids=ids, reason=reason, now=at, actor=seller.user)
        else:
            answers = take_back_plays(play_ids=ids, reason=reason, now=at, actor=owner.user)
        if answers[play.pk] is None:
            self._moved(play.pk, False, seller if answer == Handoff.Answer.ACCEPTED else owner)

    def _decide(self, play: Play, at: datetime) -> None:
        """The manager finds a play whose offer nobody answered, and says whose it is."""
        owner = play.owner if self._random.random() < 0.5 else self._random.choice(self._vendor.aes)
        if owner is not None:
            answers = assign_plays(play_ids=[play.pk], owner_id=owner.pk, now=at, actor=self._vendor.manager.user)
            if answers[play.pk] is None:
                self._moved(play.pk, False, owner)
