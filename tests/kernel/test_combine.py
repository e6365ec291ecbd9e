"""Combining reducers is a reducer: parts keep to their field, and all accept or nothing moves."""

from __future__ import annotations

import pytest

from onex.kernel.combine import Combined
from onex.kernel.errors import InvalidStateTransitionError, ReducerFailed
from onex.kernel.intent import EnumOutcome
from onex.kernel.step import State
from onex.testing.harness import action, given
from tests.engine.jobs import Add, Finished, Job, Start, job_reducer


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


def test_a_part_needs_its_field() -> None:
    with pytest.raises(ReducerFailed, match="middle"):
        Combined("pair", Pair, {"middle": job_reducer()})


def test_what_it_accepts_is_what_all_parts_accept() -> None:
    combined = pair()
    state = combined.delta(combined.initial(), action("left.start", Start(text="a"))).state
    assert "start" not in combined.accepts(state)
    assert {"right.start", "left.finished"} <= set(combined.accepts(state))
