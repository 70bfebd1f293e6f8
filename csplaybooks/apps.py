"""The app that owns the shared templates."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig, apps

from csplaybooks import logs
from csplaybooks.app_base import PluginApp

_here = Path(__file__).resolve().parent


class CsplaybooksConfig(PluginApp, AppConfig):
    """The plugin's face: no models; pages and mails under ``templates/csplaybooks/``."""

    name = "csplaybooks"
    label = "csplaybooks"
    verbose_name = "Expansion playbooks"
    default_auto_field = "django.db.models.BigAutoField"
    # Where ``templates/`` lies: inside the package in a wheel, beside it in a checkout. Stating it lets the
    # app directories loader find the templates in both, in a host too, without a DIRS setting.
    path = str(_here if (_here / "templates").is_dir() else _here.parent)

    def ready(self) -> None:
        """Register the system checks, and let log records name the task that they come from."""
        super().ready()
        if apps.is_installed("django_q"):
            logs.connect_tasks()
