"""Verdict counts written by hand: who is outside, who fails at which condition, and what guards say of the others."""

from __future__ import annotations

from collections.abc import Iterator

from bench.by_hand.pieces import ByHand, holding, latest, signals

_ALL = "(SELECT count(*) FROM csplaybooks_accounts_account)"

#: What became of those who meet the conditions: their open episode says it, or else the guards, in their order.
_JUDGED = f"""
SELECT CASE
    WHEN m.state = 'held' AND m.held_by = 'cooling' THEN 'cooling'
    WHEN m.state = 'held' THEN 'held:' || m.held_by
    WHEN m.state = 'expired' OR m.state = 'queued' AND m.admitted_run_id IS NULL THEN m.state
    WHEN m.admitted_run_id = %(newest)s THEN 'fired'
    WHEN m.id IS NOT NULL THEN 'still_matching'
    WHEN a.deleted_at IS NOT NULL OR a.merged_into_id IS NOT NULL OR f.lifecycle = 'churned' THEN 'held:gone'
    WHEN (f.lifecycle = 'paying' OR f.lifecycle = ANY(%(allowed)s)) IS NOT TRUE THEN 'held:not_paying'
    WHEN (f.activated_on <= %(today)s::date - %(onboarding_days)s) IS NOT TRUE THEN 'held:onboarding'
    WHEN %(judges_health)s AND ((h.used_milli >= 60000) IS NOT TRUE OR EXISTS (
        SELECT 1 FROM csplaybooks_accounts_finding r
        JOIN csplaybooks_accounts_findingstate s ON s.finding_id = r.id AND s.status = 'open' AND {holding("s")}
        WHERE r.account_id = a.id AND r.kind = 'risk')) THEN 'held:unhealthy'
    WHEN %(motion)s = 'cross_sell' AND (f.customer_since <= %(today)s::date - 30) IS NOT TRUE THEN 'held:tenure'
    WHEN EXISTS ({signals("prompt_dismissed", 7, "1")} AND s.account_id = a.id) THEN 'held:dismissed'
    WHEN EXISTS (
        SELECT 1 FROM csplaybooks_playbooks_play p WHERE p.account_id = a.id AND p.motion = %(motion)s
            AND p.outcome IN ('declined', 'lost') AND p.closed_at > %(moment)s::timestamptz - interval '60 days')
        OR EXISTS (
            SELECT 1 FROM csplaybooks_playbooks_match e WHERE e.account_id = a.id AND e.trigger_id = %(trigger)s
            AND e.fired_at > %(moment)s::timestamptz - %(cooldown_days)s * interval '1 day') THEN 'cooling'
    WHEN o.open_plays >= 3 AND NOT o.same_motion OR NOT coalesce(o.same_motion, false) AND (
        SELECT count(*) FROM csplaybooks_playbooks_touch t WHERE t.account_id = a.id AND t.direction = 'out'
            AND t.at > %(moment)s::timestamptz - interval '7 days' AND t.at <= %(moment)s) >= 3 THEN 'held:crowded'
    ELSE 'queued' END AS verdict, count(*)
FROM met
JOIN csplaybooks_accounts_account a ON a.id = met.account_id
LEFT JOIN csplaybooks_accounts_accountfacts f ON f.account_id = a.id AND {holding("f")}
LEFT JOIN LATERAL {latest("health", "a.id")} h ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS open_plays, bool_or(p.motion = %(motion)s) AS same_motion FROM csplaybooks_playbooks_play p
    WHERE p.account_id = a.id AND p.stage <> 'closed') o ON true
LEFT JOIN csplaybooks_playbooks_match m
    ON m.account_id = a.id AND m.trigger_id = %(trigger)s AND m.closed_run_id IS NULL
GROUP BY 1"""


def verdict_counts(by_hand: ByHand) -> str:
    """The statement that counts the verdicts of all accounts: verdict and number; what nobody has may be missing."""
    met = " UNION ".join(f"SELECT account_id FROM {group[-1]}" for group in by_hand.groups)
    failed = _by_difference(by_hand) if len(by_hand.groups) == 1 else _by_furthest_group(by_hand)
    # First the steps, then who meets the conditions, then the counts: those who fail, and those who are judged.
    steps = {**by_hand.steps, "met": met}
    return ByHand(steps, by_hand.groups, by_hand.audience).query(" UNION ALL ".join([*failed, f"({_JUDGED})"]))


def _by_difference(by_hand: ByHand) -> Iterator[str]:
    """Of one group: who came to a condition, less who got past it."""
    came = _ALL
    if by_hand.audience:
        came = f"(SELECT count(*) FROM {by_hand.audience})"
        yield f"SELECT 'outside', {_ALL} - {came}"
    for condition, step in enumerate(by_hand.groups[0]):
        past = f"(SELECT count(*) FROM {step})"
        yield f"SELECT 'failed:0:{condition}', {came} - {past}"
        came = past


def _by_furthest_group(by_hand: ByHand) -> Iterator[str]:
    """Of several groups, for everybody: the one that got furthest, of equals the first. Few get past a condition."""
    reached = " UNION ALL ".join(
        f"SELECT account_id, {group} AS g, {place} AS place FROM {step}"
        for group, steps in enumerate(by_hand.groups)
        for place, step in enumerate(steps, 1)
    )
    furthest = f"SELECT DISTINCT ON (account_id) account_id, g, place FROM ({reached}) r ORDER BY 1, place DESC, g"
    yield f"SELECT 'failed:0:0', {_ALL} - (SELECT count(DISTINCT account_id) FROM ({reached}) r)"
    yield (
        f"SELECT 'failed:' || g || ':' || place, count(*) FROM ({furthest}) f"
        " WHERE account_id NOT IN (SELECT account_id FROM met) GROUP BY g, place"
    )
