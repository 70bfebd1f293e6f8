"""The sender: each mail goes once, whatever refuses, breaks, hangs or dies."""

from __future__ import annotations

import re
import smtplib
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection

from csplaybooks.accounts.factories import TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks import tasks
from csplaybooks.playbooks.acts.deliveries import (
    Outgoing,
    call_off_deliveries,
    message_id,
    queue_deliveries,
    retry_deliveries,
)
from csplaybooks.playbooks.factories import NoticeFactory, PlayFactory
from csplaybooks.playbooks.models import Delivery
from csplaybooks.playbooks.pipeline import post, sender
from csplaybooks.playbooks.pipeline.mails import write_mails
from csplaybooks.playbooks.pipeline.sender import CLAIMED_FOR, SECONDS, send_deliveries
from csplaybooks.playbooks.pipeline.sweep import have_mail_sent
from tests.at_once import at_once
from tests.crash.dying import die_everywhere
from tests.mails.post_office import addresses, mail_server, states, waiting
from tests.playbooks.plays import HOUR, NOW, story

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
DEAD = NOW + CLAIMED_FOR


def broken_by(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> None:
    """Let the mail backend raise these, one for each mail; None lets one through, and so it does with all the rest."""
    left = list(errors)
    send = EmailBackend.send_messages

    def answer(self: Any, messages: Any) -> Any:
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return send(self, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", answer)


def refused(code: int) -> Exception:
    return smtplib.SMTPRecipientsRefused({"somebody@example.com": (code, b"no")})


def fails(at: Any) -> Any:
    """The only mail, after the sender has tried it at a moment and it did not go."""
    assert send_deliveries(now=at) == 0
    return Delivery.objects.get()


def test_what_was_queued_goes_out_once_with_its_message_id(mailoutbox):
    (delivery,) = waiting(reply_to="carla@vendor.example")
    assert send_deliveries(now=NOW) == 1
    assert send_deliveries(now=NOW + HOUR) == 0
    (sent,) = mailoutbox
    assert (sent.subject, sent.to, sent.from_email) == (
        delivery.subject,
        [delivery.to_address],
        "growth@vendor.example",
    )
    assert (sent.body, sent.reply_to) == (delivery.body, ["carla@vendor.example"])
    assert sent.extra_headers["Message-ID"] == delivery.message_id
    assert sent.extra_headers["Auto-Submitted"] == "auto-generated"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.sent_at, delivery.attempts) == ("sent", NOW, 1)


def test_of_each_key_there_is_one_for_ever(mailoutbox, django_capture_on_commit_callbacks):
    play = PlayFactory()
    item = Outgoing("draft:7", "notice", "a@example.com", "Hello\nBcc: x@example.com", "Text", play_id=play.pk)
    with django_capture_on_commit_callbacks() as pokes:
        first = queue_deliveries([item, item], NOW)["draft:7"]
    assert len(pokes) == 1
    assert queue_deliveries([item], NOW + HOUR)["draft:7"].pk == first.pk
    assert first.subject == "Hello Bcc: x@example.com"
    send_deliveries(now=NOW)
    assert queue_deliveries([item], NOW + HOUR)["draft:7"].state == "sent"
    assert len(mailoutbox) == 1
    assert story(play) == ["Mail sent: to a@example.com: Hello Bcc: x@example.com"]
    assert queue_deliveries([], NOW) == {}


def test_a_message_id_is_of_its_site_and_moment(settings):
    name = message_id("draft:7", NOW)
    assert name == message_id("draft:7", NOW)
    assert re.fullmatch(r"<[0-9a-f]{40}@growth\.example\.com>", name)
    assert len({name, message_id("draft:8", NOW), message_id("draft:7", NOW + SECOND)}) == 3
    settings.SECRET_KEY = "another site"
    assert message_id("draft:7", NOW) != name
    settings.CSPLAYBOOKS = {"MAIL_FROM": "Growth <growth@vendor.example>"}
    assert message_id("draft:7", NOW).endswith("@vendor.example>")


def test_the_oldest_go_first_and_no_more_than_the_limit(mailoutbox):
    waiting(to_address="young@example.com")
    Delivery.objects.update(queued_at=NOW + HOUR)
    waiting(2, to_address="old@example.com")
    assert send_deliveries(now=NOW, limit=2) == 2
    assert addresses(mailoutbox) == ["old@example.com"] * 2
    assert send_deliveries(now=NOW) == 1


def test_one_bad_address_does_not_stop_the_others(mailoutbox, monkeypatch):
    waiting(3)
    broken_by(monkeypatch, None, refused(550))
    assert send_deliveries(now=NOW) == 2
    assert states() == ["sent", "queued", "sent"]
    bad = Delivery.objects.get(state="queued")
    assert (bad.stuck_at, bad.attempts) == (NOW, 1)
    assert "550" in bad.last_error
    assert send_deliveries(now=NOW + timedelta(days=9)) == 0


@pytest.mark.parametrize(
    "error",
    [
        refused(450),
        smtplib.SMTPDataError(451, b"later"),
        smtplib.SMTPSenderRefused(550, b"who?", "growth@vendor.example"),
        RuntimeError("of a backend of somebody else"),
    ],
)
def test_what_was_not_taken_is_tried_again_after_growing_waits_and_then_given_up(monkeypatch, error, mailoutbox):
    waiting()
    broken_by(monkeypatch, *[error] * 6)
    at, waits = NOW, []
    for attempt in range(1, 6):
        delivery = fails(at)
        assert (delivery.state, delivery.attempts, delivery.sent_at) == ("queued", attempt, None)
        waits.append((delivery.next_try_at - at).total_seconds())
        assert fails(delivery.next_try_at - SECOND).attempts == attempt
        at = delivery.next_try_at
    assert waits == [60, 300, 1500, 7500, 37500]
    assert delivery.stuck_at is not None
    assert fails(NOW + timedelta(days=9)).attempts == 5
    # Put back by a person it has all its attempts again.
    assert retry_deliveries(ids=[delivery.pk], now=NOW, actor=UserFactory()) == 1
    delivery = fails(NOW)
    assert (delivery.attempts, delivery.stuck_at) == (1, None)
    assert send_deliveries(now=delivery.next_try_at) == 1
    assert len(mailoutbox) == 1


@pytest.mark.parametrize("error", [smtplib.SMTPServerDisconnected("gone"), TimeoutError("timed out"), OSError("reset")])
def test_where_the_connection_breaks_it_is_unclear_and_never_sent_again_by_itself(monkeypatch, error, mailoutbox):
    waiting()
    broken_by(monkeypatch, error)
    delivery = fails(NOW)
    assert (delivery.state, delivery.claimed_until) == ("unclear", None)
    assert fails(NOW + timedelta(days=9)).state == "unclear"
    assert mailoutbox == []


@pytest.mark.parametrize("error", [smtplib.SMTPDataError(554, b"spam"), ValueError("no address")])
def test_what_is_refused_for_good_is_not_tried_again(monkeypatch, error):
    waiting()
    broken_by(monkeypatch, error)
    assert fails(NOW).stuck_at == NOW


def test_a_backend_that_sends_nothing_has_not_sent(monkeypatch):
    waiting()
    monkeypatch.setattr(EmailBackend, "send_messages", lambda self, messages: 0)
    assert fails(NOW).last_error == "The mail backend sent nothing."


def test_where_no_server_answers_nothing_is_claimed_and_all_wait(monkeypatch, mailoutbox):
    waiting(2)

    def away(self: Any) -> None:
        raise ConnectionRefusedError(111, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "open", away)
        assert send_deliveries(now=NOW) == 0
    rows = list(Delivery.objects.order_by("pk").values_list("state", "attempts", "last_error"))
    assert rows == [("queued", 0, "The connection to the mail server failed: refused."), ("queued", 0, "")]
    assert send_deliveries(now=NOW) == 2


def test_a_backend_that_cannot_be_made_leaves_all_waiting(monkeypatch):
    waiting()

    def wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ValueError("set up wrongly")

    monkeypatch.setattr(EmailBackend, "__init__", wrong)
    delivery = fails(NOW)
    assert (delivery.state, delivery.attempts) == ("queued", 0)
    assert delivery.last_error == "Sending mail failed: set up wrongly (ValueError)."


def test_whoever_died_leaves_mails_unclear_once_their_time_is_over(mailoutbox):
    play = PlayFactory()
    (dead,) = waiting(play=play, member=None)
    Delivery.objects.update(state="sending", claimed_until=DEAD)
    waiting()
    assert send_deliveries(now=DEAD - SECOND) == 1
    assert states() == ["sending", "sent"]
    assert send_deliveries(now=DEAD) == 0
    assert states() == ["unclear", "sent"]
    assert story(play) == [f"It is unclear whether a mail went: to somebody@example.com: {dead.subject}"]
    assert send_deliveries(now=DEAD + timedelta(days=9)) == 0
    assert len(mailoutbox) == 1


def test_who_was_taken_for_dead_and_comes_back_tells_how_it_went(monkeypatch, mailoutbox):
    waiting()

    def slow(self: Any, messages: Any) -> int:
        # Meanwhile the sweep takes this sender for dead.
        sender.give_up_on_the_dead(DEAD)
        assert states() == ["unclear"]
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    assert send_deliveries(now=NOW) == 1
    assert states() == ["sent"]


def test_what_a_person_put_back_meanwhile_is_not_finished_by_who_comes_back(monkeypatch):
    (delivery,) = waiting()

    def slow(self: Any, messages: Any) -> int:
        sender.give_up_on_the_dead(DEAD)
        retry_deliveries(ids=[delivery.pk], now=DEAD)
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    send_deliveries(now=NOW)
    assert states() == ["queued"]


def test_what_another_sender_has_taken_meanwhile_is_not_finished_by_who_comes_back(monkeypatch):
    (delivery,) = waiting()

    def slow(self: Any, messages: Any) -> int:
        sender.give_up_on_the_dead(DEAD)
        retry_deliveries(ids=[delivery.pk], now=DEAD)
        assert sender._take_next(DEAD) == delivery
        return 1

    monkeypatch.setattr(EmailBackend, "send_messages", slow)
    send_deliveries(now=NOW)
    # The other one is still at it, and tells how it went.
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claimed_until) == ("sending", DEAD + CLAIMED_FOR)


