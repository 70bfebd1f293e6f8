"""Steps done, mails read and sent, and addresses left in peace, on the pages of the admin."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from csplaybooks.accounts.factories import ChampionFactory, TeamMemberFactory
from csplaybooks.admin_base import LOST_UPDATE
from csplaybooks.playbooks.acts.drafts import settle_drafts
from csplaybooks.playbooks.acts.plays import pause_plays
from csplaybooks.playbooks.factories import CalendarFactory, SuppressionFactory
from csplaybooks.playbooks.models import Delivery, MailDraft, Play, PlayStep, Suppression, Touch
from tests.admin.conftest import SignIn, permitted
from tests.admin.pages import act, faults, send, told, url
from tests.playbooks.stepping import MAIL, draft_of, playing, states

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

STEPS: list[dict[str, Any]] = [
    {"kind": "mail", "text": "Write to <them>.", "after_hours": 8, "mail": MAIL},
    {"kind": "task", "text": "Call them."},
]


@pytest.fixture(autouse=True)
def now(time_machine):
    CalendarFactory()
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def play(carla: Any) -> Any:
    """A play of Carla's, whose first step is a mail to Ada."""
    first = playing([], owner=carla, account__csm=carla)
    ChampionFactory(account=first.account, name="Ada <b>", email="ada@example.com")
    return playing(STEPS, owner=carla, account=first.account, motion="tier_upsell")


def labels(client: Any, address: str) -> list[str]:
    return [each.label for each in client.get(address).context.get("acts", [])]


def test_steps_are_done_and_skipped_on_the_page_of_the_play(csm, play):
    page = csm.get(url(Play, "change", play.pk))
    assert {"Step done", "Skip the step"} <= {each.label for each in page.context["acts"]}
    html = page.content.decode()
    assert "Write to &lt;them&gt;." in html
    assert "<them>" not in html
    assert told(act(csm, Play, "step_plays", [play], perform="1", note="Called.")) == ["1 play: step done."]
    assert states(play) == ["done", "current"]
    asked = act(csm, Play, "skip_step_plays", [play], perform="1", reason="")
    assert list(asked.context["form"].errors) == ["reason"]
    assert told(act(csm, Play, "skip_step_plays", [play], perform="1", reason="No need")) == ["1 play: step skipped."]
    assert not {"Step done", "Skip the step"} & set(labels(csm, url(Play, "change", play.pk)))
    assert PlayStep.objects.filter(number=1, done_by__name="Carla").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"automatic": False}, "A person reads it and sends it."),
        ({"automatic": True}, "The playbook would have it go by itself; here a person reads it and sends it."),
        ({"automatic": True, "state": "queued"}, "By itself, without anybody reading it: the playbook says so."),
    ],
)
def test_the_page_of_a_draft_says_who_sends_it(csm, play, values, said):
    draft = draft_of(play)
    MailDraft.objects.filter(pk=draft.pk).update(**values)
    assert said in csm.get(url(MailDraft, "change", draft.pk)).content.decode()


def test_a_draft_is_read_mended_and_sent(csm, play):
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    assert labels(csm, address) == ["Discard"]
    html = csm.get(address).content.decode()
    assert "Dear Ada" in html
    assert "Ada <b>" not in html
    assert (
        send(csm, address, subject="A word about seats", body="Dear Ada,\r\n<i>shall</i> we talk?").status_code == 302
    )
    mended = draft_of(play)
    assert (mended.subject, mended.body, mended.version) == (
        "A word about seats",
        "Dear Ada,\n<i>shall</i> we talk?",
        2,
    )
    asked = act(csm, MailDraft, "send", [mended])
    assert b"ada@example.com" in asked.content
    answer = act(csm, MailDraft, "send", [mended], perform="1", **{f"read_{mended.pk}": mended.version})
    assert told(answer) == ["A word about seats: on its way"]
    assert answer.headers["Location"] == address
    assert (Delivery.objects.get().reply_to, Delivery.objects.get().body) == ("carla@example.com", mended.body)
    # From now on it is only read, or called off.
    assert labels(csm, address) == ["Do not send"]
    assert csm.post(address, {"subject": "Other"}).status_code == 403


def pressed(response: Any) -> dict[str, Any]:
    """What a press of the button on the page that asks sends."""
    html = response.content.decode()
    return dict(re.findall(r'<input type="hidden" name="(?!csrf)(\w+)" value="([^"]*)">', html)) | {"perform": "Send"}


