"""Output of the commands: lines, tables, relative times, findings; colour only on a terminal.

All text passes ``write``, escaped before: nothing that a store or a contract holds can move the cursor or fake a line.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import sys
import time
import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Final, TextIO

import orjson
import typer

from ..kernel.finding import EnumSeverity, Finding
from ..kernel.visible_text import visible, visible_json
from ..views.finding import excerpt
from .own_output import own_stdout

_STYLES: Final = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33"}
_MARK: Final = f"\x1b{secrets.token_hex(8)}:"  # begins a style; text from outside cannot contain it
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
GAP: Final = "  "
_QUOTED_BYTES_MAX: Final = 1 << 22  # no contract may be so large, and no module of an app is


def has_colours(stream: TextIO) -> bool:
    """A terminal, unless NO_COLOR is set (https://no-color.org) or it is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """``text`` marked with a style for ``write``. Text from outside cannot colour anything: it cannot contain the mark."""
    stream = own_stdout() if stream is None else stream
    return f"{_MARK}{_STYLES[style]}m{text}{_MARK}0m" if text and has_colours(stream) else text


def say(text: str = "") -> None:
    """One line on stdout. Line breaks and all other invisible characters are shown as escapes."""
    write(own_stdout(), f"{shown(text)}\n")


def say_lines(text: str) -> None:
    """Our own text of several lines, on stdout."""
    write(own_stdout(), "".join(f"{shown(line)}\n" for line in text.split("\n")))


def note(text: str) -> None:
    """One line on stderr: for the person who watches, not for a program that reads stdout."""
    write(sys.stderr, f"{shown(text)}\n")


def redraw(text: str = "", stream: TextIO | None = None) -> None:
    """Replaces the terminal's current line with ``text``."""
    stream = sys.stderr if stream is None else stream
    write(stream, f"\r\x1b[2K{shown(text)}")
    stream.flush()


def say_json(value: object) -> None:
    """One JSON document, one line."""
    write(own_stdout(), f"{json_text(value)}\n")


def json_text(value: object, *, indented: bool = False) -> str:
    """A JSON document in which control and direction characters stand as ``\\u202e``. It parses to the same value."""
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 if indented else 0).decode()
    except TypeError:  # lone surrogates, and integers beyond 64 bits, which orjson refuses
        return visible_json(json.dumps(value, default=str, indent=2 if indented else None))
    return visible_json(text)


def write(stream: TextIO, text: str) -> None:
    """All output goes through here, escaped before. When the reader has closed stdout, the command ends with exit code 0."""
    try:
        stream.write(text)
    except BrokenPipeError as closed:
        if stream is not own_stdout():
            raise
        raise typer.Exit from closed


def shown(text: str) -> str:
    """A line with outside text escaped, and our style marks turned into terminal sequences."""
    if text.isprintable():
        return text
    plain, *painted = text.split(_MARK)
    parts = [visible(plain)]
    for one in painted:
        style, _, rest = one.partition("m")
        parts += [f"\x1b[{style}m", visible(rest)]
    return "".join(parts)


harmless = visible


def short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(limit - 3, 1)]}..."


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` filled with blanks to ``columns``; with ``right`` the blanks come first."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def counted(number: int, thing: str) -> str:
    """``1 action``, ``2 actions``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def figures(lines: Iterable[tuple[str, int, str, str]], always: Container[str]) -> None:
    """``(name, count, style, about)`` one below the other, aligned. A count of 0 is shown for the names in ``always`` only."""
    rows = list(lines)
    width = max(len(name) for name, *_ in rows)
    for name, count, style, about in rows:
        if count or name in always:
            padded = f"{name:<{width}}"
            say(f"  {styled(padded, style) if count else padded}  {count:>9,}  {about}".rstrip())


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), below: Sequence[str] = ()
) -> None:
    """Columns as wide as needed. On a terminal the last one is cut to fit. ``right``: indices of right-aligned columns.

    ``below[n]``: lines that stand below row ``n``, already harmless; '' for none.
    """
    lines = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(width(line[n]) for line in lines) for n in range(len(headings))]
    if own_stdout().isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        lines = [[*line[:-1], short(line[-1], max(room, 20))] for line in lines]
    for number, line in enumerate(lines):
        cells = (padded(cell, widths[n], right=n in right) for n, cell in enumerate(line))
        text = GAP.join(cells).rstrip()
        say(text if number else styled(text, "dim"))
        if number and number <= len(below) and below[number - 1]:
            say_lines(below[number - 1])


def fields(pairs: Sequence[tuple[str, str]], indent: str = GAP) -> None:
    """Names and values in two aligned columns."""
    names = [visible(name) for name, _ in pairs]
    columns = max(map(width, names), default=0)
    for name, (_, value) in zip(names, pairs, strict=True):
        say(f"{indent}{styled(padded(name, columns), 'dim')}{GAP}{value}".rstrip())


# --- times ------------------------------------------------------------------------------------------------------------


def now_us() -> int:
    return time.time_ns() // 1000


def when(at_us: int, now: int) -> str:
    """``3 s ago``, ``in 2 min``: in the largest unit that fits, rounded."""
    seconds = abs(now - at_us) / 1e6
    text = next((f"{round(seconds / size)} {unit}" for size, unit in _UNITS if seconds >= size), "")
    if not text:
        return "now"
    return f"{text} ago" if at_us < now else f"in {text}"


# --- findings ---------------------------------------------------------------------------------------------------------


def show_findings(findings: Sequence[object], stream: TextIO) -> None:
    """Each finding with its source line and a caret, then a count by severity."""
    counts = dict.fromkeys(EnumSeverity, 0)
    texts: dict[str, str] = {}
    for one in findings:
        if not isinstance(one, Finding):
            write(stream, f"{shown(str(one))}\n")
            continue
        counts[one.severity] += 1
        if one.path not in texts:
            texts[one.path] = _text(one.path)
        head, _, rest = excerpt(one, texts[one.path]).partition("\n")
        colour = {"error": "red", "warning": "yellow"}.get(one.severity, "dim")
        coloured = head.replace(f" {one.severity} ", f" {styled(one.severity, colour, stream)} ", 1)
        write(stream, f"{shown(coloured)}\n")
        write(stream, "".join(f"{shown(line)}\n" for line in rest.split("\n")) if rest else "")
        write(stream, "\n")
    counts_text = [counted(n, severity) for severity, n in counts.items() if n]
    write(stream, f"{', '.join(counts_text)}\n" if counts_text else "")


def _text(path: str) -> str:
    """The first 4 MiB of a regular file; '' for a pipe or a device, which could block."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_QUOTED_BYTES_MAX).decode(errors="replace") if plain else ""
    except (OSError, ValueError):
        return ""
