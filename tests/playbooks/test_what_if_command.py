"""The command that asks what if."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from csplaybooks.accounts.factories import AccountFactory, EntitlementFactory, TeamMemberFactory
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.factories import DRAFT, PlaybookFactory
from csplaybooks.playbooks.management.commands import csplaybooks_whatif
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.factories import MeterFactory, ReadingFactory
from csplaybooks.signals.models import PrunedDay
from tests.playbooks.inputs import DAY

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
TEXT = DRAFT.format(key="more_seats", name="More seats", motion="seat_expansion")


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)
    MeterFactory(key="seats")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "more_seats.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def customers(db):
    carla = TeamMemberFactory(name="Carla")
    for name, used, health in (("Free Inc", 95, 90), ("Ill Inc", 90, 20), ("Calm Inc", 10, 90), ("Quiet", 10, 90)):
        account = AccountFactory(name=name, csm=carla)
        for key, value in (("seats", used), ("health", health)):
            meter = MeterFactory(key=key)
            ReadingFactory(
                account=account,
                meter=meter,
                used_milli=value * 1000,
                limit_milli=100_000,
                occurred_at=NOW - 2 * DAY,
            )
        EntitlementFactory(account=account)


def told(*args: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command("csplaybooks_whatif", *args, stdout=out, stderr=io.StringIO(), no_color=True, **options)
    return out.getvalue()


def refusal(*args: Any) -> str:
    with pytest.raises(CommandError) as refused:
        told(*args)
    said = str(refused.value)
    assert "\n" not in said
    return said


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_file_is_previewed_in_plain_tables(customers, file):
    text = told(str(file))
    assert text.startswith("More seats (more_seats), asked about 4 accounts; nothing of it runs.\n")
    table = lines(text)
    assert ["trigger", "matches", "held", "free", "stay", "new", "would", "end"] in table
    assert ["seats_above_80", "2", "1", "1", "0", "2", "0"] in table
    assert ["unhealthy", "1"] in table
    assert "\nMatches at 2 of 4 accounts.\n" in text
    assert ["Carla", "1", "1", "0", "40"] in table
    assert "Free Inc" not in text


def test_accounts_are_named_with_what_becomes_of_them(customers, file):
    text = told(str(file), "--accounts")
    assert "Free Inc  seats_above_80  free: CSM conversation, unknown; the account's CSM" in text
    assert "held by unhealthy: health is 20, needed at least 60" in text
    assert "Calm" not in text


def test_a_playbook_is_asked_about_as_it_runs_or_as_it_is_drafted(customers):
    playbook = save_draft(text=TEXT, now=NOW)
    assert "nothing of it is published yet: add --draft" in refusal("--playbook", "more_seats")
    publish_playbook(playbook_id=playbook.pk, now=NOW)
    save_draft(text=TEXT.replace("above: 80", "above: 99"), now=NOW)
    assert "version 1 runs" in told("--playbook", "more_seats")
    assert ["seats_above_80", "2", "1", "1", "0", "2", "0"] in lines(told("--playbook", "more_seats"))
    assert "Warning: “Seats above 80” matches nobody" in told("--playbook", "more_seats", "--draft")
    save_draft(text=TEXT.replace("seat_expansion", "service"), now=NOW)
    assert "more_seats: motion: the motion of a published" in refusal("--playbook", "more_seats", "--draft")


def test_the_past_is_told_with_its_episodes(customers, file):
    period = ("--from", "2026-11-10", "--to", "2026-11-15")
    text = told(str(file), *period, "--accounts")
    assert (
        "seats_above_80 from 2026-11-10 00:00 to 2026-11-16 00:00, asked 7 times, every 1d, as known now: "
        "2 episodes opened, 0 were there at the start, 2 last." in text
    )
    assert "Free Inc  2026-11-15 00:00  lasts" in text
    assert "0 episodes opened" in told(str(file), *period, "--as-known", "then", "--every", "6h")
    there = told(str(file), "--from", "2026-11-15", "--accounts")
    assert "2 were there at the start" in there
    assert "before 2026-11-15 00:00" in there


def test_progress_is_told_on_stderr_while_it_takes_long(customers, file, monkeypatch):
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr(f"{csplaybooks_whatif.__name__}.time.monotonic", lambda: next(ticks))
    err = io.StringIO()
    call_command("csplaybooks_whatif", str(file), "--from", "2026-11-15", stdout=io.StringIO(), stderr=err)
    assert err.getvalue() == "1 of 2 moments \n2 of 2 moments \n"


def test_what_is_pruned_is_refused_or_cut_in_a_line(customers, file):
    days = MeterFactory(key="seats").max_age_days
    before = NOW - (days + 5) * DAY
    PrunedDay.objects.create(day=before.date(), before=before, signals=0, readings=0, pruned_at=NOW)
    assert "are pruned" in refusal(str(file), "--from", "2025-01-01", "--to", "2025-02-01")
    assert "Warning: Answered from" in told(str(file), "--from", f"{(NOW - 20 * DAY).date()}")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Name a file, or a playbook"),
        (["{file}", "--playbook", "more_seats"], "Name a file, or a playbook"),
        (["{file}", "--draft"], "--draft goes with --playbook"),
        (["nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--playbook", "other"], "there is none of this key. There are: here"),
        (["{file}", "--to", "2026-11-10"], "add --from"),
        (["{file}", "--every", "1d"], "add --from"),
        (["{file}", "--from", "2027-01-01"], "still to come"),
        (["{file}", "--from", "2026-11-10", "--to", "2026-11-01"], "--to 2026-11-01 lies before --from"),
        (["{file}", "--from", "2026-01-01", "--every", "1m"], "at most 10,000"),
        (["{file}", "--from", "soon"], "is no day such as"),
        (["{file}", "--from", "1999-12-31"], "lies before 2000-01-01"),
        (["{file}", "--from", "2026-11-10", "--every", "0d"], "is no step such as"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(file, args, said):
    PlaybookFactory(key="here")
    assert said in refusal(*(arg.replace("{file}", str(file)) for arg in args))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("above: 80", "above: lots"), "triggers/0/any/0/all/0/above"),
        (TEXT.replace("[seats]", "[nothing]"), "there is no meter nothing"),
        ("key: [", "is not the YAML"),
    ],
)
def test_a_document_with_faults_is_told_in_one_line(file, text, said):
    file.write_text(text, encoding="utf-8")
    assert said in refusal(str(file))
    assert refusal(str(file)).startswith(str(file))


def test_a_file_that_is_no_text(file):
    file.write_bytes(b"key: \xff")
    assert "this is no text in UTF-8 (byte 5)" in refusal(str(file))


def test_triggers_that_a_draft_removes_have_a_row_so_that_the_sums_agree(customers):
    publish_playbook(playbook_id=save_draft(text=TEXT, now=NOW).pk, now=NOW)
    with pokes_silenced():
        run_triggers(now=NOW, full=True)
    save_draft(text=TEXT.replace("seats_above_80", "seats_high"), now=NOW)
    table = lines(told("--playbook", "more_seats", "--draft"))
    assert ["seats_high", "2", "1", "1", "0", "2", "0"] in table
    assert ["seats_above_80", "(removed)", "0", "0", "0", "0", "0", "2"] in table
    assert ["In", "all", "2", "1", "1", "0", "2", "2"] in table


def test_one_is_told_in_the_singular(file):
    ReadingFactory(meter=MeterFactory(key="seats"), used_milli=95_000, limit_milli=100_000, occurred_at=NOW - 2 * DAY)
    text = told(str(file), "--from", "2026-11-16")
    assert "asked about 1 account;" in text
    assert "asked 1 time, " in text
    assert "1 was there at the start, 1 lasts." in text
