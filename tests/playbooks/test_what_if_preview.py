"""What publishing a draft would come to: the same as the first run after it, and before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AccountFactory,
    AccountTeamFactory,
    EntitlementFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import Account, AccountTeam
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.factories import PlayFactory
from csplaybooks.playbooks.guards import Hold
from csplaybooks.playbooks.models import Match, Play, Playbook, Route
from csplaybooks.playbooks.pipeline.opening import open_plays
from csplaybooks.playbooks.pipeline.owners import assign_owners
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.playbooks.what_if import Preview, Sight, openings_by_owner, preview, what_if_summary
from csplaybooks.signals.factories import MeterFactory, ReadingFactory
from csplaybooks.signals.models import PrunedDay
from tests.playbooks.inputs import DAY, NOW

pytestmark = pytest.mark.django_db

TEXT = """\
key: more_seats
name: More seats
motion: seat_expansion
triggers:
  - key: seats_above_80
    any:
      - all:
          - {measure: share_of_limit, meters: [seats], above: 80}
amount: {rule: share_of_mrr, percent: 10}
routes:
  - when: {amount_at_least_minor: 20000}
    route: sales
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""

#: A second trigger of the same playbook, which finds fewer.
TWO = TEXT.replace(
    "amount:",
    """\
  - key: seats_full
    any:
      - all:
          - {measure: share_of_limit, meters: [seats], at_least: 100}
amount:""",
)


@pytest.fixture(autouse=True)
def meters(db):
    MeterFactory(key="seats")
    MeterFactory(key="health")


def customer(used: int = 90, health: int | None = 90, mrr: int = 100_000, **more: Any) -> Account:
    """An account that uses so many of a hundred seats."""
    account: Account = AccountFactory(**more)
    reading(account, used)
    if health is not None:
        ReadingFactory(account=account, meter=MeterFactory(key="health"), used_milli=health * 1000, occurred_at=NOW)
    EntitlementFactory(account=account, mrr_minor=mrr)
    return account


def reading(account: Account, used: int, days_ago: int = 0) -> None:
    at = NOW - days_ago * DAY
    meter = MeterFactory(key="seats")
    ReadingFactory(account=account, meter=meter, used_milli=used * 1000, limit_milli=100_000, occurred_at=at)


def asked(text: str = TEXT, **more: Any) -> Preview:
    return preview(read_document(text), now=NOW, **more)


def worth(candidate: Any) -> int | None:
    """The expected amount of a free candidate."""
    minor: int | None = candidate.amount.minor
    return minor


def names(candidates: Any) -> list[int]:
    return [candidate.account_id for candidate in candidates]


def rows() -> dict[str, int]:
    """How many rows each of our tables has."""
    ours = [model for model in models.Model.__subclasses__() if model._meta.app_label.startswith("csplaybooks")]
    return {model.__name__: model._default_manager.count() for model in ours if not model._meta.abstract}


def test_matches_are_held_or_free_with_words_reason_route_and_amount():
    carla = TeamMemberFactory(name="Carla")
    free = customer(mrr=100_000, csm=carla)
    large = customer(mrr=300_000)
    ill = customer(health=20)
    customer(used=50)
    before = rows()
    answer = asked()
    [trigger] = answer.triggers
    assert (trigger.key, trigger.matched, answer.sight.population) == ("seats_above_80", 3, 4)
    assert names(trigger.free) == [free.pk, large.pk]
    [held] = trigger.held
    assert held.account_id == ill.pk
    assert held.hold == Hold("unhealthy", "health is 20, needed at least 60")
    assert answer.held_by == {"unhealthy": 1}
    assert [(play.account_id, worth(play), play.route) for play in answer.plays] == [
        (large.pk, 30_000, Route.SALES),
        (free.pk, 10_000, Route.CSM),
    ]
    assert answer.amount_minor == 40_000
    assert "90 %" in trigger.free[0].words[0]
    assert (trigger.free[0].owner_id, trigger.free[0].owner_why) == (carla.pk, "the account's CSM")
    assert answer.runs is None
    assert rows() == before


