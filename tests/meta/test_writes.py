"""Every write goes through an act: in the text of the package, and when each form of the admin is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import reverse

from csplaybooks.accounts import factories as accounts
from csplaybooks.accounts import models as who
from csplaybooks.accounts.models import TimelineEntry
from csplaybooks.admin_base import ActAdmin, BaseAdmin, ReadOnlyAdmin
from csplaybooks.playbooks import factories as playbooks
from csplaybooks.playbooks import models as what
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.signals import factories as signals
from csplaybooks.signals import models as events
from tests.admin.pages import send, url
from tests.admin.rows import MODELS, make
from tests.meta.writes import relations, sources, writes_in

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

#: Where acts live.
ACTS = ("accounts/acts/", "signals/acts/", "playbooks/acts/")

#: Who else may write, and why: a module, or a folder with a slash at its end.
ALLOWED = {
    "accounts/authentication.py": "notes when a token was last used, which is no business act",
    "accounts/factories.py": "rows for tests and the sample company, written past the acts on purpose",
    "playbooks/factories.py": "as in accounts",
    "signals/intake/": "the intake is an act of its own: batches, signals and readings by COPY-like statements",
    "playbooks/budget.py": "what runs and the sweep let in from the queue, under the lease of runs",
    "playbooks/clockwork.py": "saves what the acts and the watcher have it compute of clocks, in their transactions",
    "playbooks/compiled.py": "only reads: runs the evaluator's compiled SELECT",
    "playbooks/demo/": "the sample company's past, written into a database of its own",
    "playbooks/episodes.py": "the runs' writer of matches",
    "playbooks/heartbeats.py": "the heartbeats of worker processes, which are no business acts",
    "playbooks/intervals.py": "the one writer of intervals, called by the acts and the pipeline in their transactions",
    "playbooks/leases.py": "the leases of scheduled work",
    "playbooks/reports/spans.py": "only reads: sums of time, a SELECT around a query of Django's",
    "playbooks/pipeline/": "the pipeline: its five functions claim rows and move them, and write the timeline",
    "playbooks/replay/": "recorded activity, written into a database of its own",
    "playbooks/rounds.py": "the rounds of runs over all accounts",
    "playbooks/runs.py": "the runs of the evaluator",
    "playbooks/steps.py": "the one writer of steps, called by runs and the pipeline in their transactions",
    "playbooks/stepwork.py": "due times and ends of plays' steps, called by acts and by the writer of intervals",
}

#: What may never be allowed to write.
NEVER = ("/admin", "/api", "/tasks.py", "/management/", "/receivers.py", "/models/", "/csplaybooks/")


def _covered(path: str) -> bool:
    return any(path == name or (name.endswith("/") and path.startswith(name)) for name in (*ACTS, *ALLOWED))


def _found() -> dict[str, list[tuple[int, str]]]:
    names = relations()
    return {path: found for path, text in sources() if (found := writes_in(text, names))}


# In the text


def test_only_acts_and_those_named_here_write():
    strays = {path: found for path, found in _found().items() if not _covered(path)}
    assert not strays, "Move these writes into an act, or name the module with the reason in ALLOWED."


def test_nobody_is_named_without_need():
    writing = set(_found())
    unneeded = [name for name in ALLOWED if not any(path.startswith(name) for path in writing)]
    assert not unneeded, "These write nothing: take them out of ALLOWED."


def test_callers_of_acts_are_never_allowed():
    assert not [name for name in ALLOWED if any(part in f"/{name}" for part in NEVER)]


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("Play.objects.filter(pk=1).update(stage='closed')", True),
        ("values.update({'stage': 'closed'})", False),
        ("options.connection_kwargs.update(timeout=3)", False),
        ("play.save(update_fields=['stage'])", True),
        ("await play.asave()", True),
        ("formset.save(commit=False)", False),
        ("formset.save()", True),
        ("queryset.delete()", True),
        ("queryset._raw_delete('default')", True),
        ("Play.objects.get_or_create(pk=1)", True),
        ("qbr.attendees.set([])", True),
        ("seen.add(1)", False),
        ("PlayFactory(account=1)", True),
        ("cursor.execute('SELECT 1')", False),
        ("cursor.execute('DELETE FROM play')", True),
        ("cursor.execute(f'INSERT INTO {table} VALUES (1)')", True),
        ("cursor.execute(sql)", True),
    ],
)
def test_what_counts_as_a_write(line, writes):
    source = f"async def act():\n    {line}\n" if line.startswith("await") else line
    assert bool(writes_in(source, relations())) is writes


# When forms are sent


def test_pages_are_written_by_acts_or_not_at_all():
    for model in MODELS:
        page: Any = admin.site.get_model_admin(model)
        assert isinstance(page, ActAdmin | ReadOnlyAdmin), model
        if not isinstance(page, ActAdmin):
            assert not page.deletable, model
        for name in ("save_model", "delete_model", "delete_queryset", "save_related"):
            owner = next(base for base in type(page).__mro__ if name in vars(base))
            assert owner in (ActAdmin, BaseAdmin) or not isinstance(page, ActAdmin), (model, name)


def _account() -> Any:
    return accounts.AccountFactory()


Values = Callable[[], dict[str, Any]]

#: What is filled in when a row is added; None where no form adds one.
ADDED: dict[Any, Values | None] = {
    who.Absence: lambda: {
        "member": accounts.TeamMemberFactory().pk,
        "first_day": "2026-12-21",
        "last_day": "2026-12-31",
    },
    who.Account: lambda: {"name": "Acme"},
    who.ApiToken: lambda: {"name": "Telemetry", "scopes": ["signals:write"]},
    who.Champion: lambda: {"account": _account().pk, "name": "Ada"},
    who.Entitlement: lambda: {
        "account": _account().pk,
        "subscription": "sub-9",
        "product": accounts.ProductFactory().pk,
        "mrr_minor": "500.00",
    },
    who.Feature: lambda: {"product": accounts.ProductFactory().pk, "key": "export", "name": "Export"},
    who.Finding: lambda: {"account": _account().pk, "kind": "risk", "text": "Sponsor leaves"},
    who.Plan: lambda: {"product": accounts.ProductFactory().pk, "key": "gold", "name": "Gold", "rank": 7},
    who.Product: lambda: {"key": "nova", "name": "Nova"},
    who.Qbr: lambda: {"account": _account().pk, "held_at_0": "2026-11-13", "held_at_1": "15:00:00"},
    who.TeamMember: lambda: {"name": "Carla", "is_customer_success_manager": "on"},
    events.Meter: lambda: {"key": "disk", "name": "Disk"},
    events.ReadinessWeights: lambda: {
        "source": f"motions: {{tier_upsell: {{{signals.SignalTypeFactory().key}: {{weight: 8}}}}}}",
        "opened_number": 0,
    },
    events.SignalType: lambda: {"key": "shared", "name": "Shared"},
    what.Calendar: lambda: {
        "key": "office",
        "name": "Office",
        "zone": "UTC",
        "blocks-TOTAL_FORMS": 1,
        "blocks-0-weekday": "0",
        "blocks-0-start_minute": "9:00",
        "blocks-0-end_minute": "17:00",
    },
    what.CalendarUse: lambda: {"calendar": playbooks.CalendarFactory().pk, "region": "EMEA"},
    what.MailDraft: None,
    what.NoticeSettings: lambda: {"member": accounts.TeamMemberFactory().pk},
    what.Suppression: lambda: {"address": "Ada@Example.com", "source": "unsubscribed"},
    what.HolidayImport: lambda: {"calendar": playbooks.CalendarFactory().pk, "country": "DE", "years": "2026"},
    what.Play: lambda: {
        "account": _account().pk,
        "playbook": playbooks.PlaybookVersionFactory().playbook.pk,
        "reason": "They asked for it.",
    },
    what.Playbook: lambda: {"draft": DRAFT.format(key="more_seats", name="More seats", motion="seat_expansion")},
}

#: What is changed on a row's form; None where the form never changes a row.
CHANGED: dict[Any, Callable[[Any], dict[str, Any]] | None] = {
    who.Absence: lambda row: {"last_day": "2026-12-31"},
    who.Account: lambda row: {"name": "Renamed"},
    who.ApiToken: None,
    who.Champion: lambda row: {"title": "Vice president"},
    who.Entitlement: None,
    who.Feature: lambda row: {"name": "Renamed"},
    who.Finding: None,
    who.Plan: lambda row: {"price_minor": "99.50"},
    who.Product: lambda row: {"name": "Renamed"},
    who.Qbr: lambda row: {"summary": "Better."},
    who.TeamMember: lambda row: {"open_play_cap": 7},
    events.Meter: lambda row: {"max_age_days": 7},
    events.ReadinessWeights: None,
    events.SignalType: lambda row: {"name": "Renamed"},
    what.Calendar: lambda row: {"name": "Renamed"},
    what.CalendarUse: lambda row: {"member": "", "region": "EMEA"},
    what.MailDraft: lambda row: {"subject": "Read this"},
    what.NoticeSettings: lambda row: {"assigned": "off"},
    what.Suppression: lambda row: {"reason": "They wrote so."},
    what.HolidayImport: None,
    what.Play: None,
    what.Playbook: lambda row: {"draft": row.draft.replace("hours: 8", "hours: 4")},
}

#: What the timeline tells of where that is not the row itself: a line tells of what the account holds.
SUBJECTS: dict[Any, Callable[[Any], Any]] = {
    who.Entitlement: lambda row: row.product,
    what.HolidayImport: lambda row: row.calendar,
    what.MailDraft: lambda row: row.play,
}

with_a_form = [model for model in MODELS if isinstance(admin.site.get_model_admin(model), ActAdmin)]
with_an_add = [model for model in with_a_form if ADDED.get(model, True)]
with_an_edit = [model for model in with_a_form if CHANGED.get(model)]
deletable = [model for model in with_a_form if getattr(admin.site.get_model_admin(model), "deletable", False)]


def _named(models: list[Any]) -> Any:
    return pytest.mark.parametrize("model", models, ids=lambda model: model.__name__)


@contextmanager
def only_acts_write() -> Iterator[None]:
    """Fails for every statement that writes one of our tables with no act among its callers."""

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) and "csplaybooks_" in sql:
            frame = sys._getframe()
            callers = []
            while frame is not None:
                callers.append(frame.f_code.co_filename)
                frame = frame.f_back  # type: ignore[assignment]  # ends with None
            assert any("/acts/" in caller for caller in callers), f"written past the acts: {sql[:200]}"
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield


@pytest.fixture
def moment(time_machine: Any) -> None:
    time_machine.move_to(NOW, tick=False)


def subject_of(model: Any, pk: int) -> tuple[str, int]:
    """What lines about a row tell of: type and id."""
    if model not in SUBJECTS:
        return model._meta.label_lower, pk
    subject = SUBJECTS[model](model.objects.get(pk=pk))
    return subject._meta.label_lower, subject.pk


def told_of(subject: tuple[str, int], before: int) -> list[Any]:
    """The new lines of the timeline about a subject, each of which must name who did it."""
    kind, subject_id = subject
    lines = TimelineEntry.objects.filter(pk__gt=before, subject_type=kind, subject_id=subject_id)
    return [(line.actor and line.actor.get_username(), line.actor_label) for line in lines]


def last_line() -> int:
    return TimelineEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def test_every_form_is_filled_in_below():
    assert set(ADDED) == set(CHANGED) == set(with_a_form)


@pytest.mark.django_db
@_named(with_an_add)
def test_added_row_names_who_added_it(model, boss, moment):
    fill_in = ADDED[model]
    assert fill_in is not None
    values = fill_in()
    before, there = last_line(), set(model.objects.values_list("pk", flat=True))
    with only_acts_write():
        response = send(boss, url(model, "add"), **values)
    assert response.status_code == 302, response.context["errors"]
    [pk] = set(model.objects.values_list("pk", flat=True)) - there
    assert told_of(subject_of(model, pk), before) == [("chief", "chief")]


@pytest.mark.django_db
@_named(with_an_edit)
def test_changed_row_names_who_changed_it(model, boss, moment):
    row = playbooks.PlaybookVersionFactory().playbook if model is what.Playbook else make(model)[0]
    row.refresh_from_db()
    version, before = row.version, last_line()
    fill_in = CHANGED[model]
    assert fill_in is not None
    with only_acts_write():
        response = send(boss, url(model, "change", row.pk), **fill_in(row))
    assert response.status_code == 302, response.context["errors"]
    row.refresh_from_db()
    assert row.version == version + 1
    assert told_of(subject_of(model, row.pk), before) == [("chief", "chief")]
    # Nothing is changed this time: nothing is written, and nothing told.
    before = last_line()
    assert send(boss, url(model, "change", row.pk)).status_code == 302
    row.refresh_from_db()
    assert (row.version, last_line()) == (version + 1, before)


@pytest.mark.django_db
@_named([model for model in with_a_form if CHANGED.get(model) is None])
def test_form_that_changes_nothing_cannot_be_sent(model, boss):
    [row] = make(model)
    assert boss.post(url(model, "change", row.pk), {}).status_code == 403


@pytest.mark.django_db
@_named(deletable)
def test_deleted_row_names_who_deleted_it(model, boss, moment):
    first, second = make(model, 2)
    subjects = {subject_of(model, row.pk) for row in (first, second)}
    before = last_line()
    with only_acts_write():
        boss.post(url(model, "delete", first.pk), {"post": "yes"})
        boss.post(
            url(model, "changelist"),
            {"action": "delete_selected", "_selected_action": [second.pk], "index": 0, "post": "yes"},
        )
    assert not model.objects.filter(pk__in=[first.pk, second.pk]).exists()
    told = [line for subject in subjects for line in told_of(subject, before)]
    assert told == [("chief", "chief")] * 2


@pytest.mark.django_db
def test_what_was_done_is_found_on_the_page_of_the_row(boss, moment):
    [row] = make(who.Product)
    send(boss, url(who.Product, "change", row.pk), name="Renamed")
    links = dict(boss.get(url(who.Product, "change", row.pk)).context["see_also"])
    page = boss.get(links["What was done"]).content.decode()
    assert "Renamed (was " in page
    assert reverse("admin:csplaybooks_accounts_timelineentry_changelist") in links["What was done"]
