"""Bad values of `Q_CLUSTER` give one clear message each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import django_q.conf
import pytest
from django.conf import settings
from django.core.checks import CheckMessage
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.checks import check_tasks, tasks

GOOD: dict[str, Any] = {
    "name": "mysite",
    "orm": "default",
    "workers": 2,
    "queue_limit": 2,
    "timeout": 60,
    "retry": 300,
    "max_attempts": 3,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": -1,
}

#: In place of a value: the key is not there.
LEFT_OUT = object()


def messages_for(cluster: object) -> list[CheckMessage]:
    with override_settings(Q_CLUSTER=cluster):
        return check_tasks()


def changed(**values: object) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **values}.items() if value is not LEFT_OUT}


def test_the_site_and_what_is_recommended_give_none():
    assert check_tasks() == []
    recommended: dict[str, Any] = {}
    exec(tasks.RECOMMENDED, recommended)  # noqa: S102 - our own constant
    assert recommended["Q_CLUSTER"] == GOOD
    assert messages_for(GOOD) == []


@pytest.mark.parametrize(
    "values",
    [
        {"orm": LEFT_OUT, "broker_class": "mysite.brokers.Own"},
        {"orm": LEFT_OUT, "sqs": {"aws_region": "eu-west-1"}},
        {"orm": LEFT_OUT, "redis": "redis://localhost"},
        # What is meant for this machine may be said so.
        {"orm": LEFT_OUT, "redis": {}},
        {"save_limit": LEFT_OUT},
        {"save_limit": 100},
        {"workers": 4, "queue_limit": 1},
        {"timeout": 60, "retry": 181},
        {"ALT_CLUSTERS": {"long": {"timeout": 600, "retry": 1900}}},
        {"ALT_CLUSTERS": {}},
    ],
)
def test_what_is_good_in_other_ways_gives_none(monkeypatch, values):
    # As if the extra were installed.
    monkeypatch.setattr(tasks, "find_spec", lambda name: name)
    assert messages_for(changed(**values)) == []


@pytest.mark.parametrize(
    ("cluster", "number", "named", "mend"),
    [
        (None, "E008", "Q_CLUSTER is missing", tasks.RECOMMENDED),
        ({}, "E008", "Q_CLUSTER is empty", tasks.RECOMMENDED),
        ("orm", "E008", "Q_CLUSTER must be a dict", tasks.RECOMMENDED),
        (changed(orm=LEFT_OUT), "E009", "Q_CLUSTER names no broker", '"orm": "default"'),
        (changed(orm="other"), "E010", "Q_CLUSTER['orm'] is 'other'", "'default'"),
        (changed(orm=["default"]), "E011", "Q_CLUSTER['orm'] must be", "'default'"),
        (changed(timeout="60"), "E011", "Q_CLUSTER['timeout'] must be a number, not str ('60')", "without quotes"),
        (changed(workers=2.5), "E011", "Q_CLUSTER['workers'] must be", "whole number"),
        (changed(max_attempts=True), "E011", "Q_CLUSTER['max_attempts'] must be", "whole number"),
        (changed(ALT_CLUSTERS=["long"]), "E011", "Q_CLUSTER['ALT_CLUSTERS']", "name of each cluster"),
        (changed(ALT_CLUSTERS={"long": 5}), "E011", "Q_CLUSTER['ALT_CLUSTERS']", "name of each cluster"),
        (changed(timeout=LEFT_OUT), "W007", "sets no 'timeout'", '"timeout": 60'),
        (changed(timeout=None), "W007", "sets no 'timeout'", '"timeout": 60'),
        (changed(timeout=0), "W007", "sets no 'timeout'", '"timeout": 60'),
        (changed(retry=180), "W008", "is 180, and must be above 180", '"retry": 271'),
        (changed(retry=61), "W008", "60 x (2 / 2 + 2)", '"retry": 271'),
        (changed(retry=LEFT_OUT), "W008", "is 60, and must be above 180", '"retry": 271'),
        (changed(queue_limit=8), "W009", "is 8, more than the 2 workers", '"queue_limit": 2'),
        (changed(queue_limit=0), "W009", "is 0", '"queue_limit": 2'),
        (changed(queue_limit=LEFT_OUT), "W009", "not set, which makes it 4", '"queue_limit": 2'),
        (changed(workers=0), "E014", "Q_CLUSTER['workers'] is 0, but must be at least 1", '"workers": 2'),
        (changed(name=""), "E014", "Q_CLUSTER['name'] is ''", '"name": "mysite"'),
        (changed(name=7), "E014", "Q_CLUSTER['name'] is 7", '"name": "mysite"'),
        (changed(ack_failures="yes"), "E011", "['ack_failures'] must be True or False, not str", "without quotes"),
        (changed(catch_up=0), "E011", "['catch_up'] must be True or False, not int (0)", '"catch_up": False'),
        (changed(retrry=300), "W015", "a key 'retrry'", "Did you mean 'retry'?"),
        (changed(colour="red"), "W015", "a key 'colour'", "Take it out"),
        (changed(sync=True), "W016", "Q_CLUSTER['sync'] is on", '"sync": False'),
        (
            changed(ALT_CLUSTERS={"long": {"timeuot": 60}}),
            "W015",
            "Q_CLUSTER['ALT_CLUSTERS']['long'] has a key 'timeuot'",
            "Did you mean 'timeout'?",
        ),
        (changed(max_attempts=0), "W010", "tried for ever", '"max_attempts": 3'),
        (changed(max_attempts=LEFT_OUT), "W010", "tried for ever", '"max_attempts": 3'),
        (changed(catch_up=True), "W011", "Q_CLUSTER['catch_up'] is on", '"catch_up": False'),
        (changed(catch_up=LEFT_OUT), "W011", "Q_CLUSTER['catch_up'] is on", '"catch_up": False'),
        (changed(save_limit=0), "W012", "for ever", '"save_limit": -1'),
        (changed(ack_failures=False), "W013", "Q_CLUSTER['ack_failures'] is off", '"ack_failures": True'),
        (changed(ack_failures=LEFT_OUT), "W013", "Q_CLUSTER['ack_failures'] is off", '"ack_failures": True'),
        (
            changed(ALT_CLUSTERS={"long": {"timeout": 600}}),
            "W008",
            "Q_CLUSTER['ALT_CLUSTERS']['long']['retry'] is 300, and must be above 1800",
            '"retry": 2701',
        ),
        (
            # What is wrong for all is told once.
            changed(max_attempts=0, ALT_CLUSTERS={"long": {"timeout": 50}}),
            "W010",
            "Q_CLUSTER sets no 'max_attempts'",
            '"max_attempts": 3',
        ),
    ],
)
def test_each_bad_setting_gives_one_message(cluster, number, named, mend):
    (message,) = messages_for(cluster)
    assert message.id == f"csplaybooks.{number}"
    assert named in message.msg
    assert mend in (message.hint or "")


def test_every_key_that_django_q_reads_is_known():
    read = re.findall(r'\bconf\.(?:get|pop)\("(\w+)"', Path(django_q.conf.__file__).read_text())
    assert set(read) == tasks.KNOWN_KEYS


def test_no_setting_at_all(settings):
    del settings.Q_CLUSTER
    (message,) = check_tasks()
    assert message.id == "csplaybooks.E008"


def test_redis_without_its_package(monkeypatch):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    (message,) = messages_for(changed(orm=LEFT_OUT, redis="redis://localhost"))
    assert message.id == "csplaybooks.E010"
    assert "pip install" in (message.hint or "")


def test_a_queue_in_another_database_is_worth_a_word(monkeypatch):
    monkeypatch.setitem(settings.DATABASES, "queue", settings.DATABASES["default"])
    (message,) = messages_for(changed(orm="queue"))
    assert message.id == "csplaybooks.I001"
    assert message.hint


def test_a_queue_beside_our_tables_is_good_wherever_these_are(monkeypatch, settings):
    settings.DATABASE_ROUTERS = ["tests.checks.test_database.Elsewhere"]
    monkeypatch.setitem(settings.DATABASES, "ours", settings.DATABASES["default"])
    assert messages_for(changed(orm="ours")) == []
    (message,) = messages_for(changed(orm="default"))
    assert message.id == "csplaybooks.I001"
    assert "our tables are in 'ours'" in message.msg
    assert '"orm": "ours"' in (message.hint or "")


@given(workers=st.integers(1, 64), share=st.integers(1, 64), timeout=st.integers(1, 10_000))
def test_the_mends_mend(workers, share, timeout):
    """Whatever the sizes: the retry that the hint names is one that the rule takes, and is the rule's alone."""
    cluster = changed(workers=workers, queue_limit=min(share, workers), timeout=timeout, retry=timeout)
    (message,) = messages_for(cluster)
    assert message.id == "csplaybooks.W008"
    retry = int((message.hint or "").partition('"retry": ')[2].partition(",")[0])
    assert messages_for({**cluster, "retry": retry}) == []
