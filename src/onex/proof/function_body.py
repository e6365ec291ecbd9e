"""Reads one function from top to bottom, and keeps the traces of all functions that were read.

Theory of operation. ``FunctionTraces.trace(unit)`` reads each unit once: a function, or the expression of a variable or of a
field's default. ``_Body`` goes through the statements in order and binds names as they come, so a later line knows what an
earlier one assigned. `evaluation` reads the expressions.

- A function that is defined inside is read as part of the one around it: whoever defines it most likely calls it.
- Annotations are types and never run, so they only tell the class of an object. Code under ``if TYPE_CHECKING:`` is skipped.
- ``self.x = expression`` in a constructor is kept in ``attributes``. So ``self.x.f()`` in another method finds the class of
  ``x``: the annotation in the class decides first, then the class's own default, then ``__init__`` and ``__post_init__``.
- A change of a module's list, dict or set, or an assignment to a ``global`` name, is shared state.

What may go wrong:

- Recursion: the empty trace is stored before the body is read, so a unit that asks for itself gets what is known so far. A symbol
  may be missing then, but each line is still read once and nothing loops.
- Branches: names are bound in the order of the text, so after ``if``/``else`` the last assignment counts. The other one may be
  missed.
- Nesting beyond Python's recursion limit: what was read so far stays, and the unit gets one use of kind ``unproven``.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from .classes import ClassTable
from .evaluation import Evaluation
from .impure_calls import EnumImpurity
from .library import bound_by
from .symbols import (
    Assigned,
    ClassSymbol,
    ExternalSymbol,
    FunctionNode,
    FunctionSymbol,
    ImportedModule,
    ImportedName,
    InstanceSymbol,
    Symbol,
    is_declaration,
    is_static,
)
from .trace import CodeUnit, ImpureUse, Trace, UnitKey, unit_of


class FunctionTraces:
    """Traces by unit, each made once."""

    def __init__(self, classes: ClassTable) -> None:
        self.classes = classes
        self._traces: dict[UnitKey, Trace] = {}

    def trace(self, unit: CodeUnit) -> Trace:
        known = self._traces.get(unit.key)
        if known is None:
            # stored before it is read: a recursive function asks for its own trace
            known = self._traces[unit.key] = Trace()
            body = _Body(self, unit, known)
            try:
                body.read()
            except RecursionError:
                known.touches.append(ImpureUse(EnumImpurity.UNPROVEN, "nesting too deep to read", unit.node.lineno, 1))
        return known

    def attribute(self, of: ClassSymbol, name: str) -> Symbol | None:
        """What ``self.name`` holds: by the annotation in the class, else by its default, else by what the constructor assigns."""
        found = self.classes.member(of, name, of)
        if isinstance(found, Assigned):
            holder = next(
                (one for one in self.classes.line(of) if isinstance(one, ClassSymbol) and self.classes.own(one, name)),
                of,
            )
            if found.annotation is not None:
                return self.classes.object_of(found.annotation, holder.module)
            if found.value is not None:
                return self.trace(CodeUnit(holder.module, f"{holder.name}.{name}", found.value, holder)).symbol
            return None
        if found is not None and not isinstance(found, ExternalSymbol):
            return found
        for start in ("__init__", "__post_init__"):
            made = self.classes.member(of, start, of)
            if isinstance(made, FunctionSymbol):
                kept = self.trace(unit_of(made)).attributes.get(name)
                if kept is not None:
                    return kept
        return found


class _Body(Evaluation):
    def read(self) -> None:
        if isinstance(self.unit.node, ast.expr):
            self.out.symbol = self.value(self.unit.node)
        else:
            self._function(self.unit.node, self.unit.me if not is_static(self.unit.node) else None)

    # --- statements -------------------------------------------------------------------------------------------------

    def _function(self, node: FunctionNode, me: ClassSymbol | None) -> None:
        for decorator in node.decorator_list:
            if not is_declaration(decorator):
                self.value(decorator)
        arguments = [*node.args.posonlyargs, *node.args.args]
        scope: dict[str, Symbol | None] = {
            argument.arg: self.classes.object_of(argument.annotation, self.module)
            for argument in (*arguments, *node.args.kwonlyargs)
        }
        for extra in (node.args.vararg, node.args.kwarg):
            if extra is not None:
                scope[extra.arg] = None
        if me is not None and arguments:
            is_class = any(isinstance(one, ast.Name) and one.id == "classmethod" for one in node.decorator_list)
            self.first = self.first or arguments[0].arg
            scope[arguments[0].arg] = me if is_class or node.name == "__new__" else InstanceSymbol(me)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.value(default)
        self.scopes.append(scope)
        self._block(node.body)
        self.scopes.pop()

    def _block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.scopes[-1][node.name] = None
                self._function(node, None)
            case ast.ClassDef():
                self._local_class(node)
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.Global():
                self.shared.update(node.names)
            case ast.Assign():
                symbol = self.value(node.value)
                for target in node.targets:
                    self.bind(target, symbol)
            case ast.AnnAssign():
                symbol = self.classes.object_of(node.annotation, self.module)
                given = self.value(node.value) if node.value is not None else None
                self.bind(node.target, given if isinstance(given, InstanceSymbol) else symbol or given)
            case ast.AugAssign():
                self.value(node.value)
                self.bind(node.target, None, keep=True)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    symbol = self.value(item.context_expr)
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, symbol)
                self._block(node.body)
            case ast.For() | ast.AsyncFor():
                self.in_order(node.iter)
                self.value(node.iter)
                self.bind(node.target, None)
                self._block(node.body)
                self._block(node.orelse)
            case ast.Try() | ast.TryStar():
                self._block(node.body)
                for handler in node.handlers:
                    if handler.name:
                        self.scopes[-1][handler.name] = None
                    self._block(handler.body)  # the exception that is caught is a type, and only named
                self._block(node.orelse)
                self._block(node.finalbody)
            case ast.Raise():
                before, self.failing = self.failing, True
                self.children(node)
                self.failing = before
            case ast.If() if _for_types_only(node.test):
                self._block(node.orelse)
            case _:
                self.children(node)

    def children(self, node: ast.AST) -> None:
        super().children(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.statement(child)

    def _local_class(self, node: ast.ClassDef) -> None:
        made = ClassSymbol(self.module, node, node.name)
        self.scopes[-1][node.name] = made
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(statement, None if is_static(statement) else made)
            elif not isinstance(statement, ast.ClassDef):
                self.scopes.append({})
                self.statement(statement)
                self.scopes.pop()

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        library = self.classes.library
        for name, binding in bound_by(node):
            if isinstance(binding, ImportedModule) and name != "*":
                self.scopes[-1][name] = library.imported(binding.name, self.module.path)
            elif isinstance(binding, ImportedName):
                self.scopes[-1][name] = library.taken(binding, self.module.path)

    def bind(self, target: ast.expr, symbol: Symbol | None, *, keep: bool = False) -> None:
        match target:
            case ast.Attribute():
                if isinstance(target.value, ast.Name) and target.value.id == self.first and symbol is not None:
                    self.out.attributes.setdefault(target.attr, symbol)
                self.value(target.value)
            case ast.Subscript():
                variable = self.variable(target.value)
                if variable is not None:
                    self.touch_state(target, variable.name)
                self.value(target.value)
                self.value(target.slice)
            case _:
                super().bind(target, symbol, keep=keep)


def _for_types_only(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
