"""Small playbooks of their own, what they are told, and what the runs made of it: for the tests of edges."""

from __future__ import annotations

from datetime import datetime, timedelta
from textwrap import indent
from typing import Any

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Play, PlaybookVersion, Run, Trigger
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.runs import replay_run, run_triggers
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from tests.playbooks.inputs import DAY, NOW, account, assert_all_runs_replay, open_matches

__all__ = [
    "DAY",
    "HOUR",
    "MOMENT",
    "NOW",
    "account",
    "as_of",
    "assert_all_runs_replay",
    "found_by",
    "knocks",
    "last_run",
    "levels",
    "matches",
    "open_matches",
    "play_of",
    "publish",
    "run",
    "run_and_work",
    "text_of",
]

HOUR = timedelta(hours=1)
#: The least there is of time.
MOMENT = timedelta(microseconds=1)

#: Health is asked of nobody here: what is not about it need not tell of it.
TEXT = """\
key: {key}
name: {name}
motion: {motion}
triggers:
{triggers}
guards:
  unhealthy: off
{guards}
routes:
  - route: csm
targets:
  - {{target: first_touch, hours: 8}}
steps:
  - {{kind: task, text: {step}}}
"""

TRIGGER = """\
  - key: {key}
    strength: strong
    cooldown_days: {cooldown}
    any:
      - all:
          - {condition}
"""


def text_of(
    key: str,
    triggers: dict[str, str],
    *,
    motion: str = "add_on",
    cooldown: int = 30,
    guards: str = "",
    step: str = "Call them.",
) -> str:
    """The YAML of a playbook with a trigger for each condition, all with one cooldown in days."""
    return TEXT.format(
        key=key,
        name=key.capitalize(),
        motion=motion,
        triggers="".join(
            TRIGGER.format(key=name, cooldown=cooldown, condition=condition) for name, condition in triggers.items()
        ),
        guards=indent(guards, "  "),
        step=step,
    )


def publish(key: str, triggers: dict[str, str], *, now: datetime = NOW - DAY, **more: Any) -> PlaybookVersion:
    """Draft and publish such a playbook; answers the version."""
    playbook = save_draft(text=text_of(key, triggers, **more), now=now)
    return publish_playbook(playbook_id=playbook.pk, now=now).version


def knocks(
    name: str, *numbers: int, at: datetime = NOW, told: datetime | None = None, kind: str = "feature_gate_hit"
) -> Any:
    """Take signals in that occurred at `at` and are told at `told` (None: then); answers the intake's answer."""
    items = [
        {
            "source": "product",
            "external_id": f"{name}-{number}",
            "account": name,
            "type": kind,
            "occurred_at": at.isoformat(),
        }
        for number in numbers
    ]
    return take_in_signals(items=items, now=told or at)


def levels(
    name: str,
    used: float,
    limit: float | None,
    *,
    at: datetime = NOW,
    told: datetime | None = None,
    meter: str = "seats",
) -> Any:
    """Take a reading in that was made at `at` and is told at `told` (None: then)."""
    item = {
        "source": "product",
        "external_id": f"{name}-{meter}-{at.isoformat()}-{used}-{limit}",
        "account": name,
        "meter": meter,
        "used": used,
        "limit": limit,
        "occurred_at": at.isoformat(),
    }
    return take_in_readings(items=[item], now=told or at)


def run(at: datetime, *, full: bool = True) -> Run:
    """A run at this moment, over all accounts unless it is to see only those with news."""
    report = run_triggers(now=at, full=full)
    assert report is not None
    made = Run.objects.get(pk=report.run_id)
    assert made.errors == {}
    return made


def run_and_work(at: datetime) -> Run:
    """A full run, and its plays opened and owned."""
    made = run(at)
    work(now=at)
    return made


def last_run() -> Run:
    """The last run there was."""
    made = Run.objects.newest()
    assert made is not None
    return made


def found_by(made: Run, key: str) -> list[str]:
    """The names of the accounts that met a trigger as a run knew it, asked again today; sorted."""
    return _names(replay_run(made)[Trigger.objects.get(key=key).pk])


def as_of(at: datetime, key: str, mark: int | None = None) -> list[str]:
    """The names of the accounts that met a trigger at a moment, as known at a mark (None: today); sorted."""
    identity = Trigger.objects.select_related("playbook__published").get(key=key)
    published = identity.playbook.published
    assert published is not None
    asked = next(
        trigger
        for trigger in TriggerVersion.of(published, dict(identity.playbook.triggers.values_list("key", "pk")))
        if trigger.trigger_id == identity.pk
    )
    return _names([hit.account_id for hit in evaluate(asked, at, Known.now(mark))])


def matches(key: str, name: str | None = None) -> list[Match]:
    """The episodes of a trigger, of one account by name or of all, oldest first."""
    rows = Match.objects.filter(trigger__key=key).select_related("version", "play").order_by("pk")
    return list(rows if name is None else rows.filter(account__name=name))


def play_of(name: str) -> Play:
    """The one open play of an account."""
    play: Play = Play.objects.open().select_related("recipe").get(account__name=name)
    return play


def _names(ids: list[int]) -> list[str]:
    return sorted(Account.objects.filter(pk__in=ids).values_list("name", flat=True))
