"""Invariants of plays: one open for each motion, owned, tiled by intervals, closed with an outcome."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, Max, Min, OuterRef, Q, QuerySet, Sum

from csplaybooks.playbooks.invariants.registry import by_query
from csplaybooks.playbooks.models import Credit, Handoff, Interval, Outcome, Pause, Play, Stage, State, Touch


def _open_plays_without_owner() -> QuerySet[Any]:
    ended = Q(stage=Stage.CLOSED) & ~Q(outcome=Outcome.WITHDRAWN)
    return Play.objects.filter(Q(stage__in=[Stage.OWNED, Stage.RUNNING]) | ended, owner__isnull=True)


def _open_twice() -> QuerySet[Any]:
    other = Play.objects.open().filter(account=OuterRef("account"), motion=OuterRef("motion"))
    return Play.objects.open().filter(Exists(other.exclude(pk=OuterRef("pk"))))


def _intervals_with_gaps() -> QuerySet[Any]:
    """Intervals that do not begin exactly where the one before them ends."""
    before = Interval.objects.filter(play=OuterRef("play"), seq=OuterRef("seq") - 1, valid_to=OuterRef("valid_from"))
    return Interval.objects.filter(seq__gt=0).exclude(Exists(before))


def _plays_not_tiled() -> QuerySet[Any]:
    """Plays whose intervals do not reach from opening to close (or to now, where they are open)."""
    open_interval = Interval.objects.filter(play=OuterRef("pk"), valid_to__isnull=True)
    return Play.objects.annotate(
        first_from=Min("intervals__valid_from"), last_to=Max("intervals__valid_to"), has_open=Exists(open_interval)
    ).exclude(
        Q(first_from=F("opened_at"))
        & (Q(stage=Stage.CLOSED, has_open=False, last_to=F("closed_at")) | (~Q(stage=Stage.CLOSED) & Q(has_open=True)))
    )


def _plays_unlike_their_interval() -> QuerySet[Any]:
    """Open plays whose stage, state, owner or holder is not that of their open interval."""
    same = Interval.objects.filter(
        Q(owner=OuterRef("owner")) | Q(owner__isnull=True, play__owner__isnull=True),
        Q(holder=OuterRef("holder")) | Q(holder__isnull=True, play__holder__isnull=True),
        play=OuterRef("pk"),
        valid_to__isnull=True,
        stage=OuterRef("stage"),
        state=OuterRef("state"),
    )
    return Play.objects.open().exclude(Exists(same))


def _plays_unlike_their_last_interval() -> QuerySet[Any]:
    """Closed plays whose owner or holder is not that of the interval in which they were closed."""
    next_one = Interval.objects.filter(play=OuterRef("play"), seq=OuterRef("seq") + 1)
    same = Interval.objects.filter(
        ~Exists(next_one),
        Q(owner=OuterRef("owner")) | Q(owner__isnull=True, play__owner__isnull=True),
        Q(holder=OuterRef("holder")) | Q(holder__isnull=True, play__holder__isnull=True),
        play=OuterRef("pk"),
    )
    # What has no interval at all is named by the tiling.
    any_one = Interval.objects.filter(play=OuterRef("pk"))
    return Play.objects.filter(Exists(any_one), stage=Stage.CLOSED).exclude(Exists(same))


def _offered_time_without_offer() -> QuerySet[Any]:
    """Intervals on offer that lie in no offer of their owner to their holder."""
    theirs = Handoff.objects.filter(
        Q(answered_at__isnull=True) | Q(answered_at__gte=OuterRef("valid_to")),
        play=OuterRef("play"),
        offered_by=OuterRef("owner"),
        offered_to=OuterRef("holder"),
        offered_at__lte=OuterRef("valid_from"),
    )
    rows: QuerySet[Any] = Interval.objects.filter(state=State.OFFERED)
    return rows.exclude(Exists(theirs))


def _accepted_and_not_theirs() -> QuerySet[Any]:
    """Offers that were accepted, and whose receiver does not own the play from then on."""
    theirs = Interval.objects.filter(
        play=OuterRef("play"), owner=OuterRef("offered_to"), valid_from=OuterRef("answered_at")
    )
    rows: QuerySet[Any] = Handoff.objects.filter(answer=Handoff.Answer.ACCEPTED)
    return rows.exclude(Exists(theirs))


def _sums_unlike_elapsed() -> QuerySet[Any]:
    """Closed plays whose intervals do not add up to the time from opening to close."""
    summed: QuerySet[Any] = Play.objects.filter(stage=Stage.CLOSED).annotate(
        total=Sum(F("intervals__valid_to") - F("intervals__valid_from"))
    )
    return summed.exclude(total=F("closed_at") - F("opened_at"))


def _closed_without_outcome() -> QuerySet[Any]:
    """Plays that are closed without outcome, time or a needed reason, or open with one."""
    whole = Q(stage=Stage.CLOSED, closed_at__isnull=False) & ~Q(outcome="")
    return Play.objects.exclude(
        (whole & (~Q(outcome=Outcome.DECLINED) | ~Q(outcome_reason="")))
        | (~Q(stage=Stage.CLOSED) & Q(outcome="", closed_at__isnull=True))
    )


def _plays_of_other_playbooks() -> QuerySet[Any]:
    return Play.objects.exclude(recipe__playbook=F("playbook"))


def _paused_without_reason() -> QuerySet[Any]:
    paused: QuerySet[Any] = Interval.objects.filter(state=State.PAUSED, valid_to__isnull=True)
    return paused.exclude(Exists(Pause.objects.filter(interval=OuterRef("pk"), play=OuterRef("play"))))


def _offered_without_offer() -> QuerySet[Any]:
    """Plays on offer without an offer that waits, from their owner to their holder."""
    waiting = Handoff.objects.filter(
        play=OuterRef("pk"),
        answer=Handoff.Answer.WAITING,
        offered_by=OuterRef("owner"),
        offered_to=OuterRef("holder"),
    )
    return Play.objects.open().filter(~Exists(waiting), state=State.OFFERED)


def _offers_that_wait_in_vain() -> QuerySet[Any]:
    rows: QuerySet[Any] = Handoff.objects.filter(answer=Handoff.Answer.WAITING)
    return rows.filter(~Q(play__state=State.OFFERED) | Q(play__stage=Stage.CLOSED))


def _in_the_tray_and_not() -> QuerySet[Any]:
    """Plays in the tray that somebody works on otherwise: they are closed, paused or on offer."""
    return Play.objects.filter(Q(stage=Stage.CLOSED) | ~Q(state=State.WORKING), tray_at__isnull=False)


def _touches_at_others() -> QuerySet[Any]:
    rows: QuerySet[Any] = Touch.objects.exclude(play__account=F("account"))
    return rows


def _credits_at_others() -> QuerySet[Any]:
    rows: QuerySet[Any] = Credit.objects.exclude(play__account=F("movement__account"))
    return rows


INVARIANTS = (
    by_query(
        "owned_plays_have_owner",
        "A play has an owner from the stage owned on, and when it is closed, unless it was withdrawn before.",
        _open_plays_without_owner,
    ),
    by_query("one_open_play_per_motion", "An account has one open play of a motion.", _open_twice),
    by_query("intervals_without_gap", "An interval begins where the one before it ends.", _intervals_with_gaps),
    by_query("intervals_tile_plays", "Intervals reach from a play's opening to its close.", _plays_not_tiled),
    by_query(
        "plays_agree_with_intervals",
        "An open play's stage, state, owner and holder are those of its open interval.",
        _plays_unlike_their_interval,
    ),
    by_query(
        "closed_plays_agree_with_intervals",
        "A closed play's owner and holder are those of its last interval.",
        _plays_unlike_their_last_interval,
    ),
    by_query(
        "offered_time_has_offer",
        "Time on offer lies in an offer of whoever owned the play to whoever held it.",
        _offered_time_without_offer,
    ),
    by_query(
        "accepted_plays_change_owner",
        "Whoever accepts an offer owns the play from that moment.",
        _accepted_and_not_theirs,
    ),
    by_query(
        "intervals_sum_to_elapsed",
        "A closed play's intervals add up to its time from opening to close.",
        _sums_unlike_elapsed,
    ),
    by_query(
        "closed_plays_have_outcome",
        "A closed play has an outcome and its time, and a declined one a reason; an open one has neither.",
        _closed_without_outcome,
    ),
    by_query("plays_of_their_playbook", "A play's version is one of its playbook.", _plays_of_other_playbooks),
    by_query("paused_plays_have_reason", "What is paused has its reason.", _paused_without_reason),
    by_query(
        "offered_plays_have_offer",
        "What is on offer has an offer of its owner to its holder that waits.",
        _offered_without_offer,
    ),
    by_query(
        "offers_wait_on_offered_plays", "An offer waits only while its play is on offer.", _offers_that_wait_in_vain
    ),
    by_query("tray_holds_what_waits", "What stands in the tray waits for a manager.", _in_the_tray_and_not),
    by_query("touches_at_their_account", "A contact is one with the account of its play.", _touches_at_others),
    by_query("credits_at_their_account", "A play is credited with lines of its own account.", _credits_at_others),
)
