"""How far back playbooks look at signals and readings, held against how far back these are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from csplaybooks.conf import company_time_zone, csplaybooks_settings
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.measures import Known, get_measure, measures
from csplaybooks.playbooks.models import Playbook, PlaybookVersion
from csplaybooks.signals.models import Meter

_DAY = timedelta(days=1)


class Forgotten(ValueError):
    """A question about the past that cannot be answered any more: what it asks about was pruned."""


@dataclass(frozen=True)
class TooFar:
    """A running version that looks further back than `RETENTION_DAYS`, or nobody knows how far.

    Where its document says so, and in words.
    """

    version: PlaybookVersion
    path: str
    message: str


def days_in_words(span: timedelta) -> str:
    """A span in days, a part of a day counted as one: `730 days`."""
    return f"{-(-span // _DAY):,} days"


def reach_of(definition: Mapping[str, Any], max_age_days: Mapping[str, int]) -> timedelta:
    """How far back a trigger looks at signals and readings; zero where it looks at none."""
    spans = (
        span
        for group in definition["any"]
        for settings in group["all"]
        for span in get_measure(settings["measure"]).reach(settings, max_age_days).values()
    )
    return max(spans, default=timedelta())


def require_kept(definition: Mapping[str, Any], as_of: datetime, known: Known) -> None:
    """Raise Forgotten where a trigger, asked about `as_of`, looks at what may be pruned."""
    if known.kept_from is not None:
        reach = reach_of(definition, known.max_age_days)
        _require(f"The trigger {definition['key']}", reach, as_of, known.kept_from)


def require_guards_kept(settings: Mapping[str, Any], as_of: datetime, known: Known) -> None:
    """Raise Forgotten where a guard of a document's `guards`, asked about `as_of`, looks at what may be pruned."""
    if known.kept_from is not None:
        for guard in guards():
            if (given := settings.get(guard.key, "off")) != "off":
                reach = max(guard.reach(given, known.max_age_days).values(), default=timedelta())
                _require(f"The guard {guard.key}", reach, as_of, known.kept_from)


def _require(what: str, reach: timedelta, as_of: datetime, kept_from: datetime) -> None:
    if reach and as_of - reach < kept_from:
        zone = company_time_zone()
        raise Forgotten(
            f"{what}, asked about {as_of.astimezone(zone):%Y-%m-%d %H:%M}, looks {days_in_words(reach)} back, and "
            f"signals and readings from before {kept_from.astimezone(zone):%Y-%m-%d} are pruned."
        )


def reaches(document: Mapping[str, Any], max_age_days: Mapping[str, int]) -> Iterator[tuple[str, timedelta]]:
    """All places in a document that say how far back it looks at signals and readings: path, and how far."""
    for t, trigger in enumerate(document["triggers"]):
        for g, group in enumerate(trigger["any"]):
            for c, settings in enumerate(group["all"]):
                for name, span in get_measure(settings["measure"]).reach(settings, max_age_days).items():
                    yield f"triggers/{t}/any/{g}/all/{c}/{name}", span
    for guard in guards():
        if (given := document["guards"].get(guard.key, "off")) != "off":
            for name, span in guard.reach(given, max_age_days).items():
                yield f"guards/{guard.key}/{name}".rstrip("/"), span
    if "prompt" in document:
        # That somebody is done with it counts for as long as the play may last.
        yield "expires_days", document["expires_days"] * _DAY
    if meters := document["amount"].get("meters"):
        yield "amount/meters", max(max_age_days.get(meter, 0) for meter in meters) * _DAY


def faults(
    document: Mapping[str, Any], max_age_days: Mapping[str, int], now: datetime, kept_from: datetime | None
) -> Iterator[tuple[str, str]]:
    """What of a document looks further back than signals and readings are kept, or than they are there: path, why.

    `kept_from` is the horizon of what was pruned, None where nothing was.
    """
    kept = csplaybooks_settings.RETENTION_DAYS
    for path, span in reaches(document, max_age_days):
        if kept and span > kept * _DAY:
            yield path, _too_far(span, kept)
        elif kept_from is not None and span and now - span < kept_from:
            zone = company_time_zone()
            # The margin is what keeps the day whole from there on.
            from_when = (kept_from + span).astimezone(zone).date() + _DAY
            yield (
                path,
                f"looks {days_in_words(span)} back, and signals and readings from before "
                f"{kept_from.astimezone(zone):%Y-%m-%d} are pruned; it can be used from {from_when} on",
            )


def _too_far(span: timedelta, kept: int) -> str:
    return (
        f"looks {days_in_words(span)} back, and signals and readings are kept for {kept:,} days: shorten it (where it "
        "names a meter, the meter's maximum age), or raise RETENTION_DAYS"
    )


def too_far() -> list[TooFar]:
    """What running versions look at that lies further back than `RETENTION_DAYS`, or nobody knows where; two queries.

    Nothing of it is pruned while they run (see `csplaybooks.playbooks.acts.pruning`).
    """
    kept = csplaybooks_settings.RETENTION_DAYS
    if not kept:
        return []
    return [
        TooFar(version, path, _unknown(path) if span is None else _too_far(span, kept))
        for version, path, span in _running_reaches()
        if span is None or span > kept * _DAY
    ]


def days_needed() -> int | None:
    """How many days of signals and readings the running versions look at; None: nobody knows, so all. Two queries."""
    spans = [span for _, _, span in _running_reaches()]
    known = [span for span in spans if span is not None]
    return max((-(-span // _DAY) for span in known), default=0) if len(known) == len(spans) else None


def needed_in_words() -> str:
    """What of signals and readings is kept for the running versions, such as `the last 730 days are kept`."""
    days = days_needed()
    return "everything is kept" if days is None else f"the last {days_in_words(days * _DAY)} are kept"


def _unregistered(document: Mapping[str, Any]) -> Iterator[str]:
    """The places in a document that name a measure or a guard which is not registered (any more): how far these look
    back nobody can tell."""
    known = measures()
    for t, trigger in enumerate(document["triggers"]):
        for g, group in enumerate(trigger["any"]):
            for c, settings in enumerate(group["all"]):
                if settings["measure"] not in known:
                    yield f"triggers/{t}/any/{g}/all/{c}/measure"
    there = {guard.key for guard in guards()}
    yield from (f"guards/{key}" for key, given in document["guards"].items() if given != "off" and key not in there)


def _unknown(path: str) -> str:
    kind = "guard" if path.startswith("guards/") else "measure"
    return (
        f"names a {kind} that is not registered, so nobody knows how far back it looks: register it in every process "
        "of the site, or publish a version without it"
    )


def _running_reaches() -> Iterable[tuple[PlaybookVersion, str, timedelta | None]]:
    """Version, path and how far back it looks there; None where nobody can tell, and then nothing else of it."""
    max_age_days = dict(Meter.objects.order_by().values_list("key", "max_age_days"))
    for playbook in Playbook.objects.running().select_related("published").order_by("pk"):
        version = playbook.published
        if unregistered := list(_unregistered(version.document)):
            yield from ((version, path, None) for path in unregistered)
            continue
        for path, span in reaches(version.document, max_age_days):
            yield version, path, span
