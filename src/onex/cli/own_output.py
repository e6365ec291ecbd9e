"""Where the output of a command goes, apart from what the user's code prints.

With ``--json`` or ``--sarif -`` standard output holds JSON and nothing else: a program reads it. An app may print when it is
imported, in a handler, in an effect, from C or from a child process. So ``json_alone`` keeps the real standard output for the
command itself, and puts standard error in its place, as ``sys.stdout`` and as file descriptor 1.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TextIO

STDOUT = 1
_own: list[TextIO] = []


def own_stdout() -> TextIO:
    """What a command writes to."""
    return _own[-1] if _own else sys.stdout


@contextmanager
def json_alone(words: Sequence[str]) -> Iterator[None]:
    """While a command with these words runs. Without ``--json`` or ``--sarif -`` among them it changes nothing."""
    for_programs = "--json" in words or _is_sarif(words)
    if not for_programs or not {"-h", "--help"}.isdisjoint(words) or sys.stdout is None or sys.stderr is None:
        yield
        return
    before = sys.stdout
    own = _moved(before)
    _own.append(own)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        _own.remove(own)
        sys.stdout = before
        if own is not before:
            own.flush()


def _is_sarif(words: Sequence[str]) -> bool:
    return "--sarif=-" in words or ("--sarif", "-") in pairwise(words)


def _moved(stream: TextIO) -> TextIO:
    """The real standard output under another descriptor. A stream that is not descriptor 1, as in a test, stays as it is."""
    try:
        if stream.fileno() != STDOUT:
            return stream
    except (OSError, ValueError, io.UnsupportedOperation):
        return stream
    stream.flush()
    kept = os.dup(STDOUT)
    os.dup2(sys.stderr.fileno(), STDOUT)
    at_once = getattr(stream, "write_through", False)  # PYTHONUNBUFFERED, or python -u
    raw = os.fdopen(kept, "wb", buffering=0 if at_once else -1)
    return io.TextIOWrapper(
        raw,
        encoding=stream.encoding,
        errors="backslashreplace",
        newline="\n",
        line_buffering=bool(stream.line_buffering),
        write_through=at_once,
    )
