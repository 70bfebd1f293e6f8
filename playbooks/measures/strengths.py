"""Whether conditions say enough together: what is weak, or says nothing by itself, supports a play and opens none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from csplaybooks.playbooks.measures.base import Measure
from csplaybooks.signals.models import Strength


def weak_groups(
    document: Mapping[str, Any],
    measures: Mapping[str, Measure],
    *,
    signal_types: Mapping[str, str],
    meters: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """The groups of conditions that are weak alone: the path of each, as in `triggers/0/any/1`, and how to mend it.

    `signal_types` and `meters` give strengths by key. Groups with a condition on a kind that is in neither are passed
    over: nobody can tell.
    """
    for t, trigger in enumerate(document["triggers"]):
        for g, group in enumerate(trigger["any"]):
            try:
                said = [
                    (condition, measures[condition["measure"]].strength_of(condition, signal_types, meters))
                    for condition in group["all"]
                ]
            except KeyError:
                continue
            if all(strength in (None, Strength.WEAK.value) for _, strength in said):
                which = _in_words((measures[condition["measure"]], condition, strength) for condition, strength in said)
                yield (
                    f"triggers/{t}/any/{g}",
                    f"{which}: add a condition that is moderate or strong, as weak news never opens a play by itself",
                )


def _in_words(said: Iterable[tuple[Measure, Mapping[str, Any], str | None]]) -> str:
    """Which conditions are weak, and which say nothing, each once."""
    weak: dict[str, None] = {}
    silent: dict[str, None] = {}
    for measure, condition, strength in said:
        names = (*measure.signal_type_settings, *measure.meter_settings)
        kinds = [key for name in names for key in measure.named(condition, name)]
        what = f"{measure.key} of {', '.join(kinds)}" if kinds else measure.key
        (silent if strength is None else weak)[what] = None
    parts = []
    if weak:
        parts.append(f"{' and '.join(weak)} {'is' if len(weak) == 1 else 'are'} weak")
    if silent:
        parts.append(f"{' and '.join(silent)} {'says' if len(silent) == 1 else 'say'} nothing alone")
    return ", and ".join(parts)
