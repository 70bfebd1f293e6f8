"""Ways to break what must hold of steps, mails and contacts; as in `tests.operations.breaking`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from csplaybooks.playbooks.factories import MailDraftFactory, PlayFactory, PlayStepFactory, TouchFactory

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

WAITING = {"state": "waiting", "began_at": None}
DONE = {"state": "done", "done_at": NOW}


def a_play_with_two_steps_to_do() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("DROP INDEX csp_play_step_one_current")
    first = PlayStepFactory()
    return id_of(PlayStepFactory(play=first.play, number=2))


def a_step_before_its_turn() -> int:
    first = PlayStepFactory(**WAITING)
    return id_of(PlayStepFactory(play=first.play, number=2))


def a_step_that_never_began() -> int:
    first = PlayStepFactory(**DONE)
    return id_of(PlayStepFactory(play=first.play, number=2, **WAITING))


def a_step_done_before_it_began() -> int:
    return id_of(PlayStepFactory(**DONE, began_at=NOW + timedelta(seconds=1)))


def a_closed_play_with_a_step_to_do() -> int:
    play = PlayFactory(stage="closed", outcome="won", closed_at=NOW, interval=None)
    return id_of(PlayStepFactory(play=play))


def a_draft_sent_without_mail() -> int:
    return id_of(MailDraftFactory(state="sent", sent_at=NOW))


def a_draft_on_its_way_without_mail() -> int:
    return id_of(MailDraftFactory(state="queued"))


def a_contact_by_a_draft_that_was_not_sent() -> int:
    draft = MailDraftFactory()
    draft.touch = TouchFactory(play=draft.play, origin="draft")
    draft.save()
    return id_of(draft)


def a_contact_by_no_draft() -> int:
    return id_of(TouchFactory(origin="draft"))


def a_draft_of_a_step_that_is_over() -> int:
    draft = MailDraftFactory(step__state="skipped", step__done_at=NOW)
    return id_of(draft)


def a_prompt_that_is_two_contacts() -> int:
    first = TouchFactory(channel="prompt", origin="signal")
    return id_of(TouchFactory(play=first.play, channel="prompt", origin="signal"))


def id_of(row: Any) -> int:
    pk: int = row.pk
    return pk


BREAKERS: dict[str, list[Callable[[], int]]] = {
    "one_step_to_do": [a_play_with_two_steps_to_do],
    "steps_in_order": [a_step_before_its_turn],
    "next_step_begins": [a_step_that_never_began],
    "steps_end_after_they_begin": [a_step_done_before_it_began],
    "closed_plays_have_no_steps_left": [a_closed_play_with_a_step_to_do],
    "sent_drafts_have_mail": [a_draft_sent_without_mail, a_draft_on_its_way_without_mail],
    "drafts_are_their_own_contacts": [a_contact_by_a_draft_that_was_not_sent],
    "contacts_by_draft_have_it": [a_contact_by_no_draft],
    "no_draft_of_a_step_that_is_over": [a_draft_of_a_step_that_is_over],
    "one_contact_by_prompt": [a_prompt_that_is_two_contacts],
}
