"""The text of a one-file app that decides a state: without the bodies of its effects."""

from __future__ import annotations

import ast


def without_effects(text: bytes) -> bytes:
    """``text`` without the functions marked ``@NAME.effect(...)``: to change one does not change what a replay gives.

    A function that is called somewhere in the file stays. So does everything else: also comments, and what only an effect
    uses. The module must parse.
    """
    tree = ast.parse(text)
    called = {one.func.id for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in called and _is_effect(node):
            first, last = node.body[0].lineno - 1, node.end_lineno or node.body[-1].lineno
            lines[first:last] = [b""] * (last - first)
    return b"".join(lines)


def _is_effect(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    marks = [one.func for one in node.decorator_list if isinstance(one, ast.Call)]
    return any(isinstance(one, ast.Attribute) and one.attr == "effect" for one in marks)
