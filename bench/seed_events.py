"""What happened at the accounts of the benchmark: intake batches, signals and readings, and what was told late."""

from __future__ import annotations

#: Table (without the prefix) and the statement that fills it, in the order of foreign keys.
EVENTS = (
    (
        "signals_intakebatch",
        """
        INSERT INTO csplaybooks_signals_intakebatch
            (kind, received, stored, duplicate, conflict, refused, seen_by_run, recorded_at)
        SELECT CASE WHEN n <= %(signal_batches)s THEN 'signals' ELSE 'readings' END,
               %(batch)s, %(batch)s, 0, 0, 0, 1, %(moment)s
        FROM generate_series(
            1, %(signal_batches)s + (%(accounts)s * %(meters_read)s * %(per_meter)s - 1) / %(batch)s + 1) n
        """,
    ),
    (
        # Some accounts are far busier than others: the cube of an even number between 0 and 1 picks them. Of what came
        # in the last two weeks half is of those that grow: of each type it is others.
        "signals_signal",
        """
        INSERT INTO csplaybooks_signals_signal
            (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, type_id, actor, value_milli,
             properties)
        SELECT %(source)s, 'event-' || n,
               %(moment)s::timestamptz - interval '365 days' * ((%(signals)s - n + moved) / %(signals)s),
               1 + (n - 1) / %(batch)s, sha256(n::text::bytea), false, account, type, 'user-' || n %% 50, 1000,
               CASE
                   WHEN type = %(type_user_added)s
                       THEN CASE WHEN turn < 0.7 THEN '{"by": "admin"}'::jsonb ELSE '{"by": "link"}'::jsonb END
                   WHEN type = %(type_feature_used)s AND turn < 0.03 THEN '{"area": "labs"}'::jsonb
                   WHEN type = %(type_support_ticket)s
                       THEN jsonb_build_object('feature',
                            (%(features)s::text[])[1 + floor(turn * cardinality(%(features)s::text[]))::int])
                   -- One account in fifty works as customers of the next tier do.
                   WHEN type IN (%(type_feature_gate_hit)s, %(type_feature_used)s) AND account %% 50 = 7
                       AND account %% 3 < 2 THEN jsonb_build_object('feature',
                            CASE account %% 3 WHEN 0 THEN (%(business_features)s::text[])[1 + n %% 8]
                                              ELSE (%(enterprise_features)s::text[])[1 + n %% 5] END)
                   WHEN type = %(type_feature_gate_hit)s
                       THEN jsonb_build_object('feature', (%(enterprise_features)s::text[])[1 + n %% 3])
                   WHEN type = %(type_feature_used)s AND account %% 10 = 3 AND turn < 0.6
                       AND n > %(signals)s * (1 - 10.0 / 365)
                       THEN jsonb_build_object('feature', (%(analytics_features)s::text[])[1 + n %% 4])
                   WHEN type = %(type_feature_used)s AND account %% 3 > 0 AND turn < 0.5
                       THEN jsonb_build_object('feature', (%(business_features)s::text[])[1 + n %% 8])
                   WHEN type = %(type_feature_used)s
                       THEN jsonb_build_object('feature', (%(team_features)s::text[])[1 + n %% 8])
                   ELSE '{}'::jsonb
               END
        FROM (
            SELECT n, moved, turn, type,
                   CASE WHEN grows < 0.5 AND n > %(signals)s * (1 - 14.0 / 365)
                        THEN CASE type WHEN %(type_login)s THEN 1 + 9 * floor(whose * (%(accounts)s - 1) / 9)::bigint
                                       WHEN %(type_feature_used)s
                                       THEN 3 + 10 * floor(whose * (%(accounts)s - 3) / 10)::bigint
                                       ELSE 1 + type + 37 * floor(whose * (%(accounts)s - 1 - type) / 37)::bigint END
                        ELSE 1 + floor(power(whose, 3) * %(accounts)s)::bigint END AS account
            FROM (
                SELECT n, random() AS moved, random() AS turn, random() AS grows, random() AS whose,
                       (%(types)s::bigint[])[1 + floor(random() * 1000)::int] AS type
                FROM generate_series(1, %(signals)s) n
                OFFSET 0
            ) drawn
        ) placed
        """,
    ),
    (
        "signals_reading",
        """
        INSERT INTO csplaybooks_signals_reading
            (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, meter_id, used_milli,
             limit_milli)
        SELECT %(source)s, 'level-' || a.id || '-' || m.place || '-' || n,
               %(moment)s::timestamptz - interval '14 days' * (%(per_meter)s - n) - interval '1 hour' * (a.id %% 24),
               %(signal_batches)s + 1 + ((a.id - 1) * %(meters_read)s * %(per_meter)s
                   + (m.place - 1) * %(per_meter)s + n - 1) / %(batch)s,
               sha256((a.id || '-' || m.place || '-' || n)::bytea), false, a.id, m.meter,
               CASE
                   -- One account in ten is in poor health.
                   WHEN m.place = 4 THEN CASE WHEN a.id %% 10 = 7 THEN 30000 ELSE 90000 END
                   -- One in sixty has five people or more beyond its seats.
                   WHEN m.place = 5 THEN CASE WHEN a.id %% 60 = 5 THEN 24500 + a.id %% 8 * 250 ELSE 12000 END
                   -- Of each other meter one account in two hundred stands at its limit, one in fifty above 80 %%, and
                   -- one in fifty has been so for less than a day.
                   WHEN (a.id + m.place) %% 200 = 50 THEN 20000 + 20 * n
                   WHEN (a.id + m.place) %% 50 = 0 THEN (780 + 20 * n) * 20
                   WHEN (a.id + m.place) %% 50 = 1 AND n = %(per_meter)s THEN 19000
                   -- One in forty has taken off in the last month.
                   WHEN m.place = 2 AND a.id %% 40 = 3 THEN CASE WHEN n > %(per_meter)s - 3 THEN 10000 ELSE 5000 END
                   ELSE (250 + (a.id * 37) %% 400 + CASE WHEN a.id %% 12 = 1 THEN 12 ELSE 1 END * n) * 20
               END,
               CASE WHEN m.place = 4 THEN NULL WHEN a.id %% 43 = 1 AND m.place = 3 THEN 0 ELSE 20000 END
        FROM csplaybooks_accounts_account a
        CROSS JOIN unnest(%(meters)s::bigint[]) WITH ORDINALITY AS m(meter, place)
        CROSS JOIN generate_series(1, %(per_meter)s) n
        -- Of some nobody knows how they are.
        WHERE NOT (m.place = 4 AND a.id %% 97 = 5)
        ORDER BY n, a.id, m.place
        """,
    ),
)

