"""Drafts and publishing: numbered, immutable versions, told to the evaluator like any other input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from csplaybooks.accounts.factories import PlanFactory, ProductFactory, UserFactory
from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.acts.recipes import (
    LIBRARY,
    load_library,
    publish_playbook,
    save_draft,
    set_playbook_active,
)
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.models import Playbook, PlaybookVersion, Trigger
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.factories import MeterFactory
from tests.at_once import at_once

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

TEXT = """\
# A comment of the people who wrote it.
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

pytestmark = pytest.mark.django_db


def publish(text: str, now: datetime = NOW, actor: Any = None) -> Any:
    """Draft and publish."""
    playbook = save_draft(text=text, now=now, actor=actor)
    return publish_playbook(playbook_id=playbook.pk, now=now, actor=actor)


@pytest.fixture(autouse=True)
def meter(db: None) -> None:
    """The meter that the document speaks of."""
    MeterFactory(key="seats")


def test_a_draft_runs_nothing_until_it_is_published() -> None:
    playbook = save_draft(text=TEXT, now=NOW)
    assert playbook.published is None
    assert not Playbook.objects.running().exists()
    assert not Change.objects.exists()


def test_versions_are_numbered_from_one_and_keep_their_text_byte_for_byte() -> None:
    person = UserFactory()
    first = publish(TEXT, actor=person)
    second = publish(TEXT.replace("80", "90"), LATER)
    assert (first.verdict, second.verdict) == ("created", "updated")
    assert [
        (v.number, v.source, v.published_at, v.published_by) for v in PlaybookVersion.objects.order_by("number")
    ] == [
        (1, TEXT, NOW, person),
        (2, TEXT.replace("80", "90"), LATER, None),
    ]
    playbook = Playbook.objects.get()
    assert playbook.published == second.version
    assert playbook.updated_at == LATER
    assert second.version.document["triggers"][0]["any"][0]["all"][0]["above"] == 90
    assert first.version.document["triggers"][0]["any"][0]["all"][0]["above"] == 80


def test_publishing_the_same_again_changes_nothing() -> None:
    publish(TEXT)
    before = Playbook.objects.values().get()
    Change.objects.all().delete()
    assert publish(TEXT, LATER).verdict == "unchanged"
    assert Playbook.objects.values().get() == before
    assert PlaybookVersion.objects.count() == 1
    assert not Change.objects.exists()


def test_going_back_to_an_older_text_is_a_new_version() -> None:
    publish(TEXT)
    publish(TEXT.replace("80", "90"))
    assert publish(TEXT).version.number == 3


def test_publishing_and_switching_tell_the_evaluator_that_every_account_may_be_touched() -> None:
    playbook = publish(TEXT).playbook
    assert set_playbook_active(playbook_id=playbook.pk, active=False, now=LATER)
    assert not set_playbook_active(playbook_id=playbook.pk, active=False, now=LATER)
    assert list(Change.objects.order_by("pk").values_list("kind", "account", "seen_by_run")) == [
        ("playbook_published", None, None),
        ("playbook_switched", None, None),
    ]
    assert not Playbook.objects.running().exists()
    assert set_playbook_active(playbook_id=playbook.pk, active=True, now=LATER)
    assert Playbook.objects.running().get() == playbook


def test_a_trigger_keeps_its_identity_over_versions() -> None:
    publish(TEXT)
    trigger = Trigger.objects.get()
    more = TEXT.replace("routes:\n", "  - key: gap\n    any: [{all: [{measure: open_gap}]}]\nroutes:\n")
    publish(more)
    publish(TEXT)
    publish(more)
    assert Trigger.objects.get(key="full") == trigger
    assert sorted(Trigger.objects.values_list("key", flat=True)) == ["full", "gap"]


def test_the_name_follows_what_is_published_and_not_the_draft() -> None:
    publish(TEXT)
    save_draft(text=TEXT.replace("name: Seats", "name: Chairs"), now=LATER)
    playbook = Playbook.objects.get()
    assert playbook.name == "Seats"
    publish_playbook(playbook_id=playbook.pk, now=LATER)
    playbook.refresh_from_db()
    assert playbook.name == "Chairs"


def test_until_it_is_published_name_and_motion_are_those_of_the_draft() -> None:
    save_draft(text=TEXT, now=NOW)
    told = save_draft(text=TEXT.replace("name: Seats", "name: Chairs").replace("seat_expansion", "service"), now=LATER)
    kept = Playbook.objects.get()
    assert (told.name, told.motion) == (kept.name, kept.motion) == ("Chairs", "service")
    publish_playbook(playbook_id=kept.pk, now=LATER)
    save_draft(text=TEXT, now=LATER)
    kept.refresh_from_db()
    assert (kept.name, kept.motion) == ("Chairs", "service")


def test_the_motion_stays_once_it_was_published() -> None:
    save_draft(text=TEXT.replace("seat_expansion", "service"), now=NOW)
    # What was never published may still become anything.
    playbook = publish(TEXT).playbook
    assert playbook.motion == "seat_expansion"
    other = TEXT.replace("seat_expansion", "add_on")
    with pytest.raises(DocumentError) as caught:
        publish(other, LATER)
    ((path, message),) = caught.value.errors
    assert (path, message) == (
        "motion",
        "the motion of a published playbook stays: seat_expansion; make a new playbook",
    )
    playbook.refresh_from_db()
    assert (playbook.motion, playbook.draft, PlaybookVersion.objects.count()) == ("seat_expansion", other, 1)
    assert publish(TEXT.replace("80", "90"), LATER).verdict == "updated"


