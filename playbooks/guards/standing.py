"""Guards on how the account stands with us: whether it is a customer, since when, and how well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Subquery

from csplaybooks.accounts.models import Finding, FindingState, Lifecycle, Motion
from csplaybooks.playbooks.guards.base import ACCOUNT, Answer, Ceiling, Guard, Hold, Pass, Question
from csplaybooks.playbooks.measures.base import Moment
from csplaybooks.playbooks.measures.readings import latest_reading
from csplaybooks.playbooks.models import Route

#: The meter that tells how well an account is, from 0 to 100.
HEALTH_METER = "health"


class Gone(Guard):
    """The account has churned, was deleted or merged away. Cannot be turned off."""

    key = "gone"
    moment_is_a_parameter = True
    can_be_off = False

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {
            "lifecycle": question.facts("lifecycle"),
            "deleted_at": F("deleted_at"),
            "merged_into": F("merged_into"),
        }

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if row["deleted_at"] and not (question.past and row["deleted_at"] > question.at):
            return Hold(self.key, "the account was deleted")
        if row["merged_into"]:
            return Hold(self.key, "the account was merged into another")
        if row["lifecycle"] == Lifecycle.CHURNED:
            return Hold(self.key, "the account has churned")
        return Pass(self.key, "the account is there")


class NotPaying(Guard):
    """The account does not pay; a playbook may allow free plans and trials."""

    key = "not_paying"
    moment_is_a_parameter = True
    defaults = {"allow": []}
    settings_schema = {"allow": {"type": "array", "items": {"enum": [Lifecycle.FREE.value, Lifecycle.TRIAL.value]}}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"lifecycle": question.facts("lifecycle")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if row["lifecycle"] is None:
            return Hold(self.key, "nothing is known of this account yet: not its lifecycle, nor its dates")
        label = Lifecycle(row["lifecycle"]).label.lower()
        if row["lifecycle"] == Lifecycle.PAYING:
            return Pass(self.key, "the account pays")
        if row["lifecycle"] in settings["allow"]:
            return Pass(self.key, f"the account is on {label}, which this playbook allows")
        return Hold(self.key, f"the account is on {label}")


class Onboarding(Guard):
    """The account is not activated, or was so less than `days` calendar days ago."""

    key = "onboarding"
    moment_is_a_parameter = True
    defaults = {"days": 30}
    settings_schema = {"days": {"type": "integer", "minimum": 0, "maximum": 730}}

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"activated_on": question.facts("activated_on")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        activated = row["activated_on"]
        if activated is None or activated > question.today:
            return Hold(self.key, "the account is not activated yet")
        if (question.today - activated).days < settings["days"]:
            return Hold(
                self.key,
                f"activated on {activated}, less than {settings['days']} days ago",
                question.days_after(activated, settings["days"]),
            )
        return Pass(self.key, f"activated on {activated}, at least {settings['days']} days ago")


class Unhealthy(Guard):
    """The account's health is below `below`, or unknown, or a review left an open risk."""

    key = "unhealthy"
    moment_is_a_parameter = True
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

    def reach(self, settings: Mapping[str, Any], max_age_days: Mapping[str, int]) -> dict[str, timedelta]:
        """See `Guard.reach`."""
        return {"": timedelta(days=max_age_days.get(HEALTH_METER, 0))}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if row["health"] is None:
            return Hold(self.key, "the account's health is unknown")
        if row["health"] < settings["below"] * 1000:
            return Hold(self.key, f"health is {row['health'] / 1000:g}, needed at least {settings['below']}")
        if row["open_risk"]:
            return Hold(self.key, "a review left an open risk")
        return Pass(self.key, f"health is {row['health'] / 1000:g}, needed at least {settings['below']}; no open risk")


class Tenure(Guard):
    """How far a cross-sell may go by how long the account has been a customer, in calendar days.

    Below `light_from` nothing; then a light touch, from `proactive_from` a conversation, from `strategic_from` all.
    """

    key = "tenure"
    moment_is_a_parameter = True
    defaults = {"light_from": 30, "proactive_from": 90, "strategic_from": 180}
    settings_schema = {
        name: {"type": "integer", "minimum": 0, "maximum": 3650}
        for name in ("light_from", "proactive_from", "strategic_from")
    }

    def facts(self, question: Question, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `Guard.facts`."""
        return {"customer_since": question.facts("customer_since")}

    def judge(self, question: Question, settings: Mapping[str, Any], row: Mapping[str, Any]) -> Answer:
        """See `Guard.judge`."""
        if question.motion != Motion.CROSS_SELL:
            return Pass(self.key, "it is asked of cross-sells only")
        since = row["customer_since"]
        if since is None:
            return Hold(self.key, "it is unknown since when the account is a customer")
        tenure = (question.today - since).days
        if tenure < settings["light_from"]:
            begins = question.days_after(since, settings["light_from"])
            if tenure < 0:
                return Hold(self.key, f"a customer only from {since} on", begins)
            return Hold(self.key, f"a customer for {tenure} days", begins)
        if tenure < settings["proactive_from"]:
            return Ceiling(self.key, Route.EMAIL, f"a customer for {tenure} days: a light touch only")
        if tenure < settings["strategic_from"]:
            return Ceiling(self.key, Route.CSM, f"a customer for {tenure} days: no sales outreach yet")
        return Pass(self.key, f"a customer for {tenure} days, needed {settings['strategic_from']}")
