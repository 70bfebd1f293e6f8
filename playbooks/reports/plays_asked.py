"""Which plays a report is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q


@dataclass(frozen=True)
class WhichPlays:
    """What the plays of a report have in common; what is left out is not asked.

    `playbook` is a key, `owner_id` who owns them now, `accounts` account ids or a queryset of them.
    """

    playbook: str = ""
    motion: str = ""
    route: str = ""
    segment: str = ""
    owner_id: int | None = None
    accounts: Any = None

    def q(self, path: str = "") -> Q:
        """The condition on plays; `path` leads to the play, such as `play__`."""
        said = {
            "playbook__key": self.playbook,
            "motion": self.motion,
            "route": self.route,
            "segment": self.segment,
            "owner": self.owner_id,
        }
        q = Q(**{f"{path}{name}": value for name, value in said.items() if value})
        return q if self.accounts is None else q & Q(**{f"{path}account__in": self.accounts})