def test_what_is_typed_goes_out_and_not_what_stood_there(csm, play):
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    assert b'name="_send" value="Save and send"' in csm.get(address).content
    asked = send(csm, address, subject="New <words>", body="Dear Ada,\r\n\r\nnew & true", _send="Save and send")
    assert asked.status_code == 200
    html = asked.content.decode()
    for part in ("Subject: New &lt;words&gt;", "Dear Ada,<br><br>new &amp; true", "ada@example.com"):
        assert part in html
    # Saved, and not gone before the person has said yes.
    assert (draft_of(play).subject, draft_of(play).version, Delivery.objects.count()) == ("New <words>", 2, 0)
    assert f'action="{url(MailDraft, "changelist")}"' in html
    answer = csm.post(url(MailDraft, "changelist"), pressed(asked))
    assert told(answer)[-1] == "New <words>: on its way"
    assert (Delivery.objects.get().subject, Delivery.objects.get().body) == ("New <words>", "Dear Ada,\n\nnew & true")
    # Pressed twice.
    assert told(csm.post(url(MailDraft, "changelist"), pressed(asked))) == ["New <words>: it is on its way already"]
    assert Delivery.objects.count() == 1


def test_what_somebody_changed_between_is_not_sent(csm, boss, play):
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    asked = send(csm, address, subject="Mine", _send="1")
    assert send(boss, address, subject="Theirs").status_code == 302
    answer = csm.post(url(MailDraft, "changelist"), pressed(asked))
    assert told(answer)[-1] == "Theirs: somebody else has changed it: read it again"
    assert faults(send(csm, address, subject="Late", opened_version="1", _send="1")) == {"__all__": [LOST_UPDATE]}
    assert not Delivery.objects.exists()


def test_what_has_a_gap_is_saved_and_not_asked_about(csm, play):
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    answer = send(csm, address, subject="On [plan?]", _send="1")
    assert (answer.status_code, answer.headers["Location"]) == (302, address)
    assert told(answer)[-1] == "On [plan?]: saved, and not sent: mend what is missing first: [plan?]"
    assert draft_of(play).subject == "On [plan?]"


def test_who_may_send_and_not_change_has_the_button_outside_the_form(csm, carla, play):
    carla.user.user_permissions.remove(Permission.objects.get(codename="change_maildraft"))
    address = url(MailDraft, "change", draft_of(play).pk)
    assert labels(csm, address) == ["Send", "Discard"]
    assert b"_send" not in csm.get(address).content


def test_what_may_have_gone_is_written_anew_after_a_question(csm, play):
    draft = draft_of(play)
    act(csm, MailDraft, "send", [draft], perform="1", **{f"read_{draft.pk}": draft.version})
    Delivery.objects.update(state="unclear", last_error="The connection to the mail server broke: gone.")
    settle_drafts(delivery_ids=Delivery.objects.values_list("pk", flat=True), now=NOW)
    address = url(MailDraft, "change", draft.pk)
    page = csm.get(address)
    assert [each.label for each in page.context["acts"]] == ["Write anew", "Discard"]
    assert "Unclear whether it went: The connection to the mail server broke: gone." in page.content.decode()
    assert b"_send" not in page.content
    asked = act(csm, MailDraft, "anew", [draft])
    assert b"It may have gone already" in asked.content
    assert draft_of(play).state == "unclear"
    assert told(act(csm, MailDraft, "anew", [draft], perform="1")) == [f"{draft}: a draft again"]
    assert (draft_of(play).state, Delivery.objects.get().state) == ("draft", "cancelled")
    assert send(csm, address, subject="Once more").status_code == 302


def test_what_waits_is_called_off_on_its_page(csm, play):
    draft = draft_of(play)
    act(csm, MailDraft, "send", [draft], perform="1", **{f"read_{draft.pk}": draft.version})
    pause_plays(play_ids=[play.pk], reason="They asked for it", now=NOW)
    address = url(MailDraft, "change", draft.pk)
    assert labels(csm, address) == ["Do not send"]
    assert "Queued; it waits while the play is paused" in csm.get(address).content.decode()
    assert told(act(csm, MailDraft, "call_off", [draft])) == [f"{draft}: not sent, a draft again"]
    assert Delivery.objects.get().state == "cancelled"


def test_whoever_told_the_customer_another_way_says_so_with_the_step(csm, carla, play):
    asked = act(csm, Play, "step_plays", [play])
    assert b"I have been in contact" in asked.content
    answer = act(csm, Play, "step_plays", [play], perform="1", note="Called.", contact="call")
    assert told(answer) == ["1 play: step done."]
    touch = Touch.objects.get()
    assert (touch.channel, touch.by_member, touch.note) == ("call", carla, "Called.")


