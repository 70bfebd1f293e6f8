"""Mails to customers: written when their step begins, read by a person, sent once, never where they are not wanted."""

from __future__ import annotations

import smtplib
from datetime import date, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.mail.backends.locmem import EmailBackend

from csplaybooks.accounts.acts.errors import Conflict
from csplaybooks.accounts.factories import AccountFactory, ChampionFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Champion
from csplaybooks.playbooks.acts.deliveries import call_off_deliveries, retry_deliveries
from csplaybooks.playbooks.acts.drafts import discard_drafts, edit_draft, send_drafts, settle_drafts
from csplaybooks.playbooks.acts.plays import close_plays, pause_plays, resume_plays
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.acts.suppressions import stop_suppressing, suppress
from csplaybooks.playbooks.factories import CalendarFactory, ClockFactory
from csplaybooks.playbooks.models import Delivery, MailDraft, Suppression, Touch
from csplaybooks.playbooks.pipeline.sender import send_deliveries
from csplaybooks.playbooks.pipeline.sweep import step_plays
from tests.at_once import at_once
from tests.playbooks.plays import DAY, HOUR, NOW, broken, done, story
from tests.playbooks.stepping import MAIL, draft_of, playing, states, step

pytestmark = pytest.mark.django_db

WRITE = {"kind": "mail", "text": "Write to them.", "mail": MAIL}
CALL = {"kind": "task", "text": "Call them."}


@pytest.fixture(autouse=True)
def office(db: None) -> Any:
    return CalendarFactory()


def writing(*, steps: Any = (WRITE, CALL), email: str = "ada@example.com", **more: Any) -> Any:
    """A play whose first step is a mail to Ada."""
    owner = more.pop("owner", None) or TeamMemberFactory(name="Carla", email="carla@vendor.example")
    play = playing([], owner=owner, **more)
    ChampionFactory(account=play.account, name="Ada Lovelace", email=email, role=Champion.Role.CHAMPION)
    return playing(list(steps), owner=owner, account=play.account, motion="tier_upsell", **more)


def send(play: Any, **more: Any) -> str | None:
    """Ask for the play's draft to be sent, by its owner."""
    draft = draft_of(play)
    return send_drafts(draft_ids=[draft.pk], **{"now": NOW + HOUR, "actor": play.owner.user, **more})[draft.pk]


def deliver(now: Any = NOW + 2 * HOUR) -> None:
    """Send what is queued, and look at what came of it."""
    send_deliveries(now=now)
    step_plays(now=now)


# From the draft to the contact


@pytest.mark.django_db(transaction=True)
def test_a_draft_is_written_read_and_sent_and_its_step_is_done() -> None:
    CalendarFactory()
    play = writing()
    ClockFactory(play=play)
    draft = draft_of(play)
    assert (draft.subject, draft.to_address, draft.state) == (
        f"More room for {play.account.name}",
        "ada@example.com",
        "draft",
    )
    assert draft.body == "Dear Ada,\n\nshall we talk?\n\nCarla"
    assert send(play) is None
    assert (draft_of(play).state, states(play)) == ("queued", ["current", "waiting"])
    # Not before it has gone.
    assert Touch.objects.count() == 0
    assert "on its way" in (finish_steps(play_ids=[play.pk], now=NOW + HOUR)[play.pk] or "")
    assert send(play) == "it is on its way already"
    deliver()
    (sent,) = mail.outbox
    assert (sent.to, sent.reply_to, sent.subject, sent.body) == (
        ["ada@example.com"],
        ["carla@vendor.example"],
        draft.subject,
        draft.body,
    )
    draft = draft_of(play)
    touch = Touch.objects.get()
    assert (draft.state, draft.sent_at, draft.sent_by, draft.touch) == ("sent", NOW + 2 * HOUR, play.owner.user, touch)
    assert (touch.at, touch.channel, touch.direction, touch.origin, touch.by_member) == (
        NOW + 2 * HOUR,
        "email",
        "out",
        "draft",
        play.owner,
    )
    assert (states(play), step(play).done_at) == (["done", "current"], NOW + 2 * HOUR)
    assert play.clocks.get().done_at == NOW + 2 * HOUR
    play.refresh_from_db()
    assert play.stage == "running"
    deliver(NOW + 3 * HOUR)
    assert (len(mail.outbox), Touch.objects.count()) == (1, 1)
    assert settle_drafts(delivery_ids=[draft.delivery_id], now=NOW) == 0
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_of_two_who_send_a_draft_at_once_one_is_told() -> None:
    CalendarFactory()
    play = writing()
    answers = at_once(*[lambda: send(play)] * 3)
    assert sorted(answer or "" for answer in answers)[0] == ""
    assert sum(answer is None for answer in answers) == 1
    at_once(*[lambda: deliver()] * 3)
    assert (len(mail.outbox), Touch.objects.count(), Delivery.objects.count()) == (1, 1, 1)
    assert broken() == []


