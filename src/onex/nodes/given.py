"""What a program gives to serve a target of its app: an executor, or a plain function that takes the intent.

A function needs no annotations: the contract says what comes back. It may return the payload that the intent's success fires,
a mapping of that payload's fields, a ``Result``, or None. It may be async. What it raises has the meaning that it has in an effect.

The app's classes are loaded under names of its own, so a test that imports ``Charged`` holds another class than the app does.
So a value of another class is read again by its fields, if the name of the class is the same.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import CoroutineType
from typing import Never

from pydantic import BaseModel

from ..engine.attempt import wrong_result
from ..engine.effect_log import EffectLog
from ..engine.metrics import Events
from ..kernel.action import Nothing
from ..kernel.errors import ValidationError
from ..kernel.intent import ModelIntent
from ..kernel.user_code import caught, class_name
from ..ports import Blobs, Executor, Result
from .effect import NOBODY, ContainedExecutor, EffectIO
from .isolated_call import CallSlots, IsolatedCall, RunSync

GivenEffect = Executor | Callable[[Never], object] | Callable[[Never, EffectIO], object]
"""An ``Executor``, or ``f(intent)`` or ``f(intent, io)``, async or not."""

ResultModel = Callable[[ModelIntent[BaseModel]], type[BaseModel] | None]
"""The class that the success of an intent carries; None where no trigger follows."""


class InvalidExecutor(ValidationError):
    """What was given to serve a target is no executor and no function of an intent, or the app has no such target."""

    code = "invalid_executor"


def given_executor(
    given: GivenEffect,
    target: str,
    concurrency: int,
    blobs: Blobs,
    run_sync: RunSync,
    result_model: ResultModel,
    events: Events = NOBODY,
) -> Executor:
    """``given``, contained like an effect of the app. Raises InvalidExecutor."""
    # asked of the class: a mock has every attribute that it is asked for
    if callable(getattr(type(given), "execute", None)):
        return ContainedExecutor(given, target, concurrency)  # type: ignore[arg-type]  # it has the one method
    if isinstance(given, type) or not callable(given):
        kind = f"the class {given.__name__}" if isinstance(given, type) else class_name(type(given))
        raise InvalidExecutor(
            f"{target!r} was given {kind}; give a function that takes the intent, or an object with "
            "async def execute(intent) -> Result"
        )
    return GivenFunction(given, target, concurrency, blobs, run_sync, result_model, events)


class GivenFunction:
    """Serves one target by a function that a program or a test gave. ``run_sync`` runs it when it is not async."""

    def __init__(
        self,
        function: Callable[..., object],
        target: str,
        concurrency: int,
        blobs: Blobs,
        run_sync: RunSync,
        result_model: ResultModel,
        events: Events = NOBODY,
    ) -> None:
        """Raises InvalidExecutor for a function that cannot be called with an intent."""
        self._function = function
        self._takes_io = _takes_io(function, target)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        self._blobs, self._run_sync, self._result_model = blobs, run_sync, result_model
        self._events = events
        self._slots = CallSlots(target, concurrency)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown; EffectUnknown with ``wrong_result`` for a value of the wrong class."""
        io = EffectIO(self._blobs, EffectLog(self._events, intent, asyncio.get_running_loop()))
        call = partial(self._function, intent, io) if self._takes_io else partial(self._function, intent)
        await self._slots.acquire()
        isolated = IsolatedCall(self._slots)
        value = await (
            isolated.in_task(call, intent.cancelled) if self._is_async else isolated.in_thread(call, self._run_sync)
        )
        if type(value) is Result:
            return value
        if type(value) is CoroutineType:
            value.close()  # it will never be awaited
            raise wrong_result(f"what serves {self._slots.target!r} returned a coroutine that was not awaited")
        model = self._result_model(intent)
        if model is None or model is Nothing:  # a value is of no use, and is dropped
            return Result(None, io.made)
        return Result(success_payload(value, model, f"what serves {self._slots.target!r}"), io.made)


def success_payload(value: object, model: type[BaseModel], who: str) -> BaseModel:
    """``value`` as the class that a success carries: of that class, of another one of its name, or a mapping of its fields.

    Raises EffectUnknown, whose sentence begins with ``who``.
    """
    if isinstance(value, model):
        return value
    if isinstance(value, BaseModel) and type(value).__qualname__ == model.__qualname__:
        value = value.model_dump()
    wanted = f"its success carries {model.__name__}"
    if not isinstance(value, Mapping):
        given = "None" if value is None else class_name(type(value))
        raise wrong_result(f"{who} returned {given}; {wanted}")
    try:
        return model.model_validate(value)
    except BaseException as error:
        raise wrong_result(f"{who} returned fields that do not fit; {wanted}: {caught(error)}") from error


def _takes_io(function: Callable[..., object], target: str) -> bool:
    """Whether it has a second parameter that must be given. Raises InvalidExecutor where one intent cannot be passed."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # a function written in C may not say
        return False
    for takes_io, arguments in ((False, (None,)), (True, (None, None))):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return takes_io
    raise InvalidExecutor(
        f"what serves {target!r} takes {signature}; it is called with the intent, or the intent and io"
    )
