"""Factories of the room `accounts`: the smallest valid rows, for tests and the sample company.

Times are fixed (`START`), names are numbered, nothing is drawn by lot. Rows are written past the acts, so no
timeline is written and nobody is told; dated rows come with the change they need.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import factory
from django.conf import settings
from django.utils.text import slugify

from csplaybooks.accounts import models
from csplaybooks.accounts.acts.tokens import make_token

#: When the rows of factories begin to hold: a Monday morning, long enough ago to be past every onboarding
#: rule.
START = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)

PASSWORD = "password"


class UserFactory(factory.django.DjangoModelFactory):
    """A sign-in of the back office; its password is `PASSWORD` unless another is given."""

    class Meta:
        model = settings.AUTH_USER_MODEL
        django_get_or_create = ("username",)

    class Params:
        superuser = factory.Trait(is_superuser=True)

    username = factory.Sequence(lambda number: f"person-{number}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    is_staff = True
    password = factory.django.Password(PASSWORD)


class TeamMemberFactory(factory.django.DjangoModelFactory):
    """A customer success manager with a sign-in.

    Traits make an account executive (`ae`), a manager (`leads`, since `manager` is who they report to) or a
    digital desk (`desk`).
    """

    class Meta:
        model = models.TeamMember
        django_get_or_create = ("name",)

    class Params:
        ae = factory.Trait(is_customer_success_manager=False, is_account_executive=True)
        leads = factory.Trait(is_customer_success_manager=False, is_manager=True)
        desk = factory.Trait(is_customer_success_manager=False, is_digital_desk=True, takes_pool_work=False, user=None)

    name = factory.Sequence(lambda number: f"Member {number}")
    user = factory.SubFactory(UserFactory)
    email = factory.LazyAttribute(lambda member: f"{slugify(member.name)}@example.com")
    is_customer_success_manager = True
    updated_at = START


class AbsenceFactory(factory.django.DjangoModelFactory):
    """A week away, without a stand-in."""

    class Meta:
        model = models.Absence

    member = factory.SubFactory(TeamMemberFactory)
    first_day = date(2025, 8, 4)
    last_day = date(2025, 8, 8)
    updated_at = START


class BareAccountFactory(factory.django.DjangoModelFactory):
    """A customer company of which nothing is known but its name."""

    class Meta:
        model = models.Account

    name = factory.Sequence(lambda number: f"Company {number}")
    created_at = START
    updated_at = factory.SelfAttribute("created_at")


class ChangeFactory(factory.django.DjangoModelFactory):
    """A change that no run has taken note of."""

    class Meta:
        model = models.Change

    kind = "factory"
    account = factory.SubFactory(BareAccountFactory)
    recorded_at = START


class AccountIdentityFactory(factory.django.DjangoModelFactory):
    """The id by which the CRM knows an account: its name as a slug."""

    class Meta:
        model = models.AccountIdentity
        django_get_or_create = ("source", "external_id")

    account = factory.SubFactory(BareAccountFactory)
    source = "crm"
    external_id = factory.LazyAttribute(lambda identity: slugify(identity.account.name))


class AccountFactsFactory(factory.django.DjangoModelFactory):
    """What is true of a paying mid-market customer that is long past its onboarding."""

    class Meta:
        model = models.AccountFacts

    account = factory.SubFactory(BareAccountFactory)
    lifecycle = models.Lifecycle.PAYING
    segment = models.Segment.MID_MARKET
    region = "emea"
    customer_since = date(2025, 1, 6)
    activated_on = date(2025, 1, 20)
    head_count = 200
    valid_from = START
    change = factory.SubFactory(ChangeFactory, account=factory.SelfAttribute("..account"))


class AccountFactory(BareAccountFactory):
    """A paying mid-market customer, known to the CRM by the slug of its name.

    `identity=None` or `facts=None` leaves these out; `identity__external_id=...` and `facts__segment=...` set
    what `AccountIdentityFactory` and `AccountFactsFactory` take. `csm=...` and `ae=...` name who looks after
    it.
    """

    class Meta:
        skip_postgeneration_save = True

    identity = factory.RelatedFactory(AccountIdentityFactory, factory_related_name="account")
    facts = factory.RelatedFactory(
        AccountFactsFactory,
        factory_related_name="account",
        valid_from=factory.SelfAttribute("account.created_at"),
    )

    @factory.post_generation
    def csm(account: Any, create: bool, member: Any, **kwargs: Any) -> None:
        """The customer success manager of the account."""
        if create and member is not None:
            AccountTeamFactory(account=account, role=models.AccountTeam.Role.CSM, member=member, **kwargs)

    @factory.post_generation
    def ae(account: Any, create: bool, member: Any, **kwargs: Any) -> None:
        """The account executive of the account."""
        if create and member is not None:
            AccountTeamFactory(account=account, role=models.AccountTeam.Role.AE, member=member, **kwargs)


class AccountTeamFactory(factory.django.DjangoModelFactory):
    """A customer success manager who looks after an account."""

    class Meta:
        model = models.AccountTeam

    account = factory.SubFactory(AccountFactory)
    role = models.AccountTeam.Role.CSM
    member = factory.SubFactory(TeamMemberFactory)
    valid_from = factory.SelfAttribute("account.created_at")
    change = factory.SubFactory(ChangeFactory, account=factory.SelfAttribute("..account"))


class ProductFactory(factory.django.DjangoModelFactory):
    """A product sold beside the base product, at a monthly list price of 500.00."""

    class Meta:
        model = models.Product
        django_get_or_create = ("key",)

    class Params:
        base = factory.Trait(key="platform", name="Platform", is_base=True, list_price_minor=None)

    key = factory.Sequence(lambda number: f"product-{number}")
    name = factory.LazyAttribute(lambda product: product.key.replace("-", " ").capitalize())
    list_price_minor = 50_000
    updated_at = START


class PlanFactory(factory.django.DjangoModelFactory):
    """A plan of the base product, each next one a rank higher."""

    class Meta:
        model = models.Plan
        django_get_or_create = ("key",)

    product = factory.SubFactory(ProductFactory, base=True)
    key = factory.Sequence(lambda number: f"plan-{number}")
    name = factory.LazyAttribute(lambda plan: plan.key.replace("-", " ").capitalize())
    rank = factory.Sequence(lambda number: number + 1)
    price_minor = 100_000
    seat_price_minor = 2_500
    updated_at = START


class PlanLimitFactory(factory.django.DjangoModelFactory):
    """Twenty seats included in a plan; thousandths."""

    class Meta:
        model = models.PlanLimit

    plan = factory.SubFactory(PlanFactory)
    meter_key = "seats"
    limit_milli = 20_000
    valid_from = START
    change = factory.SubFactory(ChangeFactory, account=None)


class FeatureFactory(factory.django.DjangoModelFactory):
    """A feature of the base product that some plan opens."""

    class Meta:
        model = models.Feature
        django_get_or_create = ("key",)

    least_plan = factory.SubFactory(PlanFactory)
    product = factory.SelfAttribute("least_plan.product")
    key = factory.Sequence(lambda number: f"feature-{number}")
    name = factory.LazyAttribute(lambda feature: feature.key.replace("-", " ").capitalize())
    updated_at = START


class EntitlementFactory(factory.django.DjangoModelFactory):
    """Twenty seats of a plan of the base product, for 1,500.00 a month."""

    class Meta:
        model = models.Entitlement

    account = factory.SubFactory(AccountFactory)
    subscription = factory.Sequence(lambda number: f"line-{number}")
    plan = factory.SubFactory(PlanFactory)
    product = factory.LazyAttribute(
        lambda entitlement: ProductFactory() if entitlement.plan is None else entitlement.plan.product
    )
    quantity = 20
    mrr_minor = 150_000
    valid_from = factory.SelfAttribute("account.created_at")
    change = factory.SubFactory(ChangeFactory, account=factory.SelfAttribute("..account"))


class ChampionFactory(factory.django.DjangoModelFactory):
    """A champion at an account."""

    class Meta:
        model = models.Champion

    account = factory.SubFactory(AccountFactory)
    name = factory.Sequence(lambda number: f"Champion {number}")
    email = factory.LazyAttribute(lambda champion: f"{slugify(champion.name)}@example.org")
    title = "Head of Operations"
    updated_at = START


class ChampionChangeFactory(factory.django.DjangoModelFactory):
    """A champion who was promoted to the title they have."""

    class Meta:
        model = models.ChampionChange

    champion = factory.SubFactory(ChampionFactory)
    account = factory.SelfAttribute("champion.account")
    kind = models.ChampionChange.Kind.PROMOTED
    occurred_at = START
    old_title = "Team lead"
    new_title = factory.SelfAttribute("champion.title")
    old_role = factory.SelfAttribute("champion.role")
    new_role = factory.SelfAttribute("champion.role")
    change = factory.SubFactory(ChangeFactory, account=factory.SelfAttribute("..account"))


class QbrFactory(factory.django.DjangoModelFactory):
    """A business review, led by a customer success manager."""

    class Meta:
        model = models.Qbr

    account = factory.SubFactory(AccountFactory)
    held_at = START
    led_by = factory.SubFactory(TeamMemberFactory)
    summary = "Going well."
    updated_at = START


class FindingFactory(factory.django.DjangoModelFactory):
    """An open gap, raised by hand; `state=None` leaves its status out, `state__status=...` sets another."""

    class Meta:
        model = models.Finding
        skip_postgeneration_save = True

    account = factory.SubFactory(AccountFactory)
    kind = models.Finding.Kind.GAP
    text = "Reports are built by hand."
    updated_at = START
    state = factory.RelatedFactory("csplaybooks.accounts.factories.FindingStateFactory", factory_related_name="finding")


class FindingStateFactory(factory.django.DjangoModelFactory):
    """The open status of a finding."""

    class Meta:
        model = models.FindingState

    finding = factory.SubFactory(FindingFactory, state=None)
    status = models.FindingState.Status.OPEN
    valid_from = START
    change = factory.SubFactory(ChangeFactory, account=factory.SelfAttribute("..finding.account"))


class MovementFactory(factory.django.DjangoModelFactory):
    """A line of the ledger: 1,500.00 of new monthly recurring revenue."""

    class Meta:
        model = models.Movement
        django_get_or_create = ("source", "external_id")

    account = factory.SubFactory(AccountFactory)
    source = "billing"
    external_id = factory.Sequence(lambda number: f"movement-{number}")
    amount_minor = 150_000
    effective_on = date(2025, 1, 6)
    recorded_at = START


class TimelineEntryFactory(factory.django.DjangoModelFactory):
    """A line of an account's story."""

    class Meta:
        model = models.TimelineEntry

    account = factory.SubFactory(AccountFactory)
    at = START
    recorded_at = factory.SelfAttribute("at")
    kind = "note"
    text = "Something happened."
    actor_label = "system"


class ApiTokenFactory(factory.django.DjangoModelFactory):
    """A token with every scope. Its value, kept nowhere else, is on the instance as `value`."""

    class Meta:
        model = models.ApiToken

    name = factory.Sequence(lambda number: f"Integration {number}")
    scopes = factory.LazyFunction(lambda: list(models.ApiToken.SCOPES))
    created_at = START

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **kwargs: Any) -> Any:
        """A token comes with a secret value, so it is made by the act that makes them."""
        token: Any
        token, value = make_token(now=kwargs.pop("created_at"), actor=kwargs.pop("actor", None), **kwargs)
        token.value = value
        return token
