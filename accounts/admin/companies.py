"""Accounts, with their facts and team on one form; and the rows behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import capfirst

from csplaybooks.accounts.acts import (
    NewAccount,
    NewIdentity,
    add_identities,
    create_accounts,
    rename_account,
    set_facts,
    set_team_role,
)
from csplaybooks.accounts.admin.show import SUPERSEDED, DayField, MomentField, account_column, money
from csplaybooks.accounts.models import (
    Account,
    AccountFacts,
    AccountIdentity,
    AccountTeam,
    Champion,
    Entitlement,
    Lifecycle,
    Segment,
    TeamMember,
    TimelineEntry,
)
from csplaybooks.admin_base import (
    OPENED_VERSION,
    ActAdmin,
    BaseInline,
    Export,
    ReadOnlyAdmin,
    VersionedForm,
    added_in,
    by,
    link_to,
    moment,
    see_also,
    shown,
    table_of,
)

#: How many lines of its story an account's page shows.
LATEST = 20

_UNKNOWN = ("", "unknown")

#: How a list is asked for the accounts below another, or merged into it, as links do (`by`); the value is its id.
_LOOKUPS_OF_LINKS = ("parent__id__exact", "merged_into__id__exact")


def facts_now(account: Account) -> AccountFacts | None:
    """What is true of an account now, as its page has read it."""
    return next(iter(getattr(account, "facts_now", ())), None)


def member_now(account: Account, role: str) -> TeamMember | None:
    """Who has a role at an account now, as its page has read it."""
    team = getattr(account, "team_now", ())
    return next((row.member for row in team if row.role == role), None)


def _is_seen(account_id: str, request: HttpRequest) -> bool:
    """Whether this is the id of an account that the person may see; what is no id is none."""
    try:
        return bool(Account.objects.visible_to(request.user).filter(pk=account_id).exists())
    except ValueError:
        return False


def _fact_reader(name: str) -> Callable[[Account], Any]:
    """What tells one fact of an account that holds now."""

    def read(account: Account) -> Any:
        facts = facts_now(account)
        if facts is None:
            return None
        words = getattr(facts, f"get_{name}_display", None)
        value = words() if words else getattr(facts, name)
        return ", ".join(value) if isinstance(value, list) else value

    return read


def _label(name: str) -> str:
    """A fact's name as people write it."""
    fact: Any = AccountFacts._meta.get_field(name)
    return capfirst(str(fact.verbose_name))


def _fact(name: str) -> Any:
    """A column that shows one fact."""
    return shown(_label(name), _fact_reader(name))


class AccountForm(VersionedForm):
    """An account with what is true of it and who looks after it; both hold from one moment on."""

    lifecycle = forms.ChoiceField(choices=Lifecycle.choices, initial=Lifecycle.PAYING)
    segment = forms.ChoiceField(choices=[_UNKNOWN, *Segment.choices], required=False)
    region = forms.CharField(max_length=50, required=False)
    tags = forms.CharField(required=False, help_text="Words, separated by commas.")
    customer_since = DayField(required=False)
    activated_on = DayField(required=False)
    renewal_on = DayField(required=False)
    head_count = forms.IntegerField(min_value=0, max_value=10_000_000, required=False)
    csm = forms.ModelChoiceField(
        TeamMember.objects.none(), required=False, label=AccountTeam.Role.CSM.label, empty_label="nobody (pool)"
    )
    ae = forms.ModelChoiceField(
        TeamMember.objects.none(), required=False, label=AccountTeam.Role.AE.label, empty_label="nobody"
    )
    effective_at = MomentField(
        required=False, label="Holds from", help_text="Since when what you change here is so; empty: from now on."
    )

    class Meta:
        model = Account
        fields = ("name", "parent")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        facts = facts_now(self.instance)
        if facts is not None:
            self.initial.update({name: getattr(facts, name) for name in AccountFacts.FACTS})
            self.initial["tags"] = ", ".join(facts.tags)
        elif self.instance.pk is not None:
            self.initial["lifecycle"] = ""
            if "lifecycle" in self.fields:
                # The stubs know form fields by their base class only.
                self.fields["lifecycle"].choices = [_UNKNOWN, *Lifecycle.choices]  # type: ignore[attr-defined]
                self.fields["lifecycle"].required = False
        for role in AccountTeam.Role.values:
            if role in self.fields:
                holder = member_now(self.instance, role)
                choice = Q(is_active=True) | Q(pk=holder.pk if holder else None)
                # A member who left stays on the form until somebody else takes over.
                self.fields[role].queryset = TeamMember.objects.visible_to(self.viewer).filter(choice)  # type: ignore[attr-defined]  # as above
                self.initial[role] = holder.pk if holder else None

    def clean_tags(self) -> list[str]:
        """The words between the commas."""
        words = (word.strip() for word in self.cleaned_data["tags"].split(","))
        return list(dict.fromkeys(word for word in words if word))

    def facts(self, names: Sequence[str]) -> dict[str, Any]:
        """The facts on the form among `names`."""
        return {name: self.cleaned_data[name] for name in AccountFacts.FACTS if name in names}


