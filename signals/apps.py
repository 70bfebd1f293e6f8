from __future__ import annotations

from django.apps import AppConfig

from csplaybooks.app_base import PluginApp


class SignalsConfig(PluginApp, AppConfig):
    name = "csplaybooks.signals"
    label = "csplaybooks_signals"
    verbose_name = "signals (customer success)"
    # Set here, because a host's DEFAULT_AUTO_FIELD would otherwise write migrations into our package.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Answer the room below; no queries."""
        super().ready()
        from csplaybooks.signals import receivers

        receivers.connect()
