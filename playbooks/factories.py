"""Factories of the room `playbooks`: the smallest valid rows, the same at every call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import factory

from csplaybooks.accounts.factories import START, AccountFactory, TeamMemberFactory
from csplaybooks.accounts.models import Motion
from csplaybooks.playbooks import models
from csplaybooks.playbooks.document import read_document

#: Monday to Friday, nine to five: weekday, first and last minute of the day.
WEEK = [(weekday, 9 * 60, 17 * 60) for weekday in range(5)]

#: The document of `PlaybookFactory`.
DRAFT = """\
key: {key}
name: {name}
motion: {motion}
triggers:
  - key: seats_above_80
    any:
      - all:
          - {{measure: share_of_limit, meters: [seats], above: 80}}
routes:
  - route: csm
targets:
  - {{target: first_touch, hours: 8}}
"""

#: The guards of a version whose playbook says nothing of them.
LENIENT = "guards: {unhealthy: off}\n"


class CalendarFactory(factory.django.DjangoModelFactory):
    """The default calendar: Monday to Friday, nine to five, UTC. `blocks=[]` leaves the hours out."""

    class Meta:
        model = models.Calendar
        django_get_or_create = ("key",)
        skip_postgeneration_save = True

    key = "office"
    name = "Office hours"
    zone = "UTC"
    is_default = True
    updated_at = START

    @factory.post_generation
    def blocks(calendar: Any, create: bool, blocks: Any, **kwargs: Any) -> None:
        """The open hours of a week: triples of weekday (0 is Monday), first and last minute of the day."""
        if create and not calendar.blocks.exists():
            models.CalendarBlock.objects.bulk_create(
                models.CalendarBlock(
                    calendar=calendar, weekday=weekday, start_minute=start_minute, end_minute=end_minute
                )
                for weekday, start_minute, end_minute in (WEEK if blocks is None else blocks)
            )


class PlaybookFactory(factory.django.DjangoModelFactory):
    """A playbook that sells seats where they run out; only a draft, until a version of it is made."""

    class Meta:
        model = models.Playbook
        django_get_or_create = ("key",)

    key = factory.Sequence(lambda number: f"playbook_{number}")
    name = factory.LazyAttribute(lambda playbook: playbook.key.replace("_", " ").capitalize())
    motion = Motion.SEAT_EXPANSION
    draft = factory.LazyAttribute(
        lambda playbook: DRAFT.format(key=playbook.key, name=playbook.name, motion=playbook.motion)
    )
    updated_at = START


class PlaybookVersionFactory(factory.django.DjangoModelFactory):
    """The first version of a playbook, published: it is what runs. The catalogue is not asked for names.

    Where the draft says nothing of guards, the health of accounts may be unknown: factories tell of none.
    """

    class Meta:
        model = models.PlaybookVersion
        django_get_or_create = ("playbook", "number")
        skip_postgeneration_save = True

    playbook = factory.SubFactory(PlaybookFactory)
    number = 1
    source = factory.LazyAttribute(
        lambda version: version.playbook.draft + ("" if "guards:" in version.playbook.draft else LENIENT)
    )
    document = factory.LazyAttribute(lambda version: read_document(version.source))
    published_at = START

    @factory.post_generation
    def triggers(version: Any, create: bool, extracted: Any, **kwargs: Any) -> None:
        """The identities of its triggers, and its place as what runs."""
        if create:
            for trigger in version.document["triggers"]:
                TriggerFactory(playbook=version.playbook, key=trigger["key"])
            version.playbook.published = version
            version.playbook.save(update_fields=["published"])


class TriggerFactory(factory.django.DjangoModelFactory):
    """The trigger of the playbook that `PlaybookFactory` drafts."""

    class Meta:
        model = models.Trigger
        django_get_or_create = ("playbook", "key")

    playbook = factory.SubFactory(PlaybookFactory)
    key = "seats_above_80"


class RunFactory(factory.django.DjangoModelFactory):
    """A run over what changed, finished at once."""

    class Meta:
        model = models.Run

    kind = models.Run.Kind.CHANGED
    moment = START
    finished_at = factory.SelfAttribute("moment")


class MatchFactory(factory.django.DjangoModelFactory):
    """An open episode that becomes a play as soon as a worker comes by. `waits=True`: there is no room for it yet."""

    class Meta:
        model = models.Match
        skip_postgeneration_save = True

    class Params:
        waits = factory.Trait(
            admitted_run=None,
            queued_at=factory.SelfAttribute("opened_at"),
            waits_until=factory.LazyAttribute(lambda match: match.opened_at + timedelta(days=14)),
        )

    account = factory.SubFactory(AccountFactory)
    version = factory.SubFactory(PlaybookVersionFactory)
    trigger = factory.SubFactory(TriggerFactory, playbook=factory.SelfAttribute("..version.playbook"))
    opened_run = factory.SubFactory(RunFactory)
    opened_at = factory.SelfAttribute("opened_run.moment")
    state = models.Match.State.QUEUED
    admitted_run = factory.LazyAttribute(
        lambda match: match.opened_run if match.state == models.Match.State.QUEUED else None
    )
    step = factory.RelatedFactory(
        "csplaybooks.playbooks.factories.MatchStepFactory",
        factory_related_name="match",
    )


class MatchStepFactory(factory.django.DjangoModelFactory):
    """The first step of a match, in the run that opened it, as the match itself tells it."""

    class Meta:
        model = models.MatchStep

    match = factory.SubFactory(MatchFactory, step=None)
    run = factory.SelfAttribute("match.opened_run")
    in_run = True
    at = factory.SelfAttribute("match.opened_at")
    state = factory.SelfAttribute("match.state")
    admitted = factory.LazyAttribute(
        lambda step: step.match.state == models.Match.State.QUEUED and step.match.admitted_run_id is not None
    )
    held_by = factory.SelfAttribute("match.held_by")
    held_until = factory.SelfAttribute("match.held_until")
    held_reason = factory.SelfAttribute("match.held_reason")
    ceiling = factory.SelfAttribute("match.ceiling")


class PlayFactory(factory.django.DjangoModelFactory):
    """A play that a customer success manager owns and holds, in the interval that says so; without clocks."""

    class Meta:
        model = models.Play
        skip_postgeneration_save = True

    class Params:
        unowned = factory.Trait(stage=models.Stage.ROUTED, owner=None)

    account = factory.SubFactory(AccountFactory)
    recipe = factory.SubFactory(PlaybookVersionFactory)
    playbook = factory.SelfAttribute("recipe.playbook")
    motion = factory.SelfAttribute("playbook.motion")
    route = models.Route.CSM
    stage = models.Stage.OWNED
    owner = factory.SubFactory(TeamMemberFactory)
    holder = factory.SelfAttribute("owner")
    opened_at = START
    updated_at = factory.SelfAttribute("opened_at")
    interval = factory.RelatedFactory(
        "csplaybooks.playbooks.factories.IntervalFactory",
        factory_related_name="play",
    )


class IntervalFactory(factory.django.DjangoModelFactory):
    """The first stretch of a play, still open, as the play itself tells it."""

    class Meta:
        model = models.Interval

    play = factory.SubFactory(PlayFactory, interval=None)
    seq = 0
    owner = factory.SelfAttribute("play.owner")
    holder = factory.SelfAttribute("play.holder")
    held_by = factory.LazyAttribute(
        lambda interval: models.Interval.HeldBy.TRAY if interval.holder is None else models.Interval.HeldBy.MEMBER
    )
    stage = factory.SelfAttribute("play.stage")
    state = factory.SelfAttribute("play.state")
    valid_from = factory.SelfAttribute("play.opened_at")


class HandoffFactory(factory.django.DjangoModelFactory):
    """An offer of a play's owner to an account executive, who has not answered yet; without a clock."""

    class Meta:
        model = models.Handoff

    play = factory.SubFactory(
        PlayFactory, state=models.State.OFFERED, holder=factory.SubFactory(TeamMemberFactory, ae=True)
    )
    offered_by = factory.SelfAttribute("play.owner")
    offered_to = factory.SelfAttribute("play.holder")
    offered_at = factory.SelfAttribute("play.opened_at")


