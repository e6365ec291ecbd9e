"""What code that is not ours raised: told safely, and kept apart from what must go through.

The law: code of a user (a validator, reducer, guard, effect, compute function, projection, migration or serializer) is
called at one place per kind, and that place catches ``BaseException`` and asks ``caught``. Two things go through: the end of
a step that ran past its budget, and a real Ctrl-C. In synchronous code an ``asyncio.CancelledError`` is never ours, for
nothing waits there; who awaits user code looks at its own task first, then asks here.

What may go wrong: ``str(error)`` may raise, be endless, or hold what no store takes. One exception object may be raised again
and again, and each time Python hangs its old traceback, with every frame and every local, behind the new one.
"""

from __future__ import annotations

import dis
from types import TracebackType
from typing import Protocol

TOLD_CHARACTERS = 2000
CHAINED = 32  # exceptions behind one whose tracebacks are looked at
_RAISE = dis.opmap["RAISE_VARARGS"]
_traceback = BaseException.__dict__["__traceback__"].__get__
# parts of an exception as Python keeps them, past what its class makes of asking for them
_CAUSE, _CONTEXT = BaseException.__dict__["__cause__"].__get__, BaseException.__dict__["__context__"].__get__
_TRACE, _GROUPED = BaseException.__dict__["__traceback__"].__get__, BaseExceptionGroup.__dict__["exceptions"].__get__


class StepOverrun(BaseException):
    """Raised into a step that runs past its budget; no ``except Exception`` of a handler catches it."""


class StepGuard(Protocol):
    """Ends a step, or another call of user code, that does not end by itself.

    One step at a time. ``leave`` follows every ``enter``; a second ``leave`` does no harm.
    """

    def enter(self) -> None: ...

    def leave(self) -> None:
        """After this nothing is raised for the step any more. Raises StepOverrun when it was about to be."""


def caught(error: BaseException) -> str:
    """``describe(error)``, for the handler that has just caught it. Raises it again where it must go through.

    The traceback is cut where an earlier raise of the same object begins, so that one that is shared does not grow.
    """
    kind = type(error)  # never isinstance: it asks the object what it is, and that may raise
    if issubclass(kind, StepOverrun) or (issubclass(kind, KeyboardInterrupt) and _from_outside(trace_of(error))):
        raise error
    _cut_earlier_raises(error)
    return describe(error)


def describe(error: BaseException, most: int = TOLD_CHARACTERS) -> str:
    """``Type: message`` as any store takes it, at most ``most`` characters and a note of how many there were.

    Raises nothing, whatever ``__str__`` does.
    """
    name = class_name(type(error))
    try:
        text = str(error)
    except BaseException as another:
        if issubclass(type(another), KeyboardInterrupt) and _from_outside(trace_of(another)):
            raise
        return f"{name} (which cannot be told: its __str__ raised {class_name(type(another))})"
    text = plain_text(text, most)
    return f"{name}: {text}" if text else name


def trace_of(error: BaseException) -> TracebackType | None:
    """Its traceback as Python keeps it, past what its class makes of asking."""
    trace: TracebackType | None = _TRACE(error)
    return trace


def text_of(error: BaseException, attribute: str, otherwise: str) -> str:
    """An attribute as plain text; ``otherwise`` where it is no text, or asking for it raises."""
    said = _said(error, attribute)
    return plain_text(said) if isinstance(said, str) else otherwise


def flag_of(error: BaseException, attribute: str, otherwise: bool) -> bool:
    """The same of a flag, which is True or False and nothing that is like them."""
    said = _said(error, attribute)
    return said if isinstance(said, bool) else otherwise


def _said(error: BaseException, attribute: str) -> str | bool | None:
    try:
        said = getattr(error, attribute, None)
        return said if issubclass(type(said), str | bool) else None
    except BaseException as another:
        caught(another)
        return None


def class_name(of: type) -> str:
    """Past its metaclass, which may give any ``__name__`` and may raise."""
    name: str = type.__dict__["__name__"].__get__(of)
    return plain_text(name, 200)


def shown(value: object, most: int = 80) -> str:
    """``repr(value)`` for a message, at most ``most`` characters; its type where that raises. Raises nothing."""
    try:
        return plain_text(repr(value), most)
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return f"a {type(value).__name__}"


def plain_text(text: str, most: int = TOLD_CHARACTERS) -> str:
    """``text`` as any store and any reader takes it: lone surrogates and NUL spelled out, cut at ``most`` characters.

    For text that is not data but is kept: messages of exceptions hold whatever made them fail, file names included.
    """
    length = str.__len__(text)
    plain = str.__getitem__(text, slice(most))  # a plain str, whatever a class of a user's that derives from it may do
    if length > most:
        plain = f"{plain}... ({length} characters)"
    return plain.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _is_ctrl_c(error: BaseException) -> bool:
    return issubclass(type(error), KeyboardInterrupt) and _from_outside(_traceback(error))


def _from_outside(trace: TracebackType | None) -> bool:
    """Whether a KeyboardInterrupt came from a signal: no ``raise`` of the code that ran made it.

    A signal's default handler raises between two instructions of whatever runs, asyncio's handler by a ``raise`` of its own.
    """
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    if trace.tb_frame.f_globals.get("__name__") == "asyncio.runners":
        return True
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE


def _cut_earlier_raises(error: BaseException) -> None:
    """Of ``error``, and of what it was raised from, while handling, or as a group of.

    A traceback begins in the frame that caught it; where that frame's code stands in it once more, an older raise begins.
    """
    waiting, seen = [error], {id(error)}
    while waiting and len(seen) < CHAINED:
        one = waiting.pop()
        _cut(trace_of(one))
        members = _GROUPED(one) if issubclass(type(one), BaseExceptionGroup) else ()
        for behind in (_CAUSE(one), _CONTEXT(one), *members):
            if behind is not None and id(behind) not in seen:
                seen.add(id(behind))
                waiting.append(behind)


def _cut(trace: TracebackType | None) -> None:
    if trace is None:
        return
    ours = trace.tb_frame.f_code
    while (after := trace.tb_next) is not None:
        if after.tb_frame.f_code is ours:
            trace.tb_next = None
            return
        trace = after
