"""Playbook documents: what is read, what is filled in, and what is said about each kind of bad one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from csplaybooks.playbooks.acts.recipes import LIBRARY
from csplaybooks.playbooks.document import MAX_ERRORS, DocumentError, names_used, read_document
from csplaybooks.playbooks.guards import guards
from csplaybooks.playbooks.measures.base import threshold

GOOD = """\
key: seats
name: Seats
motion: seat_expansion
triggers:
  - key: full
    any:
      - all:
          - {measure: share_of_limit, meters: [seats], above: 80}
routes:
  - route: csm
targets:
  - {target: first_touch, hours: 8}
"""

CONDITION = "{measure: share_of_limit, meters: [seats], above: 80}"
FIRST_CONDITION = "triggers/0/any/0/all/0"


def errors_of(text: str) -> list[tuple[str, str]]:
    """What is said about a bad document."""
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    return caught.value.errors


def with_condition(condition: str) -> str:
    """The good document with another condition."""
    return GOOD.replace(CONDITION, condition)


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_playbook_of_the_library_reads_and_is_named_like_its_file(file: Path) -> None:
    document = read_document(file.read_text(encoding="utf-8"))
    assert document["key"] == file.stem
    assert set(document["guards"]) == {guard.key for guard in guards()}


def test_what_was_left_out_is_filled_in() -> None:
    document = read_document(GOOD)
    assert document["audience"] == {}
    assert document["amount"] == {"rule": "unknown"}
    assert document["expires_days"] == 90
    assert document["guards"]["onboarding"] == {"days": 30}
    assert document["guards"]["unhealthy"] == {"below": 60}
    (trigger,) = document["triggers"]
    assert (trigger["name"], trigger["strength"], trigger["cooldown_days"]) == ("Full", "strong", 30)
    (target,) = document["targets"]
    assert target["counting"] == "working"
    assert (target["warn_percents"], target["escalate_after_hours"]) == ([50, 80], [0, 8])


def test_what_was_filled_in_reads_the_same_again() -> None:
    document = read_document(GOOD)
    assert read_document(yaml.safe_dump(document)) == document


def test_given_guard_settings_keep_the_defaults_beside_them() -> None:
    document = read_document(GOOD + "guards: {crowded: {contacts: 1}, tenure: off, dismissed: 'off'}\n")
    assert document["guards"]["crowded"] == {"open_plays": 3, "contacts": 1, "window_days": 7}
    assert document["guards"]["tenure"] == document["guards"]["dismissed"] == "off"


def test_plain_words_are_text_and_not_what_old_yaml_makes_of_them() -> None:
    document = read_document(
        with_condition("{measure: signal_count, signal_type: t, window_days: 7, at_least: 1, properties: {by: no}}")
        + "guards: {black_out: {days: [{from: 2026-12-24, to: 2027-01-01}]}}\n"
        + "summary: 12:30\n"
    )
    assert document["triggers"][0]["any"][0]["all"][0]["properties"] == {"by": "no"}
    assert document["guards"]["black_out"]["days"] == [{"from": "2026-12-24", "to": "2027-01-01"}]
    assert document["summary"] == "12:30"


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (GOOD + "colour: red\n", "", "colour is unknown here; known are key, name, motion"),
        (GOOD.replace("above: 80", "above: 80, colour: 1"), FIRST_CONDITION, "colour is unknown here"),
        (GOOD.replace("motion: seat_expansion\n", ""), "", "motion is missing"),
        (GOOD.replace("seat_expansion", "seats"), "motion", "'seats' is not one of seat_expansion, tier_upsell"),
        (GOOD.replace("key: seats", "key: Two Words"), "key", "'Two Words' is no key"),
        (GOOD.replace("key: seats", 'key: "seats\\n"'), "key", "is no key"),
        (GOOD.replace("name: Seats", "name: ''"), "name", "is empty"),
        (GOOD.replace("name: Seats", f"name: {'x' * 201}"), "name", "is longer than 200 characters"),
        (GOOD.replace("name: Seats", "name: [a]"), "name", "a list is not text"),
        (with_condition("{meters: [seats], above: 80}"), FIRST_CONDITION, "measure is missing"),
        (with_condition("{measure: mood, above: 80}"), f"{FIRST_CONDITION}/measure", "'mood' is not one of signal_"),
        (with_condition("five"), FIRST_CONDITION, "'five' is not a mapping of names to values"),
        (with_condition("{measure: share_of_limit, above: 80}"), FIRST_CONDITION, "meters is missing"),
        (
            with_condition("{measure: signal_count, signal_type: t, window_days: -7, at_least: 3}"),
            f"{FIRST_CONDITION}/window_days",
            "-7 is less than 1, the least that is possible",
        ),
        (
            with_condition("{measure: signal_count, signal_type: t, window_days: 7, at_least: 0}"),
            f"{FIRST_CONDITION}/at_least",
            "0 is less than 1",
        ),
        (GOOD.replace("above: 80", "above: lots"), f"{FIRST_CONDITION}/above", "'lots' is not a whole number"),
        (GOOD.replace("above: 80", "above: 80.5"), f"{FIRST_CONDITION}/above", "80.5 is not a whole number"),
        (GOOD.replace("above: 80", "above: 80.0"), f"{FIRST_CONDITION}/above", "80.0 is not a whole number: write 80"),
        (GOOD.replace("above: 80", "above: 8e1"), f"{FIRST_CONDITION}/above", "80.0 is not a whole number: write 80"),
        (GOOD.replace("above: 80", "above: true"), f"{FIRST_CONDITION}/above", "true is not a whole number"),
        (GOOD.replace("above: 80", "above: .nan"), f"{FIRST_CONDITION}/above", "is not a number"),
        (GOOD.replace("hours: 8", "hours: .inf"), "targets/0/hours", "is not a number"),
        (GOOD.replace("hours: 8", "hours: 1e400"), "targets/0/hours", "is not a number"),
        (GOOD.replace("hours: 8", f"hours: {'9' * 5000}"), "targets/0/hours", "is not a number"),
        (
            GOOD.replace("above: 80", "above: 80, at_least: 80"),
            FIRST_CONDITION,
            "exactly one of at_least, above is needed",
        ),
        (GOOD.replace(", above: 80", ""), FIRST_CONDITION, "exactly one of at_least, above is needed"),
        (GOOD.replace("[seats]", "[]"), f"{FIRST_CONDITION}/meters", "is empty"),
        (GOOD + "amount: {percent: 10}\n", "amount", "rule is missing"),
        (GOOD + "amount: {rule: fixed}\n", "amount", "amount_minor is missing"),
        (GOOD + "amount: {rule: next_plan, percent: 1}\n", "amount", "percent is unknown here; known are rule"),
        (GOOD + "amount: {rule: seats_over}\n", "amount", "meters is missing"),
        (GOOD + "amount: {rule: seats_over, meters: []}\n", "amount/meters", "is empty"),
        (GOOD + "amount: {rule: seats_over, meters: [a, a]}\n", "amount/meters", "the same entry stands twice"),
        (
            with_condition("{measure: amount_over_limit, meters: [seats], above: 0.0005}"),
            f"{FIRST_CONDITION}/above",
            "0.0005 has more than 3 decimals",
        ),
        (
            with_condition("{measure: amount_over_limit, meters: [seats], at_least: -1e-7}"),
            f"{FIRST_CONDITION}/at_least",
            "-1e-07 has more than 3 decimals",
        ),
        (
            with_condition(
                "{measure: signal_count, signal_type: t, window_days: 7, at_least: 1, properties: {n: 1000000000001}}"
            ),
            f"{FIRST_CONDITION}/properties/n",
            "1000000000001 is more than 1000000000000",
        ),
        (GOOD + "guards: {mood: {}}\n", "guards", "mood is unknown here; known are gone, not_paying"),
        (GOOD + "guards: {onboarding: {weeks: 3}}\n", "guards/onboarding", "weeks is unknown here; known are days"),
        (GOOD + "guards: {onboarding: no}\n", "guards/onboarding", "'no' is not possible here, only off"),
        (GOOD + "guards: {onboarding: 30}\n", "guards/onboarding", "30 is not a mapping"),
        (GOOD + "guards: {gone: off}\n", "guards/gone", "this cannot be turned off"),
        (
            GOOD + "guards: {black_out: {days: [{from: 24 Dec, to: 2026-12-31}]}}\n",
            "guards/black_out/days/0/from",
            "'24 Dec' is no date such as 2026-12-24",
        ),
        (
            GOOD + "guards: {black_out: {days: [{from: 2026-11-24, to: 2026-11-31}]}}\n",
            "guards/black_out/days/0",
            "there is no such day",
        ),
        (
            GOOD + "guards: {black_out: {days: [{from: 2026-12-31, to: 2026-12-24}]}}\n",
            "guards/black_out/days/0",
            "the last day lies before the first",
        ),
        (
            GOOD.replace("route: csm", "route: fax"),
            "routes/0/route",
            "'fax' is not one of self_serve, email, csm, sales",
        ),
        (
            GOOD.replace("route: csm", "route: csm\n    when: {segments: [small]}"),
            "routes/0",
            "the last route is for all that is left, and takes no `when`",
        ),
        (GOOD.replace("  - route: csm", "  - route: csm\n  - route: email"), "routes/0", "those after it are never"),
        (
            GOOD.replace("route: csm", "route: csm\n    when: {}\n  - route: email"),
            "routes/0/when",
            "is empty",
        ),
        (GOOD + "  - {target: first_touch, hours: 9}\n", "targets/1", "the target first_touch stands twice"),
        (
            GOOD + "  - {target: first_touch, hours: 9, routes: [email, csm]}\n",
            "targets/1",
            "the target first_touch stands twice for one route and segment",
        ),
        (GOOD.replace("first_touch", "handoff_accepted"), "targets", "promise a first touch or a close too"),
        (
            GOOD + "  - {target: closed, hours: 9, lapse_after_hours: 90}\n",
            "targets/1/lapse_after_hours",
            "only an offer lapses",
        ),
        (
            GOOD + "  - {target: handoff_accepted, hours: 9, lapse_after_hours: 8}\n",
            "targets/1/lapse_after_hours",
            "cannot lapse before it was to be accepted",
        ),
        (
            GOOD.replace("first_touch", "mood"),
            "targets/0/target",
            "'mood' is not one of first_touch, handoff_accepted, closed",
        ),
        (GOOD.replace("hours: 8", "hours: -8"), "targets/0/hours", "-8 is less than 0"),
        (
            GOOD.replace("hours: 8", "hours: 8, warn_percents: [50, 50]"),
            "targets/0/warn_percents",
            "the same entry stands twice",
        ),
        (
            GOOD.replace("hours: 8", "hours: 8, warn_percents: [100]"),
            "targets/0/warn_percents/0",
            "100 is more than 99, the most that is possible",
        ),
        (
            with_condition("{measure: days_to_renewal, at_most: 60}"),
            "triggers/0/any/0",
            "days_to_renewal is weak: add a condition that is moderate or strong",
        ),
        (
            GOOD.replace("routes:\n", "  - key: full\n    any: [{all: [{measure: open_gap}]}]\nroutes:\n"),
            "triggers/1/key",
            "the key full stands twice",
        ),
        (GOOD.replace("name: Seats", 'name: "a\\0b"'), "name", "holds a character that is none"),
        (GOOD.replace("name: Seats", 'name: "a\\uD800b"'), "name", "holds a character that is none"),
        (
            with_condition(
                '{measure: signal_count, signal_type: t, window_days: 7, at_least: 1, properties: {"a\\0": x}}'
            ),
            f"{FIRST_CONDITION}/properties",
            "holds a character that is none",
        ),
    ],
)
def test_a_bad_document_is_told_where_and_why(text: str, path: str, message: str) -> None:
    found = errors_of(text)
    assert path in [where for where, _ in found], found
    assert any(where == path and message in said for where, said in found), found
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "", "a mapping of names to values"),
        ("- a\n- b\n", "", "a mapping of names to values"),
        ("just words", "", "a mapping of names to values"),
        ("a: [", "line 1, column 5", "this is not the YAML of a playbook"),
        (GOOD + "key: other\n", "line 13, column 1", "key 'key' stands twice"),
        ("1: a\n", "line 1, column 1", "key 1 is not text"),
        ("a: &big [x]\nb: *big\n", "line 2, column 4", "aliases are not allowed"),
        ("a: !!python/object/apply:os.system ['true']\n", "line 1, column 4", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1", "another document"),
        ("a: \x07\n", "", "the character 0x07 at position 3 has no place in a document"),
        ("a: \0\n", "", "the document holds a NUL character"),
        ("[" * 20_000, "", "the document is nested too deeply"),
        ("x" * 200_001, "", "the document is longer than 200,000 characters"),
    ],
)
def test_what_is_no_document_at_all_is_told_so(text: str, where: str, message: str) -> None:
    ((path, said),) = errors_of(text)
    assert path == where
    assert message in said


def test_thresholds_of_three_decimals_are_taken_as_they_are_written() -> None:
    for thousandths in (*range(-2_000, 2_000), 999_999_999_999):
        written = f"{thousandths / 1000:.3f}"
        document = read_document(with_condition(f"{{measure: amount_over_limit, meters: [seats], above: {written}}}"))
        condition = document["triggers"][0]["any"][0]["all"][0]
        assert threshold(condition) * 1000 == thousandths


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    started = time.process_time()
    ((_, message),) = errors_of("\n".join(lines))
    assert "aliases are not allowed" in message
    assert time.process_time() - started < 1


def test_ten_thousand_conditions_are_refused_in_one_short_line() -> None:
    many = "\n".join(["          - {measure: open_gap}"] * 10_000)
    assert errors_of(GOOD.replace(f"          - {CONDITION}", many)) == [
        ("", "the document is longer than 200,000 characters")
    ]
    fewer = "[" + ",".join(["{measure: open_gap}"] * 3_000) + "]"
    text = GOOD.replace(f"all:\n          - {CONDITION}", f"all: {fewer}")
    assert errors_of(text) == [("triggers/0/any/0/all", "has 3000 entries, and at most 10 are possible")]


def test_not_more_errors_are_listed_than_anybody_reads() -> None:
    colours = ",".join(["{measure: open_gap, colour: red}"] * 10)
    groups = ",".join([f"{{all: [{colours}]}}"] * 10)
    text = GOOD.replace(f"any:\n      - all:\n          - {CONDITION}", f"any: [{groups}]")
    assert len(errors_of(text)) == MAX_ERRORS


def test_all_errors_are_told_at_once_and_in_one_line() -> None:
    with pytest.raises(DocumentError) as caught:
        read_document(GOOD.replace("hours: 8", "hours: soon").replace("route: csm", "route: fax"))
    assert [path for path, _ in caught.value.errors] == ["routes/0/route", "targets/0/hours"]
    assert "; targets/0/hours: 'soon' is not a number" in str(caught.value)


def test_a_trigger_may_be_called_weak_where_its_conditions_are_not() -> None:
    (trigger,) = read_document(GOOD.replace("    any:", "    strength: weak\n    any:"))["triggers"]
    assert trigger["strength"] == "weak"


def test_targets_of_one_kind_for_different_routes_stand_beside_each_other() -> None:
    text = GOOD.replace("hours: 8}", "hours: 8, routes: [csm]}\n  - {target: first_touch, hours: 4, routes: [sales]}")
    assert [target["hours"] for target in read_document(text)["targets"]] == [8, 4]


def test_the_names_a_document_uses_are_found_with_the_first_place_that_does() -> None:
    document = read_document(
        with_condition(
            "{measure: signal_count, signal_type: gate_hit, window_days: 7, at_least: 3}\n"
            "          - {measure: amount_over_limit, meters: [seats, users], above: 2}\n"
            "          - {measure: open_gap, products: [analytics]}"
        )
        + "amount: {rule: seats_over, meters: [seats, log_ins]}\naudience: {plans: [team]}\n"
    )
    names = names_used(document)
    assert names.signal_types == {"gate_hit": f"{FIRST_CONDITION}/signal_type"}
    condition = "triggers/0/any/0/all/1/meters"
    assert names.meters == {"seats": condition, "users": condition, "log_ins": "amount/meters"}
    assert names.products == {"analytics": "triggers/0/any/0/all/2/products"}
    assert names.plans == {"team": "audience/plans"}
