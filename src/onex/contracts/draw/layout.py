"""A graph becomes a drawing: each connected group is laid out in layers, and the groups are set side by side.

Theory of operation. All steps but the last work on two axes: *along* the flow, from layer to layer, and *across* it. They
become x and y in ``_point``, so that both directions of a drawing share one code.

1. ``_bundles``: edges with the same ends and kind become one, with all their labels. ``_groups``: connected nodes.
2. ``layered``: every node gets a layer. An edge on a cycle is flipped, so that all edges lead down; it is drawn the right way
   round at the end. Nodes stand in even layers and labels in odd ones, so a label never lies on a node.
3. ``_sizes``, then ``ordered``: few crossings within each layer. Then ``placed``: each vertex near its neighbours, never nearer
   than the sizes allow. So boxes cannot overlap, whatever the graph. Then ``straightened``: long edges lose bends.
4. ``_depths``: a layer is as deep as its deepest vertex. The space before it grows with the widest step of an edge there;
   otherwise long steps would be drawn nearly flat, and cross the boxes.
5. ``_ports``: edges at one side of a node get places of their own. ``_line`` and ``_loop`` draw; a loop is in no layer, and the
   node takes the room for it to its right.
6. ``_packed``: groups on shelves.

No step uses chance or the order of a set, so the same input gives the same drawing. Cost: the sweeps of ``ordered`` and
``placed`` are bounded by a number of visited vertices (``layers.VISITS``); a huge graph is laid out less well, not for longer.

Own code, because the one pure-Python library for it (grandalf) is GPL or EPL, knows no words on edges, and is at rest
since 2023; graphviz is a program that a user may not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

from .coordinates import RowSpacing, placed, spread, straightened
from .drawing import (
    LINE,
    SMALL,
    Drawing,
    DrawPoint,
    EdgeLabel,
    EdgeLine,
    EnumFlow,
    GraphEdge,
    GraphNode,
    MeasuredText,
    NodeBox,
    Stroke,
    measured,
)
from .layers import layered, ordered

MARGIN = 24.0
PAD = 12.0
LABEL_PAD = 4.0
BETWEEN_LAYERS = 24.0
BETWEEN_GROUPS = 40.0
PORT_GAP = 12.0
LOOP = 26.0
SLANT = 0.2
"""Of the widest step an edge makes between two layers, how much is added to their distance, so that it is not flat."""
SLANT_MAX = 60.0
WIDE = 1.5
STRAIGHT_BELOW = 0.5
"""A step across that nobody sees."""
NOTHING = 0.01


class _Bundle(NamedTuple):
    """Edges drawn as one."""

    source: int
    target: int
    kind: str
    text: MeasuredText
    full: str


def layout(nodes: Sequence[GraphNode], edges: Sequence[GraphEdge], flow: EnumFlow = EnumFlow.DOWN) -> Drawing:
    """The same nodes and edges give the same drawing. Raises KeyError for an edge to a node that is not there."""
    numbers = {node.id: n for n, node in enumerate(nodes)}
    bundles = _bundles(edges, numbers)
    groups = []
    for group in _groups(len(nodes), bundles):
        inner = {outer: n for n, outer in enumerate(group)}
        mine = [b._replace(source=inner[b.source], target=inner[b.target]) for b in bundles if b.source in inner]
        groups.append(_Group([nodes[n] for n in group], mine, flow).draw())
    return _packed(groups)


def _bundles(edges: Sequence[GraphEdge], numbers: dict[str, int]) -> list[_Bundle]:
    labels: dict[tuple[int, int, str], dict[str, None]] = {}
    for edge in edges:
        key = (numbers[edge.source], numbers[edge.target], edge.kind)
        labels.setdefault(key, {}).update({edge.label: None} if edge.label else {})
    return [
        _Bundle(source, target, kind, measured("\n".join(words)), "\n".join(words))
        for (source, target, kind), words in labels.items()
    ]


def _groups(count: int, bundles: Sequence[_Bundle]) -> list[list[int]]:
    """What hangs together, the largest first, then in the order given."""
    leader = list(range(count))

    def lead(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    for bundle in bundles:
        first, second = sorted((lead(bundle.source), lead(bundle.target)))
        leader[second] = first
    found: dict[int, list[int]] = {}
    for n in range(count):
        found.setdefault(lead(n), []).append(n)
    return sorted(found.values(), key=len, reverse=True)


class _Group:
    """One connected graph. Along and across are the flow's own axes; they become x and y at the very end."""

    def __init__(self, nodes: Sequence[GraphNode], bundles: Sequence[_Bundle], flow: EnumFlow) -> None:
        self.flow = flow
        self.down = flow is EnumFlow.DOWN
        self.nodes = nodes
        self.loops = [one for one in bundles if one.source == one.target]
        ends: dict[tuple[int, int], list[_Bundle]] = {}
        for one in bundles:
            if one.source != one.target:
                ends.setdefault((one.source, one.target), []).append(one)
        # edges of two kinds between the same nodes, or one each way, are edges of their own side by side
        self.edges = [one for several in ends.values() for one in several]
        self.texts = [_text(node) for node in nodes]
        self.layers = layered(len(nodes), [(one.source, one.target) for one in self.edges])

    def draw(self) -> Drawing:
        layers = self.layers
        along, across = self._sizes()
        rows = ordered(layers)
        self.where = placed(layers, rows, across, len(self.nodes))
        straightened(layers, rows, across, self.where)
        self.along = along
        self.tops, self.bottoms = self._depths(rows)
        self.ports = self._ports()
        boxes = tuple(self._box(n) for n in range(len(self.nodes)))
        lines = [self._line(n) for n in range(len(self.edges))] + [self._loop(one) for one in self.loops]
        far = max((x + room.after for x, room in zip(self.where, across, strict=True)), default=0.0)
        deep = self.bottoms[-1] if self.bottoms else 0.0
        return Drawing(far if self.down else deep, deep if self.down else far, boxes, tuple(lines))

    # --- sizes ------------------------------------------------------------------------------------------------------

    def _sizes(self) -> tuple[list[float], list[RowSpacing]]:
        """What every vertex takes along the flow, and to either side of its place across it."""
        along, across = [], []
        self.sizes = [_size(node, text) for node, text in zip(self.nodes, self.texts, strict=True)]
        loops: dict[int, list[MeasuredText]] = {}
        for one in self.loops:
            loops.setdefault(one.source, []).append(one.text)
        for n, (width, height) in enumerate(self.sizes):
            side, deep = (width, height) if self.down else (height, width)
            extra = 0.0
            if n in loops:
                wide, high = max(words.width for words in loops[n]), max(words.height for words in loops[n])
                extra = LOOP + (wide if self.down else high) + 2 * LABEL_PAD
                deep = max(deep, high if self.down else wide)
            along.append(deep)
            across.append(RowSpacing(side / 2, side / 2 + extra))
        for _ in range(len(self.nodes), len(self.layers.layer)):
            along.append(0.0)
            across.append(RowSpacing(0.0, 0.0))
        for bundle, chain in zip(self.edges, self.layers.chains, strict=True):
            if bundle.full:
                width, height = bundle.text.width + 2 * LABEL_PAD, bundle.text.height + 2 * LABEL_PAD
                side, deep = (width, height) if self.down else (height, width)
                along[chain.words] = deep
                across[chain.words] = RowSpacing(side / 2, side / 2)
        return along, across

    def _depths(self, rows: Sequence[Sequence[int]]) -> tuple[list[float], list[float]]:
        """Where each layer begins and ends along the flow."""
        tops: list[float] = []
        bottoms: list[float] = []
        at = 0.0
        for n, row in enumerate(rows):
            if n:
                steps = [abs(self.where[v] - self.where[up]) for v in row for up in self.layers.above[v]]
                free = 0.4 * BETWEEN_LAYERS if not any(self.along[v] for v in (*row, *rows[n - 1])) else BETWEEN_LAYERS
                at += free + min(SLANT * max(steps, default=0.0), SLANT_MAX)
            tops.append(at)
            at += max(self.along[v] for v in row)
            bottoms.append(at)
        return tops, bottoms

    # --- lines ------------------------------------------------------------------------------------------------------

    def _ports(self) -> dict[tuple[int, bool, int], float]:
        """``ports[node, is its lower side, edge] -> place across``: straight where possible, apart where not."""
        leaving: dict[tuple[int, bool], list[tuple[float, int]]] = {}
        for n, chain in enumerate(self.layers.chains):
            first, last = chain.vertices[0], chain.vertices[-1]
            leaving.setdefault((first, True), []).append((self.where[chain.vertices[1]], n))
            leaving.setdefault((last, False), []).append((self.where[chain.vertices[-2]], n))
        found = {}
        for (node, lower), ends in leaving.items():
            ends.sort()
            side = self.sizes[node][0 if self.down else 1]
            room = max(side / 2 - 8.0, 0.0)
            middle = self.where[node]
            gap = min(PORT_GAP, 2 * room / max(len(ends) - 1, 1))
            low = [middle - room + gap * n for n in range(len(ends))]
            high = [middle + room - gap * (len(ends) - 1 - n) for n in range(len(ends))]
            wanted = [min(max(end, a), b) for (end, _), a, b in zip(ends, low, high, strict=True)]
            for (_, n), x in zip(ends, spread(wanted, [1.0] * len(ends), [gap] * (len(ends) - 1)), strict=True):
                found[node, lower, n] = x
        return found

    def _line(self, n: int) -> EdgeLine:
        bundle, chain = self.edges[n], self.layers.chains[n]
        first, *passed, last = chain.vertices
        points = [(self.ports[first, True, n], self._middle(first) + self._deep(first) / 2)]
        points.append((points[0][0], self.bottoms[self.layers.layer[first]]))
        for vertex in passed:
            layer = self.layers.layer[vertex]
            if self.bottoms[layer] - self.tops[layer] < NOTHING:
                continue  # nothing stands in this layer that the line would have to go round
            points += [(self.where[vertex], self.tops[layer]), (self.where[vertex], self.bottoms[layer])]
        end = self.ports[last, False, n]
        points += [(end, self.tops[self.layers.layer[last]]), (end, self._middle(last) - self._deep(last) / 2)]
        label = None
        if bundle.full:
            middle = self._point(self.where[chain.words], self._middle(chain.words))
            label = _label(bundle, middle)
        strokes = self._strokes(points[::-1] if chain.flipped else points)
        return EdgeLine(self.nodes[bundle.source].id, self.nodes[bundle.target].id, bundle.kind, strokes, label)

    def _strokes(self, points: Sequence[tuple[float, float]]) -> tuple[Stroke, ...]:
        """Straight along the flow, bent between the layers: both ends of a bend point along the flow."""
        made = [Stroke("M", (self._point(*points[0]),))]
        for (a, start), (b, end) in pairwise(points):
            half = (start + end) / 2
            if abs(a - b) >= STRAIGHT_BELOW:
                made.append(Stroke("C", (self._point(a, half), self._point(b, half), self._point(b, end))))
            elif abs(start - end) > NOTHING:
                made.append(Stroke("L", (self._point(b, end),)))
        return tuple(made)

    def _loop(self, bundle: _Bundle) -> EdgeLine:
        n = bundle.source
        side = self.where[n] + self.sizes[n][0 if self.down else 1] / 2
        middle, reach = self._middle(n), min(self._deep(n) / 2 - 4.0, 10.0)
        out, turn = self._point(side, middle - reach), self._point(side + LOOP, middle - 2.2 * reach)
        back, end = self._point(side + LOOP, middle + 2.2 * reach), self._point(side, middle + reach)
        label = None
        if bundle.full:
            half = (bundle.text.width if self.down else bundle.text.height) / 2
            label = _label(bundle, self._point(side + LOOP + half, middle))
        name = self.nodes[n].id
        return EdgeLine(name, name, bundle.kind, (Stroke("M", (out,)), Stroke("C", (turn, back, end))), label)

    # --- places -----------------------------------------------------------------------------------------------------

    def _deep(self, node: int) -> float:
        return self.sizes[node][1 if self.down else 0]

    def _middle(self, vertex: int) -> float:
        layer = self.layers.layer[vertex]
        return (self.tops[layer] + self.bottoms[layer]) / 2

    def _point(self, across: float, along: float) -> DrawPoint:
        return DrawPoint(across, along) if self.down else DrawPoint(along, across)

    def _box(self, n: int) -> NodeBox:
        x, y = self._point(self.where[n], self._middle(n))
        return NodeBox(self.nodes[n], self.texts[n].lines, x, y, *self.sizes[n])


