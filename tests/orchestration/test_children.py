"""Children: a sub-workflow, and one for each item of a map. The parent counts them, and nothing is counted twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onex import EffectFailed, ModelIntent
from onex.kernel.errors import ContractError
from onex.kernel.intent import Failure
from onex.kernel.step import State
from onex.testing.harness import Given
from onex.testing.virtual_time import VirtualRun, virtual
from tests.orchestration.orchestra import FIRST, begun, emitted, loaded, say, states, written

MAP = """\
- {id: all, effect: bank, payload: Cents, result: Made, with: {cents: index},
   map: {count: 5, concurrency: 2, gather: collect%s}}
"""
AFTER = "- {id: last, effect: post, payload: Cents, result: Made, with: {cents: all.succeeded}}\n"


@contextmanager
def running(folder: Path, tasks: str, bank: Callable[[ModelIntent[Any]], dict[str, object]]) -> Iterator[VirtualRun]:
    """A plan that has begun; ``bank`` serves its calls."""
    served = {"bank": bank, "post": lambda intent: {"number": json.dumps(intent.serialize_payload())}}
    with virtual(written(folder, tasks), executors={name: one for name, one in served.items() if name in tasks}) as run:
        run.submit("plan:1", "start", FIRST)
        yield run


def child_ended(plan: Given[State], child: str, status: str = "completed", **more: object) -> Given[State]:
    return say(plan, "all.ended", child=child, status=status, **more)


def test_a_map_begins_as_many_as_its_window_and_the_next_when_one_has_ended(tmp_path: Path) -> None:
    plan = begun(tmp_path, MAP % "")
    assert [(one.name, one.to) for one in plan.emitted] == [("all", "1/all/0"), ("all", "1/all/1")]
    child_ended(plan, "1/all/1", result={"number": "b"})
    assert [one.to for one in plan.emitted] == ["1/all/2"]


def test_an_answer_that_comes_twice_or_from_a_stranger_changes_nothing(tmp_path: Path) -> None:
    plan = begun(tmp_path, MAP % "")
    child_ended(plan, "1/all/0", result={"number": "a"})
    before = plan.state
    for child in ("1/all/0", "1/all/4", "1/all/x", "1/all", "2/all/1", "1/all/-1"):
        child_ended(plan, child, result={"number": "c"})
        assert (plan.state, emitted(plan)) == (before, [])


def test_results_stand_in_the_order_of_the_items(tmp_path: Path) -> None:
    with running(tmp_path, MAP % "" + AFTER, lambda intent: {"number": str(intent.payload.cents)}) as run:
        assert run.wait("plan:1").status == "completed"
        state = run.state("plan:1").model_dump()
        assert [one["number"] for one in state["all"]["results"]] == ["0", "1", "2", "3", "4"]
        assert state["last"] == {"number": '{"cents": 5}'}
        assert run.state("plan_all:1/all/3").status == "completed"


def test_more_failures_than_allowed_fail_the_task_and_begin_no_more_items(tmp_path: Path) -> None:
    def bank(intent: ModelIntent[Any]) -> dict[str, object]:
        if intent.payload.cents == 1:
            raise EffectFailed("no", code="refused")
        return {"number": "x"}

    with running(tmp_path, MAP % "", bank) as run:
        assert run.wait("plan:1").status == "failed"
        dumped = run.state("plan:1").model_dump()
        assert dumped["all"]["failed"] == 1
        assert dumped["all"]["begun"] < 5
        assert "item 1" in dumped["plan"]["why"]
    with running(tmp_path / "more", (MAP % ", failures: 1") + AFTER, bank) as run:
        assert run.wait("plan:1").status == "completed"
        assert run.state("plan:1").model_dump()["all"]["results"][1] is None


def test_cancel_tells_the_children_and_ends_when_they_have_ended(tmp_path: Path) -> None:
    plan = begun(tmp_path, MAP % "")
    say(plan, "cancel").then(status="compensating")
    assert [(one.name, one.to) for one in plan.emitted] == [("all-cancel", "1/all/0"), ("all-cancel", "1/all/1")]
    child_ended(plan, "1/all/0", "cancelled").then(status="compensating", intents=[])
    child_ended(plan, "1/all/1").then(status="cancelled", intents=[])
    assert states(plan) == {"all": "cancelled"}


def test_a_deadline_tells_the_children_and_then_fails_the_task(tmp_path: Path) -> None:
    plan = begun(tmp_path, (MAP % "").replace("effect: bank", "deadline_ms: 1000, effect: bank"))
    plan.when("task.due", outcome_of="all-due").then(status="running")
    assert emitted(plan) == ["all-cancel", "all-cancel"]
    child_ended(plan, "1/all/0", "cancelled").then(status="running", intents=[])
    child_ended(plan, "1/all/1", "cancelled").then(status="failed")
    assert plan.state.model_dump()["plan"]["why"] == "all: deadline: it took too long"


def test_a_pause_begins_no_more_items(tmp_path: Path) -> None:
    plan = begun(tmp_path, MAP % "")
    say(plan, "pause")
    child_ended(plan, "1/all/0").then(status="paused", intents=[])
    say(plan, "resume").then(status="running")
    assert [one.to for one in plan.emitted] == ["1/all/2"]


def test_a_map_goes_over_a_list_of_values_too(tmp_path: Path) -> None:
    tasks = "- {id: all, effect: bank, payload: Made, result: Made, with: {number: item}, map: {over: input.notes}}\n"
    plan = begun(tmp_path, tasks, notes=["x", "y"])
    assert [one.payload.model_dump() for one in plan.emitted if one.payload] == [{"number": "x"}, {"number": "y"}]


@pytest.mark.parametrize(("count", "why"), [(-1, "no items"), (9, "at_most")])
def test_a_number_of_items_that_cannot_be_fails_the_task(tmp_path: Path, count: int, why: str) -> None:
    tasks = "- {id: all, effect: bank, payload: Cents, with: {cents: index}, map: {count: input.cents, at_most: 8}}\n"
    plan = begun(tmp_path, tasks, cents=count).then(status="failed", intents=[])
    assert why in plan.state.model_dump()["plan"]["why"]


def test_a_map_over_nothing_is_done_at_once(tmp_path: Path) -> None:
    tasks = "- {id: all, effect: bank, payload: Cents, with: {cents: index}, map: {count: input.cents, at_most: 8}}\n"
    begun(tmp_path, tasks, cents=0).then(status="completed", intents=[])


SUB = """\
name: ship
contract_version: {major: 1, minor: 0, patch: 0}
node_type: ORCHESTRATOR
models: {Order: {id: str}, Parcel: {number: str}}
input: Order
output: post
tasks:
  - {id: post, effect: post, payload: Order, result: Parcel}
