"""The whole sample company, made once: what it shows, and that all of it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F, Min, Q, Sum
from django.db.models.functions import TruncDate

from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountTeam,
    Champion,
    ChampionChange,
    Entitlement,
    Finding,
    FindingState,
    Lifecycle,
    Movement,
    Qbr,
    TeamMember,
    TimelineEntry,
)
from csplaybooks.playbooks.demo.cast import SCRIPTS
from csplaybooks.playbooks.demo.company import STORY, Told, made_at, make_company
from csplaybooks.playbooks.demo.customers import Plot
from csplaybooks.playbooks.demo.live_cast import make_live_cast
from csplaybooks.playbooks.demo.people import MOVER, MOVES_FROM, MOVES_TO
from csplaybooks.playbooks.demo.seasons import is_working_day
from csplaybooks.playbooks.demo.vendor import SIGN_INS
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import (
    Clock,
    ClockEvent,
    Credit,
    Handoff,
    Interval,
    Match,
    Play,
    Playbook,
    Run,
    Touch,
)
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import matches_after, replay_run, run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import IntakeBatch, Reading, Signal

#: A Sunday, at night.
SUNDAY = datetime(2026, 11, 22, 23, 30, 15, 250, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def grown_up(django_db_setup: None, django_db_blocker: Any) -> Iterator[Told]:
    """The whole company, made once for the tests that only look at it, which `tests.together` keeps in one process."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_company(now=SUNDAY)
        transaction.set_rollback(True)


def paid_on(day: date) -> dict[int, int]:
    """What each account that pays on a day pays a month, from the ledger."""
    lines = Movement.objects.filter(effective_on__lte=day).values_list("account")
    return {account: amount for account, amount in lines.annotate(sum=Sum("amount_minor")) if amount}


