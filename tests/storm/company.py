"""The company of the storm: who works there, whom it sells to, and by which playbooks."""

from __future__ import annotations

from datetime import datetime

from csplaybooks.accounts.acts.champions import NewChampion, add_champions
from csplaybooks.accounts.acts.groups import match_groups
from csplaybooks.accounts.factories import TeamMemberFactory
from csplaybooks.accounts.models import Account, TeamMember
from csplaybooks.playbooks.acts.calendars import WeekHours, make_calendar
from csplaybooks.playbooks.acts.recipes import apply_playbooks, set_playbook_active
from csplaybooks.playbooks.acts.suppressions import suppress
from csplaybooks.playbooks.models import Playbook
from csplaybooks.playbooks.pokes import pokes_silenced
from tests.crash.company import make_company
from tests.storm.playbooks import GATES, SEATS

#: How many look after customers, and sell; and how many plays each of them may carry at a time. There is less room for
#: plays than there are accounts with news, so that some wait for it.
MANAGERS, EXECUTIVES, CAP = 8, 5, 30

#: To every so many-th account no mail may go.
SUPPRESSED = 10

_DAY = 24 * 60


def make_storm_company(accounts: int, now: datetime) -> list[str]:
    """So many accounts, as external ids, each with somebody to write to; and the team with its sign-ins.

    Above everybody stands a head; CSMs and AEs each have a manager below it.
    """
    names = make_company(accounts, now, managers=MANAGERS, cap=CAP, segments=("small", "mid_market", "enterprise"))
    with pokes_silenced():
        head = TeamMemberFactory(name="Head", leads=True, takes_pool_work=False)
        leads = [
            TeamMemberFactory(name=name, leads=True, takes_pool_work=False, manager=head)
            for name in ("Manager of CSMs", "Manager of AEs")
        ]
        for number in range(EXECUTIVES):
            TeamMemberFactory(name=f"AE {number:02}", ae=True, open_play_cap=CAP, manager=leads[1])
        TeamMember.objects.filter(is_customer_success_manager=True).update(manager=leads[0])
        TeamMember.objects.filter(is_digital_desk=True).update(manager=head)
        users = TeamMember.objects.filter(user__isnull=False).values_list("user", flat=True)
        match_groups(user_ids=list(users), actor=None)

        rows = Account.objects.order_by("pk").values_list("pk", "name")
        add_champions(
            items=[NewChampion(account_id=pk, name=f"Ada of {name}", email=f"ada@{name}.example") for pk, name in rows],
            now=now,
            actor=None,
        )
        for name in names[::SUPPRESSED]:
            suppress(address=f"@{name}.example", now=now, actor=None)

        make_calendar(
            values={"key": "always", "name": "Always open", "zone": "Europe/Berlin", "is_default": False},
            week=[WeekHours(day, 0, _DAY) for day in range(7)],
            now=now,
            actor=None,
        )
        for pk in Playbook.objects.values_list("pk", flat=True):
            set_playbook_active(playbook_id=pk, active=False, now=now)
        apply_playbooks(texts={"seats": SEATS, "gates": GATES}, now=now)
    return names
