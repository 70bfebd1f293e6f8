"""What the pages of reports share: the form of a period and its plays, and spans and shares in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.http import HttpRequest

from csplaybooks.accounts.models import Account, Motion, Segment, TeamMember
from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.models import Playbook, Route
from csplaybooks.playbooks.reports import ReportError, WhichPlays
from csplaybooks.signals.horizon import midnight

#: How many days a page tells of, today among them, unless another period is asked for.
DAYS = 30

_SECOND = 1_000_000


class ReportForm(forms.Form):
    """A period of whole days of the company, and which plays count."""

    since = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}))
    playbook = forms.ChoiceField(required=False)
    motion = forms.ChoiceField(required=False, choices=[("", "All"), *Motion.choices])
    route = forms.ChoiceField(required=False, choices=[("", "All"), *Route.choices])
    segment = forms.ChoiceField(required=False, choices=[("", "All"), *Segment.choices])
    owner = forms.TypedChoiceField(label="Owner now", required=False, coerce=int, empty_value=None)
    account = forms.CharField(
        label="Account named", required=False, max_length=200, widget=forms.TextInput(attrs={"size": 14})
    )

    def __init__(self, *args: Any, viewer: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        playbooks = Playbook.objects.visible_to(viewer).order_by("name").values_list("key", "name")
        fields["playbook"].choices = [("", "All"), *playbooks]
        people = [("", "All"), *TeamMember.objects.visible_to(viewer).order_by("name", "pk").values_list("pk", "name")]
        for name in self.of_people:
            fields[name].choices = people

    #: The fields that are a choice of team members.
    of_people: tuple[str, ...] = ("owner",)

    def clean(self) -> dict[str, Any]:
        """A period that ends after it begins, told by the days as they were entered."""
        values: dict[str, Any] = super().clean() or {}
        since, until = values.get("since"), values.get("until")
        if since is not None and until is not None and until < since:
            self.add_error("until", f"{until} lies before {since}: the period ends before it begins.")
        for name in ("since", "until"):
            if values.get(name) is not None and not 2000 <= values[name].year <= 9998:
                self.add_error(name, "Ask from 2000-01-01 to 9998-12-31.")
        return values

    def period(self) -> tuple[datetime, datetime]:
        """From the first instant of the first day to that of the day after the last."""
        return midnight(self.cleaned_data["since"]), midnight(self.cleaned_data["until"] + timedelta(days=1))

    def which(self) -> WhichPlays:
        """The plays that count."""
        values = self.cleaned_data
        named = values["account"].strip()
        return WhichPlays(
            **{name: values[name] for name in ("playbook", "motion", "route", "segment")},
            owner_id=values["owner"],
            # Of the plays that the person sees: the name of their account stands on them.
            accounts=Account.objects.filter(name__icontains=named).order_by().values("pk") if named else None,
        )


def asked_with(form: type[ReportForm], request: HttpRequest, now: datetime, **unless_said: str) -> Any:
    """The form as the address fills it in: the last days, and `unless_said`, for what it does not say."""
    today = now.astimezone(company_time_zone()).date()
    values: dict[str, Any] = {
        "since": (today - timedelta(days=DAYS - 1)).isoformat(),
        "until": today.isoformat(),
        **unless_said,
    }
    given = {name: value for name, value in request.GET.items() if value or name not in values}
    return form(values | given, viewer=request.user)


def answered(form: Any, answer: Callable[[], Any]) -> Any:
    """What a report answers to the form; None where it has faults, those of the report among them."""
    if not form.is_valid():
        return None
    try:
        return answer()
    except ReportError as error:
        form.add_error(error.parameter if error.parameter in form.fields else None, str(error))
        return None


def span(microseconds: int | None) -> str:
    """How long, such as `3 d 4 h`, `1 h 30 min`, `12 min` or `8 s`; a dash for nothing to tell.

    Less than a second, but more than nothing, is said in words.
    """
    if microseconds is None:
        return "-"
    if 0 < microseconds < _SECOND:
        return "less than a second"
    seconds = microseconds // _SECOND
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours} h" if hours else f"{days:,} d"


def hours_of(microseconds: int | None) -> Decimal | None:
    """How long, as hours for a spreadsheet, to four digits."""
    return None if microseconds is None else round(Decimal(microseconds) / (_SECOND * 3600), 4)


def share(part: int, whole: int) -> str:
    """A part in per cent, such as `12.5`."""
    return f"{100 * part / whole:.1f}" if whole else "0.0"


def day_of(moment: datetime) -> date:
    """The day of the company on which a moment lies."""
    return moment.astimezone(company_time_zone()).date()
