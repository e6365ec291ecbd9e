"""From a graph to layers, and the order of each layer.

First cycles are broken, every edge leads at least two layers on, and long edges are cut into short ones (``layered``). Then
the vertices of each layer are ordered so that few edges cross (``ordered``): barycentres layer by layer, down and up, with
neighbours swapped while that removes a crossing. The best order seen is kept.

    vertices   nodes first, by their number; then one for every layer that an edge passes through
    layer      nodes stand in even layers, words on edges in odd ones
    chain      an edge as vertices: its upper node, what it passes, its lower node

After K. Sugiyama et al. (1981) and E. Gansner et al., "A technique for drawing directed graphs" (1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

STEP = 2


class Chain(NamedTuple):
    """``flipped``: the edge points from the lower to the upper end. ``words`` is the vertex that carries its label."""

    vertices: tuple[int, ...]
    flipped: bool
    words: int


@dataclass(slots=True)
class Layers:
    """``above[v]`` and ``below[v]`` are neighbours one layer away, once per edge."""

    layer: list[int]
    chains: list[Chain]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)

    @property
    def rows(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for vertex, layer in enumerate(self.layer):
            found[layer].append(vertex)
        return found


def layered(count: int, edges: Sequence[tuple[int, int]]) -> Layers:
    """``edges`` are pairs of different numbers below ``count``. Their order decides where there is a choice."""
    backward = _backward(count, edges)
    forward = [(b, a) if n in backward else (a, b) for n, (a, b) in enumerate(edges)]
    layer = _ranks(count, forward)
    made = Layers(layer, [])
    for n, (upper, lower) in enumerate(forward):
        steps = range(layer[upper] + 1, layer[lower])
        passed = range(len(layer), len(layer) + len(steps))
        middle = (layer[upper] + layer[lower]) // 2
        words = passed[middle - layer[upper] - (1 if middle % STEP else STEP)]
        layer.extend(steps)
        made.chains.append(Chain((upper, *passed, lower), n in backward, words))
    made.above = [[] for _ in layer]
    made.below = [[] for _ in layer]
    for chain in made.chains:
        for upper, lower in pairwise(chain.vertices):
            made.below[upper].append(lower)
            made.above[lower].append(upper)
    return made


def _backward(count: int, edges: Sequence[tuple[int, int]]) -> set[int]:
    """Edges that lead to a node from which the walk came: turned round, no cycle is left. The walk begins at sources."""
    out: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    entered = [0] * count
    for n, (source, target) in enumerate(edges):
        out[source].append((n, target))
        entered[target] += 1
    found: set[int] = set()
    seen: set[int] = set()
    for root in sorted(range(count), key=lambda node: (entered[node] > 0, node)):
        if root in seen:
            continue
        seen.add(root)
        on_path = {root}
        path = [(root, iter(out[root]))]
        while path:
            node, rest = path[-1]
            step = next(rest, None)
            if step is None:
                path.pop()
                on_path.discard(node)
            elif step[1] in on_path:
                found.add(step[0])
            elif step[1] not in seen:
                seen.add(step[1])
                on_path.add(step[1])
                path.append((step[1], iter(out[step[1]])))
    return found


def _ranks(count: int, forward: Sequence[tuple[int, int]]) -> list[int]:
    """As high as the predecessors allow. Then a node with more edges down than up is moved down to its successors."""
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in forward:
        after[upper].append(lower)
        before[lower].append(upper)
    order: list[int] = []
    missing = [len(before[node]) for node in range(count)]
    ready = [node for node in range(count) if not missing[node]]
    while ready:
        node = ready.pop()
        order.append(node)
        for lower in after[node]:
            missing[lower] -= 1
            if not missing[lower]:
                ready.append(lower)
    rank = [0] * count
    for node in order:
        rank[node] = max((rank[upper] + STEP for upper in before[node]), default=0)
    for node in reversed(order):
        if after[node] and len(after[node]) > len(before[node]):
            rank[node] = min(rank[lower] for lower in after[node]) - STEP
    lowest = min(rank, default=0)
    return [one - lowest for one in rank]


ORDER_SWEEPS, SWEEPS_MIN = 16, 6
VISITS = 300_000
"""Vertices looked at in all sweeps together: a drawing that is too large to be read needs no exact layout."""
SWAPPED_MAX = 1500
"""Vertices up to which neighbours are swapped one by one; beyond it the barycentres alone decide (the swap is quadratic
in how many edges a vertex has)."""


def ordered(layers: Layers) -> list[list[int]]:
    """The rows, each from left to right. The same layers give the same order."""
    rows = _first(layers)
    best, fewest = [list(row) for row in rows], _crossings(layers, rows)
    for sweep in range(sweeps_for(len(layers.layer), ORDER_SWEEPS)):
        if not fewest:
            break
        down = sweep % 2 == 0
        near = layers.above if down else layers.below
        for at in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            _by_barycentre(rows[at], rows[at - 1 if down else at + 1], near, sweep // 2 % 2 == 1)
        if len(layers.layer) <= SWAPPED_MAX:
            _swap(layers, rows)
        crossed = _crossings(layers, rows)
        if crossed < fewest:
            best, fewest = [list(row) for row in rows], crossed
    return best


def sweeps_for(vertices: int, most: int) -> int:
    """How often all rows are gone through: ``most`` times, fewer for a large drawing, at least 6."""
    return max(SWEEPS_MIN, min(most, VISITS // max(vertices, 1)))


def _first(layers: Layers) -> list[list[int]]:
    """In the order of a depth-first walk, so that connected vertices are near one another."""
    rows: list[list[int]] = [[] for _ in range(max(layers.layer, default=-1) + 1)]
    seen: set[int] = set()
    for root in sorted(range(len(layers.layer)), key=lambda vertex: (layers.layer[vertex], vertex)):
        waiting = [root]
        while waiting:
            vertex = waiting.pop()
            if vertex in seen:
                continue
            seen.add(vertex)
            rows[layers.layer[vertex]].append(vertex)
            waiting.extend(reversed(layers.below[vertex]))
    return rows


def _by_barycentre(row: list[int], fixed: Sequence[int], near: Sequence[Sequence[int]], equal_swap: bool) -> None:
    """Vertices without a neighbour there keep their place. ``equal_swap`` reverses the order of equal centres."""
    place = {vertex: n for n, vertex in enumerate(fixed)}
    free = [n for n, vertex in enumerate(row) if near[vertex]]
    centres = {row[n]: sum(place[one] for one in near[row[n]]) / len(near[row[n]]) for n in free}
    moved = sorted(reversed([row[n] for n in free]) if equal_swap else [row[n] for n in free], key=centres.__getitem__)
    for n, vertex in zip(free, moved, strict=True):
        row[n] = vertex


def _swap(layers: Layers, rows: list[list[int]]) -> None:
    """Neighbours change places while that removes a crossing."""
    place = {vertex: n for row in rows for n, vertex in enumerate(row)}
    improved = True
    rounds = 0
    while improved and rounds < 4:
        improved, rounds = False, rounds + 1
        for row in rows:
            for n in range(len(row) - 1):
                left, right = row[n], row[n + 1]
                now = then = 0
                for near in (layers.above, layers.below):
                    ours, theirs = near[left], near[right]
                    now += sum(place[a] > place[b] for a in ours for b in theirs)
                    then += sum(place[a] < place[b] for a in ours for b in theirs)
                if then < now:
                    row[n], row[n + 1] = right, left
                    place[left], place[right] = n + 1, n
                    improved = True


def _crossings(layers: Layers, rows: Sequence[Sequence[int]]) -> int:
    """Pairs of edges that cross, layer by layer; inversions counted with a Fenwick tree."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {vertex: n for n, vertex in enumerate(lower)}
        ends = [end for vertex in upper for end in sorted(place[one] for one in layers.below[vertex])]
        counts = [0] * (len(lower) + 1)
        for seen, end in enumerate(ends):
            before, at = 0, end + 1
            while at:
                before += counts[at]
                at -= at & -at
            total += seen - before
            at = end + 1
            while at <= len(lower):
                counts[at] += 1
                at += at & -at
    return total
