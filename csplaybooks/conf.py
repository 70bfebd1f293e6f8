"""The plugin's settings: one dict `CSPLAYBOOKS` in the site's Django settings.

Read them as attributes of `csplaybooks_settings`. Nothing is read at import and nothing is cached, so that
`override_settings` holds at once. `DEFAULTS` lists every key with its default, type and help: the system
checks (`csplaybooks.checks`) and the documentation are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload
from zoneinfo import ZoneInfo

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One key of `CSPLAYBOOKS`; as an attribute of `PluginSettings` it reads the site's value or its default.

    `type` is the class of a fitting value (a bool is no int; of a list, every item is a str). `minimum` is
    the least number allowed, `maximum` the greatest; a str or a list may be empty only where its default is.
    """

    default: T
    type: type[T]
    help: str
    minimum: int | None = None
    maximum: int | None = None
    name: str = field(default="", init=False)

    def __set_name__(self, owner: object, name: str) -> None:
        object.__setattr__(self, "name", name)

    @overload
    def __get__(self, instance: None, owner: object) -> Setting[T]: ...

    @overload
    def __get__(self, instance: object, owner: object) -> T: ...

    def __get__(self, instance: object | None, owner: object) -> Setting[T] | T:
        if instance is None:
            return self
        # A copy, so that whoever changes the list they got does not change the default.
        value: T = copy(site_values().get(self.name, self.default))
        return value

    def fits(self, value: object) -> bool:
        """Whether `value` is of the right type."""
        if isinstance(value, list | tuple) and self.type is list:
            return all(isinstance(item, str) for item in value)
        return isinstance(value, self.type) and (self.type is bool or not isinstance(value, bool))


def site_values() -> Mapping[str, Any]:
    """The site's own `CSPLAYBOOKS`, empty where there is none.

    Raises ImproperlyConfigured when it is no dict.
    """
    values = getattr(django_settings, "CSPLAYBOOKS", {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"CSPLAYBOOKS must be a dict, not {type(values).__name__}.")
    return values


class PluginSettings:
    """All keys of `CSPLAYBOOKS`. An attribute that is none of them is an AttributeError."""

    __slots__ = ()

    TIME_ZONE = Setting(
        "UTC",
        str,
        "The company's time zone, an IANA name. Dates (tenure, renewal, season) are its calendar days. The admin of "
        "the stand-alone site shows times in it, that of a host in the host's.",
    )
    CURRENCY = Setting(
        "USD", str, "The reporting currency, an ISO 4217 code. All money is kept in its minor units as well."
    )

    INTAKE_MAX_ITEMS = Setting(
        5000, int, "The most items one intake request may bring; a bigger batch is refused whole.", minimum=1
    )
    INTAKE_MAX_BYTES = Setting(
        10_000_000, int, "The biggest body of an intake request, in bytes (unpacked).", minimum=1
    )
    INTAKE_MAX_DEPTH = Setting(8, int, "How deep objects and arrays may nest in an intake request.", minimum=2)
    INTAKE_FUTURE_TOLERANCE_SECONDS = Setting(
        600,
        int,
        "How far ahead of our clock a sender's may run, in seconds. What lies further ahead is refused.",
        minimum=0,
        maximum=86_400,
    )
    RETENTION_DAYS = Setting(
        730,
        int,
        "How many days signals and readings are kept before they are rolled up by day and deleted; 0 keeps them for "
        "ever. What occurred earlier is refused by intake, and no window of a trigger may be longer. Starter playbooks "
        "need 194.",
        minimum=0,
        maximum=36_500,
    )

    API_MAX_BYTES = Setting(2_000_000, int, "The biggest body of any other request to the API, in bytes.", minimum=1)
    API_MAX_DEPTH = Setting(16, int, "How deep objects and arrays may nest in any other body.", minimum=2)
    AUTHENTICATION_CLASSES = Setting(
        [
            "csplaybooks.accounts.authentication.TokenAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ],
        list,
        "Who may knock at the API: dotted paths of REST framework authentication classes, in order.",
    )
    PAGE_SIZE = Setting(50, int, "Rows on a page of a list when the reader names no page_size.", minimum=1)
    PAGE_SIZE_MAX = Setting(500, int, "The most rows on a page; a bigger page_size is refused.", minimum=1)

    MAX_ATTEMPTS = Setting(
        5, int, "How often the pipeline tries a row that fails before it is put into the tray.", minimum=1
    )
    RETRY_SECONDS = Setting(
        60, int, "How long a failed row waits for its next try, in seconds.", minimum=1, maximum=86_400
    )
    FULL_RUN_MINUTES = Setting(
        60,
        int,
        "How often all triggers are evaluated over all accounts, in minutes. Its schedule fires every 10 minutes.",
        minimum=10,
        maximum=10_080,
    )
    FULL_RUN_ACCOUNTS = Setting(
        5000,
        int,
        "The most accounts that a full run looks at in one go; where there are more, it goes through them in parts of "
        "this size, one task each, so that no task takes longer than the timeout in Q_CLUSTER.",
        minimum=1,
    )

    HEARTBEAT_SECONDS = Setting(
        180,
        int,
        "How old a heartbeat, a due schedule or a task that waits for a worker may be, in seconds, before the doctor "
        "calls it red. The sweep runs once a minute, and a schedule fires up to 31 seconds late.",
        minimum=120,
        maximum=86_400,
    )
    WAITING_SECONDS = Setting(
        600,
        int,
        "How long a row may wait for its step of the pipeline, in seconds, before the doctor calls it red.",
        minimum=1,
        maximum=604_800,
    )

    NOTICES_BY_MAIL = Setting(
        False,
        bool,
        "Whether members of the team get notices and a daily digest by mail, through the site's EMAIL_BACKEND. Where "
        "not, notices stand in the admin only. Mails that people send to customers go either way. The stand-alone site "
        "turns it on where EMAIL_URL is set.",
    )
    SITE_URL = Setting(
        "",
        str,
        "Where people reach the site, such as https://growth.example.com: mails link to plays there. Empty: no links.",
    )
    MAIL_FROM = Setting("", str, "The address our mails come from. Empty: Django's DEFAULT_FROM_EMAIL.")


csplaybooks_settings = PluginSettings()

#: Every key, by name: what the checks and the documentation read.
DEFAULTS: dict[str, Setting[Any]] = {
    name: setting for name, setting in vars(PluginSettings).items() if isinstance(setting, Setting)
}


def company_time_zone() -> ZoneInfo:
    """The company's time zone (`TIME_ZONE`), in which dates are calendar days."""
    return ZoneInfo(csplaybooks_settings.TIME_ZONE)
