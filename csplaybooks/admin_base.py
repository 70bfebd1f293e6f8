"""The base of all pages in the Django admin: what a person may see, and writes that go through the acts.

Every list, object page, choice, filter and autocomplete reads its rows through `visible_to(request.user)` of their
queryset, so a row that is not visible is not there: its pages answer as if it did not exist.

An act that says no raises a `ValidationError`. It is shown on the form, field by field, and what the request had
written until then is rolled back.

This module knows the stock admin and nothing of the rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

LOST_UPDATE = "Somebody else changed this after you opened it. Open it again and make your change there."

#: The hidden field that carries the version a form was opened with.
OPENED_VERSION = "opened_version"


def visible_rows(site: admin.AdminSite, model: Any, request: HttpRequest) -> Any:
    """The queryset of what a person may choose from in a table; all of them where it is a table of the host (users)."""
    if site.is_registered(model):
        related_admin = site.get_model_admin(model)
        if isinstance(related_admin, BaseAdmin):
            return related_admin.get_queryset(request)
    rows = model._default_manager.all()
    return rows.visible_to(request.user) if hasattr(rows, "visible_to") else rows


def link_to(row: Any, text: str | None = None) -> SafeString | str | None:
    """A link to a row's own page; None for no row."""
    if row is None:
        return None
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, str(row) if text is None else text)


def table_of(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> SafeString | str:
    """A small table for a read-only field; cells are escaped."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return "-"
    head = format_html_join("", "<th>{}</th>", ((heading,) for heading in headings))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def lines_of(items: Iterable[Any]) -> SafeString:
    """Lines for a read-only field; they are escaped."""
    return format_html_join(SafeString("<br>"), "{}", ((item,) for item in items))


def in_plain(key: str) -> str:
    """A key as people write it: `not_paying` is `Not paying`."""
    return capfirst(key.replace("_", " "))


def moment(at: datetime | None) -> str:
    """A moment in the time zone of the page, as the admin writes it elsewhere."""
    return "-" if at is None else formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")


def filled_filter(title: str, *, filled: str, empty: str) -> type[admin.EmptyFieldListFilter]:
    """A filter by whether a column says anything, in the words given."""

    class Filled(admin.EmptyFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = title

        def choices(self, changelist: Any) -> Any:
            """All, those where it is empty, those where it is filled."""
            for choice, words in zip(super().choices(changelist), (None, empty, filled), strict=True):
                yield {**choice, "display": words or choice["display"]}

    return Filled


class CappedPaginator(Paginator):
    """Pages of a table too long to be counted: it counts to `cap`, and shows no more than that.

    Whoever looks for an older row searches or filters.
    """

    cap = 10_000

    @cached_property
    def count(self) -> int:
        """The number of rows, at most `cap`."""
        rows: Any = self.object_list
        return int(rows[: self.cap].count())


class VisibleRelatedFilter(admin.RelatedFieldListFilter):
    """A filter by a related row, which offers only those that the person may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[Any, Any]]:
        """Ids and labels of the related rows."""
        rows = visible_rows(model_admin.admin_site, field.remote_field.model, request)
        return [(row.pk, str(row)) for row in rows]


class ActForm(forms.ModelForm):
    """The form behind a page. `viewer` is the person in front of it, `refusal` what an act answered to its values."""

    viewer: Any = None
    refusal: ValidationError | None = None

    def full_clean(self) -> None:
        """Check the values, and tell what the act said about them."""
        super().full_clean()
        if not self.is_bound or self.refusal is None:
            return
        by_field: Mapping[str, Any] = getattr(self.refusal, "error_dict", {"": self.refusal})
        for name, errors in by_field.items():
            self.add_error(name if name in self.fields else None, errors)