class ClockFactory(factory.django.DjangoModelFactory):
    """The promise of a first touch within eight working hours; it began when its play opened."""

    class Meta:
        model = models.Clock

    play = factory.SubFactory(PlayFactory)
    target = models.Clock.Target.FIRST_TOUCH
    promised_seconds = 8 * 3600
    hours = models.Clock.Hours.WORKING
    calendar = factory.SubFactory(CalendarFactory)
    started_at = factory.SelfAttribute("play.opened_at")
    warn_percents = factory.LazyFunction(lambda: [50, 80])
    escalation_waits = factory.LazyFunction(lambda: [0, 8 * 3600])
    is_stale = True


class TouchFactory(factory.django.DjangoModelFactory):
    """An e-mail to the customer, by the owner of a play."""

    class Meta:
        model = models.Touch

    play = factory.SubFactory(PlayFactory)
    account = factory.SelfAttribute("play.account")
    channel = models.Touch.Channel.EMAIL
    by_member = factory.SelfAttribute("play.owner")
    at = factory.SelfAttribute("play.opened_at")


class CalendarUseFactory(factory.django.DjangoModelFactory):
    """A member who works in the hours of a calendar."""

    class Meta:
        model = models.CalendarUse

    calendar = factory.SubFactory(CalendarFactory)
    member = factory.SubFactory(TeamMemberFactory)
    updated_at = START


