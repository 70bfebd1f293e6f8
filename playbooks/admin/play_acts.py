"""What people do with plays: each an admin action that calls its act, after a page that asks for what it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from csplaybooks.accounts.admin.show import MomentField
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.handoffs import accept_plays, offer_plays, refuse_plays, take_back_plays
from csplaybooks.playbooks.acts.moving import Answers
from csplaybooks.playbooks.acts.plays import (
    assign_plays,
    close_plays,
    log_touch,
    pause_plays,
    resume_plays,
    start_plays,
)
from csplaybooks.playbooks.models import Outcome, Play, Touch
from csplaybooks.playbooks.moves import possible

#: The most plays one act takes at once, and the most refusals it tells one by one.
MOST_PLAYS = 1000
MOST_REFUSALS = 20

TEMPLATE = "csplaybooks/admin/act.html"


class AskForm(forms.Form):
    """What an act asks for. `viewer` is the person who acts."""

    required_css_class = "required"

    def __init__(self, *args: Any, viewer: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.viewer = viewer


class AssignForm(AskForm):
    """Whom to give plays to."""

    owner = forms.ModelChoiceField(TeamMember.objects.none())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The stubs know form fields by their base class only.
        self.fields["owner"].queryset = TeamMember.objects.visible_to(self.viewer).active()  # type: ignore[attr-defined]


class OfferForm(AskForm):
    """Whom to offer plays to."""

    to = forms.ModelChoiceField(TeamMember.objects.none(), label="Offer to", help_text="An account executive.")
    note = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80}),
        help_text="What was found, what it is worth and whom to talk to goes with it by itself.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sellers = TeamMember.objects.visible_to(self.viewer).active().filter(is_account_executive=True)
        # The stubs know form fields by their base class only.
        self.fields["to"].queryset = sellers  # type: ignore[attr-defined]


class TouchForm(AskForm):
    """A contact that was made."""

    channel = forms.ChoiceField(choices=Touch.Channel.choices)
    direction = forms.ChoiceField(choices=Touch.Direction.choices)
    at = MomentField(required=False, label="When", help_text="Empty: now.")
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 4, "cols": 80}))

    def clean_at(self) -> datetime | None:
        """A contact is logged once it was made."""
        at: datetime | None = self.cleaned_data["at"]
        if at is not None and at > timezone.now():
            raise ValidationError("This lies in the future.")
        return at


class PauseForm(AskForm):
    """What is waited for, and until when."""

    reason = forms.CharField(max_length=500, label="Waiting for")
    wakes_at = MomentField(required=False, label="Wakes at", help_text="Empty: when somebody resumes it.")


class ReasonForm(AskForm):
    """Why, if there is something to say."""

    reason = forms.CharField(max_length=500, required=False)


class GivenReasonForm(AskForm):
    """Why."""

    reason = forms.CharField(max_length=500)


@dataclass(frozen=True)
class PlayAct:
    """One act on plays: how it is named, what it asks for (None: nothing), and how it is called.

    `verb` is its name in the table of moves, `label` stands on its button and `menu` among the actions of the list.
    An act that `ends` closes the play. `permission` names who may: `work` on plays, or `assign` them.
    """

    verb: str
    label: str
    menu: str
    done: str
    form: type[AskForm] | None
    call: Callable[[HttpRequest, list[int], Mapping[str, Any], datetime], Answers]
    ends: bool = False
    permission: str = "work"

    @property
    def action(self) -> str:
        """The name of the admin action."""
        return f"{self.verb}_plays"


def _assign(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return assign_plays(play_ids=ids, owner_id=data["owner"].pk, now=now, actor=request.user)


def _start(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return start_plays(play_ids=ids, now=now, actor=request.user)


def _touch(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    member = TeamMember.objects.filter(user=request.user.pk).first()
    return log_touch(
        play_ids=ids,
        channel=data["channel"],
        direction=data["direction"],
        at=data["at"],
        note=data["note"],
        by_member_id=member and member.pk,
        now=now,
        actor=request.user,
    )


def _pause(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return pause_plays(play_ids=ids, reason=data["reason"], wakes_at=data["wakes_at"], now=now, actor=request.user)


def _resume(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return resume_plays(play_ids=ids, now=now, actor=request.user)


def _offer(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return offer_plays(play_ids=ids, to_id=data["to"].pk, note=data["note"], now=now, actor=request.user)


def _accept(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return accept_plays(play_ids=ids, now=now, actor=request.user)


def _refuse(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return refuse_plays(play_ids=ids, reason=data["reason"], now=now, actor=request.user)


def _take_back(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
    return take_back_plays(play_ids=ids, reason=data["reason"], now=now, actor=request.user)


def _close(outcome: Outcome) -> Callable[[HttpRequest, list[int], Mapping[str, Any], datetime], Answers]:
    def close(request: HttpRequest, ids: list[int], data: Mapping[str, Any], now: datetime) -> Answers:
        return close_plays(play_ids=ids, outcome=outcome, reason=data["reason"], now=now, actor=request.user)

    return close


def _ending(verb: str, label: str, outcome: Outcome, form: type[AskForm] = ReasonForm) -> PlayAct:
    first, *rest = label.split(" ", 1)
    menu = " ".join([first, "selected plays", *rest])
    return PlayAct(verb, label, menu, outcome.label.lower(), form, _close(outcome), ends=True)


#: In the order of the menu.
PLAY_ACTS = (
    PlayAct("assign", "Assign", "Assign selected plays", "assigned", AssignForm, _assign, permission="assign"),
    PlayAct("start", "Start", "Start selected plays", "started", None, _start),
    PlayAct("touch", "Log a contact", "Log a contact on selected plays", "contact logged", TouchForm, _touch),
    PlayAct("pause", "Pause", "Pause selected plays", "paused", PauseForm, _pause),
    PlayAct("resume", "Resume", "Resume selected plays", "resumed", None, _resume),
    PlayAct("offer", "Offer", "Offer selected plays", "offered", OfferForm, _offer),
    PlayAct("accept", "Accept the offer", "Accept the offers of selected plays", "offer accepted", None, _accept),
    PlayAct(
        "refuse", "Refuse the offer", "Refuse the offers of selected plays", "offer refused", GivenReasonForm, _refuse
    ),
    PlayAct(
        "take_back", "Take back", "Take back the offers of selected plays", "offer taken back", ReasonForm, _take_back
    ),
    _ending("win", "Mark as won", Outcome.WON),
    _ending("lose", "Mark as lost", Outcome.LOST),
    _ending("decline", "Decline", Outcome.DECLINED, form=GivenReasonForm),
    _ending("withdraw", "Withdraw", Outcome.WITHDRAWN),
)


def acts_on(play: Play, viewer: Any) -> list[PlayAct]:
    """The acts that a person may do on a play as it stands."""
    verbs = set(possible(play, viewer))
    return [act for act in PLAY_ACTS if act.verb in verbs]


def buttons(page: Any, request: HttpRequest, play: Play, verbs: Collection[str] | None = None) -> dict[str, Any]:
    """What a page shows to have the acts as buttons that a person may do on a play; of `verbs` only, where given.

    They are sent to the list of plays, as if this play were ticked there. `page` is that of plays.
    """
    return {
        "acted": play,
        "acts_at": reverse(f"admin:{Play._meta.app_label}_play_changelist"),
        "acts": [
            act
            for act in acts_on(play, request.user)
            if (verbs is None or act.verb in verbs) and getattr(page, f"has_{act.permission}_permission")(request)
        ],
    }


def as_action(act: PlayAct) -> Any:
    """An act as an action of the admin's list."""

    @admin.action(description=act.menu, permissions=[act.permission])
    def action(page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return perform(act, page, request, queryset)

    action.__name__ = act.action
    return action


def perform(act: PlayAct, page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """Do an act on the plays chosen; ask first for what it needs. Tells of each play that was refused."""
    plays = {play.pk: play for play in queryset[: MOST_PLAYS + 1]}
    if len(plays) > MOST_PLAYS:
        page.message_user(request, f"Choose at most {MOST_PLAYS:,} plays at once.", messages.ERROR)
        return None
    if not plays:
        # Since the page was opened they went to somebody else, for one because an offer was taken back.
        gone = "You do not see what you chose any more, so nothing was done. Was an offer taken back, or answered?"
        page.message_user(request, gone, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())
    data: Mapping[str, Any] = {}
    form = None
    if act.form is not None:
        form = act.form(request.POST if "perform" in request.POST else None, viewer=request.user)
        if not form.is_valid():
            return _ask(act, page, request, form, plays)
        data = form.cleaned_data
    try:
        answers = act.call(request, list(plays), data, timezone.now())
    except ValidationError as refusal:
        if form is None:
            page.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return None
        for name, errors in getattr(refusal, "error_dict", {"": refusal}).items():
            form.add_error(name if name in form.fields else None, errors)
        return _ask(act, page, request, form, plays)
    _tell(act, page, request, plays, answers)
    if _from_play(request, plays):
        # Who gives a play away may not see it any more.
        seen = Play.objects.visible_to(request.user).filter(pk__in=plays).exists()
        return HttpResponseRedirect(_whence(request, plays) if seen else request.get_full_path())
    return None


def _from_play(request: HttpRequest, plays: Mapping[int, Play]) -> bool:
    return "from_play" in request.POST and len(plays) == 1


def _whence(request: HttpRequest, plays: Mapping[int, Play]) -> str:
    """The page on which the act was chosen: the play's own, or the list with its filters."""
    if _from_play(request, plays):
        return reverse(f"admin:{Play._meta.app_label}_play_change", args=list(plays))
    return request.get_full_path()


def _ask(act: PlayAct, page: Any, request: HttpRequest, form: Any, plays: Mapping[int, Play]) -> HttpResponse:
    """The page that asks for what an act needs; it is sent to the same list, with the same choice of plays."""
    context = {
        **page.admin_site.each_context(request),
        "title": f"{act.label}: {_count(len(plays))}",
        "opts": page.opts,
        "act": act,
        "form": form,
        "plays": list(plays.values()),
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "checkbox": ACTION_CHECKBOX_NAME,
        "select_across": request.POST.get("select_across", "0"),
        "from_play": "from_play" in request.POST,
        "whence": _whence(request, plays),
    }
    request.current_app = page.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)


def _tell(act: PlayAct, page: Any, request: HttpRequest, plays: Mapping[int, Play], answers: Answers) -> None:
    refused = {pk: why for pk, why in answers.items() if why is not None}
    if done := len(answers) - len(refused):
        page.message_user(request, f"{_count(done)}: {act.done}.", messages.SUCCESS)
    for pk, why in list(refused.items())[:MOST_REFUSALS]:
        page.message_user(request, f"{plays[pk]}: {why}", messages.WARNING)
    if (more := len(refused) - MOST_REFUSALS) > 0:
        page.message_user(request, f"{_count(more)} more: refused.", messages.WARNING)


def _count(number: int) -> str:
    return "1 play" if number == 1 else f"{number:,} plays"