def test_a_person_sends_again_what_is_unclear_or_calls_it_off(mailoutbox):
    play, person = PlayFactory(), UserFactory(first_name="Olga", last_name="Ops")
    first, second, third = waiting(3, play=play, member=None)
    Delivery.objects.update(state="unclear", last_error="gone")
    ids = [first.pk, second.pk, third.pk]
    assert retry_deliveries(ids=[first.pk], now=NOW, actor=person) == 1
    assert call_off_deliveries(ids=[second.pk], now=NOW, actor=person) == 1
    assert retry_deliveries(ids=ids[:2], now=NOW, actor=person) == 0
    assert send_deliveries(now=NOW) == 1
    assert states() == ["sent", "cancelled", "unclear"]
    assert call_off_deliveries(ids=ids, now=NOW, actor=person) == 1
    assert call_off_deliveries(ids=ids, now=NOW, actor=person) == 0
    whom = f"to somebody@example.com: {first.subject}"
    assert story(play) == [
        f"Put back into the queue (gone): {whom}",
        f"Called off: {whom}",
        f"Mail sent: {whom}",
        f"Called off: {whom}",
    ]
    assert set(TimelineEntry.objects.filter(kind="mail_retried").values_list("actor_label", flat=True)) == {"Olga Ops"}


def test_a_mail_to_the_team_is_told_on_the_timeline_of_each_play_it_lists(mailoutbox):
    carla = TeamMemberFactory(name="Carla")
    (delivery,) = waiting(member=carla)
    plays = [PlayFactory(owner=carla) for _ in range(2)]
    for play in plays:
        NoticeFactory(play=play, delivery=delivery, text=f"{play} is yours")
    send_deliveries(now=NOW)
    assert [story(play) for play in plays] == [[f"Mail sent: to Carla: {play} is yours"] for play in plays]


