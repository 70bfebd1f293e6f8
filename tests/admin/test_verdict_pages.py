"""Why, and why not, in the admin: of an account, of a trigger, now, at a moment, and as a run knew it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from csplaybooks.accounts.factories import AccountFactory, AccountTeamFactory, TeamMemberFactory
from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft, set_playbook_active
from csplaybooks.playbooks.factories import RunFactory
from csplaybooks.playbooks.models import Match, Play, Run, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.factories import PrunedDayFactory
from tests.admin.pages import url
from tests.playbooks.inputs import NOW, gate_hits
from tests.playbooks.knocking import DOCUMENT, a_trigger_and_five_accounts

DAY = timedelta(days=1)
NAME = "admin:csplaybooks_playbooks_trigger"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Any:
    """Time stands still."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def trigger() -> Trigger:
    """A trigger that runs, and five accounts."""
    return a_trigger_and_five_accounts()


def named(name: str) -> Account:
    """The account of a name."""
    row: Account = Account.objects.get(name=name)
    return row


def ran_before(trigger: Trigger, moment: datetime) -> Run:
    """A run of back then that evaluated the trigger."""
    run: Run = RunFactory(moment=moment, versions={str(trigger.pk): trigger.playbook.published_id})
    return run


def lines(html: str) -> dict[str, tuple[int, str]]:
    """What a table of counts says: number and link, by the words of the verdict."""
    rows = re.findall(r"<tr><td>(.*?)</td><td class=\"csplaybooks-number\">(?:<a href=\"(.*?)\">)?([\d,]+)", html)
    return {words: (int(number), link.replace("&amp;", "&")) for words, link, number in rows}


def test_the_account_page_says_why_not(boss: Client, trigger: Trigger) -> None:
    page = boss.get(url(Account, "change", named("empty").pk)).content.decode()
    assert "Why, and why not" in page
    assert re.search("Failed: [^<]*no reading", page)
    address = reverse(f"{NAME}_why", args=[named("empty").pk])
    assert f'href="{address}"' in page
    why = boss.get(address).content.decode()
    assert "feature gate hit: 3 in 7 days, needed at least 3" in why
    assert "its segment is small" in why
    assert "lets pass" in why
    held = boss.get(reverse(f"{NAME}_why", args=[named("fresh").pk])).content.decode()
    assert "Held by onboarding until" in held
    assert "holds" in held


def test_each_verdict_leads_to_its_play_its_match_and_the_other_accounts(boss: Client, trigger: Trigger) -> None:
    work(now=NOW)
    play = Play.objects.get()
    page = boss.get(
        reverse(f"{NAME}_why", args=[play.account_id]), {"run": Run.objects.latest("pk").pk}
    ).content.decode()
    for row in (play, Match.objects.get(account=play.account_id)):
        assert f'<a href="{url(type(row), "change", row.pk)}">{type(row).__name__} {row.pk}</a>' in page
    counts = reverse(f"{NAME}_verdicts", args=[trigger.pk])
    assert f'<a href="{counts}?run=' in page
    without = boss.get(reverse(f"{NAME}_why", args=[named("silent").pk])).content.decode()
    assert f'<a href="{counts}">' in without
    assert ">Match " not in without


def test_each_number_leads_to_its_accounts_and_they_add_up(boss: Client, trigger: Trigger) -> None:
    for address in (url(Trigger, "change", trigger.pk), reverse(f"{NAME}_verdicts", args=[trigger.pk])):
        page = boss.get(address).content.decode()
        found = lines(page)
        assert sum(number for number, _ in found.values()) == 5
        assert re.search(r"All accounts</th><td[^>]*>5<", page)
        for words, (number, link) in found.items():
            assert bool(number) == bool(link), words
            if link:
                answer = boss.get(link)
                assert len(answer.context["page"].object_list) == number, words
    assert found["Held by onboarding"][0] == 1
    names = [str(row) for row in boss.get(found["Held by onboarding"][1]).context["page"].object_list]
    assert names == ["fresh"]


def test_a_moment_and_a_run_are_asked_by_the_form(boss: Client, trigger: Trigger) -> None:
    run = Run.objects.latest("pk")
    ran_before(trigger, NOW - 3 * DAY)
    gate_hits("silent", 1, 2, 3, at=NOW - DAY)
    address = reverse(f"{NAME}_why", args=[named("silent").pk])
    assert re.search("Failed: [^<]*no reading", boss.get(address).content.decode())
    known = boss.get(address, {"run": run.pk}).content.decode()
    assert "Failed: feature gate hit: 0 in 7 days" in known
    assert f"As run {run.pk} knew it" in known
    before = boss.get(address, {"at": "2026-11-14T10:00"}).content.decode()
    assert "Failed: feature gate hit: 0 in 7 days" in before
    assert "with what is known of it today" in before
    # The links of the numbers ask about the same moment.
    counted = lines(boss.get(reverse(f"{NAME}_verdicts", args=[trigger.pk]), {"run": run.pk}).content.decode())
    assert all(f"run={run.pk}" in link for number, link in counted.values() if number)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"at": "2026-11-17T10:00"}, "This lies ahead"),
        ({"at": "soon"}, "Enter a valid date/time"),
        ({"at": "0001-06-03T00:00"}, "Ask from 2000-01-01 on."),
        ({"at": "1999-12-31T10:00"}, "Ask from 2000-01-01 on."),
        ({"run": "0"}, "greater than or equal to 1"),
        ({"run": "12345"}, "There is no run 12345."),
        ({"run": "1", "at": "2026-11-14T10:00"}, "Name a moment or a run, not both"),
    ],
)
def test_bad_questions_are_told_on_the_form(boss: Client, trigger: Trigger, query: dict[str, str], said: str) -> None:
    for name, pk in (("why", named("match").pk), ("verdicts", trigger.pk)):
        answer = boss.get(reverse(f"{NAME}_{name}", args=[pk]), query)
        assert answer.status_code == 200
        assert said in answer.content.decode()


