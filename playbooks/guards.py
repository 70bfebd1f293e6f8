"""Guards: rules that hold a match back, or cap its route.

Asked in one fixed order; each answers pass, hold (with a reason, and until when if that is known) or ceiling (the
highest route allowed). The first hold wins; of ceilings the lowest. All facts that the guards of a playbook need
for all matches in question are fetched in one query; the judging itself asks the database nothing.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from django.db.models import Count, Exists, F, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from csplaybooks.accounts.models import AccountFacts, Finding, FindingState, Lifecycle, Motion
from csplaybooks.conf import csplaybooks_settings
from csplaybooks.playbooks.measures.base import Known, Moment
from csplaybooks.playbooks.measures.readings import latest_reading
from csplaybooks.playbooks.models import Match, Outcome, Play, Route, Stage, Touch
from csplaybooks.signals.models import Signal

#: The meter that tells how well an account is, from 0 to 100.
HEALTH_METER = "health"
#: What the product sends when somebody waves a prompt away.
DISMISSED_TYPE = "prompt_dismissed"

ACCOUNT = OuterRef("account")


@dataclass(frozen=True)
class Hold:
    """A guard's "not now"."""

    guard: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Ceiling:
    """A guard's "yes, but no heavier than this"."""

    guard: str
    route: Route
    reason: str


@dataclass(frozen=True)
class Question:
    """What the guards of one playbook are asked about: when, knowing what, for which motion."""

    at: datetime
    known: Known
    motion: str

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The company time zone, in which dates are counted."""
        return zoneinfo.ZoneInfo(csplaybooks_settings.TIME_ZONE)

    @property
    def today(self) -> date:
        """The calendar day of the moment, in the company time zone."""
        return self.at.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """The first instant of a day in the company time zone."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone)

    def facts(self, name: str) -> Subquery:
        """One fact of the match's account at the moment, as was known."""
        return Subquery(
            AccountFacts.objects.holding_at(self.at, self.known.mark).filter(account=ACCOUNT).values(name)[:1]
        )


class Guard:
    """One guard. `defaults` are its settings when a playbook says nothing; `schema` checks those it gives."""

    key: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    settings_schema: ClassVar[dict[str, Any]] = {}
    can_be_off: ClassVar[bool] = True

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON schema of the guard's settings in a document."""
        return {"type": "object", "properties": cls.settings_schema, "additionalProperties": False}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The expressions over `Match` rows that the judging needs; names are shared by all guards."""
        return {}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | Ceiling | None:
        """The guard's answer for one match; None is pass."""
        raise NotImplementedError  # pragma: no cover - every guard has its own


class Gone(Guard):
    """The account has churned, was deleted or merged away. Cannot be turned off."""

    key = "gone"
    can_be_off = False

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {
            "lifecycle": question.facts("lifecycle"),
            "deleted_at": F("account__deleted_at"),
            "merged_into": F("account__merged_into"),
        }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        if row["deleted_at"]:
            return Hold(self.key, "the account was deleted")
        if row["merged_into"]:
            return Hold(self.key, "the account was merged into another")
        if row["lifecycle"] == Lifecycle.CHURNED:
            return Hold(self.key, "the account has churned")
        return None


