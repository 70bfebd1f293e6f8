"""Triggers on levels, and on levels and dates."""

from __future__ import annotations

from bench.by_hand.pieces import ByHand, audience, holding, latest, told_of_one


def _at_least(row: str, percent: int) -> str:
    return f"{row}.limit_milli > 0 AND {row}.used_milli * 100 >= {row}.limit_milli * {percent}"


def _for_a_day(now: str, meter: str) -> str:
    """Whether a meter at 80 % has been there for a day: it was then, and nothing in between says otherwise."""
    return f"""({_at_least(now, 80)}
        AND EXISTS (SELECT 1 FROM {latest(meter, "a.id", "24 hours")} t WHERE {_at_least("t", 80)})
        AND NOT EXISTS (
            SELECT 1 FROM csplaybooks_signals_reading r
            WHERE r.account_id = a.id AND r.meter_id = %(meter_{meter})s
              AND r.occurred_at > %(moment)s::timestamptz - interval '24 hours' AND r.occurred_at <= %(moment)s
              AND (({_at_least("r", 80)}) IS NOT TRUE) AND {told_of_one("r", "reading")}))"""


_API_AND_STORAGE = f"""
    FROM csplaybooks_accounts_account a
    LEFT JOIN LATERAL {latest("api_calls", "a.id")} x ON true
    LEFT JOIN LATERAL {latest("storage", "a.id")} y ON true"""

TRIGGERS = {
    "seats_above_80": ByHand(
        {
            "stands": f"""
                SELECT a.id AS account_id, x.used_milli, x.limit_milli
                FROM csplaybooks_accounts_account a CROSS JOIN LATERAL {latest("seats", "a.id")} x
                WHERE x.limit_milli > 0 AND x.used_milli * 100 > x.limit_milli * 80"""
        },
        (("stands",),),
    ),
    "five_over": ByHand(
        {
            "over": f"""
                SELECT a.id AS account_id, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli
                FROM csplaybooks_accounts_account a
                LEFT JOIN LATERAL {latest("active_users", "a.id")} x ON true
                LEFT JOIN LATERAL {latest("seats", "a.id")} y ON true
                WHERE x.limit_milli > 0 AND x.used_milli >= x.limit_milli + 5000
                   OR y.limit_milli > 0 AND y.used_milli >= y.limit_milli + 5000"""
        },
        (("over",),),
    ),
    "at_80": ByHand(
        {
            "near": f"""
                SELECT a.id AS account_id, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli {_API_AND_STORAGE}
                WHERE {_for_a_day("x", "api_calls")} OR {_for_a_day("y", "storage")}"""
        },
        (("near",),),
    ),
    "at_100": ByHand(
        {
            "stands": f"""
                SELECT a.id AS account_id, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli {_API_AND_STORAGE}
                WHERE {_at_least("x", 100)} OR {_at_least("y", 100)}"""
        },
        (("stands",),),
    ),
    "near_a_limit": ByHand(
        {
            "free": audience("f.lifecycle IN ('free', 'trial')"),
            "near": f"""
                SELECT a.account_id, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli, z.used_milli,
                       z.limit_milli
                FROM free a
                LEFT JOIN LATERAL {latest("seats", "a.account_id")} x ON true
                LEFT JOIN LATERAL {latest("api_calls", "a.account_id")} y ON true
                LEFT JOIN LATERAL {latest("storage", "a.account_id")} z ON true
                WHERE {_at_least("x", 80)} OR {_at_least("y", 80)} OR {_at_least("z", 80)}""",
        },
        (("near",),),
        "free",
    ),
    "api_calls_up": ByHand(
        {
            "up": f"""
                SELECT a.id AS account_id, e.used_milli AS earlier, p.used_milli AS present, p.limit_milli
                FROM csplaybooks_accounts_account a
                CROSS JOIN LATERAL {latest("api_calls", "a.id", "30 days")} e
                CROSS JOIN LATERAL {latest("api_calls", "a.id")} p
                WHERE e.used_milli > 0 AND (p.used_milli - e.used_milli) * 100 >= e.used_milli * 50""",
            "up_from_enough": """
                SELECT account_id, earlier, present, present AS used, limit_milli FROM up
                WHERE limit_milli > 0 AND present * 100 >= limit_milli * 25""",
        },
        (("up", "up_from_enough"),),
    ),
    "renews_and_grows": ByHand(
        {
            "renews": f"""
                SELECT f.account_id, f.renewal_on, %(today)s::date AS today
                FROM csplaybooks_accounts_accountfacts f
                WHERE f.renewal_on BETWEEN %(today)s::date AND %(today)s::date + 60 AND {holding("f")}""",
            "grows": f"""
                SELECT b.account_id, b.renewal_on, b.today, e.used_milli AS earlier, p.used_milli AS present
                FROM renews b
                CROSS JOIN LATERAL {latest("seats", "b.account_id", "90 days")} e
                CROSS JOIN LATERAL {latest("seats", "b.account_id")} p
                WHERE e.used_milli > 0 AND (p.used_milli - e.used_milli) * 100 >= e.used_milli * 8""",
        },
        (("renews", "grows"),),
    ),
}
