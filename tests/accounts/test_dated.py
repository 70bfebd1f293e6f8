"""The one writer of period rows: its rules one by one, then against a plain dict of moments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import hypothesis
import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.accounts.acts.dated import PeriodResult, PeriodWrite, Verdict, layout_of, set_periods
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    BareAccountFactory,
    ChangeFactory,
    FindingFactory,
    PlanFactory,
    TeamMemberFactory,
)
from csplaybooks.accounts.models import (
    AccountFacts,
    AccountTeam,
    Change,
    Entitlement,
    FindingState,
    PlanLimit,
)
from tests.examples import examples

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=100)


def day(number: int) -> datetime:
    """The moment so many days after `START`."""
    return START + timedelta(days=number)


def tell(account: Any, member: Any, at: datetime, **kwargs: Any) -> PeriodResult:
    """Say who is the CSM of an account from `at` on; nobody for None."""
    write = PeriodWrite(
        key={"account_id": account.pk, "role": "csm"},
        values=None if member is None else {"member_id": member.pk},
        effective_at=at,
        account_id=account.pk,
    )
    [result] = set_periods(model=AccountTeam, writes=[write], kind="team", now=NOW, **kwargs)
    return result


def told_of(account: Any) -> list[tuple[int, int | None, str]]:
    """What is held for true of an account's team: first day, end, name."""
    return [
        (
            (row.valid_from - START).days,
            None if row.valid_to is None else (row.valid_to - START).days,
            row.member.name,
        )
        for row in AccountTeam.objects.filter(account=account, superseded_by=None).order_by("valid_from")
    ]


def test_the_layout_is_read_from_the_table() -> None:
    layout = layout_of(AccountTeam)
    assert (layout.key, layout.values) == (("account_id", "role"), ("member_id",))
    assert layout_of(PlanLimit).key == ("plan_id", "meter_key")
    assert layout_of(FindingState).subject.name == "finding"
    assert layout_of(Entitlement).values == ("product_id", "plan_id", "quantity", "mrr_minor", "term_months")
    assert layout_of(AccountFacts).values == AccountFacts.FACTS


def test_first_news_opens_a_period(told: list[str]) -> None:
    account, ada = BareAccountFactory(), TeamMemberFactory(name="Ada")
    result = tell(account, ada, day(0))
    assert (result.verdict, result.before, result.after) == (Verdict.CREATED, None, {"member_id": ada.pk})
    assert told_of(account) == [(0, None, "Ada")]
    [change] = Change.objects.all()
    assert (change.kind, change.account, change.recorded_at, change.seen_by_run) == ("team", account, NOW, None)
    assert AccountTeam.objects.get().change == change
    assert told == ["team"]


def test_the_same_news_again_writes_nothing(told: list[str]) -> None:
    account, ada = BareAccountFactory(), TeamMemberFactory(name="Ada")
    tell(account, ada, day(0))
    assert tell(account, ada, day(0)).verdict == Verdict.UNCHANGED
    assert tell(account, ada, day(5)).verdict == Verdict.UNCHANGED
    assert AccountTeam.objects.count() == Change.objects.count() == len(told) == 1


def test_later_news_closes_what_held_and_opens_the_next() -> None:
    account, ada, bob = BareAccountFactory(), TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    tell(account, ada, day(0))
    result = tell(account, bob, day(5))
    assert result.verdict == Verdict.UPDATED
    assert result.before == {"member_id": ada.pk}
    assert told_of(account) == [(0, 5, "Ada"), (5, None, "Bob")]
    first, second = Change.objects.order_by("pk")
    old = AccountTeam.objects.get(superseded_by=second)
    assert (old.valid_from, old.valid_to, old.member, old.change) == (day(0), None, ada, first)


def test_news_from_the_same_start_takes_the_whole_place() -> None:
    account, ada, bob = BareAccountFactory(), TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    tell(account, ada, day(0))
    assert tell(account, bob, day(0)).verdict == Verdict.UPDATED
    assert told_of(account) == [(0, None, "Bob")]