def _text(node: GraphNode) -> MeasuredText:
    return measured(node.label, rows=2)


def _size(node: GraphNode, text: MeasuredText) -> tuple[float, float]:
    small = measured(node.detail, SMALL, columns=40, rows=1)
    width = node.width or max(text.width, small.width) + 2 * PAD
    height = node.height or max(text.height, LINE) + small.height + PAD
    return width, height


def _label(bundle: _Bundle, middle: DrawPoint) -> EdgeLabel:
    text = bundle.text
    cut = bundle.full if "".join(text.lines) != "".join(bundle.full.split("\n")) else ""
    return EdgeLabel(text.lines, middle.x, middle.y, text.width + 2 * LABEL_PAD, text.height + LABEL_PAD, cut)


# --- groups -----------------------------------------------------------------------------------------------------------


def _packed(groups: Sequence[Drawing]) -> Drawing:
    """Groups on shelves, none wider than the widest group or what makes the whole a little wider than high."""
    area = sum((one.width + BETWEEN_GROUPS) * (one.height + BETWEEN_GROUPS) for one in groups)
    limit = max([one.width for one in groups] + [WIDE * sqrt(area)], default=0.0)
    boxes: list[NodeBox] = []
    lines: list[EdgeLine] = []
    x = y = shelf = right = 0.0
    for one in groups:
        if x and x + one.width > limit:
            x, y, shelf = 0.0, y + shelf + BETWEEN_GROUPS, 0.0
        moved = one.moved(x + MARGIN, y + MARGIN)
        boxes += moved.boxes
        lines += moved.lines
        right = max(right, x + one.width)
        x += one.width + BETWEEN_GROUPS
        shelf = max(shelf, one.height)
    return Drawing(right + 2 * MARGIN, y + shelf + 2 * MARGIN, tuple(boxes), tuple(lines))
