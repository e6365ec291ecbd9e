"""Compute tasks of the engine's own simulation: a pure result, kept as a blob, from a worker that may be slow, fail or die."""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from pydantic import BaseModel

from onex.kernel.action import Blob
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from onex.ports import NewBlob, Result
from onex.simulation.faults import Faults
from onex.simulation.host import current_host
from tests.engine_sim.sample_workflow import Computed, Do

MEDIA_TYPE: Final = "text/plain"
SLOW_S: Final = 3.0


def sum_of(text: str) -> bytes:
    """The result of a task: always the same for the same text."""
    return f"the sum of {text}\n".encode() * 20


class ComputeWorker:
    """An Executor of compute tasks. They are pure: an attempt that failed did nothing, so each may run any number of times."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        clock, faults = current_host().clock, self.faults
        assert isinstance(intent.payload, Do)
        call = await faults.before("compute")
        if faults.hits("computing is slow"):
            await clock.sleep(faults.some_s(SLOW_S))
        if faults.hits("a compute worker dies"):
            raise EffectFailed("the worker died over it", retryable=True)
        if faults.hits("computing fails"):
            raise ZeroDivisionError("division by zero")
        data = sum_of(intent.payload.text)
        digest = blake3(data).digest()
        computed = Computed(sheet=Blob(digest=digest.hex(), size=len(data), media_type=MEDIA_TYPE))
        await faults.after("compute", call)
        return Result(computed, (NewBlob(digest, MEDIA_TYPE, data),))
