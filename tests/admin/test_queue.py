"""The queue, the sums of a run and the close rate, as people see them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from csplaybooks.accounts.factories import AccountFactory, AccountTeamFactory, TeamMemberFactory
from csplaybooks.playbooks.factories import (
    MatchFactory,
    PlaybookFactory,
    PlaybookVersionFactory,
    PlayFactory,
    RunFactory,
    TriggerFactory,
)
from csplaybooks.playbooks.models import Match, MatchStep, Playbook, Run, Trigger
from tests.admin.pages import url

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db

QUEUE = f"{url(Match, 'changelist')}?queue=waits"


@pytest.fixture(autouse=True)
def clock() -> Any:
    """Time stands still."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def queue() -> list[Match]:
    """Three matches that wait, in the order of the queue, and one that was let in; no CSM has room for more."""
    version, run = PlaybookVersionFactory(), RunFactory(moment=NOW)
    made = {
        name: MatchFactory(
            waits=True,
            version=version,
            opened_run=run,
            route="csm",
            account=AccountFactory(name=name),
            expected_amount_minor=worth and worth * 2,
            expected_value_minor=worth,
        )
        for name, worth in (("Unknown", None), ("Small", 10_000), ("Large", 90_000))
    }
    MatchFactory(version=version, opened_run=run, account=AccountFactory(name="Let in"))
    PlayFactory(owner=TeamMemberFactory(open_play_cap=2), opened_at=NOW)
    return [made["Large"], made["Small"], made["Unknown"]]


