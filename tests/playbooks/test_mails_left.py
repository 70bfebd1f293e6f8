"""Mails to customers that did not go, may not have, or wait: whoever works the play hears of them, and goes on."""

from __future__ import annotations

import smtplib
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from csplaybooks.accounts.factories import AccountFactory, ChampionFactory, TeamMemberFactory
from csplaybooks.accounts.models import Champion
from csplaybooks.playbooks.acts.deliveries import call_off_deliveries, retry_deliveries
from csplaybooks.playbooks.acts.drafts import discard_drafts, edit_draft, send_drafts, take_back_drafts
from csplaybooks.playbooks.acts.plays import close_plays, pause_plays, resume_plays
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.acts.suppressions import suppress
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory
from csplaybooks.playbooks.models import Delivery, MailDraft, Notice, Touch
from csplaybooks.playbooks.pipeline import sender
from csplaybooks.playbooks.pipeline.digests import write_digests
from csplaybooks.playbooks.pipeline.sender import CLAIMED_FOR, send_deliveries
from csplaybooks.playbooks.pipeline.sweep import step_plays
from tests.at_once import at_once
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, story
from tests.playbooks.stepping import MAIL, draft_of, playing, states
from tests.playbooks.test_mail_drafts import AUTOMATIC, CALL, WRITE, deliver, send, writing

pytestmark = pytest.mark.django_db

LATER = NOW + 3 * HOUR


@pytest.fixture(autouse=True)
def office(db: None, settings: Any) -> Any:
    settings.CSPLAYBOOKS = {"NOTICES_BY_MAIL": True, "MAX_ATTEMPTS": 1}
    return CalendarFactory()


def left(monkeypatch: pytest.MonkeyPatch, how: str) -> Any:
    """A play whose mail was given up (`failed`), or may have gone (`unclear`)."""
    play = writing()
    assert send(play) is None
    error = smtplib.SMTPDataError(451, b"later") if how == "failed" else smtplib.SMTPServerDisconnected("gone")

    def breaking(self: Any, messages: Any) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", breaking)
        deliver()
    assert (draft_of(play).state, states(play)) == (how, ["current", "waiting"])
    return play


def told(member: Any) -> list[str]:
    return list(Notice.objects.filter(kind="unsent", member=member).order_by("pk").values_list("text", flat=True))


def never_goes(play: Any, mailoutbox: Any) -> None:
    """Whatever is tried, the mail that did not go does not go later either."""
    ids = list(Delivery.objects.filter(play=play, kind="draft").values_list("pk", flat=True))
    before = len(mailoutbox)
    assert retry_deliveries(ids=ids, now=NOW + 9 * DAY) == 0
    send_deliveries(now=NOW + 9 * DAY)
    assert len(mailoutbox) == before
    assert broken() == []


