from __future__ import annotations

from django.apps import AppConfig

from csplaybooks.app_base import PluginApp


class PlaybooksConfig(PluginApp, AppConfig):
    name = "csplaybooks.playbooks"
    label = "csplaybooks_playbooks"
    verbose_name = "playbooks (customer success)"
    # Set here, because a host's DEFAULT_AUTO_FIELD would otherwise write migrations into our package.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the pipeline to the rooms below it; no queries."""
        super().ready()
        from csplaybooks.playbooks import receivers

        receivers.connect()
