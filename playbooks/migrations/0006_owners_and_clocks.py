"""What exact ownership needs: calendars of people, steps with a state, deliveries, notices."""

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models


def steps_that_are_done(apps, schema_editor):
    """Steps have a state from now on: what has its time is done, and what is left of closed plays is skipped."""
    steps = apps.get_model("csplaybooks_playbooks", "PlayStep").objects
    plays = apps.get_model("csplaybooks_playbooks", "Play").objects
    steps.filter(done_at__isnull=False).update(state="done")
    closed = plays.filter(pk=models.OuterRef("play"), stage="closed")
    steps.filter(models.Exists(closed), done_at__isnull=True).update(
        state="skipped", done_at=models.Subquery(closed.values("closed_at")[:1]), note="The play is closed."
    )
    if schema_editor.connection.vendor == "postgresql":
        # Else the constraints that follow would find references still to be checked.
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):

    dependencies = [
        ('csplaybooks_accounts', '0004_member_zone'),
        ('csplaybooks_playbooks', '0005_match_steps'),
        ('csplaybooks_signals', '0004_readiness_names'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CalendarUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('updated_at', models.DateTimeField(editable=False)),
                ('region', models.CharField(blank=True, help_text='For accounts of this region, where the owner of a play has no calendar.', max_length=100)),
            ],
            options={
                'ordering': ('calendar', 'pk'),
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('claim', models.UUIDField(blank=True, editable=False, null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('last_error', models.CharField(blank=True, editable=False, max_length=500)),
                ('next_try_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('stuck_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('key', models.CharField(help_text='What it is about: of each there is one.', max_length=200, unique=True)),
                ('kind', models.CharField(choices=[('notice', 'Notice'), ('digest', 'Daily digest'), ('draft', 'Mail to a customer')], max_length=10)),
                ('to_address', models.EmailField(max_length=254)),
                ('reply_to', models.EmailField(blank=True, max_length=254)),
                ('subject', models.CharField(max_length=300)),
                ('body', models.TextField()),
                ('message_id', models.CharField(help_text='The same at each attempt.', max_length=200, unique=True)),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('sending', 'Being sent'), ('sent', 'Sent'), ('unclear', 'Unclear: whoever sent it died'), ('suppressed', 'Not sent: the address is suppressed'), ('cancelled', 'Called off')], default='queued', max_length=10)),
                ('queued_at', models.DateTimeField()),
                ('claimed_until', models.DateTimeField(blank=True, editable=False, help_text='Until when whoever sends it is taken to be alive.', null=True)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ('-queued_at', '-pk'),
                'permissions': [('retry_delivery', 'Can send again what was given up')],
            },
        ),
        migrations.CreateModel(
            name='HolidayImport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('country', models.CharField(help_text='ISO 3166-1 code of two letters.', max_length=10)),
                ('subdivision', models.CharField(blank=True, help_text='Code of a part of the country, such as BY.', max_length=20, verbose_name='region')),
                ('year', models.PositiveSmallIntegerField()),
                ('source', models.CharField(max_length=100)),
                ('source_version', models.CharField(max_length=50)),
                ('imported_at', models.DateTimeField()),
            ],
            options={
                'ordering': ('calendar', 'country', 'subdivision', 'year'),
            },
        ),
        migrations.CreateModel(
            name='MailDraft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('updated_at', models.DateTimeField(editable=False)),
                ('to_address', models.EmailField(blank=True, max_length=254)),
                ('subject', models.CharField(max_length=200)),
                ('body', models.TextField()),
                ('automatic', models.BooleanField(default=False, help_text='Sent without anybody reading it: the playbook says so.')),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('queued', 'On its way'), ('sent', 'Sent'), ('suppressed', 'Not sent: the address is suppressed'), ('failed', 'Could not be sent'), ('discarded', 'Discarded')], default='draft', max_length=10)),
                ('written_at', models.DateTimeField()),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('-written_at', '-pk'),
                'permissions': [('send_maildraft', 'Can send mail to customers')],
            },
        ),
        migrations.CreateModel(
            name='Notice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text='What it tells whom: of each there is one.', max_length=200, unique=True)),
                ('kind', models.CharField(choices=[('assigned', 'A play is yours'), ('warned', 'A promise runs out'), ('breached', 'A promise was missed'), ('escalated', 'A missed promise of your team'), ('offered', 'A play is offered to you'), ('refused', 'Your offer was refused, or nobody answered it')], max_length=10)),
                ('text', models.CharField(max_length=500)),
                ('at', models.DateTimeField()),
                ('way', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], max_length=10)),
            ],
            options={
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='NoticeSettings',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('updated_at', models.DateTimeField(editable=False)),
                ('assigned', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10)),
                ('warned', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='digest', max_length=10)),
                ('breached', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10)),
                ('escalated', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10)),
                ('offered', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10)),
                ('refused', models.CharField(choices=[('now', 'By mail at once'), ('digest', 'In the daily digest'), ('off', 'Not by mail')], default='now', max_length=10)),
                ('digest', models.BooleanField(default=True, help_text='Whether the daily digest comes at all.')),
                ('digest_minute', models.PositiveSmallIntegerField(default=480, help_text="When it comes: minutes since midnight, in the member's time zone.")),
                ('digest_on', models.DateField(blank=True, editable=False, help_text='The last day whose digest was put on its way.', null=True)),
            ],
            options={
                'verbose_name': 'notice settings',
                'verbose_name_plural': 'notice settings',
                'ordering': ('member',),
            },
        ),
        migrations.CreateModel(
            name='Suppression',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField(default=1, editable=False)),
                ('updated_at', models.DateTimeField(editable=False)),
                ('address', models.CharField(help_text='An address, or @ and a domain. Capitals do not matter.', max_length=254)),
                ('source', models.CharField(choices=[('hand', 'By hand'), ('unsubscribed', 'They asked for it'), ('bounced', 'Mail came back'), ('complained', 'They complained')], default='hand', max_length=20)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('added_at', models.DateTimeField(editable=False)),
            ],
            options={
                'ordering': ('address',),
            },
        ),
        migrations.AlterModelOptions(
            name='clock',
            options={'ordering': ('play', 'target', 'number'), 'permissions': [('excuse_clock', 'Can excuse a broken promise')]},
        ),
        migrations.RemoveConstraint(
            model_name='calendarday',
            name='csp_calendar_day_closed_once',
        ),
        migrations.AddField(
            model_name='clock',
            name='excuse_reason',
            field=models.CharField(blank=True, help_text='Why a manager has excused it; empty where the due time was moved later.', max_length=500),
        ),
        migrations.AddField(
            model_name='clock',
            name='excused_by',
            field=models.ForeignKey(blank=True, help_text='Empty where the due time was moved later.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='clock',
            name='follows_owner',
            field=models.BooleanField(default=True, help_text='Whether another owner brings another calendar: not where the playbook names one.'),
        ),
        migrations.AddField(
            model_name='clock',
            name='zone',
            field=models.CharField(blank=True, help_text="The time zone of whoever owns the play; empty: the calendar's own.", max_length=60),
        ),
        migrations.AddField(
            model_name='clockevent',
            name='told',
            field=models.ForeignKey(blank=True, help_text='On which rung of the ladder it stands: who is to know of it.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddField(
            model_name='lease',
            name='mark',
            field=models.BigIntegerField(blank=True, help_text='The last run whose news it has looked at; of jobs that follow the runs.', null=True),
        ),
        migrations.AddField(
            model_name='play',
            name='promises',
            field=models.ForeignKey(blank=True, help_text='The version whose targets it was moved to; empty: its own.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='csplaybooks_playbooks.playbookversion'),
        ),
        migrations.AddField(
            model_name='play',
            name='routing',
            field=models.JSONField(default=dict, help_text='What the rule of its route says of owner, offer and first touch; frozen.'),
        ),
        migrations.AddField(
            model_name='play',
            name='segment',
            field=models.CharField(blank=True, choices=[('small', 'Small business'), ('mid_market', 'Mid-market'), ('enterprise', 'Enterprise')], help_text="The account's segment when the play opened.", max_length=20),
        ),
        migrations.AddField(
            model_name='playstep',
            name='began_at',
            field=models.DateTimeField(blank=True, help_text='When those before it were over.', null=True),
        ),
        migrations.AddField(
            model_name='playstep',
            name='due_at',
            field=models.DateTimeField(blank=True, help_text='By when it is to be done; when a wait is over.', null=True),
        ),
        migrations.AddField(
            model_name='playstep',
            name='is_stale',
            field=models.BooleanField(default=False, editable=False, help_text='Something that it hangs on has changed: a worker looks at it again.'),
        ),
        migrations.AddField(
            model_name='playstep',
            name='note',
            field=models.CharField(blank=True, help_text='What came of it, or why it was skipped.', max_length=500),
        ),
        migrations.AddField(
            model_name='playstep',
            name='settings',
            field=models.JSONField(default=dict, help_text='What the playbook says of it: hours, mail, feature; frozen.'),
        ),
        migrations.AddField(
            model_name='playstep',
            name='state',
            field=models.CharField(choices=[('waiting', 'Waiting for those before it'), ('current', 'To do now'), ('done', 'Done'), ('skipped', 'Skipped')], default='waiting', max_length=10),
        ),
        migrations.AddField(
            model_name='touch',
            name='origin',
            field=models.CharField(choices=[('hand', 'Logged by a person'), ('draft', 'A draft was sent'), ('signal', 'A signal told')], default='hand', max_length=10),
        ),
        migrations.AddField(
            model_name='touch',
            name='signal',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='csplaybooks_signals.signal'),
        ),
        migrations.AlterField(
            model_name='playstep',
            name='done_at',
            field=models.DateTimeField(blank=True, help_text='When it was done, or skipped.', null=True),
        ),
        migrations.AlterField(
            model_name='playstep',
            name='kind',
            field=models.CharField(choices=[('task', 'Task'), ('mail', 'Mail draft'), ('prompt', 'In-product prompt'), ('wait', 'Wait'), ('trial', 'Trial of a feature')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='play',
            index=models.Index(condition=models.Q(('tray_at__isnull', False)), fields=['tray_at'], name='csp_play_tray'),
        ),
        migrations.AddIndex(
            model_name='play',
            index=models.Index(condition=models.Q(('attempts__gt', 0), ('stuck_at__isnull', False), _connector='OR'), fields=['stuck_at'], name='csp_play_failed'),
        ),
        migrations.AddIndex(
            model_name='playstep',
            index=models.Index(condition=models.Q(('state', 'current')), fields=['due_at'], name='csp_play_step_due'),
        ),
        migrations.AddIndex(
            model_name='playstep',
            index=models.Index(condition=models.Q(('kind__in', ['wait', 'trial']), ('state', 'current')), fields=['due_at'], name='csp_play_step_over'),
        ),
        migrations.AddIndex(
            model_name='playstep',
            index=models.Index(condition=models.Q(('is_stale', True), ('state', 'current')), fields=['play'], name='csp_play_step_stale'),
        ),
        migrations.AddIndex(
            model_name='playstep',
            index=models.Index(condition=models.Q(('number', 1), ('state', 'waiting')), fields=['play'], name='csp_play_step_first'),
        ),
        migrations.RunPython(steps_that_are_done, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='clock',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('breached_at__isnull', False), ('excused_at__isnull', False)), models.Q(('excuse_reason', ''), ('excused_at__isnull', True), ('excused_by__isnull', True)), _connector='OR'), name='csp_clock_excused_breach', violation_error_message='An excuse has its time, and there is a breach to excuse.'),
        ),
        migrations.AddConstraint(
            model_name='clock',
            constraint=models.CheckConstraint(condition=models.Q(('excused_by__isnull', True), models.Q(('excuse_reason', ''), _negated=True), _connector='OR'), name='csp_clock_excused_with_reason', violation_error_message='Whoever excuses a breach gives a reason.'),
        ),
        migrations.AddConstraint(
            model_name='playstep',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'current')), fields=('play',), name='csp_play_step_one_current', violation_error_message='This play has a step to do already.'),
        ),
        migrations.AddConstraint(
            model_name='playstep',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('done_at__isnull', False), ('state__in', ['done', 'skipped'])), models.Q(models.Q(('state__in', ['done', 'skipped']), _negated=True), ('done_at__isnull', True)), _connector='OR'), name='csp_play_step_done_has_time', violation_error_message='A step that is over has its time, another none.'),
        ),
        migrations.AddConstraint(
            model_name='playstep',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'current'), _negated=True), ('began_at__isnull', False), _connector='OR'), name='csp_play_step_current_began', violation_error_message='A step to do has the time at which it began.'),
        ),
        migrations.AddConstraint(
            model_name='touch',
            constraint=models.UniqueConstraint(condition=models.Q(('signal__isnull', False)), fields=('play', 'signal'), name='csp_touch_signal_once', violation_error_message='This signal is a contact of this play already.'),
        ),
        migrations.AddField(
            model_name='calendaruse',
            name='calendar',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='csplaybooks_playbooks.calendar'),
        ),
        migrations.AddField(
            model_name='calendaruse',
            name='member',
            field=models.OneToOneField(blank=True, help_text='The working hours of this member.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddField(
            model_name='calendaruse',
            name='team',
            field=models.OneToOneField(blank=True, help_text='The working hours of this manager, and of everybody below who has no nearer calendar.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='member',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='play',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='csplaybooks_playbooks.play'),
        ),
        migrations.AddField(
            model_name='holidayimport',
            name='calendar',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='imports', to='csplaybooks_playbooks.calendar'),
        ),
        migrations.AddField(
            model_name='calendarday',
            name='imported',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='days', to='csplaybooks_playbooks.holidayimport'),
        ),
        migrations.AddConstraint(
            model_name='calendarday',
            constraint=models.UniqueConstraint(condition=models.Q(('imported__isnull', True), ('start_minute__isnull', True)), fields=('calendar', 'day'), name='csp_calendar_day_closed_once', violation_error_message='This day is closed already.'),
        ),
        migrations.AddConstraint(
            model_name='calendarday',
            constraint=models.UniqueConstraint(condition=models.Q(('imported__isnull', False)), fields=('imported', 'day'), name='csp_calendar_day_imported_once', violation_error_message='This import has this day already.'),
        ),
        migrations.AddConstraint(
            model_name='calendarday',
            constraint=models.CheckConstraint(condition=models.Q(('imported__isnull', True), ('start_minute__isnull', True), _connector='OR'), name='csp_calendar_day_imported_is_closed', violation_error_message='An imported day is closed.'),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='champion',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='csplaybooks_accounts.champion'),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='delivery',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='draft', to='csplaybooks_playbooks.delivery'),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='play',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='csplaybooks_playbooks.play'),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='sent_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='step',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='draft', to='csplaybooks_playbooks.playstep'),
        ),
        migrations.AddField(
            model_name='maildraft',
            name='touch',
            field=models.OneToOneField(blank=True, help_text='The contact that it was, once it was sent.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='draft', to='csplaybooks_playbooks.touch'),
        ),
        migrations.AddField(
            model_name='notice',
            name='delivery',
            field=models.ForeignKey(blank=True, help_text='Its mail.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='notices', to='csplaybooks_playbooks.delivery'),
        ),
        migrations.AddField(
            model_name='notice',
            name='event',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='csplaybooks_playbooks.clockevent'),
        ),
        migrations.AddField(
            model_name='notice',
            name='handoff',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='csplaybooks_playbooks.handoff'),
        ),
        migrations.AddField(
            model_name='notice',
            name='member',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='notices', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddField(
            model_name='notice',
            name='play',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='notices', to='csplaybooks_playbooks.play'),
        ),
        migrations.AddField(
            model_name='noticesettings',
            name='member',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='notice_settings', to='csplaybooks_accounts.teammember'),
        ),
        migrations.AddConstraint(
            model_name='suppression',
            constraint=models.UniqueConstraint(django.db.models.functions.text.Lower('address'), name='csp_suppression_address', violation_error_message='This address is suppressed already.'),
        ),
        migrations.AddConstraint(
            model_name='calendaruse',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('member__isnull', False), ('region', ''), ('team__isnull', True)), models.Q(('member__isnull', True), ('region', ''), ('team__isnull', False)), models.Q(('member__isnull', True), ('team__isnull', True), models.Q(('region', ''), _negated=True)), _connector='OR'), name='csp_calendar_use_of_one', violation_error_message='Name a member, a team or a region: one of them.'),
        ),
        migrations.AddConstraint(
            model_name='calendaruse',
            constraint=models.UniqueConstraint(condition=models.Q(('region', ''), _negated=True), fields=('region',), name='csp_calendar_use_region', violation_error_message='This region has a calendar already.'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'queued')), fields=['queued_at'], name='csp_delivery_queued'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'sending')), fields=['claimed_until'], name='csp_delivery_sending'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'unclear')), fields=['id'], name='csp_delivery_unclear'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='csp_delivery_sent_has_time', violation_error_message='What was sent has its time, another none.'),
        ),
        migrations.AddConstraint(
            model_name='holidayimport',
            constraint=models.UniqueConstraint(fields=('calendar', 'country', 'subdivision', 'year'), name='csp_holiday_import_unique', violation_error_message='These holidays were imported already: import them anew.'),
        ),
        migrations.AddIndex(
            model_name='maildraft',
            index=models.Index(condition=models.Q(('state', 'queued')), fields=['id'], name='csp_draft_queued'),
        ),
        migrations.AddIndex(
            model_name='maildraft',
            index=models.Index(condition=models.Q(('state', 'sent'), ('touch__isnull', True)), fields=['play'], name='csp_draft_untold'),
        ),
        migrations.AddConstraint(
            model_name='maildraft',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='csp_draft_sent_has_time', violation_error_message='What was sent has its time, another none.'),
        ),
        migrations.AddIndex(
            model_name='notice',
            index=models.Index(fields=['member', '-at'], name='csp_notice_member'),
        ),
        migrations.AddIndex(
            model_name='notice',
            index=models.Index(condition=models.Q(('delivery__isnull', True), ('way', 'digest')), fields=['member', 'at'], name='csp_notice_digest'),
        ),
        migrations.AddIndex(
            model_name='notice',
            index=models.Index(condition=models.Q(('delivery__isnull', True), ('way', 'now')), fields=['id'], name='csp_notice_now'),
        ),
        migrations.AddConstraint(
            model_name='noticesettings',
            constraint=models.CheckConstraint(condition=models.Q(('digest_minute__lt', 1440)), name='csp_notice_settings_minute', violation_error_message='A day has the minutes 0 to 1439.'),
        ),
    ]
