"""Requests for leave, with a timer, a timeout and an effect in flight at once; and the release that calls everything otherwise.

The office that is told of a request is closed until the file ``open`` stands in its folder; it then notes the key, the name
and the body of what it was told.
"""

from __future__ import annotations

import json
from pathlib import Path

from onex.kernel.action import WorkflowKey
from onex.ports import LogEntry, Reader
from tests.app.apps import write

CONTRACT = """\
name: leave
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_schema: 1
state_model: Leave
public: [remind]
state_machine:
  initial_state: draft
  terminal_states: [booked, forgotten]
  states:
    - {name: draft}
    - {name: asked, timeout_ms: 1500, on_timeout: expired}
    - {name: booked}
    - {name: forgotten}
  transitions:
    - {from_state: draft, to_state: asked, trigger: ask, payload: Ask}
    - {from_state: asked, to_state: booked, trigger: approve}
    - {from_state: asked, to_state: forgotten, trigger: expired}
    - {from_state: asked, to_state: asked, trigger: remind}
    - {from_state: asked, to_state: asked, trigger: told, payload: Told}
    - {from_state: asked, to_state: asked, trigger: untold}
    - {from_state: asked, to_state: asked, trigger: later}
intents:
  - {name: reminder, type: timer, trigger: remind}
  - {name: tell, type: notification, target: office, payload: Tell, delivery: at_least_once,
     retry: {max_attempts: 50, initial_ms: 20, max_ms: 20},
     outcomes: {succeeded: told, failed: untold, unknown: untold}}
"""
PAYLOADS = """\
from __future__ import annotations

from onex import Payload, State


class Leave(State):
    days: int = 0
    reminded: int = 0
    told: int = 0


class Ask(Payload):
    days: int


class Tell(Payload):
    days: int


class Told(Payload):
    by: str
"""
REDUCER = """\
from __future__ import annotations

from datetime import timedelta

from onex import Action, Nothing, Step, reducer, timer

from .payloads import Ask, Leave, Tell, Told

leave = reducer(Leave)


@leave.on("ask")
def ask(one: Leave, action: Action[Ask]) -> Step[Leave]:
    days = action.payload.days
    first, second = Tell(days=days), Tell(days=2 * days)
    return Step(one.evolve(days=days), first, timer("reminder", action.issued_at + timedelta(seconds=1)), second)


@leave.on("remind")
def remind(one: Leave, action: Action[Nothing]) -> Step[Leave]:
    return Step(one.evolve(reminded=one.reminded + 1))


@leave.on("later")
def later(one: Leave, action: Action[Nothing]) -> Step[Leave]:
    return Step(one, timer("reminder", action.issued_at + timedelta(days=9)))


@leave.on("told")
def told(one: Leave, action: Action[Told]) -> Step[Leave]:
    return Step(one.evolve(told=one.told + 1))
"""
EFFECTS = """\
from __future__ import annotations

import json
from pathlib import Path

from onex import EffectFailed, ModelIntent, effect

from .payloads import Tell, Told

OFFICE = Path("@OFFICE@")


@effect("office")
def tell(intent: ModelIntent[Tell]) -> Told:
    if not (OFFICE / "open").exists():
        raise EffectFailed("closed", retryable=True)
    line = [str(intent.intent_id), intent.idempotency_key, intent.name, intent.n, intent.payload.days]
    with (OFFICE / "heard").open("a") as file:
        file.write(json.dumps(line) + "\\n")
    return Told(by="post")
"""
RENAMED = """\
from __future__ import annotations

from onex import renames

renames(
    1,
    statuses={"asked": "waiting"},
    triggers={"ask": "request", "remind": "prod", "told": "heard", "expired": "nobody_answered"},
    intents={"reminder": "nudge", "tell": "notify"},
    fields={"told": "notified"},
)
"""
CHANGES = (
    ("asked", "waiting"), ("trigger: ask,", "trigger: request,"), ("remind}", "prod}"), ("trigger: told", "trigger: heard"),
    ("[remind]", "[prod]"),
    ("succeeded: told", "succeeded: heard"), ("expired", "nobody_answered"), ("name: reminder", "name: nudge"),
    ("name: tell", "name: notify"), ("state_schema: 1", "state_schema: 2"), ("major: 1", "major: 2"),
)  # fmt: skip
"""What makes the second contract of the first."""


def first(folder: Path, name: str = "one", *, contract: str = CONTRACT, **parts: str) -> Path:
    (folder / "office").mkdir(exist_ok=True)
    files = {
        "payloads": PAYLOADS,
        "reducer": REDUCER,
        "effects": EFFECTS.replace("@OFFICE@", str(folder / "office")),
        **parts,
    }
    made = write(folder / name / "leave", **files)
    (made / "contract.yaml").write_text(contract)
    return made


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def slow(text: str) -> str:
    return text.replace("timeout_ms: 1500", "timeout_ms: 86400000").replace("seconds=1", "days=1")


def second(
    folder: Path, migrations: str = RENAMED, name: str = "two", contract: str = CONTRACT, reducer: str = REDUCER
) -> Path:
    """Every name is another one: status, triggers, intents, a field."""
    return first(
        folder,
        name,
        contract=changed(contract, *CHANGES),
        payloads=changed(PAYLOADS, ("    told: int", "    notified: int")),
        reducer=changed(
            reducer, ('"ask"', '"request"'), ('"remind"', '"prod"'), ('"told"', '"heard"'), ('"reminder"', '"nudge"'),
            ("told=one.told + 1", "notified=one.notified + 1"),
        ),
        migrations=migrations,
    )  # fmt: skip


def heard(folder: Path) -> list[list[str | int]]:
    """``[intent id, key, name, n, days]`` of each thing the office was told."""
    file = folder / "office" / "heard"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def history(reader: Reader, instance: str = "ann") -> list[LogEntry]:
    return list(await reader.history(WorkflowKey("leave", instance), 0, 1000))