"""
TOP = """\
name: plan
contract_version: {major: 1, minor: 0, patch: 0}
node_type: ORCHESTRATOR
models: {Thing: {id: str, cents: int}, Made: {number: str}}
input: Thing
tasks:
  - {id: send, workflow: ship, with: {id: input.id}, compensate: {effect: undo, payload: Made, with: {number: send.number}}}
  - {id: pay, effect: bank, payload: Made, result: Made, with: {number: send.number}}
"""


def two(folder: Path, sub: str = SUB) -> Path:
    for name, text in (("ship", sub), ("plan", TOP)):
        (folder / name).mkdir(parents=True)
        (folder / name / "contract.yaml").write_text(text)
    return folder


def test_a_sub_workflow_gives_its_output_and_can_be_undone(tmp_path: Path) -> None:
    undone = []

    def refuse(intent: ModelIntent[Any]) -> dict[str, object]:
        raise EffectFailed("no money", code="refused")

    served = {
        "post": lambda intent: {"number": "p1"},
        "bank": refuse,
        "undo": lambda intent: undone.append(intent.payload.number),
    }
    with virtual(two(tmp_path), executors=served) as run:
        run.submit("plan:1", "start", {"id": "1", "cents": 5})
        assert run.wait("plan:1").status == "failed"
        assert run.state("ship:1/send").model_dump()["plan"]["parent"] == "plan:1"
        assert undone == ["p1"]
        run.submit("ship:7", "start", {"id": "7"})
        assert run.wait("ship:7").status == "completed", "an orchestration that is a child elsewhere is open to clients"


def test_a_child_that_fails_fails_its_task(tmp_path: Path) -> None:
    def refuse(intent: ModelIntent[Any]) -> dict[str, object]:
        raise EffectFailed("no", code="refused")

    served = {"post": refuse, "bank": refuse, "undo": refuse}
    with virtual(two(tmp_path), executors=served) as run:
        run.submit("plan:1", "start", {"id": "1", "cents": 5})
        assert run.wait("plan:1").status == "failed"
        assert run.state("plan:1").model_dump()["plan"]["why"] == "send: failed: post: refused: no"


def test_orchestrations_that_begin_each_other_are_found(tmp_path: Path) -> None:
    sub = SUB.replace("effect: post, payload: Order, result: Parcel", "workflow: plan, with: {id: input.id, cents: 1}")
    with pytest.raises(ContractError, match="begin each other without end"):
        virtual(two(tmp_path, sub)).__enter__()


def test_the_state_of_the_parent_stays_small(tmp_path: Path) -> None:
    tasks = "- {id: all, effect: bank, payload: Cents, with: {cents: index}, map: {count: 1000000, concurrency: 60}}\n"
    plan = begun(tmp_path, tasks)
    for index in range(500):
        child_ended(plan, f"1/all/{index}", "failed" if index < 0 else "completed")
    assert len(plan.state.model_dump_json()) < 2_000
    assert loaded(tmp_path, tasks).findings == ()


def test_items_that_are_done_again_are_other_instances(tmp_path: Path) -> None:
    plan = begun(tmp_path, (MAP % "").replace("effect: bank", "on_failure: hold, effect: bank"))
    child_ended(plan, "1/all/0", "failed", error="no")
    child_ended(plan, "1/all/1").then(status="paused")
    say(plan, "rerun", task="all").then(status="running")
    assert [one.to for one in plan.emitted] == ["1/all~1/0", "1/all~1/1"]
    before = plan.state
    child_ended(plan, "1/all/1")
    assert plan.state == before, "an answer to the first run is late"


STAGES = """\
- id: pages
  payload: Cents
  with: {cents: index}
  map: {count: 4, concurrency: 2, gather: collect}
  stages:
    - {id: read, effect: bank, payload: Cents, result: Made}
    - {id: check, effect: bank, payload: Made, result: Made, with: read, when: read.number != "2"}
    - {id: keep, effect: post, payload: Made, result: Made, with: {number: read.number}, on_failure: continue}
