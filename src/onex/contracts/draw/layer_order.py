"""The order within each layer, so that few edges cross: barycentres down and up, then neighbours that had better swap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .coordinates import sweeps_for
from .layers import Layers

SWEEPS = 16
SWAPPED_MAX = 1500
"""Vertices up to which neighbours are swapped one by one; beyond it the barycentres alone decide (the swap is quadratic
in how many edges a vertex has)."""


def ordered(layers: Layers) -> list[list[int]]:
    """The rows, each from left to right. The same layers give the same order."""
    rows = _first(layers)
    best, fewest = [list(row) for row in rows], _crossings(layers, rows)
    for sweep in range(min(SWEEPS, sweeps_for(len(layers.layer)))):
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


def _first(layers: Layers) -> list[list[int]]:
    """As a walk from the first node meets them: what hangs together begins together."""
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
    """Vertices without a neighbour there keep their place; of two with equal centres the order may be turned."""
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
