"""Acts on whose hours a calendar is. Promises whose calendar follows the owner of their play follow at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from csplaybooks.accounts.acts.rows import Table, change_row, delete_rows, make_row
from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import AccountFacts, TeamMember
from csplaybooks.playbooks.calendar_choice import lock_calendars, region_key
from csplaybooks.playbooks.clockwork import mark_stale, set_lapses
from csplaybooks.playbooks.models import CalendarUse, Clock, Handoff
from csplaybooks.playbooks.pokes import poke
from csplaybooks.playbooks.stepwork import hours_changed


def _one_of_each(use: CalendarUse) -> None:
    """One member, team or region, in whatever spelling, has one calendar."""
    named = [name for name in ("member", "team", "region") if getattr(use, name)]
    if len(named) != 1:
        at = named[1] if named else "member"
        raise ValidationError({at: "Name a member, a team or a region: one of them."})
    others = CalendarUse.objects.exclude(pk=use.pk)
    if use.region:
        use.region = use.region.strip()
        for other in others.exclude(region="").select_related("calendar"):
            if region_key(other.region) == region_key(use.region):
                raise ValidationError(
                    {"region": f"The region {other.region} has a calendar already: {other.calendar}."}
                )
        return
    if use.team is not None and not use.team.is_manager and not use.team.reports.exists():
        raise ValidationError({"team": f"{use.team} is no manager and leads nobody: name them as the member."})
    if other := others.filter(**{named[0]: getattr(use, named[0])}).select_related("calendar").first():
        whose = "The team of " if use.team else ""
        raise ValidationError({named[0]: f"{whose}{use.team or use.member} has a calendar already: {other.calendar}."})


USES = Table(model=CalendarUse, fields=("calendar", "member", "team", "region"), fixed=(), rule=_one_of_each)


@transaction.atomic
def make_calendar_use(*, values: Mapping[str, Any], now: datetime, actor: Any) -> CalendarUse:
    """Say whose hours a calendar is; see `make_row`. The ticking clocks concerned follow.

    Raises ValidationError, by field, where not exactly one of member, team and region is named, or that one has a
    calendar already (a region in whatever upper and lower case), and for the team of somebody who leads nobody.
    """
    lock_calendars()
    use = make_row(table=USES, values=values, now=now, actor=actor)
    _follow([use])
    return use


@transaction.atomic
def change_calendar_use(
    *, use_id: int, values: Mapping[str, Any], now: datetime, actor: Any, expected_version: int | None = None
) -> CalendarUse:
    """Give another calendar, or give it to others; see `change_row`. Clocks of before and after follow."""
    lock_calendars()
    before = CalendarUse.objects.filter(pk=use_id).first()
    use = change_row(table=USES, row_id=use_id, values=values, now=now, actor=actor, expected_version=expected_version)
    if before is not None and before.version != use.version:
        _follow([before, use])
    return use


@transaction.atomic
def delete_calendar_uses(*, use_ids: Iterable[int], now: datetime, actor: Any) -> int:
    """Take calendars away from whom they were given to; answers how many. See `delete_rows`. The clocks follow."""
    lock_calendars()
    ids = list(use_ids)
    uses = list(CalendarUse.objects.filter(pk__in=ids))
    deleted = delete_rows(table=USES, row_ids=ids, now=now, actor=actor)
    _follow(uses)
    return deleted


def hours_moved(*, members: Iterable[int]) -> int:
    """The hours of these members (ids) may be others: have the clocks of their plays follow.

    Answers how many clocks were marked stale. Call it in the transaction that made the difference, after it.
    """
    lock_calendars()
    return _mark(Q(play__owner__in=Ids(sorted(members))), _offered_to(members))


def regions_moved(*, accounts: Iterable[int]) -> int:
    """These accounts (ids) may be of another region: have the clocks of their plays follow.

    Answers how many clocks were marked stale. Call it in the transaction that made the difference, after it.
    """
    if not CalendarUse.objects.exclude(region="").exists():
        return 0
    lock_calendars()
    return _mark(Q(play__account__in=Ids(sorted(accounts))))


def is_region(region: str) -> bool:
    """Whether some account is of a region, in whatever upper and lower case."""
    return region_key(region) in {region_key(told) for told in _regions_told()}


def _regions_told() -> Iterable[str]:
    """The regions of accounts, as they are spelt: compared in Python, because upper and lower case are not the same
    everywhere in all databases."""
    facts = AccountFacts.objects.current().exclude(region="").order_by()
    regions: Iterable[str] = facts.values_list("region", flat=True).distinct()
    return regions


def _follow(uses: Iterable[CalendarUse]) -> int:
    """Have the clocks follow for which one of these uses may decide; answers how many were marked stale."""
    members = {use.member_id for use in uses if use.member_id is not None}
    teams = {use.team_id for use in uses if use.team_id is not None}
    regions = {region_key(use.region) for use in uses if use.region}
    concerned = Q()
    if teams:
        members |= TeamMember.objects.below(teams)
    if members:
        concerned |= Q(play__owner__in=Ids(sorted(members)))
    if regions:
        spelt = [region for region in _regions_told() if region_key(region) in regions]
        facts = AccountFacts.objects.current().filter(region__in=spelt)
        concerned |= Q(play__account__in=facts.order_by().values("account"))
    return _mark(concerned, _offered_to(members)) if concerned else 0


def _offered_to(members: Iterable[int]) -> Q:
    """The clocks of the offers that these members have to answer."""
    ids = Ids(sorted(members))
    offers = Handoff.objects.filter(answer=Handoff.Answer.WAITING, offered_to__in=ids).values("clock")
    return Q(pk__in=offers)


def _mark(concerned: Q, offers: Q | None = None) -> int:
    """Mark the steps of plays (a condition over `play`) stale, and their ticking clocks whose calendar follows the
    owner, with those of `offers` (a condition over clocks); set the lapse of offers anew."""
    hours_changed(concerned)
    following = Q(follows_owner=True, hours=Clock.Hours.WORKING) & (concerned if offers is None else concerned | offers)
    stale = mark_stale(Clock.objects.filter(following))
    if not stale:
        return 0
    clocks = Clock.objects.ticking().filter(following, target=Clock.Target.HANDOFF_ACCEPTED)
    set_lapses(Handoff.objects.filter(answer=Handoff.Answer.WAITING, clock__in=clocks).select_related("clock"))
    poke("watch_clocks")
    return stale
