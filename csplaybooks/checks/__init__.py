"""System checks: of the plugin's own settings, and of what it depends on in the site that it is put into.

Each thing that is wrong gives one message, which names the setting and what is wrong with it, and the mend as its
hint. All ids are in `csplaybooks.checks.table`. Nothing here queries a database, but for `check_journal`, which Django
calls only where a connection is allowed.
"""

from __future__ import annotations

from csplaybooks.checks.database import check_database, check_journal
from csplaybooks.checks.installed import check_apps, check_time, check_urls
from csplaybooks.checks.plugin import check_settings
from csplaybooks.checks.tasks import check_tasks

__all__ = [
    "check_apps",
    "check_database",
    "check_journal",
    "check_settings",
    "check_tasks",
    "check_time",
    "check_urls",
]
