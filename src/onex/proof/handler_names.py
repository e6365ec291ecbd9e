"""Names in handlers that cannot be right: a field that the state lacks, a status that the machine lacks. Nothing is run.

Theory of operation. ``handler_faults`` reads each function at the top of a module. A parameter is a state when its annotation names
a class that derives from ``State``, or when the function is the handler of a table ``reducer(Order)`` or
``workflow("orders", Order)``. A variable is a state when every value that the function gives it is one: a state, or
``.evolve()`` of one. Then these are judged:

- keywords of ``order.evolve(...)``, and of the constructors of payloads and states,
- text that ``order.status`` is compared with, matched with, or looked up by in a dict that is written there.

It finds some mistakes, not all, and reports none wrongly. Left alone are ``**changes``, functions within functions, names that are
bound in two ways or tested by ``isinstance``, classes that others derive from, and those that ``model_fields`` is not sure of.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from itertools import pairwise
from typing import NamedTuple

from .classes import ClassTable
from .function_names import bindings_of, own_nodes
from .model_fields import fields_of, is_state, listed_statuses
from .symbols import Assigned, ClassSymbol, ExternalSymbol, FunctionNode, InstanceSymbol, ModuleSymbol

_TABLES = {"onex.reducer": 0, "onex.kernel.machine.reducer": 0, "onex.workflow": 1}
"""What makes a table of handlers, and which of its arguments is the state's class."""

_DECORATORS = ("on", "event_handler", "timer")


class HandlerFault(NamedTuple):
    """``known`` are the names that would be right. Lines and columns count from 1."""

    code: str
    line: int
    column: int
    message: str
    name: str = ""
    known: tuple[str, ...] = ()


def handler_faults(
    classes: ClassTable,
    module: ModuleSymbol,
    statuses: Mapping[ClassSymbol, frozenset[str]],
    extended: Set[ClassSymbol],
) -> Iterator[HandlerFault]:
    """``statuses[state class]`` where the contract says them; ``extended`` are classes that others derive from."""
    for binding in module.bindings.values():
        if isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef):
            try:
                found = list(_Handler(classes, module, statuses, extended, binding).faults())
            except RecursionError:  # an expression that nests too deep to be judged
                continue
            yield from found


