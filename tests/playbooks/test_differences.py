"""The difference between two documents in words: nothing is left out, nothing is made up, and it reads well."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csplaybooks.playbooks.acts.recipes import LIBRARY
from csplaybooks.playbooks.differences import differences
from csplaybooks.playbooks.differences.matching import MOST_COMPARED, exact, moved, pairs, shared
from csplaybooks.playbooks.differences.words import shown
from csplaybooks.playbooks.document import read_document
from csplaybooks.playbooks.measures.base import COMPARISONS

pytestmark = pytest.mark.any_database

TEXT = """\
key: gates
name: Gates
motion: tier_upsell
summary: Somebody knocks.
audience: {segments: [small, mid_market], tags: [vip]}
triggers:
  - key: knocks
    cooldown_days: 60
    any:
      - all:
          - {measure: signal_count, signal_type: feature_gate_hit, window_days: 7, at_least: 3}
          - {measure: share_of_limit, meters: [seats, api_calls], above: 70}
      - all:
          - {measure: open_gap}
  - key: grows
    any:
      - all:
          - {measure: growth, signal_type: user_added, window_days: 30, above: 50, properties: {role: admin}}
          - {measure: level_change, meter: health, window_days: 14, at_most: -10}
guards:
  onboarding: {days: 45}
  black_out: {days: [{from: 2026-12-24, to: 2027-01-01}, {from: 2027-07-01, to: 2027-07-14}]}
amount: {rule: seats_over, meters: [seats], bands: [{from_seats: 10, discount_percent: 5}]}
routes:
  - when: {segments: [small]}
    route: csm
  - when: {segments: [enterprise], amount_at_least_minor: 500000}
    route: sales
  - route: email
expires_days: 84
targets:
  - {target: first_touch, hours: 16}
  - {target: closed, hours: 1008, counting: wall, routes: [csm, sales]}
steps:
  - {kind: task, text: See which gated features they tried.}
  - {kind: trial, text: Offer a trial of the feature they tried most.}
  - {kind: mail, text: Lay the next tier beside theirs.}
