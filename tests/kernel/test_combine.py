"""Combining reducers is a reducer: parts keep to their field, and all accept or nothing moves."""

from __future__ import annotations

import pytest

from onex.kernel.action import Action, OutcomeOf
from onex.kernel.combine import Combined
from onex.kernel.errors import InvalidStateTransitionError, ReducerFailed
from onex.kernel.intent import EnumOutcome
from onex.kernel.machine import MachineReducer, reducer
from onex.kernel.step import State, Step
from onex.testing.harness import action, given
from tests.engine.jobs import MACHINE, PAYLOADS, Add, Do, Finished, Job, Start, intents, job_reducer


class Pair(State):
    left: Job
    right: Job


def pair() -> Combined[Pair]:
    return Combined("pair", Pair, {"left": job_reducer(), "right": job_reducer()})


def test_an_action_goes_to_every_part_that_lists_it() -> None:
    whole = given(pair()).when("add", Add(amount=2))
    assert (whole.state.left.count, whole.state.right.count) == (2, 2)


def test_one_part_can_be_addressed_alone() -> None:
    whole = given(pair()).when("left.start", Start(text="a"))
    assert (whole.state.left.status, whole.state.right.status) == ("working", "new")
    assert [one.name for one in whole.emitted] == ["left.do"]
    assert whole.emitted[0].spec.outcomes[EnumOutcome.SUCCEEDED] == "left.finished"


def test_all_accept_or_nothing_moves() -> None:
    whole = given(pair()).when("left.start", Start(text="a"))
    before = whole.state
    whole.when("start", Start(text="b")).then_refused(InvalidStateTransitionError)
    assert whole.state == before


def test_a_trigger_nobody_lists_is_illegal() -> None:
    given(pair()).when("fly").then_refused(InvalidStateTransitionError)


def test_the_whole_is_finished_when_all_parts_are() -> None:
    combined = pair()
    whole = given(combined).when("start", Start(text="a")).when("left.finished", Finished(text="a"))
    assert whole.state.status == "running"
    whole.when("right.finished", Finished(text="a")).then(status="finished")
    assert whole.state.status in combined.terminal


def test_a_part_is_told_of_its_intent_by_the_name_its_own_contract_has() -> None:
    told: list[OutcomeOf | None] = []
    handlers = reducer(Job)

    @handlers.on("start")
    def start(job: Job, action: Action[Start]) -> Step[Job]:
        return Step(job, Do(text="a"), Do(text="b"))

    @handlers.on("finished")
    def finished(job: Job, action: Action[Finished]) -> Step[Job]:
        told.append(action.outcome_of)
        return Step(job)

    listening = MachineReducer("job", handlers, MACHINE, PAYLOADS, intents())
    whole = given(Combined("pair", Pair, {"left": listening, "right": job_reducer()})).when(
        "left.start", Start(text="")
    )
    whole.when("left.finished", Finished(text="a"), outcome_of="left.do")
    (of,) = told
    assert of is not None and of[1:] == ("do", 1, 1)


def test_a_part_needs_its_field() -> None:
    with pytest.raises(ReducerFailed, match="middle"):
        Combined("pair", Pair, {"middle": job_reducer()})


def test_what_it_accepts_is_what_all_parts_accept() -> None:
    combined = pair()
    state = combined.delta(combined.initial(), action("left.start", Start(text="a"))).state
    assert "start" not in combined.accepts(state)
    assert {"right.start", "left.finished"} <= set(combined.accepts(state))
