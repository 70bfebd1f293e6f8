"""Money as people and other systems read it: integers of minor units inside, decimals at the edges."""

from __future__ import annotations

from decimal import Decimal

# ISO 4217: currencies whose minor unit is not a hundredth.
_MINOR_DIGITS = {
    **dict.fromkeys(
        (
            *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"),
            *("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def minor_digits(currency: str) -> int:
    """How many digits after the point an amount in `currency` (an ISO 4217 code) has."""
    return _MINOR_DIGITS.get(currency, 2)


def in_major_units(minor: int, currency: str) -> Decimal:
    """An amount of minor units as an exact decimal: 123456 in USD is 1234.56, in JPY 123456."""
    return Decimal(minor).scaleb(-minor_digits(currency))
