"""What the commands say, and how it looks: columns, times as people tell them, colour only on a terminal."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson
import typer

from ..contracts.excerpt import excerpt
from ..kernel.finding import EnumSeverity, Finding

_STYLES: Final = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33"}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
GAP: Final = "  "
_QUOTED_BYTES_MAX: Final = 1 << 22  # no contract may be so large, and no module of an app is


def has_colours(stream: TextIO) -> bool:
    """Only a terminal that is not asked to do without (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    stream = sys.stdout if stream is None else stream
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if text and has_colours(stream) else text


def say(text: str = "") -> None:
    try:
        sys.stdout.write(f"{text}\n")
    except BrokenPipeError as closed:  # whoever reads has seen enough
        raise typer.Exit from closed


def note(text: str) -> None:
    """For the person who watches, not for the pipe."""
    sys.stderr.write(f"{text}\n")


def say_json(value: object) -> None:
    """One JSON document, one line."""
    say(orjson.dumps(value, default=str).decode())


def harmless(text: str) -> str:
    """Text from a store or a message may hold what steers a terminal; here it holds its escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(limit - 3, 1)]}..."


def counted(number: int, thing: str) -> str:
    """``1 action``, ``2 actions``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Columns as wide as they need; a terminal cuts the last to its width. ``right``: columns of numbers."""
    lines = [list(headings), *([harmless(cell) for cell in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headings))]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        lines = [[*line[:-1], short(line[-1], max(room, 20))] for line in lines]
    for number, line in enumerate(lines):
        padded = (cell.rjust(widths[n]) if n in right else cell.ljust(widths[n]) for n, cell in enumerate(line))
        text = GAP.join(padded).rstrip()
        say(text if number else styled(text, "dim"))


def fields(pairs: Sequence[tuple[str, str]], indent: str = GAP) -> None:
    """Names and values, the values under one another."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        say(f"{indent}{styled(name.ljust(width), 'dim')}{GAP}{value}".rstrip())


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


def iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- findings ---------------------------------------------------------------------------------------------------------


def show_findings(findings: Sequence[object], stream: TextIO) -> None:
    """Each with its line and a caret, then how many there are."""
    counts = dict.fromkeys(EnumSeverity, 0)
    texts: dict[str, str] = {}
    for one in findings:
        if not isinstance(one, Finding):
            stream.write(f"{one}\n")
            continue
        counts[one.severity] += 1
        if one.path not in texts:
            texts[one.path] = _text(one.path)
        head, _, rest = excerpt(one, texts[one.path]).partition("\n")
        colour = {"error": "red", "warning": "yellow"}.get(one.severity, "dim")
        stream.write(head.replace(f" {one.severity} ", f" {styled(one.severity, colour, stream)} ", 1) + "\n")
        if rest:
            stream.write(f"{rest}\n")
        stream.write("\n")
    told = [counted(n, severity) for severity, n in counts.items() if n]
    stream.write(f"{', '.join(told)}\n" if told else "")


def plain_finding(one: object) -> object:
    """For JSON."""
    if not isinstance(one, Finding):
        return {"message": str(one)}
    return {**one._asdict(), "severity": one.severity.value}


def _text(path: str) -> str:
    """As much of a file as an excerpt can want; of a pipe or a device nothing, which would keep one waiting."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return file.read(_QUOTED_BYTES_MAX).decode(errors="replace") if plain else ""
    except (OSError, ValueError):
        return ""
