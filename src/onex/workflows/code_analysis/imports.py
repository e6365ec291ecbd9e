"""The imports of a file: when each runs, and which of its names are not used."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from .checks import Flaw, flaw

Places = Mapping[str, Sequence[tuple[int, int]]]
"""name -> (line, offset) of every use, ascending."""


class EnumImportTime(StrEnum):
    """When the import statement runs: ``load`` always, ``conditional`` in some branch at load, ``lazy`` inside a call

    or only as a script, ``typing`` never (``if TYPE_CHECKING``).
    """

    LOAD = "load"
    CONDITIONAL = "conditional"
    LAZY = "lazy"
    TYPING = "typing"


class ImportStatement(BaseModel):
    """``import name`` when ``members`` is empty, else ``from name import members`` (``*`` for a star).

    ``name`` is absolute; a relative one that climbs above the top of its package keeps its dots.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: int
    name: str
    members: tuple[str, ...] = ()
    when: EnumImportTime = EnumImportTime.LOAD


class Surroundings:
    """What encloses a node, up to the module, as bits of a plain int. ``IntFlag`` would be slow here."""

    NONE: Final = 0
    CONDITIONAL: Final = 1
    OPTIONAL: Final = 2
    """in a try that expects the import to fail"""
    SCRIPT: Final = 4
    TYPING: Final = 8
    ANNOTATION: Final = 16
    """strings here hold names"""
    PROBED: Final = 32
    """in a with or a try: an expression may be there for the error it raises"""
    LEVEL: Final = 64
    """one step down the tree; the bits from here on count them"""


class Binding(NamedTuple):
    """A name an import binds, with the lines of the function it is local to (None: the module)."""

    name: str
    shown: str
    flaw: Flaw
    local_to: tuple[int, int] | None


def import_time(guard: int, *, in_function: bool) -> EnumImportTime:
    if guard & Surroundings.TYPING:
        return EnumImportTime.TYPING
    if in_function or guard & Surroundings.SCRIPT:
        return EnumImportTime.LAZY
    return (
        EnumImportTime.CONDITIONAL
        if guard & (Surroundings.CONDITIONAL | Surroundings.OPTIONAL)
        else EnumImportTime.LOAD
    )


def absolute(name: str | None, level: int, module: str, *, package: bool) -> str:
    """The name that ``from <level dots><name> import`` means in ``module``: one dot is its package (PEP 328)."""
    if level == 0:
        return name or ""
    parts = module.split(".") if module else []
    kept = len(parts) - level + (1 if package else 0)
    if kept < 1:
        return "." * level + (name or "")
    return ".".join([*parts[:kept], *([name] if name else [])])


def test_guards(test: ast.expr) -> tuple[int, int]:
    """The surroundings of the body and of the else branch of an ``if`` with this test."""
    if (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    ):
        return Surroundings.TYPING, Surroundings.CONDITIONAL
    if (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
    ):
        return Surroundings.SCRIPT, Surroundings.CONDITIONAL
    return Surroundings.CONDITIONAL, Surroundings.CONDITIONAL


_EXPECTED: Final = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "AttributeError"})


def expects_failure(handlers: Sequence[ast.ExceptHandler]) -> bool:
    """True when one of the handlers would catch a failed import."""
    for handler in handlers:
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(part is None or (isinstance(part, ast.Name) and part.id in _EXPECTED) for part in parts):
            return True
    return False


def bindings(node: ast.Import | ast.ImportFrom, guard: int, local_to: tuple[int, int] | None) -> Iterator[Binding]:
    """Imported names that must be used: not ``_private``, not ``x as x`` (a re-export), not those of a try that expects failure."""
    if guard & Surroundings.OPTIONAL or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
        return
    source = "" if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
    for alias in node.names:
        name = alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
        if name == "*" or name.startswith("_") or alias.asname == alias.name:
            continue
        shown = alias.name if not source else f"{source.rstrip('.') or source}.{alias.name}".replace("..", ".")
        message = f"{shown}{f' as {alias.asname}' if alias.asname else ''} is imported and not used"
        placed = flaw("unused-import", alias, message)._replace(last=node.end_lineno or node.lineno)
        yield Binding(name, shown, placed, local_to)


def unused(
    candidates: Sequence[Binding], used: Places, exported: frozenset[str], shared: frozenset[str]
) -> Iterator[Flaw]:
    """``exported``: names in ``__all__``; ``shared``: names some function declares global.

    ``import a as b`` beside ``import a.c`` makes ``b.c`` work, so the second is used through the first.
    """
    aliased = {binding.shown for binding in candidates if binding.name != binding.shown and "." not in binding.shown}
    for binding in candidates:
        if binding.name in shared or binding.name in aliased:
            continue
        places = used.get(binding.name, ())
        if binding.local_to is None:
            if not places and binding.name not in exported:
                yield binding.flaw
        elif not uses_between(places, (binding.local_to[0], 0), (binding.local_to[1] + 1, 0)):
            yield binding.flaw


def uses_between(places: Sequence[tuple[int, int]], start: tuple[int, int], end: tuple[int, int]) -> bool:
    """True when a use lies in ``[start, end)``."""
    at = bisect_left(places, start)
    return at < len(places) and places[at] < end


def is_facade(statement: ast.stmt) -> bool:
    """An import, a docstring or ``__all__``. A module of nothing else exists for others to import from."""
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets)
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Import | ast.ImportFrom)
