"""Mails that did not go, promises missed more than once, parts of a run that were heard; words that people read."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_accounts', '0004_member_zone'),
        ('csplaybooks_playbooks', '0006_owners_and_clocks'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='lease',
            name='reached',
            field=models.BigIntegerField(blank=True, help_text='The last row of that run it has looked at; empty: it has seen them all.', null=True),
        ),
        migrations.AddField(
            model_name='noticesettings',
            name='unsent',
            field=models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10),
        ),
        migrations.AlterField(
            model_name='clock',
            name='breached_at',
            field=models.DateTimeField(blank=True, help_text='The due time that was missed; the last one, where there were several.', null=True),
        ),
        migrations.AlterField(
            model_name='clock',
            name='due_at',
            field=models.DateTimeField(blank=True, help_text='Empty while the play is paused, or where the calendar never opens long enough.', null=True),
        ),
        migrations.AlterField(
            model_name='clock',
            name='excused_at',
            field=models.DateTimeField(blank=True, help_text='Since when the breach does not count: by a later due time, or by a manager.', null=True),
        ),
        migrations.AlterField(
            model_name='clock',
            name='is_stale',
            field=models.BooleanField(default=False, help_text='Its hours, owner or calendar have changed: its times follow within a minute.', verbose_name='to be worked out anew'),
        ),
        migrations.AlterField(
            model_name='clock',
            name='next_event_at',
            field=models.DateTimeField(blank=True, help_text='When the next warning, breach or rung of the ladder is due.', null=True),
        ),
        migrations.AlterField(
            model_name='clock',
            name='target',
            field=models.CharField(choices=[('first_touch', 'First touch'), ('handoff_accepted', 'Hand-off accepted'), ('closed', 'Close')], max_length=20),
        ),
        migrations.AlterField(
            model_name='clockevent',
            name='level',
            field=models.PositiveSmallIntegerField(default=0, help_text='The per cent of a warning, the rung of an escalation, and 100 more for each breach before it; of a breach how many there were before it.'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='state',
            field=models.CharField(choices=[('queued', 'Queued'), ('sending', 'Being sent'), ('sent', 'Sent'), ('unclear', 'Unclear whether it went'), ('suppressed', 'Not sent: the address is suppressed'), ('cancelled', 'Called off')], default='queued', max_length=10),
        ),
        migrations.AlterField(
            model_name='interval',
            name='seq',
            field=models.PositiveIntegerField(verbose_name='No.'),
        ),
        migrations.AlterField(
            model_name='maildraft',
            name='state',
            field=models.CharField(choices=[('draft', 'Draft'), ('queued', 'On its way'), ('sent', 'Sent'), ('suppressed', 'Not sent: the address is suppressed'), ('failed', 'Could not be sent'), ('unclear', 'Unclear whether it went'), ('discarded', 'Discarded')], default='draft', max_length=10),
        ),
        migrations.AlterField(
            model_name='notice',
            name='kind',
            field=models.CharField(choices=[('assigned', 'A play is yours'), ('warned', 'A promise runs out'), ('breached', 'A promise was missed'), ('escalated', 'A missed promise of your team'), ('offered', 'A play is offered to you'), ('refused', 'An offer was refused, or nobody answered it'), ('unsent', 'A mail to a customer did not go')], max_length=10),
        ),
        migrations.AddIndex(
            model_name='maildraft',
            index=models.Index(condition=models.Q(('state__in', ['failed', 'unclear'])), fields=['play'], name='csp_draft_unsent'),
        ),
    ]
