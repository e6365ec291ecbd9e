"""Guards on the state after the handler: which transition is taken, and that a refused step leaves nothing."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from onex.kernel.action import Action, Payload, WorkflowKey
from onex.kernel.errors import GuardFailed, InvalidStateTransitionError
from onex.kernel.intent import EnumIntentType, IntentSpec, intent
from onex.kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step


class Count(State):
    open: int = 0


class Back(Payload):
    files: int = 1


CALLS: list[int] = []
counts = reducer(Count)


@counts.on("back")
def back(count: Count, action: Action[Back]) -> Step[Count]:
    CALLS.append(count.open)
    return Step(count.evolve(open=count.open - action.payload.files), intent("tell"))


def opened(state: BaseModel) -> int:
    assert isinstance(state, Count)
    return state.open


def none_open(state: BaseModel, payload: BaseModel) -> bool:
    return opened(state) == 0


def some_open(state: BaseModel, payload: BaseModel) -> bool:
    return opened(state) > 0


def made(*transitions: Transition) -> MachineReducer[Count]:
    tell = IntentSpec("tell", EnumIntentType.NOTIFICATION, "horn")
    return MachineReducer("counts", counts, Machine("some", transitions), {"back": Back}, {"tell": tell})


def act(files: int = 1) -> Action[BaseModel]:
    return Action(WorkflowKey("counts", "1"), "back", Back(files=files), UUID(int=1).bytes, 0, UUID(int=2).bytes)


LAST = Transition("some", "done", "back", (Guard("state.open == 0", none_open, after=True),))
MORE = Transition("some", "some", "back")


def test_the_state_after_the_handler_chooses_the_next_status() -> None:
    files = made(LAST, MORE)
    done = files.delta(Count(status="some", open=2), act())
    assert (done.state, [one.name for one in done.intents]) == (Count(status="some", open=1), ["tell"])
    done = files.delta(done.state, act())
    assert (done.state, [one.name for one in done.intents]) == (Count(status="done", open=0), ["tell"])


def test_where_no_transition_is_left_the_action_is_refused_after_its_handler() -> None:
    before = Count(status="some", open=2)
    with pytest.raises(GuardFailed, match=r"condition 'state.open == 0' is false after its handler") as caught:
        made(LAST).delta(before, act())
    assert caught.value.handler_ran
    assert before == Count(status="some", open=2)


def test_the_handler_does_not_run_when_the_state_before_leaves_no_transition() -> None:
    CALLS.clear()
    both = (Guard("state.open > 0", some_open), Guard("state.open == 0", none_open, after=True))
    with pytest.raises(GuardFailed, match=r"condition 'state.open > 0' is false$") as caught:
        made(Transition("some", "done", "back", both)).delta(Count(status="some", open=0), act())
    assert CALLS == []
    assert not caught.value.handler_ran


def test_a_guard_that_raises_on_the_state_after_refuses() -> None:
    def raises(state: BaseModel, payload: BaseModel) -> bool:
        raise ZeroDivisionError("no files")

    with pytest.raises(GuardFailed, match="condition 'x' raised ZeroDivisionError: no files"):
        made(Transition("some", "done", "back", (Guard("x", raises, after=True),))).delta(Count(status="some"), act())


def test_a_trigger_without_a_handler_is_judged_on_the_state_as_it_is() -> None:
    machine = Machine("some", (Transition("some", "done", "end", (Guard("none", none_open, after=True),)),))
    quiet = MachineReducer("counts", reducer(Count), machine, {"end": Back}, {})
    end = act()._replace(kind="end")
    assert quiet.delta(Count(status="some"), end).state.status == "done"
    with pytest.raises(GuardFailed):
        quiet.delta(Count(status="some", open=1), end)


# --- any table, beside the rule in plain words ------------------------------------------------------------------------


class Line(NamedTuple):
    """``bars[n]``: a guard that holds when the counter is at least that; before or after the handler."""

    to: str
    any_state: bool
    priority: int
    bars: tuple[tuple[int, bool], ...]


LINES = st.lists(
    st.builds(
        Line,
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=3).map(tuple),
    ),
    max_size=5,
)


def expected(lines: list[Line], before: int, after: int) -> tuple[str | None, bool]:
    """``(next status or None, did the handler run)``, said as docs/concepts/machines-and-guards.md says it."""
    tried = sorted(lines, key=lambda line: (line.any_state, -line.priority))
    left = [line for line in tried if all(before >= bar for bar, late in line.bars if not late)]
    taken = [line.to for line in left if all(after >= bar for bar, late in line.bars if late)]
    return (taken[0] if taken else None), bool(left)


@given(LINES, st.integers(0, 4), st.integers(-2, 2))
def test_any_table_is_judged_by_the_rule(lines: list[Line], before: int, files: int) -> None:
    def guard(bar: int, late: bool) -> Guard:
        return Guard(f"state.open >= {bar}", lambda state, payload: opened(state) >= bar, late)

    transitions = [
        Transition(
            "*" if line.any_state else "some", line.to, "back", tuple(guard(*bar) for bar in line.bars), line.priority
        )
        for line in lines
    ]
    state, ran = Count(status="some", open=before), []
    table = reducer(Count)

    @table.on("back")
    def handler(count: Count, action: Action[Back]) -> Step[Count]:
        ran.append(count.open)
        return Step(count.evolve(open=count.open - action.payload.files), intent("tell"))

    tell = IntentSpec("tell", EnumIntentType.NOTIFICATION, "horn")
    machine = Machine("some", tuple(transitions))
    any_table = MachineReducer("counts", table, machine, {"back": Back}, {"tell": tell})
    wanted, runs = expected(lines, before, before - files)
    if wanted is None:
        with pytest.raises(GuardFailed if lines else InvalidStateTransitionError):
            any_table.delta(state, act(files))
    else:
        done = any_table.delta(state, act(files))
        assert done.state == Count(status=wanted, open=before - files)
        assert [one.name for one in done.intents] == ["tell"]
    assert len(ran) == runs
    assert state == Count(status="some", open=before)
