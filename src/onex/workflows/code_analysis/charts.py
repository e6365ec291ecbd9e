"""Charts as SVG and HTML inside the page. Nothing is loaded."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from .finding import printable

MAP_WIDTH: Final = 1000.0
MAP_HEIGHT: Final = 420.0
_RING_WIDTH: Final = 400.0
_RING_HEIGHT: Final = 260.0
_PAIR_HEIGHT: Final = 110.0
_RADIUS: Final = 95.0
_HEAD: Final = 18.0
_LETTER: Final = 7.2
_ARROW: Final = 9.0


def escape(text: str) -> str:
    """Escapes text for element content and for quoted attributes. Invisible characters are spelled out."""
    return html.escape(printable(text))


class Tile(NamedTuple):
    """A rectangle of a treemap: ``weight`` is its area, ``heat`` 0-4 its colour, ``note`` its tooltip.

    Tiles of one ``group`` lie together; ``name`` begins with the group's.
    """

    group: str
    name: str
    weight: int
    heat: int
    note: str


class Rectangle(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def layout(weights: Sequence[int], frame: Rectangle) -> list[Rectangle]:
    """Rectangles for weights in descending order, as square as can be, filling the frame.

    M. Bruls, K. Huizing and J. van Wijk, "Squarified Treemaps", Data Visualization 2000, pp. 33-42. Weights must be
    positive.
    """
    total = sum(weights)
    scale = frame.width * frame.height / total if total else 0.0
    areas = [weight * scale for weight in weights]
    boxes: list[Rectangle] = []
    start = 0
    while start < len(areas):
        side = min(frame.width, frame.height)
        end = start + 1
        row = areas[start]
        while end < len(areas) and _worst(areas[start], areas[end], row + areas[end], side) <= _worst(
            areas[start], areas[end - 1], row, side
        ):
            row += areas[end]
            end += 1
        laid, frame = _lay(areas[start:end], row, frame)
        boxes.extend(laid)
        start = end
    return boxes


def _worst(largest: float, smallest: float, row: float, side: float) -> float:
    """The worst ratio of sides in a row of this area along this side."""
    if not row or not smallest or not side:
        return math.inf
    return max(side * side * largest / (row * row), row * row / (side * side * smallest))


def _lay(areas: Sequence[float], row: float, frame: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """One row along the shorter side of the frame, and the rest of the frame."""
    is_wide = frame.width >= frame.height
    side = frame.height if is_wide else frame.width
    depth = row / side if side else 0.0
    laid = []
    at = frame.y if is_wide else frame.x
    for area in areas:
        length = area / depth if depth else 0.0
        laid.append(Rectangle(frame.x, at, depth, length) if is_wide else Rectangle(at, frame.y, length, depth))
        at += length
    if is_wide:
        return laid, Rectangle(frame.x + depth, frame.y, max(frame.width - depth, 0.0), frame.height)
    return laid, Rectangle(frame.x, frame.y + depth, frame.width, max(frame.height - depth, 0.0))


def treemap(tiles: Sequence[Tile], label: str) -> str:
    """Tiles of no weight are left out. Each tile carries its name in ``data-find`` for the page's script."""
    groups: dict[str, list[Tile]] = {}
    for tile in sorted(tiles, key=lambda tile: (-tile.weight, tile.name)):
        if tile.weight > 0:
            groups.setdefault(tile.group, []).append(tile)
    weights = {name: sum(tile.weight for tile in group) for name, group in groups.items()}
    names = sorted(groups, key=lambda name: (-weights[name], name))
    frame = Rectangle(0.0, 0.0, MAP_WIDTH, MAP_HEIGHT)
    parts = [f'<svg class="map" viewBox="0 0 {frame.width:.0f} {frame.height:.0f}" role="img" aria-label="{label}">']
    for name, box in zip(names, layout([weights[name] for name in names], frame), strict=True):
        parts.extend(_group(name, groups[name], box))
    return "".join([*parts, "</svg>"])


def _group(name: str, tiles: Sequence[Tile], box: Rectangle) -> Iterator[str]:
    """A group of several tiles has its name above them, and theirs are shown without it."""
    headed = len(tiles) > 1 and box.height >= 56 and box.width >= 56
    inner = Rectangle(box.x, box.y + _HEAD, box.width, box.height - _HEAD) if headed else box
    if headed:
        yield f'<g class="group"><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{_HEAD:.0f}"/>'
        shown = short(name, int((box.width - 8) / _LETTER))
        yield f'<text x="{box.x + 5:.1f}" y="{box.y + 13:.1f}">{escape(shown)}</text></g>'
    for tile, place in zip(tiles, layout([tile.weight for tile in tiles], inner), strict=True):
        within = tile.name.removeprefix(f"{name}/") if headed else tile.name
        yield from _drawn(tile, place, "(own)" if headed and within == name else within)


