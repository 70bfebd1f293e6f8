"""The app that owns the shared templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from csplaybooks import logs
from csplaybooks.app_base import PluginApp

_here = Path(__file__).resolve().parent


def look_at_task_settings() -> None:
    """Raise ImproperlyConfigured where django-q2 would end with an error that names no setting.

    It calculates with `Q_CLUSTER` as soon as it is imported, before any system check; so this comes first only where
    `csplaybooks` stands before `django_q` in `INSTALLED_APPS`. All else is told by the checks.
    """
    cluster = getattr(settings, "Q_CLUSTER", None) or {}
    if not isinstance(cluster, Mapping):
        raise ImproperlyConfigured(f"Q_CLUSTER must be a dict, not {type(cluster).__name__}.")
    for key in ("workers", "timeout", "retry"):
        value = cluster.get(key)
        if value is not None and not isinstance(value, int | float):
            raise ImproperlyConfigured(
                f"Q_CLUSTER[{key!r}] must be a number, not {type(value).__name__} ({value!r})."
                f"{' Write it without quotes.' if isinstance(value, str) else ''}"
            )


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
