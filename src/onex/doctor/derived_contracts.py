"""Derived contracts: a lock file names the Python file that declares its workflow, and there its handlers are."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..proof.library import Library
from ..proof.symbols import Assigned, ModuleSymbol, Symbol

_DECORATORS = ("on", "event_handler", "timer")


def declared_handlers(library: Library, module: ModuleSymbol, workflow: str) -> Iterator[tuple[str, Symbol]]:
    """Functions of the file that ``@x.on(...)`` or ``@x.timer(...)`` declares, where ``x`` is not surely another workflow."""
    for name, binding in module.bindings.items():
        if not isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(_declares(module, one, workflow) for one in binding.decorator_list):
            symbol = library.name_in(module, name)
            if symbol is not None:
                yield name, symbol


def _declares(module: ModuleSymbol, decorator: ast.expr, workflow: str) -> bool:
    match decorator:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=table), attr=attr)) if attr in _DECORATORS:
            made = module.bindings.get(table)
            match made.value if isinstance(made, Assigned) else None:
                case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                    return name == workflow
            return True
    return False
