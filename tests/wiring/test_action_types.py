"""The six types of an action: in the engine's process, through the inbox of another, and by a bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

import onex
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.bus import BusMessage
from onex.engine.action_status import action_status
from onex.engine.bus.topics import BusTopics
from onex.kernel.action import EPOCH, EnumActionStatus, EnumActionType, ModelAction, WorkflowKey
from onex.kernel.errors import (
    ConcurrentModificationError,
    LeaseValidationError,
    UnsupportedAction,
    ValidationError,
)
from onex.views.causes import causes_of
from tests.wiring.test_kafka_app import APP

APP = APP + 'tally.move("reset", "odd -> even", "even -> closed")\n'
START, UPDATE, ABORT, DELEGATE, ROLLBACK, CHECKPOINT = (
    EnumActionType.START_WORKFLOW, EnumActionType.UPDATE_STATE, EnumActionType.ABORT_WORKFLOW,
    EnumActionType.DELEGATE_TASK, EnumActionType.ROLLBACK_STATE, EnumActionType.CHECKPOINT_STATE,
)  # fmt: skip
Perform = Callable[[ModelAction], Awaitable[onex.Committed]]
K = WorkflowKey("tally", "1")


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    path = tmp_path / "tally.py"
    path.write_text(APP)
    return path


def action(kind: str = "add", action_type: EnumActionType = UPDATE, **more: object) -> ModelAction:
    payload = {"command_payload": {"n": 1}} if kind == "add" else {}
    return ModelAction.model_validate({"workflow_key": K, "kind": kind, "action_type": action_type, **payload, **more})


async def all_types(perform: Perform, engine: onex.ReducerPatternEngine) -> None:
    """What each type does, whichever way it comes."""
    first = action(action_type=START, action_id=uuid4(), issuer="tally:0")
    assert (await perform(first)).version == 1
    assert (await perform(first)).duplicate
    with pytest.raises(ConcurrentModificationError):
        await perform(action(action_type=START))
    for _ in range(2):
        await perform(action())
    child = action(action_type=DELEGATE, workflow_key=("tally", "2"), parent_action_id=first.action_id, issuer=str(K))
    assert (await perform(child)).version == 1
    found = await causes_of(engine.reader, WorkflowKey("tally", "2"), 1)  # type: ignore[arg-type]  # a store
    assert found is not None and [str(one.key) for one in found.chain] == ["tally:1", "tally:2"]
    async with engine.lease(K) as lease:
        back = action("rollback", ROLLBACK, command_payload={"to_version": 1}, lease_id=lease.lease.lease_id)
        back = back.model_copy(update={"action_id": uuid4(), "issuer": "the leader"})
        assert ((await perform(back)).version, (await perform(back)).duplicate) == (4, True)
        state = await engine.state(K)
        assert state is not None and state.model_dump()["total"] == 1
        with pytest.raises(ValidationError, match="has no version 9"):
            await perform(back.model_copy(update={"command_payload": {"to_version": 9}, "action_id": uuid4()}))
        with pytest.raises(LeaseValidationError):
            await perform(back.model_copy(update={"lease_id": uuid4(), "action_id": uuid4()}))
    assert (await engine.reader.history(K, 3, 1))[0].row.issuer == "the leader"
    with pytest.raises(UnsupportedAction, match="a trigger that ends tally, which 'reset' is not; name close"):
        await perform(action("reset", ABORT))
    assert (await perform(action("close", ABORT))).status == "closed"


def test_the_types_in_the_process_of_the_engine(tally: Path) -> None:
    async def go() -> None:
        async with await onex.open("memory:", tally) as engine:
            await all_types(engine.perform, engine)

    asyncio.run(go())


def test_the_types_from_another_process(tally: Path, tmp_path: Path) -> None:
    async def go() -> None:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        async with await onex.open(url, tally) as engine, await onex.connect(url) as client:
            await all_types(client.perform, engine)

    asyncio.run(go())


def test_the_types_by_a_bus(tally: Path) -> None:
    """What a message came to stands in the log, or in the rejections."""

    async def go() -> None:
        broker, topics = MemoryBroker(), BusTopics()
        async with await onex.open("memory:", tally, bus=MemoryBus(broker)) as engine:

            async def sent(asked: ModelAction) -> UUID:
                named = asked.model_copy(update={"action_id": asked.action_id or uuid4()})
                key = f"{asked.workflow_key.workflow_type}:{asked.workflow_key.instance_id}".encode()
                value = named.model_dump_json(exclude_none=True).encode()
                await MemoryBus(broker).publish([BusMessage(topics.commands, key, value)])
                assert named.action_id is not None
                return named.action_id

            for asked in (action(action_type=START), action(), action()):
                await sent(asked)
            async with asyncio.timeout(20):
                while getattr(await engine.stored(K), "version", 0) < 3:
                    await asyncio.sleep(0.01)
            async with engine.lease(K) as lease:
                to = {"to_version": 2}
                await sent(action("rollback", ROLLBACK, command_payload=to, lease_id=lease.lease.lease_id))
                await engine.wait(K, until="even")
            refused = await sent(action("reset", ABORT))
            await sent(action("close", ABORT))
            await engine.wait(K, until="closed")
            kinds = [one.row.kind for one in await engine.reader.history(K, 0, 10)]
            assert kinds == ["add", "add", "add", "@rollback", "close"]
            assert (await engine.reader.rejections(None, refused.bytes, 0, 1))[0].code == "unsupported_action"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        (action(action_type=CHECKPOINT), "each commit writes the whole state"),
        (action(action_type=DELEGATE), "name that as parent_action_id"),
        (action(action_type=DELEGATE, target_node="effect", parent_action_id=uuid4()), "an intent of a reducer"),
        (action("close", ABORT, target_node="compute"), "an intent of a reducer"),
        (action("rollback", ROLLBACK, command_payload={"to_version": 1}), "take its lease"),
        (action("add", ROLLBACK, lease_id=uuid4()), 'with the payload {"to_version": N}'),
        (action("@release", ABORT), "names a trigger of the contract"),
        (action("nonsense", ABORT), "name close"),
    ],
)
def test_what_is_not_served_says_what_to_do_instead(tally: Path, asked: ModelAction, instead: str) -> None:
    async def go() -> None:
        async with await onex.open("memory:", tally) as engine:
            with pytest.raises(UnsupportedAction) as raised:
                await engine.perform(asked)
            assert instead in raised.value.message
            assert (await engine.reader.rejections(str(K), None, 0, 5))[0].code == "unsupported_action"
            assert await engine.stored(K) is None

    asyncio.run(go())


EFFECTS = """
from typing import Literal