class IdentityInline(BaseInline):
    """The ids by which other systems know an account; more can be added."""

    model = AccountIdentity
    addable = True
    fields = ("source", "external_id")


class HoldingInline(BaseInline):
    """What an account holds now."""

    model = Entitlement
    verbose_name_plural = "holds now"
    follows = ("product", "plan")
    fields = ("product", "plan", "quantity", "mrr", "term_months", "valid_from", "valid_to")
    readonly_fields = ("mrr",)
    mrr = shown("MRR", lambda row: money(row.mrr_minor))

    def get_queryset(self, request: HttpRequest) -> Any:
        """What holds now."""
        rows: Any = super().get_queryset(request)
        return rows.holding_at(timezone.now())


class ChampionInline(BaseInline):
    """The people at an account who matter."""

    model = Champion
    fields = ("name", "title", "role", "left_on")
    show_change_link = True


class FactFilter(admin.SimpleListFilter):
    """Accounts by a fact that holds now."""

    choices_of: type[Lifecycle] | type[Segment]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The values of the fact."""
        return [(value, str(label)) for value, label in self.choices_of.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The accounts of which it is true."""
        if self.value() is None:
            return None
        facts = AccountFacts.objects.holding_at(timezone.now()).filter(account=OuterRef("pk"))
        return queryset.filter(Exists(facts.filter(**{str(self.parameter_name): self.value()})))


class LifecycleFilter(FactFilter):
    """Accounts by where they stand with the vendor."""

    title = parameter_name = "lifecycle"
    choices_of = Lifecycle


class SegmentFilter(FactFilter):
    """Accounts by size."""

    title = parameter_name = "segment"
    choices_of = Segment


class MemberFilter(admin.SimpleListFilter):
    """Accounts by who looks after them."""

    title = "team member"
    parameter_name = "member"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The members that the person may see, and nobody."""
        members = TeamMember.objects.visible_to(request.user).active()
        named = [(str(member.pk), member.name) for member in members]
        return [("pool", "No CSM (pool)"), *named] if named else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The accounts in this member's care."""
        chosen = self.value()
        if chosen is None:
            return None
        team = AccountTeam.objects.current().filter(account=OuterRef("pk"))
        if chosen == "pool":
            return queryset.filter(~Exists(team.filter(role=AccountTeam.Role.CSM)))
        # No number that a database cannot take, and nobody out of sight.
        offered = chosen in dict(self.lookup_choices)
        return queryset.filter(Exists(team.filter(member=chosen))) if offered else queryset.none()


