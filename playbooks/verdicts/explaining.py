"""Why, and why not: one account, or a few, under some triggers, with all that was found and all that guards say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Case, Q, Value, When

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.evaluator import TriggerVersion, audience_q
from csplaybooks.playbooks.guards import Hold, Panel
from csplaybooks.playbooks.guards.base import Answer
from csplaybooks.playbooks.guards.judging import Judgement
from csplaybooks.playbooks.measures import Moment, get_measure
from csplaybooks.playbooks.quotes import words_for
from csplaybooks.playbooks.reach import Forgotten, require_kept
from csplaybooks.playbooks.verdicts.asked import Asked
from csplaybooks.playbooks.verdicts.audience import Facets
from csplaybooks.playbooks.verdicts.episodes import Episode, episodes
from csplaybooks.playbooks.verdicts.kinds import Kind, Verdict
from csplaybooks.playbooks.verdicts.places import verdict_of
from csplaybooks.playbooks.verdicts.sentences import guard_as_json, sentence
from csplaybooks.playbooks.verdicts.sorting import panel_of

#: So many accounts are explained at once.
MOST_EXPLAINED = 200


@dataclass(frozen=True)
class AudienceAnswer:
    """Whether an account is in the audience, and why, or why not."""

    holds: bool
    words: str


@dataclass(frozen=True)
class ConditionAnswer:
    """One condition: whether it holds, and what was found and what was needed in words."""

    holds: bool
    words: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class GroupAnswer:
    """One group: all its conditions, also those behind one that fails."""

    conditions: tuple[ConditionAnswer, ...]

    @property
    def holds(self) -> bool:
        """Whether all its conditions hold."""
        return all(condition.holds for condition in self.conditions)

    @property
    def failing(self) -> int | None:
        """The first condition that fails, counted from 0; None: none does."""
        return next((index for index, condition in enumerate(self.conditions) if not condition.holds), None)


@dataclass(frozen=True)
class Explanation:
    """The one verdict of an account under a trigger at a moment, and all that it stands on.

    `sentence` says it in words. `guards` is what each guard says of a new match there, in the order in which they are
    asked, also where none is asked because of an earlier answer; `episode` is the match that stood, if one did. What
    held that one is in the episode itself.

    Where the question cannot be answered (what it looks at was pruned, or a measure or a guard is not registered)
    `verdict` is None, and `problem` and `sentence` say why; of the rest there is what could be told.
    """

    account_id: int
    trigger: TriggerVersion
    verdict: Verdict | None
    sentence: str
    audience: AudienceAnswer | None = None
    groups: tuple[GroupAnswer, ...] = ()
    guards: tuple[Answer, ...] = ()
    episode: Episode | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """The explanation as plain values for an API; moments as ISO 8601 texts, ids of a draft as null."""
        return {
            "account": self.account_id,
            "trigger": self.trigger.trigger_id or None,
            "trigger_key": self.trigger.definition["key"],
            "verdict": self.verdict.key if self.verdict else None,
            "sentence": self.sentence,
            "audience": vars(self.audience).copy() if self.audience else None,
            "groups": [
                {
                    "holds": group.holds,
                    "conditions": [
                        {
                            "measure": condition.settings["measure"],
                            "holds": condition.holds,
                            "words": condition.words,
                            "settings": dict(condition.settings),
                        }
                        for condition in group.conditions
                    ],
                }
                for group in self.groups
            ],
            "guards": [guard_as_json(answer) for answer in self.guards],
            "episode": self.episode.as_json() if self.episode else None,
        }


def explain(
    triggers: Sequence[TriggerVersion], asked: Asked, account_ids: Sequence[int], viewer: Any = None
) -> dict[int, list[Explanation]]:
    """Everything about some accounts under some triggers: by account id, in the order of `triggers`.

    In the words is what the `viewer` may read, a user or an API token (None: everything); see
    `csplaybooks.playbooks.quotes`.

    One query for each trigger, one for each playbook version, and one for the episodes (two of the past). An id that
    is no account's is left out. Raises ValueError for more than `MOST_EXPLAINED` accounts. Who may see the accounts is
    for the caller to ask.
    """
    ids = sorted(set(account_ids))
    if len(ids) > MOST_EXPLAINED:
        raise ValueError(f"{len(ids):,} accounts were asked about, and at most {MOST_EXPLAINED} are explained at once")
    published = [trigger.trigger_id for trigger in triggers if not trigger.is_draft]
    standing = episodes(asked, published, ids) if published and ids else {}
    answers: dict[int, list[Explanation]] = {}
    panels: dict[int, Panel | str] = {}
    for trigger in triggers if ids else ():
        try:
            # Asked before anything else: what cannot be answered is said, and the other triggers are answered.
            for group in trigger.definition["any"]:
                for settings in group["all"]:
                    get_measure(settings["measure"])
            require_kept(trigger.definition, asked.moment, asked.known)
        except (Forgotten, LookupError) as error:
            problem = _said(error)
            found = {pk: Explanation(pk, trigger, None, problem, problem=problem) for pk in _there(ids)}
        else:
            panel = _panel_for(trigger, triggers, asked, ids, panels)
            found = {
                row["pk"]: _explained(trigger, asked, row, panel, standing.get((trigger.trigger_id, row["pk"])), viewer)
                for row in _rows(trigger, Moment(asked.moment, asked.known, tuple(ids)))
            }
        for pk, explanation in found.items():
            answers.setdefault(pk, []).append(explanation)
    return answers


def _there(ids: Sequence[int]) -> list[int]:
    return list(Account.objects.filter(pk__in=ids).order_by("pk").values_list("pk", flat=True))


def _said(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _panel_for(
    trigger: TriggerVersion,
    triggers: Sequence[TriggerVersion],
    asked: Asked,
    ids: Sequence[int],
    panels: dict[int, Panel | str],
) -> Panel | str:
    """The guards of a trigger's version, asked for once for all its triggers; or why they cannot be asked."""
    # Triggers of one document share its guards.
    key = id(trigger.guards)
    if key not in panels:
        together = [each for each in triggers if each.guards is trigger.guards]
        try:
            panels[key] = panel_of(together, asked, _there(ids))
        except (Forgotten, LookupError) as error:
            panels[key] = _said(error)
    return panels[key]


