"""The site of the storm: that of clusters that are killed, with mail that goes into a folder."""

from __future__ import annotations

import os

import django

from tests.crash.settings import *  # noqa: F403 - theirs, whole
from tests.crash.settings import CSPLAYBOOKS as CRASH_SETTINGS
from tests.crash.settings import Q_CLUSTER as CRASH_CLUSTER

# More waits at a time than there, on a machine that is busier: no task is to be ended for that. retry > 3 x timeout.
Q_CLUSTER = {**CRASH_CLUSTER, "timeout": 20, "retry": 61}

CSPLAYBOOKS = {**CRASH_SETTINGS, "NOTICES_BY_MAIL": True, "MAIL_FROM": "plays@storm.example"}

if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "tests.storm.mail.FolderBackend"}}
else:
    EMAIL_BACKEND = "tests.storm.mail.FolderBackend"

#: Where the mails go.
STORM_MAILS = os.environ.get("STORM_MAILS", "")
