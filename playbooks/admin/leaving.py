"""On the list of team members: let somebody leave the team, with all that waits for them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from csplaybooks.accounts.models import TeamMember
from csplaybooks.accounts.visibility import scope_of
from csplaybooks.admin_base import confirmed, is_answered, row_action
from csplaybooks.playbooks.acts.leaving import leave_team, leaving_in_words


class LeaveForm(forms.Form):
    """Who takes over."""

    required_css_class = "required"

    to = forms.ModelChoiceField(
        TeamMember.objects.none(),
        required=False,
        label="Who takes over",
        help_text="Empty: each play goes by its routing, and the accounts wait for somebody to be named.",
    )

    def __init__(self, *args: Any, viewer: Any, leaver: TeamMember, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = TeamMember.objects.visible_to(viewer).active().exclude(pk=leaver.pk)
        # The stubs know form fields by their base class only.
        self.fields["to"].queryset = others  # type: ignore[attr-defined]


def may_let_leave(page: Any, request: HttpRequest) -> bool:
    """Whether a person may change who works here: as on the form, only those who see everything."""
    return bool(page.has_change_permission(request) and scope_of(request.user).everything)


@admin.action(description="Let them leave the team")
def leave(page: Any, request: HttpRequest, queryset: Any) -> HttpResponse | None:
    """Ask who takes over, tell what will happen, and do it; one member at a time."""
    members = list(queryset.filter(is_active=True)[:2])
    if len(members) != 1 or queryset.count() != 1:
        page.message_user(request, "Choose one member, who works here.", messages.ERROR)
        return None
    member = members[0]
    now = timezone.now()
    form = LeaveForm(request.POST if is_answered(request) else None, viewer=request.user, leaver=member)
    if asked := _asked(page, request, queryset, form, now):
        return asked
    to = form.cleaned_data["to"]
    try:
        left = leave_team(member_id=member.pk, to_id=to and to.pk, now=now, actor=request.user)
    except ValidationError as refusal:
        for name, errors in getattr(refusal, "error_dict", {"": refusal}).items():
            form.add_error(name if name in form.fields else None, errors)
        return _asked(page, request, queryset, form, now)
    said = "; ".join(left.lines())
    page.message_user(request, f"{member} has left the team" + (f": {said}." if said else "."), messages.SUCCESS)
    return None


def _asked(page: Any, request: HttpRequest, queryset: Any, form: LeaveForm, now: Any) -> HttpResponse | None:
    return confirmed(
        page,
        request,
        queryset,
        label="Let them leave the team",
        warning="All of it happens at once, and nothing of it is taken back when somebody returns.",
        form=form,
        details=lambda row: leaving_in_words(row, now),
    )


row_action(TeamMember, leave, allowed=may_let_leave)