class NotPaying(Guard):
    """The account does not pay; a playbook may allow free plans and trials."""

    key = "not_paying"
    defaults = {"allow": []}
    settings_schema = {"allow": {"type": "array", "items": {"enum": [Lifecycle.FREE.value, Lifecycle.TRIAL.value]}}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"lifecycle": question.facts("lifecycle")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        if row["lifecycle"] is None:
            return Hold(self.key, "nothing is known of this account yet: not its lifecycle, nor its dates")
        if row["lifecycle"] == Lifecycle.PAYING or row["lifecycle"] in settings["allow"]:
            return None
        return Hold(self.key, f"the account is on {Lifecycle(row['lifecycle']).label.lower()}")


class Onboarding(Guard):
    """The account is not activated, or was so less than `days` calendar days ago."""

    key = "onboarding"
    defaults = {"days": 30}
    settings_schema = {"days": {"type": "integer", "minimum": 0, "maximum": 730}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"activated_on": question.facts("activated_on")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        activated = row["activated_on"]
        if activated is None or activated > question.today:
            return Hold(self.key, "the account is not activated yet")
        ends = activated + timedelta(days=settings["days"])
        if question.today < ends:
            return Hold(
                self.key,
                f"activated on {activated}, less than {settings['days']} days ago",
                question.midnight(ends),
            )
        return None


class Unhealthy(Guard):
    """The account's health is below `below`, or unknown, or a review left an open risk."""

    key = "unhealthy"
    defaults = {"below": 60}
    settings_schema = {"below": {"type": "integer", "minimum": 0, "maximum": 100}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        moment = Moment(question.at, question.known)
        open_risk = Finding.objects.filter(
            Exists(
                FindingState.objects.holding_at(question.at, question.known.mark).filter(
                    finding=OuterRef("pk"), status=FindingState.Status.OPEN
                )
            ),
            account=ACCOUNT,
            kind=Finding.Kind.RISK,
        )
        return {
            "health": Subquery(latest_reading(HEALTH_METER, moment, ACCOUNT).values("used_milli")[:1]),
            "open_risk": Exists(open_risk),
        }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        if row["health"] is None:
            return Hold(self.key, "the account's health is unknown")
        if row["health"] < settings["below"] * 1000:
            return Hold(self.key, f"health is {row['health'] / 1000:g}, needed at least {settings['below']}")
        if row["open_risk"]:
            return Hold(self.key, "a review left an open risk")
        return None


class Tenure(Guard):
    """How far a cross-sell may go by how long the account has been a customer, in calendar days.

    Below `light_from` nothing; then a light touch, from `proactive_from` a conversation, from `strategic_from` all.
    """

    key = "tenure"
    defaults = {"light_from": 30, "proactive_from": 90, "strategic_from": 180}
    settings_schema = {
        name: {"type": "integer", "minimum": 0, "maximum": 3650}
        for name in ("light_from", "proactive_from", "strategic_from")
    }

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"customer_since": question.facts("customer_since")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | Ceiling | None:
        """See `Guard.judge`."""
        if question.motion != Motion.CROSS_SELL:
            return None
        since = row["customer_since"]
        if since is None:
            return Hold(self.key, "it is unknown since when the account is a customer")
        tenure = (question.today - since).days
        if tenure < settings["light_from"]:
            begins = since + timedelta(days=settings["light_from"])
            return Hold(self.key, f"a customer for {tenure} days", question.midnight(begins))
        if tenure < settings["proactive_from"]:
            return Ceiling(self.key, Route.EMAIL, f"a customer for {tenure} days: a light touch only")
        if tenure < settings["strategic_from"]:
            return Ceiling(self.key, Route.CSM, f"a customer for {tenure} days: no sales outreach yet")
        return None


class Dismissed(Guard):
    """Somebody at the account waved a prompt away in the last `days` days."""

    key = "dismissed"
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

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        if row["dismissed_at"] is None:
            return None
        return Hold(
            self.key,
            f"a prompt was dismissed on {row['dismissed_at']:%Y-%m-%d}",
            row["dismissed_at"] + timedelta(days=settings["days"]),
        )


class Cooling(Guard):
    """The account declined or lost a play of this motion in the last `days` days, or the trigger fired in an earlier
    episode inside its own cooldown.
    """

    key = "cooling"
    defaults = {"days": 60}
    settings_schema = {"days": {"type": "integer", "minimum": 0, "maximum": 3650}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        declined = (
            Play.objects.filter(account=ACCOUNT, motion=question.motion, outcome__in=[Outcome.DECLINED, Outcome.LOST])
            .order_by()
            .values("account")
        )
        fired = (
            Match.objects.filter(account=ACCOUNT, trigger=OuterRef("trigger"), fired_at__isnull=False)
            .order_by()
            .values("trigger")
        )
        return {
            "declined_at": Subquery(declined.annotate(at=Max("closed_at")).values("at")),
            "last_fired_at": Subquery(fired.annotate(at=Max("fired_at")).values("at")),
        }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        if row["declined_at"] is not None:
            ends = row["declined_at"] + timedelta(days=settings["days"])
            if question.at < ends:
                return Hold(self.key, f"declined or lost on {row['declined_at']:%Y-%m-%d}", ends)
        if row["last_fired_at"] is not None:
            ends = row["last_fired_at"] + timedelta(days=row["cooldown_days"])
            if question.at < ends:
                return Hold(self.key, f"fired before, on {row['last_fired_at']:%Y-%m-%d}", ends)
        return None


class Crowded(Guard):
    """The account has as many open plays, or outgoing contacts inside a window, as it may have.

    Matches that were let through and are not plays yet take room like plays.
    """

    key = "crowded"
    defaults = {"open_plays": 3, "contacts": 3, "window_days": 7}
    settings_schema = {
        "open_plays": {"type": "integer", "minimum": 1, "maximum": 100},
        "contacts": {"type": "integer", "minimum": 1, "maximum": 1000},
        "window_days": {"type": "integer", "minimum": 1, "maximum": 365},
    }

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        plays = Play.objects.filter(account=ACCOUNT).exclude(stage=Stage.CLOSED).order_by().values("account")
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

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        admitted = row["admitted"]
        if row["same_motion"] or question.motion in admitted:
            # It will fold into the open play of its motion: that is one play and one contact more for nobody.
            return None
        plays = row["open_plays"] + len(admitted)
        if plays >= settings["open_plays"]:
            return Hold(self.key, f"plays open or about to open at this account: {plays}")
        if row["contacts"] >= settings["contacts"]:
            return Hold(self.key, f"contacted {row['contacts']} times in {settings['window_days']} days")
        return None


class BlackOut(Guard):
    """Days on which nothing is opened, both ends included, in the company time zone."""

    key = "black_out"
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

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Hold | None:
        """See `Guard.judge`."""
        today = question.today.isoformat()
        for span in settings["days"]:
            if span["from"] <= today <= span["to"]:
                ends = question.midnight(date.fromisoformat(span["to"]) + timedelta(days=1))
                return Hold(self.key, f"nothing is opened from {span['from']} to {span['to']}", ends)
        return None


#: The one order in which guards are asked.
_GUARDS: tuple[Guard, ...] = (
    Gone(),
    NotPaying(),
    Onboarding(),
    Unhealthy(),
    Tenure(),
    Dismissed(),
    Cooling(),
    Crowded(),
    BlackOut(),
)


def guards() -> tuple[Guard, ...]:
    """All guards, in the order they are asked."""
    return _GUARDS


@dataclass(frozen=True)
class Judgement:
    """The guards' common answer for one match: what holds it (None: nothing), and the lowest ceiling."""

    hold: Hold | None
    ceiling: Ceiling | None


#: The motions let through at each account in one run, beside those of its open plays.
Admitted = dict[int, set[str]]


def judge_matches(
    matches: QuerySet[Any],
    question: Question,
    settings: Mapping[str, Any],
    cooldown_days: Mapping[int, int],
    admitted: Admitted,
) -> Iterable[tuple[Any, Judgement]]:
    """Judge matches of one playbook version, in one query: (match, judgement) pairs, oldest first.

    `settings` is the document's `guards`, `cooldown_days` the cooldown by trigger id. What is let through is added to
    `admitted`.
    """
    active = [guard for guard in _GUARDS if settings[guard.key] != "off"]
    facts: dict[str, Any] = {}
    for guard in active:
        facts.update(guard.facts(question, settings[guard.key]))
    # Alias-prefixed, because a fact may carry the name of a column.
    annotated = matches.annotate(**{f"guard_{name}": expression for name, expression in facts.items()})
    for match in annotated.order_by("pk"):
        row: dict[str, Any] = {name: getattr(match, f"guard_{name}") for name in facts}
        row["cooldown_days"] = cooldown_days.get(match.trigger_id, 0)
        row["admitted"] = admitted.get(match.account_id, set())
        hold: Hold | None = None
        ceiling: Ceiling | None = None
        for guard in active:
            answer = guard.judge(question, settings[guard.key], row)
            if isinstance(answer, Hold):
                hold = answer
                break
            if answer is not None and (ceiling is None or answer.route.weight < ceiling.route.weight):
                ceiling = answer
        if hold is None and not row.get("same_motion"):
            admitted.setdefault(match.account_id, set()).add(question.motion)
        yield match, Judgement(hold, ceiling)
