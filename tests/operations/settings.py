"""The stand-alone site for clusters that are brought to a standstill: the same, with everything sooner."""

from __future__ import annotations

from tests.crash.settings import *  # noqa: F403 - those of the killed clusters, whole
from tests.crash.settings import Q_CLUSTER as CRASH_CLUSTER


class Hurried(float):
    """The pause of the sentinel between two looks; its count towards the next look at the schedules takes it for more.

    It looks at them every 30 seconds of that count, which no setting changes.
    """

    def __radd__(self, seconds: float) -> float:
        """Ten seconds more, whatever has passed."""
        return seconds + 10.0


# The rule retry > 3 x timeout is kept.
Q_CLUSTER = {**CRASH_CLUSTER, "timeout": 5, "retry": 18, "guard_cycle": Hurried(0.2)}

CSPLAYBOOKS = {"RETRY_SECONDS": 1, "HEARTBEAT_SECONDS": 3}
# A site's heartbeat may not be called old so soon: its schedules fire only once a minute.
SILENCED_SYSTEM_CHECKS = ["csplaybooks.E003"]
ALLOWED_HOSTS = ["testserver"]
