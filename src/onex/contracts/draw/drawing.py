"""The values of a drawing: nodes and edges as input, boxes and lines with places as output; and the size of text.

Lengths are in pixels of a 13 px type; x grows to the right, y down.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from typing import NamedTuple

TYPE = 13.0
LINE = 17.0
SMALL = 11.0
CUT = "..."


class EnumFlow(StrEnum):
    """Which way edges point: ``down`` reads well with words on the edges, ``right`` with long names in the boxes."""

    DOWN = "down"
    RIGHT = "right"


class GraphNode(NamedTuple):
    """``kind`` is a class of the picture's style (``state terminal start any effect compute reducer ...``).

    ``width`` and ``height`` of 0 are taken from the text. ``detail`` is a line of small type below the label, ``note`` is
    the tooltip of the box.
    """

    id: str
    label: str
    kind: str = ""
    width: float = 0.0
    height: float = 0.0
    detail: str = ""
    note: str = ""


class GraphEdge(NamedTuple):
    """Several edges between the same two nodes, of the same kind, are drawn as one with their labels under one another."""

    source: str
    target: str
    label: str = ""
    kind: str = ""


class NodeBox(NamedTuple):
    """A node with its final size; ``x`` and ``y`` are its middle."""

    node: GraphNode
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


class DrawPoint(NamedTuple):
    x: float
    y: float


class EdgeLabel(NamedTuple):
    """The text on a line. ``x`` and ``y`` are its middle; ``full`` is the whole text when it was cut, else ''."""

    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    full: str


class Stroke(NamedTuple):
    """``M``, ``L`` or ``C`` of an SVG path, with its one or three points."""

    letter: str
    points: tuple[DrawPoint, ...]


class EdgeLine(NamedTuple):
    """One or more edges. It begins at ``source`` and ends, with its arrow, at ``target``."""

    source: str
    target: str
    kind: str
    strokes: tuple[Stroke, ...]
    label: EdgeLabel | None


class Drawing(NamedTuple):
    width: float
    height: float
    boxes: tuple[NodeBox, ...]
    lines: tuple[EdgeLine, ...]

    def moved(self, x: float, y: float) -> Drawing:
        """A copy, ``x`` further to the right and ``y`` further down."""
        boxes = tuple(box._replace(x=box.x + x, y=box.y + y) for box in self.boxes)
        return Drawing(self.width, self.height, boxes, tuple(_moved(line, x, y) for line in self.lines))


def _moved(line: EdgeLine, x: float, y: float) -> EdgeLine:
    strokes = tuple(
        Stroke(stroke.letter, tuple(DrawPoint(one.x + x, one.y + y) for one in stroke.points))
        for stroke in line.strokes
    )
    label = line.label
    return line._replace(strokes=strokes, label=label and label._replace(x=label.x + x, y=label.y + y))


class MeasuredText(NamedTuple):
    """A text broken into lines, and its size."""

    lines: tuple[str, ...]
    width: float
    height: float


def measured(text: str, size: float = TYPE, columns: int = 32, rows: int = 3) -> MeasuredText:
    """``text`` broken at ``columns`` letters, each of its own lines into ``rows`` at most, and how large it is."""
    lines = tuple(line for part in text.split("\n") for line in broken(part, columns, rows)) if text else ()
    width = max((width_of(line, size) for line in lines), default=0.0)
    return MeasuredText(lines, width, len(lines) * LINE * size / TYPE)


def width_of(text: str, size: float = TYPE) -> float:
    """The approximate width in a sans-serif font; rather too large, since fonts differ."""
    return size * sum(_em(letter) for letter in text)


def _em(letter: str) -> float:
    if letter in "iljtfrI.,:;'|![](){} ":
        return 0.36
    if letter in "mwMW@%" or unicodedata.east_asian_width(letter) in ("W", "F"):
        return 1.0 if letter not in "mw" else 0.88
    if letter.isupper() or letter in "_=+<>~&#":
        return 0.7
    return 0.0 if unicodedata.combining(letter) else 0.58


def broken(text: str, columns: int, rows: int) -> list[str]:
    """At spaces where there are any, else behind ``_ - . /``, else anywhere; what is beyond the last row is cut."""
    made: list[str] = []
    rest = " ".join(text.split())
    while len(rest) > columns and len(made) < rows - 1:
        at = _break(rest, columns)
        made.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    if len(rest) > columns:
        rest = rest[: columns - len(CUT)] + CUT
    return [*made, rest]


def _break(text: str, columns: int) -> int:
    space = text.rfind(" ", 1, columns + 1)
    if space > columns // 3:
        return space
    joint = max(text.rfind(mark, 1, columns) for mark in "_-./") + 1
    return joint if joint > columns // 3 else columns
