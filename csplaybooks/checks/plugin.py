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
    return messages or list(_check_mail())


def _check_mail() -> Iterator[CheckMessage]:
    """Whether notices by mail can go, and lead back."""
    if not csplaybooks_settings.NOTICES_BY_MAIL:
        return
    # Django has MAILERS from 6.1 on, where it warns of whoever reads the others.
    # The stubs leave out what tells that a setting is the site's own.
    is_overridden = django_settings.is_overridden  # type: ignore[misc]
    says = (is_overridden(name) for name in ("EMAIL_BACKEND", "EMAIL_HOST"))
    if not (hasattr(django_settings, "MAILERS") or any(says)):
        yield message(
            "W017",
            "CSPLAYBOOKS['NOTICES_BY_MAIL'] is True, and nothing says how mail leaves this site: notices wait for a "
            "mail server on this machine.",
            mend="Set EMAIL_BACKEND or EMAIL_HOST (MAILERS from Django 6.1 on; EMAIL_URL in the stand-alone site), or "
            "NOTICES_BY_MAIL to False.",
        )
    if not csplaybooks_settings.SITE_URL:
        yield message(
            "W018",
            "CSPLAYBOOKS['NOTICES_BY_MAIL'] is True and CSPLAYBOOKS['SITE_URL'] is not set: mails cannot link to "
            "plays.",
            mend='Set it to where people reach the site: "SITE_URL": "https://growth.example.com".',
        )


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
        if setting.default:
            yield "must not be empty."
    elif key == "TIME_ZONE":
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"is {value!r}, which is no time zone known here."
    elif key == "SITE_URL" and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        yield f"is {value!r}, which is no address such as https://growth.example.com."
    elif key == "MAIL_FROM" and "@" not in value:
        yield f"is {value!r}, which is no address of mail."
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
