"""Invariants of runs and the matches they open and close, and of the playbooks they ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import Lag

from csplaybooks.playbooks.invariants.registry import Invariant, by_query
from csplaybooks.playbooks.models import Match, MatchStep, Playbook, PlayMatch, Run
from csplaybooks.playbooks.sums import STATES, SUM


def _runs_out_of_order() -> QuerySet[Any]:
    """Runs whose moment lies before that of the run before them."""
    before: QuerySet[Any] = Run.objects.annotate(before=Window(Lag("moment"), order_by="pk"))
    return before.filter(before__gt=F("moment"))


def _runs_with_other_matches(limit: int, chunk: int) -> tuple[int, list[int], str]:
    """Runs that counted other numbers of matches opened or closed, by trigger, than there are; in chunks."""
    count = 0
    wrong: list[int] = []
    last = 0
    while runs := list(Run.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "counts")[:chunk]):
        first, last = runs[0][0], runs[-1][0]
        opened = _matches_by("opened_run", first, last)
        closed = _matches_by("closed_run", first, last)
        for pk, counts in runs:
            told = {int(trigger): (each["opened"], each["closed"]) for trigger, each in counts.items()}
            # Episodes of triggers that no running version has any more are closed without being counted by trigger.
            right = all(
                opened.get((pk, trigger), 0) == number and closed.get((pk, trigger), 0) == ended
                for trigger, (number, ended) in told.items()
            ) and (not told or all(trigger in told for run, trigger in opened if run == pk))
            if not right:
                count += 1
                wrong += [pk][: limit - len(wrong)]
    return count, wrong, Run._meta.label


def _matches_by(run: str, first: int, last: int) -> dict[tuple[int, int], int]:
    rows = Match.objects.filter(**{f"{run}__gte": first, f"{run}__lte": last}).order_by()
    counted = rows.values(run, "trigger").annotate(n=Count("pk")).values_list(run, "trigger", "n")
    return {(run_id, trigger): n for run_id, trigger, n in counted}


def _matches_unlike_their_runs() -> QuerySet[Any]:
    """Matches that were opened or closed at another moment than that of the run which did it."""
    rows: QuerySet[Any] = Match.objects.filter(
        ~Q(opened_at=F("opened_run__moment"))
        | (Q(closed_run__isnull=False) & ~Q(closed_at=F("closed_run__moment")))
        | Q(closed_run__lte=F("opened_run"))
    )
    return rows


def _open_twice() -> QuerySet[Any]:
    other = Match.objects.episode_open().filter(trigger=OuterRef("trigger"), account=OuterRef("account"))
    rows: QuerySet[Any] = Match.objects.episode_open().filter(Exists(other.exclude(pk=OuterRef("pk"))))
    return rows


def _closed_and_waiting() -> QuerySet[Any]:
    rows: QuerySet[Any] = Match.objects.unfired().filter(closed_run__isnull=False)
    return rows


def _fired_without_play() -> QuerySet[Any]:
    return Match.objects.filter(state__in=[Match.State.FIRED, Match.State.FOLDED]).exclude(
        play_match__play=F("play"), play__account=F("account")
    )


def _links_unlike_their_match() -> QuerySet[Any]:
    """Links of a play to a match that did not fire, or which tell a folded match from one that opened it wrongly."""
    rows: QuerySet[Any] = PlayMatch.objects.exclude(
        Q(folded=True, match__state=Match.State.FOLDED) | Q(folded=False, match__state=Match.State.FIRED)
    )
    return rows


def _matches_unlike_their_last_step() -> QuerySet[Any]:
    later = MatchStep.objects.filter(match=OuterRef("match"), pk__gt=OuterRef("pk"))
    said = MatchStep.objects.filter(
        ~Exists(later),
        match=OuterRef("pk"),
        **{name: OuterRef(name) for name in ("state", "held_by", "held_reason", "ceiling")},
    )
    let_in = Q(state=Match.State.QUEUED, admitted_run__isnull=False)
    right = (let_in & Exists(said.filter(admitted=True))) | (~let_in & Exists(said.filter(admitted=False)))
    return Match.objects.exclude(right)


def _runs_with_open_sums(limit: int, chunk: int) -> tuple[int, list[int], str]:
    """Runs whose sums do not close; what a run kept of them is asked, and not counted anew."""
    count = 0
    wrong: list[int] = []
    last = 0
    while runs := list(Run.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "counts", "errors")[:chunk]):
        last = runs[-1][0]
        for pk, counts, errors in runs:
            if any(key.startswith(SUM) for key in errors) or not all(map(_closes, counts.values())):
                count += 1
                wrong += [pk][: limit - len(wrong)]
    return count, wrong, Run._meta.label


def _closes(counts: Mapping[str, Any]) -> bool:
    episodes = counts.get("episodes")
    return episodes is None or episodes["all"] == sum(episodes[state.value] for state in STATES)


def _matches_of_other_playbooks() -> QuerySet[Any]:
    return Match.objects.exclude(version__playbook=F("trigger__playbook"))


def _publishing_others() -> QuerySet[Any]:
    return Playbook.objects.filter(published__isnull=False).exclude(published__playbook=F("pk"))


INVARIANTS = (
    by_query("runs_in_order", "A run's moment is not before that of the run before it.", _runs_out_of_order),
    Invariant(
        "runs_count_their_matches",
        "A run counted, by trigger, the matches that it opened and closed.",
        _runs_with_other_matches,
    ),
    by_query(
        "matches_follow_their_runs",
        "A match is opened at the moment of a run, and closed at that of a later one.",
        _matches_unlike_their_runs,
    ),
    by_query("one_open_match_per_trigger", "An account has one open match of a trigger.", _open_twice),
    by_query("closed_matches_wait_for_nothing", "A closed match neither waits nor is held.", _closed_and_waiting),
    by_query("fired_matches_have_play", "A match that fired or folded has a play of its account.", _fired_without_play),
    by_query(
        "plays_know_their_matches",
        "A match that a play knows opened it, or was folded into it, as the play says.",
        _links_unlike_their_match,
    ),
    by_query(
        "steps_tell_their_match",
        "The last step of a match says what the match says.",
        _matches_unlike_their_last_step,
    ),
    Invariant("sums_of_runs_close", "What a run counted of a trigger's episodes adds up.", _runs_with_open_sums),
    by_query(
        "matches_of_their_playbook", "A match's version and trigger are of one playbook.", _matches_of_other_playbooks
    ),
    by_query("playbooks_publish_their_own", "What a playbook publishes is a version of it.", _publishing_others),
)
