"""Two people act on the same plays at the same instant: each is told, and nothing is lost."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, open_play_by_hand, pause_plays, start_plays
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookVersionFactory
from csplaybooks.playbooks.models import Interval, Play
from csplaybooks.playbooks.pipeline.sweep import work
from tests.at_once import at_once
from tests.playbooks.plays import HOUR, NOW, broken, done, owned

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
def test_of_two_who_start_the_same_play_one_is_told() -> None:
    plays = [owned().pk for _ in range(8)]
    first, second = at_once(*[lambda: start_plays(play_ids=plays, now=NOW + HOUR)] * 2)
    for pk in plays:
        assert sorted([first[pk] or "", second[pk] or ""]) == [
            "",
            "Start is not possible: the play is running and working; possible: Assign, Release, Log a contact, Pause, "
            "Offer, Mark as won, Mark as lost, Decline, Expire, Withdraw",
        ]
    assert TimelineEntry.objects.count() == 8
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_assign_at_once_follow_each_other() -> None:
    plays = [owned().pk for _ in range(8)]
    carla, dora = TeamMemberFactory(), TeamMemberFactory()
    answers = at_once(
        lambda: assign_plays(play_ids=plays, owner_id=carla.pk, now=NOW + HOUR),
        lambda: assign_plays(play_ids=plays[::-1], owner_id=dora.pk, now=NOW + HOUR),
    )
    assert all(done(answer) for answer in answers)
    # Both were heard on each play, one after the other.
    assert set(Play.objects.values_list("owner", flat=True)) <= {carla.pk, dora.pk}
    assert Interval.objects.count() == 24
    assert not Play.objects.filter(version__lt=3).exists()
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_of_two_managers_who_saw_the_same_plays_and_assign_at_once_one_wins() -> None:
    plays = [owned().pk for _ in range(8)]
    carla, dora = TeamMemberFactory(), TeamMemberFactory()
    seen = dict(Play.objects.values_list("pk", "version"))
    answers = at_once(
        lambda: assign_plays(play_ids=plays, owner_id=carla.pk, now=NOW + HOUR, seen=seen),
        lambda: assign_plays(play_ids=plays[::-1], owner_id=dora.pk, now=NOW + HOUR, seen=seen),
    )
    owners = dict(Play.objects.values_list("pk", "owner"))
    for pk in plays:
        won, lost = sorted(answers, key=lambda answer: answer[pk] is not None)
        assert won[pk] is None
        assert "somebody else was first" in (lost[pk] or "")
        assert owners[pk] == (carla.pk if won is answers[0] else dora.pk)
    assert Interval.objects.count() == 16
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_one_closes_while_another_pauses() -> None:
    CalendarFactory()
    plays = [owned().pk for _ in range(6)]
    work(now=NOW)
    closed, paused = at_once(
        lambda: close_plays(play_ids=plays, outcome="won", now=NOW + HOUR),
        lambda: pause_plays(play_ids=plays, reason="Holidays", now=NOW + HOUR),
    )
    assert done(closed)
    for pk in plays:
        assert paused[pk] is None or "the play is closed" in paused[pk]
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_who_open_the_same_motion_by_hand_get_one_play() -> None:
    account, playbook = AccountFactory(), PlaybookVersionFactory().playbook

    def open_it() -> str:
        try:
            open_play_by_hand(account_id=account.pk, playbook_id=playbook.pk, reason="They asked.", now=NOW)
        except ValidationError as error:
            return str(error.message_dict["account"][0])
        return "opened"

    answers = sorted(at_once(*[open_it] * 4))
    assert answers[-1] == "opened"
    assert {answer.partition(" has ")[2] for answer in answers[:-1]} == {
        "an open play of this motion already: Seat expansion."
    }
    assert Play.objects.count() == 1
    assert broken() == []
