"""Where in a contract somebody is typing, found from the text before the cursor: unfinished text is not YAML yet.

block style      by indentation:  the keys above that are less indented
flow style       by brackets:     the keys before those that are still open
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(r"""^(?P<indent> *)(?P<dashes>(?:- +)*)(?:["']?(?P<key>[A-Za-z_][\w-]*)["']?[ ]*:(?=\s|$))?""")
_KEY_BEFORE = re.compile(r"""["']?([A-Za-z_][\w-]*)["']?[ ]*:[ ]*$""")
_PAIR = re.compile(r"""["']?([A-Za-z_][\w-]*)["']?[ ]*:(?=\s|$)""")


class YamlCursor(NamedTuple):
    """``path``: the keys above. ``key``: the key whose value is being typed, None while a key is. ``prefix``: the text so far.

    ``beside`` are the other keys of the same mapping.
    """

    path: tuple[str, ...]
    key: str | None
    prefix: str
    beside: frozenset[str]


class _Open(NamedTuple):
    """A bracket that is not closed before the cursor."""

    bracket: str
    offset: int


def yaml_cursor(text: str, line: int, column: int) -> YamlCursor:
    """``line`` and ``column`` count from 1; the cursor stands before the letter there. Never raises."""
    lines = text.split("\n")[:line]
    if not lines:
        return YamlCursor((), None, "", frozenset())
    lines[-1] = lines[-1][: max(column - 1, 0)]
    before = "\n".join(lines)
    opened = _brackets(before)
    return _flow(before, opened) if opened else _block(text, lines)


# --- flow style -------------------------------------------------------------------------------------------------------


def _flow(before: str, opened: list[_Open]) -> YamlCursor:
    first = before[: opened[0].offset]
    path = _path_above(first.split("\n"))
    for n, one in enumerate(opened):
        begin = opened[n - 1].offset + 1 if n else 0
        named = _KEY_BEFORE.search(before[begin : one.offset])
        if named is not None:
            path = (*path, named[1])
    inner = before[opened[-1].offset + 1 :]
    parts = _parts(inner)
    last = parts[-1].lstrip()
    if opened[-1].bracket == "[":
        return YamlCursor(path[:-1], path[-1] if path else None, last, frozenset())
    beside = frozenset(found[1] for part in parts[:-1] if (found := _PAIR.match(part.strip())))
    pair = _PAIR.match(last)
    if pair is not None:
        return YamlCursor(path, pair[1], last[pair.end() :].lstrip(), beside)
    return YamlCursor(path, None, last, beside)


def _brackets(text: str) -> list[_Open]:
    """The brackets still open at the end of ``text``, the outermost first. Quotes and comments are skipped."""
    found: list[_Open] = []
    quote = ""
    n = 0
    while n < len(text):
        letter = text[n]
        if quote:
            if letter == "\\" and quote == '"':
                n += 1
            elif letter in (quote, "\n"):
                quote = ""
        elif letter in "\"'" and (n == 0 or text[n - 1] in " \n[{,:"):
            quote = letter
        elif letter == "#" and (n == 0 or text[n - 1] in " \n"):
            n = text.find("\n", n)
            if n < 0:
                break
            continue
        elif letter in "[{" and (found or n == 0 or text[n - 1] in " \n"):
            found.append(_Open(letter, n))
        elif letter in "]}" and found:
            found.pop()
        n += 1
    return found


def _parts(text: str) -> list[str]:
    """Split at commas outside of inner brackets and quotes."""
    parts, depth, quote, begin = [], 0, "", 0
    for n, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[begin:n])
            begin = n + 1
    return [*parts, text[begin:]]


# --- block style ------------------------------------------------------------------------------------------------------


def _block(text: str, lines: list[str]) -> YamlCursor:
    here = _LINE.match(lines[-1])
    assert here is not None, "the pattern matches every line"
    path = _path_above(lines)
    if here["key"] is not None:
        value = lines[-1][here.end() :].lstrip()
        return YamlCursor(path, here["key"], value, _beside(text, len(lines) - 1))
    rest = lines[-1][len(here["indent"]) + len(here["dashes"]) :]
    if here["dashes"] and path and not rest.strip():
        # an entry that is still empty: a word of a list, or the first key of one of its mappings
        return YamlCursor(path, None, "", frozenset())
    return YamlCursor(path, None, rest.strip(), _beside(text, len(lines) - 1))


def _path_above(lines: list[str]) -> tuple[str, ...]:
    """The keys that the last line lies under, the outermost first.

    Walking up, either a key left of ``level`` is looked for, or, once in an entry, one no further right than its dash.
    """
    found: list[str] = []
    here = _LINE.match(lines[-1])
    assert here is not None, "the pattern matches every line"
    level, dash = _levels(here)
    for line in reversed(lines[:-1]):
        above = _LINE.match(line)
        if above is None or not line.strip() or line.lstrip().startswith("#"):
            continue
        own, own_dash = _levels(above)
        if dash is None and own == level and own_dash is not None:
            dash = own_dash  # the first line of the entry that this mapping is
        elif (
            above["key"]
            and own_dash != (-1 if dash is None else dash)
            and (own < level if dash is None else own <= dash)
        ):
            found.append(above["key"])
            level, dash = own, own_dash
    return tuple(reversed(found))


def _levels(line: re.Match[str]) -> tuple[int, int | None]:
    """The column (from 0) where a line's content begins, and that of its first dash."""
    dashes = len(line["dashes"])
    indent = len(line["indent"])
    return indent + dashes, indent if dashes else None


def _beside(text: str, at: int) -> frozenset[str]:
    """Keys on the neighbouring lines of the same mapping."""
    lines = text.split("\n")
    here = _LINE.match(lines[at])
    assert here is not None, "the pattern matches every line"
    level = len(here["indent"]) + len(here["dashes"])
    found: set[str] = set()
    for step in (-1, 1):
        n = at + step
        if step == -1 and here["dashes"]:
            continue
        while 0 <= n < len(lines):
            other = _LINE.match(lines[n])
            own = len(other["indent"]) + len(other["dashes"]) if other else 0
            if other is None or (lines[n].strip() and own < level) or (step == 1 and other["dashes"] and own == level):
                break
            if own == level and other["key"]:
                found.add(other["key"])
            if step == -1 and other["dashes"] and own == level:
                break
            n += step
    return frozenset(found)
