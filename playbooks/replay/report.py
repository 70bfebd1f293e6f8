"""What a replay came to: figures counted in the database, and the invariants asked over all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Sum

from csplaybooks.accounts.models import Account, Entitlement, Movement
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Clock, Match, Play, Run, Stage
from csplaybooks.playbooks.replay.record import Record
from csplaybooks.playbooks.replay.rules import Rules
from csplaybooks.signals.intake import IntakeAnswer


@dataclass
class Tally:
    """Verdicts of many batches: `received` is the sum of the others."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0

    def add(self, answer: IntakeAnswer) -> None:
        """Add those of one batch."""
        self.received += answer.received
        self.stored += answer.stored
        self.duplicate += answer.duplicate
        self.conflict += answer.conflict
        self.refused += answer.refused


@dataclass(frozen=True)
class Report:
    """The figures of a replay. `plays` are counted by trigger, route, outcome and stage; each adds up to the total.

    `rows` are those of the record, `derived` the signals that follow from them, `readings` what was read. `failures`
    counts the runs in which a playbook could not be evaluated, and the rows of the pipeline that failed. Amounts are in
    minor units.
    """

    rows: Tally
    derived: Tally
    readings: Tally
    first_day: str
    last_day: str
    days: int
    accounts: int
    cross_sells: dict[str, int]
    runs: int
    matches: dict[str, int]
    plays: dict[str, Any]
    clocks: dict[str, dict[str, int]]
    mrr_minor: dict[str, int]
    failures: dict[str, int]
    violations: dict[str, int]
    rules: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What is not as it must be: failures that happened, invariants that do not hold."""
        return [name for name, count in (*self.failures.items(), *self.violations.items()) if count]

    def as_document(self) -> dict[str, Any]:
        """The figures as one JSON object; `seconds` and `peak_mb` are for whoever measured them to add."""
        return {
            **vars(self.rows),
            "plays": self.plays,
            "violations": self.violations,
            "derived_signals": vars(self.derived),
            "readings": vars(self.readings),
            "first_day": self.first_day,
            "last_day": self.last_day,
            "days": self.days,
            "accounts": self.accounts,
            "cross_sells": self.cross_sells,
            "runs": self.runs,
            "matches": self.matches,
            "clocks": self.clocks,
            "mrr_minor": self.mrr_minor,
            "failures": self.failures,
        }

    def as_text(self) -> str:
        """The figures for people."""
        rows = self.rows
        lines = [
            f"{self.first_day} to {self.last_day}, {self.days:,} days on the clock, {self.accounts:,} accounts",
            "",
            _verdicts("Rows", rows),
            _verdicts("Signals that follow", self.derived),
            _verdicts("Readings", self.readings),
            f"Cross-sells that happened: {self.cross_sells['happened']:,}, "
            f"of them with a play open for the product: {self.cross_sells['with_play']:,}",
            f"Runs: {self.runs:,}; matches: {_counts(self.matches)}",
            f"MRR of the ledger {self.mrr_minor['ledger']:,}, of what is held {self.mrr_minor['held']:,} (minor units)",
            "",
            f"Plays: {self.plays['total']:,}",
            *(
                f"  {label}: {_counts(self.plays[key])}"
                for key, label in (
                    ("by_trigger", "by trigger"),
                    ("by_route", "by route"),
                    ("by_outcome", "by outcome"),
                    ("by_stage", "by stage"),
                )
            ),
            "Clocks:",
            *(f"  {target}: {_counts(states)}" for target, states in self.clocks.items()),
            "",
            "By these rules:",
            *(f"  - {rule}" for rule in self.rules),
            "",
        ]
        lines.append(
            f"Broken: {', '.join(self.broken)}"
            if self.broken
            else f"Nothing failed, and all {len(self.violations)} invariants hold: {', '.join(self.violations)}"
        )
        return "\n".join(lines)


def make_report(
    *,
    record: Record,
    rules: Rules,
    rows: Tally,
    derived: Tally,
    readings: Tally,
    cross_sells: int,
    foreseen: int,
    days: int,
) -> Report:
    """Count what the database holds after a replay."""
    plays = Play.objects.order_by()
    openers = Match.objects.filter(state=Match.State.FIRED).order_by()
    by_trigger = {
        f"{playbook}/{trigger}": number
        for playbook, trigger, number in openers.values_list("trigger__playbook__key", "trigger__key")
        .annotate(number=Count("pk"))
        .order_by("trigger__playbook__key", "trigger__key")
    }
    clocks: dict[str, dict[str, int]] = {}
    for target, state, number in (
        Clock.objects.order_by("target", "state").values_list("target", "state").annotate(number=Count("pk"))
    ):
        clocks.setdefault(target, {})[state] = number
    held = Entitlement.objects.current().aggregate(total=Sum("mrr_minor"))["total"]
    return Report(
        rows=rows,
        derived=derived,
        readings=readings,
        first_day=record.first_day.isoformat(),
        last_day=record.last_day.isoformat(),
        days=days,
        accounts=Account.objects.count(),
        cross_sells={"happened": cross_sells, "with_play": foreseen},
        runs=Run.objects.count(),
        matches=_by(Match.objects.order_by(), "state"),
        plays={
            "total": plays.count(),
            "by_trigger": by_trigger,
            "by_route": _by(plays, "route"),
            "by_outcome": {outcome or "open": number for outcome, number in _by(plays, "outcome").items()},
            "by_stage": {**dict.fromkeys(Stage.values, 0), **_by(plays, "stage")},
        },
        clocks=clocks,
        mrr_minor={
            "ledger": Movement.objects.aggregate(total=Sum("amount_minor"))["total"] or 0,
            "held": held or 0,
        },
        failures={
            "runs_with_errors": Run.objects.exclude(errors={}).count(),
            "failed_rows": sum(model.objects.exclude(last_error="").count() for model in (Match, Play)),
        },
        violations={violation.invariant: violation.count for violation in violations()},
        rules=rules.words(),
    )


def _by(rows: Any, name: str) -> dict[str, int]:
    found: Iterable[tuple[str, int]] = rows.order_by(name).values_list(name).annotate(number=Count("pk"))
    return dict(found)


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items()) or "none"


def _verdicts(what: str, tally: Tally) -> str:
    return (
        f"{what}: received {tally.received:,} = stored {tally.stored:,} + duplicate {tally.duplicate:,} "
        f"+ conflict {tally.conflict:,} + refused {tally.refused:,}"
    )
