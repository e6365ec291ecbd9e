"""Every bug that was planted, and how soon a life finds it: the table the simulator is judged by.

How to plant one stands in ``planting``. A simulator that does not find these would not find ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.simulation import (
    planted_beside,
    planted_by_a_stranger,
    planted_dispatch,
    planted_fold,
    planted_relay,
    planted_store,
    planted_user_code,
)
from tests.simulation.planting import PLANTED, Bug

ROOMS = (
    planted_beside,
    planted_by_a_stranger,
    planted_dispatch,
    planted_fold,
    planted_relay,
    planted_store,
    planted_user_code,
)


class Found(NamedTuple):
    """``first``: the first life that finds it, where CI begins to look. ``within``: lives it may take from anywhere.

    ``unruly``: lives in which the code of a user misbehaves.
    """

    first: int
    within: int
    unruly: bool = False


FOUND: Mapping[str, Found] = {
    "answered_before_it_is_durable": Found(0, 30),
    "applied_again_after_a_lost_answer": Found(0, 30),
    "at_most_once_tried_again": Found(0, 30),
    "blobs_not_written": Found(0, 30),
    "cache_kept_after_a_failed_commit": Found(0, 30),
    "duplicate_told_the_newest_version": Found(0, 30),
    "effect_before_its_time": Found(0, 30),
    "effect_under_a_new_key_each_time": Found(0, 30),
    "effects_run_before_their_commit": Found(0, 30),
    "epoch_raised_by_every_action": Found(0, 30),
    "every_third_intent_of_a_step_gets_no_row": Found(0, 30),
    "failed_though_it_may_have_been_done": Found(0, 30),
    "held_outcomes_never_delivered_again": Found(0, 30),
    "inbox_row_passed_over_when_the_mailbox_is_full": Found(0, 30),
    "inbox_told_the_version_before": Found(0, 30),
    "intents_of_one_name_share_a_number": Found(0, 30),
    "last_of_a_failed_batch_dropped": Found(0, 30),
    "message_under_a_new_id_each_time": Found(0, 30),
    "no_look_up_of_duplicates": Found(0, 30),
    "number_of_an_intent_differs_when_read_back": Found(0, 30),
    "outcome_under_a_new_id_each_time": Found(0, 30),
    "position_drawn_before_the_transaction": Found(0, 30),
    "reducer_that_counts_its_calls": Found(0, 30),
    "rejection_not_kept": Found(0, 30),
    "state_hash_without_the_one_before": Found(0, 30),
    "success_not_settled": Found(0, 30),
    "tail_skips_a_row_behind_a_page": Found(0, 30),
    "timer_half_a_second_early": Found(0, 30),
    "timers_forgotten_by_a_takeover": Found(0, 30),
    "watermark_ahead_of_its_rows": Found(0, 30),
    "watermark_moved_before_its_rows": Found(0, 30),
    "what_went_along_forgotten_after_a_failed_commit": Found(0, 30),
    "blobs_in_a_second_transaction": Found(1, 30),
    "cancelled_wait_cancels_the_others": Found(1, 30),
    "code_changed_without_a_snapshot": Found(1, 30),
    "conflict_leaves_its_answers": Found(1, 30),
    "crashes_forgotten_where_a_start_is_recorded": Found(1, 30),
    "failure_settled_in_silence": Found(1, 30),
    "id_in_flight_compared_without_its_body": Found(1, 30),
    "ids_not_unique_in_the_store": Found(1, 30),
    "key_of_each_attempt": Found(1, 30),
    "outbox_in_a_second_transaction": Found(1, 30),
    "refusal_seen_again_counted_once": Found(1, 30),
    "row_settled_before_its_outcome": Found(1, 30),
    "rubbish_in_the_inbox_left_lying": Found(1, 30),
    "snapshot_of_the_state_after": Found(1, 30),
    "timer_left_when_it_is_set_again": Found(1, 30),
    "timers_of_later_minutes_forgotten": Found(1, 30),
    "unreadable_input_recorded_under_no_key": Found(1, 30),
    "hash_leaves_out_who_sent_it": Found(2, 100),
    "lease_not_asked_for": Found(2, 30),
    "more_at_once_than_the_contract_allows": Found(2, 30),
    "start_not_recorded": Found(2, 30),
    "message_refused_counts_as_arrived": Found(3, 30),
    "dedup_forgets_the_body": Found(4, 100),
    "start_recorded_while_it_runs": Found(4, 100),
    "failed_step_not_taken_back": Found(5, 100),
    "fence_not_compared": Found(5, 100),
    "outbox_rows_deleted_in_a_second_transaction": Found(5, 100),
    "rejections_in_a_second_transaction": Found(5, 100),
    "lease_that_ran_out_accepted": Found(6, 100),
    "outcome_that_failed_settles_its_row": Found(6, 100),
    "outcomes_asked_for_a_lease": Found(6, 100),
    "run_beside_others_after_two_crashes": Found(6, 100),
    "starts_found_at_takeover_ignored": Found(6, 100),
    "time_goes_back_with_the_clock": Found(6, 100),
    "dead_rows_shown_as_waiting": Found(7, 100),
    "intents_beyond_memory_forgotten": Found(7, 100),
    "projection_without_compare_and_set": Found(7, 100),
    "neighbours_behind_a_conflict_forgotten": Found(8, 200),
    "query_answered_one_row_too_early": Found(8, 100),
    "refusals_remembered": Found(8, 100),
    "who_waits_is_not_woken": Found(8, 100),
    "conflict_settles_all_the_same": Found(9, 100),
    "lease_not_compared": Found(9, 100),
    "ids_forgotten_after_thirty_rows": Found(11, 100),
    "rollback_cuts_the_history": Found(15, 100),
    "redriven_with_the_tries_it_had": Found(16, 100),
    "finished_instance_takes_a_rollback": Found(17, 200),
    "expiry_not_judged": Found(19, 200),
    "half_a_burst_taken": Found(20, 200),
    "unleased_triggers_asked_for_a_lease": Found(20, 200),
    "expected_version_not_compared": Found(22, 200),
    "lost_answers_never_looked_after": Found(23, 200),
    "put_back_in_reverse": Found(23, 200),
    "refusals_judged_again_after_a_lost_answer": Found(24, 200),
    "no_answer_into_the_inbox": Found(25, 200),
    "timers_left_by_a_terminal_status": Found(27, 200),
    "neighbours_of_a_conflict_lose_what_goes_along": Found(28, 200),
    "release_forgotten_by_a_failed_commit": Found(28, 200),
    "timer_fires_though_it_was_cancelled": Found(32, 200),
    "epoch_not_compared": Found(35, 200),
    "failed_look_into_the_inbox_not_taken_again": Found(37, 200),
    "second_of_two_equal_inbox_rows_unanswered": Found(37, 200),
    "held_timer_rings_though_it_was_replaced": Found(54, 200),
    "tries_of_owners_before_forgotten": Found(87, 200),
    "bell_looked_at_after_the_log": Found(94, 200),
    "release_answered_before_it_is_durable": Found(95, 200),
    "ended_intents_run_again_from_an_old_page": Found(109, 200),
    "held_outcome_without_its_bytes": Found(132, 1000, unruly=True),
    "control_answered_in_a_second_commit": Found(221, 3000),
    "driven_again_by_two_at_once": Found(394, 2000),
}

__all__ = ["FOUND", "PLANTED", "ROOMS", "Bug", "Found"]
