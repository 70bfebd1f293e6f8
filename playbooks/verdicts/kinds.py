"""The kinds of verdicts, their keys, and how many accounts have each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import TextChoices

from csplaybooks.playbooks.differences import words
from csplaybooks.playbooks.evaluator import TriggerVersion
from csplaybooks.playbooks.guards import Cooling, guards
from csplaybooks.playbooks.measures import get_measure


class Kind(TextChoices):
    """What became of an account under a trigger, in the order in which it is asked."""

    OUTSIDE = "outside", "Outside the audience"
    FAILED = "failed", "Failed a condition"
    HELD = "held", "Held by a guard"
    COOLING = "cooling", "Cooling"
    QUEUED = "queued", "Queued"
    FIRED = "fired", "Fired"
    STILL_MATCHING = "still_matching", "Still matching"
    EXPIRED = "expired", "Expired"


@dataclass(frozen=True)
class Verdict:
    """One verdict: its kind; of `failed` the group and the condition, counted from 0; of `held` the guard's key."""

    kind: Kind
    group: int = 0
    condition: int = 0
    guard: str = ""

    @classmethod
    def failed(cls, group: int, condition: int) -> Verdict:
        """Failed at a condition of a group."""
        return cls(Kind.FAILED, group, condition)

    @classmethod
    def held(cls, guard: str) -> Verdict:
        """Held by a guard; by the one that lets things cool down it is cooling."""
        return cls(Kind.COOLING) if guard == Cooling.key else cls(Kind.HELD, guard=guard)

    @classmethod
    def parse(cls, key: str) -> Verdict:
        """The verdict with this key. Raises ValueError for one that is none."""
        name, *rest = key.split(":")
        match name, rest:
            case Kind.FAILED.value, [group, condition] if _is_place(group) and _is_place(condition):
                return cls.failed(int(group), int(condition))
            case Kind.HELD.value, [guard] if guard and guard != Cooling.key:
                return cls.held(guard)
            case _, [] if name in Kind.values and name not in (Kind.FAILED, Kind.HELD):
                return cls(Kind(name))
        raise ValueError(f"{key!r} is no verdict: {', '.join(KEYS)}")

    @property
    def key(self) -> str:
        """The verdict in one word, such as `failed:0:1`, `held:onboarding`, `cooling`."""
        if self.kind == Kind.FAILED:
            return f"{self.kind.value}:{self.group}:{self.condition}"
        return f"{self.kind.value}:{self.guard}" if self.kind == Kind.HELD else self.kind.value

    @property
    def meets_the_conditions(self) -> bool:
        """Whether an account with this verdict is in the audience and meets a group of conditions."""
        return self.kind not in (Kind.OUTSIDE, Kind.FAILED)

    def words(self, trigger: TriggerVersion) -> str:
        """The verdict as a heading: `Failed: feature gate hit in 7 days, at least 3 times`, `Held by onboarding`."""
        if self.kind == Kind.FAILED:
            groups = trigger.definition["any"]
            which = f" (group {self.group + 1} of {len(groups)})" if len(groups) > 1 else ""
            settings = groups[self.group]["all"][self.condition]
            return f"Failed{which}: {condition_words(settings)}"
        if self.kind == Kind.HELD:
            return f"Held by {self.guard.replace('_', ' ')}"
        return str(self.kind.label)


#: How keys look, for messages.
KEYS = ("outside", "failed:<group>:<condition>", "held:<guard>", *Kind.values[3:])


def _is_place(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def condition_words(settings: Mapping[str, Any]) -> str:
    """A condition in a few words, without anything found: `feature gate hit in 7 days, at least 3 times`.

    What it looks at stands first, its threshold next, all other settings last. Raises KeyError for a measure that is
    not registered.
    """
    measure = get_measure(settings["measure"])
    looked_at = (*measure.signal_type_settings, *measure.meter_settings, *words.SUBJECTS)
    subjects = [_plain(settings[name]) for name in dict.fromkeys(looked_at) if name in settings]
    named = measure.key.replace("_", " ")
    if subjects:
        # Signals that are counted are called by what they are.
        named = ", ".join(subjects) if measure.key == "signal_count" else f"{named} ({', '.join(subjects)})"
    if "window_days" in settings:
        named = f"{named} in {words.with_unit(str(settings['window_days']), 'days')}"
    # Whether it counts in per cent stands with the threshold.
    said, told = [named], {"measure", "window_days", "percent", *looked_at}
    if name := words.comparison_of(settings):
        said.append(words.threshold(settings, name, unit=True))
        told.add(name)
    if rest := words.settings(settings, told):
        said.append(rest)
    return ", ".join(said)


def _plain(value: Any) -> str:
    items = value if isinstance(value, list) else [value]
    return " or ".join(str(item).replace("_", " ") for item in items)


@dataclass(frozen=True)
class Count:
    """How many accounts have a verdict; `words` is its heading."""

    verdict: Verdict
    words: str
    accounts: int

    @property
    def key(self) -> str:
        """The verdict's key."""
        return self.verdict.key


def as_counts(trigger: TriggerVersion, kept: Mapping[str, int]) -> list[Count]:
    """Counts by key as a list in one fixed order, the same for every moment: what nobody has counts 0.

    Only of guards are those named alone that hold somebody. The numbers add up to the population. Raises ValueError
    for a key that is none, or that is of a condition which the trigger does not have.
    """
    places = [
        Verdict.failed(g, c) for g, group in enumerate(trigger.definition["any"]) for c in range(len(group["all"]))
    ]
    given = {Verdict.parse(key): number for key, number in kept.items()}
    order = [guard.key for guard in guards()]
    holding = sorted(
        (verdict for verdict in given if verdict.kind == Kind.HELD),
        # Of a guard that is not registered any more something may be kept.
        key=lambda verdict: (order.index(verdict.guard) if verdict.guard in order else len(order), verdict.guard),
    )
    rest = [Verdict(kind) for kind in Kind if kind not in (Kind.OUTSIDE, Kind.FAILED, Kind.HELD)]
    verdicts = [Verdict(Kind.OUTSIDE), *places, *holding, *rest]
    if unknown := [verdict.key for verdict in given if verdict not in verdicts]:
        raise ValueError(f"the trigger {trigger.definition['key']} has no condition for {', '.join(unknown)}")
    return [Count(verdict, verdict.words(trigger), given.get(verdict, 0)) for verdict in verdicts]
