"""A workflow whose one intent is served by the contract alone: no effects.py."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from pydantic import JsonValue

import onex
from onex.kernel.step import State

PAYLOADS = """\
from __future__ import annotations

from typing import Annotated

from onex import Blob, Payload, Secret, State


class Job(State):
    order: str = ""
    said: str = ""


class Begin(Payload):
    order: str = "o-1"
    cents: int = 5
    text: str = "hello"
    to: str = "ann@example.com"
    subject: str = "paid"
    summary: str = "it burns"
    tags: list[str] = []
    pin: Annotated[str, Secret] = ""


class Receipt(Payload):
    receipt: str
    cents: int = 0


class Page(Payload):
    text: str
    status: int = 0


class File(Payload):
    blob: Blob
"""
REDUCER = """\
from __future__ import annotations

from onex import Action, Payload, Step, intent, reducer

from .payloads import Begin, Job

jobs = reducer(Job)


@jobs.on("begin")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job, intent("charge", action.payload))


@jobs.on("charge.succeeded")
def done(job: Job, action: Action[Payload]) -> Step[Job]:
    return Step(job.evolve(said=action.payload.model_dump_json()))


@jobs.on("charge.failed", "charge.unknown")
def lost(job: Job, action: Action[Payload]) -> Step[Job]:
    return Step(job.evolve(said=action.payload.model_dump_json()))
"""
CONTRACT = """\
name: pay
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: REDUCER_GENERIC
state_model: Job
state_machine:
  initial_state: new
  terminal_states: [done, lost, unsure]
  transitions:
    - {{from_state: new, to_state: busy, trigger: begin, payload: Begin}}
    - {{from_state: busy, to_state: done, trigger: charge.succeeded{answer}}}
    - {{from_state: busy, to_state: lost, trigger: charge.failed, payload: Failure}}
    - {{from_state: busy, to_state: unsure, trigger: charge.unknown, payload: Failure}}
targets:
{targets}
intents:
  - {{name: charge, type: {kind}, target: bank, payload: Begin, delivery: at_least_once,
     retry: {{max_attempts: {tries}, initial_ms: 1}}, {call}}}
"""


def write_app(
    folder: Path, targets: str, call: str, *, kind: str = "api_call", answer: str = "Receipt", tries: int = 1
) -> Path:
    """The app's folder. ``answer`` is what success carries; '' for nothing."""
    home = folder / "pay"
    home.mkdir(exist_ok=True)
    (home / "payloads.py").write_text(PAYLOADS)
    (home / "reducer.py").write_text(REDUCER)
    carried = f", payload: {answer}" if answer else ""
    (home / "contract.yaml").write_text(
        CONTRACT.format(targets=indent(dedent(targets), "  "), call=call, kind=kind, answer=carried, tries=tries)
    )
    return home


def api(url: str, call: str = "method: POST, path: '/charges/{order}'", more: str = "") -> tuple[str, str]:
    """The target ``bank`` at ``url``, and the call of it."""
    return f"bank: {{http: {{base_url: '{url}', private: true{more}}}}}", f"http: {{{call}}}"


async def came_of(app: Path, begin: dict[str, JsonValue] | None = None, **options: object) -> tuple[str, str]:
    """Status and what the success or the failure carried, once the one instance has ended."""
    async with await onex.open("memory:", app, **options) as engine:  # type: ignore[arg-type]  # options of open
        await engine.submit("pay:1", "begin", begin or {})
        await engine.wait("pay:1", "terminal", 20)
        state: State | None = await engine.state("pay:1")
    assert state is not None
    return state.status, str(getattr(state, "said", ""))
