"""Contacts that signals tell of: whose they are, what they stop, and that each counts once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.playbooks.acts.plays import close_plays, pause_plays
from csplaybooks.playbooks.acts.pruning import prune_next_events
from csplaybooks.playbooks.acts.touches import Contact, forget_signals, log_contacts
from csplaybooks.playbooks.contacts import play_named
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory, PlayFactory
from csplaybooks.playbooks.models import Lease, Play, Touch
from csplaybooks.playbooks.pipeline import hearing
from csplaybooks.playbooks.pipeline.sweep import step_plays, work
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import Signal
from tests.at_once import at_once
from tests.playbooks.plays import DAY, HOUR, NOW, broken, story
from tests.playbooks.stepping import playing, states

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalogue(db: None) -> None:
    CalendarFactory()
    load_starter_catalogue(now=NOW)


def play_at(name: str = "acme", **more: Any) -> Play:
    """A play that somebody owns, at an account that senders know by its name."""
    more.setdefault("account", AccountFactory(name=name, identity__external_id=name))
    play: Play = PlayFactory(opened_at=NOW, **more)
    return play


def tell(
    kind: str, *, account: str = "acme", at: Any = NOW + HOUR, id: str = "1", now: Any = None, **properties: Any
) -> Any:
    """Take one signal in, have it seen by a run, and heard."""
    more = {name: properties.pop(name) for name in ("corrects", "void") if name in properties}
    item = {
        "source": "crm",
        "external_id": id,
        "account": account,
        "type": kind,
        "occurred_at": at.isoformat(),
        "properties": properties,
        **more,
    }
    now = now or at
    report = take_in_signals(items=[item], now=now)
    run_triggers(now=now)
    work(now=now)
    return report


@pytest.mark.parametrize(
    ("kind", "channel", "direction"),
    [
        ("email_sent", "email", "out"),
        ("email_received", "email", "in"),
        ("call_logged", "call", "out"),
        ("meeting_held", "meeting", "out"),
    ],
)
def test_a_signal_is_a_contact_of_the_accounts_open_play(kind: str, channel: str, direction: str) -> None:
    play = play_at()
    ClockFactory(play=play)
    member = TeamMemberFactory(email="Carla@vendor.example")
    tell(kind, member="carla@VENDOR.example", note="They want more.")
    touch = Touch.objects.get()
    assert (touch.play, touch.account, touch.channel, touch.direction) == (play, play.account, channel, direction)
    assert (touch.at, touch.origin, touch.by_member, touch.note) == (NOW + HOUR, "signal", member, "They want more.")
    clock = play.clocks.get(number=1)
    assert (clock.done_at == NOW + HOUR) == (direction == "out")
    play.refresh_from_db()
    assert play.stage == ("running" if direction == "out" else "owned")
    assert "Contact told by a signal" in story(play)[0]
    # Heard again, told again: it counts once.
    tell(kind, now=NOW + 2 * HOUR, member="carla@VENDOR.example", note="They want more.")
    assert Touch.objects.count() == 1
    assert broken() == []


def test_a_call_may_say_who_called() -> None:
    play_at()
    tell("call_logged", direction="in")
    assert Touch.objects.get().direction == "in"


@pytest.mark.parametrize("name", ["play", "prompt"])
def test_a_contact_is_of_the_play_that_it_names(name: str) -> None:
    first = play_at()
    second = playing([], account=first.account, motion="tier_upsell")
    tell("email_sent", id="of nobody")
    assert Touch.objects.count() == 0
    tell("email_sent", id="of the second", **{name: f"play-{second.pk}"})
    assert Touch.objects.get().play == second
    other = play_at("other")
    tell("email_sent", id="of another account", **{name: f"play-{other.pk}"})
    tell("email_sent", id="of no play", **{name: "play-0"})
    assert Touch.objects.count() == 1


@pytest.mark.parametrize(
    ("properties", "play"),
    [
        ({}, None),
        ({"play": 17}, 17),
        ({"play": "17"}, 17),
        ({"prompt": "play-17"}, 17),
        ({"play": True}, 0),
        ({"play": -1}, 0),
        ({"play": 2**70}, 0),
        ({"play": [17]}, 0),
        ({"play": "17; DROP"}, 0),
        ({"play": "\u0661\u0667"}, 0),
        ({"prompt": ""}, 0),
    ],
)
def test_how_a_signal_names_a_play(properties: dict[str, Any], play: int | None) -> None:
    assert play_named(properties) == play


def test_what_lies_before_the_play_or_after_its_close_is_none_of_its_contacts() -> None:
    # While another play has been open for long, signals of that time are listened to.
    PlayFactory(opened_at=NOW - DAY)
    play = play_at()
    tell("email_sent", at=NOW - timedelta(seconds=1), id="before", now=NOW, play=play.pk)
    close_plays(play_ids=[play.pk], outcome="lost", now=NOW + 2 * HOUR)
    tell("email_sent", at=NOW + 3 * HOUR, id="after", play=play.pk)
    assert Touch.objects.count() == 0
    assert broken() == []


def test_of_contacts_that_are_told_together_the_earliest_keeps_the_promise() -> None:
    play = play_at()
    ClockFactory(play=play)
    call = {"source": "crm", "account": "acme", "type": "call_logged"}
    hours = (2, 1, 3)
    take_in_signals(
        items=[{**call, "external_id": f"{hour}", "occurred_at": (NOW + hour * HOUR).isoformat()} for hour in hours],
        now=NOW + DAY,
    )
    run_triggers(now=NOW + DAY)
    assert step_plays(now=NOW + DAY) >= len(hours)
    assert (play.touches.count(), play.clocks.get().done_at) == (len(hours), NOW + HOUR)
    assert broken() == []


def test_a_signal_is_a_contact_of_a_play_once_however_often_it_is_told() -> None:
    play = play_at()
    tell("call_logged")
    signal = Signal.objects.get()
    told = Contact(play.pk, "call", "out", NOW + HOUR, "signal", signal_id=signal.pk)
    assert log_contacts(contacts=[told], now=NOW + DAY) == [None]
    # Nor twice in one call.
    Touch.objects.all().delete()
    first, again = log_contacts(contacts=[told, told], now=NOW + DAY)
    assert (Touch.objects.get(), again) == (first, None)


@pytest.mark.parametrize("open_since", [None, timedelta(0), 3 * HOUR])
@pytest.mark.parametrize("named", [True, False])
def test_a_contact_told_late_is_of_the_play_that_was_open_then(open_since: timedelta | None, named: bool) -> None:
    """Whatever is open by now: nothing, something older, or only what was opened after the contact was made."""
    play = play_at()
    close_plays(play_ids=[play.pk], outcome="lost", now=NOW + 2 * HOUR)
    if open_since is not None:
        PlayFactory(account=play.account if open_since else AccountFactory(), opened_at=NOW + open_since)
    told: dict[str, Any] = {"play": play.pk} if named else {}
    tell("email_sent", at=NOW + HOUR, id="late", now=NOW + 5 * HOUR, **told)
    touch = Touch.objects.get()
    assert (touch.play, touch.at) == (play, NOW + HOUR)
    play.refresh_from_db()
    assert play.stage == "closed"
    tell("email_sent", at=NOW + 2 * HOUR + timedelta(seconds=1), id="after", now=NOW + 5 * HOUR, **told)
    assert Touch.objects.count() == 1
    assert broken() == []


def test_a_contact_with_a_paused_play_leaves_it_paused_and_one_without_owner_waits_for_its_clock() -> None:
    play = play_at()
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW)
    tell("email_sent")
    play.refresh_from_db()
    assert (play.stage, play.state, Touch.objects.count()) == ("owned", "paused", 1)
    assert broken() == []


def test_what_was_taken_back_is_no_contact_and_a_correction_is_one_of_its_own() -> None:
    play = play_at()
    tell("email_sent", id="1", at=NOW + HOUR)
    tell("email_sent", id="2", at=NOW + 2 * HOUR, now=NOW + 3 * HOUR, corrects="1")
    assert [touch.at for touch in Touch.objects.all()] == [NOW + 2 * HOUR]
    tell("email_sent", id="3", at=NOW + 2 * HOUR, now=NOW + 4 * HOUR, corrects="2", void=True)
    assert Touch.objects.count() == 0
    assert story(play)[-1].endswith("Contact taken back by its sender: E-mail")
    assert broken() == []


@pytest.mark.parametrize(("first_touch", "touches"), [("system", 1), ("person", 0)])
def test_the_first_prompt_shown_is_the_first_touch_where_the_system_makes_it(first_touch: str, touches: int) -> None:
    play = play_at(route="self_serve", routing={"first_touch": first_touch})
    ClockFactory(play=play)
    tell("prompt_shown", id="unnamed")
    assert Touch.objects.count() == 0
    for number in range(3):
        tell("prompt_shown", id=f"{number}", at=NOW + (number + 1) * HOUR, prompt=f"play-{play.pk}")
    assert [(touch.channel, touch.by_member, touch.at) for touch in Touch.objects.all()] == [
        ("prompt", None, NOW + HOUR)
    ] * touches
    assert (play.clocks.get(number=1).done_at == NOW + HOUR) == bool(touches)
    assert broken() == []


def test_a_prompt_shown_before_anybody_owned_the_play_counts() -> None:
    play = play_at(route="self_serve", routing={"first_touch": "system"}, unowned=True)
    take_in_signals(
        items=[
            {
                "source": "crm",
                "external_id": "1",
                "account": "acme",
                "type": "prompt_shown",
                "occurred_at": (NOW + HOUR).isoformat(),
                "properties": {"prompt": f"play-{play.pk}"},
            }
        ],
        now=NOW + HOUR,
    )
    run_triggers(now=NOW + HOUR)
    step_plays(now=NOW + HOUR)
    assert Touch.objects.get().play == play


@pytest.mark.django_db(transaction=True)
def test_three_who_listen_at_once_hear_each_signal_once() -> None:
    CalendarFactory()
    load_starter_catalogue(now=NOW)
    plays = [play_at(f"account-{number}") for number in range(4)]
    items = [
        {
            "source": "crm",
            "external_id": f"{number}",
            "account": f"account-{number % 4}",
            "type": "meeting_held",
            "occurred_at": (NOW + HOUR).isoformat(),
        }
        for number in range(12)
    ]
    take_in_signals(items=items, now=NOW + HOUR)
    run_triggers(now=NOW + HOUR)
    at_once(*[lambda: step_plays(now=NOW + 2 * HOUR)] * 3)
    assert [play.touches.count() for play in plays] == [3] * 4
    assert broken() == []


def test_a_signal_that_may_end_a_step_has_it_looked_at() -> None:
    account = AccountFactory(name="acme", identity__external_id="acme")
    play = playing(
        [{"kind": "trial", "text": "Open it.", "feature": "boards"}, {"kind": "task", "text": "Ask."}], account=account
    )
    tell("feature_used", id="1", at=NOW + HOUR, feature="dashboards")
    assert states(play) == ["current", "waiting"]
    tell("feature_used", id="2", at=NOW + 2 * HOUR, feature="boards")
    assert states(play) == ["done", "current"]
    assert step_plays(now=NOW + 2 * HOUR) == 0


def test_a_pruned_signal_leaves_its_contact() -> None:
    play_at()
    tell("email_sent")
    touch: Any = Touch.objects.get()
    forget_signals(signal_ids=[touch.signal_id])
    touch.refresh_from_db()
    assert (touch.signal, touch.origin) == (None, "signal")


def test_hearing_costs_as_much_for_many_as_for_one(django_assert_max_num_queries) -> None:
    for number in range(10):
        ClockFactory(play=play_at(f"account-{number}"))
    items = [
        {
            "source": "crm",
            "external_id": f"{number}",
            "account": f"account-{number % 10}",
            "type": "email_sent",
            "occurred_at": (NOW + HOUR).isoformat(),
        }
        for number in range(30)
    ]
    take_in_signals(items=items, now=NOW + DAY)
    run_triggers(now=NOW + DAY)
    with django_assert_max_num_queries(75):
        assert step_plays(now=NOW + DAY) >= 30
    assert Touch.objects.count() == 30


def test_a_run_with_many_contacts_is_heard_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "BATCH", 2)
    play = play_at()
    call: dict[str, Any] = {"source": "crm", "account": "acme", "type": "call_logged", "properties": {}}
    items = [
        {**call, "external_id": f"{number}", "occurred_at": (NOW + number * HOUR).isoformat()} for number in range(5)
    ]
    # The first of them did not happen: that is said in the last part.
    items.append({**items[0], "external_id": "5", "corrects": "0", "void": True})
    take_in_signals(items=items, now=NOW + DAY)
    report = run_triggers(now=NOW + DAY)
    assert report is not None
    signals = list(Signal.objects.order_by("pk").values_list("pk", flat=True))
    real, parts = hearing._hear, []

    def dying(news: Any, now: Any) -> int:
        parts.append(list(news.order_by("pk").values_list("pk", flat=True)))
        if len(parts) == 2:
            raise RuntimeError("ended")
        return real(news, now)

    monkeypatch.setattr(hearing, "_hear", dying)
    with pytest.raises(RuntimeError):
        hearing.hear_signals(now=NOW + DAY)
    lease = Lease.objects.get(name=hearing.LEASE)
    assert (lease.mark, lease.reached) == (report.run_id, signals[1])
    assert play.touches.count() == 1
    hearing.hear_signals(now=NOW + DAY)
    assert parts == [signals[:2], signals[2:4], signals[2:4], signals[4:]]
    lease.refresh_from_db()
    assert (lease.mark, lease.reached) == (report.run_id, None)
    assert play.touches.count() == 4
    assert hearing.hear_signals(now=NOW + DAY) == 0
    assert len(parts) == 4


def test_pruning_a_signal_leaves_its_contact(settings: Any) -> None:
    settings.CSPLAYBOOKS = {"RETENTION_DAYS": 10}
    play = play_at()
    tell("email_sent")
    touch: Any = Touch.objects.get()
    assert touch.signal is not None
    # The play's playbook looks back further than ten days.
    pruned = prune_next_events(now=NOW + 1000 * DAY)
    assert pruned is not None
    assert pruned.signals == 1
    assert not Signal.objects.exists()
    touch.refresh_from_db()
    assert (touch.signal, touch.origin, touch.play) == (None, "signal", play)
    assert broken() == []
