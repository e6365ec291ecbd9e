"""Reads an expression for the symbols it stands for and for what it reaches: an evaluation without values.

Theory of operation. ``value`` goes through an expression like an interpreter. Instead of an object it gives a ``Symbol``: the
module, class, function, variable or instance that the part stands for, or None where reading cannot tell. On the way it writes
into one ``Trace``:

- ``reach``: another function, or the expression of a variable or a field, that this code runs. `reachability` reads it next.
- ``touch``: something impure on this line, by the table of `impure_calls`.
- ``outside``: packages, not of the standard library, that are called and cannot be read here.

Naming a function counts as calling it: it may be handed on and called elsewhere. Naming an impure function outside counts as well
(``default_factory=uuid4``). Naming a class does not: annotations and ``isinstance`` name classes all the time.

Where precision is lost, and to which side:

- No values and no types flow through containers, loops or return values without annotation. Such a call gives None, and None
  reaches nothing: an impure call may be missed. So "nothing found" is never a proof (see `doctor/purity_claims.py`), and
  methods that are named like I/O (``read_text`` of an unknown object) are reported as unproven.
- All branches are read, so a call behind ``if debug:`` counts although it may never run.
- Code under ``raise`` is marked ``failing``, as it runs only when an error is made.
- Calling a class runs ``__new__``, ``__init__``, ``__post_init__``, pydantic's validators, and the defaults of the fields that
  the call does not give. Positional arguments are counted against the fields of the nearest class first. ``dataclass`` counts
  from the base, so with inheritance a default may be read that the call does give; the chain of the finding shows it.

Nothing is imported or run, so hostile code can only be deep: RecursionError is caught by the caller.
"""

from __future__ import annotations

import ast
import builtins
import sys
from typing import Final, NamedTuple, Protocol

from .classes import ClassTable
from .impure_calls import IO_METHODS, SEEDED, TYPED, EnumImpurity, impurity, is_exact
from .symbols import (
    ClassSymbol,
    ExternalSymbol,
    FunctionSymbol,
    InstanceSymbol,
    ModuleSymbol,
    SuperSymbol,
    Symbol,
    VariableSymbol,
    is_declaration,
    is_property,
)
from .trace import CodeUnit, ImpureUse, Trace, UnitReference, unit_of

_BUILTINS: Final = frozenset(dir(builtins))
_MUTATORS: Final = frozenset({
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard",
    "appendleft", "popleft",
})  # fmt: skip
_MUTABLE: Final = frozenset({"list", "dict", "set", "defaultdict", "deque", "OrderedDict", "Counter", "bytearray"})
_CONSTRUCTION: Final = ("__new__", "__init__", "__post_init__", "model_post_init")
_VALIDATORS: Final = frozenset({"field_validator", "model_validator", "validator", "root_validator"})
_IN_ORDER: Final = frozenset({"list", "tuple", "enumerate", "iter", "join"})
_SAME_PATH: Final = frozenset({
    "parent", "with_suffix", "with_name", "with_stem", "joinpath", "absolute", "resolve", "expanduser",
})  # fmt: skip


class TraceSource(Protocol):
    """Gives the traces of other functions, and what attributes hold."""

    classes: ClassTable

    def trace(self, unit: CodeUnit) -> Trace: ...
    def attribute(self, of: ClassSymbol, name: str) -> Symbol | None: ...


class BuiltinResult(NamedTuple):
    """The result of a builtin that takes types or names. It tells "handled, symbol unknown" from "not handled" (None)."""

    symbol: Symbol | None


