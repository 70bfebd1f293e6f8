"""Verdicts of accounts that meet the conditions, and what guards say, in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from csplaybooks.conf import company_time_zone
from csplaybooks.playbooks.guards import Ceiling, Hold
from csplaybooks.playbooks.guards.base import Answer
from csplaybooks.playbooks.verdicts.episodes import Episode
from csplaybooks.playbooks.verdicts.kinds import Kind, Verdict


def sentence(verdict: Verdict, episode: Episode | None, hold: Hold | None, *, past: bool = False) -> str:
    """A verdict of an account that meets the conditions, in one sentence; moments in the company time zone.

    What holds it is told by the episode, or by `hold` where there is none yet. `past` says that the question was about
    the past: no run will look at it any more.
    """
    match verdict.kind:
        case Kind.HELD | Kind.COOLING:
            reason = hold.reason if hold else episode.held_reason if episode else ""
            until = hold.until if hold else episode.held_until if episode else None
            if verdict.kind == Kind.COOLING:
                return f"Cooling{_until(until)}: {reason}."
            return f"Held by {verdict.guard.replace('_', ' ')}{_until(until)}: {reason}."
        case Kind.QUEUED if episode is None and past:
            return "Met the conditions, and no guard held it, but there was no match yet."
        case Kind.QUEUED if episode is None:
            return "Meets the conditions, and no guard holds it: the next run that looks at it opens a match."
        case Kind.QUEUED if episode is not None and (episode.waits_until or episode.queued_at):
            since = _on(episode.queued_at or episode.since)
            return f"Queued: waits for room since {since}{_until(episode.waits_until)}."
        case Kind.EXPIRED if episode is not None and episode.waits_until is not None:
            return f"Expired: there was no room for it{_until(episode.waits_until)}."
        case Kind.FIRED if episode is not None:
            return f"Fired: {_play(episode)}."
        case Kind.STILL_MATCHING if episode is not None:
            return f"Still matching since {_on(episode.since)}: {_play(episode)}."
    return f"{verdict.kind.label}."


def _play(episode: Episode) -> str:
    if episode.play_id is None:
        return "it was let through, and its play is about to be opened"
    folded = "folded into" if episode.folded else "led to"
    return f"{folded} play {episode.play_id} on {_on(episode.fired_at or episode.since)}"


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f" until {_on(moment)}"


def _on(moment: datetime) -> str:
    return f"{moment.astimezone(company_time_zone()):%Y-%m-%d %H:%M}"


def guard_as_json(answer: Answer) -> dict[str, Any]:
    """What a guard says as plain values: `answer` is `pass`, `hold` or `ceiling`."""
    until = answer.until if isinstance(answer, Hold) else None
    return {
        "guard": answer.guard,
        "answer": type(answer).__name__.lower(),
        "reason": answer.reason,
        "until": until.isoformat() if until else None,
        "route": answer.route.value if isinstance(answer, Ceiling) else None,
    }
