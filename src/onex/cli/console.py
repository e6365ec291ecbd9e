"""What the commands say, and how it looks: columns, times as people tell them, colour only on a terminal."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Final, TextIO

import orjson
import typer

from ..kernel.finding import EnumSeverity, Finding
from ..kernel.visible_text import visible, visible_json
from ..views.finding import excerpt

_STYLES: Final = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33"}
_MARK: Final = f"\x1b{secrets.token_hex(8)}:"  # begins a style; text of others cannot know it
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
GAP: Final = "  "
_QUOTED_BYTES_MAX: Final = 1 << 22  # no contract may be so large, and no module of an app is


def has_colours(stream: TextIO) -> bool:
    """Only a terminal that is not asked to do without (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """For what is written by this module, which alone knows the mark: no text of others can colour anything."""
    stream = sys.stdout if stream is None else stream
    return f"{_MARK}{_STYLES[style]}m{text}{_MARK}0m" if text and has_colours(stream) else text


def say(text: str = "") -> None:
    """One line. A line break in it is shown as its escape, as all that cannot be seen."""
    write(sys.stdout, f"{shown(text)}\n")


def say_lines(text: str) -> None:
    """A text of ours that has several lines."""
    write(sys.stdout, "".join(f"{shown(line)}\n" for line in text.split("\n")))


def note(text: str) -> None:
    """One line for the person who watches, not for the pipe."""
    write(sys.stderr, f"{shown(text)}\n")


def redraw(text: str = "", stream: TextIO | None = None) -> None:
    """The line a terminal's cursor stands in, written anew; without ``text`` it is empty then."""
    stream = sys.stderr if stream is None else stream
    write(stream, f"\r\x1b[2K{shown(text)}")
    stream.flush()


def say_json(value: object) -> None:
    """One JSON document, one line."""
    write(sys.stdout, f"{json_text(value)}\n")


def json_text(value: object, *, indented: bool = False) -> str:
    """A JSON document in which nothing is raw: controls and marks of direction stand as ``\\u202e``, and mean the same."""
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 if indented else 0).decode()
    except TypeError:  # lone surrogates, and integers beyond 64 bits: values that nothing but this can tell
        return visible_json(json.dumps(value, default=str, indent=2 if indented else None))
    return visible_json(text)


def write(stream: TextIO, text: str) -> None:
    """Everything that a command says goes through here, escaped before. Whoever reads may have seen enough."""
    try:
        stream.write(text)
    except BrokenPipeError as closed:
        if stream is not sys.stdout:
            raise
        raise typer.Exit from closed


def shown(text: str) -> str:
    """A line of others' text and our styles: the first escaped, the second as a terminal takes it."""
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
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """Blanks up to so many columns: behind the text, or with ``right`` before it."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def counted(number: int, thing: str) -> str:
    """``1 action``, ``2 actions``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Columns as wide as they need; a terminal cuts the last to its width. ``right``: columns of numbers."""
    lines = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(width(line[n]) for line in lines) for n in range(len(headings))]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        lines = [[*line[:-1], short(line[-1], max(room, 20))] for line in lines]
    for number, line in enumerate(lines):
        cells = (padded(cell, widths[n], right=n in right) for n, cell in enumerate(line))
        text = GAP.join(cells).rstrip()
        say(text if number else styled(text, "dim"))


def fields(pairs: Sequence[tuple[str, str]], indent: str = GAP) -> None:
    """Names and values, the values under one another."""
    names = [visible(name) for name, _ in pairs]
    columns = max(map(width, names), default=0)
    for name, (_, value) in zip(names, pairs, strict=True):
        say(f"{indent}{styled(padded(name, columns), 'dim')}{GAP}{value}".rstrip())


# --- times ------------------------------------------------------------------------------------------------------------


def now_us() -> int:
    return time.time_ns() // 1000


def when(at_us: int, now: int) -> str:
    """``3 s ago``, ``in 2 min``: in the largest unit that fits, to the nearest whole one."""
    seconds = abs(now - at_us) / 1e6
    told = next((f"{round(seconds / size)} {unit}" for size, unit in _UNITS if seconds >= size), "")
    if not told:
        return "now"
    return f"{told} ago" if at_us < now else f"in {told}"


# --- findings ---------------------------------------------------------------------------------------------------------


def show_findings(findings: Sequence[object], stream: TextIO) -> None:
    """Each with its line and a caret, then how many there are."""
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
    told = [counted(n, severity) for severity, n in counts.items() if n]
    write(stream, f"{', '.join(told)}\n" if told else "")


def _text(path: str) -> str:
    """As much of a file as an excerpt can want; of a pipe or a device nothing, which would keep one waiting."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_QUOTED_BYTES_MAX).decode(errors="replace") if plain else ""
    except (OSError, ValueError):
        return ""
