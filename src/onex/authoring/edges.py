"""An edge as text: ``"basket | in_doubt -> cancelled"``. ``"*"`` on the left is every status that is not final."""

from __future__ import annotations

import re
from typing import NamedTuple

ARROW = "->"
TRIGGER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)?")
"""What text without an arrow is, if it is anything."""


class Edge(NamedTuple):
    """From each of ``sources`` to ``target``."""

    sources: tuple[str, ...]
    target: str


def read_edge(text: str) -> Edge | None:
    """None where a status is missing, or there are two arrows or two targets."""
    left, _, right = text.partition(ARROW)
    sources, target = tuple(part.strip() for part in left.split("|")), right.strip()
    if not all(sources) or not target or ARROW in target or "|" in target:
        return None
    return Edge(sources, target)
