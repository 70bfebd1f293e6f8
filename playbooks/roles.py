"""What each role may do: one table over all tables, from which `make_groups` makes the groups.

`v` is to view, `a` to add, `c` to change, `d` to delete: Django's own permissions, asked by the admin and, for people,
by the API. Words are permissions of our own, for what none of the four says. Which rows a person does it with is told
by `visible_to`.

What no role may have: to see or write Django's users, groups and permissions (whoever can write those has all
rights), or django-q2's schedules and tasks (whoever can write those runs any code). These stay with superusers. Only
integration admins write API tokens, and nobody hands out a token that may do more than they may themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.db.models import Model

from csplaybooks.accounts import models as who
from csplaybooks.accounts.roles import Role
from csplaybooks.playbooks import models as what
from csplaybooks.signals import models as events

#: The roles, in the order of the columns of `RIGHTS`.
COLUMNS = (
    Role.CUSTOMER_SUCCESS_MANAGER,
    Role.ACCOUNT_EXECUTIVE,
    Role.MANAGER,
    Role.INTEGRATION_ADMIN,
    Role.OPERATIONS,
)

#: To see the rows of everybody, and of the machinery.
_SEES = "v view_everything"

#: Every table, and what each role may do with it. CSMs and AEs work plays; managers also say who works them, look
#: after accounts, the team's hours and the catalogue, and tune playbooks. Integration admins see what other systems
#: tell us, what of it was refused, and what a token of theirs could read (plays too), but not what people wrote down
#: about customers; their own are kinds, meters and tokens. Operations see everything and put back what is stuck.
# fmt: off
RIGHTS: Mapping[type[Model], tuple[str, str, str, str, str]] = MappingProxyType({
    #                      CSM    AE     manager              integration  operations
    who.Absence:          ("v",   "v",   "vacd",              "",          "v"),
    who.Account:          ("v",   "v",   "vac",               _SEES,       _SEES),
    who.AccountFacts:     ("v",   "v",   "v",                 "v",         "v"),
    who.AccountIdentity:  ("v",   "v",   "va",                "v",         "v"),
    who.AccountTeam:      ("v",   "v",   "v",                 "v",         "v"),
    who.ApiToken:         ("",    "",    "",                  "vac",       "v"),
    who.Champion:         ("vac", "vac", "vac",               "",          "v"),
    who.ChampionChange:   ("v",   "v",   "v",                 "",          "v"),
    who.Change:           ("",    "",    "",                  "v",         "v"),
    who.Entitlement:      ("v",   "v",   "vac",               "v",         "v"),
    who.Feature:          ("v",   "v",   "vac",               "v",         "v"),
    who.Finding:          ("vac", "va",  "vac",               "",          "v"),
    who.FindingState:     ("v",   "v",   "v",                 "",          "v"),
    who.IdempotencyKey:   ("",    "",    "",                  "v",         "v"),
    who.Movement:         ("v",   "v",   "v",                 "v",         "v"),
    who.Plan:             ("v",   "v",   "vac",               "v",         "v"),
    who.PlanLimit:        ("v",   "v",   "v",                 "v",         "v"),
    who.Product:          ("v",   "v",   "vac",               "v",         "v"),
    who.Qbr:              ("vac", "v",   "vac",               "",          "v"),
    who.TeamMember:       ("v",   "v",   "vc",                "v",         "v"),
    who.TimelineEntry:    ("v",   "v",   "v",                 "",          "v"),

    events.IntakeBatch:   ("",    "",    "",                  "v",         "v"),
    events.IntakeDay:     ("",    "",    "",                  "v",         "v"),
    events.Meter:         ("v",   "v",   "v",                 "vacd",      "v"),
    events.PrunedDay:     ("",    "",    "",                  "v",         "v"),
    events.ReadinessWeights: ("v", "v",  "va",                "v",         "v"),
    events.Reading:       ("v",   "v",   "v",                 "va",        "v"),
    events.ReadingDay:    ("v",   "v",   "v",                 "v",         "v"),
    events.RefusedItem:   ("",    "",    "",                  "v",         "v"),
    events.ScoreSnapshot: ("v",   "v",   "v",                 "v",         "v"),
    events.Signal:        ("v",   "v",   "v",                 "va",        "v"),
    events.SignalDay:     ("v",   "v",   "v",                 "v",         "v"),
    events.SignalType:    ("v",   "v",   "v",                 "vacd",      "v"),
    events.Source:        ("v",   "v",   "v",                 "v",         "v"),

    what.Calendar:        ("v",   "v",   "vac",               "",          "v"),
    what.CalendarBlock:   ("v",   "v",   "vacd",              "",          "v"),
    what.CalendarDay:     ("v",   "v",   "vacd",              "",          "v"),
    what.CalendarUse:     ("v",   "v",   "vacd",              "",          "v"),
    what.Clock:           ("v",   "v",   "v excuse",          "",          "v"),
    what.ClockEvent:      ("v",   "v",   "v",                 "",          "v"),
    what.Credit:          ("v",   "v",   "v",                 "",          "v"),
    what.Delivery:        ("",    "",    "",                  "",          "v retry"),
    what.Handoff:         ("v",   "v",   "v",                 "",          "v"),
    what.HolidayImport:   ("v",   "v",   "vad",               "",          "v"),
    what.Interval:        ("v",   "v",   "v",                 "",          "v"),
    what.Lease:           ("",    "",    "",                  "",          "v"),
    what.MailDraft:       ("vc send", "vc send", "vc send",  "",          ""),
    what.Match:           ("v",   "v",   "v retry",           "v",         "v retry"),
    what.MatchStep:       ("v",   "v",   "v",                 "v",         "v"),
    what.Notice:          ("v",   "v",   "v",                 "",          "v"),
    what.NoticeSettings:  ("vac", "vac", "vac",               "",          "v"),
    what.Pause:           ("v",   "v",   "v",                 "",          "v"),
    what.Play:            ("vac", "vac", "vac assign retry",  "v",         "v retry"),
    what.PlayMatch:       ("v",   "v",   "v",                 "v",         "v"),
    what.PlayStep:        ("v",   "v",   "v",                 "",          "v"),
    what.Playbook:        ("v",   "v",   "vac publish",       "v",         "v"),
    what.PlaybookVersion: ("v",   "v",   "v",                 "v",         "v"),
    what.Round:           ("",    "",    "",                  "",          "v"),
    what.Run:             ("",    "",    "",                  "v",         "v"),
    what.Suppression:     ("va",  "va",  "vacd",              "",          "v"),
    what.Touch:           ("v",   "v",   "v",                 "",          "v"),
    what.Trigger:         ("v",   "v",   "v",                 "v",         "v"),
})
# fmt: on

#: What a release gave to a role and a later one took away, such as ("csplaybooks_playbooks.add_play", the release):
#: it is taken out of the groups again. What was never ours to give is left where a site's people put it.
WITHDRAWN: Mapping[Role, Mapping[str, str]] = MappingProxyType({})

_LETTERS = {"v": "view", "a": "add", "c": "change", "d": "delete"}


def grants(role: Role) -> frozenset[str]:
    """The full names of the permissions of a role, such as `csplaybooks_accounts.view_account`."""
    column = COLUMNS.index(role)
    return frozenset(
        f"{model._meta.app_label}.{codename}"
        for model, rights in RIGHTS.items()
        for codename in _codenames(model, rights[column])
    )


def _codenames(model: type[Model], rights: str) -> list[str]:
    """What stands in a cell of `RIGHTS`: of plays, `vc assign` is view_play, change_play and assign_play."""
    letters, *words = rights.split(" ")
    verbs = [*(_LETTERS[letter] for letter in letters), *words]
    return [verb if "_" in verb else f"{verb}_{model._meta.model_name}" for verb in verbs]
