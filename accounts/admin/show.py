"""Values as people read and write them: money and thousandths as decimals, moments by the browser's pickers."""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from csplaybooks.accounts.money import in_major_units, minor_digits
from csplaybooks.admin_base import filled_filter, link_to, shown, with_zone
from csplaybooks.conf import csplaybooks_settings

#: What fits into a column of minor units.
_LARGEST_MINOR = 10**15


def money(minor: int | None, currency: str | None = None) -> str | None:
    """Minor units (of the reporting currency, unless told) as `1,500.00 USD`; None stays None."""
    if minor is None:
        return None
    currency = currency or csplaybooks_settings.CURRENCY
    return f"{in_major_units(minor, currency):,f} {currency}"


def amount_of(minor: int | None, currency: str | None = None) -> Decimal | None:
    """Minor units (of the reporting currency, unless told) as a number, for a spreadsheet."""
    return None if minor is None else in_major_units(minor, currency or csplaybooks_settings.CURRENCY)


def quantity(milli: int | None) -> str | None:
    """Thousandths as a plain number: 18000 is `18`, 1500 is `1.5`; None stays None."""
    if milli is None:
        return None
    whole, rest = divmod(abs(milli), 1000)
    fraction = f".{rest:03}".rstrip("0") if rest else ""
    return f"{'-' if milli < 0 else ''}{whole:,}{fraction}"


#: A filter of period rows, by whether we still hold them for true.
SUPERSEDED = ("superseded_by", filled_filter("standing", filled="superseded", empty="held for true"))


def account_column() -> Any:
    """A column with the account of a row, which leads to its page."""
    return shown("Account", lambda row: link_to(row.account), ordering="account__name")


class MoneyField(forms.Field):
    """An amount that is not negative, typed as a decimal and kept as minor units of the reporting currency."""

    widget = forms.NumberInput

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """The step is the least amount there is."""
        step = Decimal(1).scaleb(-minor_digits(csplaybooks_settings.CURRENCY))
        return {**super().widget_attrs(widget), "min": "0", "step": f"{step:f}"}

    def prepare_value(self, value: Any) -> Any:
        """Minor units as a decimal; what was typed as it was typed."""
        if isinstance(value, int):
            return f"{in_major_units(value, csplaybooks_settings.CURRENCY):f}"
        return value

    def to_python(self, value: Any) -> int | None:
        """What was typed as minor units. Raises ValidationError for what is no amount."""
        if value in self.empty_values:
            return None
        if isinstance(value, int):
            return value
        digits = minor_digits(csplaybooks_settings.CURRENCY)
        try:
            minor = Decimal(str(value).strip()).scaleb(digits)
        except DecimalException as error:
            raise ValidationError("Enter an amount, such as 1500.00.") from error
        if not minor.is_finite() or not 0 <= minor <= _LARGEST_MINOR:
            raise ValidationError("Enter an amount that is not negative, and not absurd.")
        if minor != minor.to_integral_value():
            raise ValidationError(f"Enter at most {digits} digits after the point.")
        return int(minor)


class QuantityField(forms.DecimalField):
    """An amount that is not negative, typed as a decimal and kept as thousandths."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_digits=16, decimal_places=3, **kwargs)

    def clean(self, value: Any) -> int | None:
        """What was typed as thousandths."""
        number = super().clean(value)
        return None if number is None else int(number * 1000)


class MoneyAdmin:
    """Mix-in of a page whose columns of minor units are typed and shown as decimals.

    `money_fields` maps each column to the read-only field that shows it where nothing can be typed.
    """

    money_fields: dict[str, str] = {}

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """A money field for columns of minor units."""
        if db_field.name in self.money_fields:
            return MoneyField(
                required=not db_field.blank,
                initial=db_field.get_default(),
                label=str(db_field.verbose_name).removesuffix(" minor").capitalize(),
                help_text=f"In {csplaybooks_settings.CURRENCY} a month.",
            )
        # A mixin: the admin it is mixed into has these.
        return super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        """The fields, as decimals also for those who may only look."""
        # As above.
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        # As above.
        if obj is None or self.has_change_permission(request, obj):  # type: ignore[attr-defined]
            return fieldsets
        return [
            (name, {**options, "fields": [self.money_fields.get(field, field) for field in options["fields"]]})
            for name, options in fieldsets
        ]


class DayField(forms.DateField):
    """A calendar day in the company's time zone."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class MomentField(forms.DateTimeField):
    """A moment, in the time zone of the page, which its help says."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def __init__(self, *, help_text: Any = "", **kwargs: Any) -> None:
        super().__init__(help_text=with_zone(help_text), **kwargs)
