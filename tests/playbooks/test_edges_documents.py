"""Bad input, as somebody new to it would write it: each is refused where it stands, in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from csplaybooks.accounts.models import Change
from csplaybooks.playbooks.acts.recipes import publish_playbook, save_draft
from csplaybooks.playbooks.document import MAX_CHARACTERS, MAX_ERRORS, DocumentError, read_document
from csplaybooks.playbooks.evaluator import TriggerVersion, evaluate
from csplaybooks.playbooks.measures import Known
from csplaybooks.playbooks.models import Match, Playbook, PlaybookVersion, Trigger
from csplaybooks.playbooks.runs import run_triggers
from csplaybooks.signals.acts.catalogue import load_starter_catalogue
from csplaybooks.signals.models import SignalType
from tests.playbooks.edges import DAY, NOW, account, knocks, levels, text_of

pytestmark = pytest.mark.django_db

FIRST = "triggers/0/any/0/all/0"
COUNT = "measure: signal_count, signal_type: feature_gate_hit"
SHARE = "measure: share_of_limit, meters: [seats]"


def with_condition(condition: str) -> str:
    """A playbook whose one trigger has this one condition."""
    return text_of("asked", {"asked": condition})


def faults(text: str) -> list[tuple[str, str]]:
    """What is said of a document that cannot be used; nothing of it is kept."""
    with pytest.raises(DocumentError) as caught:
        save_draft(text=text, now=NOW)
    assert not Playbook.objects.exists()
    assert all(message and "\n" not in message and len(message) < 400 for _, message in caught.value.errors)
    return caught.value.errors


@pytest.mark.parametrize(
    ("condition", "path", "words"),
    [
        ("{measure: signal_count, signal_type: knock, window_days: 7, at_least: 3}", "signal_type", "knock"),
        ("{measure: share_of_limit, meters: [seats, chairs], above: 80}", "meters", "chairs"),
        ("{measure: level_change, meter: chairs, window_days: 7, at_least: 1}", "meter", "chairs"),
        ("{measure: level, meters: [chairs], above: 80}", "meters", "chairs"),
        ("{measure: new_area, signal_type: knock, window_days: 7}", "signal_type", "knock"),
        ("{measure: next_tier_touched, signal_types: [knock], window_days: 7, above: 50}", "signal_types", "knock"),
    ],
)
def test_a_missing_type_or_meter_is_named_where_it_stands_and_nothing_is_published(
    condition: str, path: str, words: str
) -> None:
    load_starter_catalogue(now=NOW)
    playbook = save_draft(text=with_condition(condition), now=NOW)
    with pytest.raises(DocumentError) as caught:
        publish_playbook(playbook_id=playbook.pk, now=NOW)
    ((where, said),) = caught.value.errors
    assert where == f"{FIRST}/{path}"
    assert "there is no" in said
    assert words in said
    assert not PlaybookVersion.objects.exists()
    assert not Change.objects.filter(kind="playbook_published").exists()


def test_a_type_that_goes_after_it_was_published_finds_nothing_and_stops_no_run() -> None:
    load_starter_catalogue(now=NOW - DAY)
    account("acme")
    for key, condition in (
        ("knocker", f"{{{COUNT}, window_days: 7, at_least: 1}}"),
        ("seats", f"{{{SHARE}, above: 80}}"),
    ):
        playbook = save_draft(text=text_of(key, {key: condition}), now=NOW - DAY)
        publish_playbook(playbook_id=playbook.pk, now=NOW - DAY)
    SignalType.objects.filter(key="feature_gate_hit").delete()
    levels("acme", 9, 10)
    assert knocks("acme", 1).refused == 1
    run_triggers(now=NOW)
    assert list(Match.objects.values_list("trigger__key", flat=True)) == ["seats"]


@pytest.mark.parametrize("window", [-7, 0, "-0.5", 7.5, "week", "7d", "'7'", "true", "", "[7]", 10**9, "1e400", ".inf"])
@pytest.mark.parametrize(
    "measure",
    [
        f"{COUNT}, at_least: 1",
        "measure: distinct_count, signal_type: login, at_least: 1",
        "measure: growth, signal_type: login, above: 5",
        "measure: champion_change, kinds: [promoted]",
        "measure: level_change, meter: seats, at_least: 1",
    ],
)
def test_a_window_is_a_whole_number_of_days_from_one_on(measure: str, window: Any) -> None:
    reasons = ("is less than 1", "is not a whole number", "is more than", "is not a number", "nothing stands here")
    for path, said in faults(with_condition(f"{{{measure}, window_days: {window}}}")):
        assert path == f"{FIRST}/window_days"
        assert any(reason in said for reason in reasons), said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("at_least: '80'", "number: write it without quotes"),
        ("at_least: 80%", "number: write the number alone"),
        (f"at_least: {'9' * 30}", "it is too large"),
        ("at_least: true", "true is not a "),
        ("at_least: ", "nothing stands here, and a "),
        ("at_least: {a: 1}", "a mapping is not a "),
        ("at_lest: 80", "at_lest is unknown here (did you mean at_least?)"),
    ],
)
def test_a_fault_says_its_mend(written: str, said: str) -> None:
    assert any(said in message for _, message in faults(with_condition(f"{{{SHARE}, {written}}}")))


def test_one_word_where_a_list_belongs_and_a_tab_say_their_mend() -> None:
    ((_, said),) = faults(with_condition("{measure: share_of_limit, meters: seats, at_least: 80}"))
    assert said == "'seats' is not a list: write [seats]"
    with pytest.raises(DocumentError, match="indent with spaces"):
        read_document("key: tabbed\ntriggers:\n\t- key: first\n")


@pytest.mark.parametrize(
    "value", ["lots", "80%", "'80'", "true", "", "[80]", "{a: 1}", "8e1x", "0x50", "1_000", ".nan"]
)
@pytest.mark.parametrize("measure", [f"{COUNT}, window_days: 7", SHARE, "measure: amount_over_limit, meters: [seats]"])
def test_a_threshold_that_is_no_number_is_shown_as_it_was_written(measure: str, value: str) -> None:
    ((path, said),) = faults(with_condition(f"{{{measure}, at_least: {value}}}"))
    assert path == f"{FIRST}/at_least"
    wanted = "nothing stands here" if value == "" else "is not a "
    assert wanted in said, said
    assert "number" in said
    if value in ("lots", "80%", "8e1x", "0x50", "1_000"):
        assert value in said


@pytest.mark.parametrize(
    ("text", "path", "unknown"),
    [
        (with_condition(f"{{{COUNT}, window: 7, at_least: 1, window_days: 7}}"), FIRST, "window"),
        (with_condition(f"{{{COUNT}, window_days: 7, at_least: 1, At_least: 2}}"), FIRST, "At_least"),
        (
            with_condition(f"{{{SHARE}, above: 80}}").replace("strength: strong", "weight: strong"),
            "triggers/0",
            "weight",
        ),
        (with_condition(f"{{{SHARE}, above: 80}}").replace("- all:", "- every:"), "triggers/0/any/0", "every"),
        (with_condition(f"{{{SHARE}, above: 80}}").replace("unhealthy: off", "unhealty: off"), "guards", "unhealty"),
        (with_condition(f"{{{SHARE}, above: 80}}") + "owner: Petra\n", "", "owner"),
    ],
)
def test_an_unknown_key_is_named_with_the_keys_there_are(text: str, path: str, unknown: str) -> None:
    said = dict(faults(text))
    assert path in said, said
    named = [message for where, message in faults(text) if where == path]
    assert any(message.startswith(f"{unknown} is unknown here") for message in named), named


def test_an_alias_bomb_is_refused_where_the_first_alias_stands_before_it_grows() -> None:
    lines = ["- &a0 {measure: open_gap}"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    text = with_condition("{measure: open_gap}") + "summary:\n" + "".join(f"  {line}\n" for line in lines)
    ((where, said),) = faults(text)
    assert "aliases are not allowed" in said
    first = text[: text.index("*a0")].count("\n") + 1
    assert where.startswith(f"line {first}, ")


@pytest.mark.parametrize("merged", ["<<: {measure: open_gap}", "<<: *a"])
def test_a_merge_key_is_no_way_around(merged: str) -> None:
    """What YAML calls a merge is a key like others here, and not a known one."""
    assert faults(with_condition("{measure: open_gap}").replace("{measure: open_gap}", f"{{{merged}}}"))


def test_a_document_of_ten_thousand_conditions_is_refused_in_short_however_it_is_laid_out() -> None:
    """As one list, as many groups, as many triggers: without a line for each of them."""
    short = "{measure: open_gap}"
    one = with_condition(short)
    layouts = {
        "all": one.replace(f"- {short}", "- " + "\n          - ".join([short] * 10_000)),
        "any": one.replace(f"- all:\n          - {short}", "\n      - ".join([f"- all: [{short}]"] * 10_000)),
    }
    for text in layouts.values():
        assert len(text) > MAX_CHARACTERS
        assert faults(text) == [("", f"the document is longer than {MAX_CHARACTERS:,} characters")]
    # As many as the length allows, with faults of their own.
    fits = one.replace(f"- {short}", "- " + "\n          - ".join(["{measure: x}"] * 7_000))
    assert len(fits) < MAX_CHARACTERS
    said = faults(fits)
    assert 0 < len(said) <= MAX_ERRORS


def test_as_many_conditions_as_are_possible_are_one_query_for_each_group(
    django_assert_num_queries: Any,
) -> None:
    load_starter_catalogue(now=NOW)
    account("acme")
    knocks("acme", 1, 2, 3)
    condition = f"{{{COUNT}, window_days: 7, at_least: 3}}"
    groups = "\n      ".join(f"- all: [{', '.join([condition] * 10)}]" for _ in range(10))
    text = with_condition(condition).replace(f"- all:\n          - {condition}", groups)
    document = read_document(text)
    assert sum(len(group["all"]) for group in document["triggers"][0]["any"]) == 100
    publish_playbook(playbook_id=save_draft(text=text, now=NOW).pk, now=NOW)
    identity, known = Trigger.objects.get(), Known.now()
    asked = TriggerVersion.of(PlaybookVersion.objects.get(), {identity.key: identity.pk})[0]
    with django_assert_num_queries(10):
        assert len(evaluate(asked, NOW, known)) == 1
    report = run_triggers(now=NOW)
    assert report is not None
    assert report.opened == 1
