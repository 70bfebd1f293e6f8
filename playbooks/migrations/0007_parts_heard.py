"""How far the hearing of signals has come inside one run; names that people read."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_playbooks', '0006_owners_and_clocks'),
    ]

    operations = [
        migrations.AddField(
            model_name='lease',
            name='reached',
            field=models.BigIntegerField(blank=True, help_text='The last row of that run it has looked at; empty: it has seen them all.', null=True),
        ),
        migrations.AlterField(
            model_name='clock',
            name='target',
            field=models.CharField(choices=[('first_touch', 'First touch'), ('handoff_accepted', 'Hand-off accepted'), ('closed', 'Close')], max_length=20),
        ),
        migrations.AlterField(
            model_name='interval',
            name='seq',
            field=models.PositiveIntegerField(verbose_name='No.'),
        ),
    ]
