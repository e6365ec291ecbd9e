"""One walk over a syntax tree collects everything that is counted or checked in it. It does not recurse, so depth cannot stop
it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .checks import NODE_CHECKS, Block, Flaw, Function, check_block, check_defaults, flaw, last_name, redefinitions
from .complexity import ARGUMENTS_MAX, COMPLEXITY_MAX, DECISIONS, FunctionMetrics, argument_count, predicates
from .imports import (
    Binding,
    ImportStatement,
    Surroundings,
    absolute,
    bindings,
    expects_failure,
    import_time,
    is_facade,
    test_guards,
    unused,
    uses_between,
)
from .source import Span

# Fields without a node, or with an operator or context, which nothing here looks at.
_SILENT: Final = frozenset(
    {"ctx", "id", "attr", "arg", "n", "kind", "type_comment", "op", "ops", "conversion", "names", "module", "level"}
)
_BLOCKS: Final = frozenset({"body", "orelse", "finalbody"})
_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")
_TYPE_COMMENT: Final = re.compile(r"#\s*type:\s*(?!ignore)(.+)")
_NAME_TAKERS: Final = frozenset({"cast", "TypeVar", "NewType", "ForwardRef", "NamedTuple", "TypedDict"})
_PLAIN_DECORATORS: Final = frozenset({"staticmethod", "classmethod", "property"})
_SAME_DOCUMENT: Final = frozenset({"overload", "setter", "getter", "deleter"})
# How deep CPython's parser can read depends on the stack of its caller. It can always read this deep, so the same bytes have the
# same analysis wherever it runs.
DEPTH_MAX: Final = 1_000
_DEEPEST: Final = DEPTH_MAX * Surroundings.LEVEL
_NOTHING: Final[Mapping[str, int]] = {}
_BRANCHES: Final = {
    "body": Surroundings.CONDITIONAL,
    "orelse": Surroundings.CONDITIONAL,
    "cases": Surroundings.CONDITIONAL,
}
_EXTRA: Final[Mapping[type[ast.AST], Mapping[str, int]]] = {
    ast.For: _BRANCHES,
    ast.AsyncFor: _BRANCHES,
    ast.While: _BRANCHES,
    ast.Match: _BRANCHES,
    ast.With: {"body": Surroundings.PROBED},
    ast.AsyncWith: {"body": Surroundings.PROBED},
    ast.AnnAssign: {"annotation": Surroundings.ANNOTATION},
    ast.arg: {"annotation": Surroundings.ANNOTATION},
    ast.Subscript: {"slice": Surroundings.ANNOTATION},
}


class Scope:
    """A module, class or function during the walk. ``predicates`` is counted up."""

    __slots__ = ("kind", "line", "lines", "name", "predicates", "public")

    def __init__(self, kind: str, name: str, line: int, lines: tuple[int, int] | None, *, public: bool) -> None:
        self.kind, self.name, self.line, self.lines, self.public = kind, name, line, lines, public
        self.predicates = 0

    def inside(self, name: str) -> str:
        """The qualified name of a definition in this scope, as ``__qualname__`` has it."""
        if not self.name:
            return name
        return f"{self.name}.<locals>.{name}" if self.kind == "function" else f"{self.name}.{name}"


class Definition(NamedTuple):
    """A public module (name empty), class or function."""

    name: str
    line: int
    documented: bool


_SPECIAL: Final[frozenset[type[ast.AST]]] = frozenset({
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.If, ast.Try, ast.TryStar, ast.Import, ast.ImportFrom,
    ast.Global, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Call, ast.JoinedStr, ast.FormattedValue,
})  # fmt: skip
"""Nodes that ``ModuleScan._enter`` knows; of all others the children are pushed."""
Work = list[tuple[ast.AST, Scope, int]]


class ModuleScan:
    """The walk over one module. Its fields are the result. ``flaws`` are not ordered, the rest is in source order.

    ``too_deep``: the tree is deeper than ``DEPTH_MAX`` and the walk stopped. The other fields are then incomplete.
    """

    def __init__(self, tree: ast.Module, lines: Sequence[str], module: str, *, package: bool) -> None:
        self._module, self._package = module, package
        self.flaws: list[Flaw] = []
        self.imports: list[ImportStatement] = []
        self.functions: list[FunctionMetrics] = []
        self.definitions: list[Definition] = []
        self.strings: list[Span] = []
        self.docstrings: list[Span] = []
        self.classes = self.methods = 0
        self._shapes: list[tuple[Scope, int]] = []
        self._candidates: list[Binding] = []
        self._twice: list[tuple[ast.stmt, ast.stmt, str]] = []
        self._used: dict[str, list[tuple[int, int]]] = {}
        self._shared: set[str] = set()
        self._exported: set[str] = set()
        self._exports_stated, self._exports_plain = False, True
        self._fields: dict[type[ast.AST], tuple[str, ...]] = {}
        self.too_deep = not self._walk(tree)
        if not self.too_deep:
            self._settle(tree, lines)

    # --- the walk -----------------------------------------------------------------------------------

    def _walk(self, tree: ast.Module) -> bool:
        public = not any(part.startswith("_") and not part.endswith("__") for part in self._module.split("."))
        top = Scope("module", "", 1, None, public=public)
        if tree.body:
            self._define(tree, top)
        work: Work = [(tree, top, Surroundings.NONE)]
        while work:
            node, scope, guard = work.pop()
            if isinstance(node, ast.Name):
                if not isinstance(node.ctx, ast.Store):
                    self._used.setdefault(node.id, []).append((node.lineno, node.col_offset))
                continue
            if isinstance(node, ast.Constant):
                self._constant(node, guard)
                continue
            kind = type(node)
            if kind in NODE_CHECKS:
                for check in NODE_CHECKS[kind]:
                    self.flaws.extend(check(node))
            if kind in DECISIONS:
                scope.predicates += predicates(node)
            if kind not in _SPECIAL or not self._enter(node, scope, guard, work):
                if guard > _DEEPEST:
                    return False
                self._push(node, scope, guard, work, _EXTRA.get(kind, _NOTHING))
        return True

    def _push(self, node: ast.AST, scope: Scope, guard: int, work: Work, extra: Mapping[str, int]) -> None:
        kind = type(node)
        names = self._fields.get(kind)
        if names is None:
            names = self._fields[kind] = tuple(name for name in kind._fields if name not in _SILENT)
        guard += Surroundings.LEVEL
        for name in names:
            value = getattr(node, name, None)
            inner = guard | extra[name] if name in extra else guard
            if isinstance(value, list):
                if name in _BLOCKS:
                    self._block(value, inner)
                for child in value:
                    if isinstance(child, ast.AST):
                        work.append((child, scope, inner))
            elif isinstance(value, ast.AST):
                work.append((value, scope, inner))

    def _block(self, block: Block, guard: int) -> None:
        self.flaws.extend(check_block(block, probed=bool(guard & Surroundings.PROBED)))
        self._twice.extend(redefinitions(block))

    # --- scopes ------------------------------------------------------------------------------------

    def _enter(self, node: ast.AST, scope: Scope, guard: int, work: Work) -> bool:
        """Reads a special node. True when its children are pushed, or need not be."""
        match node:
            case ast.Call():
                return self._call(node, scope, guard, work)
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
                self._assign(node, scope)
                return False
            case ast.Lambda():
                self.flaws.extend(check_defaults(node))
                return False
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scope, guard, work)
            case ast.ClassDef():
                self._class(node, scope, guard, work)
            case ast.If():
                body, orelse = test_guards(node.test)
                self._push(node, scope, guard, work, {"body": body, "orelse": orelse})
            case ast.Try() | ast.TryStar():
                optional = Surroundings.OPTIONAL if expects_failure(node.handlers) else Surroundings.NONE
                handlers = optional | Surroundings.CONDITIONAL
                extra = {"body": optional | Surroundings.PROBED, "handlers": handlers, "orelse": optional}
                self._push(node, scope, guard, work, extra)
            case ast.Import() | ast.ImportFrom():
                self._import(node, scope, guard)
            case ast.Global():
                self._shared.update(node.names)
            case ast.JoinedStr():
                if node.end_lineno != node.lineno:
                    self.strings.append(_span(node))
                work.extend((part, scope, guard) for part in node.values if isinstance(part, ast.FormattedValue))
            case ast.FormattedValue():
                work.append((node.value, scope, guard))
                # the format after the colon is a JoinedStr of its own, which need not hold a placeholder
                parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
                work.extend((part, scope, guard) for part in parts if isinstance(part, ast.FormattedValue))
        return True

    def _function(self, node: Function, scope: Scope, guard: int, work: Work) -> None:
        decorators = {last_name(decorator) for decorator in node.decorator_list}
        bound = scope.kind == "class"
        self.methods += bound
        public = scope.public and scope.kind != "function" and not node.name.startswith("_")
        lines = (node.lineno, node.end_lineno or node.lineno)
        inner = Scope("function", scope.inside(node.name), node.lineno, lines, public=public)
        arguments = argument_count(node.args, bound=bound and "staticmethod" not in decorators)
        self._shapes.append((inner, arguments))
        if arguments > ARGUMENTS_MAX:
            message = f"{inner.name} takes {arguments} arguments, more than {ARGUMENTS_MAX}; group some of them"
            self.flaws.append(flaw("too-many-arguments", node, message)._replace(last=node.lineno))
        self._define(node, inner, counted=not decorators & _SAME_DOCUMENT)
        self.flaws.extend(check_defaults(node))
        outside: list[ast.AST] = [*node.decorator_list, node.args]
        work.extend((child, scope, guard) for child in outside)
        if node.returns is not None:
            work.append((node.returns, scope, guard | Surroundings.ANNOTATION))
        self._open(node, inner, scope, guard, work)

    def _class(self, node: ast.ClassDef, scope: Scope, guard: int, work: Work) -> None:
        self.classes += 1
        public = scope.public and scope.kind != "function" and not node.name.startswith("_")
        inner = Scope("class", scope.inside(node.name), node.lineno, scope.lines, public=public)
        self._define(node, inner)
        outside: list[ast.AST] = [*node.decorator_list, *node.bases, *node.keywords]
        work.extend((child, scope, guard) for child in outside)
        self._open(node, inner, scope, guard, work)

    def _open(self, node: Function | ast.ClassDef, inner: Scope, outer: Scope, guard: int, work: Work) -> None:
        work.extend((child, outer, guard | Surroundings.ANNOTATION) for child in getattr(node, "type_params", ()))
        within = guard & ~(Surroundings.PROBED | Surroundings.ANNOTATION)
        self._block(node.body, within)
        work.extend((child, inner, within) for child in node.body)

    def _define(self, node: Function | ast.ClassDef | ast.Module, scope: Scope, *, counted: bool = True) -> None:
        first = node.body[0]
        documented = False
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            self.docstrings.append(_span(first.value))
            documented = bool(first.value.value.strip())
        if counted and scope.public:
            self.definitions.append(Definition(scope.name, scope.line, documented))

    # --- names --------------------------------------------------------------------------------------

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope, guard: int) -> None:
        when = import_time(guard, in_function=scope.lines is not None)
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imports.append(ImportStatement(line=node.lineno, name=alias.name, when=when))
        else:
            name = absolute(node.module, node.level, self._module, package=self._package)
            members = tuple(alias.name for alias in node.names)
            self.imports.append(ImportStatement(line=node.lineno, name=name, members=members, when=when))
            if members == ("*",) and not self._package:
                message = f"imports every name of {name}; import by name those that are used"
                self.flaws.append(flaw("star-import", node, message))
        if scope.kind != "class":
            self._candidates.extend(bindings(node, guard, scope.lines))

    def _assign(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign, scope: Scope) -> None:
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self._used.setdefault(node.target.id, []).append((node.lineno, node.col_offset))
        if scope.kind == "module":
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                self._export(node.value)

    def _call(self, node: ast.Call, scope: Scope, guard: int, work: Work) -> bool:
        function = node.func
        if isinstance(function, ast.Attribute) and last_name(function.value) == "__all__":
            for argument in node.args:
                self._export(argument)
        if last_name(function) in _NAME_TAKERS:
            self._push(node, scope, guard, work, {"args": Surroundings.ANNOTATION, "keywords": Surroundings.ANNOTATION})
            return True
        return False

    def _export(self, value: ast.expr | None) -> None:
        self._exports_stated = True
        for part in ast.walk(value) if value is not None else ():
            if isinstance(part, ast.Constant):
                self._exported.update([part.value] if isinstance(part.value, str) else ())
            elif not isinstance(part, ast.List | ast.Tuple | ast.Set | ast.BinOp | ast.operator | ast.expr_context):
                self._exports_plain = False

    # --- strings ------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant, guard: int) -> None:
        if not isinstance(node.value, str | bytes):
            return
        if node.end_lineno != node.lineno:
            self.strings.append(_span(node))
        if guard & Surroundings.ANNOTATION and isinstance(node.value, str):
            self._names_in(node.value, node.lineno, node.col_offset)

    def _names_in(self, text: str, line: int, offset: int) -> None:
        for name in _IDENTIFIER.findall(text):
            self._used.setdefault(name, []).append((line, offset))

    # --- after the walk ----------------------------------------------------------------------------

    def _settle(self, tree: ast.Module, lines: Sequence[str]) -> None:
        for number, line in enumerate(lines, 1):
            if "type:" in line and (comment := _TYPE_COMMENT.search(line)):
                self._names_in(comment.group(1), number, 0)
        for places in self._used.values():
            places.sort()
        self.imports.sort(key=lambda found: (found.line, found.name, found.members))
        self._shapes.sort(key=lambda shape: (shape[0].line, shape[0].name))
        for scope, arguments in self._shapes:
            complexity = scope.predicates + 1
            self.functions.append(FunctionMetrics(scope.name, scope.line, complexity, arguments))
            if complexity > COMPLEXITY_MAX:
                message = f"{scope.name} has {complexity} independent paths, more than {COMPLEXITY_MAX}; split it"
                self.flaws.append(Flaw("too-complex", scope.line, 0, scope.line, message))
        self._settle_redefinitions()
        self._settle_imports(tree)
        self._settle_definitions()

    def _settle_redefinitions(self) -> None:
        for first, second, name in self._twice:
            if {last_name(decorator) for decorator in getattr(first, "decorator_list", ())} - _PLAIN_DECORATORS:
                continue  # a decorator may have stored it somewhere
            start = (first.end_lineno or first.lineno, first.end_col_offset or 0)
            if not uses_between(self._used.get(name, ()), start, (second.lineno, second.col_offset)):
                message = f"{name} replaces the one on line {first.lineno}, which was not used in between"
                self.flaws.append(flaw("redefined", second, message)._replace(last=second.lineno))

    def _settle_imports(self, tree: ast.Module) -> None:
        facade = all(is_facade(part) for part in tree.body)
        others_import_from_here = self._package or facade or not self._exports_plain
        candidates = [found for found in self._candidates if found.local_to is not None or not others_import_from_here]
        self.flaws.extend(unused(candidates, self._used, frozenset(self._exported), frozenset(self._shared)))

    def _settle_definitions(self) -> None:
        """Public is what ``__all__`` names if it is a plain list, else what has no leading underscore."""
        if self._exports_stated and self._exports_plain:
            exported = self._exported
            self.definitions = [
                found for found in self.definitions if not found.name or found.name.partition(".")[0] in exported
            ]
        self.definitions.sort(key=lambda found: (found.line, found.name))


def _span(node: ast.expr) -> Span:
    return Span(node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0)