_LATE_BATCH = "(SELECT max(id) FROM csplaybooks_signals_intakebatch)"
_LATE_CHANGE = "(SELECT max(id) FROM csplaybooks_accounts_change WHERE seen_by_run = 2)"

#: What only run 2 was told of, and corrections, of which run 1 knew three out of four. Few rows.
LATE = (
    """
    INSERT INTO csplaybooks_signals_intakebatch
        (kind, received, stored, duplicate, conflict, refused, seen_by_run, recorded_at)
    VALUES ('signals', 1000, 1000, 0, 0, 0, 2, %(moment)s)
    """,
    f"""
    INSERT INTO csplaybooks_signals_signal
        (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, type_id, actor, value_milli,
         properties, corrects_id)
    SELECT source_id, 'correction-' || id, occurred_at, CASE WHEN id %% 4000 = 7 THEN {_LATE_BATCH} ELSE 1 END,
           body_hash, id %% 2000 = 7, account_id, type_id, actor, value_milli, '{{}}', id
    FROM csplaybooks_signals_signal WHERE id > %(signals)s * 0.9 AND id %% 1000 = 7
    UNION ALL
    SELECT source_id, 'late-' || id, occurred_at, {_LATE_BATCH}, body_hash, false, account_id, type_id, actor,
           value_milli, properties, NULL
    FROM csplaybooks_signals_signal WHERE id > %(signals)s * 0.97 AND id %% 300 = 11
    """,
    f"""
    INSERT INTO csplaybooks_signals_reading
        (source_id, external_id, occurred_at, batch_id, body_hash, is_void, account_id, meter_id, used_milli,
         limit_milli, corrects_id)
    SELECT source_id, 'correction-' || id, occurred_at, CASE WHEN id %% 4000 = 9 THEN {_LATE_BATCH} ELSE 1 END,
           body_hash, id %% 2000 = 9, account_id, meter_id, used_milli + 5000, limit_milli, id
    FROM csplaybooks_signals_reading WHERE id %% 1000 = 9
    """,
    """
    INSERT INTO csplaybooks_accounts_change (kind, seen_by_run, recorded_at) VALUES ('seeded late', 2, %(moment)s)
    """,
    # Some pay, as it turned out, who were taken to be on trial.
    f"""
    UPDATE csplaybooks_accounts_accountfacts SET superseded_by_id = {_LATE_CHANGE}
    WHERE lifecycle = 'trial' AND account_id %% 10 = 8
    """,
    f"""
    INSERT INTO csplaybooks_accounts_accountfacts
        (account_id, lifecycle, segment, region, tags, customer_since, activated_on, renewal_on, head_count, valid_from,
         change_id)
    SELECT account_id, 'paying', segment, region, tags, customer_since, activated_on, renewal_on, head_count,
           valid_from, {_LATE_CHANGE}
    FROM csplaybooks_accounts_accountfacts WHERE superseded_by_id IS NOT NULL
    """,
)