def test_who_has_left_is_not_written_to(mailoutbox):
    waiting(member=TeamMemberFactory(name="Lea", is_active=False))
    assert send_deliveries(now=NOW) == 0
    assert (states(), Delivery.objects.get().last_error) == (["cancelled"], "Lea has left.")


def test_no_mail_is_begun_when_the_time_is_up(monkeypatch, mailoutbox):
    waiting(3)
    ticks = iter([0.0, 0.0, SECONDS - 1, SECONDS])
    monkeypatch.setattr("csplaybooks.playbooks.pipeline.sender.time.monotonic", lambda: next(ticks))
    assert send_deliveries(now=NOW) == 2
    assert states() == ["sent", "sent", "queued"]


def test_a_mail_takes_the_same_number_of_queries_whatever_waits(django_assert_max_num_queries):
    waiting(30)
    with django_assert_max_num_queries(4 + 30 * 14):
        assert send_deliveries(now=NOW) == 30
    with django_assert_max_num_queries(2):
        assert send_deliveries(now=NOW) == 0


def test_the_task_goes_on_in_another_where_more_waits(monkeypatch, mailoutbox):
    poked: list[str] = []
    monkeypatch.setattr(tasks, "poke", poked.append)
    waiting(2)
    monkeypatch.setattr(tasks, "send_deliveries", lambda **named: send_deliveries(**named, limit=1))
    assert [tasks.deliver(), tasks.deliver(), tasks.deliver()] == ["1 sent", "1 sent", "0 sent"]
    assert poked == ["deliver"]


