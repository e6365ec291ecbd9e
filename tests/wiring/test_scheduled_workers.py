"""Schedules of workers that share a PostgreSQL store: one is killed, the other goes on, and no due time is left out or doubled."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import onex
from onex.contracts.due_times import firing_id, schedule_id
from onex.contracts.model.schedule import SCHEDULE
from onex.wiring.store_access import open_reader
from onex.workflows.schedule.payloads import Schedule
from tests.wiring.test_workers import PATIENCE_S, Crew, crew

__all__ = ["crew"]  # the fixture
NAMES = tuple(f"s{n}" for n in range(6))
CONTRACT = """
name: tick
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
description: Something that is done each second
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: done, trigger: begin}
schedules:
"""


async def fired(url: str) -> dict[str, Schedule]:
    reader = await open_reader(url)
    try:
        rows = await reader.instances(SCHEDULE, None, None, 100)
    finally:
        await reader.close()
    return {row.key.instance_id: Schedule.model_validate_json(row.state) for row in rows}


async def until_each_has_fired(url: str, least: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await fired(url)) < len(NAMES) or min(one.fired for one in found.values()) < least:
            await asyncio.sleep(0.1)


@pytest.mark.long
def test_a_worker_is_killed_and_every_due_time_is_fired_once(crew: Crew, tmp_path: Path) -> None:
    app = tmp_path / "tick"
    app.mkdir()
    lines = [f"  - {{name: {name}, every_ms: 1000, trigger: begin, overlap: allow, catch_up: all}}\n" for name in NAMES]
    (app / "contract.yaml").write_text(CONTRACT + "".join(lines))
    first, _ = crew.start(app), crew.start(app)

    async def go() -> None:
        await until_each_has_fired(crew.url, 2)
        first.send_signal(signal.SIGKILL)
        before = max(one.fired for one in (await fired(crew.url)).values())
        await until_each_has_fired(crew.url, before + 2)
        async with await onex.connect(crew.url) as client:
            for key, state in (await fired(crew.url)).items():
                name = key.partition("/")[2]
                begun = await runs_of(crew.url, name)
                assert begun == [begun[0] + timedelta(seconds=n) for n in range(len(begun))], "none is left out"
                assert not state.missed and not state.refused and len(begun) >= state.fired, state
                for due in begun:
                    (entry,) = await client.history(f"tick:{name}-{due:%Y-%m-%dT%H:%M:%SZ}")
                    assert entry.action_id == firing_id(schedule_id("tick", name), due)

    asyncio.run(go())


async def runs_of(url: str, name: str) -> list[datetime]:
    reader = await open_reader(url)
    try:
        rows = await reader.instances("tick", None, None, 10_000)
    finally:
        await reader.close()
    found = (row.key.instance_id.partition("-") for row in rows)
    return sorted(datetime.fromisoformat(due) for of, _, due in found if of == name)
