"""How many intents one step surely emits, where the number is written: literals, and loops over a constant ``range``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from .function_names import own_nodes

_DECORATORS = ("on", "event_handler", "timer")
_LEAVES = ast.Break | ast.Continue | ast.Return | ast.Raise | ast.If | ast.Try | ast.While | ast.Match


class ManyIntents(NamedTuple):
    """A ``Step(...)`` of ``handler`` that gets at least ``intents``. Line and column count from 1."""

    handler: str
    line: int
    column: int
    intents: int


def many_intents(tree: ast.Module, limit: int) -> Iterator[ManyIntents]:
    """The first such step of each handler, ``@orders.on(...)``, that surely gets more than ``limit``."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            called = [one.func for one in node.decorator_list if isinstance(one, ast.Call)]
            found = _most(node, limit)
            if found is not None and any(isinstance(one, ast.Attribute) and one.attr in _DECORATORS for one in called):
                yield found


def _most(node: ast.FunctionDef, limit: int) -> ManyIntents | None:
    appended = _appended(node)
    steps = [one for one in own_nodes(node) if isinstance(one, ast.Call) and _is_step(one.func)]
    for step in sorted(steps, key=lambda one: (one.lineno, one.col_offset)):
        if step.args and not isinstance(step.args[0], ast.Starred):
            count = sum(_count(argument, appended) for argument in step.args[1:])
            if count > limit:
                return ManyIntents(node.name, step.lineno, step.col_offset + 1, count)
    return None


def _is_step(name: ast.expr) -> bool:
    return isinstance(name, ast.Name) and name.id == "Step"


def _count(argument: ast.expr, appended: dict[str, int]) -> int:
    if not isinstance(argument, ast.Starred):
        return 1
    match argument.value:
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return sum(_count(part, appended) for part in parts)
        case ast.ListComp(generators=loops) | ast.GeneratorExp(generators=loops):
            rounds = 1
            for loop in loops:
                rounds *= 0 if loop.ifs else _rounds(loop.iter)
            return rounds
        case ast.BinOp(left=ast.List(elts=parts), op=ast.Mult(), right=ast.Constant(value=int(times))):
            return len(parts) * times
        case ast.Name(id=name):
            return appended.get(name, 0)
    return 0


def _rounds(loop: ast.expr) -> int:
    """How often a loop over it runs: of a constant ``range`` its length, else 0, which is the least."""
    match loop:
        case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]):
            numbers = [one.value for one in arguments if isinstance(one, ast.Constant) and isinstance(one.value, int)]
            if len(numbers) == len(arguments) and 1 <= len(numbers) <= 3 and (len(numbers) < 3 or numbers[2]):
                return len(range(*numbers))
    return 0


def _appended(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, int]:
    """``[list]`` -> how often the function surely appends to it. A list that is also used otherwise is left out."""
    counts: dict[str, int] = {}
    begun: set[str] = set()
    for statement in node.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.List())
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.List())
            ):
                begun.add(name)
            case ast.For() if not any(isinstance(one, _LEAVES) for one in ast.walk(statement)):
                for inner in statement.body:
                    match inner:
                        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"))):
                            counts[name] = counts.get(name, 0) + _rounds(statement.iter)
    changed = {
        one.value.id
        for one in own_nodes(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.attr not in ("append", "extend")
    }
    for one in own_nodes(node):
        if isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name):
            changed.add(one.value.id)
        elif isinstance(one, ast.Call):
            changed |= {argument.id for argument in one.args if isinstance(argument, ast.Name)}
    assigned: dict[str, int] = {}
    for one in own_nodes(node):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            assigned[one.id] = assigned.get(one.id, 0) + 1
    return {name: n for name, n in counts.items() if name in begun - changed and assigned.get(name) == 1}
