"""One condition asked of one account, in every way in which it can be asked."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.document import DocumentError, read_document
from csplaybooks.playbooks.evaluator import TriggerVersion, compile_query, evaluate
from csplaybooks.playbooks.factories import DRAFT
from csplaybooks.playbooks.measures import Known, Moment

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
#: The least there is of time.
MOMENT = timedelta(microseconds=1)

COMPARISONS = ("at_least", "above", "at_most", "below")


def said(
    account: Account,
    condition: dict[str, Any],
    *,
    at: datetime = NOW,
    mark: int | None = None,
    audience: dict[str, Any] | None = None,
    queries: int = 1,
) -> str | None:
    """What is said of the account where it meets the condition, else None.

    It is asked of all accounts and of this one alone, each time in one query; a kept query answers as a fresh one, and
    what is found can be kept as JSON.
    """
    trigger = TriggerVersion(1, 1, {"key": "t", "any": [{"all": [condition]}]}, audience or {})
    known = Known.now(mark)
    answers: list[dict[int, str]] = []
    for some in (None, (account.pk,)):
        with CaptureQueriesContext(connection) as captured:
            hits = evaluate(trigger, at, known, some)
        assert len(captured) == queries, [query["sql"] for query in captured]
        rows, columns = compile_query(trigger, Moment(at, known, some))
        names = columns[0][1]
        fresh = [(row["pk"], *(row[column] for column in names.values())) for row in rows]
        assert [hit.account_id for hit in hits] == [row[0] for row in fresh]
        for hit, row in zip(hits, fresh, strict=True):
            (evidence,) = hit.evidence
            assert json.loads(json.dumps(evidence)) == evidence
            plain = [value.isoformat() if isinstance(value, date) else value for value in row[1:]]
            assert list(evidence["found"].values()) == plain
        answers.append({hit.account_id: hit.evidence[0]["words"] for hit in hits})
    of_all, alone = answers
    assert alone == {pk: words for pk, words in of_all.items() if pk == account.pk}
    return alone.get(account.pk)


def holding(account: Account, condition: dict[str, Any], value: Any, **question: Any) -> set[str]:
    """The comparisons with which the condition holds at a threshold."""
    return {name for name in COMPARISONS if said(account, {**condition, name: value}, **question) is not None}


def refused(condition: str) -> tuple[str, str]:
    """The one fault of a document with this condition: its path inside the condition, and what is wrong."""
    text = DRAFT.format(key="k", name="K", motion="add_on")
    assert "{measure: share_of_limit, meters: [seats], above: 80}" in text
    try:
        read_document(text.replace("{measure: share_of_limit, meters: [seats], above: 80}", f"{{{condition}}}"))
    except DocumentError as error:
        ((path, problem),) = error.errors
        start = "triggers/0/any/0/all/0"
        assert path.startswith(start)
        return path.removeprefix(start).lstrip("/"), problem
    raise AssertionError(f"{condition} was taken")
