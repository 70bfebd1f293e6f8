"""What the tests of notices share: plays of accounts by their name, assigned, and what was told of them."""

from __future__ import annotations

from typing import Any

from csplaybooks.accounts.factories import AccountFactory
from csplaybooks.accounts.models import TeamMember
from csplaybooks.playbooks.acts.plays import assign_plays
from csplaybooks.playbooks.models import Notice, Play, PlaybookVersion
from tests.playbooks.plays import NOW, done, owned


def at(name: str, recipe: PlaybookVersion, owner: TeamMember, **more: Any) -> Play:
    """A play of an account by its name."""
    return owned(account=AccountFactory(name=name), recipe=recipe, owner=owner, **more)


def told() -> list[tuple[str, str, str, str]]:
    """Whom, of what kind, how, and what."""
    rows = Notice.objects.order_by("pk").select_related("member")
    return [(str(row.member), row.kind, row.way, row.text) for row in rows]


def assigned(plays: list[Play], owner: TeamMember, actor: Any = None, now: Any = NOW) -> None:
    assert done(assign_plays(play_ids=[play.pk for play in plays], owner_id=owner.pk, now=now, actor=actor))
