"""The people of the storm: ``python -m tests.storm.people SEED JOURNAL ...`` is so many processes of them.

They do with plays what the table of moves offers them, by the acts that the admin calls, until each play is closed.
Nothing is kept in memory: what is done next is drawn by lot from what the database shows, so that who comes after a
death just goes on. Every other second all processes are the same person, who has the same plays before them in
several windows.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    import django

    django.setup()

from django.core.exceptions import ValidationError
from django.db.models import Max, Min, Q
from django.utils import timezone

from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.playbooks.acts.claiming import claim_plays, release_plays
from csplaybooks.playbooks.acts.clocks import excuse_breaches
from csplaybooks.playbooks.acts.drafts import send_drafts
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.models import Clock, MailDraft, Outcome, Play, PlayStep, Stage
from csplaybooks.playbooks.moves import Rights, possible
from tests.postgres import end_with_parent
from tests.storm.journal import Journal

#: How many plays somebody has before them at a time.
DESK = 60

#: After so many moves a play is old, and somebody closes it; some are spared a few more.
OLD, SPARED = 5, 4

#: What people do with a play, by weight, of what they can; None is nothing.
WEIGHTS: Mapping[str | None, float] = {
    "assign": 0.5,
    "claim": 5,
    "release": 0.7,
    "start": 3,
    "touch": 2,
    "pause": 1.5,
    "resume": 3,
    "offer": 2,
    "accept": 4,
    "refuse": 2,
    "take_back": 1.5,
    "step": 4,
    "skip_step": 1,
    "send": 4,
    "withdraw": 0.1,
    None: 2,
}

#: How plays end, by what their ids leave over. One that expires is left alone by everybody, until its time is over.
ENDS = ("win", "win", "win", "lose", "decline", "withdraw", "win", "lose", "expire", "win")
_OUTCOMES = {
    "win": Outcome.WON,
    "lose": Outcome.LOST,
    "decline": Outcome.DECLINED,
    "withdraw": Outcome.WITHDRAWN,
}


Mood = Mapping[str | None, float]
"""How much somebody feels like doing what, at this look at their desk."""


def a_mood(lot: random.Random) -> Mood:
    """The weights, drawn far apart: people do much of one thing at a time, as one does with lists of plays."""
    return {verb: weight * lot.expovariate(1) ** 2 for verb, weight in WEIGHTS.items()}


def choose(play: Play, can: Sequence[str], mood: Mood) -> str | None:
    """What somebody does with a play of what they can do with it; None: nothing now."""
    end = ENDS[play.pk % len(ENDS)]
    is_old = play.stage != Stage.ROUTED and play.version >= OLD + play.pk % SPARED
    if is_old and (end == "expire" or end in can):
        return end
    return max([None, *(verb for verb in can if verb in WEIGHTS)], key=mood.__getitem__)


class People:
    """One process of people."""

    def __init__(self, journal: Path, seed: int, number: int) -> None:
        self._journal = Journal(journal)
        self._seed = seed
        self._lot = random.Random(f"{seed}:{number}:{time.monotonic_ns()}")
        self._team = list(TeamMember.objects.filter(user__isnull=False).select_related("user").order_by("pk"))
        self._sellers = [member.pk for member in self._team if member.is_account_executive]
        self._leads = [member for member in self._team if member.is_manager]
        self._managers = [member.pk for member in self._team if member.is_customer_success_manager]

    def work(self) -> int:
        """One look at the desk of one person; answers on how many plays something was tried."""
        member = self._somebody()
        rights = Rights.of(member.user, timezone.now())
        todo: dict[str, list[Play]] = defaultdict(list)
        mood = a_mood(self._lot)
        plays = self._desk(member)
        written = set(_drafts_of([play.pk for play in plays]).values_list("play", flat=True))
        for play in plays:
            can = possible(play, rights)
            if "step" in can and play.pk in written:
                # A button of the draft's own.
                can.append("send")
            if (verb := choose(play, can, mood)) is not None:
                todo[verb].append(play)
        for verb in self._lot.sample(sorted(todo), len(todo)):
            self._do(verb, todo[verb], member.user)
        if member.is_manager:
            self._excuse(member.user)
        return sum(map(len, todo.values()))

    def _somebody(self) -> TeamMember:
        second = int(time.time())
        lot = random.Random(f"{self._seed}:{second}") if second % 2 else self._lot
        # Managers have the most before them.
        chosen: TeamMember = lot.choice(self._leads if lot.random() < 0.5 else self._team)
        return chosen

    def _desk(self, member: TeamMember) -> list[Play]:
        """Some open plays that somebody sees: what they own and hold, or what waits in the tray."""
        below = scope_of(member.user).members
        plays = Play.objects.open().filter(Q(owner__in=below) | Q(holder__in=below) | Q(tray_at__isnull=False))
        if member.is_manager and self._lot.random() < 0.3:
            plays = plays.filter(tray_at__isnull=False)
        ids = plays.aggregate(first=Min("pk"), last=Max("pk"))
        if ids["first"] is None:
            return []
        # The oldest first, or else whatever comes.
        start = ids["first"] if self._lot.random() < 0.5 else self._lot.randint(ids["first"], ids["last"])
        rows = plays.filter(pk__gte=start).with_step().select_related("account", "playbook", "owner", "holder")
        return list(rows.defer("evidence", "amount_working").order_by("pk")[:DESK])

    def _do(self, verb: str, plays: Sequence[Play], user: Any) -> None:
        if verb == "expire":
            # Nobody waits for a month here.
            due = Play.objects.filter(pk__in=[play.pk for play in plays], expires_at__gt=timezone.now())
            due.update(expires_at=timezone.now())
            return
        ids = [play.pk for play in plays]
        if verb == "send":
            drafts = dict(_drafts_of(ids).values_list("pk", "play"))
            self._told(verb, drafts, lambda now: send_drafts(draft_ids=drafts, now=now, actor=user))
            return
        seen = {play.pk: play.version for play in plays} if self._lot.random() < 0.5 else None
        act = self._acts(ids, user, seen)[verb]
        self._told(verb, {pk: pk for pk in ids}, act)

    def _acts(self, ids: Sequence[int], user: Any, seen: Any) -> dict[str, Callable[[Any], Mapping[int, str | None]]]:
        lot = self._lot
        shared = {"play_ids": ids, "actor": user, "seen": seen}
        later = timedelta(seconds=lot.uniform(0.5, 4))
        acts: dict[str, Callable[[Any], Mapping[int, str | None]]] = {
            "assign": lambda now: assign_plays(owner_id=lot.choice(self._managers), now=now, **shared),
            "claim": lambda now: claim_plays(now=now, **shared),
            "release": lambda now: release_plays(reason="Too much to do", now=now, **shared),
            "start": lambda now: start_plays(now=now, **shared),
            "touch": lambda now: log_touch(play_ids=ids, channel="call", now=now, actor=user),
            "pause": lambda now: pause_plays(
                reason="They are away", wakes_at=now + later if lot.random() < 0.6 else None, now=now, **shared
            ),
            "resume": lambda now: resume_plays(now=now, **shared),
            "offer": lambda now: offer_plays(to_id=lot.choice(self._sellers), now=now, **shared),
            "accept": lambda now: accept_plays(now=now, **shared),
            "refuse": lambda now: refuse_plays(reason="Not now", now=now, **shared),
            "take_back": lambda now: take_back_plays(now=now, **shared),
            "step": lambda now: finish_steps(now=now, **shared),
            "skip_step": lambda now: finish_steps(skip=True, note="No need", now=now, **shared),
        }
        for verb, outcome in _OUTCOMES.items():
            acts[verb] = lambda now, outcome=outcome: close_plays(
                outcome=outcome, reason="So it went", now=now, **shared
            )
        return acts

    def _excuse(self, user: Any) -> None:
        broken = Clock.objects.filter(breached_at__isnull=False, excused_at__isnull=True).order_by("-pk")
        clocks = dict(broken.visible_to(user).values_list("pk", "play")[:3])
        if clocks:
            self._told(
                "excuse",
                clocks,
                lambda now: excuse_breaches(clock_ids=clocks, reason="It was a holiday", now=now, actor=user),
            )

    def _told(self, verb: str, plays: Mapping[int, int], act: Callable[[Any], Mapping[int, str | None]]) -> None:
        """Do an act, with a line in the journal before and after; `plays` are by the ids that the act answers for."""
        name = self._journal.will(verb, plays.values())
        try:
            answers = act(timezone.now())
        except ValidationError as problem:
            answers = dict.fromkeys(plays, "; ".join(problem.messages))
        except Exception:  # noqa: BLE001 - whatever it is, it is told at the end
            self._journal.failed(name, traceback.format_exc())
            return
        self._journal.did(
            name,
            [plays[pk] for pk, why in answers.items() if why is None],
            {plays[pk]: why for pk, why in answers.items() if why is not None},
        )


def _drafts_of(play_ids: Sequence[int]) -> Any:
    return MailDraft.objects.filter(
        play__in=play_ids, state=MailDraft.State.DRAFT, step__state=PlayStep.State.CURRENT
    ).order_by("pk")


def main(seed: str, *journals: str) -> None:
    """Start the processes, and another in the place of each that dies. The first one does nothing else."""
    working: dict[int, int] = {}
    numbers = list(range(len(journals)))
    while True:
        for number in numbers:
            pid = os.fork()
            if pid == 0:
                end_with_parent(signal.SIGKILL)
                _work(Path(journals[number]), int(seed), number)
            working[pid] = number
        pid, status = os.wait()
        numbers = [working.pop(pid)]
        if not os.WIFSIGNALED(status):
            # None ends by itself, but by an error that nobody has thought of: it stands in the log.
            sys.exit(1)


def _work(journal: Path, seed: int, number: int) -> NoReturn:
    try:
        people = People(journal, seed, number)
        while True:
            if not people.work():
                time.sleep(0.05)
    except BaseException:  # noqa: BLE001 - nothing may get past the end of this process
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
