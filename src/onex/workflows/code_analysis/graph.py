"""The graph of imports. Modules are numbered in the order of their names, so the same tree gives the same numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from .imports import EnumImportTime, ImportStatement

Adjacency = Sequence[Sequence[int]]
"""``adjacency[importer]`` -> imported modules, ascending, without repetition, never the importer itself."""

_SEARCHED: Final = 64


class ModuleIndex:
    """Dotted names of the analysed modules <-> 0, 1, 2 ... in the order of the names."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(sorted(set(modules)))
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int | None:
        """The module of exactly this name."""
        return self._numbers.get(name)

    def resolve(self, name: str) -> int | None:
        """The module with the longest name that is ``name`` or a package above it; None when it lies outside."""
        while name:
            found = self._numbers.get(name)
            if found is not None:
                return found
            name = name.rpartition(".")[0]
        return None

    def targets(self, imported: ImportStatement) -> Iterator[int]:
        """Every module the statement needs: ``from a import b`` is ``a.b`` where that is a module, else ``a``."""
        for member in imported.members or ("",):
            whole = self._numbers.get(f"{imported.name}.{member}") if member else None
            found = whole if whole is not None else self.resolve(imported.name)
            if found is not None:
                yield found


class ImportGraph(NamedTuple):
    """``load``: imports that run when the module is imported, ``lazy``: those that only run later (and not at load).

    Imports for type checkers never run and are in neither.
    """

    load: tuple[tuple[int, ...], ...]
    lazy: tuple[tuple[int, ...], ...]

    @property
    def edges(self) -> int:
        return sum(map(len, self.load)) + sum(map(len, self.lazy))

    def all(self) -> tuple[tuple[int, ...], ...]:
        """Both kinds of edges in one."""
        return tuple(tuple(sorted((*load, *lazy))) for load, lazy in zip(self.load, self.lazy, strict=True))


def import_graph(index: ModuleIndex, imports: Iterable[tuple[int, ImportStatement]]) -> ImportGraph:
    """From (importer's number, what it imports) in any order."""
    load: list[set[int]] = [set() for _ in index.names]
    lazy: list[set[int]] = [set() for _ in index.names]
    for importer, imported in imports:
        if imported.when is EnumImportTime.TYPING:
            continue
        edges = lazy if imported.when is EnumImportTime.LAZY else load
        edges[importer].update(target for target in index.targets(imported) if target != importer)
    only_lazy = [later - early for early, later in zip(load, lazy, strict=True)]
    return ImportGraph(tuple(tuple(sorted(to)) for to in load), tuple(tuple(sorted(to)) for to in only_lazy))


def strong_components(adjacency: Adjacency) -> list[tuple[int, ...]]:
    """Every maximal set of modules that reach each other, members ascending, the sets by their first member.

    R. Tarjan, "Depth-First Search and Linear Graph Algorithms", SIAM Journal on Computing 1(2), 1972, with the
    recursion turned into a list: a chain of imports may be longer than Python's stack.
    """
    order: list[int] = [-1] * len(adjacency)
    low = [0] * len(adjacency)
    open_nodes: list[int] = []
    is_open = [False] * len(adjacency)
    components: list[tuple[int, ...]] = []
    count = 0
    for root in range(len(adjacency)):
        if order[root] >= 0:
            continue
        path: list[tuple[int, Iterator[int]]] = [(root, iter(adjacency[root]))]
        order[root] = low[root] = count
        count += 1
        open_nodes.append(root)
        is_open[root] = True
        while path:
            node, ahead = path[-1]
            for target in ahead:
                if order[target] < 0:
                    order[target] = low[target] = count
                    count += 1
                    open_nodes.append(target)
                    is_open[target] = True
                    path.append((target, iter(adjacency[target])))
                    break
                if is_open[target]:
                    low[node] = min(low[node], order[target])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    components.append(_close(open_nodes, is_open, node))
    return sorted(components)


def _close(open_nodes: list[int], is_open: list[bool], root: int) -> tuple[int, ...]:
    members = []
    while True:
        member = open_nodes.pop()
        is_open[member] = False
        members.append(member)
        if member == root:
            return tuple(sorted(members))


def cycles(adjacency: Adjacency) -> list[tuple[int, ...]]:
    """The components of two modules and more, the largest first, then by first member."""
    return sorted((c for c in strong_components(adjacency) if len(c) > 1), key=lambda c: (-len(c), c))


def lazy_cycles(graph: ImportGraph) -> list[tuple[int, ...]]:
    """Cycles that close only through imports made later; one that is a cycle at load as it stands is not repeated."""
    at_load = set(cycles(graph.load))
    return [cycle for cycle in cycles(graph.all()) if cycle not in at_load]


def shortest_cycle(adjacency: Adjacency, component: Sequence[int]) -> tuple[int, ...]:
    """A shortest cycle, the first module not repeated. Of several, the one from the lowest number.

    Only the first 64 members are tried as starts. In a larger component the others may have a shorter one.
    """
    members = set(component)
    best: tuple[int, ...] = ()
    for start in component[:_SEARCHED]:
        found = _way_round(adjacency, start, members, len(best) or len(members) + 1)
        if found:
            best = found
        if len(best) == 2:
            break
    return best


def _way_round(adjacency: Adjacency, start: int, members: set[int], shorter_than: int) -> tuple[int, ...]:
    came_from: dict[int, int] = {}
    depth = {start: 1}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if depth[node] >= shorter_than:
            return ()
        for target in adjacency[node]:
            if target == start:
                way = [node]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if target in members and target not in depth:
                depth[target] = depth[node] + 1
                came_from[target] = node
                waiting.append(target)
    return ()


def steps(way: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The edges of a cycle, the closing one included."""
    return pairwise([*way, way[0]])


def fan_in(adjacency: Adjacency) -> list[int]:
    """How many modules import each."""
    counts = [0] * len(adjacency)
    for targets in adjacency:
        for target in targets:
            counts[target] += 1
    return counts


def fan_out(adjacency: Adjacency) -> list[int]:
    """How many modules each imports."""
    return [len(targets) for targets in adjacency]
