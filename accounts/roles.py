"""The roles of people: each is a group of Django's, and some come with a place in the team.

What a role may do is told by `csplaybooks.playbooks.roles`, which knows the tables of all rooms. What its people see
is told by `visible_to`: a role says what may be done, never with whose rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Role(Enum):
    """A role; its value is the name of its group."""

    CUSTOMER_SUCCESS_MANAGER = "csplaybooks: customer success manager"
    ACCOUNT_EXECUTIVE = "csplaybooks: account executive"
    MANAGER = "csplaybooks: manager"
    INTEGRATION_ADMIN = "csplaybooks: integration admin"
    OPERATIONS = "csplaybooks: operations"

    @property
    def group(self) -> str:
        """The name of the role's group."""
        return self.value


#: The roles that come with a place in the team, by the column of `TeamMember` that says so. Who has the others is
#: told by their groups alone.
TEAM_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "is_customer_success_manager": Role.CUSTOMER_SUCCESS_MANAGER,
        "is_account_executive": Role.ACCOUNT_EXECUTIVE,
        "is_manager": Role.MANAGER,
    }
)
