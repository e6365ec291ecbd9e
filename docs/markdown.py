"""The Markdown that written pages have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MADE = "<!-- written by docs/generate.py from the code; `make docs` writes it again -->\n"


def row(cells: Iterable[str]) -> str:
    bare = [cell.replace("|", "\\|") for cell in cells]  # also inside code, where Markdown's tables want it
    return f"| {' | '.join(bare)} |\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return row(heads) + f"|{'---|' * len(heads)}\n" + "".join(map(row, rows))


def anchor(heading: str) -> str:
    """The fragment of a heading: lower case, punctuation dropped, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sentence(text: str | None) -> str:
    """A docstring on one line, in Markdown's spelling of code; a rule it cites becomes a link to it."""
    plain = " ".join((text or "").split()).replace("``", "`")
    return re.sub(r"promise (\d+)", r"[rule \1](../concepts/promises.md)", plain)