def _rows(trigger: TriggerVersion, moment: Moment) -> Iterator[dict[str, Any]]:
    """All that is found of the accounts, whatever holds; one query."""
    columns: dict[str, Any] = {"inside": _holds(audience_q(trigger.audience, moment))}
    columns |= Facets(trigger.audience).columns(moment)
    for g, group in enumerate(trigger.definition["any"]):
        for c, settings in enumerate(group["all"]):
            measure = get_measure(settings["measure"])
            columns[f"g{g}c{c}"] = _holds(Q(measure.compile(settings, moment).holds))
            for name, expression in measure.explain(settings, moment).items():
                columns[f"g{g}c{c}_{name}"] = expression
    accounts = Account.objects.known_at(moment.known.mark).filter(pk__in=moment.accounts or ()).order_by("pk")
    rows: Iterator[dict[str, Any]] = accounts.values("pk", **columns).iterator()
    return rows


def _holds(condition: Q) -> Any:
    if not condition:
        return Value(True, output_field=BooleanField())
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def _explained(
    trigger: TriggerVersion,
    asked: Asked,
    row: Mapping[str, Any],
    panel: Panel | str,
    episode: Episode | None,
    viewer: Any,
) -> Explanation:
    account_id: int = row["pk"]
    audience = AudienceAnswer(row["inside"], Facets(trigger.audience).words(row))
    groups = tuple(
        GroupAnswer(tuple(_answer(settings, f"g{g}c{c}", row, viewer) for c, settings in enumerate(group["all"])))
        for g, group in enumerate(trigger.definition["any"])
    )
    guards = () if isinstance(panel, str) else tuple(panel.answers(account_id, trigger.trigger_id or None))
    places = [account_id if group.failing is None else -1 - group.failing for group in groups]
    failed = verdict_of(places if audience.holds else [0])
    verdict: Verdict | None
    hold: Hold | None = None
    problem = ""
    if isinstance(failed, Verdict):
        verdict = failed
    elif episode is not None:
        verdict = episode.verdict(asked.newest)
    elif isinstance(panel, str):
        verdict, problem = None, panel
    else:
        hold = Judgement.of(guards).hold
        verdict = Verdict.held(hold.guard) if hold else Verdict(Kind.QUEUED)
    if verdict is None:
        said = problem
    elif verdict.kind == Kind.OUTSIDE:
        said = f"Outside the audience: {audience.words}."
    elif verdict.kind == Kind.FAILED:
        said = f"Failed: {groups[verdict.group].conditions[verdict.condition].words}."
    else:
        said = sentence(verdict, episode, hold, past=asked.past)
    return Explanation(account_id, trigger, verdict, said, audience, groups, guards, episode, problem)


def _answer(settings: Mapping[str, Any], prefix: str, row: Mapping[str, Any], viewer: Any) -> ConditionAnswer:
    found = {name.removeprefix(f"{prefix}_"): value for name, value in row.items() if name.startswith(f"{prefix}_")}
    return ConditionAnswer(row[prefix], words_for(viewer, settings, found), settings)
