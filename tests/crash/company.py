"""A company of many like accounts, what its product sends, and what must come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q

from csplaybooks.accounts.acts.companies import NewAccount, create_accounts, set_team_role
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account, Change, TimelineEntry
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.invariants import violations
from csplaybooks.playbooks.models import Clock, Interval, Match, Play, PlayMatch, PlayStep, Route, Stage
from csplaybooks.playbooks.pokes import pokes_silenced
from csplaybooks.playbooks.step_texts import steps_for
from csplaybooks.signals.models import IntakeBatch

#: The motions of the plays that every account gets from `readings` and `signals`, with their triggers: the first
#: opens the play, or the second does; the other folds into it.
MOTIONS = {"seat_expansion": {"seats_above_80", "three_added"}, "tier_upsell": {"gates_at_high_usage"}}


def make_company(
    count: int,
    now: datetime,
    *,
    managers: int = 10,
    cap: int | None = None,
    segments: Sequence[str] = ("mid_market",),
) -> list[str]:
    """Accounts that have long been paying, as external ids, and a team whose room is just enough for them.

    Every other account has a CSM of its own, the others go to the pool. `cap` is the room of each CSM where it is not
    to be just enough. The accounts are of these segments in turn.
    """
    since = now - timedelta(days=300)
    with pokes_silenced():
        set_up(now=now, schedules=False)
        team = [
            TeamMemberFactory(name=f"CSM {number:02}", open_play_cap=cap or -(-count // managers))
            for number in range(managers)
        ]
        TeamMemberFactory(name="Digital desk", desk=True)
        names = [f"company-{number:04}" for number in range(count)]
        facts = {
            "lifecycle": "paying",
            "activated_on": (since + timedelta(days=9)).date().isoformat(),
            "customer_since": since.date().isoformat(),
        }
        accounts = create_accounts(
            items=[
                NewAccount(
                    name=name,
                    identities=[("crm", name)],
                    facts={**facts, "segment": segments[number % len(segments)]},
                    valid_from=since,
                )
                for number, name in enumerate(names)
            ],
            now=since,
            actor=None,
        )
        for number, member in enumerate(team):
            set_team_role(
                account_ids=[account.pk for account in accounts[number * 2 :: managers * 2]],
                role="csm",
                member_id=member.pk,
                effective_at=since,
                now=since,
                actor=None,
            )
    return names


def readings(names: Iterable[str], at: datetime) -> list[dict[str, Any]]:
    """Seats nearly full, and good health: one reading of each for every account."""
    return [
        {
            "source": "product",
            "external_id": f"{meter}-{name}",
            "account": name,
            "meter": meter,
            "used": used,
            "limit": limit,
            "occurred_at": at.isoformat(),
        }
        for name in names
        for meter, used, limit in (("seats", 18, 20), ("health", 90, None))
    ]


def signals(names: Iterable[str], at: datetime) -> list[dict[str, Any]]:
    """Three gate hits and three users added by an admin, for every account."""
    return [
        {
            "source": "product",
            "external_id": f"{kind}-{name}-{number}",
            "account": name,
            "type": kind,
            "occurred_at": (at - timedelta(hours=number)).isoformat(),
            "actor": f"user-{number}",
            "properties": {"by": "admin"},
        }
        for name in names
        for kind in ("feature_gate_hit", "user_added")
        for number in range(3)
    ]


def waiting() -> dict[str, int]:
    """How much waits at each step of the pipeline; only steps at which something does."""
    counts = {
        "unclaimed batches": IntakeBatch.objects.unclaimed().count(),
        "unclaimed changes": Change.objects.unclaimed().count(),
        "unfired matches": Match.objects.unfired().count(),
        "unowned plays": Play.objects.filter(stage=Stage.ROUTED).count(),
        "unclocked plays": Play.objects.open().filter(clocks_started_at__isnull=True).count(),
    }
    return {name: count for name, count in counts.items() if count}


def assert_all_once(names: Sequence[str]) -> None:
    """Everything that `readings` and `signals` of these accounts lead to is there, each thing once."""
    assert waiting() == {}
    assert [violation for violation in violations() if violation.count] == []
    assert list(Match.objects.stuck()) == []
    assert list(Play.objects.stuck()) == []

    plays = list(Play.objects.select_related("recipe", "account").order_by("pk"))
    assert Counter((play.account.name, play.motion) for play in plays) == Counter(
        (name, motion) for name in names for motion in MOTIONS
    )
    assert {play.stage for play in plays} == {Stage.OWNED}
    _assert_matches(names)
    _assert_parts(plays)
    _assert_timeline(plays)
    _assert_loads(plays)


def _assert_matches(names: Sequence[str]) -> None:
    matches = Match.objects.values_list("account__name", "play__motion", "trigger__key")
    assert Counter(matches) == Counter(
        (name, motion, trigger) for name in names for motion, triggers in MOTIONS.items() for trigger in triggers
    )
    assert Counter(Match.objects.values_list("state", flat=True)) == Counter(
        fired=len(names) * len(MOTIONS),
        folded=len(names) * sum(len(triggers) - 1 for triggers in MOTIONS.values()),
    )
    # Each match has led to its play once, and the one that opened it is marked so.
    links = PlayMatch.objects.annotate(fired=Q(match__state="fired"))
    assert links.count() == Match.objects.count()
    assert not links.exclude(folded=~Q(match__state="fired"), play=F("match__play")).exists()


def _assert_parts(plays: Sequence[Play]) -> None:
    """First interval and the owner's, the steps and the clocks of the playbook: each once, and no more."""
    intervals: dict[int, list[Interval]] = {}
    for interval in Interval.objects.order_by("play_id", "seq"):
        intervals.setdefault(interval.play_id, []).append(interval)
    clocks = Counter(Clock.objects.values_list("play", "target"))
    steps = Counter(PlayStep.objects.values_list("play", "number"))
    for play in plays:
        routed, owned = intervals.pop(play.pk)
        assert (routed.stage, routed.owner_id, routed.valid_from) == (Stage.ROUTED, None, play.opened_at)
        assert (owned.stage, owned.owner_id, owned.valid_from) == (Stage.OWNED, play.owner_id, routed.valid_to)
        assert owned.valid_to is None
    assert intervals == {}
    assert clocks == Counter(
        (play.pk, target["target"])
        for play in plays
        for target in play.recipe.document["targets"]
        if play.route in target.get("routes", [play.route])
    )
    assert steps == Counter(
        (play.pk, number) for play in plays for number, _ in steps_for(play.recipe.document, play.route)
    )


