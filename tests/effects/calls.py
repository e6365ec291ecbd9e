"""What the tests of built-in effects call them with."""

from __future__ import annotations

from uuid import UUID, uuid5

from pydantic import BaseModel

from onex.effects.context import EffectContext
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed, EffectUnknown
from onex.kernel.intent import ModelIntent
from onex.ports import Blobs, Executor, Result

_NAMES = UUID("0b1c2d3e-0000-4000-8000-000000000001")


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class KeptBlobs:
    """Blobs of a store, as far as an effect sees it."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    async def read(self, digest: bytes) -> bytes:
        return self.data[digest]

    def take(self, result: Result) -> Result:
        self.data.update({one.digest: one.data for one in result.blobs})
        return result


def context(clock: HandClock | None = None, blobs: Blobs | None = None) -> EffectContext:
    return EffectContext(blobs or KeptBlobs(), clock or HandClock())


def intent(name: str, payload: BaseModel, key: str = "one", kind: str = "database_write") -> ModelIntent[BaseModel]:
    """An intent of this name; ``key`` is its idempotency key."""
    return ModelIntent[BaseModel](
        intent_id=uuid5(_NAMES, f"{name}/{key}"),
        intent_type=kind,
        target="there",
        payload=payload,
        correlation_id=uuid5(_NAMES, "correlation"),
        idempotency_key=key,
        name=name,
        workflow_key=WorkflowKey("orders", "4711"),
        version=3,
    )


async def told_by(executor: Executor, given: ModelIntent[BaseModel]) -> EffectFailed | EffectUnknown:
    """What the call is refused with."""
    try:
        result = await executor.execute(given)
    except (EffectFailed, EffectUnknown) as error:
        return error
    raise AssertionError(f"it succeeded: {result}")
