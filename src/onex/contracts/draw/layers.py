"""From a graph to layers: cycles are broken, every edge leads at least two layers on, long edges are cut into short ones.

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
    """As high as predecessors allow; then a node whose edges mostly lead on is let down to what it leads to."""
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