def test_whoever_the_step_says_is_written_to_if_they_are_there() -> None:
    play = playing([])
    for name, role, email, left_on in (
        ("Bea", Champion.Role.ECONOMIC_BUYER, "", None),
        ("Cleo", Champion.Role.ECONOMIC_BUYER, "cleo@example.com", date(2026, 1, 1)),
        ("Dan", Champion.Role.ADMIN, "dan@example.com", None),
        ("Eli", Champion.Role.CHAMPION, "eli@example.com", None),
    ):
        ChampionFactory(account=play.account, name=name, role=role, email=email, left_on=left_on)
    ChampionFactory(name="Somebody else", role=Champion.Role.ECONOMIC_BUYER, email="x@example.com")
    first = playing([WRITE], account=play.account, motion="tier_upsell")
    assert draft_of(first).champion.name == "Eli"
    admins = playing([{**WRITE, "mail": {**MAIL, "to": ["admin"]}}], account=play.account, motion="cross_sell")
    assert draft_of(admins).champion.name == "Dan"
    sponsors = playing(
        [{**WRITE, "mail": {**MAIL, "to": ["executive_sponsor"]}}], account=play.account, motion="usage_growth"
    )
    assert (draft_of(sponsors).champion, draft_of(sponsors).to_address) == (None, "")
    assert send(sponsors) == "choose whom it goes to"


