"""Plays in the admin: opened by hand, worked by actions, shown with everything that tells how they went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import TeamMember, TimelineEntry
from csplaybooks.playbooks.acts.plays import start_plays
from csplaybooks.playbooks.admin import play_acts
from csplaybooks.playbooks.admin.clocks import promised
from csplaybooks.playbooks.admin.play_acts import WHO_MAY_CLAIM
from csplaybooks.playbooks.factories import (
    ClockFactory,
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
)
from csplaybooks.playbooks.models import Clock, Match, Pause, Play, PlayStep, Touch
from csplaybooks.playbooks.moves import BY_ITSELF, MOVES
from tests.admin.pages import act, faults, send, told, url

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


# Opened by hand


def test_play_is_opened_by_hand(boss):
    account = AccountFactory()
    version = PlaybookVersionFactory()
    values = {"account": account.pk, "playbook": version.playbook.pk, "reason": "They asked for it."}
    assert send(boss, url(Play, "add"), **values).status_code == 302
    play = Play.objects.get()
    assert (play.origin, play.reason, play.stage, play.opened_at) == ("hand", "They asked for it.", "routed", NOW)
    assert str(TimelineEntry.objects.get().actor) == "operator"
    assert play.intervals.count() == 1


def test_second_play_of_a_motion_stands_on_the_form(boss):
    play = PlayFactory()
    values = {"account": play.account.pk, "playbook": play.playbook.pk, "reason": "Again."}
    said = faults(send(boss, url(Play, "add"), **values))
    assert said == {"account": [f"{play.account} has an open play of this motion already: Seat expansion."]}
    assert Play.objects.count() == 1


def test_reason_is_needed_and_a_draft_is_no_playbook(boss):
    draft = PlaybookFactory()
    values = {"account": AccountFactory().pk, "playbook": draft.pk, "reason": " "}
    assert set(faults(send(boss, url(Play, "add"), **values))) == {"playbook", "reason"}


# The page


def test_page_tells_everything_and_changes_nothing(boss):
    play = PlayFactory(
        evidence=[{"measure": "share_of_limit", "words": "90 % of <20> seats in use", "settings": {}, "found": {}}],
        expected_amount_minor=123_450,
        amount_working={"rule": "fixed", "words": "a fixed amount"},
    )
    ClockFactory(play=play, due_at=NOW)
    start_plays(play_ids=[play.pk], now=NOW)
    response = boss.get(url(Play, "change", play.pk))
    text = response.content.decode()
    assert "90 % of &lt;20&gt; seats in use" in text
    assert "1,234.50 USD" in text
    assert "a fixed amount" in text
    assert f"{play.playbook}: Started" in text
    assert "Promised within" in text
    assert 'name="reason"' not in text
    assert all(not inline.formset.extra_forms for inline in response.context["inline_admin_formsets"])
    assert boss.post(url(Play, "change", play.pk), {"reason": "Mine"}).status_code == 403


def test_page_tells_of_work_where_there_is_something_to_say(boss):
    def groups(**values: Any) -> list[Any]:
        Play.objects.update(**values)
        shown = boss.get(url(Play, "change", play.pk)).context["adminform"]
        return [name for name, _ in shown.fieldsets]

    play = PlayFactory()
    assert "Work" not in groups()
    assert "Work" in groups(tray_at=NOW)
    assert "Work" in groups(tray_at=None, attempts=1, last_error="RuntimeError: no")
    assert "Work" not in groups(attempts=0, last_error="")


def test_page_has_a_button_for_each_act_that_is_possible(boss):
    play = PlayFactory()
    offered = [each.verb for each in boss.get(url(Play, "change", play.pk)).context["acts"]]
    assert offered == ["assign", "release", "start", "touch", "pause", "offer", "win", "lose", "decline", "withdraw"]
    response = act(boss, Play, "start_plays", [play], from_play="1")
    assert response["Location"] == url(Play, "change", play.pk)
    play.refresh_from_db()
    assert play.stage == "running"


def test_buttons_that_end_the_play_stand_apart_and_have_our_style(boss):
    text = boss.get(url(Play, "change", PlayFactory().pk)).content.decode()
    before, apart = text.split('<div class="csplaybooks-acts-ending">')
    assert 'value="start_plays">Start<' in before
    assert 'value="win_plays">Mark as won<' in apart
    assert {each.verb for each in play_acts.PLAY_ACTS if each.ends} == {"win", "lose", "decline", "withdraw"}
    assert "csplaybooks/admin.css" in before
    # A policy of ours forbids styles in a page.
    assert "style=" not in before[before.index('<form method="post" action') :]
    style = boss.get("/static/csplaybooks/admin.css")
    assert style.status_code == 200
    assert b".csplaybooks-acts button.button" in b"".join(style)


def test_rows_to_look_at_are_not_told_twice(boss):
    text = "Ask who is in charge of the tool, then send them the numbers of the last quarter."
    play = PlayFactory()
    PlayStep.objects.create(play=play, number=1, kind="task", text=text)
    clock = ClockFactory(play=play)
    page = boss.get(url(Play, "change", play.pk)).content.decode()
    assert page.count(text) == 1
    assert str(clock) not in page
    assert url(Clock, "change", clock.pk) in page
    assert str(PlayStep.objects.get()) == f"1. {text}"


def test_list_names_the_next_promise(boss):
    play = PlayFactory()
    ClockFactory(play=play, target=Clock.Target.FIRST_TOUCH, due_at=NOW + timedelta(days=1))
    ClockFactory(play=play, target=Clock.Target.CLOSED, due_at=NOW + timedelta(days=9))
    [row] = boss.get(url(Play, "changelist"), {"o": "3"}).context["cl"].result_list
    assert row.next_due_at == NOW + timedelta(days=1)


def test_list_says_first_what_is_due_and_what_it_is_worth(boss):
    late, fresh = PlayFactory(expected_amount_minor=123_450), PlayFactory()
    ClockFactory(play=late, due_at=NOW - timedelta(days=35))
    ClockFactory(play=fresh, due_at=NOW + timedelta(days=1))
    listing = boss.get(url(Play, "changelist"))
    assert listing.context["cl"].list_display[1:5] == ["next_due", "playbook", "account_link", "amount"]
    text = listing.content.decode()
    assert "overdue since Oct. 12, 2026" in text
    assert text.count("overdue since") == 1
    assert "Nov. 17, 2026, 10 a.m." in text
    assert "1,234.50 USD" in text


def test_list_asks_as_much_for_many_plays_as_for_one(boss):
    ClockFactory(play=PlayFactory(), due_at=NOW - timedelta(days=1))
    with CaptureQueriesContext(connection) as for_one:
        boss.get(url(Play, "changelist"))
    for _ in range(3):
        ClockFactory(play=PlayFactory(), due_at=NOW - timedelta(days=1))
    with CaptureQueriesContext(connection) as for_more:
        boss.get(url(Play, "changelist"))
    assert len(for_more) == len(for_one)


@pytest.mark.parametrize(
    ("seconds", "hours", "words"),
    [
        (0, "wall", "0 h"),
        (1800, "wall", "30 min"),
        (28_800, "working", "8 h"),
        (5400, "working", "1 h 30 min"),
        (72 * 3600, "wall", "72 h"),
        (96 * 3600, "wall", "4 days"),
        (97 * 3600, "wall", "97 h"),
        (96 * 3600 + 60, "wall", "96 h 1 min"),
        (1008 * 3600, "wall", "42 days"),
        (1008 * 3600, "working", "1,008 h"),
    ],
)
def test_promises_in_words(seconds, hours, words):
    assert promised(seconds, hours) == words


# Acts


def test_actions_read_as_sentences(boss):
    PlayFactory()
    choices = boss.get(url(Play, "changelist")).context["action_form"].fields["action"].choices
    assert [label for name, label in choices if name.endswith("_plays")] == [
        "Assign selected plays",
        "Claim selected plays",
        "Release selected plays",
        "Start selected plays",
        "Log a contact on selected plays",
        "Pause selected plays",
        "Resume selected plays",
        "Offer selected plays",
        "Accept the offers of selected plays",
        "Refuse the offers of selected plays",
        "Take back the offers of selected plays",
        "Do the step of selected plays",
        "Skip the step of selected plays",
        "Mark selected plays as won",
        "Mark selected plays as lost",
        "Decline selected plays",
        "Withdraw selected plays",
    ]


def test_page_between_can_be_left_to_where_one_came_from(boss):
    play = PlayFactory()
    chosen = {"action": "pause_plays", "_selected_action": [play.pk], "index": 0}
    asked = boss.post(f"{url(Play, 'changelist')}?stage__exact=owned", chosen).content.decode()
    assert f'<a href="{url(Play, "changelist")}?stage__exact=owned" class="closelink">Cancel</a>' in asked
    assert '<label for="id_reason" class="required">' in asked
    assert '<label for="id_wakes_at">' in asked
    asked = act(boss, Play, "pause_plays", [play], from_play="1").content.decode()
    assert f'<a href="{url(Play, "change", play.pk)}" class="closelink">Cancel</a>' in asked


def ask(boss, action, plays, **values):
    """Send an action without, then with what it asks for."""
    asked = act(boss, Play, action, plays)
    assert asked.status_code == 200
    assert asked.templates[0].name == "csplaybooks/admin/act.html"
    assert [str(play) for play in asked.context["plays"]]
    return act(boss, Play, action, plays, perform="1", **values)


def test_plays_are_assigned(boss):
    plays = PlayFactory.create_batch(2)
    member, gone = TeamMemberFactory(), TeamMemberFactory(is_active=False)
    refused = ask(boss, "assign_plays", plays, owner=gone.pk)
    assert list(refused.context["form"].errors) == ["owner"]
    assert told(ask(boss, "assign_plays", plays, owner=member.pk)) == ["2 plays: assigned."]
    assert set(Play.objects.values_list("owner", flat=True)) == {member.pk}


def test_contact_is_logged_by_the_member_who_made_it(csm, carla):
    play = PlayFactory(account__csm=carla, owner=carla)
    said = told(ask(csm, "touch_plays", [play], channel="call", direction="out", at="2026-11-16T09:00", note="Hello"))
    assert said == ["1 play: contact logged."]
    touch = Touch.objects.get()
    assert (touch.by_member, touch.at, touch.note) == (carla, datetime(2026, 11, 16, 9, tzinfo=UTC), "Hello")


def test_contact_in_the_future_is_refused(boss):
    play = PlayFactory()
    refused = ask(boss, "touch_plays", [play], channel="call", direction="out", at="2026-12-01T09:00")
    assert refused.context["form"].errors == {"at": ["This lies in the future."]}
    assert not Touch.objects.exists()


def stands(client, page):
    """The fields that say where a play stands, with what they say."""
    fieldsets = {fieldset.name: fieldset for fieldset in client.get(page).context["adminform"]}
    fields = [field for line in fieldsets["Where it stands"] for field in line]
    return [(field.field["label"], field.contents()) for field in fields]


def test_play_is_paused_and_resumed(boss):
    play = PlayFactory()
    refused = ask(boss, "pause_plays", [play], reason="Budget", wakes_at="2026-01-01T09:00")
    assert refused.context["form"].errors == {"wakes_at": ["The wake-up date must lie in the future."]}
    assert told(ask(boss, "pause_plays", [play], reason="Budget", wakes_at="2027-01-04T09:00")) == ["1 play: paused."]
    assert Pause.objects.get().reason == "Budget"
    page = url(Play, "change", play.pk)
    assert stands(boss, page)[2:4] == [("Waiting for", "Budget"), ("Wakes at", "Jan. 4, 2027, 9 a.m.")]
    assert told(act(boss, Play, "resume_plays", [play])) == ["1 play: resumed."]
    play.refresh_from_db()
    assert play.state == "working"
    assert "Waiting for" not in dict(stands(boss, page))
    ask(boss, "pause_plays", [play], reason="Their board meets")
    assert stands(boss, page)[3] == ("Wakes at", "when somebody resumes it")
    ask(boss, "lose_plays", [play], reason="")
    assert "Waiting for" not in dict(stands(boss, page))


@pytest.mark.parametrize(
    ("action", "outcome"),
    [("win_plays", "won"), ("lose_plays", "lost"), ("decline_plays", "declined"), ("withdraw_plays", "withdrawn")],
)
def test_play_is_closed(boss, action, outcome):
    play = PlayFactory()
    ask(boss, action, [play], reason="As they said")
    play.refresh_from_db()
    assert (play.stage, play.outcome, play.outcome_reason) == ("closed", outcome, "As they said")


def test_decline_needs_a_reason(boss):
    play = PlayFactory()
    assert list(ask(boss, "decline_plays", [play], reason="").context["form"].errors) == ["reason"]
    play.refresh_from_db()
    assert play.stage == "owned"


def test_who_looked_before_somebody_else_moved_it_is_told(boss):
    play, other = PlayFactory(), PlayFactory()
    page = boss.get(url(Play, "change", play.pk)).context
    assert page["seen"] == f"{play.pk}:1"
    asked = act(boss, Play, "assign_plays", [play, other])
    assert sorted(asked.context["seen"].split(",")) == [f"{play.pk}:1", f"{other.pk}:1"]
    start_plays(play_ids=[play.pk], now=NOW)
    member = TeamMemberFactory()
    done, why = told(
        act(boss, Play, "assign_plays", [play, other], perform="1", owner=member.pk, seen=asked.context["seen"])
    )
    assert done == "1 play: assigned."
    assert "Assign is not possible: somebody else was first" in why
    (why,) = told(act(boss, Play, "resume_plays", [play], seen=page["seen"]))
    assert "Resume is not possible: the play is running and working" in why
    # A contact was made, whoever moved the play meanwhile; and what says nothing is passed over.
    for seen in (page["seen"], "", "x", "1:2:3", f"{play.pk}:{9**30}"):
        said = told(act(boss, Play, "touch_plays", [play], perform="1", channel="call", direction="out", seen=seen))
        assert said == ["1 play: contact logged."]


def test_play_is_claimed_out_of_the_tray_and_released_to_it(csm, carla):
    TeamMember.objects.filter(pk=carla.pk).update(manager=TeamMemberFactory(leads=True))
    play = PlayFactory(unowned=True)
    offered = [each.verb for each in csm.get(url(Play, "change", play.pk)).context["acts"]]
    assert offered == ["assign", "claim", "withdraw"]
    assert told(act(csm, Play, "claim_plays", [play])) == ["1 play: claimed."]
    assert told(ask(csm, "release_plays", [play], reason="On leave")) == [f"1 play: released; {WHO_MAY_CLAIM}."]
    play.refresh_from_db()
    assert (play.owner, play.tray_at) == (carla, NOW)


def test_each_play_that_is_refused_is_told(boss, monkeypatch):
    monkeypatch.setattr(play_acts, "MOST_REFUSALS", 1)
    owned = PlayFactory()
    running = PlayFactory.create_batch(2)
    start_plays(play_ids=[play.pk for play in running], now=NOW)
    done, why, more = told(act(boss, Play, "start_plays", [owned, *running]))
    assert done == "1 play: started."
    assert "Start is not possible: the play is running and working" in why
    assert more == "1 play more: refused."


def test_too_many_plays_at_once(boss, monkeypatch):
    monkeypatch.setattr(play_acts, "MOST_PLAYS", 1)
    plays = PlayFactory.create_batch(2)
    assert told(act(boss, Play, "start_plays", plays)) == ["Choose at most 1 plays at once."]
    assert set(Play.objects.values_list("stage", flat=True)) == {"owned"}


def test_choice_of_all_plays_survives_the_page_between(boss):
    plays = PlayFactory.create_batch(2)
    asked = act(boss, Play, "win_plays", plays[:1], select_across="1")
    assert len(asked.context["plays"]) == 2
    assert 'name="select_across" value="1"' in asked.content.decode()
    assert told(act(boss, Play, "win_plays", plays[:1], select_across="1", perform="1")) == ["2 plays: won."]


# Matches


def test_trigger_and_guard_of_a_match_in_words(boss):
    match = MatchFactory(trigger__key="seats_above_80", state="held", held_by="not_paying")
    for page in (url(Match, "changelist"), url(Match, "change", match.pk)):
        text = boss.get(page).content.decode()
        assert f"{match.trigger.playbook}: Seats above 80" in text
        assert "Not paying" in text


# The tray


def test_stuck_rows_are_put_back(boss):
    stuck = MatchFactory(stuck_at=NOW, attempts=5, last_error="RuntimeError: no")
    free = MatchFactory()
    assert "RuntimeError: no" in boss.get(url(Match, "change", stuck.pk)).content.decode()
    assert told(act(boss, Match, "retry", [stuck, free])) == ["1 put back into the queue."]
    assert told(act(boss, Match, "retry", [stuck, free])) == ["None of these is stuck."]
    stuck.refresh_from_db()
    assert (stuck.stuck_at, stuck.attempts) == (None, 0)
    play = PlayFactory(stuck_at=NOW)
    assert told(act(boss, Play, "retry", [play])) == ["1 put back into the queue."]


def test_acts_are_named_as_in_the_table_of_moves():
    assert {each.verb for each in play_acts.PLAY_ACTS} == set(MOVES) - BY_ITSELF
