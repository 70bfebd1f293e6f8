"""The migrations say what the models say, whatever the host's default primary key."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from pytest_django import Settings


@pytest.mark.django_db
@pytest.mark.parametrize("auto_field", ["BigAutoField", "AutoField"])
def test_no_migration_is_missing(auto_field: str, settings: Settings) -> None:
    settings.DEFAULT_AUTO_FIELD = f"django.db.models.{auto_field}"

    # Leaves by SystemExit when there is something to write.
    call_command(
        "makemigrations",
        "csplaybooks_accounts",
        "csplaybooks_signals",
        "csplaybooks_playbooks",
        check_changes=True,
        dry_run=True,
    )
