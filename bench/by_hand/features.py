"""Triggers on the features of the catalogue."""

from __future__ import annotations

from bench.by_hand.pieces import ByHand, holding, signals, told
from bench.by_hand.signals import grown

_NAMED = "s.account_id, s.occurred_at, s.properties ->> 'feature' AS feature"

TRIGGERS = {
    "tickets_on_features_not_held": ByHand(
        {
            "tickets": signals("support_ticket", 30, _NAMED),
            "about_more": f"""
                SELECT t.account_id, count(*) AS tickets, jsonb_agg(DISTINCT t.feature) AS features
                FROM tickets t
                JOIN csplaybooks_accounts_feature f ON f.key = t.feature
                LEFT JOIN csplaybooks_accounts_plan l ON l.id = f.least_plan_id
                WHERE NOT EXISTS (
                    SELECT 1 FROM csplaybooks_accounts_entitlement e
                    LEFT JOIN csplaybooks_accounts_plan p ON p.id = e.plan_id
                    WHERE e.account_id = t.account_id AND {holding("e")}
                      AND CASE WHEN l.id IS NULL THEN e.product_id = f.product_id
                               ELSE p.product_id = l.product_id AND p.rank >= l.rank END)
                GROUP BY t.account_id HAVING count(*) >= 2""",
        },
        (("about_more",),),
    ),
    "most_of_next_tier": ByHand(
        {
            "ahead": f"""
                SELECT DISTINCT e.account_id, n.id AS plan_id, n.key
                FROM csplaybooks_accounts_entitlement e
                JOIN csplaybooks_accounts_plan p ON p.id = e.plan_id
                JOIN csplaybooks_accounts_plan n ON n.id = p.next_plan_id
                WHERE {holding("e")} AND NOT EXISTS (
                    SELECT 1 FROM csplaybooks_accounts_entitlement o
                    JOIN csplaybooks_accounts_plan h ON h.id = o.plan_id
                    WHERE o.account_id = e.account_id AND h.product_id = n.product_id AND h.rank >= n.rank
                      AND {holding("o")})""",
            "adds": """
                SELECT least_plan_id AS plan_id, count(*) AS total FROM csplaybooks_accounts_feature
                WHERE least_plan_id IS NOT NULL GROUP BY least_plan_id""",
            "touches": f"""
                SELECT s.account_id, s.properties ->> 'feature' AS feature FROM csplaybooks_signals_signal s
                WHERE s.type_id IN (%(type_feature_gate_hit)s, %(type_feature_used)s)
                  AND s.occurred_at > %(moment)s::timestamptz - interval '90 days' AND s.occurred_at <= %(moment)s
                  AND {told("s")}""",
            "touched": """
                SELECT h.account_id, h.key, f.least_plan_id AS plan_id, count(DISTINCT f.key) AS touched,
                       jsonb_agg(DISTINCT f.key) AS features
                FROM touches t
                JOIN csplaybooks_accounts_feature f ON f.key = t.feature
                JOIN ahead h ON h.account_id = t.account_id AND h.plan_id = f.least_plan_id
                GROUP BY h.account_id, h.key, f.least_plan_id""",
            "most": """
                SELECT DISTINCT ON (t.account_id) t.account_id, jsonb_build_object(
                    'plan', t.key, 'total', a.total, 'touched', t.touched, 'features', t.features)
                FROM touched t JOIN adds a ON a.plan_id = t.plan_id
                WHERE t.touched * 100 >= a.total * 70
                ORDER BY t.account_id, t.touched * 1000000 / a.total DESC, t.key""",
        },
        (("most",),),
    ),
    "first_use_of_an_area": ByHand(
        {
            "used": f"""
                SELECT u.account_id, u.occurred_at,
                       CASE WHEN f.area <> '' THEN f.area ELSE u.properties ->> 'area' END AS area
                FROM ({signals("feature_used", 194, "s.account_id, s.occurred_at, s.properties")}) u
                LEFT JOIN csplaybooks_accounts_feature f ON f.key = u.properties ->> 'feature'""",
            "areas": """
                SELECT account_id, area, min(occurred_at) AS first_at FROM used WHERE area <> ''
                GROUP BY account_id, area
                HAVING min(occurred_at) > %(moment)s::timestamptz - interval '14 days'""",
            "new": "SELECT DISTINCT ON (account_id) * FROM areas ORDER BY account_id, first_at, area",
            "new_and_growing": grown("new", "b.area, b.first_at", "feature_used", 14, "> 100 *", 3),
        },
        (("new", "new_and_growing"),),
    ),
}
