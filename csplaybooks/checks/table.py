"""Every message that our system checks may give, by id: what the documentation lists."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Info, Warning

#: What is wrong, by id. E: it does not work so. W: it works, and will hurt. I: good to know. An id is never used again
#: for something else.
WHAT_IS_WRONG = {
    "csplaybooks.E001": "a key of `CSPLAYBOOKS` that does not exist",
    "csplaybooks.E002": "a value of `CSPLAYBOOKS` of the wrong type (or `CSPLAYBOOKS` itself is no dict)",
    "csplaybooks.E003": "a value of `CSPLAYBOOKS` of the right type that cannot be used",
    "csplaybooks.E004": "an app that must be in `INSTALLED_APPS` is not",
    "csplaybooks.E005": "an app of ours stands in `INSTALLED_APPS` by a name that only a checkout knows",
    "csplaybooks.E006": "`USE_TZ` is false",
    "csplaybooks.E007": "our tables are in a database that is neither PostgreSQL nor SQLite",
    "csplaybooks.E008": "`Q_CLUSTER` is missing, empty or no dict",
    "csplaybooks.E009": "`Q_CLUSTER` names no broker",
    "csplaybooks.E010": "`Q_CLUSTER` names a broker that is not there",
    "csplaybooks.E011": "a value of `Q_CLUSTER` of the wrong type",
    "csplaybooks.E012": "psycopg's connection pool is on, under which the tasks of a qcluster stick",
    "csplaybooks.E013": "the `timeout` of a SQLite database is no number",
    "csplaybooks.E014": "a value of `Q_CLUSTER` of the right type that cannot be used",
    "csplaybooks.W001": "a SQLite database whose transactions do not take their lock when they begin",
    "csplaybooks.W002": "an app that should be in `INSTALLED_APPS` is not",
    "csplaybooks.W003": (
        "a SQLite database that is not in WAL mode (asked where a connection is allowed: `migrate`, "
        "`check --database ...`)"
    ),
    "csplaybooks.W004": "a SQLite database for which a writer waits less than 10 seconds",
    "csplaybooks.W005": "`csplaybooks.urls` is not included in `ROOT_URLCONF`",
    "csplaybooks.W006": "`csplaybooks.urls` is included more than once under the same namespace",
    "csplaybooks.W007": "`Q_CLUSTER` sets no `timeout`",
    "csplaybooks.W008": "`retry` of `Q_CLUSTER` is so short that tasks run again while they still wait or run",
    "csplaybooks.W009": "a cluster fetches more tasks than it has workers (`queue_limit` of `Q_CLUSTER`)",
    "csplaybooks.W010": "a failing task is tried for ever (`max_attempts` of `Q_CLUSTER`)",
    "csplaybooks.W011": "missed slots of schedules are made up for, one by one (`catch_up` of `Q_CLUSTER`)",
    "csplaybooks.W012": "every successful task is kept for ever (`save_limit` of `Q_CLUSTER` is 0)",
    "csplaybooks.W013": "a failed task comes back as often as it fails (`ack_failures` of `Q_CLUSTER`)",
    "csplaybooks.W014": (
        "`RETENTION_DAYS` is shorter than the starter playbooks look back; `csplaybooks_setup` leaves those as drafts"
    ),
    "csplaybooks.W015": "a key of `Q_CLUSTER` that django-q2 does not know",
    "csplaybooks.W016": "tasks are done by whoever asks for them, not by a cluster (`sync` of `Q_CLUSTER`)",
    "csplaybooks.W017": "notices go by mail (`NOTICES_BY_MAIL`), and nothing says how mail leaves the site",
    "csplaybooks.W018": "notices go by mail, and `SITE_URL` does not say where they may link to",
    "csplaybooks.I001": "the tasks are queued in another database than that of our tables",
}

_LEVELS = {"E": Error, "W": Warning, "I": Info}


def message(number: str, text: str, *, mend: str) -> CheckMessage:
    """The message with the id `csplaybooks.<number>` (of the table): what is wrong, and what to do about it."""
    name = f"csplaybooks.{number}"
    if name not in WHAT_IS_WRONG:
        raise LookupError(f"{name} is not in the table of messages.")
    return _LEVELS[number[0]](text, hint=mend, id=name)