def _assert_timeline(plays: Sequence[Play]) -> None:
    told = Counter(
        TimelineEntry.objects.filter(subject_type="csplaybooks_playbooks.play")
        .exclude(kind__startswith="clock_")
        .values_list("kind", "subject_id")
    )
    folded = Counter(Match.objects.filter(state="folded").values_list("play", flat=True))
    assert told == (
        Counter(("play_opened", play.pk) for play in plays)
        + Counter(("play_assigned", play.pk) for play in plays)
        + Counter({("match_folded", play_id): count for play_id, count in folded.items()})
    )


def _assert_loads(plays: Sequence[Play]) -> None:
    """The room of the team is just enough, so whoever is over their cap has taken somebody's."""
    loads = Counter(play.owner_id for play in plays if Route(play.route).counts_toward_load)
    caps = dict(Play.objects.order_by().values_list("owner", "owner__open_play_cap").distinct())
    assert {owner: load for owner, load in loads.items() if load > caps[owner]} == {}
    # An account's own CSM has all plays of the account.
    team = dict(Account.objects.values_list("pk", "team__member").filter(team__role="csm"))
    assert [play.pk for play in plays if team.get(play.account_id, play.owner_id) != play.owner_id] == []


def attempts() -> int:
    """How many failed attempts stand on matches and plays."""
    return sum(
        model.objects.aggregate(total=Count("pk", filter=Q(attempts__gt=0) | ~Q(last_error="")))["total"]
        for model in (Match, Play)
    )
