"""A recorded month at a small company: what it is told, when, and the runs that look at it; the same at every call.

Everything comes in by the functions that senders, people and the worker call. What happens is drawn by a seeded lot,
so that a month is long, mixed and never the one somebody would think of, and yet the same each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import yaml
from django.test import override_settings

from csplaybooks.accounts.acts import change_row, make_row
from csplaybooks.accounts.acts.catalogue import FEATURES, PLANS, PRODUCTS
from csplaybooks.accounts.acts.champions import add_champion, change_champion
from csplaybooks.accounts.acts.companies import NewAccount, create_accounts, set_facts
from csplaybooks.accounts.acts.holdings import NewEntitlement, end_entitlements, set_entitlements
from csplaybooks.accounts.acts.record import record_changes
from csplaybooks.accounts.acts.reviews import NewFinding, log_qbr, set_finding_status
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account, Champion, Feature, Finding, Plan, Product
from csplaybooks.playbooks.acts.plays import close_plays
from csplaybooks.playbooks.acts.recipes import LIBRARY, publish_playbook, save_draft
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.factories import CalendarFactory
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.models import Play
from csplaybooks.playbooks.pipeline.sweep import work
from csplaybooks.playbooks.rounds import run_next_part
from csplaybooks.playbooks.runs import judge_held, run_triggers
from csplaybooks.signals.acts.catalogue import change_meter, load_starter_catalogue
from csplaybooks.signals.intake import take_in_readings, take_in_signals
from csplaybooks.signals.models import Meter

BEGINS = datetime(2026, 10, 15, 6, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
COMPANIES = 24

#: Triggers over what the starter library may not ask: each measure that looks at dated truth, from both sides.
OWN = """\
key: month
name: What the month is watched by
motion: add_on
audience: {{lifecycles: [paying, trial, churned]}}
triggers:
  - key: busy
    cooldown_days: 2
    any:
      - all:
          - {{measure: signal_count, signal_type: feature_gate_hit, window_days: 4, at_least: {knocks}}}
  - key: many_people
    any:
      - all:
          - {{measure: distinct_count, signal_type: feature_used, window_days: 4, at_least: 3}}
      - all:
          - {{measure: growth, signal_type: feature_used, window_days: 3, above: 100}}
  - key: silent
    any:
      - all:
          - {{measure: days_since, signal_type: login, at_least: 3, never: holds}}
          - {{measure: level, meters: [health], at_least: 50}}
  - key: filling
    any:
      - all:
          - {{measure: share_of_limit, meters: [seats, storage], above: 80, grace_hours: 12}}
      - all:
          - {{measure: level_change, meter: seats, window_days: 5, at_least: 3}}
  - key: next_tier
    any:
      - all:
          - {{measure: next_tier_touched, window_days: 10, at_least: 60}}
  - key: tickets
    any:
      - all:
          - {{measure: unheld_features, signal_type: support_ticket, window_days: 10, at_least: 2}}
  - key: new_area
    any:
      - all:
          - {{measure: new_area, window_days: 2, quiet_days: 10}}
  - key: gap
    any:
      - all:
          - {{measure: open_gap}}
          - {{measure: segment, segments: [small, mid_market]}}
  - key: people
    any:
      - all:
          - {{measure: champion_change, kinds: [promoted, new_executive], window_days: 5}}
  - key: big
    any:
      - all:
          - {{measure: head_count, at_least: 15{knocks}}}
          - {{measure: product_held, products: [analytics], held: false}}
          - {{measure: share_of_limit, meters: [seats], above: 0}}
guards:
  unhealthy: off
  tenure: off
  dismissed: off
  black_out: off
routes:
  - route: csm
expires_days: 10
targets:
  - {{target: first_touch, hours: 8}}
