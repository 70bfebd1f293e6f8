"""Steps of matches, and what the queue before the plays stands on."""

import django.db.models.deletion
from django.db import migrations, models


def tell_what_is_there(apps, schema_editor):
    """Give each match one step with what it is now; what was let through before there was a queue has been let in."""
    match = apps.get_model("csplaybooks_playbooks", "Match")._meta.db_table
    step = apps.get_model("csplaybooks_playbooks", "MatchStep")._meta.db_table
    if schema_editor.connection.vendor == "postgresql":
        # Else the constraints that follow would find references still to be checked.
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    schema_editor.execute(f"UPDATE {match} SET admitted_run_id = opened_run_id WHERE state = 'queued'")
    schema_editor.execute(
        f"INSERT INTO {step} (match_id, run_id, in_run, at, state, admitted, held_by, held_until, held_reason, ceiling)"
        " SELECT id, CASE WHEN state = 'ended' THEN closed_run_id ELSE opened_run_id END,"
        " CASE WHEN state IN ('fired', 'folded') THEN %s ELSE %s END,"
        " COALESCE(fired_at, CASE WHEN state = 'ended' THEN closed_at END, opened_at),"
        f" state, CASE WHEN state = 'queued' THEN %s ELSE %s END, held_by, held_until, held_reason, ceiling FROM {match}"
        " ORDER BY id",
        [False, True, True, False],
    )


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_accounts', '0003_feature_area'),
        ('csplaybooks_playbooks', '0004_offers'),
    ]

    operations = [
        migrations.CreateModel(
            name='MatchStep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('in_run', models.BooleanField()),
                ('at', models.DateTimeField()),
                ('state', models.CharField(choices=[('held', 'Held'), ('queued', 'Queued'), ('fired', 'Fired'), ('folded', 'Folded'), ('expired', 'Expired'), ('ended', 'Ended unfired')], max_length=10)),
                ('admitted', models.BooleanField(default=False, help_text='It may become a play as soon as a worker comes by.')),
                ('held_by', models.CharField(blank=True, help_text='The guard that held it.', max_length=50)),
                ('held_until', models.DateTimeField(blank=True, null=True)),
                ('held_reason', models.CharField(blank=True, max_length=300)),
                ('ceiling', models.CharField(blank=True, choices=[('self_serve', 'Self-serve'), ('email', 'E-mail'), ('csm', 'CSM conversation'), ('sales', 'Sales outreach')], help_text='Highest route allowed.', max_length=20)),
            ],
            options={
                'ordering': ('match', 'pk'),
            },
        ),
        migrations.RemoveIndex(
            model_name='match',
            name='csp_match_queued',
        ),
        migrations.AddField(
            model_name='match',
            name='admitted_run',
            field=models.ForeignKey(blank=True, help_text='The run, or the last one before the look at the queue, that let it become a play.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='csplaybooks_playbooks.run'),
        ),
        migrations.AddField(
            model_name='match',
            name='expected_amount_minor',
            field=models.BigIntegerField(blank=True, help_text='What it would add to monthly revenue, in minor units; null is unknown.', null=True),
        ),
        migrations.AddField(
            model_name='match',
            name='expected_value_minor',
            field=models.BigIntegerField(blank=True, help_text="That amount times the close rate; the queue's order. Unknown goes last.", null=True),
        ),
        migrations.AddField(
            model_name='match',
            name='queued_at',
            field=models.DateTimeField(blank=True, help_text='Since when it waits for room.', null=True),
        ),
        migrations.AddField(
            model_name='match',
            name='route',
            field=models.CharField(blank=True, choices=[('self_serve', 'Self-serve'), ('email', 'E-mail'), ('csm', 'CSM conversation'), ('sales', 'Sales outreach')], help_text='How it would be worked, as of when the guards let it pass.', max_length=20),
        ),
        migrations.AddField(
            model_name='match',
            name='waits_until',
            field=models.DateTimeField(blank=True, help_text='When it expires, if there is no room by then.', null=True),
        ),
        migrations.AddField(
            model_name='matchstep',
            name='match',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='csplaybooks_playbooks.match'),
        ),
        migrations.AddField(
            model_name='matchstep',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='csplaybooks_playbooks.run'),
        ),
        migrations.RunPython(tell_what_is_there, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='match',
            index=models.Index(condition=models.Q(('admitted_run__isnull', False), ('state', 'queued')), fields=['opened_run', 'id'], name='csp_match_admitted'),
        ),
        migrations.AddIndex(
            model_name='match',
            index=models.Index(condition=models.Q(('admitted_run__isnull', True), ('state', 'queued')), fields=['waits_until', 'id'], name='csp_match_waiting'),
        ),
        migrations.AddConstraint(
            model_name='match',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'held'), _negated=True), models.Q(('admitted_run__isnull', True), ('queued_at__isnull', True)), _connector='OR'), name='csp_match_held_not_queued', violation_error_message='A held match stands in no queue, and nothing has let it in.'),
        ),
        migrations.AddConstraint(
            model_name='match',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'queued'), _negated=True), ('admitted_run__isnull', False), models.Q(('queued_at__isnull', False), ('waits_until__isnull', False)), _connector='OR'), name='csp_match_waits_until', violation_error_message='A match that waits for room says since when, and until when.'),
        ),
        migrations.AddConstraint(
            model_name='match',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'expired'), _negated=True), ('admitted_run__isnull', True), _connector='OR'), name='csp_match_expired_not_admitted', violation_error_message='A match for which there was room does not expire.'),
        ),
        migrations.AddIndex(
            model_name='matchstep',
            index=models.Index(fields=['match', 'id'], name='csp_match_step'),
        ),
        migrations.AddConstraint(
            model_name='matchstep',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'held'), _negated=True), models.Q(('held_by', ''), _negated=True), _connector='OR'), name='csp_match_step_held_by_guard', violation_error_message='A step that holds a match names the guard.'),
        ),
        migrations.AddIndex(
            model_name='play',
            index=models.Index(condition=models.Q(('stage', 'closed')), fields=['closed_at'], name='csp_play_closed'),
        ),
        migrations.AlterField(
            model_name='run',
            name='counts',
            field=models.JSONField(default=dict, help_text='By trigger: matched, opened, closed; both sums.'),
        ),
        migrations.AlterField(
            model_name='run',
            name='errors',
            field=models.JSONField(blank=True, default=dict, help_text='By playbook version: why it could not be evaluated; the others were. By `sum:` and trigger: why a sum does not close.'),
        ),
        migrations.AlterField(
            model_name='run',
            name='inputs',
            field=models.JSONField(default=dict, help_text='What was used that is not dated truth: the ids of signal types and meters by key, the maximum age of each meter in days, the room that each pool had, and the close rates of playbooks.'),
        ),
    ]
