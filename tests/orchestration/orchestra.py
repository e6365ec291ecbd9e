"""Orchestrations of a few lines, written into a test's folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from pydantic import JsonValue

from onex import load_app
from onex.app import App
from onex.kernel.step import State
from onex.testing.harness import Given, given

HEAD = """\
name: plan
contract_version: {major: 1, minor: 0, patch: 0}
node_type: ORCHESTRATOR_GENERIC
models: {Thing: {id: str, cents: int, at: datetime?, notes: list of str}, Made: {number: str}, Cents: {cents: int}}
input: Thing
"""
FIRST: dict[str, JsonValue] = {"id": "1", "cents": 500, "notes": ["a"]}
TARGETS = ("bank", "stock", "post", "undo")
"""Served by whoever opens the app: a test needs no code for them."""


def written(folder: Path, tasks: str, head: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contract.yaml").write_text(f"{HEAD}{dedent(head)}tasks:\n{indent(dedent(tasks), '  ')}")
    return folder


def loaded(folder: Path, tasks: str, head: str = "") -> App:
    return load_app(written(folder, tasks, head), TARGETS)


def begun(folder: Path, tasks: str, head: str = "", **changed: object) -> Given[State]:
    """The plan after ``start``."""
    plan = given(loaded(folder, tasks, head).workflows["plan"].reducer)
    return say(plan, "start", **{**FIRST, **changed})


def say(plan: Given[State], trigger: str, **fields: object) -> Given[State]:
    """A trigger of a client."""
    return plan.when(trigger, plan.reducer.payloads[trigger].model_validate(fields))


def answer(plan: Given[State], task: str, **fields: object) -> Given[State]:
    """The call of a task succeeded."""
    trigger = f"{task}.succeeded"
    return plan.when(trigger, plan.reducer.payloads[trigger].model_validate(fields), outcome_of=task)


def emitted(plan: Given[State]) -> list[str]:
    """The intents of the last step by name, ``-`` before one that is cancelled."""
    return [f"-{one.to or one.name}" if one.cancelled else one.name for one in plan.emitted]


def states(plan: Given[State]) -> dict[str, str]:
    """How far each task is that has begun."""
    dumped = plan.state.model_dump()
    return {name: row["state"] for name, row in dumped["plan"]["tasks"].items()}