def test_it_is_what_the_first_run_makes_of_it():
    """On many accounts: episodes, guards, ceilings, routes, amounts and owners."""
    people = [TeamMemberFactory(open_play_cap=2), TeamMemberFactory(open_play_cap=1), TeamMemberFactory(ae=True)]
    for number in range(12):
        account = customer(
            used=(70, 85, 100)[number % 3],
            health=(90, 90, 90, 10, None)[number % 5],
            mrr=10_000 * number + 50_000,
            csm=people[number % 2] if number % 4 else None,
        )
        if number == 5:
            PlayFactory(account=account, motion="seat_expansion", owner=people[0])
    answer = asked(TWO)
    playbook = save_draft(text=TWO, now=NOW)
    # That of the play.
    Playbook.objects.exclude(pk=playbook.pk).update(is_active=False)
    with transaction.atomic(), pokes_silenced():
        publish_playbook(playbook_id=playbook.pk, now=NOW)
        run_triggers(now=NOW, full=True)
        matches = list(Match.objects.order_by("pk"))
        candidates = answer.candidates
        assert len(matches) == len(candidates) > 8
        for match, candidate in zip(matches, candidates, strict=True):
            assert (match.account_id, match.trigger.key) == (candidate.account_id, candidate.trigger)
            assert match.evidence == candidate.evidence
            hold = candidate.hold
            assert (match.held_by, match.held_reason) == ((hold.guard, hold.reason) if hold else ("", ""))
            assert match.state == ("held" if hold else "queued")
            if candidate.is_free:
                assert (match.route, match.expected_amount_minor) == (candidate.route, worth(candidate))
        opened_before = set(Play.objects.values_list("pk", flat=True))
        while open_plays(now=NOW):
            pass
        opened = Play.objects.exclude(pk__in=opened_before)
        assert {(play.account_id, play.route, play.expected_amount_minor) for play in opened} == {
            (each.account_id, each.route, worth(each)) for each in answer.plays if each.owner_id is not None
        }
        assert opened
        # What there is no room for waits, and what would have joined it.
        waiting = set(Match.objects.waiting().values_list("account", flat=True))
        assert waiting == {each.account_id for each in answer.plays if each.owner_id is None}
        folded = set(Match.objects.filter(state="folded").values_list("trigger__key", "account"))
        assert folded == {(e.trigger, e.account_id) for e in candidates if e.folds and e.account_id not in waiting}
        assert folded
        assert waiting
        assert answer.without_room == len(waiting)
        while assign_owners(now=NOW):
            pass
        assert not Play.objects.filter(tray_at__isnull=False).exists()


