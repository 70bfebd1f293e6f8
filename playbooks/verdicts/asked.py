"""What is asked about: a moment, what was known, and the run, if it is one's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from csplaybooks.playbooks.evaluator import TriggerVersion, running_versions
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import PlaybookVersion, Run, Trigger

#: Nothing is asked about before: a window that ends there would leave the calendar.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """A moment, what was known of it, and what may be seen of what became of the matches. Make one with a constructor.

    `run` is the run asked about, if it is one; `past` says that the moment is not the present; `newest` is the id of
    the last run there was (None: none yet): what it let through has fired, what earlier ones did is still matching.
    `versions` are those that ran in the past: playbook version ids by trigger id, as a run keeps them.
    """

    moment: datetime
    known: Known
    run: Run | None = None
    past: bool = False
    newest: int | None = None
    versions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def now(cls, now: datetime) -> Asked:
        """The present: all that was told until now, also what no run has taken note of yet. Six queries."""
        newest = Run.objects.newest()
        return cls(now, Known.now(), newest=newest.pk if newest else None)

    @classmethod
    def at(cls, moment: datetime) -> Asked:
        """A past moment with what is known of it today, late news and corrections included. Six queries.

        What became of the matches is seen as it was then, and asked are the versions that the last run until then
        evaluated.
        """
        newest = Run.objects.filter(moment__lte=moment, finished_at__isnull=False).newest()
        if newest is None:
            return cls(moment, Known.now(), past=True)
        return cls(moment, Known.now(), past=True, newest=newest.pk, versions=newest.versions)

    @classmethod
    def of_run(cls, run: Run) -> Asked:
        """The moment of a past run with what it had been told, and the matches as it left them. One query."""
        known = Known.from_json(run.pk, run.inputs)
        return cls(run.moment, known, run=run, past=True, newest=run.pk, versions=run.versions)

    def triggers(self, trigger_ids: Collection[int] | None = None) -> list[TriggerVersion]:
        """The triggers to ask, by playbook: of the past those that the run asked about evaluated, or the last one until
        then, in its versions; of the present those that run now. Two queries. `trigger_ids` are those wanted (None:
        all); one that is not there is left out.
        """
        if self.past:
            found = self._that_ran()
        else:
            found = [trigger for _, triggers in running_versions() for trigger in triggers]
        return [trigger for trigger in found if trigger_ids is None or trigger.trigger_id in trigger_ids]

    def _that_ran(self) -> list[TriggerVersion]:
        keys: dict[int, dict[str, int]] = {}
        for pk, key in Trigger.objects.filter(pk__in=self.versions).order_by("pk").values_list("pk", "key"):
            keys.setdefault(self.versions[str(pk)], {})[key] = pk
        versions = PlaybookVersion.objects.filter(pk__in=keys).order_by("playbook_id", "pk")
        return [trigger for version in versions for trigger in TriggerVersion.of_some(version, keys[version.pk])]
