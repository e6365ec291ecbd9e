"""Attempt: what one try of an effect came to, when its result cannot be taken.

The law: only EffectFailed, raised by the function itself, says that surely nothing was done. Whatever else it raises or
returns, it ran, and it is never told as not done. No part of an error made here is the user's: a message may be no text, a
flag may raise, a class may lie about its name.
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from ..kernel.action import NOTHING, Nothing
from ..kernel.errors import EffectFailed, EffectUnknown, OnexError
from ..kernel.user_code import caught, class_name, flag_of, plain_text, text_of
from ..ports import NewBlob, Result

RAISED = "effect_raised"
TIMED_OUT = "timed_out"
NOT_BEGUN = "not_begun"
WRONG_RESULT = "wrong_result"
CODE_CHARACTERS = 100
GRACE_S = 5.0
"""How long an effect that is told to stop may take to do so."""


class NotBegun(asyncio.CancelledError):
    """A wait for a free place that was given up: nothing of the effect ran."""


def effect_error(error: BaseException) -> EffectFailed | EffectUnknown:
    """What user code raised, for the handler that has just caught it. Raises again what ``caught`` does."""
    told = caught(error)
    kind = type(error)  # never isinstance: it asks the object what it is
    if issubclass(kind, EffectFailed):
        return EffectFailed(
            text_of(error, "message", told),
            retryable=flag_of(error, "retry", False),
            code=_code(error, "reason", EffectFailed.code),
        )
    if issubclass(kind, EffectUnknown):
        return EffectUnknown(
            text_of(error, "message", told),
            retryable=flag_of(error, "retry", True),
            code=_code(error, "reason", EffectUnknown.code),
        )
    if issubclass(kind, OnexError):
        return EffectUnknown(text_of(error, "message", told), code=_code(error, "code", RAISED))
    return EffectUnknown(told, code=RAISED)


def timeout_error(error: BaseException, limit_s: float) -> EffectFailed | EffectUnknown:
    """The same, for a try whose time was over. What was raised then is the answer to our telling it to stop."""
    behind = error.__cause__ if type(error) is TimeoutError else error  # asyncio's wraps no subclass before Python 3.13
    if isinstance(behind, NotBegun):
        return EffectFailed(f"not begun within {limit_s:g} s: {behind.args[0]}", retryable=True, code=NOT_BEGUN)
    late = f"no answer within {limit_s:g} s"
    if behind is not error and isinstance(behind, asyncio.CancelledError):
        return EffectUnknown(late, code=TIMED_OUT)
    came = effect_error(error)
    came.message = f"{late}; told to stop, it raised {came.message}"
    if isinstance(came, EffectUnknown):
        came.reason = TIMED_OUT
    return came


def wrong_result(message: str, code: str = WRONG_RESULT) -> EffectUnknown:
    """It ran, and what it gave back is not its result; another try would give the same."""
    return EffectUnknown(message, retryable=False, code=code)


def typed_result(result: object, model: type[BaseModel]) -> Result:
    """``result``, if it is one whose value can be the payload ``model``. Raises EffectUnknown."""
    if type(result) is not Result:
        raise wrong_result(f"its executor returned {_name(result)}; it is to return Result")
    value = NOTHING if model is Nothing else result.value
    if not issubclass(type(value), model):
        raise wrong_result(f"it gave back {_name(value)}; its outcome's trigger takes {model.__name__}")
    if type(result.blobs) is not tuple or any(type(one) is not NewBlob for one in result.blobs):
        raise wrong_result("its executor gave back blobs that are not a tuple of NewBlob")
    return Result(value, result.blobs)


def _name(value: object) -> str:
    return "None" if value is None else class_name(type(value))


def _code(error: BaseException, attribute: str, otherwise: str) -> str:
    return plain_text(text_of(error, attribute, otherwise), CODE_CHARACTERS)
