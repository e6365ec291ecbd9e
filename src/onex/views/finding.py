"""A finding as JSON, and as a compiler shows it: the sentence, its line of the file, a caret under the place, the fix.

The quoted text was written by others. So no control character of it, and no mark of direction, reaches a terminal.
"""

from __future__ import annotations

import re

from ..kernel.finding import Finding
from ..kernel.visible_text import visible

WIDTH = 120
_WORD = re.compile(r""""[^"]*"|'[^']*'|![^\s,\[\]{}]*|<<|&?[\w*.-]+""")


def finding_json(one: object) -> dict[str, object]:
    """Of a ``ContractError``, whose findings may be any object: what is no Finding has its text alone."""
    if not isinstance(one, Finding):
        return {"message": str(one)}
    return {**one._asdict(), "severity": one.severity.value}


def excerpt(finding: Finding, text: str) -> str:
    """``text`` is the file the finding is about. Without a line (0, or beyond the end) the sentence stands alone."""
    place = f"{finding.path}:{finding.line}:{finding.column}" if finding.line else finding.path
    parts = [visible(f"{place}: {finding.severity} [{finding.code}] {finding.message}")]
    lines = re.split(r"\r\n|\r|\n", text)
    if 1 <= finding.line <= len(lines):
        # one character for one, so that the caret stays under its place
        line = "".join(c if c.isprintable() else " " if c == "\t" else "?" for c in lines[finding.line - 1])
        column = min(max(finding.column, 1), len(line) + 1) - 1
        word = _WORD.match(line, column)
        length = max(1, len(word.group()) if word else 1)
        # a long flow mapping is cut so that the place stays in sight
        begin = 0 if column + length <= WIDTH else max(0, column - WIDTH // 3)
        shown = line[begin : begin + WIDTH]
        lead = "..." if begin else ""
        number = str(finding.line)
        caret = " " * (len(lead) + column - begin) + "^" * min(length, WIDTH + begin - column)
        parts += [f" {number} | {lead}{shown}", f" {' ' * len(number)} | {caret}"]
    if finding.fix:
        parts.append(visible(f"    fix: {finding.fix}"))
    return "\n".join(parts)
