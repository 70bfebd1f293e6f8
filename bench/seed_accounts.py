"""Who the accounts of the benchmark are: the statements that fill the tables of the lowest room, set-based.

Traits go by the remainder of an account's id, by numbers without a common part where they are to meet.
"""

from __future__ import annotations

_SINCE = "%(moment)s::timestamptz - interval '2 years'"
_CHANGE = "(SELECT min(id) FROM csplaybooks_accounts_change)"
#: Of 19 accounts one has churned, one is free and one on trial; the others pay.
_PAYS = "id %% 19 NOT IN (0, 1, 2)"

#: Table (without the prefix) and the statement that fills it, in the order of foreign keys.
ACCOUNTS = (
    (
        "accounts_teammember",
        """
        INSERT INTO csplaybooks_accounts_teammember
            (name, email, is_customer_success_manager, is_account_executive, is_manager, is_digital_desk,
             takes_pool_work, open_play_cap, is_active, zone, version, updated_at)
        SELECT 'Person ' || n, '', n %% 4 <> 0, n %% 4 = 0, false, false, true, 1000000, true, '', 1, %(moment)s
        FROM generate_series(1, %(team)s) n
        """,
    ),
    (
        "accounts_change",
        f"INSERT INTO csplaybooks_accounts_change (kind, seen_by_run, recorded_at) VALUES ('seeded', 1, {_SINCE})",
    ),
    (
        "accounts_account",
        f"""
        INSERT INTO csplaybooks_accounts_account (name, created_at, updated_at, version, deleted_at, merged_into_id)
        SELECT 'Account ' || n, {_SINCE}, %(moment)s, 1, CASE WHEN n %% 500 = 13 THEN %(moment)s::timestamptz END,
               CASE WHEN n %% 1000 = 17 THEN n - 1 END
        FROM generate_series(1, %(accounts)s) n
        """,
    ),
    (
        "accounts_accountidentity",
        "INSERT INTO csplaybooks_accounts_accountidentity (account_id, source, external_id)"
        " SELECT id, 'product', 'account-' || id FROM csplaybooks_accounts_account",
    ),
    (
        "accounts_accountfacts",
        f"""
        INSERT INTO csplaybooks_accounts_accountfacts
            (account_id, lifecycle, segment, region, tags, customer_since, activated_on, renewal_on, head_count,
             valid_from, change_id)
        SELECT id, CASE id %% 19 WHEN 0 THEN 'churned' WHEN 1 THEN 'free' WHEN 2 THEN 'trial' ELSE 'paying' END,
               (ARRAY['small', 'small', 'small', 'mid_market', 'enterprise'])[1 + id %% 5], 'emea', '[]',
               CASE WHEN id %% 31 = 5 THEN (%(moment)s::timestamptz - interval '20 days')::date
                    ELSE ({_SINCE})::date END,
               CASE WHEN id %% 101 = 7 THEN NULL
                    WHEN id %% 31 = 5 OR id %% 47 = 3 THEN (%(moment)s::timestamptz - interval '15 days')::date
                    ELSE (%(moment)s::timestamptz - interval '22 months')::date END,
               CASE WHEN {_PAYS} THEN (%(moment)s::timestamptz + interval '1 day' * (id %% 365))::date END,
               20 + id %% 500, {_SINCE}, {_CHANGE}
        FROM csplaybooks_accounts_account
        """,
    ),
    (
        "accounts_accountteam",
        f"""
        INSERT INTO csplaybooks_accounts_accountteam (account_id, role, member_id, valid_from, change_id)
        SELECT a.id, 'csm', m.id, {_SINCE}, {_CHANGE}
        FROM csplaybooks_accounts_account a
        JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS places
              FROM csplaybooks_accounts_teammember WHERE is_customer_success_manager) m ON m.place = a.id %% m.places
        WHERE a.id %% 5 <> 0
        """,
    ),
    (
        "accounts_entitlement",
        f"""
        INSERT INTO csplaybooks_accounts_entitlement
            (account_id, subscription, product_id, plan_id, quantity, mrr_minor, term_months, valid_from, change_id)
        SELECT id, 'subscription-' || id, %(base)s, (%(plans)s::bigint[])[1 + id %% 3], 20, 20000 + id %% 1000, 12,
               {_SINCE}, {_CHANGE}
        FROM csplaybooks_accounts_account WHERE {_PAYS}
        UNION ALL
        -- One in six holds the product beside the base as well.
        SELECT id, 'analytics-' || id, %(analytics)s, NULL, 1, 19900, 12, {_SINCE}, {_CHANGE}
        FROM csplaybooks_accounts_account WHERE {_PAYS} AND id %% 6 = 1
        """,
    ),
    (
        "accounts_champion",
        """
        INSERT INTO csplaybooks_accounts_champion (account_id, name, email, title, role, version, updated_at)
        SELECT id, 'Champion ' || id, '', 'Head of Operations', 'champion', 1, %(moment)s
        FROM csplaybooks_accounts_account
        """,
    ),
    (
        "accounts_championchange",
        f"""
        INSERT INTO csplaybooks_accounts_championchange
            (champion_id, account_id, kind, occurred_at, old_title, new_title, old_role, new_role, change_id)
        SELECT id, account_id, 'joined', {_SINCE}, '', 'Head of Operations', '', 'champion', {_CHANGE}
        FROM csplaybooks_accounts_champion
        UNION ALL
        -- Of sixteen one has moved in the last two months.
        SELECT id, account_id, (ARRAY['promoted', 'role_changed', 'new_executive', 'left'])[1 + account_id / 16 %% 4],
               %(moment)s::timestamptz - interval '1 day' * (account_id %% 59), 'Head of Operations',
               'Director of Operations', 'champion', 'champion', {_CHANGE}
        FROM csplaybooks_accounts_champion WHERE account_id %% 16 = 9
        """,
    ),
    (
        "accounts_finding",
        """
        INSERT INTO csplaybooks_accounts_finding (account_id, kind, text, product_id, version, updated_at)
        SELECT id, kind, text, CASE WHEN kind = 'gap' THEN %(analytics)s END, 1, %(moment)s
        FROM csplaybooks_accounts_account a
        JOIN (VALUES ('gap', 'They cannot tell where people drop out.', 25, 4),
                     ('risk', 'Their sponsor has little time.', 50, 8),
                     ('win', 'Closing the month takes two days less.', 21, 6)) AS f(kind, text, out_of, which)
            ON a.id %% f.out_of = f.which
        """,
    ),
    (
        "accounts_findingstate",
        f"""
        INSERT INTO csplaybooks_accounts_findingstate (finding_id, status, valid_from, valid_to, change_id)
        -- Of four wins one is older than a year; of four gaps one was settled a while ago.
        SELECT id, 'open', raised_at, CASE WHEN is_over THEN raised_at + interval '30 days' END, {_CHANGE}
        FROM csplaybooks_accounts_finding f
        CROSS JOIN LATERAL (
            SELECT f.kind = 'gap' AND f.account_id %% 4 = 0 AS is_over,
                   CASE WHEN f.kind = 'win' AND f.account_id %% 4 = 0
                        THEN %(moment)s::timestamptz - interval '400 days'
                        ELSE %(moment)s::timestamptz - interval '100 days' END AS raised_at
        ) s
        UNION ALL
        SELECT id, 'settled', %(moment)s::timestamptz - interval '70 days', NULL, {_CHANGE}
        FROM csplaybooks_accounts_finding WHERE kind = 'gap' AND account_id %% 4 = 0
        """,
    ),
)
