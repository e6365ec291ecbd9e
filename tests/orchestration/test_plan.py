"""Tasks in an order: what begins when, and what becomes of a failure. With values only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onex.kernel.action import EPOCH
from onex.kernel.errors import GuardFailed
from onex.kernel.intent import Failure
from tests.orchestration.orchestra import answer, begun, emitted, say, states

NO = Failure(code="no", message="never", attempts=1)
PAY = "- {id: pay, effect: bank, payload: Cents, result: Made, with: {cents: input.cents}%s}\n"
SHIP = "- {id: ship, effect: post, payload: Made, result: Made, with: {number: pay.number}%s}\n"
SAGA = """\
- {id: hold, effect: stock, payload: Thing, result: Made, compensate: {effect: undo, payload: Made, with: hold}}
- {id: pay, effect: bank, payload: Cents, result: Made, with: {cents: input.cents},
   compensate: {effect: undo, payload: Made, with: {number: {value: all}}}}
- {id: ship, effect: post, payload: Made, result: Made, with: pay}
"""


def test_tasks_run_one_after_the_other_and_take_what_earlier_ones_gave(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % "")
    plan.then(status="running", intents=[plan.emitted[0].spec.payload(cents=500)])  # type: ignore[misc]  # it has one
    answer(plan, "pay", number="r1").then(status="running")
    assert [(one.name, one.payload.model_dump()) for one in plan.emitted if one.payload] == [("ship", {"number": "r1"})]
    answer(plan, "ship", number="p1").then(status="completed", intents=[])
    assert states(plan) == {"pay": "done", "ship": "done"}


def test_a_second_answer_changes_nothing(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % "")
    answer(plan, "pay", number="r1")
    before = plan.state
    answer(plan, "pay", number="r2")
    assert (plan.state, emitted(plan)) == (before, [])


def test_parallel_tasks_wait_only_for_whose_results_they_take(tmp_path: Path) -> None:
    look = "- {id: look, effect: stock, payload: Thing, result: Made}\n"
    plan = begun(tmp_path, look + PAY % "" + SHIP % "", "mode: PARALLEL\n")
    assert emitted(plan) == ["look", "pay"]
    answer(plan, "pay", number="r1")
    assert emitted(plan) == ["ship"]
    answer(plan, "ship", number="p1").then(status="running")
    answer(plan, "look", number="l1").then(status="completed")


def test_no_more_calls_run_at_once_than_the_contract_says(tmp_path: Path) -> None:
    tasks = "".join(f"- {{id: t{n}, effect: stock, payload: Thing, result: Made}}\n" for n in range(5))
    plan = begun(tmp_path, tasks, "mode: PARALLEL\nconcurrency: 2\n")
    assert emitted(plan) == ["t0", "t1"]
    answer(plan, "t1", number="x")
    assert emitted(plan) == ["t2"]


def test_a_condition_that_is_false_leaves_a_task_out_and_what_takes_its_result(tmp_path: Path) -> None:
    last = "- {id: last, effect: stock, payload: Thing, result: Made, with: input}\n"
    plan = begun(tmp_path, PAY % ", when: input.cents > 900" + SHIP % "" + last)
    assert states(plan) == {"pay": "skipped", "ship": "skipped", "last": "running"}
    answer(plan, "last", number="x").then(status="completed")
    assert next(iter(begun(tmp_path, PAY % ", when: input.cents > 900" + last, cents=901).emitted)).name == "pay"


def test_a_condition_may_be_cel_over_results(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % ", when: \"state.pay.number.startsWith('r') && state.input.cents < 900\"")
    answer(plan, "pay", number="x").then(status="completed")
    assert states(plan)["ship"] == "skipped"


def test_a_failure_undoes_what_was_done_in_reverse_order(tmp_path: Path) -> None:
    plan = begun(tmp_path, SAGA)
    answer(plan, "hold", number="h1")
    answer(plan, "pay", number="r1")
    plan.when("task.failed", NO, outcome_of="ship").then(status="compensating")
    assert emitted(plan) == ["pay-undo"]
    plan.when("pay.undone", outcome_of="pay-undo").then(status="compensating")
    assert [(one.name, one.payload.model_dump()) for one in plan.emitted if one.payload] == [
        ("hold-undo", {"number": "h1"})
    ]
    plan.when("hold.undone", outcome_of="hold-undo").then(status="failed")
    assert states(plan) == {"hold": "undone", "pay": "undone", "ship": "failed"}
    assert plan.state.model_dump()["plan"]["why"] == "ship: no: never"


def test_an_unknown_outcome_is_undone_too_since_it_may_have_been_done(tmp_path: Path) -> None:
    plan = begun(tmp_path, SAGA)
    answer(plan, "hold", number="h1")
    plan.when("task.unknown", NO, outcome_of="pay").then(status="compensating")
    assert emitted(plan) == ["pay-undo"]


def test_what_cannot_be_undone_is_entered_and_the_rest_is_undone(tmp_path: Path) -> None:
    plan = begun(tmp_path, SAGA)
    answer(plan, "hold", number="h1")
    answer(plan, "pay", number="r1")
    plan.when("task.failed", NO, outcome_of="ship")
    plan.when("task.failed", NO, outcome_of="pay-undo").then(status="compensating")
    assert emitted(plan) == ["hold-undo"]
    plan.when("hold.undone", outcome_of="hold-undo").then(status="failed")
    assert states(plan) == {"hold": "undone", "pay": "undo_failed", "ship": "failed"}


def test_cancel_stops_what_cannot_be_undone_and_waits_for_what_can(tmp_path: Path) -> None:
    look = "- {id: look, effect: post, payload: Thing, result: Made}\n"
    plan = begun(tmp_path, SAGA.replace(", with: pay", ", with: {number: pay.number}") + look, "mode: PARALLEL\n")
    assert emitted(plan) == ["hold", "pay", "look"]
    answer(plan, "hold", number="h1")
    say(plan, "cancel").then(status="compensating")
    assert emitted(plan) == ["-look"]
    answer(plan, "look", number="late")
    assert states(plan)["look"] == "cancelled"
    answer(plan, "pay", number="r1").then(status="compensating")
    assert emitted(plan) == ["pay-undo"]
    plan.when("pay.undone", outcome_of="pay-undo")
    plan.when("hold.undone", outcome_of="hold-undo").then(status="cancelled")


@pytest.mark.parametrize(
    ("policy", "status", "ship"), [("skip", "completed", "skipped"), ("continue", "failed", "failed")]
)
def test_a_failure_may_leave_the_task_out_or_go_on_without_it(
    tmp_path: Path, policy: str, status: str, ship: str
) -> None:
    plan = begun(tmp_path, PAY % f", on_failure: {policy}" + SHIP % "")
    plan.when("task.failed", NO, outcome_of="pay").then(status=status)
    assert states(plan)["ship"] == ship


def test_after_continue_those_that_only_wait_for_the_order_run(tmp_path: Path) -> None:
    last = "- {id: last, effect: stock, payload: Thing, result: Made, with: input}\n"
    plan = begun(tmp_path, PAY % ", on_failure: continue" + last)
    plan.when("task.failed", NO, outcome_of="pay").then(status="running")
    assert emitted(plan) == ["last"]


def test_a_pause_begins_nothing_and_loses_nothing(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % "")
    say(plan, "pause").then(status="paused")
    answer(plan, "pay", number="r1").then(status="paused", intents=[])
    say(plan, "resume").then(status="running")
    assert emitted(plan) == ["ship"]


def test_an_approval_waits_for_a_person_and_not_for_ever(tmp_path: Path) -> None:
    task = "- {id: ask, approval: May we?, deadline_ms: 1000}\n"
    plan = begun(tmp_path, task + PAY % "")
    assert [(one.name, one.due_us) for one in plan.emitted] == [("ask-due", 1_000_000)]
    say(plan, "ask.approve", by="ada").then(status="running")
    assert emitted(plan) == ["-ask-due", "pay"]
    say(plan, "ask.approve", by="bob").then_refused(GuardFailed)
    refused = begun(tmp_path, task + PAY % "")
    say(refused, "ask.reject", by="ada", note="too dear").then(status="failed")
    assert refused.state.model_dump()["plan"]["why"] == "ask: rejected by ada: too dear"
    late = begun(tmp_path, task + PAY % "")
    late.when("task.due", outcome_of="ask-due").then(status="failed", intents=[])


def test_a_signal_is_taken_when_its_task_waits_and_refused_before(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + "- {id: parcel, signal: arrived, payload: Made}\n")
    say(plan, "arrived", number="p").then_refused(GuardFailed)
    answer(plan, "pay", number="r1")
    say(plan, "arrived", number="p7").then(status="completed")
    assert plan.state.model_dump()["parcel"] == {"number": "p7"}


def test_a_wait_ends_after_its_time_or_at_a_time_of_the_input(tmp_path: Path) -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    tasks = "- {id: cool, wait_ms: 5000}\n- {id: then, wait_until: input.at}\n"
    plan = begun(tmp_path, tasks, at=at)
    assert [one.due_us for one in plan.emitted] == [5_000_000]
    plan.when("task.due", at=EPOCH + timedelta(seconds=5), outcome_of="cool-due").then(status="running")
    assert [one.due_us for one in plan.emitted] == [int(at.timestamp()) * 1_000_000]
    plan.when("task.due", at=at, outcome_of="then-due").then(status="completed", intents=[])


def test_the_deadline_of_the_whole_ends_it(tmp_path: Path) -> None:
    plan = begun(tmp_path, SAGA, "deadline_ms: 60000\n")
    assert emitted(plan) == ["deadline", "hold"]
    answer(plan, "hold", number="h1")
    plan.when("deadline", outcome_of="deadline").then(status="compensating")
    plan.when("task.failed", NO, outcome_of="pay").then(status="compensating")
    assert emitted(plan) == ["hold-undo"]


def test_a_task_that_holds_waits_for_a_person_who_begins_it_again(tmp_path: Path) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % ", on_failure: hold")
    answer(plan, "pay", number="r1")
    plan.when("task.failed", NO, outcome_of="ship").then(status="paused", intents=[])
    assert plan.state.model_dump()["plan"]["why"] == "ship: no: never"
    say(plan, "rerun", task="ship").then(status="running")
    assert emitted(plan) == ["ship"]
    assert states(plan) == {"pay": "done", "ship": "running"}
    answer(plan, "ship", number="p1").then(status="completed")


def test_rerun_does_a_task_again_and_all_that_waits_for_it_and_keeps_the_rest(tmp_path: Path) -> None:
    look = "- {id: look, effect: stock, payload: Thing, result: Made, with: input}\n"
    plan = begun(tmp_path, look + PAY % "" + SHIP % ", on_failure: hold")
    for task in ("look", "pay"):
        answer(plan, task, number="1")
    plan.when("task.failed", NO, outcome_of="ship").then(status="paused")
    say(plan, "rerun", task="pay").then(status="running")
    assert states(plan) == {"look": "done", "pay": "running"}
    answer(plan, "pay", number="2").then(status="running")
    assert [one.payload.model_dump() for one in plan.emitted if one.payload] == [{"number": "2"}]


@pytest.mark.parametrize("task", ["pay", "ship", "nobody"])
def test_rerun_of_what_runs_or_has_not_begun_is_refused(tmp_path: Path, task: str) -> None:
    plan = begun(tmp_path, PAY % "" + SHIP % "")
    before = plan.state
    say(plan, "rerun", task=task).then_refused(GuardFailed)
    assert plan.state == before


def test_event_driven_tasks_begin_when_their_signal_comes_in_any_order(tmp_path: Path) -> None:
    tasks = """\
    - {id: ordered, signal: order, payload: Made}
    - {id: pay, effect: bank, payload: Made, result: Made, with: ordered}
    - {id: arrived, signal: arrive, payload: Made}
    - {id: ship, effect: post, payload: Made, result: Made, with: arrived}
    """
    plan = begun(tmp_path, tasks, "mode: EVENT_DRIVEN\n")
    assert (emitted(plan), states(plan)) == ([], {"ordered": "waiting", "arrived": "waiting"})
    say(plan, "arrive", number="a")
    assert emitted(plan) == ["ship"]
    say(plan, "order", number="o")
    assert emitted(plan) == ["pay"]
    answer(plan, "pay", number="1")
    answer(plan, "ship", number="2").then(status="completed")


def test_what_a_step_begins_and_aborts_is_not_emitted_at_all(tmp_path: Path) -> None:
    """Sixty tasks that begin, and one that cannot: sixty intents and sixty that cancel them would be too many for one step."""
    calls = "".join(f"- {{id: t{n}, effect: stock, payload: Thing, result: Made}}\n" for n in range(29))
    waits = "".join(f"- {{id: w{n}, wait_ms: 1000}}\n" for n in range(29))
    plan = begun(tmp_path, calls + waits + "- {id: late, wait_until: input.at}\n", "mode: PARALLEL\n")
    plan.then(status="failed", intents=[])
    assert set(states(plan).values()) == {"cancelled", "failed"}