def test_saving_a_draft_counts_its_versions_and_the_same_text_does_not() -> None:
    assert save_draft(text=TEXT, now=NOW).version == 1
    save_draft(text=TEXT, now=LATER)
    assert Playbook.objects.get().version == 1
    save_draft(text=TEXT + "expires_days: 3\n", now=LATER)
    playbook = Playbook.objects.get()
    assert (playbook.version, playbook.updated_at) == (2, LATER)


def test_the_key_of_a_playbook_stays() -> None:
    playbook = publish(TEXT).playbook
    # No act does this: a draft of another key is another playbook.
    Playbook.objects.filter(pk=playbook.pk).update(draft=TEXT.replace("key: seats", "key: chairs"))
    with pytest.raises(DocumentError, match="key: the key of a playbook stays: seats"):
        publish_playbook(playbook_id=playbook.pk, now=LATER)
    assert save_draft(text=TEXT.replace("key: seats", "key: chairs"), now=LATER).pk != playbook.pk


def test_a_broken_draft_is_not_kept() -> None:
    with pytest.raises(DocumentError):
        save_draft(text=TEXT + "colour: red\n", now=NOW)
    assert not Playbook.objects.exists()


def test_a_draft_that_broke_in_the_table_is_not_published() -> None:
    playbook = publish(TEXT).playbook
    Playbook.objects.filter(pk=playbook.pk).update(draft="a: [")
    with pytest.raises(DocumentError):
        publish_playbook(playbook_id=playbook.pk, now=LATER)
    assert PlaybookVersion.objects.count() == 1


def test_names_must_stand_in_the_catalogue_when_it_is_published() -> None:
    text = TEXT.replace(
        "          - {measure",
        "          - {measure: signal_count, signal_type: knock, window_days: 7, at_least: 3}\n"
        "          - {measure: open_gap, products: [analytics]}\n"
        "          - {measure: share_of_limit, meters: [chairs], above: 80}\n"
        "          - {measure",
    )
    text += "amount: {rule: list_price, product: reports}\naudience: {plans: [team]}\n"
    playbook = save_draft(text=text, now=NOW)
    with pytest.raises(DocumentError) as caught:
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    assert caught.value.errors == [
        ("triggers/0/any/0/all/0/signal_type", "there is no signal type knock"),
        ("triggers/0/any/0/all/2/meters", "there is no meter chairs"),
        ("triggers/0/any/0/all/1/products", "there is no product analytics"),
        ("amount/product", "there is no product reports"),
        ("audience/plans", "there is no plan team"),
    ]
    assert not PlaybookVersion.objects.exists()
    ProductFactory(key="analytics")
    ProductFactory(key="reports")
    PlanFactory(key="team")
    MeterFactory(key="chairs")
    load_starter_catalogue(now=NOW)
    save_draft(text=text.replace("knock", "feature_gate_hit"), now=NOW)
    assert publish_playbook(playbook_id=playbook.pk, now=NOW).verdict == "created"


def test_the_library_is_published_whole_and_twice_is_once() -> None:
    load_starter_catalogue(now=NOW)
    files = sorted(LIBRARY.glob("*.yaml"))
    assert [answer.verdict for answer in load_library(now=NOW).published] == ["created"] * len(files)
    for file in files:
        version = PlaybookVersion.objects.get(playbook__key=file.stem)
        assert version.source.encode() == file.read_bytes()
    assert {answer.verdict for answer in load_library(now=LATER).published} == {"unchanged"}


def test_a_library_with_one_bad_file_is_not_loaded_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.yaml").write_text(TEXT.replace("key: seats", "key: other") + "colour: red\n")
    with pytest.raises(DocumentError, match=r"b\.yaml: : colour is unknown|b\.yaml: colour is unknown"):
        load_library(now=NOW, directory=tmp_path)
    assert not Playbook.objects.exists()


@pytest.mark.parametrize("triggers", [1, 20])
def test_publishing_takes_the_same_few_queries_whatever_the_document_holds(
    triggers: int, django_assert_max_num_queries: Any
) -> None:
    condition = "{measure: share_of_limit, meters: [seats], above: 80}"
    more = "".join(f"  - key: t{n}\n    any: [{{all: [{condition}]}}]\n" for n in range(1, triggers))
    playbook = save_draft(text=TEXT.replace("routes:\n", more + "routes:\n"), now=NOW)
    with django_assert_max_num_queries(12):
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    assert Trigger.objects.count() == triggers


@pytest.mark.django_db(transaction=True)
def test_publishers_at_once_get_numbers_of_their_own() -> None:
    save_draft(text=TEXT, now=NOW)
    answers = at_once(*(lambda n=n: publish(TEXT + f"expires_days: {n}\n") for n in range(1, 9)))
    numbers = sorted(PlaybookVersion.objects.values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    # A draft that somebody else saved over meanwhile is published once, by whoever comes first.
    assert sum(answer.verdict != "unchanged" for answer in answers) == len(numbers)
    assert Playbook.objects.get().published.number == numbers[-1]  # type: ignore[union-attr]  # None fails
    assert Change.objects.count() == len(numbers)
