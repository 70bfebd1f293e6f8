"""The app that owns the shared templates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from csplaybooks import logs
from csplaybooks.app_base import PluginApp

_here = Path(__file__).resolve().parent

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def look_at_task_settings() -> None:
    """Raise ImproperlyConfigured where django-q2 would end with an error that names no setting.

    It calculates with `Q_CLUSTER` as soon as it is imported, before any system check; so this comes first only where
    `csplaybooks` stands before `django_q` in `INSTALLED_APPS`. All else is told by the checks.
    """
    cluster = getattr(settings, "Q_CLUSTER", None)
    if cluster is None:
        cluster = {}
    if not isinstance(cluster, Mapping):
        raise ImproperlyConfigured(f"Q_CLUSTER must be a dict, not {type(cluster).__name__}.")
    if complaint := next(_complaints(cluster), None):
        raise ImproperlyConfigured(complaint)


def _complaints(cluster: Mapping[str, Any]) -> Iterator[str]:
    for key in ("workers", "timeout", "retry"):
        value = cluster.get(key, 0)
        # Only of the first two does none mean its default.
        if not isinstance(value, int | float) and not (value is None and key != "retry"):
            quoted = " Write it without quotes." if isinstance(value, str) else ""
            yield f"Q_CLUSTER[{key!r}] must be a number, not {type(value).__name__} ({value!r}).{quoted}"
    level = cluster.get("log_level", "INFO")
    if level not in _LEVELS:
        yield f"Q_CLUSTER['log_level'] is {level!r}; it must be one of {', '.join(_LEVELS)}."
    group = cluster.get("save_limit_per")
    if group not in (None, "group", "name", "func"):
        yield f"Q_CLUSTER['save_limit_per'] is {group!r}; it must be 'group', 'name' or 'func'."
    reporters = cluster.get("error_reporter") or {}
    if not isinstance(reporters, Mapping):
        yield f"Q_CLUSTER['error_reporter'] must be a dict, not {type(reporters).__name__} ({reporters!r})."
    name = os.environ.get("Q_CLUSTER_NAME")
    if name and name not in (cluster.get("name"), cluster.get("cluster_name")) and "ALT_CLUSTERS" not in cluster:
        yield f"The environment has Q_CLUSTER_NAME={name}, but there is no Q_CLUSTER['ALT_CLUSTERS'] with its settings."


class CsplaybooksConfig(PluginApp, AppConfig):
    """The plugin's face: no models; pages and mails under ``templates/csplaybooks/``."""

    name = "csplaybooks"
    label = "csplaybooks"
    verbose_name = "Expansion playbooks"
    default_auto_field = "django.db.models.BigAutoField"
    # Where ``templates/`` lies: inside the package in a wheel, beside it in a checkout. Stating it lets the
    # app directories loader find the templates in both, in a host too, without a DIRS setting.
    path = str(_here if (_here / "templates").is_dir() else _here.parent)

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        look_at_task_settings()

    def ready(self) -> None:
        """Register the system checks, and let log records name the task that they come from."""
        super().ready()
        if apps.is_installed("django_q"):
            logs.connect_tasks()
