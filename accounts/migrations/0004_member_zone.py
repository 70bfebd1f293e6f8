"""The time zone of a member's working hours."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_accounts', '0003_feature_area'),
    ]

    operations = [
        migrations.AddField(
            model_name='teammember',
            name='zone',
            field=models.CharField(blank=True, help_text="IANA time zone, such as Europe/Berlin, in which their working hours lie; empty: their calendar's.", max_length=60, verbose_name='time zone'),
        ),
    ]
