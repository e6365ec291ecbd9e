"""A step that never returns is ended; one that ends in time never hears of the watchdog."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from onex.adapters.watchdog import Watchdog
from onex.engine.budget import Budgeted
from onex.kernel.action import Action
from onex.kernel.errors import ReducerFailed
from onex.kernel.machine import MachineReducer, reducer
from onex.kernel.step import Step
from onex.ports import StepOverrun
from onex.testing.harness import action, given
from tests.engine.jobs import MACHINE, PAYLOADS, Add, Job, intents

handlers = reducer(Job)


@handlers.on("add")
def add(job: Job, action: Action[Add]) -> Step[Job]:
    while action.payload.amount == 13:
        with suppress(Exception):
            sum(range(10))
    return Step(job.evolve(count=job.count + 1))


@pytest.fixture
def guard() -> Iterator[Watchdog]:
    watchdog = Watchdog(budget_s=0.05)
    yield watchdog
    watchdog.close()


def test_an_endless_step_fails_its_action_and_the_next_one_steps(guard: Watchdog) -> None:
    job = given(Budgeted(MachineReducer("job", handlers, MACHINE, PAYLOADS, intents()), guard))
    for _ in range(3):
        before = job.state
        job.when("add", Add(amount=13)).then_refused(ReducerFailed)
        assert job.state == before
        job.when("add", Add(amount=1)).then(count=before.count + 1)


def test_steps_in_time_are_left_alone(guard: Watchdog) -> None:
    plain = MachineReducer("job", handlers, MACHINE, PAYLOADS, intents())
    budgeted = Budgeted(plain, guard)
    state = plain.initial()
    for n in range(20_000):
        state = budgeted.delta(state, action("add", Add(), number=n % 7)).state
    assert state.count == 20_000


def test_an_overrun_seen_only_at_the_end_is_still_an_overrun(guard: Watchdog) -> None:
    ended = threading.Event()
    with pytest.raises(StepOverrun):
        guard.enter()
        try:
            ended.wait(0.3)  # one call into C: the exception arrives at the first bytecode behind it
        finally:
            guard.leave()
    guard.enter()
    guard.leave()
