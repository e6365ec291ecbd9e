"""Queues of start policies in virtual time: engines die and are taken over, and each ask that was taken begins one run.

What must hold, at the end: every ask that was answered as taken has begun exactly one run, by one action; in the log of a queue, no
more than ``concurrency`` runs were ever begun and not seen to end, and no more than the rate within its time; nothing waits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Final
from uuid import UUID

import orjson

from onex.adapters.memory.store import MemoryStore
from onex.app import load_app
from onex.kernel.action import ModelAction, WorkflowKey
from onex.orchestration.start_queue import StartQueue
from onex.simulation.seeded_run import Sim
from tests.engine_sim.schedule_run import ScheduleRun

APP: Final = load_app(Path(__file__).parent / "start_app")
CUSTOMERS: Final = ("ada", "bo")
ASKS: Final = 40
CONCURRENCY, RATE, PER_US = 3, 4, 600_000_000


class StartRun(ScheduleRun):
    """One run: a client asks for an hour, engines come and go, and then all comes to rest."""

    async def go(self) -> Counter[str]:
        outside = MemoryStore(self.tables, now_s=self.sim.clock.monotonic)
        host, engine = await self._boot(skew_s=0.0)
        tickets: dict[int, str] = {}
        chance = Random(self.sim.seed)
        for number in range(ASKS):
            body = _ask(f"n{number}", chance.choice(CUSTOMERS), chance)
            for _ in range(1 + (chance.random() < 0.3)):  # sent again under its id
                tickets[await outside.send(body, int(self.sim.clock.now_us()), 0)] = f"n{number}"
            await self.sim.clock.sleep(chance.random() * 180)
            what = self.chance.choice(("dies", "is taken over", "goes on", "goes on", "goes on"))
            if not host.alive or engine.service.closed is not None:
                host, engine = await self._boot(skew_s=0.0)
                self.counted["dead"] += 1
            elif what != "goes on":
                if what == "dies":
                    host.crash()
                host, engine = await self._boot(skew_s=0.0)
                self.counted[what] += 1
        self._is_troubled = False
        host.crash()
        host, engine = await self._boot(skew_s=0.0)
        await self.sim.clock.sleep(12 * 3600)
        answers = await outside.answers(tuple(tickets))
        assert all("error" not in orjson.loads(answer) for answer in answers.values()), answers  # after an hour they go
        await self._check_queues(set(tickets.values()))
        return self.counted

    async def _check_queues(self, taken: set[str]) -> None:
        reader = MemoryStore(self.tables, now_s=self.sim.clock.monotonic)
        runs = await reader.instances("job", None, None, 1000)
        assert {row.key.instance_id for row in runs} == taken and all(row.terminal for row in runs)
        for row in runs:
            history = await reader.history(row.key, 0, 10)
            assert [entry.row.kind for entry in history] == ["begin", "over"], row.key
        begun = 0
        for customer in CUSTOMERS:
            key = WorkflowKey("job_start", customer)
            stored = (await reader.load([key]))[key]
            state = StartQueue.model_validate_json(stored.state)
            assert not state.waiting and not state.running and state.beginning is None and not state.refused, state
            begun += state.begun
            at_once, times = 0, []
            for entry in await reader.history(key, 0, 10_000):
                payload = orjson.loads(entry.row.payload or b"{}")
                if entry.row.kind == "told":
                    at_once += 1
                    times.append(entry.row.issued_us)
                at_once -= entry.row.kind == "watched" and payload["over"]
                assert at_once <= CONCURRENCY, key
            assert all(later - earlier >= PER_US for earlier, later in zip(times, times[RATE:], strict=False)), times
        assert begun == len(taken)
        self.counted["begun"] = begun


def _ask(own_id: str, customer: str, chance: Random) -> bytes:
    payload = {
        "id": own_id,
        "priority": chance.choice(("high", "normal", "low")),
        "payload": {"customer": customer},
    }
    key = WorkflowKey("job_start", customer)
    action_id = UUID(int=chance.getrandbits(128), version=4)
    action = ModelAction(workflow_key=key, kind="ask", command_payload=payload, action_id=action_id)  # type: ignore[arg-type]  # plain values
    return action.model_dump_json(exclude_none=True).encode()


async def start_run(sim: Sim) -> Counter[str]:
    return await StartRun(sim, APP).go()