"""


def test_stages_are_a_pipeline_whose_items_overlap_within_a_window(tmp_path: Path) -> None:
    seen: list[str] = []

    def bank(intent: ModelIntent[Any]) -> dict[str, object]:
        told = intent.serialize_payload()
        seen.append(f"{intent.name} {told.get('cents', told.get('number'))}")
        return {"number": str(told.get("cents", told.get("number")))}

    with running(tmp_path, STAGES, bank) as run:
        assert run.wait("plan:1").status == "completed"
        assert run.state("plan_pages:1/pages/2").model_dump()["plan"]["tasks"]["check"]["state"] == "skipped"
        results = run.state("plan:1").model_dump()["pages"]["results"]
        assert [json.loads(one["number"])["number"] for one in results] == ["0", "1", "2", "3"]
    assert sorted(seen) == ["check 0", "check 1", "check 3", "read 0", "read 1", "read 2", "read 3"]
    assert seen.index("check 0") < seen.index("read 3"), "a later item begins when an earlier one is further"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("read, effect: bank,", "unused_key"),
        ("result: Made, with: read", "given"),
        ("  payload: Cents\n", "missing_key"),
    ],
)
def test_a_stage_that_is_wrong_is_found(tmp_path: Path, wrong: str, code: str) -> None:
    right = {
        "unused_key": "read, compute: bank, delivery: at_most_once,",
        "given": "result: Made, with: red",
        "missing_key": "",
    }
    with pytest.raises(ContractError) as refused:
        loaded(tmp_path, STAGES.replace(wrong, right[code], 1))
    assert code in {getattr(one, "code", "") for one in refused.value.findings}


def test_a_child_that_cannot_begin_fails_the_task_and_the_others_are_told(tmp_path: Path) -> None:
    plan = begun(tmp_path, MAP % "")
    plan.when("task.failed", Failure(code="illegal_transition", message="it is there", attempts=1), outcome_of="all")
    plan.then(status="failed")
    assert emitted(plan) == ["all-cancel", "all-cancel"]
