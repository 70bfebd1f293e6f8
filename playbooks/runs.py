"""Runs of the evaluator: claim what was told, ask every trigger, write episodes where something changed.

A run is one transaction under one lease, so runs follow each other and a run that dies leaves nothing. Its id is the
mark: "known at run r" is what runs up to r had claimed. Too many accounts for one transaction are looked at in a round
(`csplaybooks.playbooks.rounds`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Max, Min, Q

from csplaybooks.accounts.base import MarkedQuerySet
from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Account, Change
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.logs import evaluating
from csplaybooks.playbooks.budget import look_at_queue
from csplaybooks.playbooks.close_rates import CloseRates
from csplaybooks.playbooks.episodes import Court, RunReport, finish_run, judge
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate, running_versions
from csplaybooks.playbooks.guards import Crowded
from csplaybooks.playbooks.leases import holding
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, PlaybookVersion, Run, Trigger
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.reach import Forgotten
from csplaybooks.playbooks.rounds import MOST_LISTED_ACCOUNTS, ask_for_round, run_next_part, too_many_for_one_run
from csplaybooks.playbooks.trouble import is_database_trouble
from csplaybooks.signals.models import IntakeBatch, Reading, Signal

logger = logging.getLogger("csplaybooks.runs")


def run_triggers(*, now: datetime, full: bool = False, wait: bool = True) -> RunReport | None:
    """Run the evaluator over what changed since the last run, or in full over all accounts.

    Answers None when nothing changed. Safe twice and at once: runs wait for each other, and what one has claimed the
    next does not see. Without `wait` it answers None, too, where another run is at work (on PostgreSQL; SQLite has one
    writer anyway): whoever holds the lease of runs looks again when done.

    `now` becomes the run's moment, but never before the moment of the run before it, nor before what it has claimed was
    told: while a run waits for the one before it, more comes in. Where it would have to look at more accounts than
    `FULL_RUN_ACCOUNTS`, it claims what was told, looks at those with news of their own, and asks for a round.
    """
    if not full and not _anything_new(now):
        # Asked before the lease as well, so that idle pokes take no lock.
        return None
    with holding("csplaybooks:run", now, wait=wait) as lease:
        if lease is None or (not full and not _anything_new(now)):
            return None
        before = Run.objects.newest()
        run = Run.objects.create(kind=Run.Kind.FULL if full else Run.Kind.CHANGED, moment=now)
        moments = [now, before.moment] if before else [now]
        tolerance = timedelta(seconds=csplaybooks_settings.INTAKE_FUTURE_TOLERANCE_SECONDS)
        claimed: list[str] = []
        for inputs in (IntakeBatch.objects, Change.objects):
            inputs.unclaimed().update(seen_by_run=run.pk)
            news = inputs.filter(seen_by_run=run.pk).aggregate(
                latest=Max("recorded_at"), count=Count("pk"), first=Min("pk"), last=Max("pk")
            )
            told = news["latest"]
            if told:
                claimed.append(
                    "{count} {what} ({first} to {last})".format(what=inputs.model._meta.verbose_name_plural, **news)
                )
            # No further ahead than a sender's clock may run: one machine's wrong clock must not pin all runs.
            moments += [min(told, now + tolerance)] if told else []
        run.moment = max(moments)
        accounts = None if full else changed_accounts(run)
        if accounts is None and too_many_for_one_run():
            # Who has news is looked at now all the same, and not when the round comes by.
            run.kind = Run.Kind.CHANGED
            run.round = ask_for_round(run.moment)
            accounts = _accounts_with_news(run) or []
        elif accounts is None:
            run.kind = Run.Kind.FULL
        with evaluating(run.pk):
            report = finish_run(run, accounts, now)
    # With the numbers of the intake batches, which the log lines of their requests name.
    logger.info("%s, claimed: %s", report, ", ".join(claimed) or "nothing", extra={"run": str(run.pk)})
    return report


def run_to_the_end(*, now: datetime, full: bool = False) -> None:
    """`run_triggers`, and all parts of the rounds that are asked for: for those who keep no clusters, at one moment."""
    run_triggers(now=now, full=full)
    while run_next_part(now=now) is not None:
        pass


def _last_to_claim(before: int | None = None) -> Run | None:
    """The last run (before the one with an id) that took note of news, of all accounts that had any."""
    claiming = Run.objects.exclude(kind=Run.Kind.PART)
    return (claiming if before is None else claiming.filter(pk__lt=before)).newest()


def _anything_new(now: datetime) -> bool:
    if Change.objects.unclaimed().exists() or IntakeBatch.objects.unclaimed().filter(stored__gt=0).exists():
        return True
    last = _last_to_claim()
    return last is not None and last.moment < now and _anything_ripened(last.moment, now)


def _anything_ripened(after: datetime, until: datetime) -> bool:
    """Whether news that was claimed too soon takes effect in `(after, until]`."""
    # A change ripens at one moment.
    if Change.objects.ripening(after, until).filter(seen_by_run__isnull=False).exists():
        return True
    # The items of a batch at many: it says the first and the last, its rows say the rest.
    spans = IntakeBatch.objects.ripening(after, until).filter(seen_by_run__isnull=False)
    batches = list(spans.values_list("pk", "ripens_from", "ripens_at"))
    if any(first > after or last <= until for _, first, last in batches):
        return True
    within = [pk for pk, _, _ in batches]
    return bool(within) and any(
        model.objects.filter(batch__in=within).in_window(after, until).exists() for model in (Signal, Reading)
    )


def changed_accounts(run: Run) -> list[int] | None:
    """The accounts that a run has news of; None where that is all of them, or too many to list.

    News is what the run has claimed, and what earlier runs had claimed too soon: it was dated ahead of their moment.
    """
    if _news_of(run, Change.objects.all()).filter(account__isnull=True).exists():
        return None
    return _accounts_with_news(run)


def _news_of(run: Run, inputs: MarkedQuerySet) -> MarkedQuerySet:
    last = _last_to_claim(before=run.pk)
    claimed = Q(seen_by_run=run.pk)
    if last is None:
        return inputs.filter(claimed)
    # Ids first: nearly always there is none, and the question stays the plain one.
    ripe = inputs.ripening(last.moment, run.moment).filter(seen_by_run__lt=run.pk)
    ids = list(ripe.values_list("pk", flat=True))
    return inputs.filter(claimed | Q(pk__in=ids) if ids else claimed)


def _accounts_with_news(run: Run) -> list[int] | None:
    """The accounts that a run has news of their own of; None where they are too many to list."""
    most = MOST_LISTED_ACCOUNTS[connection.vendor == "postgresql"]
    batches = _news_of(run, IntakeBatch.objects.all()).values("pk")
    changes = _news_of(run, Change.objects.all()).filter(account__isnull=False)
    ids: set[int] = set(changes.order_by().values_list("account", flat=True).distinct()[: most + 1])
    for events in (Signal.objects.filter(batch__in=batches), Reading.objects.filter(batch__in=batches)):
        ids.update(events.order_by().values_list("account", flat=True).distinct()[: most + 1])
    return sorted(ids) if len(ids) <= most else None


def looked_at(run: Run) -> list[int] | None:
    """The accounts that a recorded run looked at, by id; None for all.

    Raises Forgotten where some of what it was told has been pruned, so that they cannot all be named any more.
    """
    if run.kind == Run.Kind.FULL:
        return None
    if run.kind == Run.Kind.PART:
        within = Account.objects.filter(pk__gte=run.first_account, pk__lte=run.last_account)
        return list(within.order_by("pk").values_list("pk", flat=True))
    accounts = changed_accounts(run) if run.round_id is None else _accounts_with_news(run) or []
    if accounts is not None and len(accounts) != run.accounts:
        raise Forgotten(f"{run} looked at {run.accounts:,} accounts for what it was told, some of which is pruned.")
    return accounts


def replay_run(run: Run) -> dict[int, list[int]]:
    """Ask again what a run asked, with its moment, its mark and its versions: account ids by trigger id.

    Equals `matches_after(run)` exactly, whatever has arrived since. Raises Forgotten where what it looked at is pruned.
    """
    known = Known.from_json(run.pk, run.inputs)
    accounts = looked_at(run)
    versions = PlaybookVersion.objects.in_bulk(set(run.versions.values()))
    keys = dict(Trigger.objects.filter(pk__in=run.versions).values_list("pk", "key"))
    answers: dict[int, list[int]] = {}
    for trigger_id, version_id in run.versions.items():
        ids = {keys[int(trigger_id)]: int(trigger_id)}
        document = versions[version_id].document
        definition = next(item for item in document["triggers"] if item["key"] == keys[int(trigger_id)])
        trigger = TriggerVersion(ids[definition["key"]], version_id, definition, document["audience"])
        answers[int(trigger_id)] = [hit.account_id for hit in evaluate(trigger, run.moment, known, accounts)]
    return answers


def matches_after(run: Run) -> dict[int, list[int]]:
    """The episodes that stood open after a run, over the accounts it looked at: account ids by trigger id."""
    accounts = looked_at(run)
    open_then = Match.objects.open_after(run.pk).filter(trigger__in=run.versions)
    if accounts is not None:
        open_then = open_then.filter(account__in=Ids(accounts))
    answers: dict[int, list[int]] = {int(trigger_id): [] for trigger_id in run.versions}
    for trigger_id, account_id in open_then.order_by("account_id").values_list("trigger", "account"):
        answers[trigger_id].append(account_id)
    return answers


def judge_held(*, now: datetime) -> int:
    """Ask the guards again about held matches whose time has come; answers how many were freed.

    What is held for want of room at its account is asked each time: nobody tells when a play closes. While a run is
    under way it asks nothing: there is a next time.
    """
    held = Match.objects.filter(
        Q(held_until__lte=now) | Q(held_by=Crowded.key, held_until__isnull=True), state=Match.State.HELD
    )
    if not held.exists():
        return 0
    with holding("csplaybooks:run", now, wait=False) as lease:
        last = Run.objects.newest()
        if lease is None or last is None:
            return 0
        # Guards ask nothing of what is sold, nor of readiness.
        known = Known.now(mark=last.pk, catalogue=False, readiness=False)
        asked = set(held.order_by().values_list("trigger", flat=True).distinct())
        freed = 0
        moment = max(now, last.moment)
        court = Court(moment, known, set(), CloseRates(moment), run_id=last.pk, in_run=False)
        for version, triggers in running_versions():
            if asked & {trigger.trigger_id for trigger in triggers}:
                try:
                    with transaction.atomic():
                        freed += judge(version, triggers, court, held)
                except Exception as error:
                    if is_database_trouble(error):
                        raise
                    logger.exception("the guards of %s could not be asked", version)
        if freed and look_at_queue(at=moment, run_id=last.pk, in_run=False, judged=court.passed).admitted:
            poke("work")
        return freed


def admit_waiting(*, now: datetime) -> int:
    """Let in from the queue what there is room for by now, and let expire what has waited too long; how many came in.

    The guards are asked once more about what would come in, and hold what they do not let pass any more.
    Nobody tells when a play closes, or when somebody is back. While a run is under way it does nothing: a run does the
    same at its end, and there is a next time.
    """
    if not Match.objects.waiting().exists():
        return 0
    with holding("csplaybooks:run", now, wait=False) as lease:
        last = Run.objects.newest()
        if lease is None or last is None:
            return 0
        look = look_at_queue(at=max(now, last.moment), run_id=last.pk, in_run=False)
        if look.admitted:
            poke("work")
    return look.admitted