class VersionedForm(ActForm):
    """A form over a row with a `version`: it says no when the row was changed since the form was opened."""

    opened_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial[OPENED_VERSION] = self.instance.version

    def clean(self) -> dict[str, Any]:
        """Compare the versions."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is not None and cleaned.get(OPENED_VERSION) != self.instance.version:
            self.add_error(None, LOST_UPDATE)
        return cleaned


class _Visible(admin.options.BaseModelAdmin):
    """What pages and their inlines share: rows and choices are those that the person may see."""

    #: Relations that the labels and columns of a row read.
    follows: Sequence[str] = ()

    def get_queryset(self, request: HttpRequest) -> Any:
        """The rows that the person may see."""
        rows: Any = super().get_queryset(request)
        rows = rows.visible_to(request.user)
        # Without names, select_related would follow everything.
        return rows.select_related(*self.follows) if self.follows else rows

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """A choice of the rows that the person may see."""
        kwargs.setdefault("queryset", visible_rows(self.admin_site, db_field.remote_field.model, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """A choice of the rows that the person may see."""
        kwargs.setdefault("queryset", visible_rows(self.admin_site, db_field.remote_field.model, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class BaseInline(_Visible, admin.TabularInline):
    """Rows on the page of another row: to look at, unless `addable` or `editable` says more."""

    extra = 0
    addable = False
    editable = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not (self.addable or self.editable):
            self.template = "csplaybooks/admin/rows.html"

    def has_add_permission(self, request: HttpRequest, obj: Any) -> bool:  # type: ignore[override]  # as inlines have it
        """Whether rows may be added here."""
        return (self.addable or self.editable) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be changed here."""
        return self.editable and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be taken away here."""
        return self.editable and super().has_delete_permission(request, obj)


class BaseAdmin(_Visible, admin.ModelAdmin):
    """The page of a table. Nothing is deleted unless `deletable` says so."""

    form: type[forms.ModelForm] = ActForm
    deletable = False
    #: Fields that are set when a row is made and stand from then on.
    fixed_fields: Sequence[str] = ()
    list_per_page = 50
    # The rows follow their relations already; False would follow all of them.
    list_select_related = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    view_on_site = False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be deleted here."""
        return self.deletable and super().has_delete_permission(request, obj)

    def get_list_filter(self, request: HttpRequest) -> Any:
        """The filters; those by a related row offer only what the person may see."""
        return [
            (item, VisibleRelatedFilter) if isinstance(item, str) and self.opts.get_field(item).is_relation else item
            for item in super().get_list_filter(request)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The read-only fields; fixed ones are among them once the row is there."""
        readonly = super().get_readonly_fields(request, obj)
        return readonly if obj is None else (*readonly, *self.fixed_fields)

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """The groups of fields, as of `fieldsets`; `obj` is None where a row is added."""
        return super().get_fieldsets(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The layout; a form that can be sent carries the version it was opened with."""
        fieldsets = [
            (name, {**options, "fields": [field for field in options["fields"] if field != OPENED_VERSION]})
            for name, options in self.layout(request, obj)
        ]
        versioned = issubclass(self.form, VersionedForm)
        if versioned and obj is not None and self.has_change_permission(request, obj):
            fieldsets[-1][1]["fields"].append(OPENED_VERSION)
        return fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form's class, made for this request."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.viewer = request.user
        form.refusal = getattr(request, "csplaybooks_refusal", None)
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or take the form; what an act refuses is shown on it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as refusal:
            # The transaction of the first time is rolled back. The second time the form knows the answer, so it is
            # shown again with what the person had filled in, and nothing is written.
            request.csplaybooks_refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_deleted_objects(self, objs: Any, request: Any) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What would be deleted, and the kinds of row that stand in the way.

        Stock Django reads every protected row, which for a kind of signal may be millions, and names rows that the
        person may not see.
        """
        rows = list(objs)
        relations: list[Any] = [field for field in self.opts.get_fields(include_hidden=True) if field.auto_created]
        in_the_way = [
            capfirst(str(relation.related_model._meta.verbose_name_plural))
            for relation in relations
            if getattr(relation, "on_delete", None) in (models.PROTECT, models.RESTRICT)
            and relation.related_model._base_manager.filter(**{f"{relation.field.name}__in": rows}).exists()
        ]
        counts = {str(self.opts.verbose_name_plural): len(rows)}
        return [str(row) for row in rows], counts, set(), sorted(set(in_the_way))


class ReadOnlyAdmin(BaseAdmin):
    """The page of history, or of rows that only acts write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class VersionedAdmin(BaseAdmin):
    """The page of a table with `version` and `updated_at`; of two people who save at once one is told."""

    form: type[forms.ModelForm] = VersionedForm

    def claim(self, row: Any, form: Any, **values: Any) -> None:
        """Write `values`, if the row still has the version that the form was opened with.

        The row stays locked until the request's transaction ends. Raises ValidationError where somebody was first.
        """
        opened = self.model._default_manager.filter(pk=row.pk, version=form.cleaned_data[OPENED_VERSION])
        if not opened.update(**(values or {"version": F("version")})):
            raise ValidationError(LOST_UPDATE)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the row with its next version."""
        obj.updated_at = timezone.now()
        if not change:
            super().save_model(request, obj, form, change)
            return
        self.claim(obj, form, version=F("version") + 1)
        obj.version = form.cleaned_data[OPENED_VERSION] + 1
        own = [field.name for field in self.opts.concrete_fields if field.name in form.cleaned_data]
        obj.save(update_fields=[*own, "version", "updated_at"])


class ActAdmin(VersionedAdmin):
    """The page of a table that acts write: `add_by_act` and `change_by_act` answer the row as it then stands.

    They are called once everything, the inlines too, has been checked, inside the request's transaction.
    """

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the row. Raises ValidationError, by field."""
        raise NotImplementedError

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the row. Raises ValidationError, by field."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing yet: the act wants the inlines too."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Call the act."""
        for formset in formsets:
            # Writes nothing, but lets the admin's own log tell what was added.
            formset.save(commit=False)
        act = self.change_by_act if change else self.add_by_act
        row = act(request, form, list(formsets), timezone.now())
        vars(form.instance).update(vars(row))


def added_in(formsets: Iterable[Any], model: Any) -> list[dict[str, Any]]:
    """The values of the rows that were filled in on the inlines of a model."""
    return [
        form.cleaned_data
        for formset in formsets
        if formset.model is model
        for form in formset.extra_forms
        if form.has_changed() and not form.cleaned_data.get("DELETE")
    ]


def shown(description: str, read: Callable[[Any], Any], *, ordering: Any = None, boolean: bool | None = None) -> Any:
    """A column or read-only field of a page, as a class attribute: what `read` answers for a row.

    Nothing is shown as a dash, a moment in the time zone of the page.
    """

    @admin.display(description=description, ordering=ordering, boolean=boolean)
    def column(row: Any) -> Any:
        value = read(row)
        if isinstance(value, datetime):
            return moment(value)
        return "-" if value is None or value == "" else value

    return staticmethod(column)
