"""Whether those who are to be told of plays by mail still see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.models import Notice, Play


def unseen_by_reader(notices: Sequence[Notice]) -> set[int]:
    """The notices, by id, whose reader does not see their play any more, such as of one that went to somebody else.

    Their play and member are loaded. One query where all are of plays that their reader, or somebody below them, owns
    or holds; else those who are left are asked one by one, as on the pages of the admin.
    """
    led = led_by({notice.member_id for notice in notices})
    asked: dict[int, list[Notice]] = defaultdict(list)
    for notice in notices:
        if led[notice.member_id].isdisjoint((notice.play.owner_id, notice.play.holder_id)):
            asked[notice.member_id].append(notice)
    unseen: set[int] = set()
    for mine in asked.values():
        user = mine[0].member.user
        plays = {notice.play_id for notice in mine}
        seen = _seen_by(user, plays) if user is not None else set()
        unseen.update(notice.pk for notice in mine if notice.play_id not in seen)
    return unseen


def _seen_by(user: object, plays: Collection[int]) -> set[int]:
    return set(Play.objects.visible_to(user).filter(pk__in=plays).values_list("pk", flat=True))


def led_by(members: Iterable[int]) -> dict[int, frozenset[int]]:
    """Of each member themselves and, where they are a manager, everybody below; one query, then the tree in memory."""
    reports: dict[int | None, list[int]] = defaultdict(list)
    managers = set()
    for pk, manager_id, is_manager in TeamMember.objects.order_by().values_list("pk", "manager", "is_manager"):
        reports[manager_id].append(pk)
        if is_manager:
            managers.add(pk)
    led = {}
    for member in members:
        found, waiting = {member}, [member] if member in managers else []
        while waiting:
            fresh = [pk for pk in reports[waiting.pop()] if pk not in found]
            found.update(fresh)
            waiting.extend(fresh)
        led[member] = frozenset(found)
    return led
