"""Motion and route: matches that were let in become plays, or fold into the account's open play of that motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from csplaybooks.accounts.acts.record import timeline_entry, write_timeline
from csplaybooks.accounts.models import Product
from csplaybooks.playbooks.asking_again import ask_again
from csplaybooks.playbooks.intervals import open_first_intervals
from csplaybooks.playbooks.models import Match, Play, PlayMatch, PlayStep, Route, Run, Stage
from csplaybooks.playbooks.models.matches import BY_VALUE
from csplaybooks.playbooks.pipeline.amounts import Amount, Case, product_in, work_out_amounts
from csplaybooks.playbooks.pipeline.queue import work_off
from csplaybooks.playbooks.route_rules import NO_FACTS, RouteFacts, choose_route, facts_of
from csplaybooks.playbooks.step_texts import frozen, steps_for
from csplaybooks.playbooks.steps import HELD_COLUMNS, write_steps


def open_plays(*, now: datetime, limit: int = 200) -> int:
    """Open plays from matches that were let in, best value first; answers how many were taken from the queue."""
    return work_off(Match.objects.admitted(), lambda ids: _open(ids, now), now=now, order_by=BY_VALUE, limit=limit)


@dataclass(frozen=True)
class Opening:
    """What a play is made of before it has a row."""

    account_id: int
    version: Any
    evidence: Sequence[Mapping[str, Any]]
    ceiling: str = ""
    origin: str = Play.Origin.MATCH
    reason: str = ""


def build_plays(openings: Sequence[Opening], now: datetime) -> list[Play]:
    """Unsaved plays with amount, route and expiry worked out; a constant number of queries."""
    amounts = work_out_amounts([Case(o.account_id, o.version.document["amount"], o.evidence) for o in openings], now)
    facts = facts_of({o.account_id for o in openings}, now)
    keys = {key for o in openings if (key := product_in(o.evidence))}
    products = dict(Product.objects.filter(key__in=keys).values_list("key", "pk"))
    return [
        _build(opening, amount, facts.get(opening.account_id, NO_FACTS), products, now)
        for opening, amount in zip(openings, amounts, strict=True)
    ]


def _build(opening: Opening, amount: Amount, facts: RouteFacts, products: Mapping[str, int], now: datetime) -> Play:
    document = opening.version.document
    routing = choose_route(document["routes"], facts, amount.minor, opening.ceiling)
    return Play(
        account_id=opening.account_id,
        playbook_id=opening.version.playbook_id,
        recipe=opening.version,
        motion=document["motion"],
        route=routing.route,
        routing=routing.frozen(),
        segment=facts.segment,
        product_id=products.get(product_in(opening.evidence) or ""),
        origin=opening.origin,
        reason=opening.reason,
        evidence=list(opening.evidence),
        expected_amount_minor=amount.minor,
        amount_working=amount.working,
        opened_at=now,
        expires_at=now + timedelta(days=routing.expires_days or document["expires_days"]),
        updated_at=now,
    )


def save_plays(plays: Sequence[Play], now: datetime) -> list[Play]:
    """Save new plays with their first interval and their steps; answers those that were saved.

    A play whose account got an open play of the same motion meanwhile is left out: the constraint decides, not a look
    beforehand.
    """
    # In one order for all workers: two that open the same motions in turn would wait for each other.
    in_order = sorted(plays, key=lambda play: (play.account_id, play.motion))
    Play.objects.bulk_create(in_order, ignore_conflicts=True)
    landed = {play.uid: play for play in Play.objects.filter(uid__in=[play.uid for play in plays])}
    for play in plays:
        if play.uid in landed:
            play.pk = landed[play.uid].pk
    saved = [play for play in plays if play.uid in landed]
    open_first_intervals(saved, now)
    PlayStep.objects.bulk_create(
        [
            PlayStep(play_id=play.pk, number=number, kind=step["kind"], text=step["text"], settings=frozen(step))
            for play in saved
            for number, step in steps_for(play.recipe.document, play.route)
        ]
    )
    return saved


def _open(match_ids: Sequence[int], now: datetime) -> None:
    claimed = list(
        Match.objects.filter(pk__in=match_ids)
        .select_related("account", "trigger__playbook", "version__playbook")
        .by_value()
    )
    newest = Run.objects.latest("pk")
    # By all that was told, claimed by a run or not: nothing is opened at an account that has left a moment ago.
    answers = ask_again(claimed, at=max(now, newest.moment), mark=None, strict=True)
    held, matches = answers.refused, answers.passed
    Match.objects.admitted().bulk_update(answers.lowered, ["ceiling", "route"])
    Match.objects.admitted().bulk_update(held, ["ceiling", *HELD_COLUMNS])
    # Of two matches of one account and motion in one batch the first opens, the others fold.
    first: dict[tuple[int, str], Match] = {}
    for match in matches:
        first.setdefault((match.account_id, match.version.document["motion"]), match)
    standing = _open_plays_of(first)
    openers = [match for key, match in first.items() if key not in standing]
    plays = build_plays([Opening(m.account_id, m.version, m.evidence, m.ceiling) for m in openers], now)
    for opener, built in zip(openers, plays, strict=True):
        # What the timeline calls the play is made of these; they are here already.
        built.account, built.playbook = opener.account, opener.version.playbook
    saved = {play.uid: play for play in save_plays(plays, now)}
    opened = {match.pk: saved[play.uid] for match, play in zip(openers, plays, strict=True) if play.uid in saved}
    if len(opened) < len(openers):
        # Somebody opened the same motion by hand in this very moment: fold into that one.
        standing = _open_plays_of(first)
    standing.update({(play.account_id, play.motion): play for play in opened.values()})
    links = []
    for match in matches:
        play = standing.get((match.account_id, match.version.document["motion"]))
        if play is None:
            raise RuntimeError("the play was not written, and no other stands in its way")
        match.state = Match.State.FIRED if match.pk in opened else Match.State.FOLDED
        match.play = play
        match.fired_at = now
        match.attempts = 0
        match.last_error = ""
        links.append(PlayMatch(play_id=play.pk, match=match, folded=match.pk not in opened, at=now))
    Match.objects.filter(state=Match.State.QUEUED).bulk_update(
        matches, ["state", "play", "fired_at", "attempts", "last_error"], batch_size=200
    )
    write_steps([*held, *matches], run_id=newest.pk, in_run=False, at=now)
    PlayMatch.objects.bulk_create(links)
    write_timeline(
        [_entry(match, standing[match.account_id, match.version.document["motion"]], now) for match in matches]
    )


def _open_plays_of(keys: Mapping[tuple[int, str], Any]) -> dict[tuple[int, str], Play]:
    plays = (
        Play.objects.open()
        .filter(account__in={account_id for account_id, _ in keys}, motion__in={motion for _, motion in keys})
        .select_related("account", "playbook")
    )
    return {(play.account_id, play.motion): play for play in plays}


def _entry(match: Match, play: Play, now: datetime) -> Any:
    words = "; ".join(item["words"] for item in match.evidence)
    name = match.version.document["name"]
    if match.state == Match.State.FOLDED:
        text = f"{name} also matched, and was added to the open play: {words}"
    else:
        text = f"{name} opened, by {Route(play.route).label}: {words}"
    return timeline_entry(
        account_id=match.account_id,
        at=now,
        now=now,
        kind="play_opened" if match.state == Match.State.FIRED else "match_folded",
        text=text,
        subject=play,
        data={"trigger": match.trigger_id, "match": match.pk, "stage": Stage.ROUTED},
    )
