from __future__ import annotations

from django.apps import AppConfig

from csplaybooks.app_base import PluginApp


class AccountsConfig(PluginApp, AppConfig):
    name = "csplaybooks.accounts"
    label = "csplaybooks_accounts"
    verbose_name = "accounts (customer success)"
    # Set here, because a host's DEFAULT_AUTO_FIELD would otherwise write migrations into our package.
    default_auto_field = "django.db.models.BigAutoField"