def test_what_runs_already_is_told_apart():
    stays, goes, comes = customer(used=95), customer(used=85), customer(used=95, health=20)
    playbook = save_draft(text=TEXT, now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    with pokes_silenced():
        run_triggers(now=NOW, full=True)
    Match.objects.filter(account=stays).update(
        state="fired", fired_at=NOW, play=PlayFactory(account=stays, motion="seat_expansion")
    )
    new = customer(used=99)
    answer = asked(TEXT.replace("above: 80", "above: 90"))
    [trigger] = answer.triggers
    assert answer.runs == 1
    assert names(trigger.settled) == [stays.pk]
    assert names(trigger.new) == names(trigger.free) == [new.pk]
    assert names(trigger.held) == [comes.pk]
    assert [(going.account_id, going.state) for going in answer.going] == [(goes.pk, "queued")]
    assert "Compared with what runs: 1 new, 1 would end." in what_if_summary(
        read_document(TEXT.replace("above: 80", "above: 90")), NOW
    )
    renamed = asked(TEXT.replace("seats_above_80", "seats_high"))
    assert sorted(going.account_id for going in renamed.retired) == sorted([stays.pk, goes.pk, comes.pk])
    assert renamed.triggers[0].settled == ()


def test_a_playbook_that_is_switched_off_runs_nothing():
    playbook = save_draft(text=TEXT, now=NOW)
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    Playbook.objects.update(is_active=False)
    assert asked().runs is None


def test_it_warns_of_more_than_half_and_of_nobody():
    TeamMemberFactory()
    full = [customer(used=95) for _ in range(2)]
    for _ in range(2):
        customer(used=50)
    assert asked().warnings == ()
    customer(used=95)
    [warning] = asked().warnings
    assert warning.startswith("“Seats above 80” matches 3 of the 5 accounts, 60 %")
    Account.objects.filter(pk=full[0].pk).update(deleted_at=NOW)
    # Who is gone counts on neither side.
    assert asked().warnings == ()
    [nobody] = asked(TEXT.replace("above: 80", "above: 100")).warnings
    assert nobody == "“Seats above 80” matches nobody of the 4 accounts today: look at its conditions."
    lines = what_if_summary(read_document(TEXT.replace("above: 80", "above: 100")), NOW)
    assert lines[0] == f"Warning: {nobody}"


def test_nobody_at_all_is_no_half():
    [warning] = asked().warnings
    assert "matches nobody" in warning


def test_it_warns_where_more_would_open_than_there_is_room_for():
    carla = TeamMemberFactory(name="Carla", open_play_cap=2)
    PlayFactory(owner=carla, motion="cross_sell")
    for number in range(3):
        customer(csm=carla, mrr=10_000 * number)
    for _ in range(4):
        customer(used=50)
    answer = asked()
    assert [(s.name, s.plays, s.load, s.cap, s.room) for s in answer.shares] == [
        ("Carla", 1, 1, 2, 1),
        ("Nobody has room", 2, 0, 0, 0),
    ]
    [warning] = answer.warnings
    assert warning.startswith("3 plays would be opened at once, and the team has room for 1 of them: 2 would wait")
    # The greatest amount is given first.
    assert [play.owner_id for play in answer.plays] == [carla.pk, None, None]


def test_a_viewer_gets_all_of_it_about_their_own():
    carla, dora = TeamMemberFactory(name="Carla"), TeamMemberFactory(name="Dora")
    mine, pool = customer(csm=carla), customer()
    customer(csm=dora)
    answer = asked(viewer=carla.user)
    assert answer.sight.population == 2
    assert answer.accounts == {mine.pk, pool.pk}
    assert "3 of" not in " ".join(what_if_summary(read_document(TEXT), NOW, viewer=carla.user))
    assert "2 accounts that you see" in answer.warnings[0]


def test_amounts_do_not_depend_on_who_looks(monkeypatch):
    def cut(sight: Any, hit: Any) -> list[dict[str, Any]]:
        return [{**item, "found": dict.fromkeys(item["found"], "")} for item in hit.evidence]

    customer(used=110)
    text = TEXT.replace("{rule: share_of_mrr, percent: 10}", "{rule: seats_over, meters: [seats]}")
    assert asked(text).amount_minor == 25_000
    monkeypatch.setattr(Sight, "evidence", cut)
    assert asked(text).amount_minor == 25_000


def test_accounts_in_sight_are_the_same_where_they_are_too_many_to_list(monkeypatch):
    carla = TeamMemberFactory(name="Carla")
    mine = customer(csm=carla)
    customer(csm=TeamMemberFactory())
    listed = asked(viewer=carla.user)
    monkeypatch.setattr("csplaybooks.playbooks.what_if.sight.MOST_LISTED_ACCOUNTS", {True: 0, False: 0})
    assert asked(viewer=carla.user).candidates == listed.candidates
    assert names(listed.candidates) == [mine.pk]


def test_what_could_not_be_published_is_refused_with_its_place():
    with pytest.raises(DocumentError, match="there is no meter nothing"):
        asked(TEXT.replace("[seats]", "[nothing]"))
    PrunedDay.objects.create(day=NOW.date(), before=NOW, signals=0, readings=0, pruned_at=NOW)
    with pytest.raises(DocumentError, match="are pruned"):
        asked()
    with pytest.raises(DocumentError, match="are pruned"):
        what_if_summary(read_document(TEXT), NOW)


def test_another_motion_than_was_published_is_refused_with_all_other_faults():
    publish_playbook(playbook_id=save_draft(text=TEXT, now=NOW).pk, now=NOW)
    with pytest.raises(DocumentError) as refused:
        asked(TEXT.replace("seat_expansion", "service").replace("[seats]", "[nothing]"))
    assert [path for path, _ in refused.value.errors] == ["motion", "triggers/0/any/0/all/0/meters"]
    assert "the motion of a published playbook stays: seat_expansion" in str(refused.value)


def test_accounts_that_are_gone_are_told_beside_those_that_are_there():
    there, *gone = [customer() for _ in range(3)]
    assert asked().where == "3 of 3 accounts"
    Account.objects.filter(pk=gone[0].pk).update(deleted_at=NOW)
    assert asked().where == "2 of 2 accounts, and 1 that is deleted or merged"
    Account.objects.filter(pk=gone[1].pk).update(merged_into=there)
    told = what_if_summary(read_document(TEXT), NOW)
    assert any("Matches today: 3, at 1 of 1 account, and 2 that are deleted or merged; " in line for line in told)
    Account.objects.update(deleted_at=NOW)
    [nobody] = asked().warnings
    assert "matches nobody of the 0 accounts" in nobody


def queries(ask: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


def test_the_number_of_queries_stays_whatever_matches():
    carla = TeamMemberFactory()
    for _ in range(2):
        customer(csm=carla)
    few = queries(asked)
    one_more = queries(lambda: asked(TWO))
    for _ in range(20):
        customer(csm=carla)
    assert queries(asked) == few
    assert one_more == few + 1


# Weeks


def test_openings_are_counted_by_owner_and_week():
    carla = TeamMemberFactory(name="Carla")
    for account, day in ((customer(50, csm=carla), 3), (customer(50, csm=carla), 10), (customer(50), 10)):
        # The day's grid sees it at its end.
        reading(account, 95, days_ago=day)
        reading(account, 50, days_ago=day - 1)
    there = customer(95, csm=carla)
    for day in range(0, 30, 5):
        reading(there, 95, days_ago=day)
    document = read_document(TEXT)
    weeks = openings_by_owner(document, now=NOW, weeks=2)
    assert weeks.ends == (NOW - 7 * DAY, NOW)
    assert weeks.moments == 15
    assert [(row.name, row.opened, row.total) for row in weeks.owners] == [
        ("Carla", (1, 1), 2),
        ("The pool", (1, 0), 1),
    ]
    assert weeks.totals == (2, 1)
    seen = openings_by_owner(document, now=NOW, weeks=2, viewer=TeamMemberFactory(ae=True).user)
    assert seen.owners == ()


def test_the_executive_counts_where_the_playbook_sells_and_there_is_no_csm():
    seller = TeamMemberFactory(name="Sally", ae=True)
    account = customer(50)
    AccountTeamFactory(account=account, role=AccountTeam.Role.AE, member=seller)
    reading(account, 95, days_ago=1)
    document = read_document(TEXT)
    assert [row.name for row in openings_by_owner(document, now=NOW, weeks=1).owners] == ["Sally"]
    quiet = read_document(TEXT.replace("route: sales", "route: email"))
    assert [row.name for row in openings_by_owner(quiet, now=NOW, weeks=1).owners] == ["The pool"]


def test_weeks_behind_the_horizon_are_cut_and_the_gone_left_out():
    account = customer(50)
    reading(account, 95, days_ago=2)
    document = read_document(TEXT)
    age = MeterFactory(key="seats").max_age_days
    before = NOW - (age + 10) * DAY
    PrunedDay.objects.create(day=before.date(), before=before, signals=0, readings=0, pruned_at=NOW)
    weeks = openings_by_owner(document, now=NOW, weeks=8)
    assert weeks.ends == (NOW,)
    assert weeks.totals == (1,)
    assert "are pruned" in weeks.notes[0]
    Account.objects.update(deleted_at=NOW)
    assert openings_by_owner(document, now=NOW, weeks=8).owners == ()


def test_weeks_take_one_query_for_each_day_and_trigger():
    account = customer(95)
    reading(account, 95, days_ago=3)
    one, two = read_document(TEXT), read_document(TWO)
    base = queries(lambda: openings_by_owner(one, now=NOW, weeks=1))
    assert queries(lambda: openings_by_owner(one, now=NOW, weeks=3)) == base + 14
    heard: list[tuple[int, int]] = []
    openings_by_owner(two, now=NOW, weeks=1, progress=lambda done, of: heard.append((done, of)))
    assert heard == [(number, 16) for number in range(1, 17)]
