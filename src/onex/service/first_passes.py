"""Questions to the process that folds that may take longer than one request waits: who asks again waits for the same one."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from ..kernel.action import WorkflowKey
from ..processes.moment_process import ExplainedMoment, MomentProcess
from ..processes.moments import Stretch

WAIT_S: Final = 2.0


class AskedPass(NamedTuple):
    """``is_proof``: which versions up to ``version`` are proven; else the moment of ``version``."""

    is_proof: bool
    key: WorkflowKey
    version: int


class FirstPass:
    """One question under way. ``folded`` are the rows that it has folded so far."""

    def __init__(self, folding: MomentProcess, asked: AskedPass) -> None:
        self.folded = 0
        self.task: asyncio.Task[ExplainedMoment | tuple[Stretch, ...]] = asyncio.create_task(self._ask(folding, asked))

    async def _ask(self, folding: MomentProcess, asked: AskedPass) -> ExplainedMoment | tuple[Stretch, ...]:
        if asked.is_proof:
            return await folding.stretches(asked.key, asked.version, self._went)
        return await folding.moment(asked.key, asked.version, self._went)

    def _went(self, rows: int) -> None:
        self.folded = rows


class Passes:
    """Those under way. One that nobody asks for any more ends by itself, and its answer is dropped."""

    def __init__(self) -> None:
        self._under_way: dict[AskedPass, FirstPass] = {}

    async def of(self, folding: MomentProcess, asked: AskedPass) -> ExplainedMoment | tuple[Stretch, ...] | int:
        """The answer; or how many rows are folded so far, after WAIT_S. Raises what the question raises."""
        one = self._under_way.get(asked)
        if one is None:
            one = self._under_way[asked] = FirstPass(folding, asked)
            one.task.add_done_callback(lambda task: self._ended(asked, task))
        done, _ = await asyncio.wait((one.task,), timeout=WAIT_S)
        return one.task.result() if done else one.folded

    def _ended(self, asked: AskedPass, task: asyncio.Task[ExplainedMoment | tuple[Stretch, ...]]) -> None:
        self._under_way.pop(asked, None)
        if not task.cancelled():
            task.exception()  # who waits gets it; where nobody waits, it is dropped

    async def close(self) -> None:
        tasks = [one.task for one in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