def test_late_news_holds_until_the_next_known_moment() -> None:
    account = BareAccountFactory()
    ada, bob, cleo = (TeamMemberFactory(name=name) for name in ("Ada", "Bob", "Cleo"))
    tell(account, ada, day(0))
    tell(account, bob, day(10))
    tell(account, cleo, day(5))
    assert told_of(account) == [(0, 5, "Ada"), (5, 10, "Cleo"), (10, None, "Bob")]
    # Bob's period was not touched: it is the row that was written first.
    assert AccountTeam.objects.filter(member=bob).count() == 1


def test_news_from_before_anything_known_holds_until_the_first_start() -> None:
    account, ada, bob = BareAccountFactory(), TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    tell(account, ada, day(10))
    assert tell(account, bob, day(3)).verdict == Verdict.CREATED
    assert told_of(account) == [(3, 10, "Bob"), (10, None, "Ada")]


def test_no_values_end_what_holds() -> None:
    account, ada = BareAccountFactory(), TeamMemberFactory(name="Ada")
    tell(account, ada, day(0))
    result = tell(account, None, day(7))
    assert (result.verdict, result.after) == (Verdict.ENDED, None)
    assert told_of(account) == [(0, 7, "Ada")]
    assert tell(account, None, day(7)).verdict == Verdict.UNCHANGED
    assert tell(account, None, day(8)).verdict == Verdict.UNCHANGED


def test_a_period_that_ends_at_its_start_is_gone() -> None:
    account = BareAccountFactory()
    tell(account, TeamMemberFactory(), day(0))
    assert tell(account, None, day(0)).verdict == Verdict.ENDED
    assert told_of(account) == []


def test_late_news_inside_an_ended_period_keeps_its_end() -> None:
    account, ada, bob = BareAccountFactory(), TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    tell(account, ada, day(0))
    tell(account, None, day(10))
    tell(account, bob, day(5))
    assert told_of(account) == [(0, 5, "Ada"), (5, 10, "Bob")]


def test_a_subject_may_go_on_after_its_end() -> None:
    account, ada = BareAccountFactory(), TeamMemberFactory(name="Ada")
    tell(account, ada, day(0))
    tell(account, None, day(10))
    assert tell(account, ada, day(12)).verdict == Verdict.CREATED
    assert told_of(account) == [(0, 10, "Ada"), (12, None, "Ada")]


def test_several_writes_about_one_subject_take_effect_in_their_order(told: list[str]) -> None:
    account, ada, bob = BareAccountFactory(), TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    key = {"account_id": account.pk, "role": "csm"}
    results = set_periods(
        model=AccountTeam,
        writes=[
            PeriodWrite(
                key=key,
                values=None if member is None else {"member_id": member.pk},
                effective_at=at,
                account_id=account.pk,
            )
            for member, at in [(ada, day(0)), (bob, day(4)), (None, day(9)), (ada, day(2))]
        ],
        kind="team",
        now=NOW,
    )
    assert [result.verdict for result in results] == ["created", "updated", "ended", "unchanged"]
    assert told_of(account) == [(0, 4, "Ada"), (4, 9, "Bob")]
    # What was never known outside is not stored.
    assert AccountTeam.objects.count() == 2
    assert Change.objects.count() == len(told) == 1


def test_by_field_carries_on_what_is_not_named_over_later_periods() -> None:
    account = BareAccountFactory()

    def set_facts(at: datetime, **values: Any) -> PeriodResult:
        write = PeriodWrite(key={"account_id": account.pk}, values=values, effective_at=at, account_id=account.pk)
        return set_periods(model=AccountFacts, writes=[write], kind="facts", now=NOW, by_field=True)[0]

    set_facts(day(0), segment="small", region="emea")
    set_facts(day(10), region="apac")
    set_facts(day(20), segment="enterprise")
    # The company has been mid-market since day 5: day 10 told us nothing of the segment, day 20 did.
    set_facts(day(5), segment="mid_market")
    rows = AccountFacts.objects.filter(superseded_by=None).order_by("valid_from")
    assert [((row.valid_from - START).days, row.segment, row.region) for row in rows] == [
        (0, "small", "emea"),
        (5, "mid_market", "emea"),
        (10, "mid_market", "apac"),
        (20, "enterprise", "apac"),
    ]
    assert [row.valid_to for row in rows] == [day(5), day(10), day(20), None]


