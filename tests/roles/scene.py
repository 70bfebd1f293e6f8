"""A small company seen from each role's side: rows of one's own, of a colleague's, and of a team next door."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from csplaybooks.accounts.base import CatalogueQuerySet, OperationsQuerySet
from csplaybooks.accounts.factories import AccountTeamFactory, TeamMemberFactory, UserFactory
from csplaybooks.accounts.models import Account, AccountTeam
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks.acts.roles import make_groups
from csplaybooks.playbooks.models.notices import MembersOwnQuerySet
from csplaybooks.playbooks.roles import COLUMNS, grants
from tests.admin.rows import MAKERS, MODELS, make
from tests.meta.canary import mark

#: Whose rows there are. `own` is Carla's as CSM and Alex's as AE; Colin and Anna are their colleagues under Mona, the
#: manager; Olga and Oscar are led by somebody else.
SIDES = ("own", "colleague", "outside")

#: Rows that hang on no account: everybody's of the catalogue, and the machinery's.
ANY = "any"

#: The short names of the roles, and somebody with every right but no place in the team.
STRANGER = "stranger"
WHO: dict[str, Role | None] = {
    "csm": Role.CUSTOMER_SUCCESS_MANAGER,
    "ae": Role.ACCOUNT_EXECUTIVE,
    "manager": Role.MANAGER,
    "integrations": Role.INTEGRATION_ADMIN,
    "operations": Role.OPERATIONS,
    STRANGER: None,
}


def word_of(side: str) -> str:
    """What all texts of a side's rows say, so that it shows who reads them."""
    return f"canary{side}"


class Scene:
    """The people, and by table and side a row."""

    def __init__(self) -> None:
        make_groups()
        mona = TeamMemberFactory(name="Mona", leads=True)
        nora = TeamMemberFactory(name="Nora", leads=True)
        self.members = {
            "manager": mona,
            "csm": TeamMemberFactory(name="Carla", manager=mona),
            "ae": TeamMemberFactory(name="Alex", manager=mona, ae=True),
        }
        self.teams = {
            "own": (self.members["csm"], self.members["ae"]),
            "colleague": (
                TeamMemberFactory(name="Colin", manager=mona),
                TeamMemberFactory(name="Anna", manager=mona, ae=True),
            ),
            "outside": (
                TeamMemberFactory(name="Olga", manager=nora),
                TeamMemberFactory(name="Oscar", manager=nora, ae=True),
            ),
        }
        self.rows = {model: self._rows_of(model) for model in MODELS}

    def user(self, who: str) -> Any:
        """The user of a role, in its group alone; the stranger is in every group that does not see everything."""
        member = self.members.get(who)
        user = UserFactory(username=who) if member is None else member.user
        roles = [
            role
            for role in COLUMNS
            if role is WHO[who] or (who == STRANGER and "csplaybooks_accounts.view_everything" not in grants(role))
        ]
        user.groups.set(Group.objects.filter(name__in=[role.group for role in roles]))
        return user

    def _rows_of(self, model: type[models.Model]) -> dict[str, Any]:
        if isinstance(model._default_manager.all(), MembersOwnQuerySet):
            return {side: self._row_of_member(model, side) for side in SIDES}
        path = account_path(model)
        if path is None:
            return {ANY: make(model)[0]}
        rows = {}
        for side in SIDES:
            [row] = make(model)
            account_id = model._default_manager.filter(pk=row.pk).values_list(path, flat=True).get()
            self._care(account_id, *self.teams[side])
            mark(Q(pk=account_id), [Account], word_of(side))
            mark(Q(pk=row.pk), [model], word_of(side))
            rows[side] = row
        return rows

    def _row_of_member(self, model: type[models.Model], side: str) -> Any:
        """A row of the CSM of a side; it hangs on no account."""
        factory: Any = MAKERS[model]
        row = factory(member=self.teams[side][0])
        mark(Q(pk=row.pk), [model], word_of(side))
        return row

    @staticmethod
    def _care(account_id: int, csm: Any, ae: Any) -> None:
        """Give an account to a CSM and an AE."""
        account = Account.objects.get(pk=account_id)
        for role, member in ((AccountTeam.Role.CSM, csm), (AccountTeam.Role.AE, ae)):
            if not AccountTeam.objects.current().filter(account=account, role=role).update(member=member):
                AccountTeamFactory(account=account, role=role, member=member)


def account_path(model: type[models.Model]) -> str | None:
    """The way from a row to its account; None for what hangs on none."""
    rows: Any = model._default_manager.all()
    if isinstance(rows, CatalogueQuerySet | OperationsQuerySet):
        return None
    if model is Account:
        return "pk"
    return f"{rows.play_path}__account" if hasattr(rows, "play_path") else str(rows.account_path)
