"""Imports resolve to the longest known module; cycles are exact, classified by when they close, and deterministic."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.workflows.code_analysis.graph import (
    ImportGraph,
    ModuleIndex,
    cycles,
    fan_in,
    fan_out,
    import_graph,
    lazy_cycles,
    shortest_cycle,
    steps,
    strong_components,
)
from onex.workflows.code_analysis.imports import EnumImportTime, ImportStatement

TREE = ModuleIndex(["pkg", "pkg.a", "pkg.sub", "pkg.sub.b", "top"])
LOAD, LAZY, TYPING = EnumImportTime.LOAD, EnumImportTime.LAZY, EnumImportTime.TYPING


def targets(name: str, *members: str) -> list[str]:
    return [TREE.names[n] for n in TREE.targets(ImportStatement(line=1, name=name, members=members))]


def graph(*edges: tuple[str, str, EnumImportTime]) -> ImportGraph:
    found = []
    for importer, imported, when in edges:
        number = TREE.number(importer)
        assert number is not None
        found.append((number, ImportStatement(line=1, name=imported, when=when)))
    return import_graph(TREE, found)


@pytest.mark.parametrize(
    ("name", "members", "expected"),
    [
        ("pkg.a", (), ["pkg.a"]),
        ("pkg.a.Class", (), ["pkg.a"]),
        ("pkg", ("a",), ["pkg.a"]),
        ("pkg", ("version",), ["pkg"]),
        ("pkg", ("a", "version", "sub"), ["pkg.a", "pkg", "pkg.sub"]),
        ("pkg.sub.b", ("*",), ["pkg.sub.b"]),
        ("os.path", ("join",), []),
        ("pkgs", (), []),
        ("..gone", ("x",), []),
        ("", (), []),
    ],
)
def test_an_import_goes_to_the_longest_known_name(name: str, members: tuple[str, ...], expected: list[str]) -> None:
    assert targets(name, *members) == expected


def test_numbers_follow_the_names() -> None:
    assert ModuleIndex(["b", "a", "b"]).names == ("a", "b")
    assert [TREE.number(name) for name in TREE.names] == [0, 1, 2, 3, 4]
    assert TREE.number("gone") is None


def test_edges_at_load_and_later_are_kept_apart() -> None:
    made = graph(("top", "pkg.a", LOAD), ("top", "pkg.a", LAZY), ("top", "pkg", LAZY), ("top", "pkg.sub", TYPING))
    assert (made.load[4], made.lazy[4], made.edges) == ((1,), (0,), 2)


def test_a_module_does_not_import_itself() -> None:
    assert graph(("pkg", "pkg.version", LOAD)).edges == 0


def test_a_lazy_import_closes_a_cycle_of_its_own_kind() -> None:
    made = graph(("pkg", "top", LOAD), ("top", "pkg", LAZY), ("pkg.a", "pkg.sub", LOAD), ("pkg.sub", "pkg.a", LOAD))
    assert cycles(made.load) == [(1, 2)]
    assert lazy_cycles(made) == [(0, 4)]


def test_an_import_for_type_checkers_closes_no_cycle() -> None:
    made = graph(("pkg", "top", LOAD), ("top", "pkg", TYPING))
    assert (cycles(made.load), lazy_cycles(made)) == ([], [])


def test_a_larger_cycle_comes_first() -> None:
    assert cycles([[1], [0], [3], [4], [2], []]) == [(2, 3, 4), (0, 1)]


def test_a_chain_longer_than_the_stack_is_no_trouble() -> None:
    length = 50_000
    ring = [[(node + 1) % length] for node in range(length)]
    assert [len(component) for component in strong_components(ring)] == [length]
    assert len(strong_components([*ring[:-1], []])) == length


def test_the_shortest_way_round_is_found() -> None:
    adjacency = [[1], [2], [3, 1], [0]]
    assert shortest_cycle(adjacency, (0, 1, 2, 3)) == (1, 2)
    assert list(steps((1, 2))) == [(1, 2), (2, 1)]


def test_fans_count_modules() -> None:
    adjacency = [[1, 2], [2], []]
    assert (fan_in(adjacency), fan_out(adjacency)) == ([0, 1, 2], [2, 1, 0])


def reachable(adjacency: Sequence[Sequence[int]], start: int) -> set[int]:
    seen: set[int] = set()
    waiting = list(adjacency[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(adjacency[node])
    return seen


ADJACENCY = st.integers(1, 12).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, size - 1), max_size=4, unique=True), min_size=size, max_size=size)
)


@given(ADJACENCY)
def test_components_are_those_that_reach_each_other(adjacency: list[list[int]]) -> None:
    reach = [reachable(adjacency, node) | {node} for node in range(len(adjacency))]
    together = {
        tuple(other for other in range(len(adjacency)) if other in reach[node] and node in reach[other])
        for node in range(len(adjacency))
    }
    assert strong_components(adjacency) == sorted(together)


@given(ADJACENCY)
def test_a_way_round_is_made_of_edges_and_none_is_shorter(adjacency: list[list[int]]) -> None:
    plain = [[target for target in targets if target != node] for node, targets in enumerate(adjacency)]
    for component in cycles(plain):
        way = shortest_cycle(plain, component)
        assert all(second in plain[first] for first, second in steps(way))
        assert len(set(way)) == len(way)
        mutual = any(a in plain[b] and b in plain[a] for a in component for b in component if a != b)
        assert (len(way) == 2) is mutual
