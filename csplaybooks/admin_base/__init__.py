"""The base of all pages in the Django admin: what a person may see, and writes that go through the acts.

Every list, object page, choice, filter and autocomplete reads its rows through `visible_to(request.user)` of their
queryset, so a row that is not visible is not there: its pages answer as if it did not exist.

An act that says no raises a `ValidationError`. It is shown on the form, field by field, and what the request had
written until then is rolled back.

These modules know the stock admin and nothing of the rooms.
"""

from __future__ import annotations

from csplaybooks.admin_base.actions import row_action
from csplaybooks.admin_base.confirm import confirmed, is_answered, page_of
from csplaybooks.admin_base.export import Export, csv_file
from csplaybooks.admin_base.forms import LOST_UPDATE, OPENED_VERSION, ActForm, VersionedForm, added_in
from csplaybooks.admin_base.lists import CappedPaginator, VisibleRelatedFilter, filled_filter, visible_rows
from csplaybooks.admin_base.pages import ActAdmin, BaseAdmin, BaseInline, ReadOnlyAdmin, pages_of
from csplaybooks.admin_base.panels import panel
from csplaybooks.admin_base.related import by, one, see_also
from csplaybooks.admin_base.reports import Reports, reports_among
from csplaybooks.admin_base.show import in_plain, lines_of, link_to, moment, shown, table_of, with_zone

__all__ = [
    "LOST_UPDATE",
    "OPENED_VERSION",
    "ActAdmin",
    "ActForm",
    "BaseAdmin",
    "BaseInline",
    "CappedPaginator",
    "Export",
    "ReadOnlyAdmin",
    "Reports",
    "VersionedForm",
    "VisibleRelatedFilter",
    "added_in",
    "by",
    "confirmed",
    "csv_file",
    "filled_filter",
    "in_plain",
    "is_answered",
    "lines_of",
    "link_to",
    "moment",
    "one",
    "page_of",
    "pages_of",
    "panel",
    "reports_among",
    "row_action",
    "see_also",
    "shown",
    "table_of",
    "visible_rows",
    "with_zone",
]