class HolidayImportFactory(factory.django.DjangoModelFactory):
    """The holidays of Germany in 2026, without their days."""

    class Meta:
        model = models.HolidayImport

    calendar = factory.SubFactory(CalendarFactory)
    country = "DE"
    year = factory.Sequence(lambda number: 2026 + number % 200)
    source = "holidays"
    source_version = "0.1"
    imported_at = START


class DeliveryFactory(factory.django.DjangoModelFactory):
    """A notice that waits to be sent to a member."""

    class Meta:
        model = models.Delivery

    key = factory.Sequence(lambda number: f"delivery-{number}")
    kind = models.Delivery.Kind.NOTICE
    member = factory.SubFactory(TeamMemberFactory)
    to_address = "somebody@example.com"
    subject = "A play is yours"
    body = "Have a look at it."
    message_id = factory.LazyAttribute(lambda delivery: f"<{delivery.key}@example.com>")
    queued_at = START


class PlayStepFactory(factory.django.DjangoModelFactory):
    """What is to be done on a play: a mail, as nothing else is said."""

    class Meta:
        model = models.PlayStep

    play = factory.SubFactory(PlayFactory)
    number = 1
    kind = models.PlayStep.Kind.MAIL
    text = "Write to them."
    state = models.PlayStep.State.CURRENT
    began_at = factory.SelfAttribute("play.opened_at")


class MailDraftFactory(factory.django.DjangoModelFactory):
    """A draft to a customer that nobody has sent yet, of the step that is to be done."""

    class Meta:
        model = models.MailDraft

    play = factory.SubFactory(PlayFactory)
    step = factory.SubFactory(PlayStepFactory, play=factory.SelfAttribute("..play"))
    to_address = "customer@example.com"
    subject = "More seats for you"
    body = "Shall we talk?"
    written_at = START
    updated_at = START


class SuppressionFactory(factory.django.DjangoModelFactory):
    """An address that is never written to."""

    class Meta:
        model = models.Suppression

    address = factory.Sequence(lambda number: f"no-mail-{number}@example.com")
    added_at = START
    updated_at = START


class NoticeFactory(factory.django.DjangoModelFactory):
    """The owner of a play is told that it is theirs."""

    class Meta:
        model = models.Notice

    key = factory.Sequence(lambda number: f"notice-{number}")
    play = factory.SubFactory(PlayFactory)
    member = factory.SelfAttribute("play.owner")
    kind = models.Notice.Kind.ASSIGNED
    text = "A play is yours."
    at = START
    way = models.Notice.Way.OFF


class NoticeSettingsFactory(factory.django.DjangoModelFactory):
    """A member who takes what is told as it comes."""

    class Meta:
        model = models.NoticeSettings

    member = factory.SubFactory(TeamMemberFactory)
    updated_at = START
