"""What a person would write who knows the tables: each trigger of the starter library as one SQL statement.

They give the same accounts with the same found values, and the same verdict counts; the benchmark refuses to go on
where they do not. They know what `csplaybooks.playbooks` knows: what had been told by the mark, voids and corrections,
dated truth.
"""

from __future__ import annotations

from bench.by_hand import features, levels, relations, signals
from bench.by_hand.pieces import ByHand

#: By the key of the trigger.
BY_HAND: dict[str, ByHand] = {
    **signals.TRIGGERS,
    **levels.TRIGGERS,
    **relations.TRIGGERS,
    **features.TRIGGERS,
}

__all__ = ["BY_HAND", "ByHand"]
