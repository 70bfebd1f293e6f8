"""The doctor's questions about our own rows: what waits, since when, and what was given up.

A row that failed and waits for its next try is not waited for here: it has its error, and ends in the tray.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min, OuterRef, Q, Subquery
from django.urls import NoReverseMatch, reverse

from csplaybooks.accounts.models import Change
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.doctor.clusters import FAILING
from csplaybooks.playbooks.doctor.findings import RESTART, SET_CLOCKS, Finding, Level, Look, in_words
from csplaybooks.playbooks.doctor.limits import full_run_limit, waiting_limit
from csplaybooks.playbooks.heartbeats import SWEEP
from csplaybooks.playbooks.models import Clock, Interval, Match, Play, PlaybookVersion, Round, Run
from csplaybooks.playbooks.pipeline.clocks import unclocked
from csplaybooks.playbooks.pipeline.owners import unowned
from csplaybooks.playbooks.pipeline.watcher import due_clocks
from csplaybooks.playbooks.sums import SUM
from csplaybooks.signals.models import IntakeBatch

PASSED_BY = (
    f"Where the sweep is red too, no cluster works. {RESTART} Where it is not, the log of the cluster tells why the "
    "step fails."
)


def _aged(look: Look, name: str, noun: str, waits_for: str, since: datetime | None) -> Finding:
    """What is to be said of the oldest row of a queue."""
    if since is None:
        return Finding(name, Level.OK, f"no {noun} waits")
    age = look.age(since)
    seen = f"The oldest {noun} has waited {in_words(age)} {waits_for}."
    return Finding(name, Level.RED, seen, PASSED_BY) if age > waiting_limit() else Finding(name, Level.OK, seen)


def inputs(look: Look) -> Iterator[Finding]:
    """Whether a run takes note of what has come in; two queries."""
    batches = IntakeBatch.objects.unclaimed().filter(stored__gt=0)
    for noun, rows in (("intake batch", batches), ("change", Change.objects.unclaimed())):
        # By id, which is the order they came in and has an index of what is unclaimed.
        since = rows.order_by("pk").values_list("recorded_at", flat=True).first()
        yield _aged(look, "inputs", noun, "for a run to take note of it", since)


def matches(look: Look) -> Iterator[Finding]:
    """Whether matches for which there is room become plays; one query. Those that wait for room are not late."""
    ready = Match.objects.admitted().filter(attempts=0).workable_at(look.now)
    oldest = ready.order_by("opened_run", "pk").values_list("opened_at", flat=True).first()
    if oldest is not None:
        # A guard may have let it go only just now: by the last sweep or run, at the latest.
        sweep = look.leases.get(SWEEP)
        run = Run.objects.newest()
        freed = [sweep.last_run_at if sweep else None, run.moment if run else None]
        oldest = max([oldest, *(at for at in freed if at is not None)])
    yield _aged(look, "matches", "match", "to become a play", oldest)


def plays(look: Look) -> Iterator[Finding]:
    """Whether plays get an owner, or into the manager's tray; one query."""
    ready = unowned().filter(attempts=0).workable_at(look.now).order_by("opened_at", "pk")
    yield _aged(look, "plays", "play", "for an owner", ready.values_list("opened_at", flat=True).first())


def unclocked_plays(look: Look) -> Iterator[Finding]:
    """Whether owned plays get their clocks; one query."""
    owned = Interval.objects.filter(play=OuterRef("pk"), owner__isnull=False).order_by("seq").values("valid_from")
    ready = unclocked().filter(attempts=0).workable_at(look.now).order_by("opened_at", "pk")
    yield _aged(
        look,
        "unclocked_plays",
        "owned play",
        "for its clocks",
        ready.annotate(owned_from=Subquery(owned[:1])).values_list("owned_from", flat=True).first(),
    )


def clocks(look: Look) -> Iterator[Finding]:
    """Whether the watcher deals with clocks on which something is due, and sees what is overdue; two queries."""
    overdue = due_clocks(look.now).filter(next_event_at__lte=look.now).aggregate(since=Min("next_event_at"))["since"]
    yield _aged(look, "clocks", "clock on which something is due", "for the watcher", overdue)
    # A clock that fails is put off each time, and so is never late by that: but its breach stays unwritten.
    put_off = look.now + timedelta(seconds=csplaybooks_settings.RETRY_SECONDS)
    broken = Clock.objects.filter(
        state=Clock.State.RUNNING,
        next_event_at__lte=put_off,
        next_event_at__gt=F("due_at"),
        due_at__lt=look.now - waiting_limit(),
    )
    if count := broken.count():
        promises = "1 broken promise is" if count == 1 else f"{count} broken promises are"
        seen = f"{promises} not written down: each look at the clock fails."
        yield Finding("clocks", Level.RED, seen, f"{FAILING} Mend the calendar that it names.")