talk_track: What were they after?
"""
DOCUMENT = read_document(TEXT)


def told(change: Callable[[Any], Any]) -> list[str]:
    """What is said of the document after `change` did something to it."""
    after = copy.deepcopy(DOCUMENT)
    change(after)
    return [difference.words for difference in differences(DOCUMENT, after)]


def put(path: str, value: Any) -> Callable[[Any], None]:
    """Put a value at a path."""

    def change(document: Any) -> None:
        *parents, last = path.split("/")
        part = document
        for name in parents:
            part = part[int(name) if isinstance(part, list) else name]
        part[int(last) if isinstance(part, list) else last] = value

    return change


def take(path: str, to: int | None = None) -> Callable[[Any], None]:
    """Take an entry out of its list, and put it back at another place, if any."""

    def change(document: Any) -> None:
        parent, _, place = path.rpartition("/")
        entries = at(document, parent)
        entry = entries.pop(int(place))
        if to is not None:
            entries.insert(to, entry)

    return change


def at(document: Any, path: str) -> Any:
    """What stands at a path; KeyError or IndexError where nothing does."""
    for name in path.split("/") if path else ():
        document = document[int(name) if isinstance(document, list) else name]
    return document


FIRST = "triggers/0/any/0/all/0"
SIGNAL = "Trigger “knocks”, group 1, signal count (feature_gate_hit)"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (put(f"{FIRST}/at_least", 4), [f"{SIGNAL}: at least 3 → at least 4 times"]),
        (put(f"{FIRST}/at_least", 1), [f"{SIGNAL}: at least 3 → at least 1 time"]),
        (put(f"{FIRST}/window_days", 14), [f"{SIGNAL}: window 7 → 14 days"]),
        (put(f"{FIRST}/window_days", 1), [f"{SIGNAL}: window 7 → 1 day"]),
        (
            put("triggers/0/any/0/all/1", {"measure": "share_of_limit", "meters": ["seats"], "at_least": 70}),
            [
                "Trigger “knocks”, group 1, share of limit (seats, api_calls): above 70 → at least 70 %",
                "Trigger “knocks”, group 1, share of limit (seats, api_calls): meters seats, api_calls → seats",
            ],
        ),
        (
            put("triggers/1/any/0/all/0/properties", {"role": "owner", "sso": True}),
            [
                "Trigger “grows”, growth (user_added), properties: role admin → owner",
                "Trigger “grows”, growth (user_added), properties: sso not set → true",
            ],
        ),
        (put("triggers/0/cooldown_days", 30), ["Trigger “knocks”: cooldown 60 → 30 days"]),
        (put("triggers/0/strength", "moderate"), ["Trigger “knocks”: strength strong → moderate"]),
        (
            take("triggers/0/any/0/all/0"),
            [
                "Trigger “knocks”, group 1: condition removed: signal count (feature_gate_hit), at least 3 times, "
                "window 7 days"
            ],
        ),
        (
            put("triggers/0/any/1/all/0", {"measure": "tenure", "since": "activated_on", "at_least": 30}),
            [
                "Trigger “knocks”: group removed: open gap",
                "Trigger “knocks”: group added: tenure (activated_on), at least 30 days",
            ],
        ),
        (take("triggers/0/any/0", to=1), ["Trigger “knocks”, group 2 moved from place 2 to 1"]),
        (take("triggers/0", to=1), ["Trigger “grows” moved from place 2 to 1"]),
        (
            take("triggers/1"),
            [
                "Trigger removed: “grows”, strong, cooldown 30 days: when growth (user_added), above 50 %, window 30 "
                "days, properties (role admin) and level change (health), at most -10, window 14 days"
            ],
        ),
        (put("guards/onboarding/days", 30), ["Guard onboarding: days 45 → 30"]),
        (put("guards/tenure", "off"), ["Guard tenure switched off"]),
        (take("guards/black_out/days/0"), ["Guard black out: days removed: from 2026-12-24, to 2027-01-01"]),
        (put("guards/black_out/days/1/to", "2027-07-20"), ["Guard black out, days 2: to 2027-07-14 → 2027-07-20"]),
        (put("audience/segments", ["small"]), ["Audience: segments small, mid_market → small"]),
        (put("audience/regions", ["emea"]), ["Audience: regions any → emea"]),
        (put("amount", {"rule": "fixed", "amount_minor": 900}), [
            "Amount: seats over (bands (discount 5 %, from seats 10), meters seats) → fixed (amount 900 minor units)"
        ]),
        (put("amount/bands/0/discount_percent", 7), ["Amount, bands 1: discount 5 → 7 %"]),
        (put("routes/2/route", "csm"), ["Route for the rest: route email → csm"]),
        (put("routes/0/when/segments", ["small", "mid_market"]), [
            "Route for segments small: segments small → small, mid_market"
        ]),
        (take("routes/0", to=1), [
            "Route for amount at least 500000 minor units, segments enterprise moved from place 2 to 1"
        ]),
        (put("targets/0/hours", 8), ["Target first touch: hours 16 → 8"]),
        (put("targets/1/warn_percents", [50, 90]), ["Target closed of csm, sales: warn 50, 80 → 50, 90 %"]),
        (put("expires_days", 90), ["Plays expire after 84 → 90 days"]),
        (put("expires_days", 1), ["Plays expire after 84 → 1 day"]),
        (lambda document: document.pop("expires_days"), ["Plays expire after 84 days → not set"]),
        (put("name", "All gates"), ["Name: Gates → “All gates”"]),
        (put("talk_track", "What did your team try to do when the page said no to them? Tell."), [
            "The talk track was reworded"
        ]),
        (put("summary", ""), ["The summary was taken out"]),
        (put("steps/1/text", "Offer a trial of the feature that they tried most often."), [
            "Step 2 (trial): text “Offer a trial of the feature they tried most.” → “Offer a trial of the feature that "
            "they tried most often.”"
        ]),
        (put("steps/1/kind", "task"), ["Step 2 (trial): kind trial → task"]),
        (take("steps/2", to=0), ["Step 3 (mail) moved from place 3 to 1"]),
        (take("steps/0"), ["Step removed: task “See which gated features they tried.”"]),
    ],
)  # fmt: skip
def test_a_change_is_told_as_people_say_it(change: Callable[[Any], None], lines: list[str]) -> None:
    assert told(change) == lines


def test_what_nobody_knew_is_told_by_its_name() -> None:
    def change(document: Any) -> None:
        document["queue_days"] = 21
        document["mood"] = {"colours": [{"name": "red"}], "at": None}
        document["guards"]["of_a_host"] = {"weeks": 2}
        document["guards"]["gone_since"] = "off"
        document["triggers"][0]["any"][0]["all"][0] = {"measure": "of_a_host", "planets": ["mars"], "below": 2.5}

    assert told(change) == [
        "Trigger “knocks”, group 1: condition removed: signal count (feature_gate_hit), at least 3 times, "
        "window 7 days",
        "Trigger “knocks”, group 1: condition added: of a host, below 2.5, planets mars",
        "Guard gone since added, switched off",
        "Guard of a host added, with weeks 2",
        f"Matches wait in the queue for {DOCUMENT['queue_days']} → 21 days",
        "Mood: not set → (at null, colours (name red))",
    ]
    before, after = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    before["guards"] |= {"of_a_host": {"weeks": 2}, "another": "off"}
    after["guards"] |= {"of_a_host": {"weeks": 3}}
    assert [difference.words for difference in differences(before, after)] == [
        "Guard another is not asked any more",
        "Guard of a host: weeks 2 → 3",
    ]
    assert [difference.words for difference in differences(before | {"guards": {"tenure": "off"}}, DOCUMENT)][4] == (
        "Guard tenure switched on, with light from 30, proactive from 90, strategic from 180"
    )


def test_several_thresholds_of_a_host_s_measure_are_told_one_by_one() -> None:
    """Only where there is one is it told as a comparison."""
    before, after = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    before["triggers"][1]["any"][0]["all"] = [{"measure": "between", "at_least": 3}]
    after["triggers"][1]["any"][0]["all"] = [{"measure": "between", "at_least": 3, "below": 9}]
    assert [difference.words for difference in differences(before, after)] == [
        "Trigger “grows”, between: below not set → 9"
    ]


def test_two_conditions_that_are_called_the_same_are_told_apart_by_their_place() -> None:
    before = copy.deepcopy(DOCUMENT)
    count = before["triggers"][0]["any"][0]["all"][0]
    before["triggers"][0]["any"] = [{"all": [count, count | {"window_days": 30, "at_least": 20}]}]
    after = copy.deepcopy(before)
    after["triggers"][0]["any"][0]["all"][1]["at_least"] = 25
    assert [difference.words for difference in differences(before, after)] == [
        "Trigger “knocks”, condition 2, signal count (feature_gate_hit): at least 20 → at least 25 times"
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (1, True, "1 → true"),
        ("1", 1, "“1” → 1"),
        ("true", True, "“true” → true"),
        ("none", [], "“none” → none"),
        ("a", "a ", "a → “a ”"),
        ("a\x1b[2J", "b", "the role was reworded"),
        (["a"], ["a, b"], "a → “a, b”"),
        ([["x"]], ["x"], "the role was changed"),
        (0.1, 0.25, "0.1 → 0.25"),
    ],
)
def test_values_that_differ_are_shown_differently(before: Any, after: Any, words: str) -> None:
    path = "triggers/1/any/0/all/0/properties/role"
    documents = [copy.deepcopy(DOCUMENT) for _ in range(2)]
    for document, value in zip(documents, (before, after), strict=True):
        put(path, value)(document)
    (difference,) = differences(*documents)
    assert difference.words.endswith(words)
    assert difference.words.isprintable()


def test_numbers_that_are_equal_are_no_difference() -> None:
    assert told(put("targets/0/hours", 16.0)) == []


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all single values."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from leaves(inner, f"{path}/{name}".lstrip("/"))
    else:
        yield path


@pytest.mark.parametrize("path", list(leaves(DOCUMENT)))
def test_each_value_of_a_document_is_told_when_it_changes_and_nothing_else_is(path: str) -> None:
    after = copy.deepcopy(DOCUMENT)
    old = at(DOCUMENT, path)
    put(path, old + 1 if type(old) in (int, float) else not old if isinstance(old, bool) else "another")(after)
    found = differences(DOCUMENT, after)
    assert found
    for difference in found:
        for side in (difference.before, difference.after):
            assert side is None or f"{path}/".startswith(f"{side}/")


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_playbook_of_the_library_differs_from_each_other_one_and_not_from_itself(file: Any) -> None:
    document = read_document(file.read_text(encoding="utf-8"))
    assert differences(document, copy.deepcopy(document)) == []
    assert differences(document, DOCUMENT)


# Any two documents

_KEYS = st.sampled_from(["seats", "api_calls", "a b", "1", "none", "", "x" * 90, "a\nb"])
_NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([0.5, 1.0, 10**12]), st.booleans())
_JSON = st.recursive(
    st.one_of(st.none(), _NUMBERS, _KEYS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc_"), inner, max_size=3)),
    max_leaves=6,
)
_CONDITIONS = st.fixed_dictionaries(
    {"measure": st.sampled_from(["signal_count", "share_of_limit", "of_a_host", "season"])},
    optional={
        "signal_type": st.sampled_from(["login", "invite"]),
        "meters": st.lists(_KEYS, min_size=1, max_size=2),
        "window_days": st.sampled_from([7, 14]),
        "at_least": _NUMBERS,
        "below": _NUMBERS,
        "properties": st.dictionaries(_KEYS, _NUMBERS, max_size=2),
        "orbit": _JSON,
    },
)


def _some(entries: Any, size: int = 3) -> Any:
    return st.lists(entries, min_size=1, max_size=size)


_TRIGGERS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["a", "b", "c"]),
            "strength": st.sampled_from(["strong", "weak"]),
            "any": _some(st.fixed_dictionaries({"all": _some(_CONDITIONS)})),
        },
        optional={"cooldown_days": st.sampled_from([30, 60]), "notes": _JSON},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda trigger: trigger["key"],
)
_WHEN = {"when": st.fixed_dictionaries({}, optional={"segments": _some(_KEYS, 2), "amount_below_minor": _NUMBERS})}
_TEXTS = st.sampled_from(["See who it is.", "See who it was.", "Write.", "", "word " * 40, "word " * 41])
DOCUMENTS = st.fixed_dictionaries(
    {
        "key": st.just("k"),
        "triggers": _TRIGGERS,
        "audience": st.dictionaries(st.sampled_from(["segments", "tags"]), _some(_KEYS, 2)),
        "guards": st.dictionaries(
            st.sampled_from(["gone", "tenure", "of_a_host"]),
            st.one_of(st.just("off"), st.dictionaries(st.sampled_from(["days", "below"]), _NUMBERS)),
        ),
        "amount": st.one_of(
            st.just({"rule": "next_plan"}), st.fixed_dictionaries({"rule": _KEYS, "percent": _NUMBERS})
        ),
        "routes": _some(st.fixed_dictionaries({"route": st.sampled_from(["csm", "email"])}, optional=_WHEN)),
        "targets": _some(
            st.fixed_dictionaries({"target": st.sampled_from(["closed", "first_touch"]), "hours": _NUMBERS}), 2
        ),
        "steps": st.lists(
            st.fixed_dictionaries({"kind": st.sampled_from(["task", "mail"]), "text": _TEXTS}), max_size=4
        ),
        "talk_track": _TEXTS,
    },
    optional={"prompt": _JSON, "of_tomorrow": _JSON, "queue_days": _NUMBERS},
)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same with the names of all mappings in another order."""
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(inner, order) for inner in value] if isinstance(value, list) else value


