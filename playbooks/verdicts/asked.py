"""What is asked about: a moment, what was known, and the run, if it is one's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from csplaybooks.playbooks.evaluator import TriggerVersion, running_versions
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import PlaybookVersion, Run, Trigger


@dataclass(frozen=True)
class Asked:
    """A moment, what was known of it, and what may be seen of what became of the matches. Make one with a constructor.

    `run` is the run asked about, if it is one; `past` says that the moment is not the present; `newest` is the id of
    the last run there was (None: none yet): what it let through has fired, what earlier ones did is still matching.
    """

    moment: datetime
    known: Known
    run: Run | None = None
    past: bool = False
    newest: int | None = None

    @classmethod
    def now(cls, now: datetime) -> Asked:
        """The present: all that was told until now, also what no run has taken note of yet. Six queries."""
        newest = Run.objects.newest()
        return cls(now, Known.now(), newest=newest.pk if newest else None)

    @classmethod
    def at(cls, moment: datetime) -> Asked:
        """A past moment with what is known of it today, late news and corrections included. Six queries.

        What became of the matches is seen as it was then.
        """
        newest = Run.objects.filter(moment__lte=moment).newest()
        return cls(moment, Known.now(), past=True, newest=newest.pk if newest else None)

    @classmethod
    def of_run(cls, run: Run) -> Asked:
        """The moment of a past run with what it had been told, and the matches as it left them. One query."""
        return cls(run.moment, Known.from_json(run.pk, run.inputs), run=run, past=True, newest=run.pk)

    def triggers(self, trigger_ids: Collection[int] | None = None) -> list[TriggerVersion]:
        """The triggers to ask, by playbook: of a run those it evaluated, in the versions it evaluated; else those that
        run now. Two queries. `trigger_ids` are those wanted (None: all); one that is not there is left out.
        """
        if self.run is None:
            found = [trigger for _, triggers in running_versions() for trigger in triggers]
        else:
            found = self._that_ran(self.run)
        return [trigger for trigger in found if trigger_ids is None or trigger.trigger_id in trigger_ids]

    @staticmethod
    def _that_ran(run: Run) -> list[TriggerVersion]:
        keys: dict[int, dict[str, int]] = {}
        for pk, key in Trigger.objects.filter(pk__in=run.versions).order_by("pk").values_list("pk", "key"):
            keys.setdefault(run.versions[str(pk)], {})[key] = pk
        versions = PlaybookVersion.objects.filter(pk__in=keys).order_by("playbook_id", "pk")
        return [trigger for version in versions for trigger in TriggerVersion.of_some(version, keys[version.pk])]