def undated_clocks(look: Look) -> Iterator[Finding]:
    """Whether there are promises that their calendar never lets run out; one query, over all clocks."""
    undated = Clock.objects.filter(state=Clock.State.RUNNING, due_at__isnull=True, is_stale=False)
    clean = True
    for name, count in undated.order_by("calendar").values_list("calendar__name").annotate(count=Count("pk")):
        clean = False
        promises = "1 promise is" if count == 1 else f"{count} promises are"
        yield Finding(
            "undated_clocks",
            Level.WARN,
            f"{promises} due at no time: the calendar {name} opens too little within ten years.",
            "Give it hours in which people work, or say in its uses that another calendar counts for them.",
        )
    if clean:
        yield Finding("undated_clocks", Level.OK, "each promise has its due time")


def full_run(look: Look) -> Iterator[Finding]:
    """Whether all accounts are looked at in time; two queries."""
    # A full run of many accounts is a round of parts; the run that asked for it looked at none itself.
    whole = Run.objects.filter(kind=Run.Kind.FULL, round__isnull=True).order_by("-pk").values_list("moment", flat=True)
    asked = Round.objects.filter(finished_at__isnull=False).aggregate(at=Max("asked_at"))["at"]
    moments = [at for at in (whole.first(), asked) if at is not None]
    if not moments:
        yield Finding(
            "full_run",
            Level.WARN,
            "All accounts together have never been looked at.",
            "The first full run comes within minutes of the start of a cluster. Where none comes, see the findings "
            "about schedules and the sweep.",
        )
        return
    ahead = max(moments) - look.now
    # Moments may be ahead a little: a run is never dated before what it took note of.
    if ahead > full_run_limit():
        seen = f"All accounts were last looked at by a run that is dated {in_words(ahead)} ahead: the clocks differ."
        mend = f"{SET_CLOCKS} Until that time has come, what changes is looked at as of then, and the rest is not."
        yield Finding("full_run", Level.WARN, seen, mend)
        return
    age = look.age(max(moments))
    seen = f"All accounts were last looked at {in_words(age)} ago."
    if age > full_run_limit():
        yield Finding(
            "full_run",
            Level.RED,
            seen,
            f"{PASSED_BY} A full run that takes longer than the timeout of "
            "Q_CLUSTER is ended each time: lower CSPLAYBOOKS['FULL_RUN_ACCOUNTS'].",
        )
    else:
        yield Finding("full_run", Level.OK, seen)


def tray(look: Look) -> Iterator[Finding]:
    """How many rows were given up after their last attempt, and how many failed and will be tried again."""
    clean = True
    queues: tuple[tuple[str, Any], ...] = (
        # By the conditions of their indexes: nearly all rows of these tables wait for nothing.
        ("match", Match.objects.admitted()),
        # Those without owner or clocks, and those that were to be woken, handed back or closed when their time came.
        ("play", Play.objects.open().filter(Q(attempts__gt=0) | Q(stuck_at__isnull=False))),
    )
    for noun, rows in queues:
        counted = rows.aggregate(
            stuck=Count("pk", filter=Q(stuck_at__isnull=False)),
            failing=Count("pk", filter=Q(stuck_at__isnull=True, attempts__gt=0)),
        )
        if counted["stuck"]:
            clean = False
            page = admin_page(noun)
            yield Finding(
                "tray",
                Level.WARN,
                f"{_several(counted['stuck'], noun)} given up after the last attempt.",
                f"Read the error on its page{page}, mend what it names, then choose the action 'Try again what is "
                "stuck'.",
            )
        if counted["failing"]:
            clean = False
            seen = f"{_several(counted['failing'], noun)} put back after a failure, and will be tried again."
            yield Finding("tray", Level.WARN, seen, f"The error stands on its page{admin_page(noun, '')}.")
    if clean:
        yield Finding("tray", Level.OK, "no row failed")


def _several(count: int, noun: str) -> str:
    plural = {"match": "matches", "play": "plays"}[noun]
    return f"1 {noun} was" if count == 1 else f"{count} {plural} were"


def admin_page(noun: str, query: str = "?stuck_at__isempty=0") -> str:
    """Where the rows are listed, in brackets; empty where the site has no admin."""
    try:
        return f" ({reverse(f'admin:csplaybooks_playbooks_{noun}_changelist')}{query})"
    except NoReverseMatch:
        return ""


def run_errors(look: Look) -> Iterator[Finding]:
    """Whether the last run could evaluate all playbooks, and whether its sums close."""
    run = Run.objects.newest()
    told = {} if run is None else run.errors
    errors = {int(key): text for key, text in told.items() if key.isdecimal()}
    names = PlaybookVersion.objects.select_related("playbook").in_bulk(list(errors))
    for text in (text for key, text in told.items() if key.startswith(SUM)):
        yield Finding(
            "run_errors",
            Level.RED,
            f"{run} counted, and its sum does not close: {text}",
            "No input and no setting brings this about: it is an error of the program, or somebody wrote to the "
            "database past it. Run `manage.py csplaybooks_check`, which names the rows, and report it.",
        )
    for pk, text in errors.items():
        yield Finding(
            "run_errors",
            Level.WARN,
            f"{names.get(pk, f'The playbook version {pk}')} could not be evaluated by {run}: {text}",
            "Its matches stay as they were. Mend the playbook and publish it anew, or switch it off.",
        )
    if not told:
        yield Finding("run_errors", Level.OK, "the last run evaluated all playbooks, and its sums close")
