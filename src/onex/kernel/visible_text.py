"""Foreign text with escapes for all that is not printable, so that it cannot control a terminal, hide, or fake a line.

This is the only place that decides what is escaped: C0, DEL and C1 controls, direction marks, line and paragraph separators,
tags, lone surrogates, and every space but U+0020.
"""

from __future__ import annotations

import re

_UNSEEN_IN_JSON = re.compile(r"[^\x20-\x7e]")


def visible(text: str) -> str:
    """``text`` with ``\\x9b``, ``\\u202e`` and so on for what cannot be seen. To apply it twice changes nothing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """The same for a text whose own line breaks stay."""
    if text.isprintable():
        return text
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """An equal JSON document without invisible characters. Valid JSON has them within strings only, where ``\\u`` is allowed."""
    if document.isprintable():
        return document
    return "\n".join(_UNSEEN_IN_JSON.sub(_escape, line) for line in document.split("\n"))


def _escape(found: re.Match[str]) -> str:
    one = found.group()
    if one.isprintable():
        return one
    code = ord(one)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
