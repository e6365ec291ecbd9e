"""Attempt: what one try of an effect came to, when it gave no result that can be taken.

The rule: only ``EffectFailed``, raised by the function itself, says that surely nothing was done. If it raised or returned
anything else, it ran, and is never reported as not done (promise 23). The errors made here hold nothing of the user's
exception but text and flags that were read with care: its message may be no text, its flag may raise when it is read, and its
class may lie about its name.
"""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from ..kernel.action import NOTHING, Nothing
from ..kernel.errors import EffectFailed, EffectUnknown, OnexError
from ..kernel.user_code import caught, class_name, flag_of, plain_text, seconds_of, text_of
from ..kernel.user_trace import TRACE_CHARACTERS, trace_text
from ..ports import NewBlob, Result

RAISED = "effect_raised"
TIMED_OUT = "timed_out"
STALLED = "stalled"
"""The code of a try that gave no sign of life for its ``heartbeat_ms``."""
NOT_BEGUN = "not_begun"
WRONG_RESULT = "wrong_result"
CANCELLED = "cancelled"
"""The code of an outcome of an effect that stopped because a step cancelled its intent."""
CUT_OFF = "its engine closed while it ran"
"""What is kept of a try that an orderly end cut off."""
CODE_CHARACTERS = 100
RETRY_AFTER_MOST_S = 3600.0
"""So long a far side can put off the next try: one that says a year by mistake does not stop an instance for a year."""
GRACE_S = 5.0
"""How long an effect that is cancelled may take to stop."""


class NotBegun(asyncio.CancelledError):
    """A wait for a free slot was cancelled: nothing of the effect ran."""


def effect_error(error: BaseException) -> EffectFailed | EffectUnknown:
    """What user code raised, as an error of ours. Called in the ``except`` block; raises what ``caught`` raises: a real Ctrl-C.

    Its ``trace`` says where. An error that has one already keeps it: that of a worker process, or of an earlier call of this.
    """
    text = caught(error)
    failure = _as_ours(error, text)
    if again_s := seconds_of(error, "retry_after_s"):
        failure.context["retry_after_s"] = again_s
    failure.trace = text_of(error, "trace", "", TRACE_CHARACTERS) or trace_text(error)
    return failure


def _as_ours(error: BaseException, text: str) -> EffectFailed | EffectUnknown:
    kind = type(error)  # never isinstance: it asks the object what it is
    if issubclass(kind, EffectFailed):
        return EffectFailed(
            text_of(error, "message", text),
            retryable=flag_of(error, "retry", False),
            code=_code(error, "reason", EffectFailed.code),
        )
    if issubclass(kind, EffectUnknown):
        return EffectUnknown(
            text_of(error, "message", text),
            retryable=flag_of(error, "retry", True),
            code=_code(error, "reason", EffectUnknown.code),
        )
    if issubclass(kind, OnexError):
        return EffectUnknown(text_of(error, "message", text), code=_code(error, "code", RAISED))
    return EffectUnknown(text, code=RAISED)


def timeout_error(error: BaseException, limit_s: float, *, stalled: bool = False) -> EffectFailed | EffectUnknown:
    """The same, for a try whose time is over, or which gave no sign for so long (``stalled``). It was cancelled then, and ``error``
    is what came of that."""
    # asyncio.timeout raises its own TimeoutError from the CancelledError, but passes on a subclass of it (before Python 3.13)
    behind = error.__cause__ if type(error) is TimeoutError else error
    if isinstance(behind, NotBegun):
        return EffectFailed(f"not begun within {limit_s:g} s: {behind.args[0]}", retryable=True, code=NOT_BEGUN)
    late = f"no heartbeat for {limit_s:g} s" if stalled else f"no answer within {limit_s:g} s"
    code = STALLED if stalled else TIMED_OUT
    if behind is not error and isinstance(behind, asyncio.CancelledError):
        return EffectUnknown(late, code=code)
    failure = effect_error(error)
    failure.message = f"{late}; cancelled, it raised {failure.message}"
    if isinstance(failure, EffectUnknown):
        failure.reason = code
    return failure


def retry_after_s(error: OnexError) -> float:
    """What the far side asked for, RETRY_AFTER_MOST_S at most; 0.0 when it asked for nothing."""
    return min(RETRY_AFTER_MOST_S, seconds_of(error, "retry_after_s"))


def stopped_error() -> EffectFailed:
    """It was told that its intent is cancelled, and stopped."""
    return EffectFailed("a step cancelled it, and it stopped", code=CANCELLED)


def wrong_result(message: str, code: str = WRONG_RESULT) -> EffectUnknown:
    """It ran, and what it returned cannot be taken; another try would return the same."""
    return EffectUnknown(message, retryable=False, code=code)


def typed_result(result: object, model: type[BaseModel]) -> Result:
    """``result``, if its value can be the payload of the next trigger, ``model``. Raises EffectUnknown."""
    if type(result) is not Result:
        raise wrong_result(f"its executor returned {_name(result)}; it must return Result")
    value = NOTHING if model is Nothing else result.value
    if not issubclass(type(value), model):
        raise wrong_result(f"it returned {_name(value)}; its outcome's trigger takes {model.__name__}")
    if type(result.blobs) is not tuple or any(type(one) is not NewBlob for one in result.blobs):
        raise wrong_result("its executor returned blobs that are not a tuple of NewBlob")
    return Result(value, result.blobs)


def _name(value: object) -> str:
    return "None" if value is None else class_name(type(value))


def _code(error: BaseException, attribute: str, otherwise: str) -> str:
    return plain_text(text_of(error, attribute, otherwise), CODE_CHARACTERS)
