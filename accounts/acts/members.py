"""Acts on the vendor's own people: who they are, who leads them, when they are away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from csplaybooks.accounts import hooks
from csplaybooks.accounts.acts.absences import stands_up
from csplaybooks.accounts.acts.groups import match_groups, may_move
from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.accounts.models import Absence, TeamMember
from csplaybooks.accounts.roles import TEAM_ROLES
from csplaybooks.accounts.zones import is_zone


def _fits(member: TeamMember) -> None:
    """Their time zone is one, and whoever leads a member is not led by them."""
    if member.zone and not is_zone(member.zone):
        raise ValidationError(
            {"zone": f"There is no time zone {member.zone!r}: name one of the IANA database, such as Europe/Berlin."}
        )
    _led_by_no_circle(member)


def _led_by_no_circle(member: TeamMember) -> None:
    """Whoever leads a member is not led by them, however far down."""
    if member.pk is None or member.manager_id is None:
        return
    # The table of team members is small (people, not customers): one query, then the way up in memory.
    manager_of: dict[int, int | None] = dict(TeamMember.objects.values_list("pk", "manager_id"))
    above: int | None = member.manager_id
    seen = {member.pk}
    while above is not None:
        if above in seen:
            said = f"{member.manager} is led by {member}, directly or over others: that would be a circle."
            raise ValidationError({"manager": said})
        seen.add(above)
        above = manager_of.get(above)


MEMBERS = Table(
    model=TeamMember,
    fields=(
        "user",
        "name",
        "email",
        "is_customer_success_manager",
        "is_account_executive",
        "is_manager",
        "is_digital_desk",
        "takes_pool_work",
        "open_play_cap",
        "zone",
        "manager",
        "is_active",
    ),
    fixed=(),
    rule=_fits,
)

ABSENCES = Table(model=Absence, fields=("member", "first_day", "last_day", "stand_in"), fixed=(), rule=stands_up)


#: What decides which groups a member's sign-in is in.
_RIGHTS = ("user_id", "is_active", *TEAM_ROLES)

#: What decides in which hours a member works, beside whose hours a calendar is.
_HOURS = ("zone", "manager_id")


@transaction.atomic
def add_member(*, values: Mapping[str, Any], now: datetime, actor: Any) -> TeamMember:
    """Add a team member or a digital desk; see `make_row`. Their sign-in comes into the groups of their roles."""
    member = make_row(table=MEMBERS, values=values, now=now, actor=actor)
    if member.user_id is not None:
        match_groups(user_ids=[member.user_id], actor=actor)
    return member


@transaction.atomic
def change_member(
    *, member_id: int, values: Mapping[str, Any], now: datetime, actor: Any, expected_version: int | None = None
) -> TeamMember:
    """Change a team member; answers them as they stand. See `change_row`.

    Nobody leads somebody who leads them. Promises follow where the hours of somebody are others by it: the rooms above
    are told (`hooks.hours_moved`). Who stops working (`is_active` from true to false) must have nothing left that waits
    for them: the rooms above say so with a ValidationError (`hooks.member_leaves`). Accounts keep their name in its
    team until somebody takes over; routing passes them by.

    Users come into the groups of their roles and out of the others, whatever was changed: saving a member again mends
    what had come apart. See `match_groups`, which says who may. Whoever may not and changes nothing that decides on
    groups saves all the same, and what had come apart before stays so.
    """
    if values.get("manager") is not None:
        # All of them, in one order and before any: of two who make the two halves of a circle the second is told.
        list(TeamMember.objects.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    before = TeamMember.objects.filter(pk=member_id).values(*_RIGHTS, *_HOURS).first() or {}
    member = change_row(
        table=MEMBERS, row_id=member_id, values=values, now=now, actor=actor, expected_version=expected_version
    )
    if before["is_active"] and not member.is_active:
        hooks.member_leaves.send(sender=TeamMember, member=member)
    if before["manager_id"] != member.manager_id:
        hooks.hours_moved.send(sender=TeamMember, members=TeamMember.objects.below({member_id}))
    elif before["zone"] != member.zone:
        hooks.hours_moved.send(sender=TeamMember, members=frozenset({member_id}))
    if any(before[name] != getattr(member, name) for name in _RIGHTS) or may_move(actor):
        users = {before["user_id"], member.user_id} - {None}
        match_groups(user_ids=users, actor=actor)
    return member


@transaction.atomic
def delete_members(*, member_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Delete members who never had an account or a play; whoever had is switched off instead. See `delete_rows`.

    Their sign-ins stay, and go out of the groups of the team's roles.
    """
    ids = list(member_ids)
    users = list(TeamMember.objects.filter(pk__in=ids, user__isnull=False).values_list("user", flat=True))
    led = TeamMember.objects.below(ids) - set(ids)
    deleted = delete_rows(table=MEMBERS, row_ids=ids, now=now, actor=actor)
    if led:
        # Nobody leads them now, so that no team's calendar is theirs.
        hooks.hours_moved.send(sender=TeamMember, members=led)
    match_groups(user_ids=users, actor=actor)
    return deleted


def add_absence(*, values: Mapping[str, Any], now: datetime, actor: Any) -> Absence:
    """Say that a member is away; see `make_row`.

    Raises ValidationError where they are away on one of the days already, for a stand-in who has left, and where
    stand-ins would go round in a circle.
    """
    return make_row(table=ABSENCES, values=values, now=now, actor=actor)


def change_absence(
    *, absence_id: int, values: Mapping[str, Any], now: datetime, actor: Any, expected_version: int | None = None
) -> Absence:
    """Change when a member is away or who stands in; see `change_row`, and `add_absence` for what is refused."""
    return change_row(
        table=ABSENCES, row_id=absence_id, values=values, now=now, actor=actor, expected_version=expected_version
    )


def delete_absences(*, absence_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Forget absences; see `delete_rows`."""
    return delete_rows(table=ABSENCES, row_ids=absence_ids, now=now, actor=actor)
