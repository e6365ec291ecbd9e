"""Exceptions of user code: which of them must go on up, and how the others become text that is safe to keep.

The rule: code of a user (a validator, reducer, guard, effect, compute function, projection, migration or serializer) is
called at one place per kind. That place catches ``BaseException`` and calls ``caught``. See docs/decisions/0016.

Two exceptions are raised again: StepOverrun, the end of a step that ran past its budget, and a real Ctrl-C. In
synchronous code an ``asyncio.CancelledError`` is an exception of the user, because nothing is awaited there. Code that
awaits user code first looks whether its own task was cancelled, then calls ``caught``.

What may go wrong, and what is done about it:

- ``str(error)``, ``repr(value)`` or an attribute raises, or is endless: every look at such an object is guarded, and text is
  cut at 2000 characters (``plain_text``).
- An exception claims to be of another class: ``type`` is asked, never ``isinstance``, which asks the object.
- Its class overrides ``__traceback__``, ``__cause__``, ``__context__`` or ``exceptions``: the parts are read with the
  descriptors of ``BaseException`` itself.
- The text holds NUL or a lone surrogate, which no store takes: both are written as escapes.
- One exception object is raised again and again: each time Python links its old traceback, with all frames and locals,
  behind the new one. ``caught`` cuts it off, or memory would grow without end.
- User code raises KeyboardInterrupt by itself: ``_from_outside`` looks whether a ``raise`` of the running code made it. Only
  a Ctrl-C from a signal goes on up.
"""

from __future__ import annotations

import dis
from types import TracebackType
from typing import Protocol

TEXT_CHARACTERS = 2000
CUT = "... ("  # stands where a text was cut, before its length
YEAR_S = 366 * 24 * 3600
CHAINED = 32  # how many exceptions of a chain are followed
_RAISE = dis.opmap["RAISE_VARARGS"]
# The parts of an exception as Python keeps them, whatever its class makes of these names.
_CAUSE, _CONTEXT = BaseException.__dict__["__cause__"].__get__, BaseException.__dict__["__context__"].__get__
_TRACE, _GROUPED = BaseException.__dict__["__traceback__"].__get__, BaseExceptionGroup.__dict__["exceptions"].__get__
_SUPPRESSED = BaseException.__dict__["__suppress_context__"].__get__


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
    """``describe(error)``, for the handler that has just caught it. Raises StepOverrun and a real Ctrl-C again.

    The traceback is cut where an earlier raise of the same object begins, so that it does not grow.
    """
    kind = type(error)  # never isinstance: it asks the object what it is, and that may raise
    if issubclass(kind, StepOverrun) or _is_ctrl_c(error):
        raise error
    _cut_earlier_raises(error)
    return describe(error)


def describe(error: BaseException, most: int = TEXT_CHARACTERS) -> str:
    """``Type: message`` as text that any store takes, at most ``most`` characters and a note of how many there were.

    Raises nothing but a real Ctrl-C, whatever ``__str__`` does.
    """
    name = class_name(type(error))
    try:
        text = str(error)
    except BaseException as another:
        if _is_ctrl_c(another):
            raise
        return f"{name} (no text: its __str__ raised {class_name(type(another))})"
    text = plain_text(text, most)
    return f"{name}: {text}" if text else name


def trace_of(error: BaseException) -> TracebackType | None:
    """The traceback of ``error`` as Python keeps it, whatever its class overrides."""
    trace: TracebackType | None = _TRACE(error)
    return trace


def reason_of(error: BaseException) -> BaseException | None:
    """What Python shows above ``error``: what it was raised from, else what was being handled; None after ``from None``."""
    cause: BaseException | None = _CAUSE(error)
    context: BaseException | None = None if _SUPPRESSED(error) else _CONTEXT(error)
    return cause if cause is not None else context


def text_of(error: BaseException, attribute: str, otherwise: str, most: int = TEXT_CHARACTERS) -> str:
    """An attribute as plain text; ``otherwise`` when it is not text, or when asking for it raises."""
    value = _attribute(error, attribute)
    return plain_text(value, most) if isinstance(value, str) else otherwise


def flag_of(error: object, attribute: str, otherwise: bool) -> bool:
    """An attribute that is exactly True or False; ``otherwise`` when it is anything else, or when asking for it raises."""
    value = _attribute(error, attribute)
    return value if isinstance(value, bool) else otherwise


def seconds_of(error: object, name: str) -> float:
    """A number above 0 that ``error.context`` holds under ``name``, a year at most; else, or when asking for it raises, 0.0."""
    context = _attribute(error, "context")
    value = context.get(name) if type(context) is dict else None
    if type(value) is int or type(value) is float:
        return float(min(value, YEAR_S)) if value > 0 else 0.0
    return 0.0


def _attribute(error: object, attribute: str) -> str | bool | dict[str, object] | None:
    try:
        value = getattr(error, attribute, None)
        return value if issubclass(type(value), str | bool | dict) else None
    except BaseException as another:
        caught(another)
        return None


def class_name(of: type) -> str:
    """The name of a class as Python keeps it: a metaclass may give any ``__name__``, and may raise."""
    name: str = type.__dict__["__name__"].__get__(of)
    return plain_text(name, 200)


def a_type(value: object) -> str:
    """``an int``, ``a dict``: what a value is, in a sentence."""
    name = class_name(type(value))
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def shown(value: object, most: int = 80) -> str:
    """``repr(value)`` for a message, at most ``most`` characters; the name of its type when that raises. Raises only a Ctrl-C."""
    try:
        return plain_text(repr(value), most)
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        return a_type(value)


def plain_text(text: str, most: int = TEXT_CHARACTERS) -> str:
    """``text`` as any store and any reader takes it: lone surrogates and NUL as escapes, cut at ``most`` characters.

    For text that is kept and comes from anywhere, such as the message of an exception with a file name in it.
    """
    length = str.__len__(text)
    plain = str.__getitem__(text, slice(most))  # a plain str, whatever a user's subclass of str overrides
    if length > most:
        plain = f"{plain}{CUT}{length} characters)"
    return plain.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def said_text(value: object, most: int) -> str:
    """What a user gave to be shown, as plain text: a text, a number, or an object whose ``__str__`` may do anything."""
    if type(value) is str:
        return plain_text(value, most)
    try:
        return plain_text(str(value), most)
    except BaseException as error:
        return caught(error)[:most]


def _is_ctrl_c(error: BaseException) -> bool:
    return issubclass(type(error), KeyboardInterrupt) and _from_outside(trace_of(error))


def _from_outside(trace: TracebackType | None) -> bool:
    """Whether a KeyboardInterrupt came from a signal: no ``raise`` of the code that ran made it.

    Python's own signal handler raises between two instructions of the code that runs. The handler of asyncio has a ``raise``.
    """
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    if trace.tb_frame.f_globals.get("__name__") == "asyncio.runners":
        return True
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] != _RAISE


def _cut_earlier_raises(error: BaseException) -> None:
    """Cut the tracebacks of ``error``, of its cause and context, and of the members of a group.

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
