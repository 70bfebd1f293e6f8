"""In which zone the admin shows and takes times: every page says it, and beside an input its help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.test import override_settings
from django.utils import timezone

from csplaybooks import settings as site_settings
from csplaybooks.accounts.admin.show import MomentField
from csplaybooks.accounts.factories import AccountFactory, AccountFactsFactory, QbrFactory
from csplaybooks.accounts.models import AccountFacts, Qbr
from csplaybooks.admin_base.export import cell
from csplaybooks.playbooks.factories import CalendarFactory, PlaybookFactory, PlayFactory
from csplaybooks.playbooks.models import Pause, Play, Playbook, Touch
from csplaybooks.signals.factories import ReadingFactory, SignalFactory
from tests.admin.pages import act, send, url
from tests.admin.rows import MODELS, make

CHECKOUT = Path(__file__).resolve().parents[2]

#: Just before midnight in UTC, and on the next day in Berlin.
LATE = datetime(2026, 11, 16, 23, 30, tzinfo=UTC)

TOLD = "Times are in Europe/Berlin."


@pytest.fixture
def berlin() -> Iterator[None]:
    """A site, and its company, in Berlin."""
    with override_settings(CSPLAYBOOKS={"TIME_ZONE": "Europe/Berlin"}), timezone.override("Europe/Berlin"):
        yield


def inputs(fields: Any) -> dict[str, str]:
    """The help beside each field that takes a moment."""
    return {
        name: str(field.help_text)
        for name, field in fields.items()
        if isinstance(field, forms.DateTimeField | forms.SplitDateTimeField)
    }


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_page_says_its_zone_and_so_does_every_input(model: Any, boss: Any, berlin: None) -> None:
    [row] = make(model)
    page: Any = admin.site.get_model_admin(model)
    pages = [url(model, "changelist"), url(model, "change", row.pk), url(model, "history", row.pk)]
    if page.deletable:
        pages.append(url(model, "delete", row.pk))
    if page.has_add_permission(boss.get(pages[0]).wsgi_request):
        pages.append(url(model, "add"))
    for address in pages:
        answer = boss.get(address)
        assert answer.content.decode().count(TOLD) == 1, address
        if "adminform" in answer.context:
            forms_ = [answer.context["adminform"].form, *_forms_of(answer.context["inline_admin_formsets"])]
            for form in forms_:
                assert all(text.endswith("Time zone: Europe/Berlin.") for text in inputs(form.fields).values()), address


def _forms_of(inlines: Any) -> Iterator[Any]:
    for inline in inlines:
        yield from inline.formset.forms
        yield inline.formset.empty_form


@pytest.mark.django_db
def test_inputs_of_a_form_are_found(boss: Any, berlin: None) -> None:
    # That the test of all pages looks at some.
    fields = boss.get(url(Qbr, "add")).context["adminform"].form.fields
    assert inputs(fields) == {"held_at": "Time zone: Europe/Berlin."}


@pytest.mark.django_db
def test_reports_say_their_zone(boss: Any, berlin: None) -> None:
    pages = (page for page in admin.site._registry.values() if hasattr(page, "reports_for"))
    request = boss.get(url(Play, "changelist")).wsgi_request
    addresses = [address for page in pages for _, address in page.reports_for(request)]
    assert len(addresses) > 1
    for address in addresses:
        assert TOLD in boss.get(address).content.decode(), address


@pytest.mark.django_db
def test_pages_that_ask_say_their_zone(boss: Any, berlin: None) -> None:
    CalendarFactory()
    asked = act(boss, Play, "pause_plays", [PlayFactory()]).content.decode()
    assert TOLD in asked
    assert "Empty: when somebody resumes it. Time zone: Europe/Berlin." in asked
    why = boss.get(f"/admin/csplaybooks_playbooks/trigger/why/{AccountFactory().pk}/").content.decode()
    assert TOLD in why
    assert "in the versions that ran then. Time zone: Europe/Berlin." in why
    chosen = act(boss, Playbook, "publish", [PlaybookFactory()])
    assert TOLD in chosen.content.decode()


@pytest.mark.django_db
def test_a_moment_is_taken_in_the_zone_that_is_told(boss: Any, berlin: None, time_machine: Any) -> None:
    time_machine.move_to(LATE, tick=False)
    CalendarFactory()
    act(boss, Play, "pause_plays", [PlayFactory()], perform="1", reason="Budget", wakes_at="2026-11-20T09:30")
    assert Pause.objects.get().wakes_at == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    held = {"account": AccountFactory().pk, "held_at_0": "2026-11-16", "held_at_1": "09:15"}
    assert send(boss, url(Qbr, "add"), **held).status_code == 302
    assert Qbr.objects.get().held_at == datetime(2026, 11, 16, 8, 15, tzinfo=UTC)


def test_help_is_of_the_zone_at_hand_when_it_is_read() -> None:
    field = MomentField(help_text="Empty: now.")
    for zone in ("Asia/Tokyo", "Europe/Berlin"):
        with timezone.override(zone):
            assert str(field.help_text) == f"Empty: now. Time zone: {zone}."
            assert str(MomentField().help_text) == f"Time zone: {zone}."


def note() -> str:
    return " ".join(render_to_string("csplaybooks/admin/time_zone.html").split())


@override_settings(CSPLAYBOOKS={"TIME_ZONE": "Europe/Berlin"})
def test_a_host_in_another_zone_than_the_company_says_both() -> None:
    with timezone.override("America/New_York"):
        assert note() == (
            '<p class="csplaybooks-time-zone">Times are in America/New_York; days, and times within sentences, are '
            "those of the company in Europe/Berlin.</p>"
        )
    with timezone.override("Europe/Berlin"):
        assert note() == f'<p class="csplaybooks-time-zone">{TOLD}</p>'


@pytest.mark.django_db
def test_a_host_writes_the_note_in_its_own_words(boss: Any, settings: Any, tmp_path: Path) -> None:
    own = tmp_path / "csplaybooks" / "admin"
    own.mkdir(parents=True)
    (own / "time_zone.html").write_text("Clocks here go by the sun.")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    assert "Clocks here go by the sun." in boss.get(url(Play, "changelist")).content.decode()


@pytest.mark.django_db
def test_names_of_rows_are_in_the_zone_of_the_page(berlin: None) -> None:
    assert str(QbrFactory(held_at=LATE)).endswith(" on 2026-11-17")
    facts = AccountFactsFactory.build(account=AccountFactory(), valid_from=LATE)
    assert isinstance(facts, AccountFacts)
    assert str(facts).endswith(" from 2026-11-17")
    for row in (SignalFactory(occurred_at=LATE), ReadingFactory(occurred_at=LATE)):
        assert str(row).endswith(" at 2026-11-17 00:30")
    assert str(Touch(channel=Touch.Channel.CALL, at=LATE)).endswith(" on 2026-11-17 00:30")


def test_cells_say_their_zone(berlin: None) -> None:
    assert cell(LATE) == "2026-11-17T00:30:00+01:00"


@pytest.mark.django_db
def test_the_api_writes_utc_whatever_the_zone_of_pages(boss: Any, berlin: None) -> None:
    play = PlayFactory(opened_at=LATE)
    told = boss.get(f"/api/v1/plays/{play.pk}/").json()
    assert told["opened_at"] == "2026-11-16T23:30:00Z"


# The stand-alone site


def test_a_zone_that_only_python_knows_is_told_in_a_sentence(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(site_settings, "_ZONES", tmp_path)
    monkeypatch.setenv("CSPLAYBOOKS_TIME_ZONE", "US/Eastern")
    with pytest.raises(ImproperlyConfigured, match="CSPLAYBOOKS_TIME_ZONE is 'US/Eastern', which this machine"):
        site_settings._company_zone()
    monkeypatch.setattr(site_settings, "_ZONES", tmp_path / "none")
    assert site_settings._company_zone() == "US/Eastern"


def site(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with just this environment."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        env={
            **{"PATH": os.environ["PATH"], "SECRET_KEY": "for tests only", "DATABASE_URL": "sqlite:///:memory:"},
            **{"DJANGO_SETTINGS_MODULE": "csplaybooks.settings", **environment},
        },
    )


ZONES = """
import json, logging, django
django.setup()
from django.conf import settings
from django.db import connection
from django.utils import timezone
logging.getLogger("mysite").info("hello")
print(json.dumps([settings.TIME_ZONE, timezone.get_current_timezone_name(), connection.timezone_name]))
"""


@pytest.mark.parametrize(
    ("environment", "zone"),
    [({}, "UTC"), ({"CSPLAYBOOKS_TIME_ZONE": "Asia/Kolkata"}, "Asia/Kolkata")],
    ids=["bare", "named"],
)
def test_the_site_shows_times_in_the_company_zone_and_keeps_and_logs_them_in_utc(
    environment: dict[str, str], zone: str
) -> None:
    answer = site(ZONES, **environment)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [zone, zone, "UTC"]
    logged = datetime.strptime(answer.stderr[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - logged).total_seconds()) < 600


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "Europe"])
def test_a_zone_that_is_none_is_told_in_a_sentence(zone: str) -> None:
    answer = site(
        "from django.core.management import execute_from_command_line as run; run(['manage.py', 'check'])",
        CSPLAYBOOKS_TIME_ZONE=zone,
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    said = "must not be empty." if not zone else f"is {zone!r}, which is no time zone known here."
    assert f"CSPLAYBOOKS['TIME_ZONE'] {said}" in answer.stderr
