"""The end of a run with misbehaving user code: the engine that is left still works, and nothing impossible was kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

import orjson

from onex.engine.encode import check_json
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.kernel.size_limits import PAYLOAD_BYTES
from onex.ports import Position
from onex.simulation.client_requests import ClientRequest
from onex.simulation.engine_supervisor import EngineSupervisor
from onex.simulation.host import HostCrashed
from onex.simulation.seeded_run import Sim
from onex.simulation.sim_store import SimStore
from tests.engine_sim.misbehaviour import Misbehaviour
from tests.engine_sim.sample_workflow import MIGRATES_AT, TYPE, Ask, Begin, Wake
from tests.engine_sim.sender import InboxSender

WORKS_S: Final = 40.0
LOOK_S: Final = 0.5
PAGE: Final = 1000
PROBE: Final = WorkflowKey(TYPE, "probe")
NEIGHBOUR: Final = WorkflowKey(TYPE, "neighbour")
WANTED: Final = {
    "begin": "submit accepts nothing",
    "add": "the inbox accepts nothing",
    "alarm": "no timer fires",
    "went": "no effect runs",
}


async def works(sim: Sim, supervisor: EngineSupervisor, truth: SimStore, violated: Callable[[str], None]) -> None:
    """On the engine that is left everything works: submit, the inbox, a timer, an effect, the projection."""
    boots = supervisor.boots
    ids = [UUID(bytes=sim.world.ids.new()) for _ in range(4)]
    steps = (
        ClientRequest(PROBE, "begin", Begin(), ids[0]),
        ClientRequest(PROBE, "wake", Wake(name="alarm", after_s=0.5), ids[1]),
        ClientRequest(PROBE, "ask", Ask(name="do", text="probe"), ids[2]),
    )
    for request in steps:
        try:
            await supervisor.ask(request.submit, patience_s=WORKS_S)
        except (HostCrashed, OnexError, TimeoutError) as error:
            violated(f"after the last fault submit gave {type(error).__name__} for {request.kind}: {error}")
            return
    wire = {"workflow_key": list(PROBE), "kind": "add", "command_payload": {}, "action_id": str(ids[3])}
    sim.world.start(InboxSender(supervisor.sender, violated).send(orjson.dumps(wire)))
    missing = dict(WANTED)
    end_s = sim.loop.time() + WORKS_S
    while missing and sim.loop.time() < end_s:
        await sim.clock.sleep(LOOK_S)
        for entry in await truth.history(PROBE, 0, PAGE):
            missing.pop(entry.row.kind, None)
    for what in missing.values():
        violated(f"after the last fault {what}: a loop of the engine has ended")
    await _projected(sim, supervisor, truth, violated)
    if supervisor.boots != boots:
        violated("after the last fault an engine ended by itself")


async def _projected(sim: Sim, supervisor: EngineSupervisor, truth: SimStore, violated: Callable[[str], None]) -> None:
    end_s = sim.loop.time() + WORKS_S
    while sim.loop.time() < end_s:
        rows = (await truth.counts()).actions
        try:
            await supervisor.ask(partial(_shown, supervisor, Position(0, rows)), patience_s=WORKS_S)
        except (HostCrashed, OnexError, TimeoutError):
            await sim.clock.sleep(LOOK_S)
        else:
            return
    violated("after the last fault the projection does not move: its loop has ended")


async def _shown(supervisor: EngineSupervisor, reached: Position, engine: ReducerPatternEngine) -> None:
    await supervisor.projected(reached)


async def migrates(
    supervisor: EngineSupervisor, truth: SimStore, misbehaviour: Misbehaviour, violated: Callable[[str], None]
) -> None:
    """A release whose migration fails for some states: those instances are refused by name, all others go on."""
    misbehaviour.migrating = True
    supervisor.generation, boots = MIGRATES_AT, supervisor.boots
    await supervisor.restart()
    while supervisor.boots == boots:
        await supervisor.sim.clock.sleep(LOOK_S)
    keys = [stored.key for stored in await truth.instances(None, None, None, PAGE)]
    for key in (*keys, NEIGHBOUR):
        try:
            await supervisor.ask(partial(_hush, key), patience_s=WORKS_S)
        except OnexError as error:
            violated(
                f"{key} is new, and a migration of other instances keeps it out: {error}"
            ) if key == NEIGHBOUR else None
        except (HostCrashed, TimeoutError) as error:
            violated(f"with a migration that misbehaves submit gave {type(error).__name__} for {key}")
    misbehaviour.migrating = False


async def _hush(key: WorkflowKey, engine: ReducerPatternEngine) -> None:
    await engine.submit(key, "begin" if key == NEIGHBOUR else "hush")


async def check_log(truth: SimStore, misbehaviour: Misbehaviour, violated: Callable[[str], None]) -> None:
    """Nothing was kept that no store takes, and nothing ended its process more often than it may."""
    after = 0
    while rows := await truth.log(Position(0, after), PAGE):
        for entry in rows:
            for data in (entry.row.payload, entry.row.intents):
                _check(f"{entry.key} version {entry.version} ({entry.row.kind})", data, violated)
        after += len(rows)
    for stored in await truth.instances(None, None, None, PAGE):
        _check(f"the state of {stored.key}", stored.state, violated)
    for who in misbehaviour.too_often:
        violated(f"{who.hex()} ended its process again and again, and was not refused")


def _check(where: str, data: bytes, violated: Callable[[str], None]) -> None:
    if len(data) > PAYLOAD_BYTES:
        return  # many payloads, each within its limit
    try:
        check_json(data or b"null")
    except OnexError as error:
        violated(f"{where} was kept, and holds what no store takes: {error.message}")
