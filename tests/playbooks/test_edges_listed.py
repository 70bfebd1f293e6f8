"""The edges that triggers must get right, by name, each with the tests that show it: one can go down the list."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.playbooks import (
    test_edges_accounts,
    test_edges_bursts,
    test_edges_documents,
    test_edges_episodes,
    test_edges_thresholds,
    test_edges_time,
    test_recorded_month,
)

EDGES: dict[str, list[Callable[..., Any]]] = {
    "exactly at the window's edge, both ends": [
        test_edges_time.test_the_end_of_a_window_is_inside_it_and_what_comes_after_is_not,
        test_edges_time.test_the_beginning_of_a_window_is_outside_it_and_what_comes_after_is_inside,
        test_edges_time.test_a_span_of_exactly_the_window_never_holds_both_ends,
        test_edges_time.test_a_reading_counts_from_its_moment_until_it_is_exactly_too_old,
        test_edges_time.test_a_change_of_a_champion_counts_from_its_moment_until_a_window_later,
    ],
    "exactly at the threshold for at least and above": [
        test_edges_thresholds.test_counts_exactly_at_the_threshold_of_at_least_and_of_above,
        test_edges_thresholds.test_shares_of_odd_limits_are_exact_on_both_sides_of_the_threshold,
        test_edges_thresholds.test_amounts_over_a_limit_exactly_at_the_threshold,
    ],
    "duplicate": [
        test_edges_time.test_the_same_source_and_id_count_once_in_one_batch_and_over_batches,
        test_edges_time.test_the_same_id_with_another_body_counts_as_what_was_stored_first,
        test_edges_time.test_the_same_id_of_another_source_is_another_signal,
        test_edges_time.test_a_duplicate_of_a_reading_is_no_second_reading,
    ],
    "late arrival still inside and just outside the window": [
        test_edges_time.test_what_is_told_late_counts_from_the_run_that_was_told_and_not_before,
        test_edges_time.test_a_late_signal_that_never_was_inside_a_run_opens_nothing_and_is_known_all_the_same,
        test_edges_time.test_a_late_reading_counts_only_where_no_later_one_was_told_before,
        test_edges_time.test_a_late_fact_is_known_from_the_run_that_was_told_for_the_time_it_is_about,
    ],
    "future date": [
        test_edges_time.test_what_is_dated_ahead_counts_when_its_time_comes_and_makes_its_own_run,
        test_edges_time.test_what_is_dated_too_far_ahead_is_refused_and_not_kept_for_later,
        test_edges_time.test_what_is_held_until_a_day_ahead_fills_a_gap_until_then,
    ],
    "limit zero, none, and lowered below use": [
        test_edges_thresholds.test_a_limit_of_zero_and_none_at_all_are_never_near_and_never_over,
        test_edges_thresholds.test_a_limit_that_is_taken_away_ends_the_episode,
        test_edges_thresholds.test_a_limit_lowered_below_use_is_over_it_though_nobody_uses_more,
        test_edges_thresholds.test_a_limit_below_zero_is_refused,
    ],
    "churned, deleted and merged account": [
        test_edges_accounts.test_who_goes_after_the_guards_were_asked_gets_no_play,
        test_edges_accounts.test_who_has_churned_is_found_and_held_for_good,
        test_edges_accounts.test_who_churns_while_a_match_waits_is_held_and_who_comes_back_is_let_through,
        test_edges_accounts.test_who_churns_while_a_play_is_open_keeps_it_and_gets_no_other,
        test_edges_accounts.test_a_deleted_account_is_held_and_nothing_more_is_taken_in_for_it,
        test_edges_accounts.test_what_is_told_of_a_merged_account_counts_for_the_one_it_was_merged_into,
        test_edges_accounts.test_an_account_merged_while_its_match_waits_is_held,
    ],
    "two triggers of one motion at once": [
        test_edges_episodes.test_two_triggers_of_one_motion_at_once_open_one_play_and_the_second_folds,
        test_edges_episodes.test_two_triggers_of_two_motions_at_once_open_two_plays,
    ],
    "a QBR with two gaps": [
        test_edges_episodes.test_a_review_with_two_gaps_is_one_episode_and_one_play_for_the_first_of_them,
        test_edges_episodes.test_of_two_gaps_the_second_keeps_the_episode_open_when_the_first_is_filled,
        test_edges_episodes.test_of_two_gaps_with_a_trigger_of_its_own_each_the_second_folds,
    ],
    "again at 100 %": [
        test_edges_episodes.test_again_at_100_is_an_episode_of_its_own_and_joins_the_open_play,
        test_edges_episodes.test_again_at_100_opens_a_new_play_where_the_first_was_won,
        test_edges_episodes.test_again_at_100_waits_where_the_first_was_lost,
        test_edges_episodes.test_straight_to_100_within_the_grace_is_told_at_once_and_at_80_after_its_day,
    ],
    "held then released": [
        test_edges_episodes.test_what_is_held_fires_once_when_its_guard_lifts_and_not_a_moment_before,
        test_edges_episodes.test_what_ends_while_it_is_held_never_fires,
        test_edges_episodes.test_what_is_released_by_one_guard_may_be_held_by_the_next,
    ],
    "a flap": [
        test_edges_episodes.test_a_flap_inside_the_cooldown_is_a_new_episode_that_is_held,
        test_edges_episodes.test_a_flap_while_the_play_is_open_makes_no_second_play_and_no_noise,
    ],
    "cooldown over a new episode": [
        test_edges_episodes.test_a_new_episode_outlasts_the_cooldown_and_fires_when_it_is_over,
        test_edges_episodes.test_an_episode_that_begins_exactly_when_the_cooldown_is_over_is_not_held,
        test_edges_episodes.test_an_episode_that_goes_on_over_its_cooldown_fires_no_second_time,
        test_edges_episodes.test_a_cooldown_is_that_of_its_trigger_and_not_of_others,
    ],
    "an edit while plays are open": [
        test_edges_episodes.test_open_plays_and_matches_keep_their_version_and_new_ones_have_the_new,
        test_edges_episodes.test_an_edit_that_asks_for_more_closes_the_episode_and_leaves_the_play,
        test_edges_episodes.test_an_edit_that_takes_the_trigger_away_closes_its_episodes_and_leaves_the_play,
        test_edges_episodes.test_what_waits_in_the_queue_opens_by_the_version_that_found_it,
        test_edges_episodes.test_guards_are_those_of_the_version_that_runs_also_for_what_an_earlier_one_found,
        test_edges_episodes.test_switching_off_ends_what_waits_and_leaves_what_is_open,
    ],
    "10,000 signals in one second": [
        test_edges_bursts.test_ten_thousand_signals_in_one_second_are_all_counted_in_few_queries,
        test_edges_bursts.test_ten_thousand_signals_at_one_instant_at_one_account_are_one_match,
    ],
    "a recorded month, with late arrivals, corrections and a version published in the middle": [
        test_recorded_month.test_every_run_of_a_recorded_month_gives_the_live_matches_exactly,
    ],
    "a condition on a missing type or meter": [
        test_edges_documents.test_a_missing_type_or_meter_is_named_where_it_stands_and_nothing_is_published,
        test_edges_documents.test_a_type_that_goes_after_it_was_published_finds_nothing_and_stops_no_run,
    ],
    "a negative window": [test_edges_documents.test_a_window_is_a_whole_number_of_days_from_one_on],
    "a threshold that is no number": [
        test_edges_documents.test_a_threshold_that_is_no_number_is_shown_as_it_was_written
    ],
    "YAML with an unknown key": [test_edges_documents.test_an_unknown_key_is_named_with_the_keys_there_are],
    "other faults": [
        test_edges_documents.test_a_fault_says_its_mend,
        test_edges_documents.test_one_word_where_a_list_belongs_and_a_tab_say_their_mend,
    ],
    "an alias bomb": [
        test_edges_documents.test_an_alias_bomb_is_refused_where_the_first_alias_stands_before_it_grows,
        test_edges_documents.test_a_merge_key_is_no_way_around,
    ],
    "a document of 10,000 conditions": [
        test_edges_documents.test_a_document_of_ten_thousand_conditions_is_refused_in_short_however_it_is_laid_out,
        test_edges_documents.test_as_many_conditions_as_are_possible_are_one_query_for_each_group,
    ],
}


def _tests_of(module: ModuleType) -> set[Callable[..., Any]]:
    return {each for name, each in vars(module).items() if name.startswith("test_") and inspect.isfunction(each)}


@pytest.mark.any_database
def test_every_test_of_an_edge_is_on_the_list_once() -> None:
    listed = [test for tests in EDGES.values() for test in tests]
    assert len(listed) == len(set(listed))
    modules = (
        *(test_edges_time, test_edges_thresholds, test_edges_accounts),
        *(test_edges_episodes, test_edges_bursts, test_edges_documents, test_recorded_month),
    )
    there = {test for module in modules for test in _tests_of(module)}
    assert {test.__name__ for test in there ^ set(listed)} == set()
