"""Acts on customer companies."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from csplaybooks.accounts.acts import (
    NewAccount,
    NewIdentity,
    add_identities,
    create_accounts,
    set_facts,
    set_team_role,
)
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    AccountIdentityFactory,
    BareAccountFactory,
    TeamMemberFactory,
    UserFactory,
)
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountIdentity,
    AccountTeam,
    Change,
    TimelineEntry,
)

pytestmark = pytest.mark.django_db

NOW = START + timedelta(days=100)


def texts() -> list[str]:
    """What the timeline says, in the order it was written."""
    return [entry.text for entry in TimelineEntry.objects.order_by("pk")]


def test_accounts_are_created_with_all_that_belongs_to_them(told: list[str]) -> None:
    parent = BareAccountFactory()
    user = UserFactory()
    acme, bolt = create_accounts(
        items=[
            NewAccount(
                name="Acme",
                identities=[("crm", "acme"), ("product", "org-1")],
                facts={"segment": "enterprise", "renewal_on": "2026-03-01", "tags": ["partner"]},
                valid_from=START,
                parent_id=parent.pk,
            ),
            NewAccount(name="Bolt"),
        ],
        now=NOW,
        actor=user,
    )
    acme.refresh_from_db()
    assert (acme.name, acme.parent, acme.created_at, acme.updated_at) == ("Acme", parent, NOW, NOW)
    assert [str(identity) for identity in acme.identities.all()] == ["crm:acme", "product:org-1"]
    facts = acme.facts.get()
    assert (facts.valid_from, facts.valid_to, facts.segment) == (START, None, "enterprise")
    assert (facts.renewal_on, facts.tags, facts.lifecycle) == (date(2026, 3, 1), ["partner"], "paying")
    assert facts.change.account == acme
    assert bolt.facts.get().valid_from == NOW
    assert set(Change.objects.values_list("kind", "account")) == {
        ("account_created", acme.pk),
        ("account_created", bolt.pk),
    }
    assert told == ["account_created"]
    assert texts() == ["Account created", "Account created"]
    assert set(TimelineEntry.objects.values_list("actor", flat=True)) == {user.pk}


@pytest.mark.parametrize("count", [1, 50])
def test_creating_many_accounts_takes_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    items = [NewAccount(name=f"Company {n}", identities=[("crm", f"c-{n}")]) for n in range(count)]
    # Savepoints of the act and of the periods; accounts, taken ids, ids, changes, lock, read, facts, timeline.
    with django_assert_num_queries(12):
        create_accounts(items=items, now=NOW, actor=None)


def test_an_id_that_is_taken_is_named_and_nothing_is_created(told: list[str]) -> None:
    AccountIdentityFactory(source="crm", external_id="acme")
    before = Account.objects.count()
    with pytest.raises(ValidationError) as refused:
        create_accounts(items=[NewAccount(name="Acme", identities=[("crm", "acme")])], now=NOW, actor=None)
    assert refused.value.message_dict == {"identities": ["Another account is already known as acme in crm."]}
    with pytest.raises(ValidationError, match="already known as bolt in crm"):
        create_accounts(
            items=[NewAccount(name=name, identities=[("crm", "bolt")]) for name in ("Bolt", "Bolt Ltd")],
            now=NOW,
            actor=None,
        )
    # The same id in another source is another id.
    create_accounts(items=[NewAccount(name="Acme", identities=[("product", "acme")])], now=NOW, actor=None)
    assert Account.objects.count() == before + 1
    assert told == ["account_created"]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (NewAccount(name=""), "name"),
        (NewAccount(name="Acme", facts={"segment": "huge"}), "segment"),
        (NewAccount(name="Acme", facts={"renewal_on": "soon"}), "renewal_on"),
        (NewAccount(name="Acme", facts={"head_count": -1}), "head_count"),
        (NewAccount(name="Acme", facts={"tags": "partner"}), "tags"),
        (NewAccount(name="Acme", parent_id=999_999), "parent"),
        (NewAccount(name="Acme", identities=[("crm", "")]), "external_id"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(item: NewAccount, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        create_accounts(items=[item], now=NOW, actor=None)
    assert list(refused.value.message_dict) == [field]
    assert not Account.objects.exists()


def test_facts_change_from_a_day_on_and_the_rest_is_carried_on(told: list[str]) -> None:
    account = AccountFactory(facts__segment="small", facts__region="emea", facts__tags=["partner"])
    verdicts = set_facts(
        account_ids=[account.pk],
        facts={"segment": "enterprise", "head_count": 900},
        effective_at=NOW - timedelta(days=1),
        now=NOW,
        actor=None,
    )
    assert verdicts == {account.pk: "updated"}
    facts = AccountFacts.objects.filter(account=account).current().get()
    assert (facts.segment, facts.head_count, facts.region, facts.tags) == (
        "enterprise",
        900,
        "emea",
        ["partner"],
    )
    assert facts.valid_from == NOW - timedelta(days=1)
    assert AccountFacts.objects.filter(account=account).holding_at(START).get().segment == "small"
    entry = TimelineEntry.objects.get()
    assert entry.text == "Segment: Enterprise (was Small business); head count: 900 (was 200)"
    assert (entry.kind, entry.at, entry.recorded_at, entry.actor_label) == (
        "facts_changed",
        NOW - timedelta(days=1),
        NOW,
        "system",
    )
    account.refresh_from_db()
    assert (account.version, account.updated_at) == (2, NOW)
    assert told == ["facts"]


def test_facts_that_are_held_already_leave_no_trace(told: list[str]) -> None:
    same, other = AccountFactory(facts__region="emea"), AccountFactory(facts__region="apac")
    verdicts = set_facts(
        account_ids=[same.pk, other.pk], facts={"region": "emea"}, effective_at=NOW, now=NOW, actor=None
    )
    assert verdicts == {same.pk: "unchanged", other.pk: "updated"}
    assert [entry.account for entry in TimelineEntry.objects.all()] == [other]
    assert Change.objects.filter(kind="facts").get().account == other
    same.refresh_from_db()
    assert same.version == 1
    assert told == ["facts"]


def test_facts_of_the_future_say_from_when() -> None:
    account = AccountFactory()
    tomorrow = NOW + timedelta(days=1)
    set_facts(account_ids=[account.pk], facts={"lifecycle": "churned"}, effective_at=tomorrow, now=NOW, actor=None)
    assert AccountFacts.objects.filter(account=account).holding_at(NOW).get().lifecycle == "paying"
    entry = TimelineEntry.objects.get()
    assert entry.text == f"Lifecycle: Churned (was Paying), from {tomorrow:%Y-%m-%d} on"
    assert entry.at == NOW


def test_a_name_that_is_no_fact_is_an_error_that_names_it() -> None:
    account = AccountFactory()
    with pytest.raises(ValueError, match="No such fact: colour"):
        set_facts(account_ids=[account.pk], facts={"colour": "red"}, effective_at=NOW, now=NOW, actor=None)


@pytest.mark.parametrize("day", [date(1899, 12, 31), date(2200, 1, 1)])
@pytest.mark.parametrize("name", ["customer_since", "activated_on", "renewal_on"])
def test_a_date_beyond_reason_is_refused(name: str, day: date) -> None:
    account = AccountFactory()
    said = f"{day} is not between 1900-01-01 and 2199-12-31: leave it empty where it is unknown."
    with pytest.raises(ValidationError) as refused:
        set_facts(account_ids=[account.pk], facts={name: day}, effective_at=NOW, now=NOW, actor=None)
    assert refused.value.message_dict == {name: [said]}
    for edge in (date(1900, 1, 1), date(2199, 12, 31)):
        set_facts(account_ids=[account.pk], facts={name: edge}, effective_at=NOW, now=NOW, actor=None)


@pytest.mark.parametrize("count", [1, 50])
def test_setting_facts_of_many_takes_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    ids = [account.pk for account in AccountFactory.create_batch(count)]
    # Savepoints (4); lock, read, record, supersede, insert; account rows; whether regions have calendars; timeline.
    with django_assert_num_queries(12):
        set_facts(account_ids=ids, facts={"region": "apac"}, effective_at=START, now=NOW, actor=None)


def test_a_role_goes_from_one_to_the_next_and_to_nobody(told: list[str]) -> None:
    ada, bob = TeamMemberFactory(name="Ada"), TeamMemberFactory(name="Bob")
    account = AccountFactory(csm=ada)

    def give(member: Any, days: int) -> dict[int, Any]:
        return set_team_role(
            account_ids=[account.pk],
            role="csm",
            member_id=member and member.pk,
            effective_at=START + timedelta(days=days),
            now=NOW,
            actor=None,
        )

    assert give(ada, 1) == {account.pk: "unchanged"}
    assert give(bob, 10) == {account.pk: "updated"}
    assert AccountTeam.objects.current().get(account=account).member == bob
    assert give(None, 20) == {account.pk: "ended"}
    assert not AccountTeam.objects.current().filter(account=account).exists()
    assert texts() == [
        "Customer success manager: Bob (was Ada)",
        "Customer success manager: nobody (was Bob)",
    ]
    assert TimelineEntry.objects.order_by("pk")[0].subject_label == "Bob"
    assert told == ["team", "team"]


def test_a_role_is_given_only_to_who_can_take_it() -> None:
    account = AccountFactory()
    gone = TeamMemberFactory(is_active=False)

    def give(**kwargs: Any) -> list[str]:
        given = {"role": "csm", "member_id": TeamMemberFactory().pk, "effective_at": NOW} | kwargs
        with pytest.raises(ValidationError) as refused:
            set_team_role(account_ids=[account.pk], now=NOW, actor=None, **given)
        return list(refused.value.message_dict)

    assert give(member_id=gone.pk) == ["member"]
    assert give(role="boss") == ["role"]
    assert give(effective_at=NOW + timedelta(seconds=1)) == ["effective_at"]


@pytest.mark.parametrize("count", [1, 50])
def test_giving_a_role_at_many_takes_the_queries_of_one(count: int, django_assert_num_queries: Any) -> None:
    ids = [account.pk for account in AccountFactory.create_batch(count, csm=TeamMemberFactory())]
    bob = TeamMemberFactory()
    # Savepoints (4); member; lock, read, record, supersede, insert; account rows, names, timeline.
    with django_assert_num_queries(13):
        set_team_role(account_ids=ids, role="csm", member_id=bob.pk, effective_at=NOW, now=NOW, actor=None)


def test_an_account_gets_another_id(told: list[str]) -> None:
    account = AccountFactory(identity__external_id="acme")
    items = [NewIdentity(account_id=account.pk, source=source, external_id="acme") for source in ("product", "crm")]
    product, crm = add_identities(items=items, now=NOW, actor=None)
    assert [str(row) for row in (product, crm)] == ["product:acme", "crm:acme"]
    assert AccountIdentity.objects.count() == 2
    assert texts() == ["Known as acme in product"]
    account.refresh_from_db()
    assert account.version == 2
    # No trigger asks about ids.
    assert told == []
    with pytest.raises(ValidationError, match="Another account is already known as acme in crm"):
        add_identities(
            items=[NewIdentity(account_id=AccountFactory().pk, source="crm", external_id="acme")],
            now=NOW,
            actor=None,
        )