def test_a_change_of_the_act_is_used_instead_of_a_second_one(told: list[str]) -> None:
    account = BareAccountFactory()
    change = ChangeFactory(account=account)
    tell(account, TeamMemberFactory(), day(0), changes=[change])
    assert AccountTeam.objects.get().change == change
    assert Change.objects.count() == 1
    assert told == []


def test_a_row_of_all_accounts_has_a_change_without_account() -> None:
    plan = PlanFactory()
    write = PeriodWrite(
        key={"plan_id": plan.pk, "meter_key": "seats"},
        values={"limit_milli": 5000},
        effective_at=day(0),
        account_id=None,
    )
    set_periods(model=PlanLimit, writes=[write], kind="plan_limits", now=NOW)
    assert Change.objects.get().account is None


def test_what_cannot_be_written_is_refused() -> None:
    account = BareAccountFactory()
    key = {"account_id": account.pk}

    def write(**kwargs: Any) -> None:
        given = {"key": key, "values": {"region": "emea"}, "effective_at": day(0), "account_id": account.pk}
        set_periods(model=AccountFacts, writes=[PeriodWrite(**(given | kwargs))], kind="facts", now=NOW)

    with pytest.raises(ValueError, match="needs a time zone"):
        write(effective_at=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="no values colour"):
        write(values={"colour": "red"})
    with pytest.raises(ValueError, match="keyed by account_id"):
        write(key={"account_id": account.pk, "role": "csm"})
    with pytest.raises(ValidationError, match="There is no account with the id 999999") as refused:
        write(key={"account_id": 999_999}, account_id=999_999)
    assert list(refused.value.message_dict) == ["account"]
    assert not AccountFacts.objects.exists()
    assert not Change.objects.exists()


@pytest.mark.parametrize("count", [1, 50])
def test_queries_do_not_grow_with_the_number_of_subjects(count: int, django_assert_num_queries: Any) -> None:
    ada, bob = TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    writes = [
        PeriodWrite(
            key={"account_id": account.pk, "role": "csm"},
            values={"member_id": bob.pk},
            effective_at=day(50),
            account_id=account.pk,
        )
        for account in AccountFactory.create_batch(count, csm=ada)
    ]
    # Savepoint and its release; lock, read, record, supersede, insert.
    with django_assert_num_queries(7):
        set_periods(model=AccountTeam, writes=writes, kind="team", now=NOW)


# Against a plain dict of moments

MOMENTS = range(5)


class Whole:
    """What rows of one subject say, kept as moments: at each one a value (None: nothing) takes hold."""

    def __init__(self) -> None:
        self.moments: dict[int, Any] = {}

    def at(self, moment: int) -> Any:
        """What holds at a moment."""
        known = [each for each in self.moments if each <= moment]
        return self.moments[max(known)] if known else None

    def tell(self, moment: int, value: Any) -> bool:
        """Take a piece of news in; whether it was one."""
        if self.at(moment) == value:
            return False
        self.moments[moment] = value
        # Nothing after nothing is no moment.
        self._keep(lambda before, after: before is not None or after is not None)
        return True

    def _keep(self, counts: Callable[[Any, Any], bool]) -> None:
        kept: dict[int, Any] = {}
        before = None
        for moment, value in sorted(self.moments.items()):
            if counts(before, value):
                kept[moment] = value
            before = value
        self.moments = kept


