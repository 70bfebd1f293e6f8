"""Who no mail to customers goes to."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models.functions import Lower

from csplaybooks.playbooks.models import Suppression


def suppressed_among(addresses: Iterable[str]) -> frozenset[str]:
    """Those of the addresses, as they were given, that are suppressed: themselves, or all of their domain. One query.

    Capitals do not matter. A domain is that after the `@` and no other: `@example.com` says nothing of its
    subdomains.
    """
    wanted = {address: address.strip().lower() for address in addresses}
    if not wanted:
        return frozenset()
    asked = {name for plain in wanted.values() for name in (plain, _domain(plain))}
    found = set(
        Suppression.objects.annotate(plain=Lower("address"))
        .filter(plain__in=asked)
        .order_by()
        .values_list("plain", flat=True)
    )
    return frozenset(address for address, plain in wanted.items() if not found.isdisjoint((plain, _domain(plain))))


def is_suppressed(address: str) -> bool:
    """Whether no mail to customers goes to an address. One query; for many, ask `suppressed_among`."""
    return bool(suppressed_among([address]))


def _domain(address: str) -> str:
    """The domain of an address as the list names it, such as `@example.com`."""
    return "@" + address.rpartition("@")[2]
