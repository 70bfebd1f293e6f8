"""Numbers and rows as people read them, and lists too long to be counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import timezone

from csplaybooks.accounts.admin.show import money, quantity
from csplaybooks.accounts.factories import START, AccountFactory
from csplaybooks.admin_base import CappedPaginator, lines_of, table_of
from csplaybooks.playbooks.factories import ClockFactory, PlayFactory
from csplaybooks.playbooks.models import Play
from csplaybooks.signals.factories import ReadingFactory, SignalFactory
from csplaybooks.signals.models import Reading, Signal
from tests.admin.pages import url


@pytest.mark.parametrize(
    ("minor", "currency", "words"),
    [
        (None, "USD", None),
        (0, "USD", "0.00 USD"),
        (123_456_789, "USD", "1,234,567.89 USD"),
        (-5, "EUR", "-0.05 EUR"),
        (1500, "JPY", "1,500 JPY"),
        (1500, None, "15.00 USD"),
    ],
)
def test_money(minor, currency, words):
    assert money(minor, currency) == words


@pytest.mark.parametrize(
    ("milli", "words"),
    [(None, None), (0, "0"), (18_000, "18"), (1500, "1.5"), (-250, "-0.25"), (1_234_567_001, "1,234,567.001")],
)
def test_quantity(milli, words):
    assert quantity(milli) == words


def test_what_is_shown_is_escaped():
    assert table_of(["<h>"], [["<c>"]]) == (
        "<table><thead><tr><th>&lt;h&gt;</th></tr></thead><tbody><tr><td>&lt;c&gt;</td></tr></tbody></table>"
    )
    assert lines_of(["<i>", "<j>"]) == "&lt;i&gt;<br>&lt;j&gt;"
    assert table_of(["h"], []) == "-"


@pytest.mark.django_db
def test_long_table_is_counted_to_a_cap(boss, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(CappedPaginator, "cap", 2)
    SignalFactory.create_batch(3)
    assert boss.get(url(Signal, "changelist")).context["cl"].result_count == 2
    with django_assert_num_queries(1) as queries:
        assert CappedPaginator(Signal.objects.all(), 50).count == 2
    assert "LIMIT 2" in queries[0]["sql"]


@pytest.mark.django_db
def test_events_are_found_by_their_id_and_by_account(boss):
    acme = AccountFactory(name="Acme")
    one = SignalFactory(account=acme, external_id="evt-1")
    other = SignalFactory(external_id="evt-2")

    def found(term):
        return list(boss.get(url(Signal, "changelist"), {"q": term}).context["cl"].result_list)

    assert found("evt-2") == [other]
    assert found("acm") == [one]
    assert found("evt") == []


@pytest.mark.django_db
def test_reading_in_plain_numbers(boss):
    ReadingFactory(used_milli=18_500)
    ReadingFactory(used_milli=7_000, limit_milli=None)
    text = boss.get(url(Reading, "changelist")).content.decode()
    assert "18.5" in text
    assert "no limit" in text


@pytest.mark.django_db
def test_filters_speak_in_words(boss):
    PlayFactory(tray_at=START)
    PlayFactory()
    said = boss.get(url(Play, "changelist")).content.decode()
    assert "By tray" in said
    assert "waits for a manager" in said
    assert boss.get(url(Play, "changelist"), {"tray_at__isempty": "0"}).context["cl"].result_count == 1


@pytest.mark.django_db
def test_moments_are_in_the_time_zone_of_the_page_and_nothing_is_a_dash(boss, time_machine):
    time_machine.move_to(datetime(2026, 11, 16, 10, 0, tzinfo=UTC), tick=False)
    play = PlayFactory()
    ClockFactory(play=play, due_at=datetime(2026, 11, 16, 15, 30, tzinfo=UTC))
    assert play.expected_amount_minor is None
    with timezone.override("Europe/Berlin"):
        text = boss.get(url(Play, "changelist")).content.decode()
    assert "Nov. 16, 2026, 4:30 p.m." in text
    assert '<td class="field-amount">-</td>' in text