from onex import Action, EffectFailed, ModelIntent, Nothing, Payload, State, Step, workflow


class Call(State):
    status: Literal["idle", "busy"] = "idle"


class Number(Payload):
    of: str


calls = workflow("calls", Call, terminal=[])


@calls.effect(retry=1)
async def dial(intent: ModelIntent[Number]) -> None: ...


@calls.on("idle | busy -> busy")
def call(now: Call, action: Action[Number]) -> Step[Call]:
    return Step(now, action.payload)
"""


def test_what_became_of_an_action_is_read_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "calls.py"
    path.write_text(EFFECTS)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    key, ids = "calls:1", [uuid4() for _ in range(5)]
    may_end, runs = asyncio.Event(), asyncio.Event()

    async def dial(intent: onex.ModelIntent[BaseModel]) -> None:
        if intent.serialize_payload()["of"] == "wrong":
            raise onex.EffectFailed("nobody is there")
        runs.set()
        await may_end.wait()

    async def go() -> None:
        async with await onex.open(url, path, executors={"dial": dial}) as engine, await onex.connect(url) as client:
            await engine.submit(key, "call", {"of": "right"}, action_id=ids[0])
            await runs.wait()
            assert await client.action_status(key, ids[0]) is EnumActionStatus.IN_PROGRESS
            may_end.set()
            await engine.submit(key, "call", {"of": "wrong"}, action_id=ids[1])
            with pytest.raises(onex.OnexError):
                await engine.submit(key, "hang_up", action_id=ids[2])
            with pytest.raises(onex.OnexError):
                await engine.submit(key, "call", {"of": "right"}, action_id=ids[3], expires_at=EPOCH)
            await engine.idle()
            found = [await action_status(engine.store, engine.reader, WorkflowKey.parse(key), one) for one in ids]
            assert found == [await client.action_status(key, one) for one in ids]
            assert [one.value for one in found] == ["completed", "failed", "failed", "cancelled", "pending"]

    asyncio.run(go())
