"""Anything done to plays, in any order and at any time, leaves all invariants whole."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Max
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    open_play_by_hand,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.pipeline.sweep import expire_plays, lapse_waiting_offers, wake_plays, watch_all, work
from tests.examples import examples
from tests.playbooks.plays import DAY, HOUR, NOW, broken

pytestmark = pytest.mark.django_db

SECONDS = st.one_of(
    st.sampled_from([0, 0, 0, 1, -1, -30]),
    st.integers(0, 8 * 3600),
    st.sampled_from([HOUR, 4 * HOUR, 8 * HOUR, DAY, 3 * DAY]).map(lambda span: int(span.total_seconds())),
)
OPENING = ["open", "open", "work", "work"]
WORKING = ["assign", "start", "touch", "old touch", "pause", "dated pause", "resume"]
OFFERING = ["offer", "offer", "accept", "refuse", "take back", "lapse"]
CLOSING = ["won", "declined", "withdrawn", "expire"]
DEEDS = st.sampled_from([*OPENING, *WORKING, *OFFERING, *CLOSING, "watch", "watch", "wake"])


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(deeds=st.lists(st.tuples(DEEDS, SECONDS, st.integers(0, 2)), min_size=5, max_size=30))
def test_whatever_is_done_at_whatever_time_all_invariants_hold(deeds: list[tuple[str, int, int]]) -> None:
    with transaction.atomic():
        CalendarFactory()
        members = TeamMemberFactory.create_batch(2, is_account_executive=True)
        accounts = AccountFactory.create_batch(3)
        draft = "key: any\nname: Any\nmotion: add_on\ntriggers: [{key: t, any: [{all: [{measure: open_gap}]}]}]\n"
        draft += "routes: [{route: csm}]\nexpires_days: 6\ntargets:\n"
        draft += "  - {target: first_touch, hours: 8}\n  - {target: closed, hours: 60, counting: wall}\n"
        draft += "  - {target: handoff_accepted, hours: 2, lapse_after_hours: 6}\n"
        playbook = PlaybookVersionFactory(playbook=PlaybookFactory(key="any", motion="add_on", draft=draft)).playbook
        now = NOW
        for deed, seconds, which in deeds:
            now += timedelta(seconds=seconds)
            ids = list(Play.objects.filter(account=accounts[which]).order_by("-pk").values_list("pk", flat=True)[:2])
            _do(deed, ids, accounts[which], playbook, members[which % 2], now)
            assert broken() == [], (deed, now)
        watch_all(now=now)
        assert broken() == []
        transaction.set_rollback(True)


def _do(deed: str, ids: list[int], account: Account, playbook: Any, member: Any, now: datetime) -> None:
    match deed:
        case "open":
            if not Play.objects.open().filter(account=account).exists():
                open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="Why not", now=now)
        case "work":
            work(now=now)
        case "watch":
            watch_all(now=now)
        case "wake":
            wake_plays(now=now)
        case "expire":
            expire_plays(now=now)
        case "assign":
            assign_plays(play_ids=ids, owner_id=member.pk, now=now)
        case "offer":
            # Nobody is offered what they own.
            free = [pk for pk in ids if not Play.objects.filter(pk=pk, owner=member).exists()]
            offer_plays(play_ids=free, to_id=member.pk, now=now)
        case "accept":
            accept_plays(play_ids=ids, now=now)
        case "refuse":
            refuse_plays(play_ids=ids, reason="Not for us", now=now)
        case "take back":
            take_back_plays(play_ids=ids, now=now)
        case "lapse":
            lapse_waiting_offers(now=now)
        case "start":
            start_plays(play_ids=ids, now=now)
        case "touch":
            log_touch(play_ids=ids, channel="call", now=now)
        case "old touch":
            # A contact cannot lie before its play; of several plays the youngest counts.
            opened = Play.objects.filter(pk__in=ids).aggregate(latest=Max("opened_at"))["latest"]
            if opened is not None and opened <= now:
                log_touch(play_ids=ids, channel="call", at=max(now - 10 * HOUR, opened), now=now)
        case "pause":
            pause_plays(play_ids=ids, reason="Holidays", now=now)
        case "dated pause":
            pause_plays(play_ids=ids, reason="Holidays", wakes_at=now + 5 * HOUR, now=now)
        case "resume":
            resume_plays(play_ids=ids, now=now)
        case outcome:
            close_plays(play_ids=ids, outcome=outcome, reason="So it is", now=now)
