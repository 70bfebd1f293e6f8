"""System checks of the plugin's own settings, and of those of the host that it depends on.

| id | what is wrong |
| --- | --- |
| `csplaybooks.E001` | a key of `CSPLAYBOOKS` that does not exist |
| `csplaybooks.E002` | a value of the wrong type (or `CSPLAYBOOKS` itself is no dict) |
| `csplaybooks.E003` | a value of the right type that cannot be used |
| `csplaybooks.W001` | a SQLite database whose transactions do not take their lock when they begin |

Of `CSPLAYBOOKS` only what the site has set is looked at: the defaults are ours to keep right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from csplaybooks.conf import DEFAULTS, Setting, csplaybooks_settings


@register
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look at every key of `CSPLAYBOOKS` and at its value."""
    values = getattr(django_settings, "CSPLAYBOOKS", {})
    if not isinstance(values, Mapping):
        return [Error(f"The setting CSPLAYBOOKS must be a dict, not {type(values).__name__}.", id="csplaybooks.E002")]
    messages: list[CheckMessage] = []
    for key, value in values.items():
        setting = DEFAULTS.get(key) if isinstance(key, str) else None
        if setting is None:
            near = get_close_matches(str(key), DEFAULTS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The keys are: {', '.join(sorted(DEFAULTS))}."
            messages.append(
                Error(f"The setting CSPLAYBOOKS has an unknown key {key!r}.", hint=hint, id="csplaybooks.E001")
            )
        elif not setting.fits(value):
            wanted = "list of str" if setting.type is list else setting.type.__name__
            messages.append(
                Error(
                    f"CSPLAYBOOKS[{key!r}] must be of type {wanted}, not {type(value).__name__} ({value!r}).",
                    hint=setting.help,
                    id="csplaybooks.E002",
                )
            )
        else:
            messages.extend(
                Error(f"CSPLAYBOOKS[{key!r}] {complaint}", hint=setting.help, id="csplaybooks.E003")
                for complaint in _complaints(key, setting, value)
            )
    if not messages and csplaybooks_settings.PAGE_SIZE > csplaybooks_settings.PAGE_SIZE_MAX:
        messages.append(Error("CSPLAYBOOKS['PAGE_SIZE'] is above CSPLAYBOOKS['PAGE_SIZE_MAX'].", id="csplaybooks.E003"))
    return messages


@register
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look at how transactions begin where the default database is SQLite; no connection is made."""
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor != "sqlite":
        return []
    mode = database.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    # EXCLUSIVE takes the lock when it begins, too.
    if str(mode).upper() in ("IMMEDIATE", "EXCLUSIVE"):
        return []
    return [
        Warning(
            "On SQLite, transactions that read before they write fail with 'database is locked' when another process "
            "writes meanwhile, as web server and qcluster do.",
            hint='Set "OPTIONS": {"transaction_mode": "IMMEDIATE"} in DATABASES[\'default\'].',
            id="csplaybooks.W001",
        )
    ]


def _complaints(key: str, setting: Setting[Any], value: Any) -> Iterator[str]:
    """What makes a value of the right type unusable."""
    if setting.minimum is not None and value < setting.minimum:
        yield f"is {value}, but must be at least {setting.minimum}."
    if isinstance(value, str | list | tuple) and not value:
        yield "must not be empty."
    elif key == "TIME_ZONE":
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"is {value!r}, which is no time zone known here."
    elif key == "CURRENCY" and not re.fullmatch("[A-Z]{3}", value):
        yield f"is {value!r}, which is no ISO 4217 code (three capital letters)."
    elif key == "AUTHENTICATION_CLASSES":
        for path in value:
            try:
                import_string(path)
            except ImportError as error:
                yield f"names {path!r}, which cannot be imported: {error}"
