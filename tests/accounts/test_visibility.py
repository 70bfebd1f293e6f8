"""Who sees what: Ada owns Acme, Bob owns Bolt, nobody owns Pool; Eve is a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission

from csplaybooks.accounts import visibility
from csplaybooks.accounts.acts import make_row, set_team_role
from csplaybooks.accounts.acts.catalogue import PRODUCTS
from csplaybooks.accounts.factories import (
    START,
    AccountFactory,
    ApiTokenFactory,
    ChampionFactory,
    EntitlementFactory,
    FindingFactory,
    MovementFactory,
    ProductFactory,
    QbrFactory,
    TeamMemberFactory,
    TimelineEntryFactory,
    UserFactory,
)
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountIdentity,
    AccountTeam,
    ApiToken,
    Champion,
    Change,
    Entitlement,
    Finding,
    FindingState,
    Movement,
    Product,
    Qbr,
    TeamMember,
    TimelineEntry,
)

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Company:
    """The people and the accounts of these tests."""

    mona: Any
    ada: Any
    bob: Any
    acme: Any
    bolt: Any
    pool: Any


@pytest.fixture
def company() -> Company:
    """Ada reports to Mona, Bob to nobody."""
    mona = TeamMemberFactory(name="Mona", leads=True)
    ada, bob = TeamMemberFactory(name="Ada", manager=mona), TeamMemberFactory(name="Bob")
    return Company(
        mona=mona,
        ada=ada,
        bob=bob,
        acme=AccountFactory(name="Acme", csm=ada),
        bolt=AccountFactory(name="Bolt", csm=bob),
        pool=AccountFactory(name="Pool"),
    )


def seen_by(viewer: Any) -> list[str]:
    """The names of the accounts that somebody sees."""
    return [account.name for account in Account.objects.visible_to(viewer)]


def test_a_csm_sees_own_and_pool_accounts(company: Company) -> None:
    assert seen_by(company.ada.user) == ["Acme", "Pool"]
    assert seen_by(company.bob.user) == ["Bolt", "Pool"]


def test_a_stranger_sees_nothing(company: Company) -> None:
    for stranger in (None, AnonymousUser(), UserFactory(), UserFactory(is_active=False, is_superuser=True)):
        assert seen_by(stranger) == []


def test_who_has_left_sees_nothing(company: Company) -> None:
    TeamMember.objects.filter(pk=company.ada.pk).update(is_active=False)
    assert seen_by(company.ada.user) == []


def test_a_manager_sees_what_the_team_sees_however_deep(company: Company) -> None:
    assert seen_by(company.mona.user) == ["Acme", "Pool"]
    chief = TeamMemberFactory(name="Chief", leads=True)
    TeamMember.objects.filter(pk=company.mona.pk).update(manager=chief)
    assert seen_by(chief.user) == ["Acme", "Pool"]


def test_managers_in_a_circle_see_each_other_s_teams_and_end(company: Company) -> None:
    other = TeamMemberFactory(name="Other", leads=True, manager=company.mona)
    TeamMember.objects.filter(pk=company.mona.pk).update(manager=other)
    assert seen_by(other.user) == ["Acme", "Pool"]


def test_reports_of_who_is_no_manager_are_not_seen(company: Company) -> None:
    TeamMember.objects.filter(pk=company.bob.pk).update(manager=company.ada)
    assert seen_by(company.ada.user) == ["Acme", "Pool"]


def test_an_account_executive_sees_their_accounts_but_no_pool(company: Company) -> None:
    alex = TeamMemberFactory(name="Alex", ae=True)
    assert seen_by(alex.user) == []
    now = START + timedelta(days=1)
    set_team_role(account_ids=[company.bolt.pk], role="ae", member_id=alex.pk, effective_at=now, now=now, actor=None)
    assert seen_by(TeamMember.objects.get(pk=alex.pk).user) == ["Bolt"]


def test_an_account_that_changed_hands_is_seen_by_the_next_only(company: Company) -> None:
    now = START + timedelta(days=1)
    set_team_role(
        account_ids=[company.acme.pk],
        role="csm",
        member_id=company.bob.pk,
        effective_at=now,
        now=now,
        actor=None,
    )
    assert seen_by(company.ada.user) == ["Pool"]
    assert seen_by(company.bob.user) == ["Acme", "Bolt", "Pool"]


def test_higher_rooms_open_doors(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def door(members: frozenset[int]) -> Any:
        return Account.objects.filter(name="Bolt", pk__gt=0 if company.ada.pk in members else 10**9).values("pk")

    monkeypatch.setattr(visibility, "account_doors", [door])
    assert seen_by(company.ada.user) == ["Acme", "Bolt", "Pool"]
    assert seen_by(UserFactory()) == []
    scope = visibility.scope_of(company.ada.user)
    closed = Account.objects.in_scope(scope, through_doors=False)
    assert [account.name for account in closed] == ["Acme", "Pool"]


def test_a_door_does_not_open_the_story_of_guarded_subjects(
    company: Company, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    seen, unseen = ChampionFactory(account=company.bolt), ChampionFactory(account=company.bolt)

    def account_door(members: frozenset[int]) -> Any:
        return Account.objects.filter(name="Bolt", pk__gt=0 if company.ada.pk in members else 10**9).values("pk")

    def subject_door(viewer: Any) -> Any:
        return Champion.objects.filter(pk=seen.pk if viewer == company.ada.user else None).values("pk")

    label = Champion._meta.label_lower
    monkeypatch.setattr(visibility, "account_doors", [account_door])
    monkeypatch.setattr(visibility, "subject_doors", {label: subject_door})
    for account in (company.acme, company.bolt):
        TimelineEntryFactory(account=account, text=f"{account} renewed")
        TimelineEntryFactory(account=account, text=f"{account}, other", subject_type="other", subject_id=unseen.pk)
        for name, subject in (("seen", seen), ("unseen", unseen)):
            TimelineEntryFactory(account=account, text=f"{account}, {name}", subject_type=label, subject_id=subject.pk)

    def read_by(viewer: Any) -> set[str]:
        lines = TimelineEntry.objects.visible_to(viewer).filter(account__isnull=False)
        return set(lines.values_list("text", flat=True))

    acme = {"Acme renewed", "Acme, other", "Acme, seen", "Acme, unseen"}
    bolt = {"Bolt renewed", "Bolt, other", "Bolt, seen", "Bolt, unseen"}
    assert read_by(company.ada.user) == acme | bolt - {"Bolt, unseen"}
    assert read_by(company.bob.user) == bolt
    assert read_by(ApiTokenFactory(account_ids=[company.bolt.pk])) == bolt
    assert read_by(UserFactory(superuser=True)) == acme | bolt
    assert read_by(UserFactory()) == set()
    with django_assert_num_queries(1):
        read_by(company.ada.user)


def test_lines_of_the_vendors_own_are_for_the_team_and_those_of_tokens_for_few(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_row(table=PRODUCTS, values={"key": "nova", "name": "Nova"}, now=START, actor=company.ada.user)
    limited = ApiTokenFactory(name="Sync", account_ids=[company.bolt.pk])

    def read_by(viewer: Any) -> list[str]:
        lines = TimelineEntry.objects.visible_to(viewer).filter(account__isnull=True)
        return [line.text.split(" (")[0] for line in lines.order_by("pk")]

    assert read_by(UserFactory(superuser=True)) == ["Product Nova added", "API token Sync"]
    for member in (company.ada, company.bob, company.mona):
        assert read_by(member.user) == ["Product Nova added"]
    assert read_by(limited) == []
    assert read_by(UserFactory()) == []


def test_superusers_and_operations_see_everything(company: Company) -> None:
    everything = ["Acme", "Bolt", "Pool"]
    assert seen_by(UserFactory(superuser=True)) == everything
    user = UserFactory()
    user.user_permissions.add(Permission.objects.get(codename="view_everything"))
    assert seen_by(user) == everything


def test_a_token_sees_everything_or_its_accounts(company: Company) -> None:
    assert seen_by(ApiTokenFactory()) == ["Acme", "Bolt", "Pool"]
    assert seen_by(ApiTokenFactory(account_ids=[company.bolt.pk])) == ["Bolt"]


@pytest.mark.parametrize(
    ("model", "create"),
    [
        (AccountFacts, None),
        (AccountIdentity, None),
        (AccountTeam, None),
        (Champion, ChampionFactory),
        (Entitlement, EntitlementFactory),
        (Finding, FindingFactory),
        (FindingState, FindingFactory),
        (Movement, MovementFactory),
        (Qbr, QbrFactory),
        (TimelineEntry, TimelineEntryFactory),
    ],
)
def test_what_hangs_on_an_account_is_seen_by_who_sees_it(company: Company, model: Any, create: Any) -> None:
    if create is not None:
        for account in (company.acme, company.bolt):
            create(account=account)

    def accounts_of(viewer: Any) -> set[str]:
        rows = model.objects.visible_to(viewer)
        owners = [(row.finding if model is FindingState else row).account for row in rows]
        # Lines of the timeline about the vendor's own, such as its tokens, have no account.
        return {account.name for account in owners if account is not None} - {"Pool"}

    assert accounts_of(company.ada.user) == {"Acme"}
    assert accounts_of(company.mona.user) == {"Acme"}
    assert accounts_of(UserFactory()) == set()
    assert accounts_of(ApiTokenFactory(account_ids=[company.bolt.pk])) == {"Bolt"}
    assert accounts_of(UserFactory(superuser=True)) == {"Acme", "Bolt"}


def test_the_catalogue_is_seen_by_the_team_and_the_machinery_by_few(company: Company) -> None:
    product = ProductFactory()
    token = ApiTokenFactory()
    boss = UserFactory(superuser=True)
    assert product in Product.objects.visible_to(company.ada.user)
    assert product in Product.objects.visible_to(token)
    assert not Product.objects.visible_to(UserFactory()).exists()
    assert company.bob in TeamMember.objects.visible_to(company.ada.user)
    for machinery in (Change, ApiToken):
        assert machinery.objects.visible_to(boss).exists()
        for viewer in (company.ada.user, company.mona.user, UserFactory()):
            assert not machinery.objects.visible_to(viewer).exists()


def test_a_request_asks_once_who_somebody_is(company: Company, django_assert_num_queries: Any) -> None:
    user = company.mona.user
    # Permissions of the user and of their groups, the member, the tree of members; then the accounts alone.
    with django_assert_num_queries(5):
        assert len(seen_by(user)) == 2
    with django_assert_num_queries(1):
        assert len(seen_by(user)) == 2
