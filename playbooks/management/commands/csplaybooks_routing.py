"""Ask the routing about an account, or about all open plays; nothing is written."""

from __future__ import annotations

import csv
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from csplaybooks.accounts.models import Account
from csplaybooks.admin_base.export import cell
from csplaybooks.api.problems import Problem
from csplaybooks.playbooks.document import DocumentError
from csplaybooks.playbooks.management.pipes import CUT_SHORT, let_go
from csplaybooks.playbooks.models import Play, Playbook, Route
from csplaybooks.playbooks.routing import DryRun, compare, dry_runs, recipes_of
from csplaybooks.signals.api_queries import account_named


class Command(BaseCommand):
    """See the module; the wall clock is read here alone."""

    help = (
        "Show which route plays take, whose they are and why: for one account with --account, or else for all open "
        "plays, with a list of those that the routing would give to somebody else now. Reads only."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What is asked about, and how it is told."""
        parser.add_argument("--playbook", metavar="KEY", help="This playbook alone (default: all that run).")
        parser.add_argument("--draft", action="store_true", help="With --playbook: its draft, not what runs.")
        parser.add_argument(
            "--account", metavar="ID", help="An account: its number, or an external id, also as source:id."
        )
        parser.add_argument("--ceiling", choices=Route.values, help="With --account: the highest route allowed.")
        parser.add_argument("--csv", action="store_true", help="The plays that differ as CSV.")
        parser.add_argument("--json", action="store_true", help="With --account: everything, as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the playbooks, then tell of the account or of the plays."""
        try:
            self._go(options)
            self.stdout.flush()
        except BrokenPipeError:
            let_go(self.stdout)
            sys.exit(CUT_SHORT)

    def _go(self, options: dict[str, Any]) -> None:
        if options["draft"] and not options["playbook"]:
            raise CommandError("--draft needs --playbook.")
        playbooks = list(self._playbooks(options["playbook"]))
        try:
            recipes = recipes_of(playbooks, draft=options["draft"])
        except DocumentError as error:
            raise CommandError(f"The draft of {options['playbook']}: {error}") from error
        if options["playbook"] and not recipes:
            raise CommandError(f"The playbook {options['playbook']} was never published: ask with --draft.")
        now = timezone.now()
        if options["account"]:
            account = _account(options["account"])
            runs = dry_runs(account.pk, recipes, now=now, ceiling=options["ceiling"] or "")
            if options["json"]:
                self.stdout.write(json.dumps([run.as_json() for run in runs], indent=2))
                return
            self.stdout.write(f"{account}")
            for run in runs:
                self._tell(run)
            return
        plays = Play.objects.all()
        documents = {}
        if options["playbook"]:
            plays = plays.filter(playbook=playbooks[0])
            documents = {playbooks[0].pk: recipes[0].document}
        found = compare(plays, now=now, documents=documents)
        lines = [
            (
                *(each.play_id, each.account, each.playbook, each.route.value, each.route_then.value),
                *(each.owner or "nobody", each.owner_then or "nobody", each.why),
            )
            for each in found.differences
        ]
        if options["csv"]:
            writer = csv.writer(self.stdout)
            writer.writerow(("play", "account", "playbook", "route", "route_then", "owner", "owner_then", "why"))
            writer.writerows([[cell(value) for value in line] for line in lines])
            return
        self.stdout.write(f"{found.plays:,} open plays: {found.same:,} as routed, {len(lines):,} differ")
        for name, (before, then) in found.owners.items():
            self.stdout.write(f"  {name or 'nobody'}: {before:,} now, {then:,} then")
        for play_id, account_name, playbook, route, route_then, owner, owner_then, why in lines:
            way = route if route == route_then else f"{route} → {route_then}"
            whose = owner if owner == owner_then else f"{owner} → {owner_then}"
            self.stdout.write(f"  play {play_id}, {playbook} at {account_name}: {way}; {whose} ({why})")

    def _playbooks(self, key: str | None) -> Any:
        playbooks = Playbook.objects.select_related("published").order_by("name", "pk")
        if key is None:
            return playbooks.filter(is_active=True)
        playbooks = playbooks.filter(key=key)
        if not playbooks.exists():
            raise CommandError(f"There is no playbook {key}.")
        return playbooks

    def _tell(self, run: DryRun) -> None:
        write = self.stdout.write
        whose = f"{run.owner}: {run.why}" if run.owner_id is not None else f"the tray: {run.why}"
        write(f"{run.recipe.name} ({run.recipe.key}): {run.routing.route.label}; {whose}")
        for rule in run.rules:
            write(f"  rule {rule.number}, {rule.route.label}: {rule.why}")
        for each in run.passed:
            write(f"  not {each.name}, {each.part}: {each.why}")
        if run.offered:
            write(f"  offered to {run.offer_to or 'nobody'}: {run.offer_why}")
            for each in run.offer_passed:
                write(f"  not offered to {each.name}, {each.part}: {each.why}")


def _account(text: str) -> Account:
    """The account of a number, or of an external id, with its source or without. Raises CommandError."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        there = Account.objects.filter(deleted_at__isnull=True, merged_into__isnull=True)
        account: Account | None = there.filter(pk=int(text)).first()
        if account is not None:
            return account
    try:
        called: Account = Account.objects.get(pk=account_named(None, text, None))
    except Problem as problem:
        if problem.code != "unknown_account":
            raise CommandError(f"{problem.message} Give it as source:id.") from problem
        raise CommandError(
            f"There is no account {text}: give its number, or its external id, also as source:id."
        ) from problem
    return called
