"""Signals that are contacts: what a mail tool, a phone system or a calendar tells of contacts with a customer.

A source sends them like any other signal. The property `play` (the play's id) or `prompt` (the id of its prompt, such
as `play-17`) names the play that a contact belongs to; one that names none belongs to the play that was open at the
account then, where it was exactly one. `direction` (`out` or `in`) and `note` say more, and `member`, the e-mail
address of a member of the team, who made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from csplaybooks.playbooks.models import Play, Touch
from csplaybooks.playbooks.prompts import ANSWERS, PROPERTY, prompt_id
from csplaybooks.playbooks.route_rules import Routing

#: What the ids of prompts begin with.
_PREFIX = prompt_id(0).removesuffix("0")

#: What the product sends when it has shown a prompt: the first contact of a play whose route leaves that to the system.
SHOWN_TYPE = ANSWERS["shown"]

#: What the product sends when somebody has used a feature, whose key is the property `feature`.
USED_TYPE = "feature_used"


@dataclass(frozen=True)
class ContactType:
    """What a type of signal says: by what means, and in which direction where the signal does not say."""

    channel: str
    direction: str


#: The types of signal that are contacts, by key.
CONTACT_TYPES: Mapping[str, ContactType] = MappingProxyType(
    {
        "email_sent": ContactType(Touch.Channel.EMAIL, Touch.Direction.OUT),
        "email_received": ContactType(Touch.Channel.EMAIL, Touch.Direction.IN),
        "call_logged": ContactType(Touch.Channel.CALL, Touch.Direction.OUT),
        "meeting_held": ContactType(Touch.Channel.MEETING, Touch.Direction.OUT),
    }
)


def play_named(properties: Mapping[str, Any]) -> int | None:
    """The id of the play that a signal's properties name; None where they name none, 0 where they name no play."""
    for name in ("play", PROPERTY):
        if (said := properties.get(name)) is not None:
            return _play_id(said)
    return None


def _play_id(said: Any) -> int:
    if isinstance(said, int) and not isinstance(said, bool):
        return said if 0 < said < 2**63 else 0
    text = str(said).removeprefix(_PREFIX)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def direction_of(kind: ContactType, properties: Mapping[str, Any]) -> str:
    """Who turned to whom: as the signal says, or as its type does."""
    said = properties.get("direction")
    return said if isinstance(said, str) and said in Touch.Direction.values else kind.direction


def prompt_is_first_touch(play: Play) -> bool:
    """Whether a prompt that was shown is the first contact of a play: its route leaves that to the system."""
    return Routing.of_play(play).first_touch == "system"
