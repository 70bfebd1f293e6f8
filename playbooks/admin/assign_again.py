"""The action that assigns plays by their routing, after a page that tells whose they would be then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from csplaybooks.admin_base import link_to
from csplaybooks.admin_base.confirm import is_answered
from csplaybooks.playbooks.acts.assigning import Again, Plan, plan_again, route_again
from csplaybooks.playbooks.admin.play_acts import MOST_PLAYS, MOST_REFUSALS, seen_in, versions_of
from csplaybooks.playbooks.admin.what_if import Table
from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.people import ACCEPTED
from csplaybooks.playbooks.what_if.words import how_many

TEMPLATE = "csplaybooks/admin/assign_again.html"

LABEL = "Assign by the routing"

#: The most plays that each table of the page names.
MOST_ROWS = 200

_NOBODY = "nobody"


@admin.action(description="Assign selected plays by the routing", permissions=["assign"])
def assign_by_routing(page: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """Assign plays as if they had just been opened: they spread over the pool, under caps.

    First the page that tells whose each would be, worked out by the act itself at this moment.
    """
    plays = {play.pk: play for play in queryset[: MOST_PLAYS + 1]}
    if len(plays) > MOST_PLAYS:
        page.message_user(request, f"Choose at most {MOST_PLAYS:,} plays at once.", messages.ERROR)
        return None
    if not plays:
        page.message_user(request, "You do not see what you chose any more, so nothing was done.", messages.ERROR)
        return None
    now = timezone.now()
    if not is_answered(request):
        return _ask(page, request, plays, plan_again(play_ids=list(plays), now=now, actor=request.user))
    answers = route_again(play_ids=list(plays), now=now, actor=request.user, seen=seen_in(request, plays))
    refused = {pk: why for pk, why in answers.items() if why is not None}
    if done := len(answers) - len(refused):
        page.message_user(request, f"{_plays(done)}: assigned by the routing.", messages.SUCCESS)
    for pk, why in list(refused.items())[:MOST_REFUSALS]:
        page.message_user(request, f"{plays[pk]}: {why}", messages.WARNING)
    if (more := len(refused) - MOST_REFUSALS) > 0:
        page.message_user(request, f"{_plays(more)} more: not assigned.", messages.WARNING)
    return None


def _ask(page: Any, request: HttpRequest, plays: Mapping[int, Play], plan: Plan) -> HttpResponse:
    """The page between: it is sent to the same list, with the same choice of plays."""
    context = {
        **page.admin_site.each_context(request),
        "title": f"{LABEL}: {_plays(len(plays))}",
        "opts": page.opts,
        "label": LABEL,
        "told": _told(plan),
        "tables": list(_tables(plays, plan)),
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": assign_by_routing.__name__,
        "select_across": request.POST.get("select_across", "0"),
        "seen": versions_of(plays.values()),
        "whence": request.get_full_path(),
    }
    request.current_app = page.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)


def _told(plan: Plan) -> list[str]:
    """What would happen, in numbers, a line for each thing."""
    all_of = plan.plays.values()
    moved = [each for each in all_of if each.moves]
    first = sum(each.play.owner_id is None for each in moved)
    out = sum(each.play.owner_id == each.owner_then_id for each in moved)
    accepted = sum(each.why == ACCEPTED for each in all_of)
    crowded = sum(bool(each.stays) for each in all_of) - accepted
    said = (
        (first, "get an owner"),
        (len(moved) - first - out, "get another owner"),
        (out, "come out of the tray, to their owner"),
        (len(plan.plays) - len(moved) - accepted - crowded, "stay with their owner: the routing chooses them again"),
        (accepted, f"stay with their owner, who {ACCEPTED}"),
        (crowded, "stay where they are: nobody is here and has room"),
        (len(plan.refused), "cannot be assigned"),
    )
    return [f"{_plays(number)}: {words}" for number, words in said if number]


def _tables(plays: Mapping[int, Play], plan: Plan) -> Iterable[Table]:
    yield Table(
        "By owner",
        ("Owner", "Plays now", "Plays then"),
        [(name or "Nobody", now, then) for name, now, then in plan.owners()],
        note="Of the plays chosen.",
    )
    # Whose they would be, one after the other; of one owner in the order of the list.
    moved = sorted((each for each in plan.plays.values() if each.moves), key=lambda each: plan.name(each.owner_then_id))
    yield _table("What goes to somebody", [(each.play, *_line(each, plan)) for each in moved])
    kept = [each for each in plan.plays.values() if not each.moves]
    yield _table("What stays", [(each.play, *_line(each, plan)) for each in kept])
    refused = [
        (plays[pk], str(plays[pk].owner or _NOBODY), str(plays[pk].owner or _NOBODY), why)
        for pk, why in plan.refused.items()
    ]
    yield _table("What cannot be assigned", refused)


def _table(heading: str, rows: list[tuple[Play, str, str, str]]) -> Table:
    shown = rows[:MOST_ROWS]
    return Table(
        f"{heading}: {_plays(len(rows))}",
        ("Play", "Owner now", "Owner then", "Why"),
        [(link_to(play), *more) for play, *more in shown],
        of=len(rows) if len(rows) > len(shown) else None,
    )


def _line(each: Again, plan: Plan) -> tuple[str, str, str]:
    why = each.stays or each.why
    if each.offer_to_id is not None:
        why += f"; offered to {plan.name(each.offer_to_id)} at once"
    return (
        f"{plan.name(each.play.owner_id) or _NOBODY}{_tray(each.play)}",
        plan.name(each.owner_then_id) or _NOBODY,
        why,
    )


def _tray(play: Play) -> str:
    return ", in the tray" if play.tray_at is not None else ""


def _plays(number: int) -> str:
    return how_many(number, "play", "plays")
