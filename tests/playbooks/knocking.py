"""A small site on which every kind of verdict can be seen: one trigger of two conditions, and five accounts."""

from __future__ import annotations

from datetime import timedelta

from csplaybooks.accounts.models import Account, AccountFacts
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.models import Trigger
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from tests.playbooks.inputs import NOW, account, gate_hits, seats

DAY = timedelta(days=1)

DOCUMENT = """\
key: knocking
name: Knocking
motion: tier_upsell
audience: {segments: [small, mid_market]}
triggers:
  - key: gates
    any:
      - all:
          - {measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}
          - {measure: share_of_limit, meters: [seats], above: 70}
guards: {unhealthy: off, crowded: off}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""


def a_trigger_and_five_accounts() -> Trigger:
    """A trigger that ran at `NOW`, and accounts: `silent` (no signals), `empty` (no seats), `match` (one),
    `fresh` (meets it, and is onboarding), `huge` (outside the audience)."""
    load_starter_catalogue(now=NOW - DAY)
    publish_playbook(playbook_id=save_draft(text=DOCUMENT, now=NOW - DAY).pk, now=NOW - DAY)
    since = (NOW - 400 * DAY).date()
    for name in ("silent", "empty", "match", "fresh", "huge"):
        row: Account = account(name)
        # The factory has made a period for it.
        AccountFacts.objects.filter(account=row).update(
            lifecycle="paying",
            segment="enterprise" if name == "huge" else "small",
            activated_on=(NOW - 3 * DAY).date() if name == "fresh" else since,
            customer_since=since,
        )
    for name in ("empty", "match", "fresh"):
        gate_hits(name, 1, 2, 3, at=NOW - DAY)
    for name in ("match", "fresh"):
        seats(name, 9, 10, at=NOW - DAY)
    run_triggers(now=NOW, full=True)
    found: Trigger = Trigger.objects.get(key="gates")
    return found