class _Handler:
    def __init__(
        self,
        classes: ClassTable,
        module: ModuleSymbol,
        statuses: Mapping[ClassSymbol, frozenset[str]],
        extended: Set[ClassSymbol],
        node: FunctionNode,
    ) -> None:
        self.classes, self.module, self.statuses, self.extended, self.node = classes, module, statuses, extended, node
        self.bound = bindings_of(node)
        self.states = self._states()

    def faults(self) -> Iterator[HandlerFault]:
        for node in own_nodes(self.node):
            match node:
                case ast.Call():
                    yield from self._call(node)
                case ast.Compare():
                    yield from self._compare(node)
                case ast.Subscript():
                    if isinstance(node.value, ast.Dict):
                        yield from self._keys(node.slice, node.value)
                case ast.Match():
                    for case in node.cases:
                        yield from self._pattern(node.subject, case.pattern)
                case _:
                    pass

    # --- which names are states ---------------------------------------------------------------------------------------

    def _states(self) -> dict[str, ClassSymbol]:
        known = dict(self._parameters())
        bound = {name: values for name, values in self.bound.items() if name not in self.bound.unclear}
        while True:  # first every name that may be one, then without those that something else is bound to
            more = {
                name: found
                for name, values in bound.items()
                if name not in known and (found := next(filter(None, (self._state_of(v, known) for v in values)), None))
            }
            if not more:
                break
            known.update(more)
        while True:
            wrong = [
                name
                for name, of in known.items()
                if name in self.bound.unclear or any(self._state_of(v, known) is not of for v in bound.get(name, ()))
            ]
            if not wrong:
                return known
            for name in wrong:
                del known[name]

    def _parameters(self) -> Iterator[tuple[str, ClassSymbol]]:
        arguments = [*self.node.args.posonlyargs, *self.node.args.args]
        for n, argument in enumerate(arguments):
            found = None if _is_union(argument.annotation) else self.classes.object_of(argument.annotation, self.module)
            of = (
                found.of
                if isinstance(found, InstanceSymbol)
                else self._handled()
                if n == 0 and argument.annotation is None
                else None
            )
            if isinstance(of, ClassSymbol) and of not in self.extended and is_state(self.classes, of):
                yield argument.arg, of

    def _handled(self) -> ClassSymbol | None:
        """The state class of the table whose ``on`` decorates this function."""
        for decorator in self.node.decorator_list:
            on = decorator.func if isinstance(decorator, ast.Call) else None
            if not isinstance(on, ast.Attribute) or on.attr not in _DECORATORS or not isinstance(on.value, ast.Name):
                continue
            table = self.module.bindings.get(on.value.id)
            made = table.value if isinstance(table, Assigned) else None
            if not isinstance(made, ast.Call):
                continue
            by = self.classes.symbol_of(made.func, self.module)
            n = _TABLES.get(by.name, len(made.args)) if isinstance(by, ExternalSymbol) else len(made.args)
            found = self.classes.symbol_of(made.args[n], self.module) if n < len(made.args) else None
            return found if isinstance(found, ClassSymbol) else None
        return None

    def _state_of(self, value: ast.expr | None, known: Mapping[str, ClassSymbol]) -> ClassSymbol | None:
        match value:
            case ast.Name():
                return known.get(value.id)
            case ast.Call(func=ast.Attribute(value=inner, attr="evolve")):
                return self._state_of(inner, known)
            case ast.NamedExpr():
                return self._state_of(value.value, known)
            case ast.IfExp():
                one, other = self._state_of(value.body, known), self._state_of(value.orelse, known)
                return one if one is other else None
        return None

    # --- what is judged -----------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Iterator[HandlerFault]:
        of: ClassSymbol | None = None
        what = ""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "evolve":
            of = self._state_of(node.func.value, self.states)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "get" and isinstance(node.func.value, ast.Dict):
            yield from self._keys(node.args[0] if node.args else None, node.func.value)
            return
        elif isinstance(node.func, ast.Name) and node.func.id not in self.bound:
            found = self.classes.symbol_of(node.func, self.module)
            of = found if isinstance(found, ClassSymbol) else None
            what = "payload "
        fields = fields_of(self.classes, of) if of is not None else None
        if of is None or fields is None:
            return
        what = "state " if is_state(self.classes, of) else what
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in fields:
                message = f"the {what}{of.name} has no field {keyword.arg!r}"
                known = tuple(sorted(fields))
                place = (keyword.lineno, keyword.col_offset + 1)
                yield HandlerFault("unknown_field", *place, message, keyword.arg, known)
            elif keyword.arg == "status" and is_state(self.classes, of):
                yield from self._words(of, [keyword.value])

    def _status_of(self, value: ast.expr | None) -> ClassSymbol | None:
        """The class of the state whose status ``value`` is."""
        if isinstance(value, ast.Attribute) and value.attr == "status":
            return self._state_of(value.value, self.states)
        if isinstance(value, ast.Name) and value.id not in self.bound.unclear:
            found = [self._status_of(one) for one in self.bound.get(value.id, ()) if not isinstance(one, ast.Name)]
            whole = len(found) == len(self.bound.get(value.id, ())) > 0
            return found[0] if whole and all(one is found[0] for one in found) else None
        return None

    def _compare(self, node: ast.Compare) -> Iterator[HandlerFault]:
        for (left, right), how in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            if isinstance(how, ast.Eq | ast.NotEq):
                for subject, other in ((left, right), (right, left)):
                    if (of := self._status_of(subject)) is not None:
                        yield from self._words(of, [other])
            elif isinstance(how, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List | ast.Set):
                of = self._status_of(left)
                yield from self._words(of, right.elts) if of is not None else ()

    def _keys(self, subject: ast.expr | None, among: ast.Dict) -> Iterator[HandlerFault]:
        of = self._status_of(subject)
        if of is not None:
            yield from self._words(of, [key for key in among.keys if key is not None])

    def _pattern(self, subject: ast.expr, pattern: ast.pattern) -> Iterator[HandlerFault]:
        of = self._status_of(subject)
        if of is None:
            return
        for one in pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]:
            if isinstance(one, ast.MatchValue):
                yield from self._words(of, [one.value])

    def _words(self, of: ClassSymbol, values: list[ast.expr]) -> Iterator[HandlerFault]:
        known = self.statuses.get(of) or listed_statuses(self.classes, of)
        for value in values if known else ():
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value not in (known or ()):
                message = f"{of.name} is never in the status {value.value!r}"
                place = (value.lineno, value.col_offset + 1)
                yield HandlerFault("unknown_status", *place, message, value.value, tuple(sorted(known or ())))


def _is_union(annotation: ast.expr | None) -> bool:
    """The other member of a union may have other fields."""
    quoted = isinstance(annotation, ast.Constant) and "|" in str(annotation.value)
    return quoted or isinstance(annotation, ast.BinOp)
