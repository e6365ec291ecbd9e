"""Text of others, made visible: nothing in it steers a terminal, hides, runs from right to left, or begins a line of its own.

The one place that decides what is shown as its escape: whatever is not printable, which is C0, DEL and C1 controls, marks of
direction, separators of lines and paragraphs, tags, lone surrogates, and spaces that look like another.
"""

from __future__ import annotations

import re

_UNSEEN_IN_JSON = re.compile(r"[^\x20-\x7e]")


def visible(text: str) -> str:
    """``text`` with escapes in place of what cannot be seen: ``\\x9b``, ``\\u202e``. Twice is as once."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """The same for a text of ours that has several lines."""
    if text.isprintable():
        return text
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """A JSON document that says the same and holds nothing unseen: in JSON that stands in strings only, where ``\\u`` may."""
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
