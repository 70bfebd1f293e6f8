"""A replay of a small record into the test database: what came in, what came of it, by the stated rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from csplaybooks.accounts.models import Account, Entitlement, Motion, Movement, TeamMember, TimelineEntry
from csplaybooks.playbooks.models import Match, Outcome, Play, Playbook, Run, Touch
from csplaybooks.playbooks.replay import Progress, Report, Rules, open_record, replay
from csplaybooks.signals.intake import take_in_signals
from csplaybooks.signals.models import Reading, RefusedItem, Signal
from tests.replay.records import BAD, START, story, write

#: Reviews come sooner than in earnest, so that fifty days see one.
RULES = Rules(review_days=20, gap_days=25)


Told = tuple[Report, list[Progress]]


class _Undone(Exception):
    """Ends a transaction that must leave nothing."""


def replayed(path: Path, rules: Rules = RULES, told: list[Progress] | None = None) -> Report:
    """The report of a replay."""
    return replay(open_record(path), rules=rules, progress=None if told is None else told.append)


@pytest.fixture(scope="module")
def told(tmp_path_factory: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[Told]:
    """The story, replayed once for all tests of this file that only read, and undone after them."""
    progress: list[Progress] = []
    path = write(tmp_path_factory.mktemp("record") / "story.csv", story())
    with django_db_blocker.unblock():
        try:
            with transaction.atomic():
                yield replayed(path, told=progress), progress
                raise _Undone
        except _Undone:
            pass


@pytest.fixture
def report(told: Told) -> Report:
    """The report of the story."""
    return told[0]


def acme() -> Account:
    return Account.objects.get(name="acme")


def test_received_is_the_sum_of_the_verdicts(report: Report) -> None:
    rows = report.rows
    assert rows.received == len(story())
    assert rows.received == rows.stored + rows.duplicate + rows.conflict + rows.refused
    assert (rows.refused, rows.duplicate, rows.conflict) == (BAD, 0, 0)
    assert Signal.objects.filter(external_id__regex="^row-[0-9]+$").count() == rows.stored
    assert report.derived.received == report.derived.stored > 0
    assert report.readings.received == report.readings.stored == Reading.objects.count()


def test_bad_rows_are_refused_with_their_reason_and_make_no_account(report: Report) -> None:
    assert sorted(RefusedItem.objects.values_list("code", "field")) == [
        ("blank", "account"),
        ("no_time_zone", "occurred_at"),
        ("not_a_number", "value"),
        ("not_a_time", "occurred_at"),
        ("not_an_object", ""),
    ]
    assert set(Account.objects.values_list("name", flat=True)) == {"acme", "globex"}
    assert report.accounts == 2


def test_no_invariant_is_broken(report: Report) -> None:
    assert len(report.violations) > 10
    assert set(report.violations.values()) == {0}


def test_every_cut_of_the_plays_adds_up(report: Report) -> None:
    total = report.plays["total"]
    assert total == Play.objects.count() > 0
    assert {sum(report.plays[cut].values()) for cut in ("by_trigger", "by_route", "by_outcome", "by_stage")} == {total}


def test_all_days_are_ticked_and_told(told: Told) -> None:
    report, progress = told
    assert (report.days, report.first_day, report.last_day) == (50, "2024-01-01", "2024-02-19")
    assert [each.day for each in progress] == [START.date() + timedelta(days=number) for number in range(50)]
    assert progress[-1].rows == progress[-1].of == len(story())
    assert Run.objects.latest("pk").moment == START + timedelta(days=50)


def test_nothing_bears_a_moment_of_the_wall_clock(report: Report) -> None:
    end = START + timedelta(days=50)
    written: dict[Any, str] = {
        **dict.fromkeys((Account, Play, Playbook, TeamMember), "updated_at"),
        **{Run: "finished_at", TimelineEntry: "recorded_at", Touch: "at"},
    }
    for model, name in written.items():
        moments = list(model.objects.order_by().values_list(name, flat=True))
        assert moments
        assert START <= min(moments) <= max(moments) <= end


def test_readings_say_active_users_of_28_days_against_the_licence(report: Report) -> None:
    seats = Reading.objects.filter(account=acme(), meter__key="seats").order_by("occurred_at", "pk")
    assert [(r.occurred_at.date(), r.used_milli, r.limit_milli) for r in seats] == [
        (date(2024, 1, 2), 4000, None),
        # 28 days are over: 4 users and a quarter more are 5 seats.
        (date(2024, 1, 29), 4000, 5000),
        (date(2024, 2, 2), 7000, 5000),
        # The play is won: 7 users and a quarter more, rounded up.
        (date(2024, 2, 8), 7000, 10000),
    ]


def test_seat_play_is_won_when_users_stay_above_the_licence(report: Report) -> None:
    play = Play.objects.get(account=acme(), motion=Motion.SEAT_EXPANSION)
    assert (play.outcome, play.outcome_reason) == (Outcome.WON, "above the limit for 7 days")
    # Both seat triggers held on that day: one opened the play, the other was added to it.
    matches = Match.objects.filter(play=play).order_by("state")
    assert [match.state for match in matches] == [Match.State.FIRED, Match.State.FOLDED]
    assert play.closed_at == datetime(2024, 2, 8, tzinfo=UTC)
    assert play.touches.get().at < play.closed_at
    held = Entitlement.objects.current().get(account=acme(), subscription="platform")
    assert (held.quantity, held.mrr_minor) == (10, 10_000 + 10 * 2_000)
    line = Movement.objects.get(account=acme(), motion=Motion.SEAT_EXPANSION)
    assert (line.amount_minor, line.effective_on, line.note) == (10_000, date(2024, 2, 8), "seat play won")


def test_first_row_in_another_product_is_a_cross_sell_that_wins_its_play(report: Report) -> None:
    assert report.cross_sells == {"happened": 1, "with_play": 1}
    line = Movement.objects.get(motion=Motion.CROSS_SELL)
    assert line.product is not None
    assert (line.account, line.product.name, line.amount_minor) == (acme(), "beta", 25_000)
    held = Entitlement.objects.current().get(account=acme(), product=line.product)
    assert (held.valid_from, held.mrr_minor) == (START + timedelta(days=40, hours=15), 25_000)
    play = Play.objects.get(account=acme(), motion=Motion.CROSS_SELL)
    assert (play.product, play.outcome, play.closed_at) == (line.product, Outcome.WON, START + timedelta(days=41))


def test_ledger_and_holdings_agree(report: Report) -> None:
    assert report.mrr_minor["ledger"] == report.mrr_minor["held"] > 0


def test_same_rows_again_are_duplicates(report: Report, tmp_path: Path) -> None:
    items = [row.item for _, rows in open_record(write(tmp_path / "again.csv", story())).days() for row in rows]
    with transaction.atomic():
        answer = take_in_signals(items=items, now=START + timedelta(days=50))
        transaction.set_rollback(True)
    assert (answer.duplicate, answer.refused, answer.stored) == (report.rows.stored, BAD, 0)


def test_report_names_figures_and_rules(report: Report) -> None:
    text = report.as_text()
    for words in (
        f"received {len(story()):,}",
        "Licence: after 28 days",
        "invariants hold",
        "Cross-sells that happened: 1",
    ):
        assert words in text
