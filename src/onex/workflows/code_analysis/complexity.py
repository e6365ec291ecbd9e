"""Complexity is McCabe's cyclomatic number of a structured program with one entry and one exit: v(G) = p + 1.

p counts the predicates, a compound condition as many as its parts (T. J. McCabe, "A Complexity Measure", IEEE
Transactions on Software Engineering SE-2(4), 1976, pp. 308-320). Predicates here: ``if``, ``elif``, the conditional
expression, ``for``, ``while``, each ``except``, each further operand of ``and``/``or``, each ``for`` and each ``if`` of
a comprehension, each ``case`` that can fail and each guard of one. Not counted: ``else``, ``finally``, ``with`` (no
choice there) and ``assert`` (gone under ``-O``). A nested function counts for itself only, a lambda for the function
around it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final, NamedTuple

from .tally import BUCKETS

COMPLEXITY_MAX: Final = 15
ARGUMENTS_MAX: Final = 8

_ONE: Final[frozenset[type[ast.AST]]] = frozenset(
    {ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler}
)
DECISIONS: Final[frozenset[type[ast.AST]]] = _ONE | {ast.BoolOp, ast.comprehension, ast.match_case}


class FunctionMetrics(NamedTuple):
    """A function with its qualified name. ``arguments`` counts those that a caller passes."""

    name: str
    line: int
    complexity: int
    arguments: int


def predicates(node: ast.AST) -> int:
    """How many predicates the node itself brings, its children not counted; 0 for a type not in ``DECISIONS``."""
    if type(node) in _ONE:
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        return (0 if _irrefutable(node.pattern) else 1) + (1 if node.guard is not None else 0)
    return 0


def _irrefutable(pattern: ast.pattern) -> bool:
    """``case _`` and ``case name`` match anything."""
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def argument_count(arguments: ast.arguments, *, bound: bool) -> int:
    """How many arguments a caller passes; ``bound`` takes ``self`` or ``cls`` off. ``*args`` and ``**kwargs`` do not count."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return max(positional - (1 if bound else 0), 0) + len(arguments.kwonlyargs)


def histogram(values: Sequence[int]) -> tuple[int, ...]:
    """How many values fall into each bar of ``BUCKETS``; always ``len(BUCKETS) + 1`` numbers."""
    bars = [0] * (len(BUCKETS) + 1)
    for value in values:
        bars[next((n for n, bound in enumerate(BUCKETS) if value <= bound), len(BUCKETS))] += 1
    return tuple(bars)
