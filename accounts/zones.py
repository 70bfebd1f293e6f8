"""Names of time zones; no database is asked."""

from __future__ import annotations

from zoneinfo import ZoneInfo


def is_zone(name: object) -> bool:
    """Whether a name is one of the IANA database that is the same on every machine, such as `Europe/Berlin`."""
    # These are files of a zone database too: the machine's own zone, and clocks that count leap seconds.
    if not isinstance(name, str) or name.startswith(("localtime", "posixrules", "posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
