"""What people do with plays: each an admin action that calls its act, after a page that asks for what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
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
from csplaybooks.accounts.standing_in import absences_in_words
from csplaybooks.playbooks.acts.claiming import claim_plays, release_plays
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
from csplaybooks.playbooks.acts.steps import finish_steps
from csplaybooks.playbooks.models import Outcome, Play, Touch
from csplaybooks.playbooks.moves import MOVES, Rights, possible

#: The most plays one act takes at once, and the most refusals it tells one by one.
MOST_PLAYS = 1000
MOST_REFUSALS = 20

TEMPLATE = "csplaybooks/admin/act.html"

_PLAY_AND_VERSION = re.compile(r"([0-9]{1,19}):([0-9]{1,19})")


class MemberField(forms.ModelChoiceField):
    """A member of the team; of those who are away it says until when, and who stands in."""

    absences: Mapping[int, str] = {}

    def label_from_instance(self, obj: Any) -> str:
        """The name, and that they are away."""
        return f"{obj} ({self.absences[obj.pk]})" if obj.pk in self.absences else str(obj)


class AskForm(forms.Form):
    """What an act asks for. `viewer` is the person who acts."""

    required_css_class = "required"

    def __init__(self, *args: Any, viewer: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.viewer = viewer

    def choose_among(self, name: str, members: Any) -> None:
        """Let a member be chosen among some; of those who are away today it is told."""
        # The stubs know form fields by their base class only.
        field: Any = self.fields[name]
        field.queryset = members
        field.absences = absences_in_words(timezone.now())

    def warnings(self) -> list[str]:
        """What is to be said of the members who were chosen: that they are away."""
        fields = {name: field for name, field in self.fields.items() if isinstance(field, MemberField)}
        chosen = ((field.absences, self.cleaned_data[name]) for name, field in fields.items())
        return [f"{member} is {absences[member.pk]}." for absences, member in chosen if member.pk in absences]


class AssignForm(AskForm):
    """Whom to give plays to."""

    owner = MemberField(TeamMember.objects.none())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choose_among("owner", TeamMember.objects.visible_to(self.viewer).active())


class OfferForm(AskForm):
    """Whom to offer plays to."""

    to = MemberField(TeamMember.objects.none(), label="Offer to", help_text="An account executive.")
    note = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80}),
        help_text="What was found, what it is worth and whom to talk to goes with it by itself.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sellers = TeamMember.objects.visible_to(self.viewer).active().filter(is_account_executive=True)
        self.choose_among("to", sellers)


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


class StepForm(AskForm):
    """What came of it, if there is something to say, and whether the customer was contacted by it."""

    note = forms.CharField(max_length=500, required=False)
    contact = forms.ChoiceField(
        required=False,
        label="I have been in contact",
        choices=[("", "No"), *(pair for pair in Touch.Channel.choices if pair[0] != Touch.Channel.PROMPT)],
        help_text="How, where you told the customer yourself: it is logged as a contact of now.",
    )


class GivenReasonForm(AskForm):
    """Why."""

    reason = forms.CharField(max_length=500)


@dataclass(frozen=True)
class PlayAct:
    """One act on plays: how it is named, what it asks for (None: nothing), and how it is called: with what was asked
    for, and with the arguments that all acts share.

    `verb` is its name in the table of moves, which says whose it is; `menu` stands among the actions of the list. An
    act that `ends` closes the play.
    """

    verb: str
    menu: str
    done: str
    form: type[AskForm] | None
    call: Callable[[Mapping[str, Any], Mapping[str, Any]], Answers]
    ends: bool = False

    @property
    def label(self) -> str:
        """What stands on its button."""
        return MOVES[self.verb].label

    @property
    def permission(self) -> str:
        """Of which of the page's questions for a permission it is: `assign` plays, or `work` them."""
        return "assign" if MOVES[self.verb].permission == "assign_play" else "work"

    @property
    def action(self) -> str:
        """The name of the admin action."""
        return f"{self.verb}_plays"