def test_what_was_changed_meanwhile_is_neither_saved_nor_sent(csm, boss, play):
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    assert send(boss, address, subject="Mine").status_code == 302
    assert faults(send(csm, address, subject="Yours", opened_version="1")) == {"__all__": [LOST_UPDATE]}
    answer = act(csm, MailDraft, "send", [draft], perform="1", **{f"read_{draft.pk}": 1})
    assert told(answer) == ["Mine: somebody else has changed it: read it again"]
    assert not Delivery.objects.exists()


def test_a_draft_is_discarded(csm, play):
    draft = draft_of(play)
    assert b"cannot be sent any more" in act(csm, MailDraft, "discard", [draft]).content
    assert told(act(csm, MailDraft, "discard", [draft], perform="1")) == [f"{draft}: discarded"]
    assert (draft_of(play).state, states(play)) == ("discarded", ["current", "waiting"])


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"body": " "}, "body"),
        ({"champion": "0"}, "champion"),
    ],
)
def test_what_cannot_be_sent_is_told_at_its_field(csm, play, values, field):
    assert list(faults(send(csm, url(MailDraft, "change", draft_of(play).pk), **values))) == [field]


def test_line_breaks_in_a_subject_begin_no_header(csm, play):
    address = url(MailDraft, "change", draft_of(play).pk)
    said = faults(send(csm, address, subject="Hi\r\nBcc: everybody@example.com"))
    assert said == {"subject": ["The subject is one line: take the line breaks out."]}


def test_only_people_at_the_account_can_be_chosen(csm, play, carla):
    other = ChampionFactory(account__csm=carla, email="else@example.com")
    page = csm.get(url(MailDraft, "change", draft_of(play).pk))
    chosen = page.context["adminform"].form.fields["champion"].queryset
    assert [person.name for person in chosen] == ["Ada <b>"]
    assert list(faults(send(csm, url(MailDraft, "change", draft_of(play).pk), champion=str(other.pk)))) == ["champion"]


def test_neither_strangers_nor_colleagues_send_a_mail_of_somebody_elses(signed_in: SignIn, stranger, carla):
    # An account of the pool: every CSM sees it.
    play = playing(STEPS, owner=carla, account__csm=None)
    draft = draft_of(play)
    address = url(MailDraft, "change", draft.pk)
    assert stranger.get(address).status_code == 302
    assert list(stranger.get(url(MailDraft, "changelist")).context["cl"].queryset) == []
    act(stranger, MailDraft, "send", [draft], perform="1")
    colleague = TeamMemberFactory(name="Cora")
    permitted(colleague.user)
    hers = signed_in(colleague.user)
    assert hers.get(address).status_code == 200
    (said,) = told(act(hers, MailDraft, "send", [draft], perform="1"))
    assert "that is for Carla" in said
    assert draft_of(play).state == "draft"


def test_who_may_not_send_has_no_button(csm, carla, play):
    carla.user.user_permissions.remove(Permission.objects.get(codename="send_maildraft"))
    draft = draft_of(play)
    assert labels(csm, url(MailDraft, "change", draft.pk)) == []
    act(csm, MailDraft, "send", [draft], perform="1")
    assert draft_of(play).state == "draft"


# Who is left in peace


def test_an_address_is_suppressed_and_found(csm):
    assert send(csm, url(Suppression, "add"), address=" Ada@Example.com ", reason="Asked us to.").status_code == 302
    row = Suppression.objects.get()
    assert (row.address, row.source, row.added_at) == ("ada@example.com", "hand", NOW)
    assert faults(send(csm, url(Suppression, "add"), address="nobody")) == {
        "address": ["Enter an address, such as ada@example.com, or all of a domain, such as @example.com."]
    }
    assert list(faults(send(csm, url(Suppression, "add"), address="ADA@example.com"))) != []
    SuppressionFactory(address="@other.example")
    found = csm.get(url(Suppression, "changelist"), {"q": "example.com"}).context["cl"].queryset
    assert [each.address for each in found] == ["ada@example.com"]


def test_only_a_manager_takes_an_address_off(csm, signed_in: SignIn):
    row = SuppressionFactory()
    page = url(Suppression, "delete", row.pk)
    csm.post(page, {"post": "yes"})
    assert Suppression.objects.exists()
    manager = TeamMemberFactory(name="Mona", leads=True)
    permitted(manager.user)
    signed_in(manager.user).post(page, {"post": "yes"})
    assert not Suppression.objects.exists()
