"""Effect: a function that does I/O for one intent and returns or raises what came of it.

All I/O of an app is in its effects, and no effect decides anything. It may run again with the same ``idempotency_key``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import Never, TypeVar, cast

from pydantic import BaseModel

from ..engine.attempt import wrong_result
from ..engine.effect_log import EffectLog
from ..engine.metrics import Events
from ..kernel.action import Blob
from ..kernel.errors import ContractError, EffectFailed
from ..kernel.intent import ModelIntent
from ..kernel.retry import BreakerPolicy
from ..kernel.target_policy import NO_POLICY, TargetPolicy
from ..kernel.user_code import caught
from ..ports import Blobs, Executor, Result
from .io import Function, NewBlobs, check_blob, check_result, effect_shape
from .isolated_call import CallSlots, IsolatedCall, RunSync

EFFECT = "__onex_effect__"
"""The attribute under which a marked function carries its target."""
POLICY = "__onex_policy__"
"""The attribute under which it carries the policy of its target, if it has one."""


NOBODY = Events()
"""Where nobody listens to what functions say."""


class EffectIO(NewBlobs):
    """What an effect may ask for beside its intent: ``async def fetch(intent: ModelIntent[Fetch], io: EffectIO)``.

    ``log`` takes lines that belong to this try: ``io.log.warning("the bank is slow", ms=900)``.
    """

    __slots__ = ("_blobs", "log")

    def __init__(self, blobs: Blobs, log: EffectLog | None = None) -> None:
        super().__init__()
        self._blobs = blobs
        self.log = log if log is not None else EffectLog(NOBODY)

    async def read(self, blob: Blob) -> bytes:
        """The bytes behind a reference. Raises StateConsistencyError when they are gone or damaged."""
        made = self._made.get(blob.digest)
        if made is not None:
            return made.data
        return check_blob(blob, await self._blobs.read(bytes.fromhex(blob.digest)))


Reply = BaseModel | None | Awaitable[BaseModel | None]
F = TypeVar("F", bound=Callable[[Never], Reply] | Callable[[Never, EffectIO], Reply])


def effect(
    target: str,
    *,
    rate_per_s: float | None = None,
    burst: int | None = None,
    circuit_breaker: BreakerPolicy | None = None,
) -> Callable[[F], F]:
    """Mark a function as the one that serves the intents of ``target``; it is returned unchanged.

    ``rate_per_s``, ``burst`` and ``circuit_breaker`` are policies of the target (``TargetPolicy``). Raises ContractError when the
    target is empty or the function already serves one, ValidationError for a policy out of range.
    """
    policy = TargetPolicy(None, rate_per_s, burst, circuit_breaker)
    if not target:
        raise ContractError("@effect needs the name of its target, as the contract's intents write it")

    def mark(function: F) -> F:
        earlier = getattr(function, EFFECT, None)
        if earlier is not None:
            raise ContractError(f"{function!r} serves {earlier!r} already; write a second function for {target!r}")
        setattr(function, EFFECT, target)
        setattr(function, POLICY, policy)
        return function

    return mark


def policy_of(function: Function) -> TargetPolicy:
    """What the decorator of a function says of its target."""
    policy = getattr(function, POLICY, NO_POLICY)
    return policy if isinstance(policy, TargetPolicy) else NO_POLICY


class FunctionExecutor:
    """Serves one target by a marked function: an async one in a task of its own, a plain one through ``run_sync``.

    The default, a thread, cannot be stopped: a plain function that is timed out runs on to its end, and its result is
    dropped. At most ``concurrency`` calls run at once, those included; a call that finds no free slot waits for one.
    """

    def __init__(
        self,
        function: Function,
        blobs: Blobs,
        run_sync: RunSync = asyncio.to_thread,
        *,
        target: str = "",
        concurrency: int = 1024,
        events: Events | None = None,
    ) -> None:
        """Raises ContractError when the function's annotations do not fit an effect."""
        self.shape = effect_shape(function, EffectIO)
        self.function = function
        self._blobs = blobs
        self._run_sync = run_sync
        self._events = events or NOBODY
        self._is_async = inspect.iscoroutinefunction(function)
        self._slots = CallSlots(target or self.shape.name, concurrency)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed if the function itself raises it or was not begun. Anything else it raises is EffectUnknown, and
        so is a result that cannot be taken: it ran."""
        io = EffectIO(self._blobs, EffectLog(self._events, intent, asyncio.get_running_loop()))
        call = partial(self.function, intent, io) if self.shape.takes_io else partial(self.function, intent)
        await self._slots.acquire()
        isolated = IsolatedCall(self._slots)
        if self._is_async:
            value = await isolated.in_task(call, intent.cancelled)
        else:
            value = await isolated.in_thread(call, self._run_sync)
        return Result(self._checked(value), io.made)

    def _checked(self, value: object) -> BaseModel | None:
        if type(value) is CoroutineType:
            value.close()  # it will never be awaited
            raise wrong_result(
                f"{self.shape.name} returned a coroutine that was not awaited: write await before the call"
            )
        try:
            check_result(value, self.shape)
        except EffectFailed as refused:
            raise wrong_result(refused.message, refused.reason) from refused
        except BaseException as error:
            raise wrong_result(f"{self.shape.name} returned what cannot be written: {caught(error)}") from error
        return cast(BaseModel | None, value)  # by its class, which check_result compared


class ContainedExecutor:
    """Runs an executor that the program itself wrote, each call in a task of its own: what it does to that task stops there."""

    def __init__(self, executor: Executor, target: str, concurrency: int) -> None:
        self._executor = executor
        self._slots = CallSlots(target, concurrency)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        await self._slots.acquire()
        result = await IsolatedCall(self._slots).in_task(partial(self._executor.execute, intent), intent.cancelled)
        if type(result) is not Result:
            raise wrong_result(f"the executor of {self._slots.target!r} returned no Result")
        return result
