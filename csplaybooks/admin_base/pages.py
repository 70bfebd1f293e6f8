"""The bases of all pages: what a person may see, and writes that go through the acts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.text import capfirst

from csplaybooks.admin_base.actions import actions_of
from csplaybooks.admin_base.forms import LOST_UPDATE, OPENED_VERSION, ActForm, VersionedForm
from csplaybooks.admin_base.lists import Rows, VisibleRelatedFilter, ids_among, visible_rows
from csplaybooks.admin_base.panels import panels_of
from csplaybooks.admin_base.reader import LinkedParts, read_by
from csplaybooks.admin_base.related import links_from
from csplaybooks.admin_base.show import with_zone


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

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """A field of the form; what takes a moment says in which zone."""
        if isinstance(db_field, models.DateTimeField):
            kwargs.setdefault("help_text", with_zone(db_field.help_text))
        return super().formfield_for_dbfield(db_field, request, **kwargs)

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
    """The page of a table. Nothing is written by it, and nothing deleted; see `ActAdmin` and `deletable`."""

    form: type[forms.ModelForm] = ActForm
    change_list_template = "csplaybooks/admin/change_list.html"
    change_form_template = "csplaybooks/admin/change_form.html"
    delete_confirmation_template = "csplaybooks/admin/delete_confirmation.html"
    delete_selected_confirmation_template = "csplaybooks/admin/delete_selected_confirmation.html"
    object_history_template = "csplaybooks/admin/object_history.html"
    deletable = False
    #: Whether the front page of the admin lists the table. The others, history and parts of other rows, are listed on
    #: the page of their app, and linked from the rows that they belong to.
    on_front_page = True
    #: Fields that are set when a row is made and stand from then on.
    fixed_fields: Sequence[str] = ()
    list_per_page = 50
    # The rows follow their relations already; False would follow all of them.
    list_select_related = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    view_on_site = False

    class Media:
        css = {"all": ["csplaybooks/admin.css"]}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be deleted here."""
        return self.deletable and super().has_delete_permission(request, obj)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """What the person may do with the table; nothing where the front page need not list it."""
        return super().get_model_perms(request) if self.is_listed(request) else {}

    def is_listed(self, request: HttpRequest) -> bool:
        """Whether the front page lists the table for this person: the page of an app needs one table at least."""
        if self.on_front_page:
            return True
        others = [page for page in pages_of(self.admin_site, self.opts.app_label) if page.on_front_page]
        return not any(page.has_view_permission(request) for page in others)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """No list may be asked about the rows of other tables that point at its own: the person may not see those."""
        pointing = {field.name for field in self.opts.get_fields() if field.auto_created and not field.concrete}
        if lookup.split(LOOKUP_SEP, 1)[0] in pointing:
            return False
        # The stubs leave out that Django passes the request.
        return super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

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

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """The actions, with those that higher rooms offer here; `action_location` is what Django says from 6.1 on."""
        where = {} if action_location is None else {"action_location": action_location}
        actions: Any = super().get_actions(request, **where)
        if IS_POPUP_VAR not in request.GET:
            for function in actions_of(self, request):
                if found := self.get_action(function, **where):
                    actions[function.__name__] = found
        return actions

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Rows]:
        """What reads the rows of the list."""
        return Rows

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **where: Any) -> HttpResponse | None:
        """Run an action on the rows chosen; what is no id of a row counts as not chosen.

        Django would ask the database for it. `where` is what it says from 6.1 on: on which page the action was chosen.
        """
        sent = request.POST.copy()
        sent.setlist(ACTION_CHECKBOX_NAME, ids_among(self.opts, sent.getlist(ACTION_CHECKBOX_NAME)))
        request.POST = sent  # type: ignore[assignment]  # a copy that was changed, as Django makes them itself
        return super().response_action(request, queryset, *args, **where)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with links that open."""
        return read_by(self.admin_site, request, partial(super().changelist_view, request, extra_context))

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The form, with links that open."""
        return read_by(self.admin_site, request, partial(super().changeform_view, request, *args, **kwargs))

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page, with links to the rows that belong to this one, and the panels of other rooms."""
        row = context.get("original")
        if row is not None:
            context["see_also"] = links_from(row, self.admin_site, request)
            context["panels"] = panels_of(row, self.admin_site, request)
        context["adminform"] = LinkedParts(context["adminform"])
        context["inline_admin_formsets"] = [LinkedParts(inline) for inline in context["inline_admin_formsets"]]
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Never: rows are written by acts."""
        raise TypeError(f"{type(self).__name__} cannot write: let it be an ActAdmin.")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Never: rows are written by acts."""
        raise TypeError(f"{type(self).__name__} cannot write: let it be an ActAdmin.")

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

    on_front_page = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class ActAdmin(BaseAdmin):
    """The page of a table that acts write: `add_by_act` and `change_by_act` answer the row as it then stands.

    They are called once everything, the inlines too, has been checked, inside the request's transaction. What an act
    refuses with a ValidationError is shown on the form, and nothing is written. Of two people who save at once one is
    told: an act that gets the `opened_version` refuses with the code `conflict`.
    """

    form: type[forms.ModelForm] = VersionedForm

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Make the row. Raises ValidationError, by field."""
        raise NotImplementedError  # every page that adds has its own

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Change the row. Raises ValidationError, by field."""
        raise NotImplementedError  # every page that changes has its own

    def delete_by_act(self, request: HttpRequest, rows: list[Any], now: datetime) -> None:
        """Delete rows. Raises ValidationError for what must stay."""
        raise NotImplementedError  # every page that is `deletable` has its own

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show or take the form; what an act refuses is shown on it."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except ValidationError as refusal:
            # The transaction of the first time is rolled back. The second time the form knows the answer, so it is
            # shown again with what the person had filled in, and nothing is written.
            request.csplaybooks_refusal = _in_words(refusal)  # type: ignore[attr-defined]  # ours, read by get_form
            return super().changeform_view(request, *args, **kwargs)

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

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Call the act for one row."""
        self.delete_by_act(request, [obj], timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Call the act for the rows chosen on the list."""
        self.delete_by_act(request, list(queryset), timezone.now())

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask, then delete; what the act refuses is told on the page again."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except ValidationError as refusal:
            self.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **where: Any) -> HttpResponse | None:
        """Run an action, whole or not at all; what an act refuses is told above the list.

        `where` is what Django says from 6.1 on: on which page the action was chosen.
        """
        try:
            with transaction.atomic():
                return super().response_action(request, queryset, *args, **where)
        except ValidationError as refusal:
            self.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


def _in_words(refusal: ValidationError) -> ValidationError:
    """A refusal as people in front of a form read it."""
    return ValidationError(LOST_UPDATE) if getattr(refusal, "code", None) == "conflict" else refusal


def pages_of(site: admin.AdminSite, app_label: str) -> Iterable[BaseAdmin]:
    """Our pages of an app, in the order in which they were registered."""
    for model in site._registry:
        page = site.get_model_admin(model)
        if model._meta.app_label == app_label and isinstance(page, BaseAdmin):
            yield page
