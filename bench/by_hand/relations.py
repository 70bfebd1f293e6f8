"""Triggers on people and reviews."""

from __future__ import annotations

from bench.by_hand.pieces import ByHand, audience, holding

TRIGGERS = {
    "moved_up": ByHand(
        {
            "moved": """
                SELECT DISTINCT ON (c.account_id) c.account_id, p.name, c.kind, c.new_title, c.occurred_at
                FROM csplaybooks_accounts_championchange c
                JOIN csplaybooks_accounts_champion p ON p.id = c.champion_id
                WHERE c.kind IN ('promoted', 'role_changed', 'new_executive')
                  AND c.occurred_at > %(moment)s::timestamptz - interval '30 days' AND c.occurred_at <= %(moment)s
                  AND c.change_id NOT IN (SELECT id FROM unheard)
                ORDER BY c.account_id, c.occurred_at DESC, c.id DESC"""
        },
        (("moved",),),
    ),
    "open_gap": ByHand(
        {
            "gap": f"""
                SELECT DISTINCT ON (g.account_id) g.account_id, g.id, g.text, p.key, p.name
                FROM csplaybooks_accounts_finding g
                JOIN csplaybooks_accounts_product p ON p.id = g.product_id
                JOIN csplaybooks_accounts_findingstate s ON s.finding_id = g.id AND s.status = 'open' AND {holding("s")}
                WHERE g.kind = 'gap' AND NOT EXISTS (
                    SELECT 1 FROM csplaybooks_accounts_entitlement e
                    WHERE e.account_id = g.account_id AND e.product_id = g.product_id AND {holding("e")})
                ORDER BY g.account_id, g.id"""
        },
        (("gap",),),
    ),
    "budget_and_outcome": ByHand(
        {
            "larger": audience("f.segment IN ('mid_market', 'enterprise')"),
            "in_season": "SELECT account_id, %(month)s AS month FROM larger WHERE %(month)s IN (10, 11, 12, 1, 2, 3)",
            "documented": f"""
                SELECT DISTINCT ON (w.account_id) w.account_id, i.month, w.id, w.kind, s.status, w.text, r.raised_at
                FROM csplaybooks_accounts_finding w
                JOIN in_season i ON i.account_id = w.account_id
                JOIN csplaybooks_accounts_findingstate s
                    ON s.finding_id = w.id AND s.status IN ('open', 'settled') AND {holding("s")}
                CROSS JOIN LATERAL (
                    SELECT min(t.valid_from) AS raised_at FROM csplaybooks_accounts_findingstate t
                    WHERE t.finding_id = w.id AND t.change_id NOT IN (SELECT id FROM unheard)
                      AND (t.superseded_by_id IS NULL OR t.superseded_by_id IN (SELECT id FROM unheard))) r
                WHERE w.kind = 'win' AND r.raised_at > %(moment)s::timestamptz - interval '365 days'
                ORDER BY w.account_id, w.id DESC""",
        },
        (("in_season", "documented"),),
        "larger",
    ),
}
