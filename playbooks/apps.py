from __future__ import annotations

from django.apps import AppConfig


class PlaybooksConfig(AppConfig):
    name = "csplaybooks.playbooks"
    label = "csplaybooks_playbooks"
    verbose_name = "playbooks (customer success)"
    # Set here, because a host's DEFAULT_AUTO_FIELD would otherwise write migrations into our package.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the pipeline to the rooms below it; no queries."""
        from csplaybooks.playbooks import receivers

        receivers.connect()
