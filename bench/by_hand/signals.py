"""Triggers on signals, and on signals and levels."""

from __future__ import annotations

from bench.by_hand.pieces import ByHand, audience, latest, signals, told_of_one

_LAST = "s.account_id, s.occurred_at"


def counted(signal_type: str, days: int, at_least: int, *, also: str = "", only: str = "") -> str:
    """Who had so many signals in so many days: how many, and the last."""
    inside = f" WHERE account_id IN (SELECT account_id FROM {only})" if only else ""
    return f"""
        SELECT account_id, count(*) AS hits, max(occurred_at) AS last_at
        FROM ({signals(signal_type, days, _LAST)} {also}) s{inside}
        GROUP BY account_id HAVING count(*) >= {at_least}"""


def grown(before: str, found: str, signal_type: str, days: int, share: str, least_before: int) -> str:
    """Those of a step whose signals grew against the days before; `share` is the comparison in per cent.

    `found` names what the step has found. Only these accounts' signals are looked at.
    """
    return f"""
        SELECT b.account_id, {found}, g.present, g.before
        FROM {before} b
        CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE s.occurred_at > %(moment)s::timestamptz - interval '{days} days') AS present,
                   count(*) FILTER (WHERE s.occurred_at <= %(moment)s::timestamptz - interval '{days} days') AS before
            FROM csplaybooks_signals_signal s
            WHERE s.account_id = b.account_id AND s.type_id = %(type_{signal_type})s
              AND s.occurred_at > %(moment)s::timestamptz - interval '{2 * days} days' AND s.occurred_at <= %(moment)s
              AND {told_of_one("s", "signal")}
        ) g
        WHERE g.before >= {least_before} AND g.present * 100 {share} g.before"""


_ANY_ABOVE_70 = " OR ".join(f"{at}.limit_milli > 0 AND {at}.used_milli * 100 > {at}.limit_milli * 70" for at in "xyz")

TRIGGERS = {
    "gates_at_high_usage": ByHand(
        {
            "knocked": counted("feature_gate_hit", 7, 3),
            "high": f"""
                SELECT k.account_id, k.hits, k.last_at, x.used_milli, x.limit_milli, y.used_milli, y.limit_milli,
                       z.used_milli, z.limit_milli
                FROM knocked k
                LEFT JOIN LATERAL {latest("seats", "k.account_id")} x ON true
                LEFT JOIN LATERAL {latest("api_calls", "k.account_id")} y ON true
                LEFT JOIN LATERAL {latest("storage", "k.account_id")} z ON true
                WHERE {_ANY_ABOVE_70}""",
        },
        (("knocked", "high"),),
    ),
    "three_added": ByHand(
        {"added": counted("user_added", 7, 3, also="""AND s.properties @> '{"by": "admin"}'""")}, (("added",),)
    ),
    "invite_refused": ByHand({"refused": counted("invite_refused", 2, 1)}, (("refused",),)),
    "knocks_on_gates": ByHand(
        {
            "free": audience("f.lifecycle IN ('free', 'trial')"),
            "knocked": counted("feature_gate_hit", 14, 3, only="free"),
        },
        (("knocked",),),
        "free",
    ),
    "news_and_growing_use": ByHand(
        {
            "funded": counted("funding_announced", 60, 1),
            "funded_and_growing": grown("funded", "b.hits, b.last_at", "login", 28, ">= 120 *", 5),
            "hiring": counted("hiring_announced", 60, 1),
            "hiring_and_growing": grown("hiring", "b.hits, b.last_at", "login", 28, ">= 120 *", 5),
        },
        (("funded", "funded_and_growing"), ("hiring", "hiring_and_growing")),
    ),
}
