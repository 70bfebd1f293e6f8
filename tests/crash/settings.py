"""The stand-alone site for clusters that are killed: the same, with shorter waits."""

from __future__ import annotations

from csplaybooks.settings import *  # noqa: F403 - the site's, whole
from csplaybooks.settings import Q_CLUSTER as SITE_CLUSTER

# A task that a dead worker held comes back after `retry`; the rule retry > 3 x timeout is kept.
Q_CLUSTER = {**SITE_CLUSTER, "timeout": 10, "retry": 31, "guard_cycle": 0.2}

CSPLAYBOOKS = {"RETRY_SECONDS": 1}