def test_what_was_pruned_is_told_and_no_number_invented(boss: Client, trigger: Trigger) -> None:
    PrunedDayFactory(day=(NOW - 30 * DAY).date())
    ran_before(trigger, NOW - 100 * DAY)
    past = {"at": "2026-09-01T10:00"}
    for name, pk in (("why", named("match").pk), ("verdicts", trigger.pk)):
        assert "are pruned" in boss.get(reverse(f"{NAME}_{name}", args=[pk]), past).content.decode()
    answer = boss.get(reverse(f"{NAME}_accounts", args=[trigger.pk]), {"verdict": "failed:0:0", **past})
    assert "are pruned" in answer.content.decode()


def test_a_moment_is_asked_in_the_versions_that_ran_then(boss: Client, trigger: Trigger) -> None:
    first = Run.objects.get()
    later = DOCUMENT.replace("at_least: 3", "at_least: 4").replace("key: gates", "key: doors")
    with time_machine.travel(NOW + DAY, tick=False):
        publish_playbook(playbook_id=save_draft(text=later, now=NOW + DAY).pk, now=NOW + DAY)
        run_triggers(now=NOW + DAY, full=True)
    with time_machine.travel(NOW + 2 * DAY, tick=False):
        set_playbook_active(playbook_id=trigger.playbook_id, active=False, now=NOW + 2 * DAY)
        run_triggers(now=NOW + 2 * DAY, full=True)
    doors = Trigger.objects.get(key="doors")
    address = reverse(f"{NAME}_why", args=[named("match").pk])
    counts = [reverse(f"{NAME}_verdicts", args=[each.pk]) for each in (trigger, doors)]
    with time_machine.travel(NOW + 3 * DAY, tick=False):
        asked = {
            day: [boss.get(page, {"at": f"2026-11-{day}T12:00"}).content.decode() for page in (address, *counts)]
            for day in (15, 16, 17, 18)
        }
        now = [boss.get(page).content.decode() for page in (address, *counts)]
        run = boss.get(counts[1], {"run": first.pk}).content.decode()
    why, gates, doors_then = asked[16]
    assert "feature gate hit: 3 in 7 days, needed at least 3" in why
    assert sum(number for number, _ in lines(gates).values()) == 5
    assert "Run 1, the last one until then, did not evaluate this trigger." in doors_then.replace(
        f" {first.pk},", " 1,"
    )
    assert "needed at least 4" in asked[17][0]
    assert lines(asked[17][2])
    assert not lines(asked[17][1])
    assert "evaluated no playbook" in asked[18][0]
    assert all("There was no run until then." in page for page in asked[15])
    assert "No playbook runs." in now[0]
    assert all("This trigger does not run." in page for page in now[1:])
    assert f"Run {first.pk} did not evaluate this trigger." in run


def test_addresses_that_lead_nowhere(boss: Client, trigger: Trigger) -> None:
    assert boss.get(reverse(f"{NAME}_why", args=[0])).status_code == 404
    assert boss.get(reverse(f"{NAME}_verdicts", args=[0])).status_code == 404
    for verdict in ("", "won", "failed:0:9", "held:"):
        address = reverse(f"{NAME}_accounts", args=[trigger.pk])
        assert boss.get(address, {"verdict": verdict}).status_code == 404


def test_each_sees_the_accounts_that_they_look_after(
    boss: Client, trigger: Trigger, carla: Any, signed_in: Any
) -> None:
    colleague = TeamMemberFactory(name="Bob")
    for row in Account.objects.all():
        AccountTeamFactory(account=row, member=carla if row.name == "match" else colleague)
    csm = signed_in(carla.user)
    page = csm.get(reverse(f"{NAME}_verdicts", args=[trigger.pk])).content.decode()
    assert re.search(r"All accounts that you look after</th><td[^>]*>1<", page)
    assert csm.get(reverse(f"{NAME}_why", args=[named("match").pk])).status_code == 200
    assert csm.get(reverse(f"{NAME}_why", args=[named("empty").pk])).status_code == 404
    answer = csm.get(reverse(f"{NAME}_accounts", args=[trigger.pk]), {"verdict": "failed:0:0"})
    assert list(answer.context["page"].object_list) == []


def test_without_the_permission_nothing_is_shown(trigger: Trigger, carla: Any, signed_in: Any) -> None:
    AccountTeamFactory(account=named("match"), member=carla)
    carla.user.user_permissions.remove(
        *carla.user.user_permissions.filter(codename__in=["view_trigger", "change_trigger"])
    )
    csm = signed_in(carla.user)
    assert csm.get(reverse(f"{NAME}_why", args=[named("match").pk])).status_code == 403
    assert csm.get(reverse(f"{NAME}_verdicts", args=[trigger.pk])).status_code == 403
    assert "why not" not in csm.get(url(Account, "change", named("match").pk)).content.decode()


@pytest.mark.parametrize("more", [0, 12])
def test_queries_do_not_grow_with_accounts(
    boss: Client, trigger: Trigger, more: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(more):
        AccountFactory(name=f"more {number}")
    with django_assert_max_num_queries(20):
        boss.get(reverse(f"{NAME}_verdicts", args=[trigger.pk]))
    with django_assert_max_num_queries(20):
        boss.get(reverse(f"{NAME}_accounts", args=[trigger.pk]), {"verdict": "failed:0:0"})
    with django_assert_max_num_queries(22):
        boss.get(reverse(f"{NAME}_why", args=[named("match").pk]))
