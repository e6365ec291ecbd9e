"""The traceback of user code as a few lines of text: file, line and function of each frame that matters, and no values.

Kept are the frames of the user's own code and the last frame, whoever wrote it. Frames of ONEX, of Python's library and of
installed packages are left out between them. The text has a limit and holds no locals and no source, so it can be stored
beside a message and shown to an operator. A traceback that stays inside ONEX has nothing to show: its text is ''.
"""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from .user_code import CUT, caught, describe, plain_text, reason_of, trace_of

TRACE_CHARACTERS = 4096
FRAMES = 10
CAUSES = 3
CAUSE_CHARACTERS = 300
HIDDEN = "***"
_SHORTEST_SECRET = 4  # replacing shorter text would hide ordinary words and give the secret away by its gaps
_ONEX = f"{__file__.rpartition('/kernel/')[0]}/"
_APPS_INSIDE = (f"{_ONEX}workflows/", f"{_ONEX}_examples/")
_PYTHON = f"{dis.__file__.rpartition('/')[0]}/"
_PACKAGES = ("/site-packages/", "/dist-packages/")


def trace_text(error: BaseException) -> str:
    """``file:line in function`` per line, the innermost frame last; then each cause with its frames. At most 4,096 characters.

    '' when no code of the user was running. Raises nothing but a real Ctrl-C.
    """
    try:
        lines = _frames(trace_of(error))
        if not lines:
            return ""
        for cause in _causes(error):
            lines += [f"caused by {describe(cause, CAUSE_CHARACTERS)}", *_frames(trace_of(cause))]
        return plain_text("\n".join(lines), TRACE_CHARACTERS)
    except BaseException as another:  # a class of the user may answer anything when its instances are asked
        caught(another)
        return ""


def innermost_of(trace: str) -> str:
    """``file:line`` of the last frame of user code in a trace's text: where to look first. '' for an empty one."""
    first_error = trace.partition("\ncaused by ")[0].splitlines()
    own = [line for line in first_error if not is_library(line)] or first_error
    return own[-1].partition(" in ")[0] if own else ""


def without(secrets: Iterable[str], text: str) -> str:
    """``text`` with each of ``secrets`` replaced by ``***``, the longest first; also where a text was cut within one."""
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len, reverse=True):
        *cut, rest = text.replace(secret, HIDDEN).split(CUT)
        text = CUT.join([*(_without_beginning(secret, part) for part in cut), rest])
    return text


def _without_beginning(secret: str, text: str) -> str:
    for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
        if text.endswith(secret[:length]):
            return f"{text[:-length]}{HIDDEN}"
    return text


def is_library(path: str) -> bool:
    """Whether ``path`` is a file of ONEX, of Python, or of an installed package."""
    if path.startswith(_APPS_INSIDE):
        return False
    return path.startswith((_ONEX, _PYTHON, "<frozen ")) or any(part in path for part in _PACKAGES)


def _frames(trace: TracebackType | None) -> list[str]:
    own: deque[str] = deque(maxlen=FRAMES)
    count, last, ours_only = 0, "", True
    while trace is not None:
        code = trace.tb_frame.f_code
        path = code.co_filename
        last = f"{plain_text(path, 300)}:{trace.tb_lineno} in {plain_text(code.co_name, 100)}"
        ours_only = ours_only and path.startswith(_ONEX) and not path.startswith(_APPS_INSIDE)
        if not is_library(path):
            count += 1
            own.append(last)
        trace = trace.tb_next
    if ours_only:
        return []
    lines = [f"... {count - FRAMES} frames more"] if count > FRAMES else []
    lines += own
    return lines if own and own[-1] == last else [*lines, last]


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    for _ in range(CAUSES):
        behind = reason_of(error)
        if behind is None or id(behind) in seen:
            return
        seen.add(id(behind))
        yield behind
        error = behind
