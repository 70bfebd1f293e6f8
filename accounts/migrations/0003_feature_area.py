"""The part of the product that a feature belongs to."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("csplaybooks_accounts", "0002_house_timeline"),
    ]

    operations = [
        migrations.AddField(
            model_name="feature",
            name="area",
            field=models.CharField(
                blank=True, help_text="The part of the product that it belongs to, such as reporting.", max_length=100
            ),
        ),
    ]