def _drawn(tile: Tile, box: Rectangle, name: str) -> Iterator[str]:
    yield (
        f'<g class="tile heat{tile.heat}" data-find="{escape(tile.name)}"><title>{escape(tile.note)}</title>'
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>'
    )
    name = "(top)" if name == "." else name
    room = int((box.width - 8) / _LETTER)
    if room >= 4 and box.height >= 18:
        yield f'<text x="{box.x + 5:.1f}" y="{box.y + 14:.1f}">{escape(short(name, room))}</text>'
    if room >= 6 and box.height >= 34:
        yield f'<text class="small" x="{box.x + 5:.1f}" y="{box.y + 28:.1f}">{tile.weight:,}</text>'
    yield "</g>"


def short(name: str, room: int, separator: str = "/") -> str:
    """At most ``room`` characters. The end is kept, because the ends of names differ."""
    if len(name) <= room:
        return name
    last = name.rpartition(separator)[2]
    return last if len(last) <= room else f"…{last[-(room - 1) :]}"


def ring(names: Sequence[str], edges: Sequence[tuple[int, int]], bold: Sequence[tuple[int, int]], label: str) -> str:
    """Nodes on a circle in their order, clockwise from the top, two side by side; ``bold`` edges are drawn strong."""
    count = len(names)
    pair = count == 2
    height = _PAIR_HEIGHT if pair else _RING_HEIGHT
    turn = math.pi / 2 if pair else 0.0
    angles = [2 * math.pi * n / count - turn for n in range(count)]
    places = [(_RING_WIDTH / 2 + _RADIUS * math.sin(a), height / 2 - _RADIUS * math.cos(a)) for a in angles]
    parts = [f'<svg class="ring" viewBox="0 0 {_RING_WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">']
    strong = set(bold)
    for edge in sorted({*edges, *bold}, key=lambda edge: (edge in strong, edge)):
        parts.append(_arrow(places[edge[0]], places[edge[1]], "strong" if edge in strong else "weak"))
    for (x, y), angle, name in zip(places, angles, names, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{escape(name)}</title></circle>')
        side = 0 if pair or abs(math.sin(angle)) < 0.3 else 1 if math.sin(angle) > 0 else -1
        anchor = ("middle", "start", "end")[side]
        text = escape(short(name, 15 if side else 25, "."))
        under = y + 5 - 18 * math.cos(angle) if not pair else y + 28
        parts.append(f'<text x="{x + 12 * side:.1f}" y="{under:.1f}" text-anchor="{anchor}">{text}</text>')
    return "".join([*parts, "</svg>"])


def _arrow(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """A curve that keeps to its right, so that two modules importing each other have two arrows."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    bend = min(0.18 * length, 26.0)
    cx, cy = (x1 + x2) / 2 - uy * bend, (y1 + y2) / 2 + ux * bend
    away = math.hypot(x2 - cx, y2 - cy) or 1.0
    dx, dy = (x2 - cx) / away, (y2 - cy) / away
    tip = (x2 - dx * 8, y2 - dy * 8)
    back = (tip[0] - dx * _ARROW, tip[1] - dy * _ARROW)
    left = (back[0] - dy * _ARROW / 2.4, back[1] + dx * _ARROW / 2.4)
    right = (back[0] + dy * _ARROW / 2.4, back[1] - dx * _ARROW / 2.4)
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, left, right))
    return (
        f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}Q{cx:.1f} {cy:.1f} {back[0]:.1f} {back[1]:.1f}"/>'
        f'<polygon class="{kind}" points="{head}"/>'
    )


def bar(share: float, kind: str = "", full: float | None = None) -> str:
    """A bar of ``share`` (0-1) of its cell, strong up to ``full``; a share above zero is always visible."""
    strong = share if full is None else full
    pale = f'<i class="pale" style="width:{_width(share - strong):.1f}%"></i>' if share > strong else ""
    return f'<span class="bar {kind}"><i style="width:{_width(strong):.1f}%"></i>{pale}</span>'


def _width(share: float) -> float:
    return 0.0 if share <= 0 else max(min(share, 1.0) * 100, 0.8)
