"""The playbooks of the storm: promises so short that clocks warn, breach and escalate, and offers lapse, meanwhile."""

from __future__ import annotations

#: What every playbook of the storm shares. An hour's thousandth is 3.6 seconds. Nothing is held back: each account is
#: to have its play of each motion.
_SHARED = """
amount: {rule: fixed, amount_minor: 10000}
guards: {crowded: off, cooling: off, dismissed: off}
expires_days: 30
targets:
  - {target: first_touch, hours: 0.001, counting: wall, escalate_after_hours: [0, 0.0005]}
  - {target: handoff_accepted, hours: 0.001, counting: wall, lapse_after_hours: 0.002, escalate_after_hours: [0.0003]}
  - {target: closed, hours: 0.008, counting: working, calendar: always, warn_percents: [25, 50, 80]}
steps:
  - {kind: wait, text: Let them read it, hours: 0.0004, counting: wall}
  - {kind: task, text: Call them, after_hours: 0.001, counting: wall}
  - kind: mail
    text: Write to them
    mail: {subject: "More room for {{account}}", body: "Dear {{champion_first_name}}, shall we talk?"}
  - {kind: task, text: Ask for the order}
"""

SEATS = (
    """
key: storm_seats
name: Storm of seats
motion: seat_expansion
triggers:
  - key: storm_seats_above_80
    any: [{all: [{measure: share_of_limit, meters: [seats], above: 80}]}]
routes:
  - {when: {segments: [small]}, route: email}
  - {route: csm}
"""
    + _SHARED
)

GATES = (
    """
key: storm_gates
name: Storm of gates
motion: tier_upsell
triggers:
  - key: storm_gates_hit
    any: [{all: [{measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}]}]
routes:
  - {when: {segments: [small]}, route: csm, owner: ae}
  - {route: sales}
"""
    + _SHARED
)

#: The plays that each account gets, by motion, with the trigger that opens them.
PLAYS = {"seat_expansion": "storm_seats_above_80", "tier_upsell": "storm_gates_hit"}
