"""What one function binds its names to, without what stands in functions within it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_INNER = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


class Bindings(dict[str, list[ast.expr]]):
    """``[name]`` -> the expressions that are assigned to it. ``unclear`` are names that are bound in another way as well: a loop,
    ``with``, ``+=``, unpacking, ``del``, an inner function, ``global`` or ``nonlocal``; and those that ``isinstance`` narrows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unclear: set[str] = set()


def own_nodes(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Every node of the body that runs in this function, in no particular order."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        one = waiting.pop()
        yield one
        if not isinstance(one, _INNER):
            waiting.extend(ast.iter_child_nodes(one))


def bindings_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Bindings:
    found = Bindings()
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        found.setdefault(argument.arg, [])
    found.unclear |= {extra.arg for extra in (node.args.vararg, node.args.kwarg) if extra is not None}
    plain: set[int] = set()
    for one in own_nodes(node):
        match one:
            case ast.Assign():
                for target in one.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, []).append(one.value)
                        plain.add(id(target))
            case ast.AnnAssign(target=ast.Name() as target):
                plain.add(id(target))
                if one.value is not None:
                    found.setdefault(target.id, []).append(one.value)
            case ast.NamedExpr():
                found.setdefault(one.target.id, []).append(one.value)
                plain.add(id(one.target))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.unclear.add(one.name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.unclear.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.unclear.add(name)
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), *_]):
                found.unclear.add(name)
            case ast.Import() | ast.ImportFrom():
                found.unclear |= {(alias.asname or alias.name).partition(".")[0] for alias in one.names}
            case _:
                pass
    for one in ast.walk(node):
        if isinstance(one, ast.Global | ast.Nonlocal):
            found.unclear.update(one.names)
    for one in own_nodes(node):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load) and id(one) not in plain:
            found.unclear.add(one.id)
    for name in found.unclear:
        found.setdefault(name, [])
    return found
