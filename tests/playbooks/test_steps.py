"""The steps of plays: one after the other, due by the owner's calendar, over by themselves where nobody is needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts.catalogue import FEATURES
from csplaybooks.accounts.acts.rows import delete_rows
from csplaybooks.accounts.factories import FeatureFactory, TeamMemberFactory, UserFactory
from csplaybooks.playbooks.acts.calendar_uses import make_calendar_use
from csplaybooks.playbooks.acts.calendars import DayHours, change_calendar
from csplaybooks.playbooks.acts.handoffs import offer_plays
from csplaybooks.playbooks.acts.plays import assign_plays, close_plays, pause_plays, resume_plays
from csplaybooks.playbooks.acts.recipes import check_names
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import CalendarFactory, CalendarUseFactory, PlayFactory
from csplaybooks.playbooks.models import Play, PlayStep
from csplaybooks.playbooks.pipeline.stepping import work_steps
from csplaybooks.playbooks.pipeline.sweep import step_plays
from csplaybooks.signals.factories import SignalFactory, SignalTypeFactory
from tests.at_once import at_once
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, story
from tests.playbooks.stepping import draft_with, playing, states, step, with_steps

pytestmark = pytest.mark.django_db

CALL = {"kind": "task", "text": "Call them."}
AGREE = {"kind": "task", "text": "Agree on a number.", "after_hours": 8}


@pytest.fixture(autouse=True)
def office(db: None) -> Any:
    return CalendarFactory()


# One after the other


def test_the_first_begins_when_the_play_is_owned_and_the_next_when_it_is_done() -> None:
    play = with_steps([CALL, AGREE], unowned=True)
    step_plays(now=NOW)
    assert states(play) == ["waiting", "waiting"]
    owner = TeamMemberFactory()
    assign_plays(play_ids=[play.pk], owner_id=owner.pk, now=NOW + HOUR)
    # However late the worker comes: it began when somebody owned it.
    step_plays(now=NOW + 3 * HOUR)
    assert (states(play), step(play).began_at) == (["current", "waiting"], NOW + HOUR)
    assert done(finish_steps(play_ids=[play.pk], note="They want more.", now=NOW + 4 * HOUR, actor=owner.user))
    first, second = step(play, 1), step(play, 2)
    assert (first.state, first.done_at, first.done_by, first.note) == (
        "done",
        NOW + 4 * HOUR,
        owner,
        "They want more.",
    )
    # Monday 14:00, in working hours until 17:00: eight of them are over on Tuesday at 14:00.
    assert (second.state, second.began_at, second.due_at) == ("current", NOW + 4 * HOUR, NOW + DAY + 4 * HOUR)
    assert done(finish_steps(play_ids=[play.pk], note="No need.", skip=True, now=NOW + 5 * HOUR))
    assert states(play) == ["done", "skipped"]
    assert finish_steps(play_ids=[play.pk], now=NOW + 5 * HOUR)[play.pk] is not None
    assert story(play)[-2:] == [
        "Seats: Step 1 done: Call them. (They want more.)",
        "Seats: Step 2 skipped: Agree on a number. (No need.)",
    ]
    assert broken() == []


def test_whose_calendar_it_is_says_when_a_step_is_due() -> None:
    late = CalendarFactory(key="late", is_default=False, blocks=[(day, 12 * 60, 20 * 60) for day in range(5)])
    early, other = TeamMemberFactory(), TeamMemberFactory()
    CalendarUseFactory(calendar=late, member=other)
    play = playing([{**AGREE, "after_hours": 4}], owner=early)
    assert step(play).due_at == NOW + 4 * HOUR
    assign_plays(play_ids=[play.pk], owner_id=other.pk, now=NOW + HOUR)
    # From 10:00 on, in hours that begin at 12:00.
    assert step(play).due_at == NOW + 6 * HOUR
    wall = playing([{**AGREE, "after_hours": 30, "counting": "wall"}])
    assert step(wall).due_at == NOW + 30 * HOUR


def test_the_steps_of_a_paused_play_stand_still() -> None:
    play = playing([{"kind": "wait", "text": "Leave them alone.", "days": 2}, CALL])
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW + DAY)
    assert step(play).due_at is None
    assert "paused" in (finish_steps(play_ids=[play.pk], now=NOW + DAY)[play.pk] or "")
    step_plays(now=NOW + 9 * DAY)
    assert states(play) == ["current", "waiting"]
    resume_plays(play_ids=[play.pk], now=NOW + 9 * DAY)
    assert step(play).due_at == NOW + 10 * DAY
    step_plays(now=NOW + 10 * DAY)
    assert states(play) == ["done", "current"]
    assert broken() == []


def test_a_closed_play_leaves_nothing_to_do() -> None:
    play = playing([CALL, AGREE])
    close_plays(play_ids=[play.pk], outcome="lost", now=NOW + HOUR)
    assert states(play) == ["skipped", "skipped"]
    assert {row.note for row in play.steps.all()} == {"The play is closed."}
    assert step_plays(now=NOW + DAY) == 0
    assert "the play is closed" in (finish_steps(play_ids=[play.pk], now=NOW + DAY)[play.pk] or "")
    assert broken() == []


def test_nothing_begins_while_a_play_is_paused() -> None:
    play = with_steps([CALL])
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW)
    assert step_plays(now=NOW) == 0
    resume_plays(play_ids=[play.pk], now=NOW + DAY)
    step_plays(now=NOW + DAY)
    assert states(play) == ["current"]


# Over by themselves


def test_waits_end_when_their_time_has_come_and_each_but_once() -> None:
    play = playing([{"kind": "wait", "text": "One", "hours": 2}, {"kind": "wait", "text": "Two"}, CALL])
    assert step(play).due_at == NOW + 2 * HOUR
    assert work_steps(now=NOW + 2 * HOUR - timedelta(seconds=1)) == 0
    step_plays(now=NOW + 3 * HOUR)
    first, second = step(play, 1), step(play, 2)
    # It was over when its time had come; the next one begins when somebody came by.
    assert (first.state, first.done_at, first.done_by) == ("done", NOW + 2 * HOUR, None)
    assert (second.state, second.began_at, second.due_at) == ("current", NOW + 3 * HOUR, NOW + 7 * DAY + 3 * HOUR)
    assert step_plays(now=NOW + 3 * HOUR) == 0
    assert story(play) == ["Seats: Step 1 is over: One"]
    assert broken() == []


def test_a_trial_ends_when_the_feature_was_used() -> None:
    FeatureFactory(key="dashboards")
    play = playing([{"kind": "trial", "text": "Open it.", "feature": "dashboards", "days": 14}, CALL])
    used = SignalTypeFactory(key="feature_used")
    for number, (at, feature) in enumerate([(-HOUR, "dashboards"), (HOUR, "boards")]):
        SignalFactory(
            account=play.account,
            type=used,
            external_id=f"x-{number}",
            occurred_at=NOW + at,
            properties={"feature": feature},
        )
    PlayStep.objects.update(is_stale=True)
    step_plays(now=NOW + 2 * HOUR)
    assert states(play) == ["current", "waiting"]
    # Nor by one that its sender took back, of another feature in truth.
    here = {"account": play.account, "type": used}
    wrong = SignalFactory(**here, occurred_at=NOW + 2 * HOUR, properties={"feature": "dashboards"})
    SignalFactory(**here, occurred_at=NOW + 2 * HOUR, properties={"feature": "boards"}, corrects=wrong)
    PlayStep.objects.update(is_stale=True)
    step_plays(now=NOW + 2 * HOUR)
    assert states(play) == ["current", "waiting"]
    signal = SignalFactory(
        account=play.account, type=used, occurred_at=NOW + 2 * HOUR, properties={"feature": "dashboards"}
    )
    PlayStep.objects.update(is_stale=True)
    step_plays(now=NOW + 3 * HOUR)
    assert (states(play), step(play).done_at) == (["done", "current"], signal.occurred_at)
    assert (step(play).note, story(play)) == (
        "The feature was used.",
        ["Seats: Step 1 ended, the feature was used: Open it."],
    )
    unused = playing([{"kind": "trial", "text": "Open it.", "feature": "dashboards"}, CALL])
    step_plays(now=NOW + 14 * DAY)
    assert states(unused) == ["done", "current"]
    assert (step(unused).note, story(unused)) == (
        "Its time is over.",
        ["Seats: Step 1 ended, its time is over: Open it."],
    )


def test_a_use_before_a_trial_began_does_not_end_it_whatever_else_is_looked_at() -> None:
    FeatureFactory(key="dashboards")
    trial = {"kind": "trial", "text": "Open it.", "feature": "dashboards", "days": 14}
    early, late = playing([trial, CALL]), playing([trial, CALL], now=NOW + 2 * HOUR)
    for play in (early, late):
        SignalFactory(
            account=play.account,
            type=SignalTypeFactory(key="feature_used"),
            occurred_at=NOW + HOUR,
            properties={"feature": "dashboards"},
        )
    PlayStep.objects.update(is_stale=True)
    step_plays(now=NOW + 3 * HOUR)
    assert (states(early), states(late)) == (["done", "current"], ["current", "waiting"])


def test_a_prompt_is_done_when_it_was_shown_even_before_its_turn() -> None:
    prompt = {"title": "Room", "gain": "More of it", "action": "Buy", "link": "/buy"}
    play = with_steps(
        [CALL, {"kind": "prompt", "text": "Show it."}, AGREE],
        route="self_serve",
        says={"prompt": prompt, "routes": [{"route": "self_serve"}]},
    )
    shown = SignalTypeFactory(key="prompt_shown")
    # Of another play's prompt: nothing is said of this one.
    SignalFactory(account=play.account, type=shown, occurred_at=NOW + HOUR, properties={"prompt": "play-0"})
    step_plays(now=NOW + HOUR)
    finish_steps(play_ids=[play.pk], now=NOW + HOUR)
    step_plays(now=NOW + HOUR)
    assert states(play) == ["done", "current", "waiting"]
    SignalFactory(
        account=play.account, type=shown, occurred_at=NOW + HOUR / 2, properties={"prompt": f"play-{play.pk}"}
    )
    PlayStep.objects.filter(state="current").update(is_stale=True)
    step_plays(now=NOW + 2 * HOUR)
    assert states(play) == ["done", "done", "current"]
    assert (step(play, 2).done_at, step(play, 2).note) == (NOW + HOUR, "The prompt was shown.")
    assert broken() == []


def test_plays_on_other_routes_have_no_prompt_to_show() -> None:
    play = playing(
        [{"kind": "prompt", "text": "Show it."}, {**CALL, "routes": ["csm"]}, {**AGREE, "routes": ["sales"]}]
    )
    assert [(row.number, row.text, row.state) for row in play.steps.all()] == [(1, "Call them.", "current")]


# Who may, and who was first


def test_a_step_is_for_the_owner_the_holder_and_those_above() -> None:
    boss = TeamMemberFactory(leads=True)
    owner = TeamMemberFactory(manager=boss)
    colleague, stranger = TeamMemberFactory(), UserFactory(username="stranger")
    plays = [playing([CALL, AGREE, CALL], owner=owner).pk for _ in range(2)]
    for nobody in (colleague.user, stranger):
        answers = finish_steps(play_ids=plays, now=NOW, actor=nobody)
        assert all(f"that is for {owner}" in (why or "") for why in answers.values())
    assert done(finish_steps(play_ids=plays, now=NOW, actor=owner.user))
    assert done(finish_steps(play_ids=plays, now=NOW, actor=boss.user))
    seller = TeamMemberFactory(ae=True)
    offer_plays(play_ids=plays, to_id=seller.pk, now=NOW)
    assert done(finish_steps(play_ids=plays, now=NOW, actor=seller.user))


@pytest.mark.django_db(transaction=True)
def test_of_two_who_do_a_step_at_once_one_is_told_and_the_next_stays() -> None:
    CalendarFactory()
    plays = [playing([CALL, AGREE]) for _ in range(4)]
    seen = {play.pk: Play.objects.get(pk=play.pk).version for play in plays}
    first, second = at_once(*[lambda: finish_steps(play_ids=list(seen), now=NOW + HOUR, seen=seen)] * 2)
    for play in plays:
        assert sum(answer[play.pk] is None for answer in (first, second)) == 1
        assert states(play) == ["done", "current"]
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_end_each_wait_once() -> None:
    CalendarFactory()
    plays = [
        playing([{"kind": "wait", "text": "Wait.", "hours": 1}, {"kind": "wait", "text": "Wait."}]) for _ in range(6)
    ]
    at_once(*[lambda: step_plays(now=NOW + 2 * HOUR)] * 3)
    assert [states(play) for play in plays] == [["done", "current"]] * 6
    assert [len(story(play)) for play in plays] == [1] * 6
    assert broken() == []


def test_a_step_is_skipped_with_a_reason_and_notes_have_an_end() -> None:
    play = playing([CALL])
    for note, skip in (("", True), ("x" * 501, False), ("a\0b", False)):
        with pytest.raises(ValidationError) as caught:
            finish_steps(play_ids=[play.pk], note=note, skip=skip, now=NOW)
        assert list(caught.value.message_dict) == ["note"]
    assert finish_steps(play_ids=[0], now=NOW) == {0: "there is no such play"}
    nothing = PlayFactory(opened_at=NOW)
    assert "it has no step to do now" in (finish_steps(play_ids=[nothing.pk], now=NOW)[nothing.pk] or "")


def test_many_plays_cost_as_much_as_one(django_assert_max_num_queries) -> None:
    for _ in range(12):
        with_steps([{"kind": "wait", "text": "Wait.", "hours": 1}, AGREE])
    with django_assert_max_num_queries(65):
        work_steps(now=NOW)
    with django_assert_max_num_queries(75):
        work_steps(now=NOW + HOUR)
    assert PlayStep.objects.filter(state="current", number=2).count() == 12


def test_no_default_calendar_is_no_due_date() -> None:
    from csplaybooks.playbooks.models import Calendar

    Calendar.objects.all().delete()
    play = playing([AGREE])
    assert (states(play), step(play).due_at) == (["current"], None)


# The document


@pytest.mark.parametrize(
    ("faulty", "path", "words"),
    [
        ({**CALL, "days": 3}, "steps/0/days", "after_hours"),
        ({"kind": "wait", "text": "Wait.", "after_hours": 3}, "steps/0/after_hours", "`days` or `hours`"),
        ({"kind": "wait", "text": "Wait.", "hours": 3, "days": 3}, "steps/0/hours", "either"),
        ({**CALL, "counting": "wall"}, "steps/0/counting", "no hours"),
        ({**CALL, "feature": "boards"}, "steps/0/feature", "only a trial"),
        ({**CALL, "mail": {"subject": "Hi", "body": "You"}}, "steps/0/mail", "only a step of the kind mail"),
        ({"kind": "prompt", "text": "Show.", "routes": ["csm"]}, "steps/0/routes", "self_serve only"),
        (
            {"kind": "mail", "text": "W", "mail": {"subject": "{{acount}}", "body": "B"}},
            "steps/0/mail/subject",
            "{{account}}",
        ),
        ({"kind": "mail", "text": "W", "mail": {"subject": "{{found}}", "body": "B"}}, "steps/0/mail/subject", "body"),
        (
            {"kind": "mail", "text": "W", "mail": {"subject": "Hi\nBcc: x", "body": "B"}},
            "steps/0/mail/subject",
            "one line",
        ),
        (
            {"kind": "mail", "text": "W", "mail": {"subject": "Hi", "body": "{{ x.y }}"}},
            "steps/0/mail/body",
            "no field",
        ),
        ({"kind": "mail", "text": "W", "mail": {"subject": "Hi", "body": " \n "}}, "steps/0/mail/body", "empty"),
        ({"kind": "wait", "text": "Wait.", "hours": 0}, "steps/0/hours", "0"),
        ({**CALL, "after_hours": 10**9}, "steps/0/after_hours", "more than 20000"),
    ],
)
def test_what_cannot_be_a_step_is_told_by_its_place(faulty: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_document(draft_with([faulty]))
    told = dict(caught.value.errors)
    assert path in told
    assert words in told[path]


def test_what_steps_leave_out_is_filled_in() -> None:
    document = read_document(
        draft_with(
            [
                {"kind": "wait", "text": "Wait."},
                {"kind": "trial", "text": "Try."},
                AGREE,
                {"kind": "mail", "text": "Write.", "mail": {"subject": "Hi", "body": "You"}},
            ]
        )
    )
    wait, trial, task, mail = document["steps"]
    assert (wait["days"], trial["days"], task["counting"]) == (7, 14, "working")
    assert (mail["mail"]["automatic"], mail["mail"]["to"][0]) == (False, "economic_buyer")


def test_the_feature_of_a_trial_is_in_the_catalogue_and_stays_there() -> None:
    steps = [{"kind": "trial", "text": "Open it.", "feature": "dashboards"}]
    document = read_document(draft_with(steps))
    SignalTypeFactory(key="seats")
    with pytest.raises(DocumentError) as caught:
        check_names(document)
    assert ("steps/0/feature", "there is no feature dashboards") in caught.value.errors
    feature = FeatureFactory(key="dashboards")
    with_steps(steps)
    with pytest.raises(ValidationError, match="the published playbook Seats names it"):
        delete_rows(table=FEATURES, row_ids=[feature.pk], now=NOW, actor=None)


# When hours change


def test_a_step_is_due_anew_when_hours_change() -> None:
    calendar, owner = CalendarFactory(), TeamMemberFactory()
    play = playing([{**AGREE, "after_hours": 10}], owner=owner)
    assert step(play).due_at == NOW + DAY + 2 * HOUR
    wall = playing([{**AGREE, "after_hours": 10, "counting": "wall"}])
    change_calendar(
        calendar_id=calendar.pk, values={}, days=[DayHours(NOW.date() + DAY, None, None, "Feast")], now=NOW, actor=None
    )
    assert set(PlayStep.objects.values_list("is_stale", flat=True)) == {True, False}
    step_plays(now=NOW)
    assert (step(play).due_at, step(wall).due_at) == (NOW + 2 * DAY + 2 * HOUR, NOW + 10 * HOUR)
    assert not PlayStep.objects.filter(is_stale=True).exists()
    late = CalendarFactory(key="late", is_default=False, blocks=[(day, 12 * 60, 24 * 60) for day in range(5)])
    make_calendar_use(values={"calendar": late, "member": owner}, now=NOW, actor=None)
    step_plays(now=NOW)
    assert step(play).due_at == NOW + 12 * HOUR


def test_clocks_of_machines_differ_and_nothing_is_over_before_it_began() -> None:
    plays = [playing([CALL, AGREE]), playing([CALL])]
    assert done(finish_steps(play_ids=[plays[0].pk], now=NOW - timedelta(seconds=2)))
    close_plays(play_ids=[plays[1].pk], outcome="lost", now=NOW - timedelta(seconds=2))
    assert [step(play).done_at for play in plays] == [NOW, NOW]
    assert broken() == []
