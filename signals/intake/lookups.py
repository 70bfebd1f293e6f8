"""What items name: accounts, types and meters, sources, and what was stored before. A query for each set."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csplaybooks.accounts.models import Account, AccountIdentity
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.signals.intake.items import Item, ItemKind
from csplaybooks.signals.intake.values import Refusal, shown
from csplaybooks.signals.models import Source


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A signal or reading that is in the database already, as far as a new item may meet it.

    `account_id` is the account it counts for now: the one merged into, where its own was merged.
    """

    pk: int
    account_id: int
    kind_id: int
    body_hash: bytes
    occurred_at: datetime
    corrected_by: str | None


class Accounts:
    """The accounts that the external ids of a batch stand for, merged ones followed to where they went.

    Accounts that were deleted are unknown. One query, and one more for each link of a chain of merges.
    """

    def __init__(self, external_ids: Collection[str]) -> None:
        rows = list(
            AccountIdentity.objects.filter(external_id__in=external_ids)
            .order_by()
            .values_list("external_id", "source", "account", "account__merged_into", "account__deleted_at")
        )
        self._merged_into: dict[int, int] = {}
        self._gone: set[int] = set()
        for *_, account, merged_into, deleted_at in rows:
            self._note(account, merged_into, deleted_at)
        ahead = set(self._merged_into.values()) - {row[2] for row in rows}
        while ahead:
            followed = Account.objects.filter(pk__in=ahead).order_by()
            known = ahead | self._merged_into.keys()
            for account, merged_into, deleted_at in followed.values_list("pk", "merged_into", "deleted_at"):
                self._note(account, merged_into, deleted_at)
            ahead = set(self._merged_into.values()) - known
        self._by_external_id: dict[str, list[tuple[str, int]]] = {}
        for external_id, source, account, *_ in rows:
            self._by_external_id.setdefault(external_id, []).append((source, self.end_of(account)))
        self._visible: set[int] | None = None

    def _note(self, account: int, merged_into: int | None, deleted_at: datetime | None) -> None:
        if merged_into is not None:
            self._merged_into[account] = merged_into
        elif deleted_at is not None:
            self._gone.add(account)

    def end_of(self, account: int) -> int:
        """The account that `account` was merged into, however often; itself when it was not."""
        passed = {account}
        while (target := self._merged_into.get(account)) is not None and target not in passed:
            passed.add(target)
            account = target
        return account

    def limit_to(self, viewer: Any, others: Iterable[int]) -> None:
        """From now on know only the accounts that `viewer` may see; None is ourselves, who see all.

        `others` are accounts beside those named that will be asked for by `is_visible`.
        """
        if viewer is None:
            return
        scope = scope_of(viewer)
        if scope.everything:
            return
        asked = {account for found in self._by_external_id.values() for _, account in found} | set(others)
        self._visible = set(
            Account.objects.in_scope(scope).filter(pk__in=asked).order_by().values_list("pk", flat=True)
        )

    def is_visible(self, account: int) -> bool:
        """Whether whoever sends the batch may know of this account."""
        return self._visible is None or account in self._visible

    def find(self, item: Item) -> int:
        """The id of the account that an item names. Raises Refusal."""
        return self.known_as(item.account, item.account_source)

    def known_as(self, external_id: str, wanted_source: str | None) -> int:
        """The id of the account with this external id, in this source where one is named. Raises Refusal."""
        found = [
            (source, account)
            for source, account in self._by_external_id.get(external_id, ())
            if account not in self._gone and self.is_visible(account) and wanted_source in (None, source)
        ]
        if not found:
            where = "" if wanted_source is None else f" in the source {shown(wanted_source)}"
            raise Refusal("unknown_account", "account", f"No account is known by the id {shown(external_id)}{where}.")
        if len({account for _, account in found}) > 1:
            sources = ", ".join(shown(source) for source, _ in sorted(found)[:5])
            raise Refusal(
                "ambiguous_account",
                "account",
                f"The id {shown(external_id)} stands for different accounts in the sources {sources}; "
                "name one of them in 'account_source'.",
            )
        return found[0][1]


def find_kinds(kind: ItemKind, keys: Collection[str]) -> dict[str, int]:
    """The ids of the signal types or meters with these keys, by key."""
    rows = kind.catalogue.objects.filter(key__in=keys).order_by().values_list("key", "pk")
    return dict(rows)


def find_sources(keys: Collection[str]) -> dict[str, int]:
    """The ids of the sources with these keys, by key."""
    return dict(Source.objects.filter(key__in=keys).order_by().values_list("key", "pk"))


def register_sources(keys: Collection[str], now: datetime) -> dict[str, int]:
    """Write down sources that sent their first item, and answer their ids by key.

    Somebody else may register the same one at this moment: whoever comes second takes theirs.
    """
    # Sorted, so that two batches that bring the same new sources wait for each other in one order.
    Source.objects.bulk_create([Source(key=key, first_seen_at=now) for key in sorted(keys)], ignore_conflicts=True)
    return find_sources(keys)


def find_stored(
    kind: ItemKind, sources: Collection[int], external_ids: Collection[str], accounts: Accounts
) -> dict[tuple[int, str], StoredRow]:
    """What is stored under these ids of these sources, by source id and external id."""
    rows = (
        kind.model.objects.filter(source__in=sources, external_id__in=external_ids)
        .order_by()
        .values_list(
            "source",
            "external_id",
            "pk",
            "account",
            "account__merged_into",
            kind.key_field,
            "body_hash",
            "occurred_at",
            "corrected_by__external_id",
        )
    )
    return {
        (source, external_id): StoredRow(
            pk=pk,
            account_id=accounts.end_of(account if merged_into is None else merged_into),
            kind_id=kind_id,
            body_hash=bytes(body_hash),
            occurred_at=occurred_at,
            corrected_by=corrected_by,
        )
        for source, external_id, pk, account, merged_into, kind_id, body_hash, occurred_at, corrected_by in rows
    }
