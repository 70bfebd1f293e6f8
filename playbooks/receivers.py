"""How the rooms below set the pipeline going: the one file of receivers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from csplaybooks.accounts import hooks, visibility
from csplaybooks.playbooks import heartbeats


def connect() -> None:
    """Connect the receivers and open the doors; called once, when the app is ready."""
    hooks.inputs_arrived.connect(poke_run, dispatch_uid="csplaybooks.poke_run")
    heartbeats.connect()
    if accounts_of_plays not in visibility.account_doors:
        visibility.account_doors.append(accounts_of_plays)
    hooks.member_leaves.connect(keep_who_has_plays, dispatch_uid="csplaybooks.keep_who_has_plays")
    hooks.hours_moved.connect(follow_hours, dispatch_uid="csplaybooks.follow_hours")
    hooks.regions_moved.connect(follow_regions, dispatch_uid="csplaybooks.follow_regions")
    hooks.rows_go.connect(keep_what_is_named, dispatch_uid="csplaybooks.keep_what_is_named")
    hooks.events_go.connect(let_signals_go, dispatch_uid="csplaybooks.let_signals_go")
    from csplaybooks.playbooks.models import Match, Play

    visibility.subject_doors[Play._meta.label_lower] = plays_seen
    visibility.subject_doors[Match._meta.label_lower] = matches_seen


def poke_run(**kwargs: Any) -> None:
    """Inputs arrived: look at what changed, once the transaction that brought them is committed."""
    from csplaybooks.playbooks.pokes import poke

    poke("run_changed")


def keep_who_has_plays(*, member: Any, **kwargs: Any) -> None:
    """Somebody stops working: the plays that wait for them must go to others first, or nobody would be accountable."""
    from csplaybooks.playbooks.models import Play

    waiting = Play.objects.open().filter(Play.worked_by_q(frozenset({member.pk}))).count()
    if waiting:
        plays = "an open play" if waiting == 1 else f"{waiting:,} open plays"
        instead = "“Let them leave the team”, an action of the list of members, hands on all that waits for them"
        raise ValidationError({"is_active": f"{member} owns or holds {plays}: {instead}."})


def follow_hours(*, members: frozenset[int], **kwargs: Any) -> None:
    """Team members work in other hours: the promises on their plays follow."""
    from csplaybooks.playbooks.acts.calendar_uses import hours_moved

    hours_moved(members=members)


def follow_regions(*, accounts: frozenset[int], **kwargs: Any) -> None:
    """Accounts are of another region: the promises on their plays follow where regions have calendars."""
    from csplaybooks.playbooks.acts.calendar_uses import regions_moved

    regions_moved(accounts=accounts)


def keep_what_is_named(*, sender: Any, rows: list[Any], **kwargs: Any) -> None:
    """Rows of the catalogue are deleted: what a published playbook names must stay, or it could not run."""
    from csplaybooks.accounts.models import Feature, Plan, Product
    from csplaybooks.playbooks.document import names_used
    from csplaybooks.playbooks.models import Calendar, Playbook
    from csplaybooks.signals.models import Meter, SignalType

    named = {
        **{SignalType: "signal_types", Meter: "meters", Product: "products", Plan: "plans"},
        **{Calendar: "calendars", Feature: "features"},
    }.get(sender)
    if named is None:
        return
    for playbook in Playbook.objects.exclude(published=None).select_related("published"):
        used = getattr(names_used(playbook.published.document), named)
        for row in rows:
            if row.key in used:
                raise ValidationError(f"{row} is in use: the published playbook {playbook} names it.")


def let_signals_go(*, sender: Any, ids: list[int], **kwargs: Any) -> None:
    """Signals are pruned: the contacts that they told of stay, and point at them no more."""
    from csplaybooks.playbooks.acts.touches import forget_signals
    from csplaybooks.signals.models import Signal

    if sender is Signal:
        forget_signals(signal_ids=ids)


def accounts_of_plays(members: frozenset[int]) -> QuerySet[Any]:
    """The accounts of open plays that these members own or hold: they see the account for the play's sake.

    Once the play is closed they still see the play, but the account no longer.
    """
    from csplaybooks.playbooks.models import Play

    return Play.objects.open().filter(Play.worked_by_q(members)).values("account")


def matches_seen(viewer: Any) -> QuerySet[Any]:
    """The ids of the matches that a user or an API token sees."""
    from csplaybooks.playbooks.models import Match

    return Match.objects.visible_to(viewer).values("pk")


def plays_seen(viewer: Any) -> QuerySet[Any]:
    """The ids of the plays that a user or an API token sees: what the timeline tells of others is not for them."""
    from csplaybooks.playbooks.models import Play

    return Play.objects.visible_to(viewer).values("pk")