# With a real mail server.


def test_a_server_takes_refuses_puts_off_and_hangs_up():
    waiting(5)
    with mail_server() as server:
        server.recipients = ["250 fine", "550 nobody", "451 later"]
        server.mails = ["250 taken", ""]
        assert send_deliveries(now=NOW) == 2
    rows = list(Delivery.objects.order_by("pk").values_list("state", "stuck_at"))
    assert rows == [("sent", None), ("queued", NOW), ("queued", None), ("unclear", None), ("sent", None)]
    assert len(server.taken) == 2
    assert f"Message-ID: {Delivery.objects.order_by('pk')[0].message_id}" in server.taken[0]


def test_a_server_that_says_nothing_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(post, "ANSWER_SECONDS", 0.05)
    waiting()
    with mail_server() as server:
        server.greeting = ""
        delivery = fails(NOW)
    assert (delivery.state, delivery.attempts) == ("queued", 0)
    assert "timed out" in delivery.last_error


# Whoever dies, and two at once.


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_no_mail_twice(mailoutbox):
    waiting(20)
    sent = at_once(*[lambda: send_deliveries(now=NOW)] * 3)
    assert sum(sent) == 20
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == len(mail.outbox) == 20
    assert set(states()) == {"sent"}


@pytest.mark.django_db(transaction=True)
def test_killed_at_every_point_no_mail_goes_twice_and_none_is_lost(tmp_path, monkeypatch):
    # Of customers: the processes that are killed are those of a site without mail to its team.
    made = waiting(6, kind="draft")
    monkeypatch.setenv("EMAIL_URL", f"filemail://{tmp_path}/mails")
    deaths = die_everywhere("csplaybooks.playbooks.pipeline.sender.send_deliveries", now=NOW)
    assert deaths > 6
    send_deliveries(now=DEAD)
    text = "\n".join(file.read_text() for file in (tmp_path / "mails").iterdir())
    gone = [text.count(f"Message-ID: {delivery.message_id}") for delivery in made]
    # What is unclear went or did not, but never twice; all others went.
    assert {(state, count) for state, count in zip(states(), gone, strict=True)} <= {
        ("sent", 1),
        ("unclear", 0),
        ("unclear", 1),
    }
    assert "unclear" in states()
    assert "sent" in states()
    assert connection.in_atomic_block is False


