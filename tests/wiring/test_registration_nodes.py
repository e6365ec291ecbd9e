"""The registration by the names of the design papers: an orchestrator, a pure reducer and an effect, over one workflow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel

import onex
from onex.kernel.action import Action, WorkflowKey, micros
from onex.kernel.errors import DependencyResolutionError, ValidationError
from onex.kernel.intent import ModelIntent
from onex.nodes.node_effect import ModelEffectInput
from onex.ports import Result
from onex.wiring.registration_nodes import (
    NodeDualRegistrationReducer,
    NodeRegistrationOrchestrator,
    NodeRegistryEffect,
)
from onex.workflows.registration.payloads import (
    ConsulKey,
    EnumRegistrationAction,
    Introspection,
    ModelRegistrationPayload,
)
from tests.workflows.registration.directories import Directories, refuses

AT = datetime(2026, 1, 1, tzinfo=UTC)
NODE = Introspection(
    event_id=UUID(int=1), node_id="mailer-1", node_name="mailer", node_type="effect", node_version="1.0.0", timestamp=AT
)
REGISTER = ModelRegistrationPayload(node_id="mailer-1", node=NODE)
LEAVE = ModelRegistrationPayload(node_id="mailer-1", action=EnumRegistrationAction.DEREGISTER, reason="moved")


def test_a_node_is_registered_and_taken_out_and_the_outcome_names_both_directories() -> None:
    directories = Directories()

    async def run() -> None:
        async with await onex.open("memory:", "onex:registration", executors=directories.executors) as engine:
            node = NodeRegistrationOrchestrator(engine)
            outcome = await node.execute_orchestration(REGISTER, UUID(int=9))
            assert (outcome.status, outcome.consul_registered, outcome.postgres_registered) == ("complete", True, True)
            history = await engine.reader.history(WorkflowKey.parse("registration:mailer-1"), 0, 10)
            assert {UUID(bytes=entry.row.correlation) for entry in history} == {UUID(int=9)}
            outcome = await node.execute_orchestration(LEAVE)
            assert (outcome.status, outcome.consul_registered, outcome.reason) == ("deregistered", False, "moved")
            directories.failing["directory"] = refuses
            later = NODE.model_copy(update={"epoch": 1})
            outcome = await node.execute_orchestration(REGISTER.model_copy(update={"node": later}))
            assert (outcome.status, outcome.consul_registered, outcome.postgres_registered) == ("partial", True, False)
            with pytest.raises(ValidationError, match="give what it tells of itself"):
                await node.execute_orchestration(ModelRegistrationPayload(node_id="other"))

    asyncio.run(run())


def test_the_reducer_is_pure_and_an_event_gives_the_same_intents_each_time() -> None:
    reducer = NodeDualRegistrationReducer()
    assert reducer.reducer is not None
    payload = reducer.reducer.payloads["introspected"].model_validate(NODE.model_dump())
    key = WorkflowKey("registration", "mailer-1")
    action: Action[BaseModel] = Action(key, "introspected", payload, bytes(16), micros(AT), bytes(16))
    first, second = (reducer.transition(reducer.reducer.initial(), action) for _ in range(2))
    assert first == second
    assert [one.name for one in first.intents][:3] == ["register_service", "put_key", "upsert_record"]


class Taking:
    """An executor that takes everything."""

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        return Result(None)


def test_the_effect_serves_both_directories_and_names_a_target_it_has_not() -> None:
    intent: ModelIntent[BaseModel] = ModelIntent(
        intent_id=UUID(int=1), intent_type="api_call", target="consul", payload=ConsulKey(node_id="mailer-1", node=NODE),
        correlation_id=UUID(int=2), idempotency_key="k",
    )  # fmt: skip
    effect = NodeRegistryEffect({"consul": Taking(), "directory": Taking()})
    assert asyncio.run(effect.execute_effect(ModelEffectInput(intent=intent))).success
    elsewhere = intent.model_copy(update={"target": "moon"})
    with pytest.raises(DependencyResolutionError, match="nothing serves 'moon'; there is consul, directory"):
        asyncio.run(effect.execute_effect(ModelEffectInput(intent=elsewhere)))
