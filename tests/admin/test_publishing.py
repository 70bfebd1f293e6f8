"""Publishing and going back in the admin: what changes is told before it is done, and only some may do it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from csplaybooks.accounts.factories import UserFactory
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.differences.publishing import NEW, SAME
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.models import Playbook, PlaybookVersion
from csplaybooks.signals.factories import MeterFactory
from tests.admin.pages import act, faults, opened, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
TEXT = DRAFT.format(key="more_seats", name="More seats", motion="seat_expansion")
OTHER = TEXT.replace("above: 80", "above: 90")
UP = "Trigger “seats_above_80”, share of limit (seats): above 80 → above 90 %"
DOWN = "Trigger “seats_above_80”, share of limit (seats): above 90 → above 80 %"
AGAIN = "Publish this version again"


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def playbook():
    """Published twice; the second version runs, and is the draft."""
    MeterFactory(key="seats")
    for text in (TEXT, OTHER):
        kept = save_draft(text=text, now=NOW)
        publish_playbook(playbook_id=kept.pk, now=NOW)
    return Playbook.objects.get()


@pytest.fixture
def colleague(signed_in):
    """Who may look at playbooks and change drafts, and not publish."""
    user = UserFactory(username="colleague")
    names = ("view_playbook", "change_playbook", "view_playbookversion", "view_everything")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return signed_in(user)


def version(number: int) -> Any:
    return PlaybookVersion.objects.get(number=number)


def page_of(client: Any, row: Any) -> str:
    page: str = client.get(url(type(row), "change", row.pk)).content.decode()
    return page


def carried(response: Any) -> dict[str, Any]:
    """What the page that asks sends beside the rows that were chosen."""
    return dict(response.context["carried"]) | {"perform": "1"}


def test_version_tells_what_it_changed(boss, playbook):
    assert UP in page_of(boss, version(2))
    assert "→" not in page_of(boss, version(1))


def test_page_of_a_playbook_tells_what_publishing_would_change(boss, playbook):
    assert "→" not in page_of(boss, playbook)
    assert "Publish the draft" not in page_of(boss, playbook)
    playbook = save_draft(text=TEXT, now=NOW)
    page = page_of(boss, playbook)
    assert DOWN in page
    assert "Publish the draft" in page
    save_draft(text="# a note\n" + OTHER, now=NOW)
    assert SAME in page_of(boss, playbook)
    Playbook.objects.update(draft="key: [")
    assert "The draft cannot be published as it is:" in page_of(boss, playbook)


def test_publishing_asks_with_what_it_changes(boss, playbook):
    save_draft(text=TEXT, now=NOW)
    new = save_draft(text=TEXT.replace("more_seats", "others"), now=NOW)
    asked = act(boss, Playbook, "publish", [playbook, new])
    assert DOWN in asked.content.decode()
    assert NEW in asked.content.decode()
    done = act(boss, Playbook, "publish", [playbook, new], **carried(asked))
    assert sorted(told(done)) == ["More seats v1 is published.", "More seats v3 is published."]


def test_draft_that_changed_since_it_was_shown_is_not_published(boss, playbook):
    save_draft(text=TEXT, now=NOW)
    asked = act(boss, Playbook, "publish", [playbook])
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    assert told(act(boss, Playbook, "publish", [playbook], **carried(asked))) == [
        "More seats was changed since you were asked, and was not published. Look at it again."
    ]
    assert PlaybookVersion.objects.count() == 2


def test_earlier_version_is_published_again_after_a_page_that_asks(boss, playbook):
    assert AGAIN in page_of(boss, version(1))
    assert AGAIN not in page_of(boss, version(2))
    asked = act(boss, PlaybookVersion, "roll_back", [version(1)])
    page = asked.content.decode()
    assert DOWN in page
    assert "is lost" not in page
    assert PlaybookVersion.objects.count() == 2
    done = act(boss, PlaybookVersion, "roll_back", [version(1)], **carried(asked))
    assert told(done) == ["More seats v3 is published: version 1 again."]
    assert done.headers["Location"] == url(Playbook, "change", playbook.pk)
    assert (version(3).source, str(version(3).published_by)) == (TEXT, "operator")
    playbook.refresh_from_db()
    assert playbook.draft == TEXT
    again = act(boss, PlaybookVersion, "roll_back", [version(1)], perform="1")
    assert told(again) == ["More seats v1 is what runs already."]


def test_draft_that_would_be_lost_is_told(boss, playbook):
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    asked = act(boss, PlaybookVersion, "roll_back", [version(1)])
    assert "was never published, and is lost" in asked.content.decode()


def test_going_back_is_refused_with_its_reason(boss, playbook):
    asked = act(boss, PlaybookVersion, "roll_back", [version(1)])
    save_draft(text=TEXT + "expires_days: 3\n", now=NOW)
    [said] = told(act(boss, PlaybookVersion, "roll_back", [version(1)], **carried(asked)))
    assert said == "More seats was changed since you were asked, and nothing was published. Look at it again."
    both = list(PlaybookVersion.objects.all())
    assert told(act(boss, PlaybookVersion, "roll_back", both)) == ["Choose one version to go back to."]
    PlaybookVersion.objects.filter(number=1).update(source=TEXT.replace("[seats]", "[mars]"))
    [said] = told(act(boss, PlaybookVersion, "roll_back", [version(1)], perform="1"))
    assert said == "More seats v1: triggers/0/any/0/all/0/meters: there is no meter mars"
    PlaybookVersion.objects.filter(number=1).update(source="key: [")
    asked = act(boss, PlaybookVersion, "roll_back", [version(1)]).content.decode()
    assert "It cannot be published as it is any more:" in asked
    assert PlaybookVersion.objects.count() == 2


def test_colleague_sees_what_changed_and_publishes_nothing(colleague, playbook):
    save_draft(text=TEXT, now=NOW)
    assert UP in page_of(colleague, version(2))
    assert AGAIN not in page_of(colleague, version(1))
    assert DOWN in page_of(colleague, playbook)
    assert "Publish the draft" not in page_of(colleague, playbook)
    act(colleague, PlaybookVersion, "roll_back", [version(1)], perform="1")
    act(colleague, Playbook, "publish", [playbook], perform="1")
    assert PlaybookVersion.objects.count() == 2


def test_stranger_finds_no_version_and_rolls_nothing_back(stranger, playbook):
    assert stranger.get(url(PlaybookVersion, "change", version(1).pk)).status_code == 302
    act(stranger, PlaybookVersion, "roll_back", [version(1)], perform="1")
    assert PlaybookVersion.objects.count() == 2


@pytest.mark.parametrize("versions", [0, 20])
def test_pages_take_the_same_few_queries_whatever_there_is(boss, playbook, versions, django_assert_max_num_queries):
    for days in range(versions):
        save_draft(text=TEXT + f"expires_days: {days + 1}\n", now=NOW)
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    save_draft(text=TEXT + "expires_days: 400\n", now=NOW)
    with django_assert_max_num_queries(6):
        page_of(boss, PlaybookVersion.objects.order_by("-number")[0])
    # It is asked whether the draft could be published: of the catalogue, a query for each kind of name.
    with django_assert_max_num_queries(12):
        page_of(boss, playbook)
    # Most of them try the draft on all accounts: what if it were published.
    with django_assert_max_num_queries(24):
        act(boss, Playbook, "publish", [playbook])
    with django_assert_max_num_queries(26):
        act(boss, PlaybookVersion, "roll_back", [version(1)])


def test_form_says_where_the_schema_is(boss):
    assert "manage.py csplaybooks_playbooks schema" in boss.get(url(Playbook, "add")).content.decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("all:\n          - {measure: share_of_limit, meters: [seats], above: 80}", "all: MANY"),
            "triggers/0/any/0/all: has 10000 entries, and at most 10 are possible",
        ),
        (
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 99)),
            "aliases are not",
        ),
    ],
    ids=["ten thousand conditions", "alias bomb"],
)
def test_monstrous_document_is_an_error_and_not_a_hang(boss, text, message):
    text = text.replace("MANY", "[" + ",".join(["{measure: season}"] * 10_000) + "]")
    form = opened(boss, url(Playbook, "add"))
    started = time.process_time()
    answer = boss.post(url(Playbook, "add"), form | {"draft": text})
    assert time.process_time() - started < 5
    [said] = faults(answer)["draft"]
    assert message in said
    assert not Playbook.objects.exists()


def test_line_ends_of_a_file_stay_when_its_draft_is_edited(boss):
    playbook = save_draft(text=TEXT.replace("\n", "\r\n"), now=NOW)
    page = url(Playbook, "change", playbook.pk)
    # As a browser sends it: it knows one kind of line end.
    assert send(boss, page, draft=TEXT.replace("\n", "\r\n")).status_code == 302
    playbook.refresh_from_db()
    assert playbook.version == 1
    assert send(boss, page, draft=OTHER).status_code == 302
    playbook.refresh_from_db()
    assert playbook.draft == OTHER.replace("\n", "\r\n")


def test_one_draft_is_asked_about_below_its_playbook_and_leads_back_there(boss, playbook):
    new = save_draft(text=TEXT.replace("more_seats", "others"), now=NOW)
    save_draft(text=TEXT, now=NOW)
    there = url(Playbook, "change", playbook.pk)
    asked = act(boss, Playbook, "publish", [playbook])
    page = asked.content.decode()
    assert page.count(f'<a href="{there}"') == 2, "the way to the page, and cancel"
    assert "Publish the draft: More seats" in page
    assert "The draft runs from the next run on." in page
    assert "Plays that would be opened: 0" in page
    done = act(boss, Playbook, "publish", [playbook], **carried(asked))
    assert done.headers["Location"] == there
    both = act(boss, Playbook, "publish", [playbook, new])
    assert there not in both.content.decode()
    assert "These drafts run" in both.content.decode()
    assert act(boss, Playbook, "publish", [playbook, new], **carried(both)).headers["Location"] != there


def test_going_back_is_asked_about_with_what_it_would_come_to_and_leads_back(boss, playbook):
    page = act(boss, PlaybookVersion, "roll_back", [version(1)]).content.decode()
    assert page.count(f'<a href="{url(PlaybookVersion, "change", version(1).pk)}"') == 2
    assert "Matches today: 0, at 0 of 0 accounts" in page
    assert "Warning: “Seats above 80” matches nobody" in page


def test_draft_that_could_not_be_published_is_kept_with_a_warning(boss, playbook):
    page = url(Playbook, "change", playbook.pk)
    done = send(boss, page, draft=OTHER.replace("[seats]", "[mars]"))
    cannot = "The draft cannot be published as it is:"
    assert f"{cannot} triggers/0/any/0/all/0/meters: there is no meter mars" in told(done)
    assert cannot in page_of(boss, playbook)
    assert "there is no meter mars" in page_of(boss, playbook)
    assert cannot in act(boss, Playbook, "publish", [playbook]).content.decode()
    assert not [said for said in told(send(boss, page, draft=TEXT)) if cannot in said]
    assert cannot not in page_of(boss, playbook)
    added = send(boss, url(Playbook, "add"), draft=TEXT.replace("more_seats", "mars").replace("[seats]", "[mars]"))
    assert any(cannot in said for said in told(added))


def test_mixed_line_ends_stay_where_nothing_is_changed(boss):
    mixed = TEXT.replace("\n", "\r\n", 3)
    playbook = save_draft(text=mixed, now=NOW)
    page = url(Playbook, "change", playbook.pk)
    assert send(boss, page, draft=TEXT.replace("\n", "\r\n")).status_code == 302
    playbook.refresh_from_db()
    assert (playbook.draft, playbook.version) == (mixed, 1)
    assert send(boss, page, draft=OTHER).status_code == 302
    playbook.refresh_from_db()
    assert playbook.draft == OTHER


def test_the_heading_of_a_trigger_s_page_is_in_plain_words(boss, playbook):
    trigger = playbook.triggers.get()
    assert "<h2>More seats: Seats above 80</h2>" in page_of(boss, trigger)
