"""Lists as CSV files: what is seen and nothing else, with nothing in it that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.factories import (
    AccountFactory,
    ChampionFactory,
    FindingFactory,
    MovementFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import Account, Champion, Finding, Movement
from csplaybooks.admin_base import Export
from csplaybooks.admin_base.export import cell
from csplaybooks.playbooks.factories import ClockFactory, PlayFactory
from csplaybooks.playbooks.models import Interval, Play
from tests.admin.pages import act, url

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)

#: The lists that can be taken away, and what makes a row of each on an account.
EXPORTED: dict[Any, Any] = {
    Account: lambda account: account,
    Champion: lambda account: ChampionFactory(account=account),
    Finding: lambda account: FindingFactory(account=account),
    Interval: lambda account: PlayFactory(account=account).intervals.get(),
    Movement: lambda account: MovementFactory(account=account),
    Play: lambda account: PlayFactory(account=account),
}

exported = pytest.mark.parametrize("model", EXPORTED, ids=lambda model: model.__name__)


def taken(response: Any) -> list[dict[str, str]]:
    """The rows of a file, by heading."""
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(response).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30 1", "'+49 30 1"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        (["=1", "b"], "'=1, b"),
        ("a=1", "a=1"),
        (-2, "-2"),
        (Decimal("-1.50"), "-1.50"),
        (True, "yes"),
        (None, ""),
        (date(2026, 11, 16), "2026-11-16"),
        (NOW, "2026-11-16T10:00:00+00:00"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_lists_that_can_be_taken_away():
    pages = {model for model, page in admin.site._registry.items() if isinstance(page, Export)}
    assert pages == set(EXPORTED)
    for model in pages:
        page: Any = admin.site.get_model_admin(model)
        assert "export_csv" in page.actions
        assert len(dict(page.exports)) == len(page.exports)


@pytest.mark.django_db
@exported
def test_only_rows_that_are_seen_are_in_the_file(model, csm, carla, stranger):
    make = EXPORTED[model]
    own = make(AccountFactory(name="Own", csm=carla))
    theirs = make(AccountFactory(name="Theirs", csm=TeamMemberFactory()))
    rows = taken(act(csm, model, "export_csv", [own, theirs], select_across="1"))
    assert [row.get("Account") or row["Name"] for row in rows] == ["Own"]
    assert taken(act(csm, model, "export_csv", [own, theirs])) == rows
    assert taken(act(stranger, model, "export_csv", [own, theirs], select_across="1")) == []


@pytest.mark.django_db
@exported
def test_file_takes_as_many_queries_for_many_rows_as_for_one(model, boss):
    make = EXPORTED[model]
    make(AccountFactory())
    counts = []
    for _ in range(2):
        rows = list(model.objects.all())
        with CaptureQueriesContext(connection) as queries:
            assert len(taken(act(boss, model, "export_csv", rows))) == len(rows)
        counts.append(len(queries))
        for _ in range(4):
            make(AccountFactory())
    assert counts[0] == counts[1]


@pytest.mark.django_db
def test_who_may_not_look_takes_nothing_away(signed_in, carla):
    user = UserFactory(username="sender")
    carla.user = user
    carla.save()
    user.user_permissions.set(Permission.objects.filter(codename="add_account"))
    account = AccountFactory(csm=carla)
    assert act(signed_in(user), Account, "export_csv", [account]).status_code == 403


@pytest.mark.django_db
def test_file_of_plays(boss, time_machine):
    time_machine.move_to(NOW, tick=False)
    play = PlayFactory(account__name='=HYPERLINK("x")', expected_amount_minor=123_450)
    ClockFactory(play=play, due_at=NOW)
    response = act(boss, Play, "export_csv", [play])
    assert response.headers["Content-Disposition"] == 'attachment; filename="play-2026-11-16.csv"'
    [row] = taken(response)
    assert row["Account"] == '\'=HYPERLINK("x")'
    assert (row["Expected amount"], row["Currency"]) == ("1234.50", "USD")
    assert row["Next promise due"] == "2026-11-16T10:00:00+00:00"
    assert (row["Stage"], row["Owner"], row["Outcome"]) == ("Owned", play.owner.name, "")


@pytest.mark.django_db
def test_file_holds_what_the_filters_leave(boss):
    FindingFactory(kind="risk")
    gap = FindingFactory(kind="gap")
    address = f"{url(Finding, 'changelist')}?kind__exact=gap"
    data = {"action": "export_csv", "_selected_action": [gap.pk], "select_across": "1", "index": 0}
    assert [row["Kind"] for row in taken(boss.post(address, data))] == ["Gap"]
