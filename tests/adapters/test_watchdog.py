"""A step that never returns is ended; one that ends in time never hears of the watchdog."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from onex.adapters.watchdog import Watchdog
from onex.engine.step_budget import Budgeted
from onex.kernel.action import Action
from onex.kernel.errors import ReducerFailed
from onex.kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
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


def _swallows() -> None:
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def _swallows_at_every_depth() -> None:
    while True:
        try:
            while True:
                try:
                    while True:
                        sum(range(10))
                except BaseException as error:
                    _told = str(error)
        except BaseException:
            continue


def _suppresses() -> None:
    while True:
        with suppress(BaseException):
            while True:
                pass


def _swallows_in_a_call() -> None:
    def inside() -> None:
        with suppress(BaseException):
            while True:
                sum(range(10))

    while True:
        inside()


def _goes_on_once() -> None:
    with suppress(BaseException):
        while True:
            pass


STUBBORN = (_swallows, _swallows_at_every_depth, _suppresses, _swallows_in_a_call, _goes_on_once)
stubborn = reducer(Job)


@stubborn.on("add")
def swallow(job: Job, action: Action[Add]) -> Step[Job]:
    if action.payload.amount < len(STUBBORN):
        STUBBORN[action.payload.amount]()
    return Step(job.evolve(count=job.count + 1))


@pytest.mark.parametrize("which", range(len(STUBBORN)), ids=[one.__name__ for one in STUBBORN])
def test_a_step_that_swallows_its_end_is_ended_all_the_same(guard: Watchdog, which: int) -> None:
    job = given(Budgeted(MachineReducer("job", stubborn, MACHINE, PAYLOADS, intents()), guard))
    for n in range(3):
        job.when("add", Add(amount=which)).then_refused(ReducerFailed)
        job.when("add", Add(amount=99)).then(count=n + 1)


def test_nothing_is_raised_once_the_step_is_left(guard: Watchdog) -> None:
    kept: list[BaseException] = []
    with pytest.raises(StepOverrun) as overrun:
        guard.enter()
        try:
            _goes_on_once()
        finally:
            guard.leave()
    kept.append(overrun.value)
    guard.enter()
    kept.clear()
    del overrun
    assert sum(1 for _ in range(100_000)) == 100_000
    guard.leave()
    guard.leave()  # twice does no harm


def test_the_budget_of_a_step_covers_its_guards(guard: Watchdog) -> None:
    def endless(state: object, payload: object) -> bool:
        _swallows()
        return True

    machine = Machine("new", (Transition("new", "new", "add", (Guard("payload.amount > 0", endless),)),))
    job = given(Budgeted(MachineReducer("job", handlers, machine, {"add": Add}, intents()), guard))
    job.when("add", Add(amount=1)).then_refused(ReducerFailed)
