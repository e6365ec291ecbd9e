"""A finding as a compiler shows it: the sentence, the line it stands on, a caret under the place, the mend."""

from __future__ import annotations

import re

from ..kernel.finding import Finding

WIDTH = 120
_WORD = re.compile(r"[\w*.-]+")


def excerpt(finding: Finding, text: str) -> str:
    """``text`` is the file the finding is about. Without a line (0, or beyond the end) the sentence stands alone."""
    told = f"{finding.path}:{finding.line}:{finding.column}: {finding.severity} [{finding.code}] {finding.message}"
    parts = [told]
    lines = re.split(r"\r\n|\r|\n", text)
    if 1 <= finding.line <= len(lines):
        line = lines[finding.line - 1].replace("\t", " ")
        column = min(max(finding.column, 1), len(line) + 1) - 1
        word = _WORD.match(line, column)
        length = max(1, len(word.group()) if word else 1)
        # a long flow mapping is cut so that the place stays in sight
        begin = 0 if column + length <= WIDTH else column - WIDTH // 3
        shown = line[begin : begin + WIDTH]
        lead = "..." if begin else ""
        number = str(finding.line)
        caret = " " * (len(lead) + column - begin) + "^" * min(length, WIDTH)
        parts += [f" {number} | {lead}{shown}", f" {' ' * len(number)} | {caret}"]
    if finding.fix:
        parts.append(f"    mend: {finding.fix}")
    return "\n".join(parts)