class ByField(Whole):
    """The same for one value of several: only moments at which it changes are known."""

    def tell(self, moment: int, value: Any) -> bool:
        """Take a piece of news in; a moment at which nothing changes is dropped."""
        news = super().tell(moment, value)
        self._keep(lambda before, after: before != after)
        return news


def assert_no_overlap(model: Any, **key: Any) -> None:
    rows = list(model.objects.filter(superseded_by=None, **key).order_by("valid_from"))
    for earlier, later in pairwise(rows):
        assert earlier.valid_to is not None
        assert earlier.valid_to <= later.valid_from


@given(news=st.lists(st.tuples(st.sampled_from(MOMENTS), st.sampled_from(["Ada", "Bob", None])), max_size=8))
@hypothesis.settings(max_examples=examples(40))
def test_rows_say_what_a_dict_of_moments_says_and_the_past_stays_known(
    news: list[tuple[int, str | None]],
) -> None:
    account = BareAccountFactory()
    members = {name: TeamMemberFactory(name=name) for name in ("Ada", "Bob")}
    plain = Whole()
    known: list[list[str | None]] = []
    # Other examples of this test have left their changes behind; their marks must not come in between.
    first_mark = Change.objects.count() * 1000

    def holding(moment: int, mark: int | None) -> str | None:
        rows = AccountTeam.objects.filter(account=account, role="csm").holding_at(day(moment), mark)
        return rows.get().member.name if rows else None

    for run, (moment, name) in enumerate(news):
        result = tell(account, members.get(name or ""), day(moment))
        assert (result.verdict != Verdict.UNCHANGED) == plain.tell(moment, name)
        Change.objects.filter(seen_by_run=None).update(seen_by_run=first_mark + run)
        known.append([plain.at(each) for each in MOMENTS])
    assert_no_overlap(AccountTeam, account=account)
    assert [holding(each, None) for each in MOMENTS] == (known[-1] if known else [None] * len(MOMENTS))
    for run, then in enumerate(known):
        assert [holding(each, first_mark + run) for each in MOMENTS] == then


FACTS_NEWS = st.fixed_dictionaries(
    {},
    optional={
        "segment": st.sampled_from(["", "small", "enterprise"]),
        "region": st.sampled_from(["", "emea", "apac"]),
        "head_count": st.sampled_from([None, 10, 20]),
    },
)


@given(news=st.lists(st.tuples(st.sampled_from(MOMENTS), FACTS_NEWS), max_size=8))
@hypothesis.settings(max_examples=examples(40))
def test_each_fact_has_a_history_of_its_own(news: list[tuple[int, dict[str, Any]]]) -> None:
    account = BareAccountFactory()
    names = {"segment": "", "region": "", "head_count": None}
    plain = {name: ByField() for name in names}
    starts: set[int] = set()
    for moment, values in news:
        held = any(start <= moment for start in starts)
        write = PeriodWrite(
            key={"account_id": account.pk}, values=values, effective_at=day(moment), account_id=account.pk
        )
        set_periods(model=AccountFacts, writes=[write], kind="facts", now=NOW, by_field=True)
        starts.add(moment)
        # Where nothing held, what is not named is unknown from then on.
        for name, value in (values if held else {**names, **values}).items():
            plain[name].tell(moment, ("known", value))
        for each in MOMENTS:
            row = AccountFacts.objects.filter(account=account).holding_at(day(each)).first()
            for name, story in plain.items():
                assert story.at(each) == (None if row is None else ("known", getattr(row, name)))
    assert_no_overlap(AccountFacts, account=account)


def test_two_findings_of_one_account_share_a_change() -> None:
    account = AccountFactory()
    findings = FindingFactory.create_batch(2, account=account)
    before = Change.objects.count()
    set_periods(
        model=FindingState,
        writes=[
            PeriodWrite(
                key={"finding_id": finding.pk},
                values={"status": "settled"},
                effective_at=day(5),
                account_id=account.pk,
            )
            for finding in findings
        ],
        kind="findings",
        now=NOW,
    )
    assert Change.objects.count() == before + 1