"""
OWN_TRIGGERS = (
    *("busy", "many_people", "silent", "filling", "next_tier"),
    *("tickets", "new_area", "gap", "people", "big"),
)

#: Key, least plan, product, area.
SOLD = (
    ("boards", None, "platform", "work"),
    ("approvals", "team", "platform", "collaboration"),
    ("comments", "team", "platform", "collaboration"),
    ("audit", "business", "platform", "administration"),
    ("sso", "business", "platform", ""),
    ("trends", None, "analytics", "reporting"),
)


def _all_triggers_of_the_library() -> list[str]:
    """Playbooks with the triggers of the starter library, several in each: a month asks them often, and guards little.

    What the guards say is no part of a replay; a few of them are enough to hold some back and let others go.
    """
    triggers = [
        {**trigger, "key": f"{file.stem}_{trigger['key']}"[:80]}
        for file in sorted(LIBRARY.glob("*.yaml"))
        for trigger in read_document(file.read_text(encoding="utf-8"))["triggers"]
    ]
    asked = ("onboarding", "cooling", "crowded")
    return [
        yaml.safe_dump(
            {
                "key": f"library_{motion}",
                "name": f"Library {motion}",
                "motion": motion,
                "triggers": triggers[start::2],
                "guards": {guard.key: "off" for guard in guards() if guard.can_be_off and guard.key not in asked},
                "routes": [{"route": "email"}],
                "targets": [{"target": "first_touch", "hours": 8}],
            }
        )
        for start, motion in enumerate(("tier_upsell", "cross_sell"))
    ]


class Month:
    """The month as it goes on. `told` counts what happened, by name; `lots` is where chance comes from."""

    def __init__(self, seed: int) -> None:
        self.lots = Random(seed)
        self.now = BEGINS
        self.told: Counter[str] = Counter()
        self.knocks = 2
        self._sent: list[tuple[str, dict[str, Any]]] = []
        self._number = 0
        self._found()

    def _found(self) -> None:
        """What there is on the first day: the library, a catalogue, and the companies."""
        now = BEGINS - 60 * DAY
        load_starter_catalogue(now=now)
        CalendarFactory()
        TeamMemberFactory()
        for product in ("platform", "analytics"):
            values = {"key": product, "name": product.capitalize(), "is_base": product == "platform"}
            make_row(table=PRODUCTS, values={**values, "list_price_minor": 50_000}, now=now, actor=None)
        above: Plan | None = None
        for rank, key in ((3, "business"), (2, "team"), (1, "starter")):
            plan = {"product": Product.objects.get(key="platform"), "key": key, "name": key, "rank": rank}
            prices = {"price_minor": rank * 10_000, "seat_price_minor": 1_000, "next_plan": above}
            above = make_row(table=PLANS, values={**plan, **prices}, now=now, actor=None)
        for key, least, product, area in SOLD:
            self._sell(key, least, product, area, now)
        items = [
            NewAccount(
                name=f"company-{number}",
                identities=[("crm", f"company-{number}")],
                facts={
                    "lifecycle": "paying",
                    "segment": ("small", "mid_market", "enterprise")[number % 3],
                    "customer_since": (now - 200 * DAY).date(),
                    "activated_on": (BEGINS - (20 + number) * DAY).date(),
                    "head_count": 140 + number,
                },
            )
            for number in range(COMPANIES)
        ]
        self.ids = {row.name: row.pk for row in create_accounts(items=items, now=now, actor=None)}
        self.names = list(self.ids)
        for number, pk in enumerate(self.ids.values()):
            self._hold(pk, ("starter", "team")[number % 2], now)
        for text in _all_triggers_of_the_library():
            publish_playbook(playbook_id=save_draft(text=text, now=now).pk, now=now)
        self._publish(now)

    def _sell(self, key: str, least: str | None, product: str, area: str, now: datetime) -> None:
        values = {
            "product": Product.objects.get(key=product),
            "key": key,
            "name": key.capitalize(),
            "least_plan": None if least is None else Plan.objects.get(key=least),
            "area": area,
        }
        make_row(table=FEATURES, values=values, now=now, actor=None)

    def _hold(self, account_id: int, plan: str, at: datetime) -> None:
        row = Plan.objects.get(key=plan)
        line = NewEntitlement(
            account_id=account_id, subscription="base", product_id=row.product_id, plan_id=row.pk, mrr_minor=10_000
        )
        set_entitlements(items=[line], now=at, actor=None)

    def _publish(self, now: datetime) -> None:
        playbook = save_draft(text=OWN.format(knocks=self.knocks), now=now)
        publish_playbook(playbook_id=playbook.pk, now=now)

    # What comes in

    def _item(self, name: str, at: datetime, **more: Any) -> dict[str, Any]:
        self._number += 1
        return {
            "source": "product",
            "external_id": f"n{self._number}",
            "account": name,
            "occurred_at": at.isoformat(),
            **more,
        }

    def _signal(self, name: str, at: datetime) -> dict[str, Any]:
        kinds = ["feature_gate_hit", "feature_used"] * 4
        kinds += ["support_ticket", "login", "user_added"] * 2 + ["prompt_dismissed"]
        kind = self.lots.choice(kinds)
        feature = self.lots.choice([key for key, *_ in SOLD] + ["forecast"])
        properties = {"by": "admin"} if kind == "user_added" else {"feature": feature}
        actor = f"user-{self.lots.randrange(4)}"
        return self._item(name, at, type=kind, actor=actor, properties=properties)

    def _reading(self, name: str, at: datetime) -> dict[str, Any]:
        meter = self.lots.choice(["seats", "seats", "seats", "api_calls", "storage", "active_users", "health"])
        used = self.lots.choice([40, 70, 75, 80, 81, 90, 100, 106])
        return self._item(name, at, meter=meter, used=min(used, 100) if meter == "health" else used, limit=100)

    def _send(self, what: str, items: list[dict[str, Any]]) -> None:
        take_in = take_in_signals if what == "signals" else take_in_readings
        answer = take_in(items=items, now=self.now)
        assert not answer.refused + answer.conflict, answer
        self._sent += [(what, item) for item in items]
        self.told[what] += answer.stored

    def _batch(self, what: str, ago: Callable[[], timedelta]) -> None:
        make = self._signal if what == "signals" else self._reading
        # A few companies have much to tell, and the others little.
        names = [self.names[int(self.lots.random() ** 2 * len(self.names))] for _ in range(self.lots.randint(2, 9))]
        self._send(what, [make(name, self.now - ago()) for name in names])

    def activity(self) -> None:
        """Signals and readings of this moment and the hours before it, some of them by a clock that runs ahead."""
        self._batch("signals", lambda: HOUR * self.lots.random() * 6)
        self._batch("readings", lambda: HOUR * self.lots.random())
        if self.lots.random() < 0.2:
            self._batch(self.lots.choice(["signals", "readings"]), lambda: -timedelta(minutes=self.lots.random() * 9))
            self.told["ahead"] += 1

    def late(self) -> None:
        """News of the days before, for which some window is still open and another is not."""
        self._batch(self.lots.choice(["signals", "readings"]), lambda: DAY * self.lots.random() * 9)
        self.told["late"] += 1

    def twice(self) -> None:
        """A sender that was not sure that its last items came through."""
        for what in ("signals", "readings"):
            items = [item for sent, item in self._sent[-20:] if sent == what]
            if items:
                take_in = take_in_signals if what == "signals" else take_in_readings
                answer = take_in(items=items, now=self.now)
                assert answer.duplicate == len(items)
                self.told["duplicates"] += answer.duplicate

    def mend(self) -> None:
        """An item of the last days is corrected, or did not happen."""
        place = self.lots.randrange(max(0, len(self._sent) - 150), len(self._sent))
        what, item = self._sent.pop(place)
        void = self.lots.random() < 0.5
        self._number += 1
        mended = {**item, "external_id": f"n{self._number}", "corrects": item["external_id"], "void": void}
        if not void and what == "signals":
            mended["occurred_at"] = (datetime.fromisoformat(item["occurred_at"]) - 2 * DAY).isoformat()
        elif not void:
            mended["used"] = 200 - item["used"] if item["meter"] != "health" else 10
        take_in = take_in_signals if what == "signals" else take_in_readings
        answer = take_in(items=[mended], now=self.now)
        assert answer.stored == 1, answer.results
        self.told["void" if void else "corrected"] += 1

    # What people do

    def person(self) -> None:
        """Somebody comes to a company, or is promoted there; it is written down a day or two later."""
        pk = self.ids[self.lots.choice(self.names)]
        at = self.now - DAY * self.lots.random() * 2
        person = Champion.objects.filter(account=pk).order_by("pk").first()
        if person is None or self.lots.random() < 0.4:
            role = self.lots.choice(["champion", "economic_buyer"])
            name = f"Person {self._number}"
            add_champion(account_id=pk, name=name, title="Lead", role=role, occurred_at=at, now=self.now, actor=None)
        else:
            title = f"Director {self.told['people']}"
            change_champion(champion_id=person.pk, title=title, occurred_at=at, now=self.now, actor=None)
        self.told["people"] += 1

    def review(self) -> None:
        """A review with one gap or two, or an earlier gap is settled."""
        gap = Finding.objects.filter(kind="gap").order_by("pk").last()
        if gap is not None and self.lots.random() < 0.4:
            set_finding_status(finding_ids=[gap.pk], status="settled", effective_at=self.now, now=self.now, actor=None)
            self.told["settled"] += 1
            return
        products = ["analytics", "platform"][: self.lots.randint(1, 2)]
        log_qbr(
            account_id=self.ids[self.lots.choice(self.names)],
            held_at=self.now - DAY * self.lots.random(),
            findings=[
                NewFinding(kind="gap", text=f"No {key}", product_id=Product.objects.get(key=key).pk) for key in products
            ],
            now=self.now,
            actor=None,
        )
        self.told["reviews"] += 1

    def holding(self) -> None:
        """A company changes its plan, buys a product, or gives it up a few days from now."""
        pk = self.ids[self.lots.choice(self.names)]
        what = self.lots.choice(["plan", "buys", "ends"])
        if what == "plan":
            self._hold(pk, self.lots.choice(["starter", "team", "business"]), self.now)
        elif what == "buys":
            product = Product.objects.get(key="analytics")
            line = NewEntitlement(account_id=pk, subscription="more", product_id=product.pk)
            set_entitlements(items=[line], now=self.now, actor=None)
        else:
            at = self.now + DAY * self.lots.randint(-2, 3)
            end_entitlements(lines=[(pk, "more")], effective_at=at, now=self.now, actor=None)
        self.told["holdings"] += 1

    def fact(self) -> None:
        """What is true of a company: from now on, since some days, or a few days from now."""
        facts: dict[str, Any] = self.lots.choice(
            [
                {"segment": self.lots.choice(["small", "mid_market", "enterprise"])},
                {"head_count": self.lots.randint(100, 200)},
                {"lifecycle": self.lots.choice(["paying", "churned", "free"])},
            ]
        )
        at = self.now + DAY * self.lots.randint(-6, 2)
        pk = self.ids[self.lots.choice(self.names)]
        set_facts(account_ids=[pk], facts=facts, effective_at=at, now=self.now, actor=None)
        self.told["facts"] += 1

    # What changes for all

    def publish(self) -> None:
        """Another version of our playbook, which asks for one more of two things."""
        self.knocks += 1
        self._publish(self.now)
        self.told["published"] += 1

    def age(self) -> None:
        """Readings of seats are too old earlier than before."""
        change_meter(meter_id=Meter.objects.get(key="seats").pk, max_age_days=3, now=self.now, actor=None)
        self.told["ages"] += 1

    def feature(self) -> None:
        """A new feature that signals have named before, and another that is a tier lower from now on."""
        self._sell("forecast", "team", "platform", "forecasts", self.now)
        sso = Feature.objects.get(key="sso")
        values = {"least_plan": Plan.objects.get(key="team"), "area": "administration"}
        change_row(table=FEATURES, row_id=sso.pk, values=values, now=self.now, actor=None)
        self.told["features"] += 1

    def merge(self) -> None:
        """One company was two: from now on what is told of the second counts for the first."""
        into, gone = self.ids["company-0"], self.ids["company-3"]
        Account.objects.filter(pk=gone).update(merged_into=into, updated_at=self.now)
        record_changes(kind="account_merged", account_ids=[into, gone], now=self.now)
        self.told["merged"] += 1

    # What runs

    def turn(self, kind: str) -> None:
        """A turn of the worker: `changed` over what is new, `full` over all, `round` in parts, one of them now."""
        with override_settings(CSPLAYBOOKS={"FULL_RUN_ACCOUNTS": 9 if kind == "round" else 1000}):
            run_triggers(now=self.now, full=kind != "changed")
            run_next_part(now=self.now)
        if kind == "full":
            judge_held(now=self.now)
        work(now=self.now)

    def close_some(self) -> None:
        """Plays come to an end, so that there is room for others, or something to cool."""
        ids = list(Play.objects.open().exclude(stage="routed").order_by("pk").values_list("pk", flat=True)[:4])
        if ids:
            outcome = self.lots.choice(["won", "lost", "declined"])
            close_plays(play_ids=ids, outcome=outcome, reason="So it went.", now=self.now)
            self.told[outcome] += len(ids)


def record_a_month(*, seed: int = 4, days: int = 30) -> Month:
    """Let the month go by, an hour or some at a time; answers it with what was told."""
    month = Month(seed)
    once = {9: month.publish, 13: month.age, 16: month.publish, 19: month.feature, 21: month.merge}
    chances: list[tuple[float, Callable[[], None]]] = [
        (0.95, month.activity),
        (0.6, month.activity),
        (0.4, month.late),
        (0.15, month.twice),
        (0.5, month.mend),
        (0.35, month.person),
        (0.35, month.review),
        (0.35, month.holding),
        (0.4, month.fact),
        (0.1, month.close_some),
    ]
    month.turn("full")
    while month.now < BEGINS + days * DAY:
        month.now += month.lots.choice([5, 12, 18, 22, 28]) * HOUR
        due = [day for day in once if month.now >= BEGINS + day * DAY]
        for day in due:
            once.pop(day)()
        for chance, happens in chances:
            if month.lots.random() < chance:
                happens()
        month.turn(month.lots.choices(["changed", "full", "round"], [5, 2, 2])[0])
    return month
