"""The guards asked again: about matches of the queue that are about to move on, at the very moment at which they do.

What let them pass was said some time ago. A black-out has begun since, somebody was called, a prompt was dismissed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from csplaybooks.playbooks.evaluator import TriggerVersion, running_versions
from csplaybooks.playbooks.guards import Judgement, Line, Panel, Question
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, PlaybookVersion, Route, Trigger
from csplaybooks.playbooks.steps import hold
from csplaybooks.playbooks.trouble import is_database_trouble

logger = logging.getLogger("csplaybooks.runs")


@dataclass
class Answers:
    """What became of matches, in the order in which they were given; nothing of it is saved.

    `refused` are held now. `lowered` are those of the `passed` whose ceiling has come down. `failed` could not be
    asked about.
    """

    passed: list[Match] = field(default_factory=list)
    refused: list[Match] = field(default_factory=list)
    lowered: list[Match] = field(default_factory=list)
    failed: list[Match] = field(default_factory=list)


def ask_again(matches: Sequence[Match], *, at: datetime, mark: int | None, strict: bool) -> Answers:
    """Ask the guards of the versions in force about matches that stand in the queue, and change these in memory.

    `mark` is how much is known (None: all that was told). A ceiling may come down, and the route with it; it goes up
    where a run looks at the match, because the room was promised by the route. With `strict` a guard that fails is an
    error; else its playbook's matches are told as `failed`. Six queries, one more for each playbook (and a savepoint,
    if not `strict`), and two where matches are of a playbook that does not run any more.
    """
    answers = Answers()
    if not matches:
        return answers
    # The line before the facts: see there.
    line = Line.at({match.account_id for match in matches})
    asked = _by_version(matches)
    known = Known.now(mark, catalogue=False, readiness=False)
    panels: dict[int, Panel] = {}
    broken: set[int] = set()
    for version_id, (triggers, theirs) in asked.items():
        cooldowns = {trigger.trigger_id: trigger.definition["cooldown_days"] for trigger in triggers}
        question = Question(at, known, triggers[0].motion, cooldowns)
        # A savepoint, so that a query of a host that fails leaves the others theirs.
        with _tolerating(version_id, broken, strict), nullcontext() if strict else transaction.atomic():
            panels[version_id] = Panel({match.account_id for match in theirs}, question, triggers[0].guards)
    version_of = {match.pk: version_id for version_id, (_, theirs) in asked.items() for match in theirs}
    judged: dict[int, Judgement] = {}
    for match in line.in_order(matches):
        version_id = version_of[match.pk]
        if version_id in broken:
            continue
        with _tolerating(version_id, broken, strict):
            judged[match.pk] = panels[version_id].judge_match(match, line)
    for match in matches:
        if match.pk not in judged:
            answers.failed.append(match)
        elif _take_in(match, judged[match.pk], answers):
            answers.passed.append(match)
        else:
            answers.refused.append(match)
    return answers


def _take_in(match: Match, judgement: Judgement, answers: Answers) -> bool:
    """Write a judgement down, in memory; whether it lets the match pass."""
    ceiling = judgement.ceiling.route if judgement.ceiling else None
    if judgement.hold:
        match.ceiling = ceiling or ""
        hold(match, judgement.hold)
        return False
    if ceiling is not None and (not match.ceiling or ceiling.weight < Route(match.ceiling).weight):
        match.ceiling = ceiling
        if match.route and ceiling.weight < Route(match.route).weight:
            match.route = ceiling
        answers.lowered.append(match)
    return True


def _by_version(matches: Sequence[Match]) -> Mapping[int, tuple[list[TriggerVersion], list[Match]]]:
    """Matches by the id of the version whose guards judge them, with its triggers.

    It is the version in force; of a playbook that does not run any more, the version that opened the match.
    """
    grouped: dict[int, tuple[list[TriggerVersion], list[Match]]] = {}
    of_trigger: dict[int, int] = {}
    for version, triggers in running_versions():
        grouped[version.pk] = (triggers, [])
        of_trigger.update((trigger.trigger_id, version.pk) for trigger in triggers)
    retired = [match for match in matches if match.trigger_id not in of_trigger]
    if retired:
        keys = dict(Trigger.objects.filter(pk__in={m.trigger_id for m in retired}).values_list("pk", "key"))
        versions = PlaybookVersion.objects.in_bulk({match.version_id for match in retired})
        ids: dict[int, dict[str, int]] = {}
        for match in retired:
            ids.setdefault(match.version_id, {})[keys[match.trigger_id]] = match.trigger_id
        for version_id, names in ids.items():
            # Not beside those in force: the version may be in force for its other triggers.
            grouped[-version_id] = (TriggerVersion.of_some(versions[version_id], names), [])
    for match in matches:
        grouped[of_trigger.get(match.trigger_id, -match.version_id)][1].append(match)
    return {version_id: group for version_id, group in grouped.items() if group[1]}


@contextmanager
def _tolerating(version_id: int, broken: set[int], strict: bool) -> Iterator[None]:
    """Whatever a host's guard raises is noted, and its version is `broken` then; unless this is to be `strict`."""
    try:
        yield
    except Exception as error:
        # Whatever a host's guard raises is its own playbook's trouble, as in a run; the others go on.
        if strict or is_database_trouble(error):
            raise
        logger.exception("the guards of version %d could not be asked again", abs(version_id))
        broken.add(version_id)