@pytest.mark.parametrize("how", ["failed", "unclear"])
def test_whoever_works_the_play_hears_of_it_by_mail_and_in_the_digest(
    how: str, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = left(monkeypatch, how)
    words = {
        "failed": "The mail to ada@example.com did not go (The mail server put off the mail: 451 later)",
        "unclear": "It is unclear whether the mail to ada@example.com went "
        "(The connection to the mail server broke: gone)",
    }
    assert told(play.owner) == [f"{words[how]}: {play}"]
    assert Notice.objects.get(kind="unsent").way == "now"
    write_digests(now=NOW + DAY)
    body = Delivery.objects.get(kind="digest", member=play.owner).body
    assert "Mails to customers that did not go, or may not have (1)" in body
    assert f"{draft_of(play).subject} ({draft_of(play).get_state_display().lower()}): {play}" in body
    # Once dealt with it stands in none.
    assert done(finish_steps(play_ids=[play.pk], now=NOW + DAY))
    write_digests(now=NOW + 2 * DAY)
    later = Delivery.objects.filter(kind="digest", member=play.owner).exclude(body=body)
    assert not any("may not have" in each.body for each in later)


@pytest.mark.parametrize("how", ["failed", "unclear"])
@pytest.mark.parametrize("skip", [False, True])
def test_the_step_is_done_or_skipped_and_the_mail_never_goes(
    how: str, skip: bool, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = left(monkeypatch, how)
    assert done(finish_steps(play_ids=[play.pk], skip=skip, note="By phone", now=LATER, actor=play.owner.user))
    assert states(play) == ["skipped" if skip else "done", "current"]
    assert (draft_of(play).state, draft_of(play).delivery.state) == ("discarded", "cancelled")
    never_goes(play, mailoutbox)


def test_what_was_given_up_is_mended_and_sent_anew_and_the_old_one_never_goes(
    monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = left(monkeypatch, "failed")
    draft = draft_of(play)
    edit_draft(
        draft_id=draft.pk,
        subject="Once more",
        body="Hi",
        champion_id=draft.champion_id,
        now=LATER,
        actor=play.owner.user,
    )
    assert (draft_of(play).state, draft_of(play).delivery.state) == ("draft", "cancelled")
    never_goes(play, mailoutbox)
    assert send(play, now=LATER) is None
    deliver(LATER)
    assert [each.subject for each in mailoutbox] == ["Once more"]
    assert states(play) == ["done", "current"]


def test_what_was_given_up_is_sent_anew_as_it_is(monkeypatch: pytest.MonkeyPatch, mailoutbox: Any) -> None:
    play = left(monkeypatch, "failed")
    assert send(play, now=LATER) is None
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["cancelled", "queued"]
    deliver(LATER)
    assert (len(mailoutbox), draft_of(play).state) == (1, "sent")
    assert broken() == []


def test_what_is_unclear_is_written_anew_only_where_that_was_chosen(
    monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = left(monkeypatch, "unclear")
    draft = draft_of(play)
    assert "unclear whether it went" in (send(play, now=LATER) or "")
    colleague = TeamMemberFactory().user
    refused = take_back_drafts(draft_ids=[draft.pk], now=LATER, actor=colleague, unclear=True)[draft.pk] or ""
    assert refused.startswith("Write anew is not possible: that is for Carla")
    assert done(take_back_drafts(draft_ids=[draft.pk], now=LATER, actor=play.owner.user, unclear=True))
    assert (draft_of(play).state, draft_of(play).delivery.state) == ("draft", "cancelled")
    assert story(play)[-1].startswith("Seats: Mail to be written anew, it may have gone before")
    never_goes(play, mailoutbox)
    assert send(play, now=LATER) is None
    deliver(LATER)
    assert (len(mailoutbox), draft_of(play).state) == (1, "sent")


@pytest.mark.parametrize("how", ["failed", "unclear"])
def test_it_is_discarded_or_called_off_with_its_play(
    how: str, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    plays = [left(monkeypatch, how), left(monkeypatch, how)]
    assert done(discard_drafts(draft_ids=[draft_of(plays[0]).pk], now=LATER, actor=plays[0].owner.user))
    close_plays(play_ids=[plays[1].pk], outcome="lost", now=LATER)
    for play in plays:
        assert (draft_of(play).state, draft_of(play).delivery.state) == ("discarded", "cancelled")
        never_goes(play, mailoutbox)
    assert ("unclear whether it went" in draft_of(plays[1]).delivery.last_error) == (how == "unclear")


@pytest.mark.parametrize("how", ["failed", "unclear"])
def test_what_operations_put_back_is_on_its_way_again(
    how: str, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = left(monkeypatch, how)
    assert retry_deliveries(ids=[draft_of(play).delivery_id], now=LATER) == 1
    assert draft_of(play).state == "queued"
    assert "on its way" in (finish_steps(play_ids=[play.pk], now=LATER)[play.pk] or "")
    deliver(LATER)
    assert (len(mailoutbox), draft_of(play).state, states(play)) == (1, "sent", ["done", "current"])
    assert broken() == []


def test_what_operations_call_off_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    play = left(monkeypatch, "unclear")
    call_off_deliveries(ids=[draft_of(play).delivery_id], now=LATER)
    assert draft_of(play).state == "failed"
    assert len(told(play.owner)) == 2


def test_a_sender_that_was_taken_for_dead_and_comes_back_tells_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    play = writing()
    assert send(play) is None

    def slow(self: Any, messages: Any) -> int:
        sender.give_up_on_the_dead(NOW + 2 * HOUR + CLAIMED_FOR)
        assert draft_of(play).state == "unclear"
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    deliver()
    assert (draft_of(play).state, states(play), Touch.objects.count()) == ("sent", ["done", "current"], 1)
    assert broken() == []


def test_what_went_when_its_play_was_closed_is_told_however_late(monkeypatch: pytest.MonkeyPatch) -> None:
    play = writing()
    send(play)

    def slow(self: Any, messages: Any) -> int:
        close_plays(play_ids=[play.pk], outcome="lost", now=NOW + 2 * HOUR)
        sender.give_up_on_the_dead(NOW + 2 * HOUR + CLAIMED_FOR)
        # Nobody tries it again, and it is told as it is.
        assert retry_deliveries(ids=Delivery.objects.values_list("pk", flat=True), now=LATER) == 0
        assert draft_of(play).state == "unclear"
        assert broken() == []
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    deliver()
    assert (draft_of(play).state, Touch.objects.count(), states(play)) == ("sent", 1, ["skipped", "skipped"])
    assert broken() == []


def test_what_the_server_put_off_until_the_play_was_closed_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, mailoutbox: Any, settings: Any
) -> None:
    settings.CSPLAYBOOKS = {"MAX_ATTEMPTS": 5}
    play = writing()
    send(play)

    def putting_off(self: Any, messages: Any) -> int:
        close_plays(play_ids=[play.pk], outcome="won", now=NOW + 2 * HOUR)
        raise smtplib.SMTPDataError(451, b"later")

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", putting_off)
        deliver()
    deliver(NOW + DAY)
    assert (mailoutbox, draft_of(play).state, draft_of(play).delivery.state) == ([], "discarded", "cancelled")
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_of_operations_and_whoever_skips_at_once_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    CalendarFactory()
    play = left(monkeypatch, "unclear")
    delivery = draft_of(play).delivery_id
    at_once(
        lambda: retry_deliveries(ids=[delivery], now=LATER),
        lambda: finish_steps(play_ids=[play.pk], skip=True, note="No", now=LATER),
        lambda: take_back_drafts(draft_ids=[draft_of(play).pk], now=LATER, actor=None, unclear=True),
    )
    deliver(LATER)
    draft = draft_of(play)
    assert (draft.state, draft.delivery.state, len(mail.outbox)) in {
        ("sent", "sent", 1),
        ("discarded", "cancelled", 0),
        ("draft", "cancelled", 0),
    }
    assert broken() == []


# What waits


def test_a_pause_holds_the_mail_and_it_goes_when_the_play_goes_on(mailoutbox: Any) -> None:
    play, other = writing(), writing()
    assert send(play) is None
    assert send(other) is None
    pause_plays(play_ids=[play.pk], reason="They asked for it", now=NOW + HOUR)
    deliver()
    assert [each.to for each in mailoutbox] == [["ada@example.com"]]
    assert (draft_of(play).state, draft_of(other).state) == ("queued", "sent")
    assert not sender.is_anything_to_send(NOW + 2 * HOUR)
    resume_plays(play_ids=[play.pk], now=LATER)
    deliver(LATER)
    assert (len(mailoutbox), draft_of(play).state, states(play)) == (2, "sent", ["done", "current"])
    assert broken() == []


@pytest.mark.parametrize("paused", [False, True])
def test_what_waits_is_called_off_by_whoever_works_the_play(paused: bool, mailoutbox: Any) -> None:
    play = writing()
    draft = draft_of(play)
    assert "not on its way" in (take_back_drafts(draft_ids=[draft.pk], now=NOW, actor=None)[draft.pk] or "")
    send(play)
    if paused:
        pause_plays(play_ids=[play.pk], reason="They asked for it", now=NOW + HOUR)
    stranger = TeamMemberFactory().user
    refused = take_back_drafts(draft_ids=[draft.pk], now=LATER, actor=stranger)[draft.pk] or ""
    assert refused.startswith("Do not send is not possible: ")
    assert done(take_back_drafts(draft_ids=[draft.pk], now=LATER, actor=play.owner.user))
    assert (draft_of(play).state, draft_of(play).sent_by, story(play)[-1]) == (
        "draft",
        None,
        f"Seats: Mail not sent: {draft.subject}",
    )
    never_goes(play, mailoutbox)
    if paused:
        resume_plays(play_ids=[play.pk], now=LATER)
    assert send(play, now=LATER) is None


def test_what_is_being_sent_is_not_called_off() -> None:
    play = writing()
    send(play)
    Delivery.objects.update(state="sending", claimed_until=NOW + DAY)
    draft = draft_of(play)
    assert take_back_drafts(draft_ids=[draft.pk], now=NOW, actor=None) == {
        draft.pk: "it is being sent, or went meanwhile: look again"
    }
    assert Delivery.objects.get().state == "sending"
    assert "on its way" in (finish_steps(play_ids=[play.pk], now=LATER)[play.pk] or "")


# What goes by itself, and cannot


@pytest.mark.parametrize("case", ["nobody", "no address", "has left", "a gap", "churned", "suppressed"])
def test_what_was_to_go_by_itself_and_cannot_is_told_once(case: str) -> None:
    owner, steps = TeamMemberFactory(name="Carla", email="carla@vendor.example"), [AUTOMATIC]
    account = AccountFactory(**({"facts__lifecycle": "churned"} if case == "churned" else {}))
    if case != "nobody":
        ChampionFactory(
            account=account,
            email="" if case == "no address" else "ada@example.com",
            left_on=NOW.date() if case == "has left" else None,
            role=Champion.Role.CHAMPION,
        )
    if case == "a gap":
        steps = [{**WRITE, "mail": {**MAIL, "subject": "On {{plan}}", "automatic": True}}]
    if case == "suppressed":
        suppress(address="ada@example.com", now=NOW, actor=None)
    play = playing(steps, account=account, owner=owner, route="email", routing={"first_touch": "system"})
    why = {
        "a gap": "mend what is missing first: [plan?]",
        "churned": "the account has churned, or is there no more",
        "suppressed": "the address is suppressed",
    }.get(case, "nobody to write to")
    assert told(owner) == [f"A mail waits for a person, {why}: {play}"]
    line = "Mail not sent, the address is suppressed" if case == "suppressed" else f"Mail waits for a person: {why}"
    assert sum(line in each for each in story(play)) == 1
    step_plays(now=NOW + HOUR)
    assert len(told(owner)) == 1
    assert Delivery.objects.filter(kind="draft").count() == 0


def test_of_what_a_person_was_to_send_anyway_nobody_is_told() -> None:
    owner = TeamMemberFactory(name="Carla", email="carla@vendor.example")
    play = playing([AUTOMATIC], owner=owner, route="csm", routing={"first_touch": "person"})
    assert told(owner) == []
    assert not any("waits for a person" in line for line in story(play))


# In words


def test_a_refusal_names_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    play = writing()
    draft = draft_of(play)
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW)
    assert (send(play) or "").startswith("Send is not possible: the play is owned and paused")
    assert (discard_drafts(draft_ids=[draft.pk], now=NOW, actor=play.owner.user)[draft.pk] or "").startswith(
        "Discard is"
    )
    resume_plays(play_ids=[play.pk], now=NOW)
    assert send(play, seen={draft.pk: draft.version}) is None
    # Pressed twice.
    assert send(play, seen={draft.pk: draft.version}) == "it is on its way already"
    deliver()
    assert send(play, seen={draft.pk: draft.version}) == "it is sent already"
    finish_steps(play_ids=[play.pk], now=LATER)
    # The play has no step left: that is no answer to this.
    assert send(play, seen={draft.pk: draft.version}) == "it is sent already"


def test_only_what_was_read_is_sent() -> None:
    play = writing()
    assert send(play, seen={}) == "read it first: it was not shown"
    assert MailDraft.objects.get(step__play=play).state == "draft"


def test_a_step_told_another_way_is_a_contact_where_it_is_said() -> None:
    play = writing()
    ClockFactory(play=play)
    assert done(finish_steps(play_ids=[play.pk], note="Called her.", contact="call", now=LATER, actor=play.owner.user))
    touch = Touch.objects.get()
    assert (touch.channel, touch.direction, touch.at, touch.by_member, touch.note) == (
        "call",
        "out",
        LATER,
        play.owner,
        "Called her.",
    )
    play.refresh_from_db()
    assert (play.stage, play.clocks.get().done_at, states(play)) == ("running", LATER, ["done", "current"])
    assert story(play)[-1] == "Seats: Step 1 done: Write to them. (Called her.); contact logged: Call"
    assert done(finish_steps(play_ids=[play.pk], now=LATER))
    assert Touch.objects.count() == 1
    assert broken() == []


def test_after_a_contact_by_the_step_the_next_mail_goes_by_itself() -> None:
    play = writing(steps=[CALL, AUTOMATIC], route="email", routing={"first_touch": "person"})
    finish_steps(play_ids=[play.pk], contact="call", now=NOW + HOUR)
    assert draft_of(play).state == "queued"


def test_several_at_once_cost_as_much_as_one(
    django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays = [left(monkeypatch, "unclear") for _ in range(6)]
    with django_assert_max_num_queries(60):
        finish_steps(play_ids=[play.pk for play in plays], note="By phone", contact="call", now=LATER)
    assert {draft_of(play).state for play in plays} == {"discarded"}
    assert send_drafts(draft_ids=[], now=LATER, actor=None) == {}
