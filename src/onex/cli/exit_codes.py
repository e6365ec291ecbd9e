"""Exit codes, and an exception as one sentence on stderr: what happened, and what to do next."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from io import StringIO
from typing import Final, Protocol, TextIO

from ..kernel.errors import (
    ContractError,
    EngineClosed,
    NoAvailableSubreducersError,
    OnexError,
    Overloaded,
    OwnershipLost,
    StatusUnreachable,
    TransactionError,
    ValidationError,
)
from ..settings import InvalidSetting, wants_debug

FINE: Final = 0
FOUND: Final = 1
USAGE: Final = 2
ENVIRONMENT: Final = 3
DEFECT: Final = 70
INTERRUPTED: Final = 130


class Misused(ValidationError):
    """Options that contradict each other, or a value that makes no sense."""

    code = "misused"


class InvalidLine(ValidationError):
    """A line of ``onex submit -`` is no action."""

    code = "invalid_line"


class Declined(OnexError):
    """The running engine refused an operator's request."""

    code = "declined"


class Unanswered(OnexError):
    """The running engine did not answer in time. The request is stored, and may still be carried out."""

    code = "unanswered"
    retryable = True


class NotReached(OnexError):
    """``onex wait`` has waited as long as it was to, and the status has not come. It may still come."""

    code = "not_reached"
    retryable = True


_ENVIRONMENT = (
    TransactionError,
    OwnershipLost,
    EngineClosed,
    Overloaded,
    NoAvailableSubreducersError,
    InvalidSetting,
    Unanswered,
    NotReached,
)


def exit_code(error: OnexError) -> int:
    """1: something was found or refused. 2: wrong usage. 3: a problem of the store or the machine."""
    if isinstance(error, _ENVIRONMENT):
        return ENVIRONMENT
    if isinstance(error, ContractError):
        return FOUND if error.findings else USAGE
    wrong = isinstance(error, ValidationError) and not isinstance(error, StatusUnreachable)
    return USAGE if wrong else FOUND


class UsageError(Protocol):
    """What the command-line parser raises. Its text quotes arguments unescaped."""

    exit_code: int

    def show(self, file: TextIO) -> None: ...


def report_usage_error(error: UsageError) -> int:
    """Writes a usage error to stderr, escaped. Returns the exit code."""
    from .console import note

    said = StringIO()
    error.show(said)
    for line in said.getvalue().splitlines():
        note(line)
    context = getattr(error, "ctx", None)
    wants_app = getattr(error, "option_name", "") == "--app"
    if context is not None and wants_app and any(one.name == "app" for one in context.command.params):
        note(f"Here the app is a word of its own: {context.command_path} APP")
    return error.exit_code


def undecodable_word(error: Exception, words: Sequence[str]) -> Misused | None:
    """The error to report instead of ``error`` when an argument is not UTF-8: Python makes a lone surrogate of such a byte."""
    odd = [word for word in words if any("\ud800" <= one <= "\udfff" for one in word)]
    if not odd or not isinstance(error, UnicodeEncodeError):
        return None
    return Misused(f"{odd[0]!r} is not UTF-8 text, and no name here can be; write another name")


def report_error(error: Exception, otherwise: int, words: Sequence[str] = ()) -> int:
    """Writes ``error`` to stderr, and with ``--json`` in ``words`` to stdout too. Returns the exit code.

    ``otherwise`` is the exit code of an error that is no OnexError.
    """
    from ..kernel.visible_text import visible_json
    from ..views.finding import finding_json
    from .console import note, say_lines, show_findings

    _show_where(error)
    if isinstance(error, OnexError):
        code, sentence, fields = exit_code(error), error.message, error.as_json()
    elif otherwise == ENVIRONMENT:
        code, sentence, fields = otherwise, str(error), {"code": "system", "message": str(error)}
    else:
        what = f"{type(error).__name__}: {error}"
        sentence = f"this is a defect of onex, not of your app: {what}. ONEX_DEBUG=1 shows where; please report it"
        code, fields = otherwise, {"code": "defect", "message": what}
    if "--json" in words:
        if isinstance(error, ContractError):
            fields |= {"findings": [finding_json(one) for one in error.findings]}
        say_lines(visible_json(json.dumps({"error": fields}, default=str)))
    if isinstance(error, ContractError) and error.findings:
        show_findings(error.findings, sys.stderr)
    else:
        note(f"onex: {sentence}")
    return code


def _show_where(error: Exception) -> None:
    """With ``ONEX_DEBUG=1``: the traceback of ``error``, and where code of the user raised behind it."""
    from .console import note

    try:
        wanted = wants_debug()
    except InvalidSetting as invalid:
        if not isinstance(error, InvalidSetting):  # which may be this very one
            note(f"onex: {invalid.message}")
        return
    if not wanted:
        return
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        note(line)
    if isinstance(error, OnexError) and error.trace:
        note("your code raised at, innermost last:")
        for line in error.trace.splitlines():
            note(f"  {line}")
