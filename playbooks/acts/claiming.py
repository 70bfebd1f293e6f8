"""Acts by which people take plays for themselves, and give them back.

Each takes a set of play ids and answers per id, as those of `csplaybooks.playbooks.acts.plays` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from csplaybooks.accounts.acts.record import require_aware
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.moving import Answers, Seen, act_on_plays, fresh_clocks, words
from csplaybooks.playbooks.intervals import Move
from csplaybooks.playbooks.models import Interval, Play, Stage, State
from csplaybooks.playbooks.moves import Rights, allowed_q, refusal, stands_right_q
from csplaybooks.playbooks.people import People, full_in_words, lock_team, may_own
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.route_rules import Routing


@transaction.atomic
def claim_plays(*, play_ids: Iterable[int], now: datetime, actor: Any, seen: Seen = None) -> Answers:
    """Take plays that nobody owns, or that stand in the tray: the person who acts owns and holds them from now on.

    For CSMs, AEs and managers, of plays that they see, as far as their cap goes, in the order given; not where the
    rule of the play's route keeps people from it (`claim: false`). Of two who claim one play at the same instant one
    gets it, and the other is told who. Raises ValidationError where the one who acts is no member of the team.
    """
    require_aware(now=now)
    wanted = list(dict.fromkeys(play_ids))
    # Before any play is locked, as everywhere; so that two claims of one person never overshoot their cap.
    lock_team()
    people = People.at(now)
    claimant = _member_of(actor, people)
    refused = _not_for(claimant, wanted, people, actor)

    def move(play: Play) -> Move:
        stage = Stage.OWNED if play.stage == Stage.ROUTED else Stage(play.stage)
        return Move(play.pk, stage, State.WORKING, claimant.pk, claimant.pk, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        Play.objects.filter(pk__in=[play.pk for play in plays]).update(tray_at=None)
        fresh_clocks(plays, now)
        poke("work")

    def text(play: Play) -> str:
        return f"Claimed by {claimant.name}" + (f", from {play.owner}" if play.owner_id else "")

    mine = [pk for pk in wanted if pk not in refused]
    answers = refused | act_on_plays("claim", mine, move, text, now, actor, after=after, seen=seen)
    return {pk: answers[pk] for pk in wanted}


def _member_of(actor: Any, people: People) -> TeamMember:
    """The team member who acts."""
    user_id = getattr(actor, "pk", None) if getattr(actor, "is_authenticated", False) else None
    for member in people.members.values():
        if user_id is not None and member.user_id == user_id:
            return member
    raise ValidationError({"owner": "Only an active member of the team can claim plays."})


def _not_for(claimant: TeamMember, wanted: Sequence[int], people: People, actor: Any) -> Answers:
    """The plays that cannot be this person's, whatever their stage, with the reason; one query."""
    rows = Play.objects.visible_to(actor).filter(stands_right_q("claim"), pk__in=wanted)
    found = {pk: (owner_id, Routing.read(route, frozen)) for pk, owner_id, route, frozen in rows.values_list(*_READ)}
    seen = set(Play.objects.visible_to(actor).filter(pk__in=wanted).values_list("pk", flat=True))
    refused: Answers = {pk: "there is no such play" for pk in wanted if pk not in seen}
    load, cap = people.load[claimant.pk], claimant.open_play_cap
    for pk in wanted:
        if pk not in found:
            # As it stands it cannot be claimed by anybody: the table of moves says why.
            continue
        owner_id, routing = found[pk]
        heavy = routing.route.counts_toward_load and owner_id != claimant.pk
        if not routing.claim:
            refused[pk] = "its playbook lets nobody claim it: a manager assigns it"
        elif not may_own(claimant, routing.route):
            refused[pk] = f"{claimant} owns no plays by {routing.route.label}"
        elif heavy and load >= cap:
            refused[pk] = full_in_words(claimant, load)
        else:
            load += heavy
    return refused


_READ = ("pk", "owner", "route", "routing")


@transaction.atomic
def release_plays(
    *, play_ids: Iterable[int], reason: str, now: datetime, actor: Any = None, seen: Seen = None
) -> Answers:
    """Give back plays: they stand in the tray until somebody claims them or they are assigned.

    As with an offer that nobody answered, the owner stays accountable until then, and the nearest manager above them
    holds the play. For the owner, or somebody above them. A play whose owner has no manager above stays, and its answer
    says so. Raises ValidationError without a reason.
    """
    require_aware(now=now)
    reason = words("reason", reason, "Say why you give it back.")
    wanted = list(dict.fromkeys(play_ids))
    # So that no manager who leaves at this moment holds it from then on.
    lock_team()
    people = People.at(now)
    above = {pk: manager for pk in people.names if (manager := people.manager_above(pk)) is not None}

    def move(play: Play) -> Move:
        holder_id = above[play.owner_id or 0]
        return Move(play.pk, Stage(play.stage), State.WORKING, play.owner_id, holder_id, Interval.HeldBy.MEMBER)

    def after(plays: Sequence[Play]) -> None:
        Play.objects.filter(pk__in=[play.pk for play in plays]).update(tray_at=now)

    def text(play: Play) -> str:
        return f"Given back by {play.owner}: {reason}; waits for {people.names[above[play.owner_id or 0]]}"

    only = Q(owner__in=list(above), tray_at__isnull=True)
    answers = act_on_plays("release", wanted, move, text, now, actor, after=after, only=only, seen=seen)
    left = [pk for pk, answer in answers.items() if answer is not None]
    rights = Rights.of(actor, now)
    alone = Play.objects.filter(allowed_q("release", rights), pk__in=left).exclude(owner__in=list(above))
    for play in alone.with_step().select_related("owner", "holder"):
        why = f"no manager stands above {play.owner} who could hold it: assign it to somebody"
        answers[play.pk] = refusal("release", play, rights, why=why)
    return answers
