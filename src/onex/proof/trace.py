"""What is known after one function was read: what it reaches and what it uses of the world, each with its line."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import NamedTuple

from .impure_calls import EnumImpurity
from .symbols import ClassSymbol, FunctionNode, FunctionSymbol, ModuleSymbol, Symbol

UnitKey = tuple[str, str, int, int, int]


class CodeUnit(NamedTuple):
    """The unit of reading: a function, or the expression of a variable or of a field's default."""

    module: ModuleSymbol
    name: str
    node: FunctionNode | ast.expr
    owner: ClassSymbol | None = None
    me: ClassSymbol | None = None

    @property
    def key(self) -> UnitKey:
        return (
            self.module.path,
            self.name,
            self.node.lineno,
            self.node.col_offset,
            0 if self.me is None else id(self.me.node),
        )


class ImpureUse(NamedTuple):
    """An impure use on a line: ``name`` is what is called, ``kind`` why it matters, ``failing``: inside a ``raise``."""

    kind: EnumImpurity
    name: str
    line: int
    column: int
    failing: bool = False


class UnitReference(NamedTuple):
    """Another unit that a line runs; ``failing`` when the line is inside a ``raise``."""

    unit: CodeUnit
    line: int
    failing: bool = False


@dataclass(slots=True)
class Trace:
    """The result of reading one unit. ``outside`` are packages, not of the standard library, that it calls into.

    ``symbol`` is what an expression stands for, ``attributes`` what a constructor assigns to ``self``.
    """

    touches: list[ImpureUse] = field(default_factory=list)
    reached: list[UnitReference] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    symbol: Symbol | None = None
    attributes: dict[str, Symbol] = field(default_factory=dict)


def unit_of(function: FunctionSymbol) -> CodeUnit:
    return CodeUnit(function.module, function.name, function.node, function.owner, function.me)