@admin.register(Account)
class AccountAdmin(Export, ActAdmin):
    """Customer companies."""

    form = AccountForm
    list_display = ("name", "lifecycle", "segment", "csm", "ae", "renewal_on")
    list_filter = (LifecycleFilter, SegmentFilter, MemberFilter)
    search_fields = ("name", "identities__external_id__exact")
    search_help_text = "A part of the name, or an external id."
    fixed_fields = ("parent_company", "merged", "deleted_at", "created_at", "story")
    autocomplete_fields = ("parent",)
    actions = ("export_csv",)
    inlines = (IdentityInline, HoldingInline, ChampionInline)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """No list tells whether an account that the person may not see is the parent of one that they see.

        So parents and mergers are asked for in the one spelling of the links, and by the id of an account in sight.
        """
        if lookup.split(LOOKUP_SEP, 1)[0] in ("parent", "parent_id", "merged_into", "merged_into_id"):
            return lookup in _LOOKUPS_OF_LINKS and request is not None and _is_seen(value, request)
        return super().lookup_allowed(lookup, value, request)

    lifecycle = _fact("lifecycle")
    segment = _fact("segment")
    region = _fact("region")
    tags = _fact("tags")
    customer_since = _fact("customer_since")
    activated_on = _fact("activated_on")
    renewal_on = _fact("renewal_on")
    head_count = _fact("head_count")
    csm = shown("CSM", lambda account: member_now(account, AccountTeam.Role.CSM))
    ae = shown("AE", lambda account: member_now(account, AccountTeam.Role.AE))
    effective_at = shown("Holds from", lambda account: getattr(facts_now(account), "valid_from", None))
    exports = (
        ("Id", lambda account: account.pk),
        ("Name", lambda account: account.name),
        *((_label(name), _fact_reader(name)) for name in AccountFacts.FACTS),
        ("CSM", lambda account: member_now(account, AccountTeam.Role.CSM)),
        ("AE", lambda account: member_now(account, AccountTeam.Role.AE)),
        ("Changed at", lambda account: account.updated_at),
    )
    # Only where the person may see them: who they are is not theirs to read otherwise.
    parent_company = shown("Parent", lambda account: link_to(getattr(account, "parent_seen", None)))
    merged = shown("Merged into", lambda account: link_to(getattr(account, "merged_into_seen", None)))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Accounts with facts, team, parent and merger of now; at most four queries more, whatever their number."""
        now = timezone.now()
        seen = Account.objects.visible_to(request.user)
        return (
            super()
            .get_queryset(request)
            .prefetch_related(
                Prefetch("parent", seen, to_attr="parent_seen"),
                Prefetch("merged_into", seen, to_attr="merged_into_seen"),
                Prefetch("facts", AccountFacts.objects.holding_at(now), to_attr="facts_now"),
                Prefetch("team", AccountTeam.objects.holding_at(now).select_related("member"), to_attr="team_now"),
            )
        )

    def layout(self, request: HttpRequest, obj: Any = None) -> Any:
        """One form for the account, its facts and its team; parentage is told when it is made."""
        parent = "parent" if obj is None else "parent_company"
        # The story is a table of its own, and not for everybody who looks after data.
        story = ["story"] if request.user.has_perm("csplaybooks_accounts.view_timelineentry") else []
        record = [("Record", {"fields": ["merged", "deleted_at", "created_at", *story]})]
        return [
            (None, {"fields": ["name", parent]}),
            ("Facts", {"fields": [*AccountFacts.FACTS]}),
            ("Team", {"fields": ["csm", "ae", "effective_at"]}),
            *([] if obj is None else record),
        ]

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """The account, with those lines of its story that the person may read; they are fetched when shown."""
        account: Any = super().get_object(request, *args, **kwargs)
        if account is not None:
            account.story_seen = TimelineEntry.objects.visible_to(request.user).filter(account=account)
        return account

    @admin.display(description="Latest events")
    def story(self, account: Any) -> Any:
        """The newest lines of its story."""
        entries = account.story_seen[:LATEST]
        return table_of(
            ("When", "What", "Who"), ((moment(entry.at), entry.text, entry.actor_label) for entry in entries)
        )

    def add_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Create the account, with its ids, facts and team."""
        since = form.cleaned_data["effective_at"] or now
        parent = form.cleaned_data["parent"]
        [account] = create_accounts(
            items=[
                NewAccount(
                    name=form.cleaned_data["name"],
                    identities=[(ids["source"], ids["external_id"]) for ids in _ids_in(formsets)],
                    facts=form.facts(AccountFacts.FACTS),
                    valid_from=since,
                    parent_id=None if parent is None else parent.pk,
                )
            ],
            now=now,
            actor=request.user,
        )
        self._set_team(request, form, account.pk, since, now)
        return account

    def change_by_act(self, request: HttpRequest, form: Any, formsets: list[Any], now: datetime) -> Any:
        """Write what was changed on the form, as of the moment that it names."""
        account: Account = form.instance
        since = form.cleaned_data["effective_at"] or now
        account = rename_account(
            account_id=account.pk,
            name=form.cleaned_data["name"],
            expected_version=form.cleaned_data[OPENED_VERSION],
            now=now,
            actor=request.user,
        )
        if facts := form.facts(form.changed_data):
            set_facts(account_ids=[account.pk], facts=facts, effective_at=since, now=now, actor=request.user)
        self._set_team(request, form, account.pk, since, now)
        add_identities(
            items=[NewIdentity(account_id=account.pk, **ids) for ids in _ids_in(formsets)],
            now=now,
            actor=request.user,
        )
        return account

    def _set_team(self, request: HttpRequest, form: Any, account_id: int, since: datetime, now: datetime) -> None:
        for role in AccountTeam.Role.values:
            if role in form.changed_data:
                member = form.cleaned_data[role]
                set_team_role(
                    account_ids=[account_id],
                    role=role,
                    member_id=None if member is None else member.pk,
                    effective_at=since,
                    now=now,
                    actor=request.user,
                )


