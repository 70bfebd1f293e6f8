"""What is said of an account that does not meet a condition, and of one that does."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from csplaybooks.accounts.models import Account
from csplaybooks.playbooks.measures import Known, Moment, get_measure
from tests.playbooks.asking import NOW


def explained(account: Account, condition: dict[str, Any], *, at: datetime = NOW, mark: int | None = None) -> str:
    """Why an account meets the condition or does not, in words; one query, and what is found can be kept as JSON."""
    measure = get_measure(condition["measure"])
    moment = Moment(at, Known.now(mark), (account.pk,))
    accounts = Account.objects.filter(pk=account.pk)
    (found,) = accounts.values(**dict(measure.explain(condition, moment)))
    compiled = measure.compile(condition, moment)
    assert found.items() >= accounts.values(**dict(compiled.found)).get().items()
    json.dumps({name: value.isoformat() if isinstance(value, date) else value for name, value in found.items()})
    return measure.words(condition, found)


def why_not(account: Account, condition: dict[str, Any], *, at: datetime = NOW, mark: int | None = None) -> str:
    """As above, of an account that does not meet the condition."""
    moment = Moment(at, Known.now(mark), (account.pk,))
    holds = get_measure(condition["measure"]).compile(condition, moment).holds
    assert not Account.objects.filter(holds, pk=account.pk).exists()
    return explained(account, condition, at=at, mark=mark)