def sums_of(page: str) -> list[dict[str, list[str]]]:
    """The sums on the page of a run: of each its rows, by the name they begin with."""
    sums = []
    for table in re.findall(r'<div class="csplaybooks-sum">(.*?)</div>', page, re.DOTALL):
        rows = [re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", table)]
        sums.append({re.sub(r"<[^>]+>", "", name): numbers for name, *numbers in rows})
    return sums


def rows_of(response: Any) -> list[str]:
    return [str(match.account) for match in response.context["cl"].result_list]


def test_what_waits_is_listed_in_its_order_with_value_place_and_room(boss: Client, queue: list[Match]) -> None:
    response = boss.get(QUEUE)
    assert rows_of(response) == ["Large", "Small", "Unknown"]
    assert [match.place for match in response.context["cl"].result_list] == [1, 2, 3]
    page = response.content.decode()
    assert "900.00 USD" in page
    assert "Nov. 30, 2026" in page
    assert "3 wait for customer success managers (0 free places)." in page


def test_who_sees_a_part_of_what_waits_reads_how_many_of_all(
    boss: Client, csm: Client, carla: Any, queue: list[Match]
) -> None:
    MatchFactory(waits=True, version=queue[0].version, route="csm", account=AccountFactory(csm=TeamMemberFactory()))

    def said(client: Client) -> str:
        return str(client.get(QUEUE).context["subtitle"])

    waits = "4 wait for customer success managers (80 free places)"
    assert said(boss) == f"{waits}."
    # The colleague's account is not hers to see; those without a CSM are everybody's.
    assert said(csm) == f"Of all accounts, {waits}. You see 3 of them."
    for match in queue:
        AccountTeamFactory(account=match.account, member=TeamMemberFactory(), role="csm")
    assert said(csm).endswith(" You see none of them.")
    Match.objects.waiting().update(state="expired")
    assert said(csm) == "No match waits for room."


def test_a_place_is_that_in_the_whole_queue(boss: Client, queue: list[Match]) -> None:
    response = boss.get(f"{QUEUE}&q=Unknown")
    assert rows_of(response) == ["Unknown"]
    assert [match.place for match in response.context["cl"].result_list] == [3]


def test_the_others_are_listed_as_ever(boss: Client, queue: list[Match]) -> None:
    response = boss.get(f"{url(Match, 'changelist')}?queue=in")
    assert rows_of(response) == ["Let in"]
    assert "Place" not in response.content.decode()


def test_the_page_of_a_match_says_why_it_waits_and_each_step(boss: Client, queue: list[Match]) -> None:
    page = boss.get(url(Match, "change", queue[1].pk)).content.decode()
    assert "Waits, in place 2 of 3: nobody who may own it is here and under their cap." in page
    assert "200.00 USD" in page
    assert "100.00 USD" in page
    step = queue[1].steps.get()
    MatchStep.objects.create(
        match=queue[1], run=step.run, in_run=False, at=NOW, state="held", held_by="not_paying", held_reason="a trial"
    )
    page = boss.get(url(Match, "change", queue[1].pk)).content.decode()
    assert "Held by not paying" in page
    assert "a trial" in page
    let_in = Match.objects.get(account__name="Let in")
    page = boss.get(url(Match, "change", let_in.pk)).content.decode()
    assert "There is room: it becomes a play as soon as a worker comes by." in page


def test_the_runs_say_how_many_wait(boss: Client, queue: list[Match]) -> None:
    assert "3 wait for customer success managers" in boss.get(url(Run, "changelist")).content.decode()
    Match.objects.waiting().update(state="expired")
    assert "No match waits for room." in boss.get(url(Run, "changelist")).content.decode()


def test_a_run_shows_both_sums_with_their_totals(boss: Client) -> None:
    first, second = (TriggerFactory(playbook=PlaybookFactory(key=key), key=f"{key}_trigger") for key in ("aa", "bb"))
    episodes = {"all": 7, "fired": 1, "folded": 1, "held": 1, "queued": 2, "expired": 1, "ended": 1}
    counts = {"matched": 5, "opened": 2, "closed": 1, "episodes": episodes}
    verdicts = {"outside": 80, "failed:0:0": 10, "failed:0:1": 5, "held:unhealthy": 1, "queued": 2, "still_matching": 2}
    run = RunFactory(
        kind="full",
        counts={str(first.pk): {**counts, "verdicts": verdicts}, str(second.pk): counts},
        inputs={"capacities": {"csm": 4, "ae": None}},
    )
    page = boss.get(url(Run, "change", run.pk)).content.decode()
    episodes_sum, verdicts_sum = sums_of(page)
    assert list(episodes_sum) == ["Trigger", "aa.aa_trigger", "bb.bb_trigger", "All together"]
    assert episodes_sum["Trigger"][:4] == ["Match now", "Opened", "Closed", "Episodes ever"]
    assert episodes_sum["aa.aa_trigger"] == ["5", "2", "1", "7", "1", "1", "1", "2", "1", "1"]
    assert episodes_sum["All together"] == ["10", "4", "2", "14", "2", "2", "2", "4", "2", "2"]
    assert list(verdicts_sum) == ["Trigger", "aa.aa_trigger"]
    assert verdicts_sum["aa.aa_trigger"] == ["100", "80", "15", "1", "0", "2", "0", "2", "0"]
    assert 'data-heading="Episodes ever">14</td>' in page
    assert "Customer success managers: 4 free places" in page
    assert "Account executives: nobody belongs to them" in page
    one_place = RunFactory(counts={str(first.pk): counts}, inputs={"capacities": {"ae": 1}})
    assert "Account executives: 1 free place<" in boss.get(url(Run, "change", one_place.pk)).content.decode()
    page = boss.get(url(Run, "change", RunFactory(counts={str(first.pk): counts}).pk)).content.decode()
    assert "Only counted where a run looks at all accounts, or at a part of them." in page
    assert "Nothing waited for room." in page


def test_the_sums_of_a_run_are_in_the_order_of_the_names(boss: Client) -> None:
    """Whatever the order of their ids; a trigger that is gone comes last, and what was not counted is no zero."""
    keys = [("b", "one"), ("a", "two"), ("a", "one")]
    made = [TriggerFactory(playbook=PlaybookFactory(key=f"{playbook}_book"), key=key) for playbook, key in keys[:2]]
    made.append(TriggerFactory(playbook=made[1].playbook, key="one"))
    counts = {"matched": 12_345, "opened": 0, "closed": 0, "verdicts": {"outside": 1}}
    run = RunFactory(kind="full", counts={str(pk): counts for pk in (*(trigger.pk for trigger in made), 999_999)})
    episodes, verdicts = sums_of(boss.get(url(Run, "change", run.pk)).content.decode())
    names = ["a_book.one", "a_book.two", "b_book.one", "a trigger that is gone"]
    assert list(episodes) == ["Trigger", *names, "All together"]
    assert list(verdicts) == ["Trigger", *names]
    assert episodes["b_book.one"] == ["12,345", "0", "0", *["-"] * 7]


def test_a_run_that_counted_nothing_shows_no_sum(boss: Client) -> None:
    assert sums_of(boss.get(url(Run, "change", RunFactory(counts={}).pk)).content.decode()) == []


def test_a_trigger_shows_its_episodes_by_state_as_far_as_one_sees_them(
    boss: Client, csm: Client, carla: Any, queue: list[Match]
) -> None:
    MatchFactory(version=queue[0].version, account=AccountFactory(csm=TeamMemberFactory()), state="expired")
    address = url(Trigger, "change", queue[0].trigger_id)
    assert "<tr><td>Queued</td><td>4</td></tr>" in boss.get(address).content.decode()
    assert "<tr><td>All</td><td>5</td></tr>" in boss.get(address).content.decode()
    # The colleague's account is not hers to see; those without a CSM are everybody's.
    assert "<tr><td>All</td><td>4</td></tr>" in csm.get(address).content.decode()


def test_a_playbook_shows_its_close_rate(boss: Client) -> None:
    playbook = PlaybookVersionFactory().playbook
    page = boss.get(url(Playbook, "change", playbook.pk)).content.decode()
    assert "50 %: the middle of the field&#x27;s 40 to 60 %, until 30 of its own plays have closed (0 so far)" in page


def test_the_queue_costs_the_same_however_long_it_is(
    boss: Client, queue: list[Match], django_assert_num_queries: Any
) -> None:
    boss.get(QUEUE)
    with django_assert_num_queries(16) as few:
        boss.get(QUEUE)
    for _ in range(20):
        MatchFactory(waits=True, version=queue[0].version, opened_run=queue[0].opened_run, route="csm")
    with django_assert_num_queries(len(few)):
        boss.get(QUEUE)
