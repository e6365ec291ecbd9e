"""The order saga: what is done, what is undone, and that a kill in the middle repeats nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from onex.testing.virtual_time import VirtualRun, virtual
from tests.examples.killed import EXAMPLES, ActionToSend, over_kills

FOLDER = EXAMPLES / "order_saga"
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


def test_a_kill_in_the_middle_repeats_no_finished_task(world: Path, tmp_path: Path) -> None:
    order = ActionToSend("order_saga:tea", "start", dict(TEA))
    seen = over_kills(FOLDER, tmp_path, [order], {order.key: "terminal"}, ["pay:1", "ship:1"])
    assert seen.ended[order.key]["status"] == "completed"
    assert {target: len(keys) for target, keys in seen.keys.items()} == {"reserve": 1, "pay": 1, "ship": 1}
    assert seen.again == {"pay": 1, "ship": 1}, "what was killed ran again, with the same key"
    assert kept(world) == {"parcels": ["tea"], "payments": ["tea"], "reservations": ["tea"]}
    assert len((world / "reservations" / "tea").read_text().splitlines()) == 1, "it had ended before the first kill"
