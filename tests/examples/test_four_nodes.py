"""The four nodes together (SPEC N12): five services under one correlation id, and each of the four failing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

import onex
from examples.four_nodes.pipeline import Services, carried_out, opened
from onex import EffectFailed
from onex.kernel.errors import OnexError, WorkflowExecutionError

CORRELATION = UUID(int=4711)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEX_SAGA_DIR", str(tmp_path / "out"))
    return tmp_path


def with_services(folder: Path, use: Callable[[Services], Awaitable[None]]) -> None:
    async def go() -> None:
        async with opened(folder / "shop.db") as services:
            await use(services)

    asyncio.run(go())


def done(folder: Path) -> dict[str, list[str]]:
    """What the outside of the orchestration saw: the orders in each folder."""
    kinds = ("reservations", "payments", "parcels")
    return {kind: sorted(one.name for one in (folder / "out" / kind).glob("*")) for kind in kinds}


def test_five_services_work_on_one_order_under_one_correlation_id(folder: Path) -> None:
    async def use(services: Services) -> None:
        key = await carried_out(services, "near-1", CORRELATION)
        history = await services.orders.reader.history(onex.WorkflowKey.parse(key), 0, 100)
        assert {UUID(bytes=entry.row.correlation) for entry in history} == {CORRELATION}
        state = await services.orders.state(key)
        assert state is not None
        assert state.status == "completed"
        assert b'"cents":2000' in history[0].row.payload, "two teas and a cup"

    with_services(folder, use)
    assert done(folder) == {"reservations": ["near-1"], "payments": ["near-1"], "parcels": ["near-1"]}


@pytest.mark.parametrize(
    ("order", "method", "node", "cause", "message"),
    [
        ("none-1", "sum", "effect", EffectFailed, "there is no order none-1"),
        ("odd-1", "sum", "compute", EffectFailed, "a quantity is at least 1"),
        ("near-1", "mode", "reducer", OnexError, "no reduction is named 'mode'"),
        ("far-1", "sum", "orchestrator", WorkflowExecutionError, "nobody ships there"),
    ],
)
def test_the_node_that_failed_is_named_and_nothing_behind_it_has_happened(
    folder: Path, order: str, method: str, node: str, cause: type[OnexError], message: str
) -> None:
    async def use(services: Services) -> None:
        with pytest.raises(WorkflowExecutionError, match=f"pipeline failed at {node}") as failed:
            await carried_out(services, order, CORRELATION, method=method)
        error = failed.value
        assert error.context["failed_nodes"] == [node]
        assert error.correlation_id == str(CORRELATION)
        assert isinstance(error.__cause__, cause)
        assert message in str(error.context["pipeline_errors"])

    with_services(folder, use)
    assert done(folder) == {"reservations": [], "payments": [], "parcels": []}, "what was done is undone"