@given(document=DOCUMENTS, order=st.randoms(use_true_random=False))
def test_documents_that_mean_the_same_have_no_difference(document: Any, order: random.Random) -> None:
    assert differences(document, shuffled(document, order)) == []


@given(before=DOCUMENTS, after=DOCUMENTS, order=st.randoms(use_true_random=False))
def test_each_line_is_a_true_change_and_two_documents_that_differ_have_one(
    before: Any, after: Any, order: random.Random
) -> None:
    found = differences(before, after)
    assert bool(found) == (exact(before) != exact(after))
    assert differences(shuffled(before, order), shuffled(after, order)) == found
    for difference in found:
        assert difference.words.strip()
        assert difference.words.isprintable()
        assert (difference.before, difference.after) != (None, None)
        ours = None if difference.before is None else at(before, difference.before)
        theirs = None if difference.after is None else at(after, difference.after)
        if " moved from place " in difference.words:
            assert difference.before != difference.after
        elif difference.before is not None and difference.after is not None:
            # "At least 0" is not "below 0": there the number is the same, and its name is another.
            sides = [
                (name if (name := path.rpartition("/")[2]) in COMPARISONS else "", exact(value))
                for path, value in ((difference.before, ours), (difference.after, theirs))
            ]
            assert sides[0] != sides[1]
            left, arrow, right = difference.words.partition(" → ")
            assert not arrow or left != right


