"""What is told of a storm when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.storm.checks import NAMED, Check
from tests.storm.storm import Weather


def table(weather: Weather, checks: Iterable[Check]) -> Iterator[str]:
    """Lines: how long it took, who was killed, and each check with what it counted."""
    rate = weather.plays / weather.seconds if weather.seconds else 0
    killed = ", ".join(f"{count} {victim}" for victim, count in weather.killed.most_common())
    yield ""
    yield (
        f"{weather.plays:,} plays in {weather.seconds:,.0f} s ({rate:.1f} a second), quiet after "
        f"{weather.quiet_seconds:,.0f} s more"
    )
    yield f"killed with kill -9: {killed}; restarted because they stood still: {weather.restarted}"
    for check in checks:
        verdict = "ok" if not check.faults else f"{len(check.faults):,} WRONG"
        yield f"{check.name:55} {check.count:>9,}  {verdict:10} {check.note}".rstrip()


def faults_of(checks: Iterable[Check]) -> list[str]:
    """All faults in words, some of each check."""
    faults = []
    for check in checks:
        faults += [f"{check.name}: {fault}" for fault in check.faults[:NAMED]]
        if len(check.faults) > NAMED:
            faults.append(f"{check.name}: and {len(check.faults) - NAMED:,} more")
    return faults