def _assign(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return assign_plays(owner_id=data["owner"].pk, **how)


def _claim(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return claim_plays(**how)


def _release(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return release_plays(reason=data["reason"], **how)


def _start(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return start_plays(**how)


def _touch(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    member = TeamMember.objects.filter(user=how["actor"].pk).first()
    # The contact was made, whoever moved the play meanwhile.
    how = {name: value for name, value in how.items() if name != "seen"}
    return log_touch(
        channel=data["channel"],
        direction=data["direction"],
        at=data["at"],
        note=data["note"],
        by_member_id=member and member.pk,
        **how,
    )


def _pause(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return pause_plays(reason=data["reason"], wakes_at=data["wakes_at"], **how)


def _resume(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return resume_plays(**how)


def _offer(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return offer_plays(to_id=data["to"].pk, note=data["note"], **how)


def _accept(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return accept_plays(**how)


def _refuse(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return refuse_plays(reason=data["reason"], **how)


def _take_back(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return take_back_plays(reason=data["reason"], **how)


def _step(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return finish_steps(note=data["note"], contact=data["contact"], **how)


def _skip_step(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
    return finish_steps(note=data["reason"], skip=True, **how)


def _close(outcome: Outcome) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Answers]:
    def close(data: Mapping[str, Any], how: Mapping[str, Any]) -> Answers:
        return close_plays(outcome=outcome, reason=data["reason"], **how)

    return close


def _ending(verb: str, outcome: Outcome, form: type[AskForm] = ReasonForm) -> PlayAct:
    first, *rest = MOVES[verb].label.split(" ", 1)
    menu = " ".join([first, "selected plays", *rest])
    return PlayAct(verb, menu, outcome.label.lower(), form, _close(outcome), ends=True)


#: Who may claim what was given back: those who see it, as far as they may own it and have room.
WHO_MAY_CLAIM = (
    "the account's team and the managers above them can claim it now, and where the account has no CSM every CSM can"
)

#: In the order of the menu.
PLAY_ACTS = (
    PlayAct("assign", "Assign selected plays", "assigned", AssignForm, _assign),
    PlayAct("claim", "Claim selected plays", "claimed", None, _claim),
    PlayAct("release", "Release selected plays", f"released; {WHO_MAY_CLAIM}", GivenReasonForm, _release),
    PlayAct("start", "Start selected plays", "started", None, _start),
    PlayAct("touch", "Log a contact on selected plays", "contact logged", TouchForm, _touch),
    PlayAct("pause", "Pause selected plays", "paused", PauseForm, _pause),
    PlayAct("resume", "Resume selected plays", "resumed", None, _resume),
    PlayAct("offer", "Offer selected plays", "offered", OfferForm, _offer),
    PlayAct("accept", "Accept the offers of selected plays", "offer accepted", None, _accept),
    PlayAct("refuse", "Refuse the offers of selected plays", "offer refused", GivenReasonForm, _refuse),
    PlayAct("take_back", "Take back the offers of selected plays", "offer taken back", ReasonForm, _take_back),
    PlayAct("step", "Do the step of selected plays", "step done", StepForm, _step),
    PlayAct("skip_step", "Skip the step of selected plays", "step skipped", GivenReasonForm, _skip_step),
    _ending("win", Outcome.WON),
    _ending("lose", Outcome.LOST),
    _ending("decline", Outcome.DECLINED, form=GivenReasonForm),
    _ending("withdraw", Outcome.WITHDRAWN),
)


def acts_on(play: Play, viewer: Any, now: datetime) -> list[PlayAct]:
    """The acts that a person may do at a moment, on a play as it stands."""
    verbs = set(possible(play, Rights.of(viewer, now)))
    return [act for act in PLAY_ACTS if act.verb in verbs]


def buttons(page: Any, request: HttpRequest, play: Play, verbs: Collection[str] | None = None) -> dict[str, Any]:
    """What a page shows to have the acts as buttons that a person may do on a play; of `verbs` only, where given.

    They are sent to the list of plays, as if this play were ticked there. `page` is that of plays.
    """
    return {
        "acted": play,
        "seen": versions_of([play]),
        "acts_at": reverse(f"admin:{Play._meta.app_label}_play_changelist"),
        "acts": [
            act
            for act in acts_on(play, request.user, timezone.now())
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
        how = {"play_ids": list(plays), "now": timezone.now(), "actor": request.user, "seen": seen_in(request, plays)}
        answers = act.call(data, how)
    except ValidationError as refusal:
        if form is None:
            page.message_user(request, " ".join(refusal.messages), messages.ERROR)
            return None
        for name, errors in getattr(refusal, "error_dict", {"": refusal}).items():
            form.add_error(name if name in form.fields else None, errors)
        return _ask(act, page, request, form, plays)
    _tell(act, page, request, plays, answers)
    if form is not None and None in answers.values():
        for warning in form.warnings():
            page.message_user(request, warning, messages.WARNING)
    if _from_play(request, plays):
        # Who gives a play away may not see it any more.
        seen = Play.objects.visible_to(request.user).filter(pk__in=plays).exists()
        return HttpResponseRedirect(_whence(request, plays) if seen else request.get_full_path())
    return None


def versions_of(plays: Iterable[Play]) -> str:
    """The versions of plays as a page carries them: an act on it is refused where somebody was first."""
    return ",".join(f"{play.pk}:{play.version}" for play in plays)


def seen_in(request: HttpRequest, plays: Mapping[int, Play]) -> dict[int, int]:
    """The version in which the person saw each play; of what no page has shown, the one it has now."""
    pairs = (_PLAY_AND_VERSION.fullmatch(pair) for pair in request.POST.get("seen", "").split(",")[:MOST_PLAYS])
    shown = {int(pair[1]): int(pair[2]) for pair in pairs if pair is not None}
    return {pk: min(shown.get(pk, play.version), play.version) for pk, play in plays.items()}


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
        # Whoever looked first at the play's own page has seen it there.
        "seen": request.POST.get("seen") or versions_of(plays.values()),
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
