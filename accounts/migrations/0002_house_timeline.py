"""Lines of the timeline about the vendor's own, and absences that tell of two people who save at once."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.utils import timezone


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
