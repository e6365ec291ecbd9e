"""Code loaded for folding: it decides as in an engine, and whatever it would have done outside is counted and not done."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.app import load_app
from onex.kernel.action import NOTHING, Action, WorkflowKey
from onex.kernel.errors import EffectFailed, ReducerFailed
from onex.kernel.intent import ModelIntent
from onex.wiring.folding import InertApp

ORDERS = Path(__file__).resolve().parents[2] / "examples" / "orders"


def intent(target: str) -> ModelIntent[BaseModel]:
    one = UUID(int=1)
    return ModelIntent(
        intent_id=one, intent_type="file_operation", target=target, payload=NOTHING, correlation_id=one, idempotency_key="1"
    )  # fmt: skip


def test_every_effect_ends_at_a_boundary_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    app = InertApp(ORDERS)
    try:
        executors = app.registry["orders"].executors
        assert set(executors) == {"bank", "warehouse"}
        for number, (target, executor) in enumerate(executors.items(), 1):
            with pytest.raises(EffectFailed, match="was to run in a process that only folds"):
                asyncio.run(executor.execute(intent(target)))
            assert app.boundary.fired == number
    finally:
        app.close()
    assert not (tmp_path / "out").exists()


def test_its_code_is_the_one_an_engine_would_run() -> None:
    app = InertApp(ORDERS)
    try:
        assert app.registry["orders"].code == load_app(ORDERS).workflows["orders"].code
    finally:
        app.close()


def test_a_step_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_STEP_BUDGET_MS", "50")
    place = tmp_path / "orders"
    place.mkdir()
    for file in ORDERS.glob("*.*"):
        text = file.read_text().replace("    items = action.payload.items\n", "    while True:\n        pass\n")
        (place / file.name).write_text(text)
    app = InertApp(place)
    try:
        workflow = app.registry["orders"]
        payload = workflow.payload_model("place").model_validate({"items": [{"sku": "a", "quantity": 1, "cents": 1}]})
        action = Action(WorkflowKey("orders", "1"), "place", payload, bytes(16), 0, bytes(16))
        with pytest.raises(ReducerFailed, match="did not end within its step budget"):
            workflow.reducer.delta(workflow.reducer.initial(), action)
    finally:
        app.close()
