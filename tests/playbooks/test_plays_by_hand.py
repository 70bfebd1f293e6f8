"""Plays opened by hand: they go the way of all others, and what stands in their way is named."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, TimelineEntry
from csplaybooks.playbooks.acts.plays import open_play_by_hand
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import Interval, Play
from csplaybooks.playbooks.pipeline.sweep import work
from tests.playbooks.plays import NOW, broken, intervals

pytestmark = pytest.mark.django_db


def test_a_play_opened_by_hand_goes_the_way_of_all_others() -> None:
    CalendarFactory()
    carla, manager = TeamMemberFactory(), UserFactory(username="mona")
    account = AccountFactory(csm=carla)
    playbook = PlaybookVersionFactory().playbook
    play = open_play_by_hand(
        account_id=account.pk, playbook_id=playbook.pk, reason="  They asked. ", now=NOW, actor=manager
    )
    assert (play.stage, play.origin, play.reason, play.route) == ("routed", "hand", "They asked.", "csm")
    assert intervals(play) == [("routed", "working", "tray", NOW, None)]
    entry = TimelineEntry.objects.get()
    assert entry.text == f"{playbook.name} opened by hand: They asked."
    assert (entry.actor, entry.actor_label, entry.account) == (manager, "mona", account)
    work(now=NOW)
    play.refresh_from_db()
    assert play.owner == carla
    assert play.clocks.count() == 1
    assert broken() == []


def test_what_stands_in_the_way_of_a_play_by_hand_is_named() -> None:
    account, playbook = AccountFactory(name="Acme"), PlaybookVersionFactory().playbook

    def refused(field: str, **changes: Any) -> str:
        wanted: dict[str, Any] = {"account_id": account.pk, "playbook_id": playbook.pk, "reason": "They asked."}
        with pytest.raises(ValidationError) as caught:
            open_play_by_hand(**{**wanted, **changes}, now=NOW)
        (message,) = caught.value.message_dict[field]
        return message

    assert refused("reason", reason=" ") == "Say why you open it by hand."
    assert refused("reason", reason="x" * 501) == "At most 500 characters, not 501."
    assert refused("reason", reason="a\0b") == "A NUL character cannot be kept."
    assert refused("playbook", playbook_id=PlaybookFactory().pk) == "This playbook was never published."
    assert refused("playbook", playbook_id=0) == "This playbook was never published."
    assert refused("account", account_id=0).startswith("This account was deleted or merged")
    Account.objects.filter(pk=account.pk).update(deleted_at=NOW)
    assert refused("account").startswith("This account was deleted or merged")
    Account.objects.filter(pk=account.pk).update(deleted_at=None, merged_into=AccountFactory())
    assert refused("account").startswith("This account was deleted or merged")
    Account.objects.filter(pk=account.pk).update(merged_into=None)
    open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
    assert refused("account") == "Acme has an open play of this motion already: Seat expansion."
    assert Play.objects.count() == 1
    assert Interval.objects.count() == 1
