"""The storm itself: news for one account after the other, clusters and people at work, and death among them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.db.models import Count
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ

from csplaybooks.playbooks.models import Delivery, MailDraft, Notice, Play, Stage
from csplaybooks.playbooks.pokes import poke
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from tests.crash.clusters import Group, children, is_dead, wait_until
from tests.crash.company import readings, signals, waiting
from tests.crash.supervisor import Supervisor
from tests.storm.company import make_storm_company
from tests.storm.playbooks import PLAYS

#: How many clusters there are, and processes of people.
CLUSTERS, PEOPLE = 3, 3

#: How many accounts have news in one batch, and how many plays may be on their way at a time.
BATCH, ON_THEIR_WAY = 10, 500

#: Who is killed, by how often, and the seconds from one death to the next on average.
VICTIMS = {"worker": 8, "group": 3, "monitor": 1, "people": 8}
DEATHS = 3.0

#: As a schedule does once a minute, only more often: the seconds from one poke of the sweep to the next.
SWEEPS = 3.0

#: The storm is given up when nothing has moved for so long, in seconds.
PATIENCE = 150


@dataclass
class Weather:
    """What happened in a storm: how long it took in seconds, who was killed, and what went wrong on the way."""

    plays: int
    seconds: float = 0.0
    quiet_seconds: float = 0.0
    killed: Counter[str] = field(default_factory=Counter)
    restarted: int = 0
    troubles: list[str] = field(default_factory=list)


def tasks_left() -> int:
    """How many tasks wait or are being worked on; of the latter Redis knows none."""
    broker = get_broker()
    return int(broker.queue_size() or 0) + int(broker.lock_size() or 0)


class Crowd:
    """Processes of people, each with a journal that outlives it."""

    def __init__(self, folder: Path, seed: int, environment: Mapping[str, str]) -> None:
        self.log = folder / "people.log"
        self.journals = [folder / f"people-{number}.journal" for number in range(PEOPLE)]
        self._group = Group(self.log, "-m", "tests.storm.people", str(seed), *map(str, self.journals), **environment)

    def kill(self, lot: random.Random) -> None:
        """Kill one process at whatever it does; another goes on."""
        victim = lot.choice(wait_until(lambda: children(self._group.main()), what="people"))
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda: is_dead(victim), what=f"the death of {victim}")

    def end(self) -> None:
        """Kill all of them."""
        self._group.end()

    def are_alive(self) -> bool:
        """Whether they are there: none ends by itself."""
        return bool(self._group.members())


class Storm:
    """A storm on the database of this process, which is empty; see `run`."""

    def __init__(
        self,
        folder: Path,
        plays: int,
        *,
        seed: int = 7,
        redis_url: str = "",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder, self.mails = folder, folder / "mails"
        self.mails.mkdir()
        self._environment = {
            "DJANGO_SETTINGS_MODULE": "tests.storm.settings",
            "STORM_MAILS": str(self.mails),
            "LOG_LEVEL": "WARNING",
            **({"REDIS_URL": redis_url} if redis_url else {}),
        }
        self._lot, self._seed, self._say = random.Random(seed), seed, say
        self._accounts = -(-plays // len(PLAYS))
        self.weather = Weather(plays=self._accounts * len(PLAYS))
        self.journals: list[Path] = []
        self.logs: list[Path] = []

    def run(self) -> Weather:
        """Make the company, let it storm until every play is closed, and answer what happened; nobody is left alive."""
        names = make_storm_company(self._accounts, timezone.now())
        self._say(f"A company with {self._accounts:,} accounts is made; {CLUSTERS} clusters and {PEOPLE} people start.")
        supervisor = Supervisor(self.folder, CLUSTERS, **self._environment)
        crowd = Crowd(self.folder, self._seed, self._environment)
        self.journals, self.logs = crowd.journals, [*supervisor.logs, crowd.log]
        began = time.monotonic()
        try:
            self._blow(names, supervisor, crowd)
            self.weather.seconds = time.monotonic() - began
            self._calm(supervisor)
        except AssertionError as error:
            # A cluster that did not come up, and the like: what it left is looked at all the same.
            self.weather.troubles.append(f"The storm was broken off: {error}")
        finally:
            if not crowd.are_alive():
                self.weather.troubles.append(f"A process of people ended by itself: {crowd.log.read_text()[-2000:]}")
            crowd.end()
            supervisor.end()
        self.weather.restarted = supervisor.restarted
        self.weather.quiet_seconds = time.monotonic() - began - self.weather.seconds
        return self.weather

    def _blow(self, names: list[str], supervisor: Supervisor, crowd: Crowd) -> None:
        """Send news and kill, until all plays are closed."""
        batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
        wanted, sent = self.weather.plays, 0
        began = moved_at = told_at = swept_at = time.monotonic()
        kill_at = began + 3
        moved = closed = -1
        for cluster in supervisor.clusters:
            cluster.workers()
        supervisor.look_from_now_on()
        while closed < wanted:
            now = time.monotonic()
            stages = dict(Play.objects.order_by().values_list("stage").annotate(count=Count("pk")))
            closed = stages.get(Stage.CLOSED, 0)
            if batches and sent - closed < ON_THEIR_WAY:
                sent += len(PLAYS) * self._send(batches.pop(0))
            if now >= kill_at:
                victim = self._lot.choices(list(VICTIMS), list(VICTIMS.values()))[0]
                if victim == "people":
                    crowd.kill(self._lot)
                else:
                    supervisor.kill(victim, self._lot)
                self.weather.killed[victim] += 1
                kill_at = time.monotonic() + self._lot.expovariate(1 / DEATHS)
            if now - swept_at >= SWEEPS:
                swept_at = now
                self._watch_over(supervisor)
            if (progress := closed + sum(stages.values())) != moved:
                moved, moved_at = progress, now
            if now - moved_at > PATIENCE:
                self.weather.troubles.append(f"Nothing moved for {PATIENCE} seconds: {stages}, {waiting()}")
                return
            if now - told_at >= 10:
                told_at = now
                self._tell(now - began, closed, sum(stages.values()))
            time.sleep(0.05)

    def _send(self, names: list[str]) -> int:
        """The news of some accounts, by two requests; now and then the sender gets no answer, and tries again."""
        now = timezone.now()
        for _ in range(2 if self._lot.random() < 0.1 else 1):
            for take_in, items in ((take_in_readings, readings(names, now)), (take_in_signals, signals(names, now))):
                report = take_in(items=items, now=timezone.now())
                if report.refused or report.conflict:
                    self.weather.troubles.append(f"Intake refused what it should take: {report}")
        return len(names)

    def _calm(self, supervisor: Supervisor) -> None:
        """Nobody is killed any more, and what may stand still is restarted: wait until what is left has been done."""
        # Tasks that the dead had taken come back after `retry`, which nobody waits for here.
        supervisor.restart_all(while_dead=lambda: OrmQ.objects.update(lock=timezone.now()))
        give_up = time.monotonic() + PATIENCE
        while left := self._left():
            self._watch_over(supervisor)
            if time.monotonic() > give_up:
                self.weather.troubles.append(f"Left undone for {PATIENCE} seconds after the storm: {left}")
                return
            time.sleep(0.5)

    def _watch_over(self, supervisor: Supervisor) -> None:
        if get_broker().queue_size() < 50:
            poke("sweep")
        supervisor.restart_what_stands_still()
        supervisor.restart_one_that_stands_still()

    @staticmethod
    def _left() -> dict[str, int]:
        """What is still to be done, by what it is."""
        counts = {
            **waiting(),
            "mails queued": Delivery.objects.filter(state=Delivery.State.QUEUED).count(),
            "notices without mail": Notice.objects.filter(way=Notice.Way.NOW, delivery__isnull=True).count(),
            "mails that are no contact yet": MailDraft.objects.filter(
                state=MailDraft.State.SENT, touch__isnull=True
            ).count(),
            "tasks": tasks_left(),
        }
        # The sweep that was just asked for does not count.
        return {name: count for name, count in counts.items() if count > (name == "tasks")}

    def _tell(self, seconds: float, closed: int, opened: int) -> None:
        mails = sum(1 for _ in self.mails.glob("*.eml"))
        self._say(
            f"{seconds:6.0f} s: {opened:6,} opened, {closed:6,} closed ({closed / seconds:4.1f} a second), "
            f"{mails:6,} mails, {self.weather.killed.total():4} killed"
        )
