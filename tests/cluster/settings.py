"""The stand-alone site for groups that are killed: the same, with shorter waits."""

from __future__ import annotations

from csplaybooks.settings import *  # noqa: F403 - the site's, whole
from csplaybooks.settings import Q_CLUSTER as SITE_CLUSTER

Q_CLUSTER = {**SITE_CLUSTER, "guard_cycle": 0.2}

# So few accounts in a part that rounds are gone through while groups die.
CSPLAYBOOKS = {"RETRY_SECONDS": 1, "FULL_RUN_ACCOUNTS": 100}
