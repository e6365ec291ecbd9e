"""Delegating to subreducers: one transition at a time, and several as all or none."""

from __future__ import annotations

import pytest

from onex.kernel.errors import InvalidStateTransitionError, UnknownWorkflow
from onex.kernel.step import State
from onex.seed_names.subreducer_framework import SubreducerFramework
from onex.testing.harness import action
from tests.engine.jobs import Add, Finished, Job, Start, Worker, registry

framework = SubreducerFramework(registry(Worker()))


class Two(State):
    first: Job
    second: Job


def test_a_transition_is_delegated_to_the_reducer_of_its_type() -> None:
    done = framework.delegate("job", None, action("start", Start(text="a")))
    assert (done.previous, done.trigger, done.new) == ("new", "start", "working")
    assert [one.name for one in done.intents] == ["do"]
    assert framework.accepts("job", done.state) == ("add", "finished", "refused", "unclear")


def test_several_transitions_are_all_or_none() -> None:
    taken = framework.run("job", None, [action("start", Start(text="a")), action("add", Add(amount=2))])
    assert [step.new for step in taken] == ["working", "working"]
    with pytest.raises(InvalidStateTransitionError):
        framework.run("job", None, [action("add", Add()), action("finished", Finished(text="x"))])


def test_a_terminal_state_accepts_nothing() -> None:
    with pytest.raises(InvalidStateTransitionError, match="terminal"):
        framework.delegate("job", Job(status="done"), action("add", Add()))


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(UnknownWorkflow, match="this app has job"):
        framework.delegate("nobody", None, action("add", Add()))


def test_registered_reducers_combine() -> None:
    both = framework.combine("two", Two, {"first": "job", "second": "job"})
    state = both.delta(both.initial(), action("first.add", Add(amount=3))).state
    assert (state.first.count, state.second.count) == (3, 0)
