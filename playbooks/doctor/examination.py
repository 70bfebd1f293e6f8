"""The examination: which questions are asked, in which order, and what stops at the first trouble."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from csplaybooks.playbooks.doctor import clusters, database, mails, retention, schedules, team, waiting
from csplaybooks.playbooks.doctor.findings import MIGRATE, Finding, Level, Look, Question

logger = logging.getLogger("csplaybooks.doctor")

#: What one web process needs to answer requests. A load balancer asks this: that a worker stands still is no reason to
#: take all web processes out.
WEB = (
    Question("database", database.reachable, needs=()),
    Question("migrations", database.migrations, needs=("database",)),
)

#: What the system as a whole needs; cheap, for whoever asks every few seconds.
SYSTEM = (
    *WEB,
    Question("schedules", schedules.ours),
    Question("sweep", clusters.sweep),
    Question("watcher", clusters.watcher),
    Question("clusters", clusters.reporting),
    Question("broker", clusters.broker, needs=()),
    Question("inputs", waiting.inputs),
    Question("matches", waiting.matches),
    Question("plays", waiting.plays),
    Question("unclocked_plays", waiting.unclocked_plays),
    Question("clocks", waiting.clocks),
    Question("mails", mails.mails),
    Question("full_run", waiting.full_run),
)

#: All of it, for the command.
EVERYTHING = (
    *WEB,
    Question("system_checks", database.system_checks),
    *SYSTEM[len(WEB) :],
    Question("readable_schedules", schedules.readable),
    Question("stalled_clusters", clusters.stalled),
    Question("undated_clocks", waiting.undated_clocks),
    Question("tray", waiting.tray),
    Question("mail_tray", mails.mail_tray),
    Question("run_errors", waiting.run_errors),
    Question("retention", retention.retention),
    Question("team", team.team),
)

#: A statement of the doctor that takes longer than this, in milliseconds, is given up (PostgreSQL).
_STATEMENT_MILLISECONDS = 5_000


@dataclass(frozen=True)
class Report:
    """All findings at a moment, in the order in which they were asked for."""

    at: datetime
    findings: Sequence[Finding]

    @property
    def level(self) -> Level:
        """The worst level there is."""
        levels = {finding.level for finding in self.findings}
        return next((level for level in (Level.RED, Level.WARN) if level in levels), Level.OK)

    def as_json(self) -> dict[str, Any]:
        """The report as an object of JSON; `status` is ok, warn or red."""
        return {
            "status": self.level.value,
            "at": self.at.isoformat(),
            "findings": [finding.as_json() for finding in self.findings],
        }


def examine(*, now: datetime, questions: Sequence[Question] = EVERYTHING) -> Report:
    """Ask `questions` (`WEB`, `SYSTEM` or `EVERYTHING`) about the installation as it stands at `now`.

    Never raises for what it finds: a database or a broker that does not answer, and tables that are not there, are
    findings. Reads only. After the first question that the database refuses nothing more is asked of it.
    """
    look = Look(now)
    findings: list[Finding] = []
    with _bounded() as refusal:
        if refusal is not None:
            findings.append(database.unreachable(refusal))
            look.levels["database"] = Level.RED
        for question in questions:
            if question.name in look.levels or any(look.levels.get(name) == Level.RED for name in question.needs):
                continue
            answer = _answer(question, look)
            findings += answer
            look.levels[question.name] = Report(now, answer).level
    return Report(now, findings)


def _answer(question: Question, look: Look) -> list[Finding]:
    """What a question finds. One that cannot be asked is a finding too."""
    try:
        return list(question.ask(look))
    except Error as error:
        look.levels["database"] = Level.RED
        seen = f"The database refused to tell: {_first_line(error)}"
        return [Finding(question.name, Level.RED, seen, f"See to the database. Where a table is missing: {MIGRATE}")]
    except Exception as error:
        logger.exception("the doctor could not ask about %s", question.name)
        seen = f"Could not be asked: {type(error).__name__}: {_first_line(error)}"
        return [Finding(question.name, Level.RED, seen, "The log tells more; `manage.py check` may tell why.")]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def _bounded() -> Iterator[Error | None]:
    """Ask the database within a bound on time, where it has one; answers why it cannot be reached, or None.

    On PostgreSQL in a transaction, so that the bound is gone afterwards, even behind a pooler. Not on SQLite, where
    to begin one may take the lock of all writers.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "postgresql":
        yield None
        return
    try:
        connection.ensure_connection()
    except Error as error:
        yield error
        return
    with transaction.atomic():
        refusal: Error | None = None
        try:
            connection.cursor().execute(f"SET LOCAL statement_timeout = {_STATEMENT_MILLISECONDS}")
        except Error as error:
            # It was there when this connection was last used.
            refusal = error
        try:
            yield refusal
        finally:
            # Nothing is written, and after a refused statement nothing could be committed. Not sooner: no statement
            # is let through in a transaction that is marked so.
            transaction.set_rollback(True)
