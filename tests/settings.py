"""The stand-alone site's settings under test.

``DATABASE_URL`` chooses the database as it does for the site; without it the tests run on SQLite. Programs
that tests start by themselves (web server, qcluster) use ``csplaybooks.settings`` and the same environment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "for tests only: nothing is protected by it")

from csplaybooks.settings import *  # noqa: F403 - the site's, whole
from csplaybooks.settings import DATABASES

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, since SQLite in memory locks by table and waits for nobody: threads would meet errors that no
    # site meets. One for each process, so that two runs of the tests do not share it.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"csplaybooks-tests-{os.getpid()}.sqlite3")
    }

# Strong hashes are slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Look static files up when asked for, not all of them for each test client.
WHITENOISE_AUTOREFRESH = True
