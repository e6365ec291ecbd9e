"""ActionValidator says early what the engine would say, and what it executes the engine judges again."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import JsonValue

from onex.kernel.action import ModelAction
from onex.kernel.errors import OnexError, UnsupportedAction
from onex.seed_names.action_validator import ActionValidator
from tests.engine.conftest import OneStore
from tests.engine.hand_clock import ONE, K, by_hand
from tests.engine.test_inbox import run


def add(**fields: object) -> ModelAction:
    payload: dict[str, JsonValue] = {"amount": 1}
    return ModelAction.model_validate({"workflow_key": K, "kind": "add", "command_payload": payload, **fields})


def test_it_raises_what_the_engine_raises_and_changes_nothing() -> None:
    async def go() -> None:
        async with by_hand() as (engine, clock):
            validator = ActionValidator(engine)
            assert await validator.validate_action(add(epoch=0))
            await engine.submit(K, "add", ONE)
            mine = (await engine.take_lease(K, duration_s=10)).lease_id
            led: list[tuple[dict[str, object], str]] = [
                ({}, "lease_conflict"), ({"lease_id": uuid4()}, "lease_validation"),
                ({"lease_id": mine, "epoch": 1}, "epoch_mismatch"), ({"lease_id": mine, "epoch": 0}, ""),
                ({"lease_id": mine, "expires_at": datetime(1970, 1, 1, tzinfo=UTC)}, "action_expired"),
                ({"kind": "shout", "command_payload": {}}, ""),
            ]  # fmt: skip
            run_out: list[tuple[dict[str, object], str]] = [({"lease_id": mine}, "lease_expired"), ({}, "")]
            for cases, forward_s in ((led, 11), (run_out, 0)):
                for fields, expected in cases:
                    code = ""
                    try:
                        await validator.validate_action(add(**fields))
                    except OnexError as error:
                        code = error.code
                    assert code == expected, fields
                clock.forward(forward_s)
            stored = await engine.stored(K)
            assert stored is not None
            assert stored.version == 1

    run(go())


def test_what_is_executed_counts_and_names_its_parent(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            validator, parent = ActionValidator(engine), uuid4()
            await engine.submit(K, "add", ONE, action_id=parent)
            lease = await engine.take_lease(K)
            child = add(lease_id=lease.lease_id, epoch=0, parent_action_id=parent, issuer="planner")
            assert (await validator.execute_validated_action(child)).version == 2
            (row,) = [entry.row for entry in await engine.reader.history(K, 1, 1)]
            assert (row.cause_id, row.issuer) == (parent.bytes, "planner")
            with pytest.raises(UnsupportedAction):
                await validator.execute_validated_action(add(lease_id=lease.lease_id, epoch=1, target_node="effect"))

    run(go())