def test_a_gap_is_mended_before_it_is_sent() -> None:
    play = writing(steps=[{**WRITE, "mail": {"subject": "Your {{plan}}", "body": "You use {{seats_used}} seats."}}])
    assert draft_of(play).subject == "Your [plan?]"
    assert send(play) == "mend what is missing first: [plan?], [seats_used?]"
    draft = draft_of(play)
    edited = edit_draft(
        draft_id=draft.pk,
        subject="Your plan",
        body="You use {{seats_used}}.",
        champion_id=draft.champion_id,
        now=NOW,
        actor=play.owner.user,
        expected_version=draft.version,
    )
    assert edited.version == draft.version + 1
    # What a person writes is no template.
    assert send(play) == "mend what is missing first: {{seats_used}}"
    with pytest.raises(Conflict):
        edit_draft(
            draft_id=draft.pk,
            subject="Mine",
            body="Mine",
            champion_id=None,
            now=NOW,
            actor=play.owner.user,
            expected_version=draft.version,
        )
    same = edit_draft(
        draft_id=draft.pk, subject="Your plan", body=edited.body, champion_id=draft.champion_id, now=NOW, actor=None
    )
    assert same.version == edited.version


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"subject": "Hi\nBcc: everybody@example.com"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"body": "  "}, "body"),
        ({"body": "x" * 20_001}, "body"),
        ({"body": "a\0b"}, "body"),
        ({"champion_id": 0}, "champion"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_its_field(values: dict[str, Any], field: str) -> None:
    draft = draft_of(writing())
    good = {"subject": "Hi", "body": "You", "champion_id": draft.champion_id}
    with pytest.raises(ValidationError) as caught:
        edit_draft(draft_id=draft.pk, now=NOW, actor=None, **{**good, **values})
    assert list(caught.value.message_dict) == [field]


def test_people_of_other_accounts_and_those_who_have_left_are_not_written_to() -> None:
    play = writing()
    draft = draft_of(play)
    other = ChampionFactory(email="else@example.com")
    gone = ChampionFactory(account=play.account, email="gone@example.com", left_on=date(2026, 1, 1))
    for person in (other, gone, ChampionFactory(account=play.account, email="")):
        with pytest.raises(ValidationError) as caught:
            edit_draft(draft_id=draft.pk, subject="Hi", body="You", champion_id=person.pk, now=NOW, actor=None)
        assert list(caught.value.message_dict) == ["champion"]
    Champion.objects.filter(pk=draft.champion_id).update(left_on=date(2026, 11, 1))
    assert send(play) == "Ada Lovelace has left: choose whom it goes to"


def test_it_goes_to_the_address_of_today() -> None:
    play = writing()
    Champion.objects.filter(pk=draft_of(play).champion_id).update(email="ada@new.example.com")
    assert send(play) is None
    assert Delivery.objects.get().to_address == "ada@new.example.com"


def test_a_draft_is_for_the_owner_and_those_above() -> None:
    play = writing()
    draft = draft_of(play)
    for nobody in (TeamMemberFactory().user, UserFactory(username="stranger")):
        assert "that is for Carla" in (send(play, actor=nobody) or "")
        assert "that is for Carla" in (discard_drafts(draft_ids=[draft.pk], now=NOW, actor=nobody)[draft.pk] or "")
        with pytest.raises(ValidationError, match="that is for Carla"):
            edit_draft(draft_id=draft.pk, subject="Hi", body="You", champion_id=None, now=NOW, actor=nobody)
    assert draft_of(play).state == "draft"
    assert send_drafts(draft_ids=[0], now=NOW, actor=None) == {0: "there is no such draft"}
    assert send(play, seen={draft.pk: draft.version + 1}) == "somebody else has changed it: read it again"


def test_what_is_discarded_is_not_sent_and_its_step_stays() -> None:
    play = writing()
    draft = draft_of(play)
    assert done(discard_drafts(draft_ids=[draft.pk], now=NOW, actor=play.owner.user))
    assert send(play) == "nothing can be done with it any more: discarded"
    assert states(play) == ["current", "waiting"]
    assert done(finish_steps(play_ids=[play.pk], note="Called instead.", now=NOW))


def test_a_step_done_another_way_leaves_no_draft() -> None:
    play = writing()
    assert done(finish_steps(play_ids=[play.pk], note="Told them on the phone.", now=NOW))
    assert draft_of(play).state == "discarded"
    assert send(play) == "nothing can be done with it any more: discarded"
    assert broken() == []


def test_who_closes_a_play_calls_its_mail_off() -> None:
    plays = [writing(), writing()]
    send(plays[1])
    close_plays(play_ids=[play.pk for play in plays], outcome="lost", now=NOW + HOUR)
    assert [draft_of(play).state for play in plays] == ["discarded", "discarded"]
    assert Delivery.objects.get().state == "cancelled"
    lines = [line for play in plays for line in story(play) if line.startswith("Mail not sent")]
    assert lines == [f"Mail not sent: the play was closed: to ada@example.com: More room for {plays[1].account.name}"]
    deliver()
    assert mail.outbox == []
    assert broken() == []


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_was_under_way_when_its_play_closed_is_told_all_the_same() -> None:
    CalendarFactory()
    play = writing()
    send(play)
    Delivery.objects.update(state="sending", claimed_until=NOW + DAY)
    close_plays(play_ids=[play.pk], outcome="won", now=NOW + HOUR)
    assert draft_of(play).state == "queued"
    Delivery.objects.update(state="sent", sent_at=NOW + 2 * HOUR)
    settle_drafts(delivery_ids=[Delivery.objects.get().pk], now=NOW + 2 * HOUR)
    step_plays(now=NOW + 2 * HOUR)
    assert (draft_of(play).touch, draft_of(play).touch.at) == (Touch.objects.get(), NOW + HOUR)
    assert states(play) == ["skipped", "skipped"]
    assert broken() == []


def test_what_was_called_off_may_be_sent_again() -> None:
    play = writing()
    send(play)
    call_off_deliveries(ids=[Delivery.objects.get().pk], now=NOW)
    assert draft_of(play).state == "failed"
    assert send(play, now=NOW + 2 * HOUR) is None
    assert Delivery.objects.count() == 2
    assert draft_of(play).delivery == Delivery.objects.latest("pk")


def test_nothing_is_sent_while_a_play_is_paused_and_a_mail_sent_before_counts_afterwards() -> None:
    play = writing()
    pause_plays(play_ids=[play.pk], reason="Holidays", now=NOW)
    assert "paused" in (send(play) or "")
    resume_plays(play_ids=[play.pk], now=NOW + HOUR)
    assert send(play) is None


# Without anybody reading it

AUTOMATIC = {**WRITE, "mail": {**MAIL, "automatic": True}}


@pytest.mark.parametrize(
    ("route", "first_touch", "state"),
    [
        ("email", "system", "queued"),
        ("self_serve", "system", "queued"),
        ("email", "person", "draft"),
        ("csm", "system", "draft"),
        ("sales", "person", "draft"),
    ],
)
def test_it_goes_by_itself_where_the_playbook_and_the_route_say_so(route: str, first_touch: str, state: str) -> None:
    play = writing(steps=[AUTOMATIC], route=route, routing={"first_touch": first_touch})
    assert (draft_of(play).state, draft_of(play).sent_by) == (state, None)
    asked = writing(steps=[WRITE], route=route, routing={"first_touch": first_touch})
    assert draft_of(asked).state == "draft"


def test_after_a_persons_first_contact_the_next_mail_goes_by_itself() -> None:
    play = writing(steps=[CALL, AUTOMATIC], route="email", routing={"first_touch": "person"})
    Touch.objects.create(play=play, account=play.account, channel="call", at=NOW)
    finish_steps(play_ids=[play.pk], now=NOW + HOUR)
    assert draft_of(play).state == "queued"


def test_to_an_account_that_has_churned_nothing_goes_by_itself() -> None:
    gone = AccountFactory(facts__lifecycle="churned")
    merged, deleted = AccountFactory(merged_into=gone), AccountFactory(deleted_at=NOW)
    for account in (gone, merged, deleted):
        ChampionFactory(account=account, email="ada@example.com", role=Champion.Role.CHAMPION)
        play = playing([AUTOMATIC], account=account, route="email", routing={"first_touch": "system"})
        assert draft_of(play).state == "draft"
        assert send(play) is None


def test_what_has_a_gap_waits_for_a_person() -> None:
    steps = [{**WRITE, "mail": {**MAIL, "subject": "On {{plan}}", "automatic": True}}]
    play = writing(steps=steps, route="email", routing={"first_touch": "system"})
    assert draft_of(play).state == "draft"


# Who is left in peace


@pytest.mark.parametrize("listed", ["ada@example.com", "ADA@Example.com", "@EXAMPLE.com"])
def test_nothing_goes_to_who_is_suppressed(listed: str) -> None:
    suppress(address=listed, now=NOW, actor=None)
    play = writing(email="Ada@Example.Com")
    assert send(play) == "Ada@Example.Com is suppressed: no mail goes there"
    assert (draft_of(play).state, states(play), Delivery.objects.count()) == ("suppressed", ["current", "waiting"], 0)
    stop_suppressing(row_ids=Suppression.objects.values_list("pk", flat=True), now=NOW, actor=None)
    assert send(play) is None


def test_nothing_goes_by_itself_to_who_is_suppressed() -> None:
    suppress(address="@example.com", now=NOW, actor=None)
    play = writing(steps=[AUTOMATIC], route="email", routing={"first_touch": "system"})
    assert draft_of(play).state == "suppressed"


@pytest.mark.django_db(transaction=True)
def test_who_is_suppressed_while_their_mail_waits_does_not_get_it() -> None:
    CalendarFactory()
    play = writing()
    send(play)
    suppress(address="ada@example.com", now=NOW, actor=None)
    deliver()
    assert mail.outbox == []
    assert (draft_of(play).state, Touch.objects.count(), states(play)) == ("suppressed", 0, ["current", "waiting"])
    assert broken() == []


@pytest.mark.parametrize("address", ["", "nobody", "a@b@c", "@", "@nodomain", "a b@example.com", "x" * 260])
def test_what_is_no_address_is_not_suppressed(address: str) -> None:
    with pytest.raises(ValidationError) as caught:
        suppress(address=address, now=NOW, actor=None)
    assert list(caught.value.message_dict) == ["address"]


def test_an_address_stands_on_the_list_once_and_only_managers_take_it_off() -> None:
    row = suppress(address=" Ada@Example.com ", reason="Asked us to.", now=NOW, actor=TeamMemberFactory().user)
    assert row.address == "ada@example.com"
    with pytest.raises(ValidationError, match="suppressed already"):
        suppress(address="ADA@example.com", now=NOW, actor=None)
    for nobody in (TeamMemberFactory().user, UserFactory(username="stranger")):
        with pytest.raises(ValidationError, match="Only a manager"):
            stop_suppressing(row_ids=[row.pk], now=NOW, actor=nobody)
    assert stop_suppressing(row_ids=[row.pk], now=NOW, actor=TeamMemberFactory(leads=True).user) == 1


def test_many_drafts_cost_as_much_as_one(django_assert_max_num_queries) -> None:
    from tests.playbooks.stepping import with_steps

    for _ in range(8):
        play = with_steps([WRITE])
        ChampionFactory(account=play.account, email="ada@example.com")
    with django_assert_max_num_queries(65):
        step_plays(now=NOW)
    assert MailDraft.objects.count() == 8


def test_the_story_tells_of_a_mail() -> None:
    play = writing()
    send(play)
    assert story(play)[-1] == f"Seats: Mail on its way: More room for {play.account.name}"
    assert timedelta() == step(play).began_at - NOW


@pytest.mark.parametrize("way", ["another address", "skipped"])
def test_a_mail_that_is_refused_for_good_is_in_the_hands_of_whoever_wrote_it(
    way: str, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    play = writing()
    assert send(play) is None

    def refusing(self: Any, messages: Any) -> int:
        raise smtplib.SMTPRecipientsRefused({"ada@example.com": (550, b"no such user")})

    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", refusing)
        deliver()
    draft, refused = draft_of(play), Delivery.objects.get()
    assert (draft.state, refused.state, states(play)) == ("failed", "cancelled", ["current", "waiting"])
    assert "550" in refused.last_error
    line = story(play)[-1]
    assert line.startswith("Mail could not be sent (The mail server refused ada@example.com: 550 no such user): to ")
    # Nobody sends this one as well.
    assert retry_deliveries(ids=[refused.pk], now=NOW + 3 * HOUR) == 0
    if way == "skipped":
        assert done(finish_steps(play_ids=[play.pk], skip=True, note="No address", now=NOW + 3 * HOUR))
        assert states(play) == ["skipped", "current"]
        return
    grace = ChampionFactory(account=play.account, name="Grace", email="grace@example.com")
    edit_draft(
        draft_id=draft.pk,
        subject=draft.subject,
        body=draft.body,
        champion_id=grace.pk,
        now=NOW + 3 * HOUR,
        actor=play.owner.user,
    )
    assert send(play, now=NOW + 3 * HOUR) is None
    deliver(NOW + 4 * HOUR)
    assert [mail.to for mail in mailoutbox] == [["grace@example.com"]]
    assert (draft_of(play).state, states(play)) == ("sent", ["done", "current"])
    assert broken() == []