def test_each_mail_went_when_it_was_handed_over_and_never_before_it_was_queued(mailoutbox):
    play = PlayFactory()
    waiting(3, play=play, member=None)
    Delivery.objects.filter(pk=Delivery.objects.order_by("pk")[2].pk).update(queued_at=NOW + HOUR)
    seconds = iter(range(100))
    assert send_deliveries(now=NOW, clock=lambda: NOW + next(seconds) * SECOND) == 3
    first, second, third = Delivery.objects.order_by("pk").values_list("sent_at", flat=True)
    assert NOW < first < second < NOW + 10 * SECOND
    # Queued by a machine whose clock is ahead.
    assert third == NOW + HOUR


def test_where_the_team_is_not_told_by_mail_any_more_nothing_waits_for_it_to_be_again(settings, mailoutbox):
    given_up, draft = waiting(), waiting(kind="draft", member=None)
    Delivery.objects.filter(pk=given_up[0].pk).update(stuck_at=NOW)
    play = PlayFactory()
    (told,) = waiting(play=play, member=None)
    notices = [NoticeFactory(way=way, at=NOW) for way in ("now", "digest")]
    settings.CSPLAYBOOKS = {}
    have_mail_sent(now=NOW)
    settings.CSPLAYBOOKS = {"NOTICES_BY_MAIL": True}
    assert [Delivery.objects.get(pk=row.pk).state for row in (*given_up, told, *draft)] == [
        "cancelled",
        "cancelled",
        "queued",
    ]
    for notice in notices:
        notice.refresh_from_db()
        assert (notice.way, notice.delivery) == ("off", None)
    assert story(play) == [f"Mail not sent, notices by mail are switched off: to somebody@example.com: {told.subject}"]
    assert write_mails(now=NOW + HOUR) == 0
    assert send_deliveries(now=NOW + HOUR) == 1
    assert len(mailoutbox) == 1


def test_a_sender_that_comes_before_the_sweep_sends_the_team_nothing_either(settings, mailoutbox):
    waiting()
    NoticeFactory(way="now", at=NOW)
    settings.CSPLAYBOOKS = {}
    assert write_mails(now=NOW) == 0
    assert send_deliveries(now=NOW) == 0
    assert states() == ["cancelled"]
    assert mailoutbox == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(450), "The mail server put off somebody@example.com: 450 no."),
        (refused(550), "The mail server refused somebody@example.com: 550 no."),
        (
            smtplib.SMTPDataError(554, b"5.7.1 spam\nsee our page"),
            "The mail server refused the mail: 554 5.7.1 spam see our page.",
        ),
        (
            smtplib.SMTPSenderRefused(550, b"who?", "us@example.com"),
            "The mail server takes no mail from us@example.com: 550 who?.",
        ),
        (smtplib.SMTPAuthenticationError(535, b"wrong"), "The mail server does not let us in: 535 wrong."),
        (smtplib.SMTPHeloError(502, b"what"), "The mail server answered: 502 what."),
        (
            smtplib.SMTPServerDisconnected("please run connect() first"),
            "The connection to the mail server broke: please run connect() first.",
        ),
        (TimeoutError("timed out"), "The connection to the mail server broke: timed out."),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "The connection to the mail server failed: Connection reset by peer.",
        ),
        (smtplib.SMTPNotSupportedError("no STARTTLS"), "The mail server cannot be used: no STARTTLS."),
        (ValueError("no\0 address"), "Sending mail failed: no address (ValueError)."),
    ],
)
def test_what_went_wrong_is_told_in_a_sentence(error: Exception, words: str) -> None:
    assert post.in_words(error) == words
    assert len(post.in_words(RuntimeError("x" * 900))) <= 500
