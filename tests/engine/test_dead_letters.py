"""Re-drive: a dead intent runs once more when an operator asks for it, however many operators ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import BaseModel

from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from onex.ports import EnumOutboxState, OutboxRow, Pointer, Result
from tests.engine.jobs import Worker
from tests.engine.test_store_faults import K, Unreliable, engine_on, run


class Hoarse(Worker):
    """Refuses what it is asked first."""

    asked = 0

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.asked += 1
        if self.asked == 1:
            raise EffectFailed("no voice")
        return await super().execute(intent)


class Late(Unreliable):
    """The second look at what is dead is answered as it was, and late."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.late = asyncio.Event()

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        rows = await super().outbox(states, key, after, limit)
        self.looks += EnumOutboxState.DEAD in states
        if self.looks == 2:
            await self.late.wait()
        return rows


async def dead(store: Unreliable) -> Pointer:
    while not (rows := await Unreliable.outbox(store, (EnumOutboxState.DEAD,), None, None, 1)):
        await asyncio.sleep(0.005)
    return rows[0].pointer


def test_who_saw_it_dead_does_not_run_it_again_after_another_has() -> None:
    """Seed 136 of the campaign: an effect that had ended ran once more, on the word of a second operator."""

    async def go() -> None:
        store, worker = Late(), Hoarse()
        async with engine_on(store, worker=worker) as engine:
            await engine.submit(K, "shout")
            pointer = await dead(store)
            asked = [asyncio.create_task(engine.redrive(pointer)) for _ in range(2)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            await engine.idle()
            store.late.set()
            await asyncio.gather(*asked)
            await engine.idle()
            assert worker.asked == 2

    run(go())
