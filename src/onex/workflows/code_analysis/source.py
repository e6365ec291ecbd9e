"""From the bytes of a source file to its text, lines and line counts, or to one finding that says why not. Nothing raises."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from .finding import SourceFinding, printable

_LINE_END: Final = re.compile(r"\r\n|\r|\n")  # what Python calls a line end; str.splitlines knows eight more
_NOQA: Final = re.compile(r"#\s*noqa(?:\s*:\s*(?P<codes>[A-Za-z]+[0-9]*(?:[\s,]+[A-Za-z]+[0-9]+)*))?", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"\\[^\s'\"]")
_TOO_DEEP: Final = "nests too deep to be read everywhere; split the expression or the block"


class LineCounts(BaseModel):
    """``lines == code + comment + blank + docstring``; each line counts once.

    A line with code and a comment is code; an empty line inside a string is what the string is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: int = 0
    code: int = 0
    comment: int = 0
    blank: int = 0
    docstring: int = 0


class SourceText(NamedTuple):
    """``lines[n - 1]`` is line n without its end. ``encoding`` is the declared one (PEP 263), utf-8 unless declared."""

    text: str
    lines: Sequence[str]
    encoding: str


class Span(NamedTuple):
    """A string literal over several lines (first, last, offsets in UTF-8 bytes as the ``ast`` module counts them)."""

    first: int
    offset: int
    last: int
    last_offset: int


def decode(source: bytes) -> SourceText | SourceFinding:
    """The text in the encoding of its byte order mark or of the declaration in its first two lines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
            text = source.decode(encoding)
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        column = error.start - (source.rfind(b"\n", 0, error.start) + 1) + 1
        return _syntax(line, column, f"byte {error.start} is not {error.encoding}: {error.reason}")
    except (SyntaxError, LookupError, ValueError) as error:
        return _syntax(1, 1, f"the declared encoding cannot be read: {error}")
    nul = text.find("\0")
    if nul >= 0:
        line = len(_LINE_END.findall(text, 0, nul)) + 1
        return _syntax(line, 1, f"holds a NUL character at offset {nul}, which Python does not read")
    return SourceText(text, split(text), encoding)


def split(text: str) -> list[str]:
    """The lines without their ends; a last line without an end counts, the nothing after a last end does not."""
    lines = _LINE_END.split(text) if "\r" in text else text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def parse(text: SourceText) -> tuple[ast.Module | None, list[SourceFinding]]:
    """The tree, and the findings of the parser itself: why there is no tree, or which escapes it does not know.

    The grammar is that of the Python that runs this: a `match` or an f-string of a later version is a finding here.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(text.text)
        except SyntaxError as error:
            last = max(len(text.lines), 1)
            line = min(max(error.lineno or 1, 1), last)
            return None, [_syntax(line, max(error.offset or 1, 1), f"{error.msg}")]
        except (RecursionError, MemoryError):
            return None, [too_deep()]
        except ValueError as error:  # lone surrogates out of an escape codec, integers beyond the digit limit
            return None, [_syntax(1, 1, f"cannot be compiled: {error}")]
    return tree, _escapes(caught, text.lines)


def too_deep() -> SourceFinding:
    return _syntax(1, 1, _TOO_DEEP)


def _syntax(line: int, column: int, message: str) -> SourceFinding:
    return SourceFinding(code="syntax", line=line, column=column, message=printable(message))


def _escapes(caught: Iterable[warnings.WarningMessage], lines: Sequence[str]) -> list[SourceFinding]:
    found: dict[tuple[int, int], SourceFinding] = {}  # the parser may read a string twice and warn twice
    for warning in caught:
        escape = _ESCAPE.search(str(warning.message))
        if escape is None or "escape sequence" not in str(warning.message):
            continue
        line = min(max(warning.lineno, 1), max(len(lines), 1))
        column = lines[line - 1].find(escape.group()) + 1 if lines else 1
        message = f"{printable(escape.group())} is no escape of a string; write a raw string or two backslashes"
        place = (line, max(column, 1))
        found[place] = SourceFinding(code="invalid-escape", line=place[0], column=place[1], message=message)
    return list(found.values())


def count_lines(lines: Sequence[str], strings: Iterable[Span], docstrings: Iterable[Span]) -> LineCounts:
    """What each line is. ``strings`` are literals over several lines, ``docstrings`` those of any length."""
    inside: dict[int, str] = {}
    for span in strings:
        _mark_string(inside, lines, span)
    for span in docstrings:
        shared = lines[span.first - 1].encode()[: span.offset].strip()
        for number in range(span.first + (1 if shared else 0), span.last + 1):
            inside[number] = "docstring"
    code = comment = blank = docstring = 0
    for number, line in enumerate(lines, 1):
        kind = inside.get(number)
        if kind is None:
            bare = line.strip(" \t\f")
            kind = "blank" if not bare else "comment" if bare[0] == "#" else "code"
        if kind == "code":
            code += 1
        elif kind == "comment":
            comment += 1
        elif kind == "blank":
            blank += 1
        else:
            docstring += 1
    return LineCounts(lines=len(lines), code=code, comment=comment, blank=blank, docstring=docstring)


def _mark_string(inside: dict[int, str], lines: Sequence[str], span: Span) -> None:
    """Every line of the literal is code, but for comments and empty lines between its adjacent parts."""
    uncertain = []
    for number in range(span.first, span.last + 1):
        bare = lines[number - 1].strip(" \t\f")
        if not bare or bare[0] == "#":
            uncertain.append(number)
        inside[number] = "code"
    if not uncertain:
        return
    between = _between_parts(lines, span)
    for number in uncertain:
        if number in between:
            inside[number] = "comment" if lines[number - 1].strip() else "blank"


def _between_parts(lines: Sequence[str], span: Span) -> set[int]:
    """Lines of the span that no token but a comment or a line end touches; in parentheses, so that parts may wrap."""
    part = [line.encode() for line in lines[span.first - 1 : span.last]]
    part[-1] = part[-1][: span.last_offset]
    part[0] = b"(" + part[0][span.offset :]
    text = b"\n".join(part).decode(errors="replace") + ")\n"
    free = set(range(span.first, span.last + 1))
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                free.difference_update(range(span.first + token.start[0] - 1, span.first + token.end[0]))
    except (tokenize.TokenError, SyntaxError):  # an f-string's position is not always exact before 3.12: call it code
        return set()
    return free


def suppressions(text: SourceText) -> dict[int, frozenset[str]]:
    """line -> the codes that a ``# noqa`` on it names; an empty set means all."""
    if "noqa" not in text.text.lower():
        return {}
    found = {}
    for number, line in enumerate(text.lines, 1):
        if "#" in line and (match := _NOQA.search(line)):
            codes = match.group("codes") or ""
            found[number] = frozenset(code.upper() for code in re.split(r"[\s,]+", codes) if code)
    return found


class Columns:
    """Byte offsets of the ``ast`` module -> columns in characters, from 1; linear also for one line of megabytes.

    Ask in ascending order of (line, offset).
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._line = 0
        self._bytes = b""
        self._offset = 0
        self._column = 1
        self._ascii = True

    def column(self, line: int, offset: int) -> int:
        if line != self._line:
            text = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
            self._line, self._ascii, self._offset, self._column = line, text.isascii(), 0, 1
            self._bytes = b"" if self._ascii else text.encode()
        if self._ascii:
            return offset + 1
        self._column += len(self._bytes[self._offset : offset].decode(errors="replace"))
        self._offset = offset
        return self._column