class Evaluation:
    """``scopes`` are the names bound so far, the innermost last; ``shared`` those declared global; ``failing``: inside a raise.

    ``first`` is the name of the method's first argument, usually ``self``.
    """

    def __init__(self, traces: TraceSource, unit: CodeUnit, out: Trace) -> None:
        self.traces = traces
        self.classes = traces.classes
        self.unit = unit
        self.module = unit.module
        self.out = out
        self.scopes: list[dict[str, Symbol | None]] = [{}]
        self.shared: set[str] = set()
        self.failing = False
        self.first = ""

    def bind(self, target: ast.expr, symbol: Symbol | None, *, keep: bool = False) -> None:
        """Binds the names of an assignment. ``keep``: a name that is bound already keeps its symbol."""
        match target:
            case ast.Name():
                if target.id in self.shared:
                    self.touch_state(target, target.id)
                elif not keep or target.id not in self.scopes[-1]:
                    self.scopes[-1][target.id] = symbol
            case ast.Tuple() | ast.List():
                for one in target.elts:
                    self.bind(one, None)
            case ast.Starred():
                self.bind(target.value, None)

    # --- expressions ------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, *, called: bool = False, inner: bool = False) -> Symbol | None:
        """``called``: the call reports the symbol itself. ``inner``: only a step to an attribute, or a type; naming it is no
        use.
        """
        match node:
            case ast.Name():
                return self._named(node, self._name(node.id), called=called, inner=inner)
            case ast.Attribute():
                return self._named(node, self._attribute(node, called=called), called=called, inner=inner)
            case ast.Call():
                return self._call(node)
            case ast.Await() | ast.NamedExpr() | ast.Starred():
                if isinstance(node, ast.Starred):
                    self.in_order(node.value)
                symbol = self.value(node.value)
                if isinstance(node, ast.NamedExpr):
                    self.bind(node.target, symbol)
                return symbol
            case ast.Lambda():
                names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                self.scopes.append({argument.arg: None for argument in names})
                self.value(node.body)
                self.scopes.pop()
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._comprehension(node)
            case ast.BinOp():
                left = self.value(node.left)
                self.value(node.right)
                return left if isinstance(node.op, ast.Div) else None
            case ast.BoolOp():
                known = [symbol for one in node.values if (symbol := self.value(one)) is not None]
                return known[0] if known else None
            case ast.IfExp():
                self.value(node.test)
                body, other = self.value(node.body), self.value(node.orelse)
                return body if body is not None else other
            case _:
                self.children(node)
        return None

    def children(self, node: ast.AST) -> None:
        """Looks through the expressions below."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            elif isinstance(child, ast.match_case | ast.keyword | ast.comprehension):
                self.children(child)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.scopes.append({})
        for generator in node.generators:
            self.value(generator.iter)
            self.bind(generator.target, None)
            for test in generator.ifs:
                self.value(test)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.value(part)
        self.scopes.pop()

    def _name(self, name: str) -> Symbol | None:
        if name not in self.shared:
            for scope in reversed(self.scopes):
                if name in scope:
                    return scope[name]
        found = self.classes.library.name_in(self.module, name)
        if found is None and name in _BUILTINS and name not in self.module.bindings:
            return ExternalSymbol(name)
        return found

    def _attribute(self, node: ast.Attribute, *, called: bool) -> Symbol | None:
        base = self.value(node.value, inner=True)
        if isinstance(base, InstanceSymbol):
            if isinstance(base.of, ExternalSymbol):
                name = f"{base.of.name}.{node.attr}"
                if base.of.name == "pathlib.Path" and node.attr == "parent":
                    return base
                return ExternalSymbol(name)
            found = self.traces.attribute(base.of, node.attr)
            if isinstance(found, FunctionSymbol) and is_property(found.node):
                self.reach(unit_of(found), node)
                return self.classes.object_of(found.node.returns, found.module)
            return found
        if base is None:
            if called and node.attr in IO_METHODS:
                shown = f".{node.attr}() of something whose class is not known"
                self.touch(EnumImpurity.UNPROVEN, shown, node)
            return None
        return self.classes.below(base, node.attr)

    def _named(
        self, node: ast.Name | ast.Attribute, found: Symbol | None, *, called: bool, inner: bool
    ) -> Symbol | None:
        """Reports what naming the symbol reaches, and follows a variable to what it holds."""
        if isinstance(found, VariableSymbol):
            if found.assigned.value is None:
                return self.classes.object_of(found.assigned.annotation, found.module)
            unit = CodeUnit(found.module, found.name, found.assigned.value)
            self.reach(unit, node)
            held = self.traces.trace(unit).symbol
            if held is None and found.assigned.annotation is not None:
                return self.classes.object_of(found.assigned.annotation, found.module)
            return held
        if isinstance(found, FunctionSymbol):
            # charge.intent(...) and charge.failed name a declared function without calling it
            if not (inner and any(map(is_declaration, found.node.decorator_list))):
                self.reach(unit_of(found), node)
        elif isinstance(found, ExternalSymbol) and not called and not inner:
            kind = impurity(found.name)
            handed_on = is_exact(found.name) or found.name.rpartition(".")[2].islower()
            if kind not in (None, EnumImpurity.PURE, EnumImpurity.NOTE, EnumImpurity.UNPROVEN) and handed_on:
                self.touch(kind, found.name, node)
        return found

    # --- calls ------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Symbol | None:
        if isinstance(node.func, ast.Name):
            special = self._builtin(node, node.func.id)
            if special is not None:
                return special.symbol
        self._order_of(node)
        self._mutation(node.func)
        called = self.value(node.func, called=True)
        if isinstance(node.func, ast.Call) and _is_dynamic_getattr(node.func):
            self.touch(EnumImpurity.UNPROVEN, "a call of what getattr finds", node)
        given = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
        for argument in node.args:
            self.value(argument)
        for keyword in node.keywords:
            symbol = self.value(keyword.value)
            if keyword.arg == "default_factory" and isinstance(symbol, ClassSymbol):
                self._construct(symbol, node, frozenset(), 0)
        match called:
            case ExternalSymbol():
                return self._outer_call(called.name, node)
            case ClassSymbol():
                self._construct(called, node, frozenset(given), len(node.args))
                return InstanceSymbol(called)
            case FunctionSymbol():
                return self.classes.object_of(called.node.returns, called.module)
            case InstanceSymbol(of=ClassSymbol() as of):
                found = self.classes.member(of, "__call__", of)
                if isinstance(found, FunctionSymbol):
                    self.reach(unit_of(found), node)
        return None

    def _builtin(self, node: ast.Call, name: str) -> BuiltinResult | None:
        """None for any other call."""
        if self._name(name) != ExternalSymbol(name):
            return None
        match name, node.args:
            case ("isinstance" | "issubclass", [subject, *_]):
                self.value(subject, inner=True)
                return BuiltinResult(None)
            case "super", _:
                owner = self.unit.owner
                return BuiltinResult(SuperSymbol(owner, self.unit.me or owner) if owner is not None else None)
            case "getattr", [subject, ast.Constant(value=str(attr)), *_]:
                return BuiltinResult(self.value(ast.copy_location(ast.Attribute(subject, attr, ast.Load()), node)))
            case "__import__", [ast.Constant(value=str(module)), *_]:
                return BuiltinResult(self.classes.library.imported(module, self.module.path))
        return None

    def _outer_call(self, name: str, node: ast.Call) -> Symbol | None:
        kind = impurity(name)
        if (name in SEEDED and (node.args or node.keywords)) or (name == "hash" and "__hash__" in self.unit.name):
            kind = EnumImpurity.PURE
        if name == "importlib.import_module" and node.args and isinstance(node.args[0], ast.Constant):
            found = self.classes.library.imported(str(node.args[0].value), self.module.path)
            if isinstance(found, ModuleSymbol):
                return found
        if name == "typing.cast" and len(node.args) == 2:
            return self.classes.object_of(node.args[0], self.module)
        if kind is not None and kind is not EnumImpurity.PURE:
            shown = f"{name}()" if kind is not EnumImpurity.UNPROVEN else f"{name}(), which may run anything"
            self.touch(kind, shown, node)
        top = name.partition(".")[0]
        if kind is None and top and "." in name and top not in sys.stdlib_module_names and top not in _BUILTINS:
            self.out.outside.add(top)
        of = TYPED.get(name, name)
        owner, _, last = of.rpartition(".")
        if owner == "pathlib.Path" and (last in _SAME_PATH or last in ("cwd", "home")):
            return InstanceSymbol(ExternalSymbol(owner))
        return InstanceSymbol(ExternalSymbol(of)) if of != name or last[:1].isupper() else None

    def _construct(self, of: ClassSymbol, node: ast.expr, given: frozenset[str], places: int) -> None:
        """What making an object runs. ``given`` are the keywords of the call, ``places`` counts its positional arguments."""
        for name in _CONSTRUCTION:
            found = self.classes.member(of, name, of)
            if isinstance(found, FunctionSymbol):
                self.reach(unit_of(found), node)
        for function in self.classes.methods(of):
            if any(_decorator(one) in _VALIDATORS for one in function.node.decorator_list):
                self.reach(unit_of(function), node)
        at = 0
        seen = set(given)
        for one in self.classes.line(of):
            if not isinstance(one, ClassSymbol):
                continue
            for statement in one.node.body:
                if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                    continue
                name, at = statement.target.id, at + 1
                if statement.value is not None and name not in seen and at > places:
                    self.reach(CodeUnit(one.module, f"{one.name}.{name}", statement.value, one), node)
                seen.add(name)

    # --- order of sets, time zone -----------------------------------------------------------------------------------

    def in_order(self, node: ast.expr) -> None:
        """The members of ``node`` are taken one by one. The order of a set of text differs between processes (hash seed)."""
        is_set = isinstance(node, ast.Set | ast.SetComp) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
        )
        if is_set:
            self.touch(EnumImpurity.ORDER, "the order of a set", node)

    def _order_of(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in _IN_ORDER and node.args:
            self.in_order(node.args[0])
        if name == "astimezone" and not node.args and not node.keywords:
            self.touch(EnumImpurity.ENVIRONMENT, ".astimezone() without a zone", node)

    # --- shared state -----------------------------------------------------------------------------------------------

    def variable(self, node: ast.expr) -> VariableSymbol | None:
        """The module's variable that the name stands for, when it holds something that can change."""
        if not isinstance(node, ast.Name):
            return None
        found = self._name(node.id)
        if not isinstance(found, VariableSymbol):
            return None
        value = found.assigned.value
        if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            return found
        if isinstance(value, ast.Call):
            name = value.func.id if isinstance(value.func, ast.Name) else getattr(value.func, "attr", "")
            return found if name in _MUTABLE else None
        return None

    def _mutation(self, called: ast.expr) -> None:
        if isinstance(called, ast.Attribute) and called.attr in _MUTATORS:
            variable = self.variable(called.value)
            if variable is not None:
                self.touch_state(called, variable.name)

    def touch_state(self, node: ast.expr, name: str) -> None:
        self.touch(EnumImpurity.STATE, f"a change of the module's variable {name}", node)

    # --- writing the trace ------------------------------------------------------------------------------------------

    def touch(self, kind: EnumImpurity, name: str, node: ast.expr) -> None:
        touch = ImpureUse(kind, name, node.lineno, node.col_offset + 1, self.failing)
        if touch not in self.out.touches:
            self.out.touches.append(touch)

    def reach(self, unit: CodeUnit, node: ast.expr) -> None:
        self.out.reached.append(UnitReference(unit, node.lineno, self.failing))


def _is_dynamic_getattr(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) > 1
        and not isinstance(node.args[1], ast.Constant)
    )


def _decorator(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
