"""Readiness: its weights are published here, version by version; its scores and their points are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from csplaybooks.accounts.admin.record import ByAccountAdmin, story_of
from csplaybooks.accounts.admin.show import account_column
from csplaybooks.accounts.documents import DocumentError
from csplaybooks.accounts.models import Account, Motion
from csplaybooks.admin_base import ActAdmin, ActForm, CappedPaginator, by, panel, see_also, shown, table_of
from csplaybooks.admin_base.reader import may_open
from csplaybooks.signals.acts.readiness import publish_weights
from csplaybooks.signals.models import ReadinessWeights, ScoreSnapshot, Signal, SignalType
from csplaybooks.signals.readiness import (
    FULL_SCORE,
    Forgotten,
    MotionTrace,
    Step,
    TypeTrace,
    Weights,
    in_points,
    trace,
)
from csplaybooks.signals.readiness.weights import STARTER, read_weights

#: What a signal counts in a step, by quarters.
_SHARES_IN_WORDS = {4: "whole", 2: "half", 1: "a quarter"}


def _said_of(error: DocumentError) -> list[str]:
    """What is wrong with a document, each with its place."""
    return [f"{path}: {message}" if path else message for path, message in error.errors]


class WeightsForm(ActForm):
    """The next version of the weights; it begins with the text of the one in force."""

    source = forms.CharField(
        label="Weights",
        # The text is kept byte for byte, so its last line break too.
        strip=False,
        widget=forms.Textarea(attrs={"rows": 40, "cols": 110, "spellcheck": "false", "class": "vLargeTextField"}),
        help_text="What each kind of signal weighs for each motion, in YAML. Saving publishes it, and it counts from "
        "now on; a version stays as it is, and another one mends it.",
    )
    #: The version in force when the form was opened; 0 for none.
    opened_number = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = ReadinessWeights
        fields = ("source",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_bound:
            version = ReadinessWeights.objects.in_force()
            self.initial["source"] = version.source if version else STARTER.read_text(encoding="utf-8")
            self.initial["opened_number"] = version.number if version else 0

    def clean_source(self) -> str:
        """The text with the line breaks it has in a file. Says every fault of the document, by its place."""
        text: str = self.cleaned_data["source"].replace("\r\n", "\n")
        try:
            read_weights(text)
        except DocumentError as error:
            raise ValidationError(_said_of(error)) from error
        return text


@admin.register(ReadinessWeights)
class ReadinessWeightsAdmin(ActAdmin):
    """Versions of the weights. A new one is published by adding it; what is published stands."""

    form = WeightsForm
    list_display = ("__str__", "published_at", "published_by", "in_force")
    follows = ("published_by",)
    fields = ("number", "published_at", "published_by", "text", "strengths")
    text = shown("Weights", lambda version: format_html("<pre>{}</pre>", version.source))
    strengths = shown(
        "Strengths then", lambda version: table_of(("Kind", "Strength"), sorted(version.document["strengths"].items()))
    )
    in_force = shown("In force", lambda version: version.number == version.newest, boolean=True)

    def get_queryset(self, request: HttpRequest) -> Any:
        """The versions, each knowing the number of the newest."""
        return super().get_queryset(request).with_newest()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a version stays as it was published."""
        return False

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The text to be published, or what was published."""
        return [(None, {"fields": ["source", "opened_number"] if obj is None else [*self.fields]})]

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Publish the text. The text that is in force already changes nothing, and the row knows that."""
        try:
            published = publish_weights(
                text=form.cleaned_data["source"],
                expected_number=form.cleaned_data["opened_number"],
                now=now,
                actor=request.user,
            )
        except DocumentError as error:
            raise ValidationError({"source": _said_of(error)}) from error
        row: Any = published.version
        row.stands = published.verdict == "unchanged"
        return row

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note in the admin's own log what was added; nothing where nothing was."""
        return None if obj.stands else super().log_addition(request, obj, message)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Back to the list; or the word that nothing was published."""
        if not obj.stands:
            return super().response_add(request, obj, post_url_continue)
        said = f"Nothing was published: this very text is in force already, as {obj}."
        self.message_user(request, said, messages.WARNING)
        return self.response_post_save_add(request, obj)


@admin.register(ScoreSnapshot)
class ScoreSnapshotAdmin(ByAccountAdmin):
    """The scores of each day, the newest first."""

    list_display = ("day", "account_link", "motion", "score", "weights")
    list_filter = ("motion",)
    follows = ("account", "weights")
    fields = ("account", "motion", "day", "score", "weights")
    # In the order they were written: that is the primary key, while no index serves the day of all motions alone.
    ordering = ("-pk",)
    sortable_by = ()
    paginator = CappedPaginator
    account_link = account_column()


def readiness_panel(account: Account, request: HttpRequest) -> SafeString | None:
    """The scores of an account now, with the points behind them; four queries. None where there are no weights."""
    weights = Weights.in_force()
    if weights is None:
        return None
    try:
        motions = trace(weights, account.pk, as_of=timezone.now())
    except Forgotten as error:
        return format_html("<p>{}</p>", str(error))
    counting = sorted((motion for motion in motions if motion.kinds), key=lambda motion: -motion.quarters)
    if not counting:
        return format_html("<p>No signal counts now (readiness weights v{}).</p>", weights.number)
    names = dict(SignalType.objects.order_by().values_list("key", "name"))
    body = format_html_join("", "{}", ((_motion(motion, names, account.pk),) for motion in counting))
    return format_html("{}<p>By readiness weights v{}.</p>", body, weights.number)


def _motion(motion: MotionTrace, names: dict[str, str], account_id: int) -> SafeString:
    """One score, and on demand what it is the sum of."""
    points = in_points(motion.quarters)
    total = f"{points:f} points in all"
    if points > FULL_SCORE:
        total += f", of which {FULL_SCORE} count"
    elif motion.quarters != motion.score * 4:
        total += ", rounded down"
    return format_html(
        "<details><summary>{}: {} of {}</summary>{}<p>{}.</p></details>",
        Motion(motion.motion).label,
        motion.score,
        FULL_SCORE,
        table_of(("Kind", "When", "Signals", "Each", "Counts", "Points"), _rows(motion.kinds, names, account_id)),
        total,
    )


def _rows(kinds: Iterable[TypeTrace], names: dict[str, str], account_id: int) -> Iterator[tuple[Any, ...]]:
    for kind in kinds:
        days = (kind.steps[0].until - kind.steps[0].after).days
        for number, step in enumerate(kind.steps):
            if step.found:
                yield (
                    names.get(kind.key, kind.key),
                    f"in the last {days} days" if number == 0 else f"{days * number} to {days * (number + 1)} days ago",
                    _signals(step, account_id),
                    kind.weight.points,
                    _SHARES_IN_WORDS[step.share],
                    f"{in_points(step.quarters):f}",
                )


def _signals(step: Step, account_id: int) -> SafeString | str:
    """How many signals count, with a link to them; and how many more there are, which do not."""
    more = step.found - len(step.signals)
    rest = f" and {more:,} more that do not" if more else ""
    if not step.signals:
        return f"none of {step.found:,}: newer ones count already"
    count = f"{len(step.signals)} count" if more else str(len(step.signals))
    if not may_open(Signal):
        return f"{count}{rest}"
    query = {"account__id__exact": account_id, "id__in": ",".join(str(signal.id) for signal in step.signals)}
    address = f"{reverse('admin:csplaybooks_signals_signal_changelist')}?{urlencode(query)}"
    return format_html('<a href="{}">{}</a>{}', address, count, rest)


panel(Account, "Readiness", readiness_panel, needs=ScoreSnapshot)
see_also(Account, ScoreSnapshot, by("account"), "Readiness scores")
see_also(ReadinessWeights, ScoreSnapshot, by("weights"), "Scores by it")
story_of(ReadinessWeights)
