"""Checks of what a site puts us into: its apps, its URLs, its clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.urls import URLResolver, get_resolver

from csplaybooks.app_base import GROUND, OUR_APPS, how_to_add
from csplaybooks.checks.table import message

#: Apps without which nothing of ours works, and those without which something is missing, with what.
NEEDED = (*GROUND, "django_q", *OUR_APPS)
WANTED = {
    "django_filters": "its texts stay untranslated",
    "rest_framework": "its texts stay untranslated",
}

INCLUDE_LINE = 'path("expansion/", include("csplaybooks.urls"))'


@register
def check_apps(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look for the apps that we need, and for ours under a wrong name."""
    messages = []
    if missing := [name for name in NEEDED if not apps.is_installed(name)]:
        lacks = " and ".join(map(repr, missing))
        messages.append(
            message("E004", f"INSTALLED_APPS lacks {lacks}, which csplaybooks needs.", mend=how_to_add(missing))
        )
    messages += [
        message(
            "W002",
            f"INSTALLED_APPS lacks {name!r}: {what}.",
            mend=how_to_add([name]),
        )
        for name, what in WANTED.items()
        if not apps.is_installed(name)
    ]
    # In a checkout the bare name finds the same app; installed from a wheel it finds nothing, or an app of the host.
    messages += [
        message(
            "E005",
            f"INSTALLED_APPS names {bare!r}, which only a checkout of csplaybooks knows.",
            mend=f"Write {config.name!r} in its place.",
        )
        for config in apps.get_app_configs()
        if config.name in OUR_APPS
        and (bare := type(config).__module__.partition(".")[0]) == config.name.partition(".")[2]
    ]
    return messages


@register(Tags.urls)
def check_urls(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look for our URLs in those of the site: once, or under several namespaces."""
    root = getattr(settings, "ROOT_URLCONF", None)
    if not root:
        # A process without pages, as Django sees it too.
        return []
    if not apps.is_installed("csplaybooks.accounts"):
        return []
    found = list(_namespaces_of_ours(get_resolver(root)))
    if not found:
        return [
            message(
                "W005",
                f"ROOT_URLCONF ({root}) does not include csplaybooks.urls: the API cannot be reached.",
                mend=f"Add to its urlpatterns: {INCLUDE_LINE}.",
            )
        ]
    return [
        message(
            "W006",
            f"ROOT_URLCONF ({root}) includes csplaybooks.urls {found.count(namespace)} times under the namespace "
            f"{namespace!r}: addresses lead to only one of them.",
            mend=f'Leave one {INCLUDE_LINE}, or give each a name: include("csplaybooks.urls", namespace="...").',
        )
        for namespace in dict.fromkeys(found)
        if found.count(namespace) > 1
    ]


def _namespaces_of_ours(resolver: URLResolver, outer: str = "") -> Iterator[str]:
    """The full namespace of each place at which our URLs are included."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{outer}:{pattern.namespace}" if outer and pattern.namespace else pattern.namespace or outer
            if pattern.app_name == "csplaybooks":
                yield namespace
            else:
                yield from _namespaces_of_ours(pattern, namespace)


@register
def check_time(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Look whether times are instants."""
    if settings.USE_TZ:
        return []
    return [
        message(
            "E006",
            "USE_TZ is False: times would lose their zone, and with it every window and every promise its meaning.",
            mend="Set USE_TZ = True. Times are shown in TIME_ZONE as before.",
        )
    ]
