"""The engine as a node: an input is applied once and in order, a refusal is what the contract says, and a store that is away
opens the breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from pydantic import JsonValue

from onex.contracts.model.reducer_pattern import ModelContractReducerPattern
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import (
    CommitUnknown,
    EngineClosed,
    InvalidPayload,
    InvalidStateTransitionError,
    OnexError,
    Overloaded,
    UnsupportedAction,
    ValidationError,
)
from onex.kernel.retry import EnumBreakerState
from onex.nodes.reducer import ModelReducerInput, ModelReducerOutput
from onex.nodes.reducer_pattern import NodeReducerPatternEngine
from onex.nodes.services import ProtocolReducerPatternEngine
from onex.wiring.integration_bridge import read_node_contract
from tests.engine.conftest import OneStore
from tests.engine.test_store_faults import Unreliable, engine_on

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OneStore:
    return OneStore(request.param, tmp_path)


def add(amount: int = 1, **fields: JsonValue) -> JsonValue:
    return {
        "workflow_type": "job", "instance_id": "1", "kind": "add", "command_payload": {"amount": amount}, **fields
    }  # fmt: skip


def asked(*data: JsonValue, operation: UUID | None = ONE, **fields: object) -> ModelReducerInput:
    return ModelReducerInput.model_validate(
        {"correlation_id": OTHER, "operation_id": operation, "data": data, **fields}
    )


def contract(**fields: object) -> ModelContractReducerPattern:
    """The shipped contract with other answers."""
    plain = read_node_contract().model_dump(exclude_unset=True)
    return ModelContractReducerPattern.model_validate({**plain, **fields})


def with_node(
    script: Callable[[NodeReducerPatternEngine, ReducerPatternEngine], Awaitable[None]],
    store: OneStore,
    **fields: object,
) -> None:
    async def go() -> None:
        async with store.engine() as engine, NodeReducerPatternEngine(engine, contract(**fields)) as node:
            await script(node, engine)

    asyncio.run(go())


def test_an_input_is_applied_in_order_and_once(opened: OneStore) -> None:
    async def script(node: NodeReducerPatternEngine, engine: ReducerPatternEngine) -> None:
        done = await node.reduce(asked(add(1), add(2), add(3)))
        assert isinstance(done.aggregated_data, list)
        assert [one["version"] for one in done.aggregated_data if isinstance(one, dict)] == [1, 2, 3]
        assert (done.aggregated_state["count"], done.records_processed, done.intents) == (6, 3, ())
        assert (done.metadata["workflow_type"], done.metadata["instance_id"]) == ("job", "1")
        assert isinstance(done.metadata["execution_time_ms"], float)
        assert ModelReducerOutput.model_validate_json(done.model_dump_json()) == done
        again = await node.reduce(asked(add(1), add(2), add(3)))
        assert isinstance(again.aggregated_data, list)
        assert [one["duplicate"] for one in again.aggregated_data if isinstance(one, dict)] == [True] * 3
        assert again.aggregated_state["count"] == 6

    with_node(script, opened)


def test_the_log_says_which_node_and_which_correlation_caused_a_version(opened: OneStore) -> None:
    async def script(node: NodeReducerPatternEngine, engine: ReducerPatternEngine) -> None:
        await node.reduce(asked(add()))
        stored = await engine.stored("job:1")
        assert stored is not None
        (row,) = [entry.row for entry in await engine.reader.history(stored.key, 0, 1)]
        assert (row.issuer, row.action_id) == ("reducer_pattern_engine", uuid5(ONE, "0").bytes)
        assert row.correlation == OTHER.bytes

    with_node(script, opened)


def test_a_refusal_is_raised_and_ends_the_call(opened: OneStore) -> None:
    async def script(node: NodeReducerPatternEngine, engine: ReducerPatternEngine) -> None:
        with pytest.raises(InvalidStateTransitionError) as refused:
            await node.reduce(asked(add(1), add(kind="unwatch", command_payload={}), add(2)))
        assert refused.value.context["record"] == 1
        assert refused.value.correlation_id == str(OTHER)
        stored = await engine.stored("job:1")
        assert stored is not None and stored.version == 1
        assert node.breaker.state is EnumBreakerState.CLOSED

    with_node(script, opened)


def test_with_partial_results_a_refusal_stands_in_its_place(opened: OneStore) -> None:
    async def script(node: NodeReducerPatternEngine, engine: ReducerPatternEngine) -> None:
        done = await node.reduce(asked(add(1), add(kind="unwatch", command_payload={}), add(2)))
        assert isinstance(done.aggregated_data, list)
        first, refused, last = done.aggregated_data
        assert isinstance(first, dict) and isinstance(refused, dict) and isinstance(last, dict)
        assert isinstance(refused["error"], dict)
        assert (first["version"], refused["error"]["code"], last["version"]) == (1, "illegal_transition", 2)
        assert done.aggregated_state["count"] == 3

    with_node(script, opened, partial_results_enabled=True)


BAD: list[tuple[ModelReducerInput, type[OnexError], str]] = [
    (asked(), ValidationError, "data is empty"),
    (asked(7), InvalidPayload, "record 0 is no action"),
    (asked(add(), add(wish=1)), InvalidPayload, "record 1 is no action: wish"),
    (asked(add(), add(instance_id="2")), ValidationError, "one input for each instance"),
    (asked(add(), operation=None), ValidationError, "operation_id"),
    (asked(add(target_node="effect")), UnsupportedAction, "takes no actions"),
    (asked(add(), aggregation_method="average"), ValidationError, "NodeReducer"),
    (asked(add(instance_id="a\x00")), ValidationError, "control character"),
    (asked(add(**{"wi\x1bsh": 1})), InvalidPayload, r"wi\\x1bsh: Extra"),
    (asked(add(command_payload={"amount": "\x00"})), InvalidPayload, "NUL"),
]


@pytest.mark.parametrize(("bad", "error", "says"), BAD, ids=[says for _, _, says in BAD])
def test_what_is_no_input_sends_nothing(
    bad: ModelReducerInput, error: type[OnexError], says: str, opened: OneStore
) -> None:
    async def script(node: NodeReducerPatternEngine, engine: ReducerPatternEngine) -> None:
        with pytest.raises(error, match=says):
            await node.reduce(bad)
        assert await engine.stored("job:1") is None

    with_node(script, opened)


def test_a_store_that_is_away_opens_the_breaker_and_nothing_is_applied_twice() -> None:
    """A hundred callers while no commit comes back: the first get CommitUnknown, the rest are refused at once. When the store
    is back the same inputs are sent again, and each is applied once."""

    async def go() -> None:
        store = Unreliable()
        limits = {
            "performance": {"max_execution_time_ms": 20},
            "circuit_breaker": {"failure_threshold": 3, "timeout_ms": 1},
        }
        async with engine_on(store) as engine, NodeReducerPatternEngine(engine, contract(**limits)) as node:
            inputs = [asked(add(instance_id=str(n)), operation=uuid5(ONE, str(n))) for n in range(100)]
            store.gate.clear()
            lost = await asyncio.gather(*(node.reduce(one) for one in inputs[:3]), return_exceptions=True)
            assert {type(one) for one in lost} == {CommitUnknown}
            assert str(node.breaker.state) == "open"
            node.breaker.policy = node.breaker.policy._replace(open_s=3600.0)
            refused = await asyncio.gather(*(node.reduce(one) for one in inputs), return_exceptions=True)
            assert {type(one) for one in refused} == {Overloaded}
            with pytest.raises(Overloaded):
                await node.ping()
            store.gate.set()
            node.breaker.policy, node.limit_s = node.breaker.policy._replace(open_s=0.0), None
            assert (await node.reduce(inputs[0])).aggregated_state["count"] == 1
            assert str(node.breaker.state) == "closed"
            done = await asyncio.gather(*(node.reduce(one) for one in inputs))
            assert [one.aggregated_state["count"] for one in done] == [1] * 100

    asyncio.run(go())


def test_a_close_answers_what_runs_and_takes_no_more() -> None:
    async def go() -> None:
        store = Unreliable()
        async with engine_on(store) as engine:
            node = NodeReducerPatternEngine(engine, contract(), owns_engine=True)
            store.gate.clear()
            running = asyncio.create_task(node.reduce(asked(add())))
            await asyncio.sleep(0)  # it is submitted
            closing = asyncio.create_task(node.close())
            await asyncio.sleep(0)
            store.gate.set()
            assert (await running).aggregated_state["count"] == 1
            await closing
            with pytest.raises(EngineClosed):
                await node.reduce(asked(add()))
            with pytest.raises(EngineClosed):
                await node.ping()
            assert engine.is_closing

    asyncio.run(go())


def test_the_node_is_what_its_protocol_asks_for() -> None:
    names = [name for name in vars(ProtocolReducerPatternEngine) if not name.startswith("_")]
    assert sorted(names) == ["close", "ping", "reduce"]
    assert all(callable(getattr(NodeReducerPatternEngine, name)) for name in names)