@given(document=DOCUMENTS, data=st.data())
def test_a_new_entry_is_one_line(document: Any, data: st.DataObject) -> None:
    """Lists are not compared place by place: what stands after the new entry is not told as changed."""
    name, entry = data.draw(
        st.sampled_from(
            [
                ("triggers", {"key": "new", "strength": "weak", "any": [{"all": [{"measure": "open_gap"}]}]}),
                ("routes", {"route": "self_serve", "when": {"regions": ["new"]}}),
                ("targets", {"target": "handoff_accepted", "hours": 5}),
                ("steps", {"kind": "trial", "text": "Nothing like it."}),
            ]
        )
    )
    after = copy.deepcopy(document)
    place = data.draw(st.integers(0, len(after[name])))
    after[name].insert(place, entry)
    (difference,) = differences(document, after)
    assert (difference.before, difference.after) == (None, f"{name}/{place}")


@given(st.permutations(range(6)))
def test_as_few_entries_are_told_as_moved_as_possible(order: list[int]) -> None:
    matched = [(first, second) for second, first in enumerate(order)]
    stays = [pair for pair in matched if pair not in moved(matched)]
    # Those that stay stand in the same order before and after, or where they stood.
    rest = [first for first, second in stays if first != second]
    assert rest == sorted(rest)
    assert (moved(matched) == set()) == (order == sorted(order))


def test_long_lists_that_differ_are_held_against_each_other_in_time() -> None:
    size = MOST_COMPARED
    before = [{"from": number, "to": 0} for number in range(size)]
    after = [{"from": number, "to": 1} for number in range(size)]
    assert pairs(before, after, shared) == [(number, number) for number in range(size)]


def test_a_value_is_cut_where_it_is_long() -> None:
    assert shown("x" * 100) == f"“{'x' * 60}…”"
