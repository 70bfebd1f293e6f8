"""Guards on what has passed between the account and us: refusals, plays, contacts, and days without any."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, ClassVar

from django.db.models import Count, Exists, Max, Subquery
from django.db.models.functions import Coalesce

from csplaybooks.playbooks.guards.base import ACCOUNT, Answer, Guard, Hold, Pass, Question
from csplaybooks.playbooks.measures.base import day_of
from csplaybooks.playbooks.models import Match, Outcome, Play, Stage, Touch
from csplaybooks.signals.models import Signal

#: What the product sends when somebody waves a prompt away.
DISMISSED_TYPE = "prompt_dismissed"


class Dismissed(Guard):
    """Somebody at the account waved a prompt away in the last `days` days."""

    key = "dismissed"
    moment_is_a_parameter = True
    defaults = {"days": 7}
    settings_schema = {"days": {"type": "integer", "minimum": 1, "maximum": 365}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        dismissals = (
            Signal.objects.effective_at(question.known.mark)
            .filter(account=ACCOUNT, type_id=question.known.signal_types.get(DISMISSED_TYPE, -1))
            .in_window(question.at - timedelta(days=settings["days"]), question.at)
            .order_by()
            .values("account")
        )
        return {"dismissed_at": Subquery(dismissals.annotate(at=Max("occurred_at")).values("at"))}

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Guard.reach`."""
        return {"days": timedelta(days=settings["days"])}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if row["dismissed_at"] is None:
            return Pass(self.key, f"no prompt was dismissed in {settings['days']} days")
        return Hold(
            self.key,
            f"a prompt was dismissed on {day_of(row['dismissed_at'])}",
            row["dismissed_at"] + timedelta(days=settings["days"]),
        )


class Cooling(Guard):
    """The account declined or lost a play of this motion in the last `days` days, or the trigger fired in an earlier
    episode inside its own cooldown.
    """

    key = "cooling"
    moment_is_a_parameter = True
    defaults = {"days": 60}
    settings_schema = {"days": {"type": "integer", "minimum": 0, "maximum": 3650}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        declined = (
            Play.objects.filter(account=ACCOUNT, motion=question.motion, outcome__in=[Outcome.DECLINED, Outcome.LOST])
            .filter(question.done_by_then("closed_at"))
            .order_by()
            .values("account")
        )
        facts: dict[str, Any] = {"declined_at": Subquery(declined.annotate(at=Max("closed_at")).values("at"))}
        for trigger_id in question.cooldown_days:
            fired = (
                Match.objects.filter(account=ACCOUNT, trigger=trigger_id)
                .filter(question.done_by_then("fired_at"))
                .order_by()
                .values("account")
            )
            facts[_last_fired(trigger_id)] = Subquery(fired.annotate(at=Max("fired_at")).values("at"))
        return facts

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if row["declined_at"] is not None:
            ends = row["declined_at"] + timedelta(days=settings["days"])
            if question.at < ends:
                return Hold(self.key, f"declined or lost on {day_of(row['declined_at'])}", ends)
        last_fired = None if row["trigger"] is None else row.get(_last_fired(row["trigger"]))
        if last_fired is not None:
            ends = last_fired + timedelta(days=row["cooldown_days"])
            if question.at < ends:
                return Hold(self.key, f"fired before, on {day_of(last_fired)}", ends)
        return Pass(
            self.key,
            f"not declined or lost in {settings['days']} days, nor fired in the {row['cooldown_days']} days of its "
            "cooldown",
        )


def _last_fired(trigger_id: int) -> str:
    """What the fact is called that says when a trigger last fired at an account."""
    return f"last_fired_{trigger_id}"


class Crowded(Guard):
    """The account has as many open plays, or outgoing contacts inside a window, as it may have.

    Matches that stand in the queue take room like plays, and keep it against those that come later.
    """

    key = "crowded"
    moment_is_a_parameter = True
    defaults = {"open_plays": 3, "contacts": 3, "window_days": 7}
    settings_schema = {
        "open_plays": {"type": "integer", "minimum": 1, "maximum": 100},
        "contacts": {"type": "integer", "minimum": 1, "maximum": 1000},
        "window_days": {"type": "integer", "minimum": 1, "maximum": 365},
    }

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        plays = Play.objects.filter(account=ACCOUNT).order_by().values("account")
        if question.past:
            # A play has no other dates: whether it was open then is told by these.
            plays = plays.filter(opened_at__lte=question.at).exclude(closed_at__lte=question.at)
        else:
            plays = plays.exclude(stage=Stage.CLOSED)
        same = plays.filter(motion=question.motion)
        touches = (
            Touch.objects.filter(
                account=ACCOUNT,
                direction=Touch.Direction.OUT,
                at__gt=question.at - timedelta(days=settings["window_days"]),
                at__lte=question.at,
            )
            .order_by()
            .values("account")
        )
        return {
            "open_plays": Coalesce(Subquery(plays.annotate(n=Count("pk")).values("n")), 0),
            "same_motion": Exists(same),
            "contacts": Coalesce(Subquery(touches.annotate(n=Count("pk")).values("n")), 0),
        }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        admitted = row["admitted"]
        if row["same_motion"] or question.motion in admitted:
            # That is one play and one contact more for nobody.
            return Pass(self.key, "it folds into the open play of its motion")
        plays = row["open_plays"] + len(admitted)
        if plays >= settings["open_plays"]:
            return Hold(self.key, f"plays open or about to open at this account: {plays}")
        if row["contacts"] >= settings["contacts"]:
            return Hold(self.key, f"contacted {row['contacts']} times in {settings['window_days']} days")
        return Pass(
            self.key,
            f"plays open or about to open: {plays} of {settings['open_plays']}; contacts in {settings['window_days']} "
            f"days: {row['contacts']} of {settings['contacts']}",
        )


class BlackOut(Guard):
    """Days on which nothing is opened, both ends included, in the company time zone."""

    key = "black_out"
    moment_is_a_parameter = True
    defaults: ClassVar[dict[str, Any]] = {"days": []}
    settings_schema = {
        "days": {
            "type": "array",
            "maxItems": 50,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["from", "to"],
                "properties": {
                    name: {"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}
                    for name in ("from", "to")
                },
            },
        }
    }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        today = question.today.isoformat()
        for span in settings["days"]:
            if span["from"] <= today <= span["to"]:
                ends = question.days_after(date.fromisoformat(span["to"]), 1)
                return Hold(self.key, f"nothing is opened from {span['from']} to {span['to']}", ends)
        return Pass(self.key, "no black-out on this day")
