"""The place of each vertex within its layer: as near to its neighbours as the order and the widths allow.

Each layer alone is a least-squares problem under ``x[i+1] - x[i] >= gap[i]``, which pooling adjacent violators solves
exactly (M. Best, N. Chakravarti, 1990). Sweeps down and up, layer by layer, bring the whole near a fixed point.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from .layers import Layers, sweeps_for

SWEEPS = 24
EDGE_GAP = 16.0
NODE_GAP = 28.0
STRAIGHT = 8.0
"""The weight of a straight long edge, against 1 for a node in the middle of its neighbours."""
IDLE = 0.001


class RowSpacing(NamedTuple):
    """The space that a vertex needs on either side of its place."""

    before: float
    after: float


def placed(layers: Layers, rows: Sequence[Sequence[int]], rooms: Sequence[RowSpacing], nodes: int) -> list[float]:
    """The middle of every vertex, none below 0. The first ``nodes`` vertices are nodes, the others belong to edges."""
    gaps = [
        [_gap(left, right, rooms, nodes) for left, right in pairwise(row)] for row in rows
    ]  # fmt: skip
    where = [0.0] * len(layers.layer)
    for row, between in zip(rows, gaps, strict=True):
        at = 0.0
        for vertex, gap in zip(row, [0.0, *between], strict=False):
            at += gap
            where[vertex] = at
    sweeps = sweeps_for(len(layers.layer), SWEEPS)
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        both = sweep >= sweeps // 2
        for at in range(len(rows)) if down else range(len(rows) - 1, -1, -1):
            row = rows[at]
            wanted, weights = [], []
            for vertex in row:
                pull = weight = 0.0
                sides = (layers.above, layers.below) if both else (layers.above,) if down else (layers.below,)
                for near in sides:
                    for other in near[vertex]:
                        strength = (STRAIGHT if vertex >= nodes else 1.0) * (STRAIGHT if other >= nodes else 1.0)
                        pull += strength * where[other]
                        weight += strength
                wanted.append(pull / weight if weight else where[vertex])
                weights.append(weight or IDLE)
            for vertex, x in zip(row, spread(wanted, weights, gaps[at]), strict=True):
                where[vertex] = x
    left = min((x - room.before for x, room in zip(where, rooms, strict=True)), default=0.0)
    return [x - left for x in where]


def straightened(
    layers: Layers, rows: Sequence[Sequence[int]], rooms: Sequence[RowSpacing], where: list[float]
) -> None:
    """Moves the vertices of long edges within the free space between neighbours, so that each edge has few bends."""
    at = {vertex: (row, n) for row in rows for n, vertex in enumerate(row)}

    def free(vertex: int) -> tuple[float, float]:
        row, n = at[vertex]
        low, high = float("-inf"), float("inf")
        if n:
            low = where[row[n - 1]] + rooms[row[n - 1]].after + EDGE_GAP + rooms[vertex].before
        if n + 1 < len(row):
            high = where[row[n + 1]] - rooms[row[n + 1]].before - EDGE_GAP - rooms[vertex].after
        return max(low, rooms[vertex].before), max(high, low)

    for chain in layers.chains:
        run: list[int] = []
        low, high = float("-inf"), float("inf")
        for vertex in chain.vertices[1:-1]:
            least, most = free(vertex)
            if run and (max(low, least) > min(high, most)):
                _align(run, low, high, where)
                run, low, high = [], float("-inf"), float("inf")
            run.append(vertex)
            low, high = max(low, least), min(high, most)
        _align(run, low, high, where)


def _align(run: Sequence[int], low: float, high: float, where: list[float]) -> None:
    middle = sum(where[vertex] for vertex in run) / len(run)
    for vertex in run:
        where[vertex] = min(max(middle, low), high)


def _gap(left: int, right: int, rooms: Sequence[RowSpacing], nodes: int) -> float:
    free = NODE_GAP if left < nodes and right < nodes else EDGE_GAP
    return rooms[left].after + free + rooms[right].before


def spread(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """As near to ``wanted`` as ``gaps`` between neighbours allow, by weighted least squares."""
    blocks: list[tuple[float, float, int]] = []  # sum of weight times place, sum of weights, how many
    offset = 0.0
    offsets = []
    for want, weight, gap in zip(wanted, weights, [0.0, *gaps], strict=True):
        offset += gap
        offsets.append(offset)
        pull, mass, many = weight * (want - offset), weight, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= pull / mass:
            before = blocks.pop()
            pull, mass, many = pull + before[0], mass + before[1], many + before[2]
        blocks.append((pull, mass, many))
    centres = [pull / mass for pull, mass, many in blocks for _ in range(many)]
    return [centre + offset for centre, offset in zip(centres, offsets, strict=True)]
