"""The drafts of mails to customers are written when their step begins; some go by themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from csplaybooks.accounts.ids import Ids
from csplaybooks.accounts.models import Account, AccountFacts, Champion, Lifecycle
from csplaybooks.playbooks.acts.drafts import put_on_their_way, tell_of, unready
from csplaybooks.playbooks.acts.notices import tell_unsent
from csplaybooks.playbooks.mail_texts import fill_in_body, fill_in_subject
from csplaybooks.playbooks.merge_values import letters_for
from csplaybooks.playbooks.models import MailDraft, Play, PlayStep, Touch
from csplaybooks.playbooks.route_rules import Routing
from csplaybooks.playbooks.step_texts import MAIL_ROLES


def write_drafts(steps: Sequence[PlayStep], now: datetime) -> list[MailDraft]:
    """Write the drafts of mail steps that have begun, and send those that go by themselves; constant queries.

    A mail goes to the first person with an address, in the order of roles that the step says, who has not left. One
    goes by itself where the step says so, nothing is left to mend, and its play is worked by the system: on a route
    that takes nobody's time, and after the first contact, unless the route leaves that to the system. To an account
    that has churned, or is there no more, none does. Whoever works the play is told of one that was to go by
    itself and cannot. In the caller's transaction, which has claimed the plays.
    """
    plays = {
        play.pk: play
        for play in Play.objects.filter(pk__in=[step.play_id for step in steps]).select_related(
            "account", "owner__user", "product", "playbook"
        )
    }
    to = _recipients(steps, plays)
    letters = letters_for(list(plays.values()), to, now)
    drafts = []
    for step in steps:
        mail, person = step.settings["mail"], to.get(step.play_id)
        drafts.append(
            MailDraft(
                play=plays[step.play_id],
                step=step,
                champion=person,
                to_address="" if person is None else person.email,
                subject=fill_in_subject(mail["subject"], letters[step.play_id]),
                body=fill_in_body(mail["body"], letters[step.play_id]),
                automatic=bool(mail.get("automatic")),
                written_at=now,
                updated_at=now,
            )
        )
    MailDraft.objects.bulk_create(drafts)
    by_itself = [draft for draft in drafts if draft.automatic]
    if by_itself:
        touched = set(
            Touch.objects.filter(play__in=[draft.play_id for draft in by_itself], direction=Touch.Direction.OUT)
            .order_by()
            .values_list("play", flat=True)
        )
        gone = _gone({draft.play.account for draft in by_itself}, now)
        meant = [draft for draft in by_itself if _goes_by_itself(draft.play, touched)]
        why = {draft.pk: _held(draft, gone) for draft in meant}
        held = {draft: said for draft in meant if (said := why[draft.pk]) is not None}
        for said in dict.fromkeys(held.values()):
            waiting = [draft for draft in held if held[draft] == said]
            tell_of(waiting, f"Mail waits for a person: {said}", now, None)
        suppressed = put_on_their_way([draft for draft in meant if why[draft.pk] is None], now, None)
        _tell_people(held | dict.fromkeys(suppressed, "the address is suppressed"), now)
    return drafts


def _held(draft: MailDraft, gone: set[int]) -> str | None:
    """Why a mail that is to go by itself waits for a person; None where it does not."""
    if draft.play.account_id in gone:
        return "the account has churned, or is there no more"
    return "nobody to write to" if draft.champion is None else unready(draft)


def _tell_people(held: Mapping[MailDraft, str], now: datetime) -> None:
    """Tell whoever works the plays of mails that were to go by themselves, and why they wait for a person."""
    tell_unsent(
        {
            f"draft:{draft.pk}:{draft.version}": (draft.play, f"A mail waits for a person, {why}: {draft.play}")
            for draft, why in held.items()
        },
        now=now,
    )


def _gone(accounts: Collection[Account], now: datetime) -> set[int]:
    """Those of the accounts that a person has to judge first whether to write to, by id. One query."""
    there = {account.pk for account in accounts if account.deleted_at is None and account.merged_into_id is None}
    facts = AccountFacts.objects.holding_at(now).filter(account__in=Ids(sorted(there)), lifecycle=Lifecycle.CHURNED)
    return {account.pk for account in accounts} - there | set(facts.order_by().values_list("account", flat=True))


def _goes_by_itself(play: Play, touched: set[int]) -> bool:
    routing = Routing.of_play(play)
    return not routing.route.counts_toward_load and (routing.first_touch == "system" or play.pk in touched)


def _recipients(steps: Sequence[PlayStep], plays: Mapping[int, Play]) -> dict[int, Champion]:
    """Whom each play's mail goes to, by play id; who has nobody with an address is left out. One query."""
    accounts = {play.account_id for play in plays.values()}
    people: dict[int, list[Champion]] = {}
    there = Champion.objects.filter(account__in=accounts, left_on__isnull=True).exclude(email="").order_by("pk")
    for person in there:
        people.setdefault(person.account_id, []).append(person)
    chosen = {}
    for step in steps:
        roles = list(step.settings["mail"].get("to", MAIL_ROLES))
        fitting = [person for person in people.get(plays[step.play_id].account_id, ()) if person.role in roles]
        if fitting:
            chosen[step.play_id] = min(fitting, key=lambda person: (roles.index(person.role), person.pk))
    return chosen
