"""The members of classes with their bases, and the symbols that annotations name. Names are looked up, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .library import Library
from .symbols import (
    Assigned,
    ClassSymbol,
    ExternalSymbol,
    FunctionSymbol,
    InstanceSymbol,
    ModuleSymbol,
    SuperSymbol,
    Symbol,
    VariableSymbol,
)

_THROUGH = frozenset(
    {"Optional", "Annotated", "ClassVar", "Final", "Required", "NotRequired", "Awaitable", "Coroutine"}
)
_BASES_MAX = 50
_DEPTH_MAX = 20


class ClassTable:
    """Questions about the classes of one library. ``line`` is remembered."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._lines: dict[ClassSymbol, tuple[ClassSymbol | ExternalSymbol, ...]] = {}

    def line(self, of: ClassSymbol) -> tuple[ClassSymbol | ExternalSymbol, ...]:
        """The class and its bases, nearest first: depth first from the left. At most 50. This is not the C3 order of Python, but it
        finds the method of a class hierarchy without diamonds.
        """
        known = self._lines.get(of)
        if known is None:
            found: list[ClassSymbol | ExternalSymbol] = []
            waiting: list[Symbol | None] = [of]
            while waiting and len(found) < _BASES_MAX:
                one = waiting.pop(0)
                if isinstance(one, ClassSymbol) and one not in found:
                    found.append(one)
                    waiting[:0] = [self.symbol_of(base, one.module) for base in one.node.bases]
                elif isinstance(one, ExternalSymbol) and one not in found:
                    found.append(one)
            known = self._lines[of] = tuple(found)
        return known

    def own(self, of: ClassSymbol, name: str) -> FunctionSymbol | ClassSymbol | Assigned | None:
        """What the body of the class itself binds to ``name``, bases aside; of several, the last."""
        for node in reversed(of.node.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return FunctionSymbol(of.module, node, f"{of.name}.{name}", owner=of)
            if isinstance(node, ast.ClassDef) and node.name == name:
                return ClassSymbol(of.module, node, f"{of.name}.{name}")
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                return Assigned(node.value, node.annotation)
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                return Assigned(node.value, None)
        return None

    def member(
        self, of: ClassSymbol, name: str, me: ClassSymbol | None = None, after: ClassSymbol | None = None
    ) -> Symbol | Assigned | None:
        """What an object of the class has under ``name``. A method is bound to ``me``. With ``after`` the search begins behind
        that class, as ``super()`` does.

        A name that no class of the repository has belongs to the first base outside, if there is one.
        """
        line = self.line(of)
        if after is not None and after in line:
            line = line[line.index(after) + 1 :]
        for one in line:
            if isinstance(one, ExternalSymbol):
                if one.name.rpartition(".")[2] not in ("object", "Protocol", "ABC", "Generic", "Enum", "StrEnum"):
                    return ExternalSymbol(f"{one.name}.{name}")
                continue
            found = self.own(one, name)
            if isinstance(found, FunctionSymbol):
                return FunctionSymbol(found.module, found.node, found.name, found.owner, me or of)
            if found is not None:
                return found
        return None

    def methods(self, of: ClassSymbol) -> Iterator[FunctionSymbol]:
        """All its functions and those of its bases, overridden ones left out."""
        seen: set[str] = set()
        for one in self.line(of):
            if isinstance(one, ClassSymbol):
                for node in one.node.body:
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in seen:
                        seen.add(node.name)
                        yield FunctionSymbol(one.module, node, f"{one.name}.{node.name}", one, of)

    # --- annotations ------------------------------------------------------------------------------------------------

    def symbol_of(self, node: ast.expr | None, module: ModuleSymbol, depth: int = 0) -> Symbol | None:
        """The symbol that a type expression names. ``Optional``, ``Annotated``, ``X | None`` and quotation marks are looked
        through.
        """
        if node is None or depth > _DEPTH_MAX:
            return None
        match node:
            case ast.Name():
                found = self.library.name_in(module, node.id)
                if isinstance(found, VariableSymbol):  # an alias, or a constant
                    return self.symbol_of(found.assigned.value, found.module, depth + 1)
                return found
            case ast.Attribute():
                return self.below(self.symbol_of(node.value, module, depth + 1), node.attr)
            case ast.Constant(value=str(text)):
                try:
                    return self.symbol_of(ast.parse(text, mode="eval").body, module, depth + 1)
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    return None
            case ast.Subscript():
                return self._generic(node, module, depth)
            case ast.BinOp(op=ast.BitOr()):
                left = self.symbol_of(node.left, module, depth + 1)
                return left if left is not None else self.symbol_of(node.right, module, depth + 1)
        return None

    def _generic(self, node: ast.Subscript, module: ModuleSymbol, depth: int) -> Symbol | None:
        outside = self.symbol_of(node.value, module, depth + 1)
        name = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
        if name in _THROUGH:
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            return self.symbol_of(inner, module, depth + 1)
        return outside

    def object_of(self, annotation: ast.expr | None, module: ModuleSymbol) -> Symbol | None:
        """An instance of the annotated type; for ``type[X]`` the class itself."""
        if (
            isinstance(annotation, ast.Subscript)
            and isinstance(annotation.value, ast.Name)
            and annotation.value.id in ("type", "Type")
        ):
            return self.symbol_of(annotation.slice, module)
        found = self.symbol_of(annotation, module)
        return InstanceSymbol(found) if isinstance(found, ClassSymbol | ExternalSymbol) else None

    def below(self, found: Symbol | None, name: str) -> Symbol | None:
        """``found.name`` where no instance is needed: in a module, in a class, outside."""
        match found:
            case ModuleSymbol():
                return self.library.name_in(found, name)
            case ExternalSymbol():
                return ExternalSymbol(f"{found.name}.{name}")
            case ClassSymbol():
                inner = self.member(found, name)
                return None if isinstance(inner, Assigned) else inner
            case SuperSymbol():
                inner = self.member(found.me, name, found.me, found.owner)
                return None if isinstance(inner, Assigned) else inner
        return None
