"""What a question over REST is about: a past moment, a run, or now; a playbook; members of the team."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms

from csplaybooks.accounts.api import MomentFormField
from csplaybooks.accounts.models import TeamMember
from csplaybooks.api.problems import FieldError, Problem
from csplaybooks.playbooks.models import Playbook, Run
from csplaybooks.playbooks.verdicts import EARLIEST, Asked

_LARGEST_ID = 2**63 - 1


class WhenQuery(forms.Form):
    """When, and knowing what: a moment with today's knowledge, a run with its own, or neither for the present."""

    at = MomentFormField(required=False)
    run = forms.IntegerField(min_value=1, max_value=_LARGEST_ID, required=False)


def asked_of(values: dict[str, Any], now: datetime) -> Asked:
    """What the parameters of `WhenQuery` ask about.

    Raises Problem: 400 `invalid_filter` for a moment together with a run, one that lies ahead, or one before
    `EARLIEST`; 404 `unknown_run`.
    """
    at, run_id = values["at"], values["run"]
    if at is not None and run_id is not None:
        raise _bad("at", "Name a moment or a run, not both: a run has its own moment.")
    if run_id is not None:
        run = Run.objects.filter(pk=run_id, finished_at__isnull=False).first()
        if run is None:
            raise Problem(status=404, code="unknown_run", message=f"There is no run {run_id}.")
        return Asked.of_run(run)
    if at is not None and at > now:
        raise _bad("at", "This lies ahead: nothing is known of it yet.")
    if at is not None and at < EARLIEST:
        raise _bad("at", "Ask from 2000-01-01 on.")
    return Asked.now(now) if at is None else Asked.at(at)


def playbook_called(viewer: Any, key: str) -> Playbook:
    """The playbook of this key, with the version that runs. Raises Problem 404 `unknown_playbook`."""
    playbooks = Playbook.objects.visible_to(viewer).select_related("published")
    playbook: Playbook | None = playbooks.filter(key=key).first()
    if playbook is None:
        raise _unknown("unknown_playbook", "playbook", "There is no playbook with this key.")
    return playbook


def require_members(viewer: Any, ids: Mapping[str, int | None]) -> None:
    """Refuse ids of members that there are not, by the parameter; those who have left are some. One query at most.

    Raises Problem 404 `unknown_member`.
    """
    wanted = {pk for pk in ids.values() if pk is not None}
    if not wanted:
        return
    there = set(TeamMember.objects.visible_to(viewer).filter(pk__in=wanted).values_list("pk", flat=True))
    for name, pk in ids.items():
        if pk is not None and pk not in there:
            raise _unknown("unknown_member", name, f"There is no team member {pk}.")


def _unknown(code: str, name: str, message: str) -> Problem:
    return Problem(status=404, code=code, message=message, errors=[FieldError((name,), code, message)])


def _bad(name: str, message: str) -> Problem:
    error = FieldError((name,), "invalid", message)
    return Problem(status=400, code="invalid_filter", message=error.sentence, errors=[error])
