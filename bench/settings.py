"""The stand-alone site, as it is, plus the plain view that intake is measured against."""

from __future__ import annotations

import os

os.environ.setdefault("SECRET_KEY", "bench")

from csplaybooks.settings import *  # noqa: F403 - the site's, whole

ROOT_URLCONF = "bench.urls"
# The plain view gets the whole batch too.
DATA_UPLOAD_MAX_MEMORY_SIZE = 50_000_000
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"}}
