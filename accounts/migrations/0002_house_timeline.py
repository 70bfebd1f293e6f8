"""Lines of the timeline about the vendor's own, and absences that tell of two people who save at once."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.utils import timezone


def forget_lines_about_the_house(apps: Any, schema_editor: Any) -> None:
    """On the way back: lines without an account have no place in the table as it was."""
    entries = apps.get_model("csplaybooks_accounts", "TimelineEntry")._base_manager
    entries.using(schema_editor.connection.alias).filter(account__isnull=True).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("csplaybooks_accounts", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="timelineentry",
            name="account",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="timeline",
                to="csplaybooks_accounts.account",
            ),
        ),
        # After the column in this list, so before it on the way back.
        migrations.RunPython(migrations.RunPython.noop, forget_lines_about_the_house),
        migrations.AddField(
            model_name="absence",
            name="version",
            field=models.PositiveIntegerField(default=1, editable=False),
        ),
        migrations.AddField(
            model_name="absence",
            name="updated_at",
            field=models.DateTimeField(default=timezone.now, editable=False),
            preserve_default=False,
        ),
    ]
