"""Quotas as an app says them: under ``resource_limits`` of a contract, or with ``limits=`` in one file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import onex
from onex.app import load_app
from onex.kernel.errors import ContractError, Overloaded, QuotaExceeded, ReducerFailed, UnknownWorkflow
from onex.kernel.quota import NO_LIMITS, ResourceLimits

LIMITS = ResourceLimits(state_bytes=200, pending_intents=3, actions_per_s=2.5, step_budget_ms=60)
ONE_FILE = """
from typing import Literal
from onex import Action, Payload, ResourceLimits, State, Step, workflow

class Loop(State):
    status: Literal["idle"] = "idle"
    text: str = ""

class Turn(Payload):
    for_ever: bool = False
    text: str = ""

def turn(loop, payload):
    while payload.for_ever:
        pass
    return Step(loop.evolve(text=payload.text))

limited = workflow("limited", Loop, limits=LIMITS)
free = workflow("free", Loop)

@limited.on("idle -> idle")
def turn_limited(loop: Loop, action: Action[Turn]) -> Step[Loop]:
    return turn(loop, action.payload)

@free.on("idle -> idle")
def turn_free(loop: Loop, action: Action[Turn]) -> Step[Loop]:
    return turn(loop, action.payload)
"""


def one_file(folder: Path, limits: str) -> Path:
    app = folder / "loops.py"
    app.write_text(ONE_FILE.replace("LIMITS", limits))
    return app


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    app = load_app(one_file(tmp_path, "ResourceLimits(**" + json.dumps(LIMITS.given) + ")"))
    assert app.workflows["limited"].limits == LIMITS
    assert app.workflows["free"].limits is NO_LIMITS
    text = app.workflows["limited"].contract_text
    assert "resource_limits:" in text and "actions_per_s: 2.5" in text
    assert "resource_limits" not in app.workflows["free"].contract_text
    declared = {one.name: one.limits for one in app.workflows.values()}
    assert ResourceLimits.for_workflow_type("limited", declared) == LIMITS
    with pytest.raises(UnknownWorkflow, match="there is free, limited"):
        ResourceLimits.for_workflow_type("other", declared)


@pytest.mark.parametrize("wrong", ["5", "ResourceLimits(actions_per_s=-1)", "ResourceLimits(cpu=1)"])
def test_what_is_no_quota_is_reported_at_its_line(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ContractError, match=r"loops\.py"):
        load_app(one_file(tmp_path, wrong))


def test_a_type_with_quotas_is_refused_beside_one_without(tmp_path: Path) -> None:
    app = one_file(tmp_path, "ResourceLimits(state_bytes=100, step_budget_ms=50)")

    async def go() -> None:
        async with await onex.open(f"sqlite:///{tmp_path}/store.db", app) as engine:
            with pytest.raises(ReducerFailed, match="step budget"):
                await engine.submit("limited:1", "turn_limited", {"for_ever": True})
            with pytest.raises(QuotaExceeded):
                await engine.submit("limited:2", "turn_limited", {"text": "x" * 100})
            await engine.submit("limited:2", "turn_limited", {"text": "x"})
            await engine.submit("free:2", "turn_free", {"text": "x" * 1000})
            assert engine.watchdog is not None
            assert (engine.watchdog.of(None).budget_s, engine.watchdog.of(50).budget_s) == (2.0, 0.05)
            assert engine.watchdog.of(50) is engine.watchdog.of(50)

    asyncio.run(go())


def test_a_sender_in_another_process_is_told_when_to_come_again(tmp_path: Path) -> None:
    app, url = one_file(tmp_path, "ResourceLimits(actions_per_s=0.01)"), f"sqlite:///{tmp_path}/store.db"

    async def go() -> None:
        async with await onex.open(url, app), await onex.connect(url) as client:
            await client.submit("limited:1", "turn_limited", {"text": "a"})
            with pytest.raises(Overloaded) as told:
                await client.submit("limited:1", "turn_limited", {"text": "b"})
            assert 90 < told.value.retry_after_s <= 100
            await client.submit("limited:2", "turn_limited", {"text": "c"})

    asyncio.run(go())
