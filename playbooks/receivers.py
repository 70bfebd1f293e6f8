"""How the rooms below set the pipeline going: the one file of receivers."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from csplaybooks.accounts import hooks, visibility


def connect() -> None:
    """Connect the receivers and open the doors; called once, when the app is ready."""
    hooks.inputs_arrived.connect(poke_run, dispatch_uid="csplaybooks.poke_run")
    if accounts_of_plays not in visibility.account_doors:
        visibility.account_doors.append(accounts_of_plays)
    from csplaybooks.playbooks.models import Play

    visibility.subject_doors[Play._meta.label_lower] = plays_seen


def poke_run(**kwargs: Any) -> None:
    """Inputs arrived: look at what changed, once the transaction that brought them is committed."""
    from csplaybooks.playbooks.pokes import poke

    poke("run_changed")


def accounts_of_plays(members: frozenset[int]) -> QuerySet[Any]:
    """The accounts of open plays that these members own or hold: they see the account for the play's sake.

    Once the play is closed they still see the play, but the account no longer.
    """
    from csplaybooks.playbooks.models import Play

    return Play.objects.open().filter(Play.worked_by_q(members)).values("account")


def plays_seen(viewer: Any) -> QuerySet[Any]:
    """The ids of the plays that a user or an API token sees: what the timeline tells of others is not for them."""
    from csplaybooks.playbooks.models import Play

    return Play.objects.visible_to(viewer).values("pk")
