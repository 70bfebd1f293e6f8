"""Going back to an earlier version: a new version with its text, checked like any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.factories import UserFactory
from csplaybooks.accounts.models import Change, TimelineEntry
from csplaybooks.playbooks.acts.recipes import OutOfReach, publish_playbook, roll_back_playbook, save_draft
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.models import Playbook, PlaybookVersion
from csplaybooks.signals.factories import MeterFactory
from csplaybooks.signals.models import Meter
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

TEXT = """\
# As people wrote it.\r
key: seats
name: Seats
motion: seat_expansion
triggers:
  - key: full
    any:
      - all:
          - {measure: share_of_limit, meters: [seats], above: 80}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""
OTHER = TEXT.replace("above: 80", "above: 90").replace("name: Seats", "name: Chairs")

pytestmark = pytest.mark.django_db


@pytest.fixture
def playbook() -> Playbook:
    """Published twice; the second version runs."""
    MeterFactory(key="seats")
    for text in (TEXT, OTHER):
        playbook = save_draft(text=text, now=NOW)
        playbook = publish_playbook(playbook_id=playbook.pk, now=NOW).playbook
    Change.objects.all().delete()
    return playbook


def back(playbook: Playbook, number: int = 1, **more: Any) -> Any:
    """Go back, an hour later."""
    return roll_back_playbook(playbook_id=playbook.pk, number=number, now=LATER, **more)


def test_an_earlier_version_is_published_again_as_a_new_one(playbook: Playbook) -> None:
    person = UserFactory()
    answer = back(playbook, actor=person)
    assert answer.verdict == "updated"
    version = PlaybookVersion.objects.get(number=3)
    assert (version.source, version.published_at, version.published_by) == (TEXT, LATER, person)
    assert version.document["triggers"][0]["any"][0]["all"][0]["above"] == 80
    playbook.refresh_from_db()
    assert (playbook.published, playbook.draft, playbook.name) == (version, TEXT, "Seats")
    assert [source for (source,) in PlaybookVersion.objects.order_by("number").values_list("source")] == [
        TEXT,
        OTHER,
        TEXT,
    ]
    change = Change.objects.get()
    assert (change.kind, change.account_id) == ("playbook_published", None)
    entry = TimelineEntry.objects.get(kind="playbook_rolled_back")
    assert (entry.text, entry.actor, entry.at) == ("Playbook Seats v3 published: version 1 again", person, LATER)


def test_a_draft_that_was_never_published_gives_way(playbook: Playbook) -> None:
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    back(playbook)
    assert Playbook.objects.get().draft == TEXT


@pytest.mark.parametrize("drafted", [False, True])
def test_going_back_to_what_runs_changes_nothing(playbook: Playbook, drafted: bool) -> None:
    if drafted:
        save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    before = Playbook.objects.values().get()
    told = TimelineEntry.objects.count()
    assert back(playbook, number=2).verdict == "unchanged"
    assert Playbook.objects.values().get() == before
    assert PlaybookVersion.objects.count() == 2
    assert TimelineEntry.objects.count() == told
    assert not Change.objects.exists()


def test_the_same_text_under_another_number_is_what_runs_too(playbook: Playbook) -> None:
    back(playbook)
    assert back(playbook, number=1).verdict == "unchanged"
    assert back(playbook, number=2).version.number == 4


@pytest.mark.parametrize("number", [0, 3, 2**31 - 1])
def test_a_version_that_there_is_not_is_refused(playbook: Playbook, number: int) -> None:
    with pytest.raises(DocumentError, match=f"Chairs has no version {number}"):
        back(playbook, number=number)


def test_versions_of_other_playbooks_are_none_of_its_own(playbook: Playbook) -> None:
    other = save_draft(text=TEXT.replace("key: seats", "key: other"), now=NOW)
    with pytest.raises(DocumentError, match="has no version 1"):
        back(other)


def test_what_was_fit_once_is_checked_as_it_is_today(playbook: Playbook, settings: Any) -> None:
    Meter.objects.filter(key="seats").update(key="chairs")
    with pytest.raises(DocumentError, match="there is no meter seats"):
        back(playbook)
    Meter.objects.filter(key="chairs").update(key="seats", max_age_days=90)
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 60}
    with pytest.raises(OutOfReach):
        back(playbook)
    PlaybookVersion.objects.filter(number=1).update(source=TEXT + "colour: red\n")
    with pytest.raises(DocumentError, match="colour is unknown"):
        back(playbook)
    assert PlaybookVersion.objects.count() == 2
    assert Playbook.objects.get().draft == OTHER


@pytest.mark.parametrize(
    "act", [back, lambda playbook, **more: publish_playbook(playbook_id=playbook.pk, now=LATER, **more)]
)
def test_whoever_read_an_earlier_state_is_told(playbook: Playbook, act: Any) -> None:
    read = playbook.version
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    with pytest.raises(Conflict):
        act(playbook, expected_version=read)
    assert PlaybookVersion.objects.count() == 2
    assert act(playbook, expected_version=read + 1).verdict == "updated"


@pytest.mark.django_db(transaction=True)
def test_of_people_who_go_back_at_once_one_makes_the_version(playbook: Playbook) -> None:
    answers = at_once(*(lambda: back(playbook).verdict for _ in range(6)))
    assert sorted(answers) == ["unchanged"] * 5 + ["updated"]
    assert PlaybookVersion.objects.count() == 3


def test_going_back_takes_few_queries(playbook: Playbook, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(13):
        back(playbook)
