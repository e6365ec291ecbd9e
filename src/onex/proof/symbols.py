"""What an expression stands for, as far as reading can tell: a module, class or function of the repository, or a name outside.

None in place of a ``Symbol`` says that reading cannot tell.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class ImportedModule(NamedTuple):
    """``import name``; of ``import a.b`` without ``as`` it is ``a``."""

    name: str


class ImportedName(NamedTuple):
    """``from module import name``."""

    module: str
    name: str


class Assigned(NamedTuple):
    """A variable. ``value`` is None when the code only declares its type."""

    value: ast.expr | None
    annotation: ast.expr | None


Binding = ImportedModule | ImportedName | Assigned | FunctionNode | ast.ClassDef


@dataclass(frozen=True, slots=True, eq=False)
class ModuleSymbol:
    """A file of the repository, or a folder that is a package without one (``path`` ends in ``/``).

    ``bindings`` are the names at its top level; ``stars`` the modules of its ``from x import *``. ``problem`` says why a file
    that cannot be read has no bindings.
    """

    name: str
    path: str
    is_package: bool
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ExternalSymbol:
    """Something outside of the repository, by its full dotted name. A builtin has no dot."""

    name: str


@dataclass(frozen=True, slots=True)
class ClassSymbol:
    module: ModuleSymbol
    node: ast.ClassDef
    name: str


@dataclass(frozen=True, slots=True)
class FunctionSymbol:
    """``owner`` is the class whose body holds it, ``me`` the class of the object it was taken from."""

    module: ModuleSymbol
    node: FunctionNode
    name: str
    owner: ClassSymbol | None = None
    me: ClassSymbol | None = None


@dataclass(frozen=True, slots=True)
class VariableSymbol:
    """A module's variable."""

    module: ModuleSymbol
    name: str
    assigned: Assigned


@dataclass(frozen=True, slots=True)
class InstanceSymbol:
    of: ClassSymbol | ExternalSymbol


@dataclass(frozen=True, slots=True)
class SuperSymbol:
    """``super()``: the classes behind ``owner`` in the line of ``me``."""

    owner: ClassSymbol
    me: ClassSymbol


Symbol = ModuleSymbol | ExternalSymbol | ClassSymbol | FunctionSymbol | VariableSymbol | InstanceSymbol | SuperSymbol


def is_static(node: FunctionNode) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)


def is_property(node: FunctionNode) -> bool:
    return any(
        (isinstance(one, ast.Name) and one.id in ("property", "cached_property", "computed_field"))
        or (isinstance(one, ast.Attribute) and one.attr in ("cached_property", "setter", "getter"))
        for one in node.decorator_list
    )


def is_declaration(decorator: ast.expr) -> bool:
    """``@orders.on(charge.failed, ...)`` and its like: they write down what they are given, and call nothing of it."""
    match decorator:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(), attr="on" | "event_handler" | "timer" | "effect" | "compute")
        ):
            return True
    return False
