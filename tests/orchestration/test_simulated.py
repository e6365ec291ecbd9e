"""An orchestration under crashes and faults: no finished task is done again, and what failed has undone what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.cli.main import main

FILES = {
    "contract.yaml": """\
name: many
contract_version: {major: 1, minor: 0, patch: 0}
node_type: ORCHESTRATOR
input: Order
deadline_ms: 600000
tasks:
  - {id: pay, effect: bank, retry: {max_attempts: 2}, compensate: {effect: refund, with: {order: input.id}}}
  - {id: all, effect: work, with: {index: index}, map: {count: 5, concurrency: 3, failures: 1, gather: collect}}
  - {id: cool, wait_ms: 5000}
  - {id: ship, effect: ship, with: {number: pay.number}, on_failure: skip}
""",
    "payloads.py": """\
from __future__ import annotations

from onex import Payload


class Order(Payload):
    id: str


class Made(Payload):
    number: str


class Item(Payload):
    index: int


class Undo(Payload):
    order: str
""",
    "effects.py": """\
from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Item, Made, Order, Undo


@effect("bank")
def bank(intent: ModelIntent[Order]) -> Made: ...


@effect("refund")
def refund(intent: ModelIntent[Undo]) -> None: ...


@effect("work")
def work(intent: ModelIntent[Item]) -> Made: ...


@effect("ship")
def ship(intent: ModelIntent[Made]) -> Made: ...
""",
    "simulation.py": """\
from __future__ import annotations

from collections import Counter

from onex.simulation.app_sim.world import World, at_end


def no_finished_task_is_done_again(world: World) -> str | None:
    reruns = {one.key for one in world.actions if one.trigger == "rerun"}
    keys = Counter((one.key, one.name) for one in world.effects if one.key not in reruns)
    twice = [f"{key} {name}" for (key, name), times in keys.items() if times > 1]
    return f"under two keys: {', '.join(twice)}" if twice else None


@at_end
def what_failed_has_undone_its_payment(world: World) -> str | None:
    for key, state in world.states.items():
        told = state.model_dump()
        if key.workflow_type != "many" or state.status not in ("failed", "cancelled"):
            continue
        paid = [one for one in world.effects_of(key, "pay") if one.result is not None]
        undone = told["plan"]["tasks"].get("pay", {}).get("state") in ("undone", "undo_failed")
        if paid and not undone:
            return f"{key} has {state.status} and keeps a payment"
    return None


def a_map_counts_each_item_once(world: World) -> str | None:
    for key, state in world.states.items():
        if key.workflow_type == "many" and (gathered := state.model_dump()["all"]) is not None:
            counted = gathered["succeeded"] + gathered["failed"] + len(gathered["open"])
            if counted != gathered["begun"] or gathered["begun"] > gathered["count"]:
                return f"{key} has counted {gathered}"
    return None
""",
}


def written(folder: Path) -> Path:
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def test_the_invariants_hold_under_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", str(written(tmp_path / "many")), "--seeds", "8", "--workers", "1", "--store", "memory"]
    assert main(words) == 0, capsys.readouterr()
