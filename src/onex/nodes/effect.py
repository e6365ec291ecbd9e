"""Effect: a function that touches the world for one intent, and says truly what came of it.

The law: all I/O is here, and nothing here decides. A function may run again with the same ``idempotency_key``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Never, Protocol, TypeVar

from pydantic import BaseModel

from ..kernel.blob import Blob
from ..kernel.errors import ContractError
from ..kernel.intent import ModelIntent
from ..ports import Blobs, Result
from .io import Function, NewBlobs, check_blob, check_result, effect_shape

EFFECT = "__onex_effect__"
"""The attribute under which a marked function carries its target."""


class EffectIO(NewBlobs):
    """What an effect may ask for beside its intent: ``async def fetch(intent: ModelIntent[Fetch], io: EffectIO)``."""

    __slots__ = ("_blobs",)

    def __init__(self, blobs: Blobs) -> None:
        super().__init__()
        self._blobs = blobs

    async def read(self, blob: Blob) -> bytes:
        """The bytes behind a reference. Raises StateConsistencyError when they are gone or damaged."""
        made = self._made.get(blob.digest)
        if made is not None:
            return made.data
        return check_blob(blob, await self._blobs.read(bytes.fromhex(blob.digest)))


Reply = BaseModel | None | Awaitable[BaseModel | None]
F = TypeVar("F", bound=Callable[[Never], Reply] | Callable[[Never, EffectIO], Reply])


def effect(target: str) -> Callable[[F], F]:
    """Mark a function as the one that serves the intents of ``target``; it is returned unchanged.

    Raises ContractError when the target is empty or the function already serves one.
    """
    if not target:
        raise ContractError("@effect needs the name of its target, as the contract's intents write it")

    def mark(function: F) -> F:
        earlier = getattr(function, EFFECT, None)
        if earlier is not None:
            raise ContractError(f"{function!r} serves {earlier!r} already; write a second function for {target!r}")
        setattr(function, EFFECT, target)
        return function

    return mark


T = TypeVar("T")


class RunSync(Protocol):
    """Runs a blocking call where it does not hold up the event loop."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


class FunctionExecutor:
    """Serves one target by a marked function: an async one is awaited, a plain one runs through ``run_sync``.

    The default, a thread, cannot be stopped: a plain function that is timed out runs on to its end, unheard.
    """

    def __init__(self, function: Function, blobs: Blobs, run_sync: RunSync = asyncio.to_thread) -> None:
        """Raises ContractError when the function's annotations do not fit an effect."""
        self.shape = effect_shape(function, EffectIO)
        self.function = function
        self._blobs = blobs
        self._run_sync = run_sync
        self._waits = inspect.iscoroutinefunction(function)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises what the function raises; EffectFailed for a result that cannot be taken."""
        io = EffectIO(self._blobs)
        arguments: tuple[object, ...] = (intent, io) if self.shape.takes_io else (intent,)
        if self._waits:
            value = self.function(*arguments)
        else:
            value = await self._run_sync(lambda: self.function(*arguments))
        if inspect.isawaitable(value):
            value = await value
        check_result(value, self.shape)
        return Result(value if isinstance(value, BaseModel) else None, io.made)