def test_retention_is_that_of_a_healthy_vendor(grown_up: Told) -> None:
    opening, closing = paid_on(SUNDAY.date() - timedelta(days=365)), paid_on(SUNDAY.date())
    total = sum(opening.values())

    net = sum(closing.get(account, 0) for account in opening) / total
    gross = sum(min(amount, closing.get(account, 0)) for account, amount in opening.items()) / total
    left = sum(account not in closing for account in opening) / len(opening)
    assert 1.05 <= net <= 1.15
    assert 0.88 <= gross <= 0.93
    assert 0.06 <= left <= 0.10
    # Others came meanwhile, and some were there long before the story.
    assert len(closing) > len(opening) - left * len(opening) + 20
    first = Movement.objects.values("account").annotate(day=Min("effective_on")).values_list("day", flat=True)
    assert len({(day.year, (day.month - 1) // 3) for day in first}) >= 12


def test_the_ledger_says_what_is_held(grown_up: Told) -> None:
    for back in (0, 91, 182, 364, 500):
        at = SUNDAY - timedelta(days=back)
        held = Entitlement.objects.holding_at(at).values_list("account")
        assert dict(held.annotate(sum=Sum("mrr_minor"))) == paid_on(at.date())


def test_a_company_is_whole_and_lived_in(grown_up: Told) -> None:
    assert [violation for violation in violations() if violation.count] == []
    assert grown_up.accounts == 200
    assert grown_up.signals == Signal.objects.count()
    assert 60_000 <= grown_up.signals <= 90_000
    assert grown_up.readings == Reading.objects.count()
    assert IntakeBatch.objects.filter(duplicate__gt=0).exists()
    assert IntakeBatch.objects.filter(refused__gt=0).exists()
    # People have worked: plays in every stage and with every outcome, and promises kept and broken.
    assert set(Play.objects.values_list("stage", flat=True)) >= {"owned", "running", "closed"}
    assert set(Play.objects.values_list("outcome", flat=True)) >= {"", "won", "lost", "declined", "expired"}
    assert set(Play.objects.values_list("route", flat=True)) == {"self_serve", "email", "csm", "sales"}
    assert set(Play.objects.values_list("origin", flat=True)) == {"match", "hand"}
    assert set(Clock.objects.values_list("state", flat=True)) >= {"running", "met", "missed"}
    assert set(ClockEvent.objects.values_list("kind", flat=True)) == {"warned", "breached", "escalated"}
    # What nobody has room for waits in the tray, where a manager finds it: a handful, and nothing else waits.
    unowned = Play.objects.filter(stage="routed")
    assert unowned.filter(tray_at__isnull=False).count() == unowned.count() <= 8
    assert not Play.objects.filter(outcome__in=["lost", "declined"], outcome_reason="").exists()
    assert Interval.objects.filter(state="paused", valid_to__isnull=False).exists()
    fired = Play.objects.filter(origin="match").values("playbook").distinct()
    assert fired.count() == Playbook.objects.count()
    # And there is more to a customer than plays.
    assert set(ChampionChange.objects.values_list("kind", flat=True)) == set(ChampionChange.Kind.values)
    assert set(FindingState.objects.values_list("status", flat=True)) == set(FindingState.Status.values)
    assert set(Finding.objects.values_list("kind", flat=True)) == set(Finding.Kind.values)
    assert Qbr.objects.filter(account__in=Account.objects.all(), next_on__lt=SUNDAY.date()).exists()
    assert set(AccountFacts.objects.current().values_list("lifecycle", flat=True)) == set(Lifecycle.values)
    assert made_at() == SUNDAY


def test_plays_for_sales_are_handed_over(grown_up: Told) -> None:
    answers = Counter(Handoff.objects.values_list("answer", flat=True))
    assert answers.total() >= 20
    assert answers["accepted"] > answers.total() / 2
    assert min(answers["refused"], answers["taken_back"], answers["expired"]) >= 1
    # Somebody finds one waiting, and it is the executive who can sign in; others were made by the last runs.
    waiting: Any = Handoff.objects.filter(answer="waiting")
    assert not waiting.filter(offered_at__lt=SUNDAY - timedelta(days=4)).exists()
    friday: Any = waiting.filter(offered_at__date=SUNDAY.date() - timedelta(days=2)).latest("offered_at")
    assert friday.offered_to.user.username == SIGN_INS["ae"]
    assert friday.context["found"]
    # The routing offered every play for sales that it gave to a CSM, or said why not.
    offered = Play.objects.filter(route="sales", handoffs__isnull=False).distinct().count()
    assert offered >= 20
    assert not Handoff.objects.filter(answer="refused", reason="").exists()
    # Most were answered within the promise, some were not.
    clocks = Counter(Clock.objects.filter(target="handoff_accepted").values_list("state", flat=True))
    assert clocks["met"] > clocks["missed"] >= 1
    # Who accepted worked it to its end.
    accepted = Play.objects.filter(handoffs__answer="accepted")
    assert set(accepted.values_list("owner__is_account_executive", flat=True)) == {True}
    assert {"won", "lost"} <= set(accepted.values_list("outcome", flat=True))


def test_what_plays_won_is_credited_and_what_they_did_not_win_is_not(grown_up: Told) -> None:
    assert Credit.objects.count() > 50
    assert not Credit.objects.exclude(play__outcome="won", amount_minor=F("movement__amount_minor")).exists()
    assert not Credit.objects.exclude(movement__account=F("play__account")).exists()
    assert not Credit.objects.filter(movement__effective_on__lt=TruncDate("play__opened_at")).exists()
    assert Movement.objects.filter(credit__isnull=True, motion__gt="", amount_minor__gt=0).count() > 20
    # One who left came back, and most who left had paid less before.
    assert Movement.objects.filter(note="Came back").exists()
    assert Movement.objects.filter(note__startswith="Renewed", amount_minor__gt=0).count() == 0


def test_nothing_happens_before_its_time_or_after_hours(grown_up: Told) -> None:
    start = SUNDAY - STORY - timedelta(days=1)
    for events in (Signal.objects.all(), Reading.objects.all()):
        assert not events.filter(occurred_at__gt=SUNDAY).exists()
        assert not events.filter(occurred_at__lt=start).exists()
        assert not events.filter(occurred_at__lt=F("account__created_at")).exists()
    assert not Play.objects.filter(opened_at__lt=F("account__created_at")).exists()
    assert not TimelineEntry.objects.filter(recorded_at__gt=SUNDAY).exists()
    worked = [
        *Qbr.objects.values_list("held_at", flat=True),
        *Qbr.objects.values_list("updated_at", flat=True),
        *Touch.objects.values_list("at", flat=True),
        *Play.objects.filter(outcome__in=["won", "lost", "declined"]).values_list("closed_at", flat=True),
        *TimelineEntry.objects.exclude(actor_label="system").values_list("recorded_at", flat=True),
    ]
    assert [at for at in worked if not is_working_day(at.date()) or not 8 <= at.hour < 18] == []
    # The week and the year can be seen.
    on_weekends = Signal.objects.filter(occurred_at__iso_week_day__gte=6).count()
    assert on_weekends < Signal.objects.count() / 12
    by_month = {
        month: Signal.objects.filter(occurred_at__year=2026, occurred_at__month=month).count() for month in (5, 6, 8)
    }
    assert by_month[8] < 0.9 * by_month[6]


def test_every_run_can_be_asked_again(grown_up: Told) -> None:
    runs = list(Run.objects.order_by("pk"))
    assert len(runs) > 25
    for run in (*runs[:: len(runs) // 5], runs[-1]):
        assert replay_run(run) == matches_after(run)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_who_has_a_name_has_a_story(grown_up: Told, script: Any) -> None:
    account = Account.objects.get(name=script.name)
    lines = list(account.movements.order_by("effective_on", "pk").values_list("note", flat=True))
    facts = account.facts.current().get()
    if script.plot in (Plot.LEAVER, Plot.RETURNER):
        assert any(note.startswith("Did not renew") for note in lines)
        assert facts.lifecycle == ("churned" if script.plot == Plot.LEAVER else "paying")
        assert ("Came back" in lines) == (script.plot == Plot.RETURNER)
    elif script.plot == Plot.FADER:
        assert any(note.startswith("Renewed") for note in lines)
    elif script.plot == Plot.STUCK:
        assert facts.activated_on is None
    else:
        assert facts.lifecycle == "paying"
        assert paid_on(SUNDAY.date())[account.pk] >= account.movements.earliest("effective_on", "pk").amount_minor
    assert (lines[0] == "New customer") == (script.joins is not None)


def test_a_champion_has_moved_on_to_another_customer(grown_up: Told) -> None:
    there, here = Champion.objects.filter(name=MOVER).order_by("pk")
    assert (there.account.name, here.account.name) == (MOVES_FROM, MOVES_TO)
    assert there.left_on is not None
    assert here.changes.get().kind == "new_executive"
    # It opened a play, or went to one that was open.
    moved = Match.objects.filter(account=here.account, trigger__playbook__key="champion_moved_up")
    assert moved.filter(state__in=[Match.State.FIRED, Match.State.FOLDED], play__isnull=False).exists()


def test_who_left_the_team_left_nothing_behind(grown_up: Told) -> None:
    leaver = TeamMember.objects.get(is_active=False)
    assert not Play.objects.open().filter(Q(owner=leaver) | Q(holder=leaver)).exists()
    assert not AccountTeam.objects.current().filter(member=leaver).exists()
    assert Interval.objects.filter(owner=leaver).exists()


def test_the_live_mode_finds_where_to_tell_a_story(grown_up: Told, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(12):
        cast = make_live_cast(now=SUNDAY, seed=3, address="http://there/api/v1", token="t")

    assert cast == make_live_cast(now=SUNDAY, seed=3, address="http://there/api/v1", token="t")
    assert "acme" not in cast.accounts
    told = [story["account"] for story in cast.stories]
    assert len(told) == len(set(told)) > 20
    assert "acme" not in told
    assert len(cast.as_json()) < 100_000
    # What is told opens a play, each time for the playbook that was named.
    with transaction.atomic():
        for story in cast.stories[:10]:
            for number, post in enumerate(story["posts"]):
                items = [
                    {
                        "source": "product",
                        "external_id": f"{story['account']}-{number}-{place}",
                        "account": story["account"],
                        "occurred_at": SUNDAY.isoformat(),
                        **item,
                    }
                    for place, item in enumerate(post["items"])
                ]
                take_in = take_in_signals if post["endpoint"] == "signals" else take_in_readings
                assert take_in(items=items, now=SUNDAY).stored == len(items)
        run_triggers(now=SUNDAY)
        work(now=SUNDAY)
        for story in cast.stories[:10]:
            opened = Play.objects.filter(opened_at=SUNDAY, account__identities__external_id=story["account"])
            assert story["line"].rpartition(": ")[2].rstrip(".") in {play.playbook.name for play in opened}
        transaction.set_rollback(True)
