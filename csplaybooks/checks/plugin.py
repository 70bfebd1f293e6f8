"""Checks of the plugin's own settings, `CSPLAYBOOKS`.

Only what the site has set is looked at: the defaults are ours to keep right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.utils.module_loading import import_string

from csplaybooks.checks.table import message
from csplaybooks.conf import DEFAULTS, Setting, csplaybooks_settings

#: How many days the starter playbooks look back: New use case, for what was used in half a year before its two weeks.
LEAST_RETENTION_DAYS = 194


@register
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look at every key of `CSPLAYBOOKS` and at its value."""
    values = getattr(django_settings, "CSPLAYBOOKS", {})
    if not isinstance(values, Mapping):
        return [
            message(
                "E002",
                f"The setting CSPLAYBOOKS must be a dict, not {type(values).__name__}.",
                mend='Write it as CSPLAYBOOKS = {"TIME_ZONE": "Europe/Berlin"}, or leave it out.',
            )
        ]
    messages: list[CheckMessage] = []
    for key, value in values.items():
        setting = DEFAULTS.get(key) if isinstance(key, str) else None
        if setting is None:
            messages.append(
                message("E001", f"The setting CSPLAYBOOKS has an unknown key {key!r}.", mend=_key_meant(str(key)))
            )
        elif not setting.fits(value):
            wanted = "list of str" if setting.type is list else setting.type.__name__
            messages.append(
                message(
                    "E002",
                    f"CSPLAYBOOKS[{key!r}] must be of type {wanted}, not {type(value).__name__} ({value!r}).",
                    mend=setting.help,
                )
            )
        else:
            messages.extend(
                message("E003", f"CSPLAYBOOKS[{key!r}] {complaint}", mend=setting.help)
                for complaint in _complaints(key, setting, value)
            )
    if not messages and csplaybooks_settings.PAGE_SIZE > csplaybooks_settings.PAGE_SIZE_MAX:
        messages.append(
            message(
                "E003",
                f"CSPLAYBOOKS['PAGE_SIZE'] ({csplaybooks_settings.PAGE_SIZE}) is above "
                f"CSPLAYBOOKS['PAGE_SIZE_MAX'] ({csplaybooks_settings.PAGE_SIZE_MAX}).",
                mend="Lower the first or raise the second.",
            )
        )
    if not messages and 0 < csplaybooks_settings.RETENTION_DAYS < LEAST_RETENTION_DAYS:
        messages.append(
            message(
                "W014",
                f"CSPLAYBOOKS['RETENTION_DAYS'] is {csplaybooks_settings.RETENTION_DAYS}, and starter playbooks look "
                f"{LEAST_RETENTION_DAYS} days back: csplaybooks_setup leaves those that do as drafts.",
                mend=f"Set it to at least {LEAST_RETENTION_DAYS} (730 where it is not set), or to 0, which keeps "
                "everything for ever. Where the site has only playbooks of its own, silence this.",
            )
        )
    return messages


def _key_meant(key: str) -> str:
    near = get_close_matches(key.upper(), DEFAULTS, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"The keys are: {', '.join(sorted(DEFAULTS))}."


def _complaints(key: str, setting: Setting[Any], value: Any) -> Iterator[str]:
    """What makes a value of the right type unusable."""
    if setting.minimum is not None and value < setting.minimum:
        yield f"is {value}, but must be at least {setting.minimum}."
    if setting.maximum is not None and value > setting.maximum:
        yield f"is {value}, but must be at most {setting.maximum}."
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
                found = import_string(path)
            except ImportError as error:
                yield f"names {path!r}, which cannot be imported: {error}"
            else:
                if not (isinstance(found, type) and callable(getattr(found, "authenticate", None))):
                    yield f"names {path!r}, which is no authentication class."
