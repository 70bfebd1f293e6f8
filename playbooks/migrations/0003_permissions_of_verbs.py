"""Permissions for what is neither adding nor changing: to say who owns a play, to retry, to publish."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_playbooks', '0002_rounds'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='match',
            options={'ordering': ('-opened_at', '-pk'), 'permissions': [('retry_match', 'Can put a stuck match back to work')], 'verbose_name_plural': 'matches'},
        ),
        migrations.AlterModelOptions(
            name='play',
            options={'ordering': ('-opened_at', '-pk'), 'permissions': [('assign_play', 'Can say who owns a play'), ('retry_play', 'Can put a stuck play back to work')]},
        ),
        migrations.AlterModelOptions(
            name='playbook',
            options={'ordering': ('name',), 'permissions': [('publish_playbook', 'Can publish playbooks, and switch them on and off')]},
        ),
    ]
