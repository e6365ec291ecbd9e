"""A handler that changes its state in place and then fails has changed nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import BaseModel, Field

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Payload, WorkflowKey
from onex.kernel.errors import GuardFailed, ReducerFailed, TemporaryDatabaseError
from onex.kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.ports import Applied, Code, Commit, Conflict
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from tests.engine.conftest import ENV, OneStore


class Notes(State):
    lines: list[str] = Field(default_factory=list)
    words: dict[str, int] = Field(default_factory=dict)


class Write(Payload):
    line: str


handlers = reducer(Notes)


@handlers.on("write")
def write(notes: Notes, action: Action[Write]) -> Step[Notes]:
    notes.lines.append(action.payload.line)
    notes.words[action.payload.line] = len(notes.lines)
    if action.payload.line == "bad":
        raise ValueError("no such line")
    return Step(notes.evolve(lines=list(notes.lines)))


@handlers.on("scribble")
def scribble(notes: Notes, action: Action[Write]) -> Step[Notes]:
    """Frozen is a word."""
    action.payload.__dict__["line"] += "!"
    return Step(notes.evolve(lines=[*notes.lines, action.payload.line]))


@handlers.on("short")
def short(notes: Notes, action: Action[Write]) -> Step[Notes]:
    notes.lines.append(action.payload.line)
    return Step(notes.evolve(lines=list(notes.lines)))


def table() -> ReducerRegistry:
    payloads: dict[str, type[BaseModel]] = {"write": Write, "scribble": Write, "short": Write}
    few = Guard("at most two", lambda notes, _: isinstance(notes, Notes) and len(notes.lines) < 3, after=True)
    always = (Transition("open", "open", kind) for kind in ("write", "scribble"))
    machine = Machine("open", (*always, Transition("open", "open", "short", (few,))))
    return ReducerRegistry(
        (Workflow(MachineReducer("notes", handlers, machine, payloads, {}), Code("notes", "1", bytes(32), 1)),)
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_state_changed_in_place_by_a_failing_step_is_as_it_was(one_store: OneStore, at_once: bool) -> None:
    async def go() -> None:
        key = WorkflowKey("notes", "1")
        async with one_store.engine(reducers=table()) as engine:
            calls = [engine.submit(key, "write", Write(line=line)) for line in ("a", "bad", "b", "bad", "c")]
            if at_once:
                done = await asyncio.gather(*calls, return_exceptions=True)
            else:
                done = [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]
            assert [isinstance(one, ReducerFailed) for one in done] == [False, True, False, True, False]
            state = await engine.state(key)
            assert isinstance(state, Notes) and state.lines == ["a", "b", "c"] and "bad" not in state.words
            assert [s.verdict async for s in Replay(engine.reader, table()).all()] == [EnumReplayVerdict.EQUAL]

    asyncio.run(go())


@pytest.mark.parametrize("at_once", [True, False])
def test_a_state_changed_in_place_by_a_step_that_a_guard_refuses_is_as_it_was(
    one_store: OneStore, at_once: bool
) -> None:
    async def go() -> None:
        key = WorkflowKey("notes", "1")
        async with one_store.engine(reducers=table()) as engine:
            calls = [engine.submit(key, "short", Write(line=line)) for line in ("a", "b", "c", "d")]
            if at_once:
                done = await asyncio.gather(*calls, return_exceptions=True)
            else:
                done = [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]
            assert [isinstance(one, GuardFailed) for one in done] == [False, False, True, True]
            state = await engine.state(key)
            assert isinstance(state, Notes) and state.lines == ["a", "b"]
            assert (await engine.submit(key, "write", Write(line="e"))).version == 3
            assert [s.verdict async for s in Replay(engine.reader, table()).all()] == [EnumReplayVerdict.EQUAL]

    asyncio.run(go())


def test_a_payload_changed_in_place_is_as_it_was_when_it_is_judged_again() -> None:
    class Refuses(MemoryStore):
        refused = 0

        async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
            if commit.changes and self.refused < 2:
                self.refused += 1
                raise TemporaryDatabaseError("not now")
            return await super().commit(commit)

    async def go() -> None:
        key, store = WorkflowKey("notes", "1"), Refuses()
        engine = ReducerPatternEngine(store, store, table(), SystemClock(), UuidV7(), ENV)
        async with await engine.start("test"):
            await engine.submit(key, "scribble", Write(line="a"))
            state = await engine.state(key)
            assert isinstance(state, Notes) and state.lines == ["a!"]
            assert [s.verdict async for s in Replay(engine.reader, table()).all()] == [EnumReplayVerdict.EQUAL]
        assert store.refused == 2

    asyncio.run(go())
