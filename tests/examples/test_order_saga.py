"""The order saga: what is done, what is undone, and that a kill in the middle repeats nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

from onex.testing.virtual_time import VirtualRun, virtual

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "order_saga"
TEA: dict[str, JsonValue] = {"id": "tea", "sku": "tea", "cents": 500}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    world = tmp_path / "world"
    world.mkdir()
    monkeypatch.setenv("ONEX_SAGA_DIR", str(world))
    return world


def kept(world: Path) -> dict[str, list[str]]:
    """``kept[folder]``: the orders in it."""
    return {
        folder.name: sorted(one.name for one in folder.iterdir())
        for folder in sorted(world.iterdir())
        if folder.is_dir()
    }


def ended(run: VirtualRun, order: dict[str, JsonValue]) -> str:
    run.submit(f"order_saga:{order['id']}", "start", order)
    return run.wait(f"order_saga:{order['id']}").status


def test_an_order_is_reserved_paid_and_shipped(world: Path) -> None:
    with virtual(FOLDER) as run:
        assert ended(run, TEA) == "completed"
    assert kept(world) == {"parcels": ["tea"], "payments": ["tea"], "reservations": ["tea"]}


def test_an_order_that_nobody_ships_is_undone(world: Path) -> None:
    with virtual(FOLDER) as run:
        assert ended(run, {**TEA, "id": "far"}) == "failed"
        assert run.state("order_saga:far").model_dump()["plan"]["why"] == "ship: too_far: nobody ships there"
    assert kept(world) == {"payments": [], "reservations": []}


def test_a_large_order_waits_for_a_person_and_not_longer_than_three_days(world: Path) -> None:
    large = {**TEA, "id": "large", "cents": 60_000}
    with virtual(FOLDER) as run:
        run.submit("order_saga:large", "start", large)
        run.submit("order_saga:large", "review.approve", {"by": "ada"})
        assert run.wait("order_saga:large").status == "completed"
        run.submit("order_saga:slow", "start", {**large, "id": "slow"})
        run.skip(days=2)
        assert run.state("order_saga:slow").status == "running"
        run.skip(days=1)
        assert run.state("order_saga:slow").status == "failed"
    assert kept(world) == {"parcels": ["large"], "payments": ["large"], "reservations": ["large"]}


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
import onex

store, app, killed_in = sys.argv[1:]

def pay(intent):
    with (Path(os.environ["ONEX_SAGA_DIR"]) / "paid").open("a") as file:
        file.write(f"{intent.idempotency_key}\\n")
    if killed_in == "pay":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"number": "p"}

def ship(intent):
    if killed_in == "ship":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"number": "s"}

async def main():
    async with await onex.open(store, app, executors={"pay": pay, "ship": ship}) as engine:
        await engine.submit("order_saga:tea", "start", {"id": "tea", "sku": "tea", "cents": 500}, action_id=UUID(int=7))
        print((await engine.wait("order_saga:tea")).status)

asyncio.run(main())
"""


def test_a_kill_in_the_middle_repeats_no_finished_task(world: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"

    def run(killed_in: str) -> tuple[int, str]:
        child = subprocess.run(
            [sys.executable, "-c", CHILD, store, str(FOLDER), killed_in], capture_output=True, text=True, timeout=60
        )
        return child.returncode, child.stdout.strip() or child.stderr[-2000:]

    assert run("pay")[0] == -signal.SIGKILL
    assert run("ship")[0] == -signal.SIGKILL
    assert run("nothing") == (0, "completed")
    assert kept(world)["reservations"] == ["tea"]
    assert len((world / "reservations" / "tea").read_text().splitlines()) == 1, "it had ended before the first kill"
    assert len(set((world / "paid").read_text().splitlines())) == 1, "run again with the same key"