def _ids_in(formsets: list[Any]) -> list[dict[str, str]]:
    """Source and external id of what was filled in on the inline."""
    return [{"source": row["source"], "external_id": row["external_id"]} for row in added_in(formsets, AccountIdentity)]


@admin.register(AccountIdentity)
class AccountIdentityAdmin(ReadOnlyAdmin):
    """The ids by which other systems know accounts; they are added on the account's page."""

    list_display = ("external_id", "source", "account_link")
    list_display_links = ("external_id",)
    follows = ("account",)
    search_fields = ("external_id__exact", "account__name")
    search_help_text = "A whole external id, or a part of the account's name."
    fields = ("account", "source", "external_id")
    account_link = account_column()


@admin.register(AccountFacts)
class AccountFactsAdmin(ReadOnlyAdmin):
    """What was true of accounts when, and until when we held it for true."""

    list_display = ("account_link", "lifecycle", "segment", "renewal_on", "valid_from", "valid_to", "superseded")
    list_display_links = ("lifecycle",)
    list_filter = ("lifecycle", "segment", SUPERSEDED)
    follows = ("account",)
    search_fields = ("account__name",)
    search_help_text = "A part of the account's name."
    account_link = account_column()
    fields = ("account", *AccountFacts.FACTS, "valid_from", "valid_to", "superseded")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


@admin.register(AccountTeam)
class AccountTeamAdmin(ReadOnlyAdmin):
    """Who looked after accounts when."""

    list_display = ("account_link", "role", "member", "valid_from", "valid_to", "superseded")
    list_display_links = ("role",)
    list_filter = ("role", "member", SUPERSEDED)
    follows = ("account", "member")
    search_fields = ("account__name", "member__name")
    search_help_text = "A part of the account's or the member's name."
    account_link = account_column()
    fields = ("account", "role", "member", "valid_from", "valid_to", "superseded")
    superseded = shown("Superseded", lambda row: row.superseded_by_id is not None, boolean=True)


see_also(Account, Account, by("parent"), "Subsidiaries")
see_also(Account, AccountFacts, by("account"), "Facts over time")
see_also(Account, AccountTeam, by("account"), "Team over time")
see_also(Account, Entitlement, by("account"), "Holdings over time")
see_also(TeamMember, AccountTeam, by("member"), "Their accounts, over time")
