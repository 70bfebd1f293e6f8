"""The pages of notices, of how each wants to be told, and of the mails that leave the house."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csplaybooks.accounts.factories import AccountTeamFactory, TeamMemberFactory
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.playbooks.factories import (
    DeliveryFactory,
    HandoffFactory,
    NoticeFactory,
    NoticeSettingsFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Delivery, Notice, NoticeSettings
from tests.admin.pages import act, faults, opened, send, told, url

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


def test_a_member_says_how_they_want_to_be_told(csm, carla):
    TeamMemberFactory(name="Somebody else")
    page = url(NoticeSettings, "add")
    assert opened(csm, page)["member"] == str(carla.pk)
    assert [str(one) for one in csm.get(page).context["adminform"].form.fields["member"].queryset] == ["Carla"]
    assert send(csm, page, assigned="digest", digest_minute="07:30").status_code == 302
    settings = NoticeSettings.objects.get()
    assert (settings.member, settings.assigned, settings.digest_minute) == (carla, "digest", 450)
    # Once is enough.
    change = url(NoticeSettings, "change", settings.pk)
    assert csm.get(page).headers["Location"] == change
    assert send(csm, change, assigned="off", digest=None).status_code == 302
    settings.refresh_from_db()
    assert (settings.assigned, settings.digest, settings.version) == ("off", False, 2)
    lines = list(TimelineEntry.objects.order_by("pk").values_list("text", flat=True))
    assert lines == [
        "Notice settings Notices to Carla added",
        "Notice settings Notices to Carla: assigned: Not by mail (was In the daily digest); digest: no (was yes)",
    ]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("24:00", "Enter a time of the day, from 00:00 to 23:59, such as 09:00."),
        ("8 o'clock", "Enter a time of the day, from 00:00 to 23:59, such as 09:00."),
        ("", "This field is required."),
    ],
)
def test_a_time_that_no_day_has_is_refused_on_the_form(csm, typed, said):
    assert faults(send(csm, url(NoticeSettings, "add"), digest_minute=typed)) == {"digest_minute": [said]}
    assert not NoticeSettings.objects.exists()


def test_a_manager_sees_those_of_the_team_and_changes_only_their_own(signed_in, carla):
    from tests.admin.conftest import permitted

    mona = TeamMemberFactory(name="Mona", leads=True)
    permitted(mona.user)
    type(carla).objects.filter(pk=carla.pk).update(manager=mona)
    hers, own = NoticeSettingsFactory(member=carla), NoticeSettingsFactory(member=mona)
    NoticeSettingsFactory(member=TeamMemberFactory(name="Not hers"))
    browser = signed_in(mona.user)
    assert set(browser.get(url(NoticeSettings, "changelist")).context["cl"].queryset) == {hers, own}
    page = browser.get(url(NoticeSettings, "change", hers.pk))
    assert page.context["has_change_permission"] is False
    assert browser.post(url(NoticeSettings, "change", hers.pk), {"assigned": "off"}).status_code == 403
    assert send(browser, url(NoticeSettings, "change", own.pk), assigned="off").status_code == 302


def test_notices_are_seen_by_whom_they_are_for(csm, carla):
    mine = NoticeFactory(member=carla, delivery=DeliveryFactory(state="unclear"), text="It is yours")
    AccountTeamFactory(account=mine.play.account)
    NoticeFactory()
    page = csm.get(url(Notice, "changelist"))
    assert list(page.context["cl"].queryset) == [mine]
    assert "Unclear whether it went" in page.content.decode()
    # The play is somebody else's by now: its name stays, and leads nowhere.
    one = csm.get(url(Notice, "change", mine.pk)).content.decode()
    assert str(mine.play) in one
    assert f"/play/{mine.play_id}/change/" not in one


def test_stuck_and_unclear_mails_are_put_back_or_called_off(boss):
    play = PlayFactory()
    stuck = DeliveryFactory(stuck_at=NOW, attempts=5, last_error="550", play=play)
    unclear = DeliveryFactory(state="unclear", play=play)
    sent = DeliveryFactory(state="sent", sent_at=NOW)
    assert told(act(boss, Delivery, "retry", [stuck, sent])) == ["1 put back into the queue."]
    assert told(act(boss, Delivery, "retry", [sent])) == ["None of these is stuck or unclear."]
    assert told(act(boss, Delivery, "call_off", [unclear])) == ["1 called off."]
    assert told(act(boss, Delivery, "call_off", [sent, unclear])) == [
        "None of these can be called off: they are sent, or under way."
    ]
    rows = list(Delivery.objects.order_by("pk").values_list("state", "stuck_at", "attempts"))
    assert rows == [("queued", None, 0), ("cancelled", None, 0), ("sent", None, 0)]
    assert TimelineEntry.objects.filter(kind="mail_retried", actor_label="operator").count() == 1
    tray = boss.get(f"{url(Delivery, 'changelist')}?state=unclear")
    assert tray.context["cl"].result_count == 0


def test_each_kind_says_what_it_is_on_the_form(csm):
    fields = csm.get(url(NoticeSettings, "add")).context["adminform"].form.fields
    assert [name for name in (*Notice.Kind.values, "digest") if not fields[name].help_text] == []


def test_the_list_of_notices_tells_a_refusal_from_a_lapse(csm, carla):
    for answer, reason in (("refused", "No"), ("expired", "")):
        play = PlayFactory(owner=carla)
        offer = HandoffFactory(
            play=play, offered_by=carla, offered_to=TeamMemberFactory(), answer=answer, reason=reason, answered_at=NOW
        )
        NoticeFactory(member=carla, kind="refused", play=play, handoff=offer)
    NoticeFactory(member=carla, kind="assigned", play__owner=carla)
    rows = csm.get(url(Notice, "changelist")).context["cl"].queryset
    assert [row.heading for row in rows] == ["A play is yours", "Nobody answered an offer", "An offer was refused"]


def test_a_customers_mail_that_may_have_gone_is_put_back_after_a_question(boss):
    mail = DeliveryFactory(state="unclear", kind="draft", play=PlayFactory())
    asked = act(boss, Delivery, "retry", [mail])
    assert b"gets them twice" in asked.content
    mail.refresh_from_db()
    assert mail.state == "unclear"
    assert told(act(boss, Delivery, "retry", [mail], perform="1")) == ["1 put back into the queue."]
    mail.refresh_from_db()
    assert mail.state == "queued"


def test_nobody_else_sees_mails(csm, stranger):
    DeliveryFactory()
    for browser in (csm, stranger):
        assert list(browser.get(url(Delivery, "changelist")).context["cl"].queryset) == []
