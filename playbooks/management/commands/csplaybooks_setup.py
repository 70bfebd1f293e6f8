"""Make what a site needs before it can work; run it after every `migrate`, as often as you like."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from csplaybooks.playbooks.acts.roles import PermissionsMissing
from csplaybooks.playbooks.acts.setup import set_up
from csplaybooks.playbooks.document import DocumentError


class Command(BaseCommand):
    """See the module."""

    help = "Make roles, the default calendar, the starter catalogue and library, and schedules, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set up, and say what was made."""
        try:
            made = set_up(now=timezone.now())
        except (DocumentError, PermissionsMissing) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            # A table or a column that is not there; what else a database may say is told as it is.
            if not _is_behind():
                if isinstance(error, InterfaceError | OperationalError):
                    # Such as a server that does not answer.
                    said = " ".join(str(error).split())
                    raise CommandError(f"The database refused: {said}. See to it, then run this again.") from error
                raise
            raise CommandError("The tables are not up to date: run manage.py migrate first.") from error
        self.stdout.write(
            f"made: {made.groups} groups with {made.grants} permissions, {made.calendars} calendar, "
            f"{made.kinds} kinds of signal and meter, "
            f"{made.playbooks} playbooks, {made.schedules} schedules, "
            f"{made.weights} version{'' if made.weights == 1 else 's'} of the readiness weights"
        )
        if made.no_weights:
            self.stdout.write(
                self.style.WARNING(f"no readiness weights yet, publish some in the admin: {made.no_weights}")
            )
        for key, why in made.drafts:
            self.stdout.write(self.style.WARNING(f"left as a draft, to be published in the admin later: {key}: {why}"))


def _is_behind() -> bool:
    """Whether migrations are waiting to be run."""
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError:
        # Not even that can be asked: the first error tells more.
        return False
