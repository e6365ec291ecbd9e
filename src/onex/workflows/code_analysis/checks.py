"""The checks that look at one node only. None knows what comes before or after.

``NODE_CHECKS[type(node)]`` -> checks to call; checks that need scopes (unused imports, redefinitions) are in ``module_scan``.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from .finding import printable


class Flaw(NamedTuple):
    """A finding in the coordinates of the parser. ``offset`` is in UTF-8 bytes from 0; ``last`` is the node's last line."""

    code: str
    line: int
    offset: int
    last: int
    message: str


Found = Iterable[Flaw]
Located = ast.stmt | ast.expr | ast.excepthandler | ast.alias | ast.arg
Block = list[ast.stmt]
Function = ast.FunctionDef | ast.AsyncFunctionDef

_N = TypeVar("_N", bound=ast.AST)

NODE_CHECKS: Final[dict[type[ast.AST], list[Callable[[ast.AST], Found]]]] = {}

_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_MUTABLE_DISPLAYS: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MUTABLE_CALLS: Final = frozenset(
    {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"}
)
_FILE_USES: Final = frozenset({"read", "readline", "readlines", "write", "writelines"})


def flaw(code: str, node: Located, message: str) -> Flaw:
    return Flaw(code, node.lineno, node.col_offset, node.end_lineno or node.lineno, message)


def _on(kind: type[_N]) -> Callable[[Callable[[_N], Found]], Callable[[_N], Found]]:
    def register(check: Callable[[_N], Found]) -> Callable[[_N], Found]:
        def guarded(node: ast.AST) -> Found:
            return check(node) if isinstance(node, kind) else ()

        NODE_CHECKS.setdefault(kind, []).append(guarded)
        return check

    return register


def last_name(node: ast.expr | None) -> str:
    """``b`` of the expressions ``b`` and ``a.b``; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


# --- exceptions -------------------------------------------------------------------------------------


@_on(ast.ExceptHandler)
def handler_catches_all(handler: ast.ExceptHandler) -> Iterator[Flaw]:
    """At most one finding per handler. A bare one that raises again is fine. One that catches all and does nothing is worst."""
    caught = last_name(handler.type)
    if handler.type is not None and caught not in ("Exception", "BaseException"):
        return
    if all(_does_nothing(statement) for statement in handler.body):
        shown = f"except {caught}" if caught else "a bare except"
        message = f"{shown} ignores every error; name the expected ones, or log what happened"
        yield flaw("swallowed-exception", handler, message)
    elif handler.type is None and not any(isinstance(part, ast.Raise) for part in within(handler.body)):
        yield flaw("bare-except", handler, "bare except catches KeyboardInterrupt too; write `except Exception:`")


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass | ast.Continue)


@_on(ast.Try)
def loses_exceptions(node: ast.Try) -> Iterator[Flaw]:
    yield from _shadowed(node.handlers)
    yield from _escapes(node.finalbody)


@_on(ast.TryStar)
def loses_exceptions_of_group(node: ast.TryStar) -> Iterator[Flaw]:
    yield from _shadowed(node.handlers)
    yield from _escapes(node.finalbody)


def _shadowed(handlers: list[ast.ExceptHandler]) -> Iterator[Flaw]:
    lines: dict[str, int] = {}
    broad: list[str] = []  # the built-in ones among them: only of those the classes below are known
    for handler in handlers:
        parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        for name in names:
            earlier = name if name in lines else next((seen for seen in broad if _is_below(name, seen)), None)
            if earlier is not None:
                message = f"`except {earlier}` on line {lines[earlier]} catches {name} already"
                yield flaw("shadowed-handler", handler, message)
                break
        for name in names:
            if name not in lines and isinstance(getattr(builtins, name, None), type):
                broad.append(name)
            lines.setdefault(name, handler.lineno)


def _is_below(name: str, seen: str) -> bool:
    narrow, broad = getattr(builtins, name, None), getattr(builtins, seen, None)
    return isinstance(narrow, type) and isinstance(broad, type) and issubclass(narrow, broad)


def _escapes(block: Block) -> Iterator[Flaw]:
    waiting = [(statement, False) for statement in block]
    while waiting:
        statement, looping = waiting.pop()
        if isinstance(statement, ast.Return) or (not looping and isinstance(statement, ast.Break | ast.Continue)):
            word = type(statement).__name__.lower()
            yield flaw("finally-escape", statement, f"`{word}` in finally throws away the exception on its way out")
        elif not isinstance(statement, _DEFINITIONS):
            inner = looping or isinstance(statement, _LOOPS)
            waiting.extend((child, inner) for part in blocks(statement) for child in part)


@_on(ast.Raise)
def raises_notimplemented(node: ast.Raise) -> Iterator[Flaw]:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    if isinstance(raised, ast.Name) and raised.id == "NotImplemented":
        yield flaw("raise-notimplemented", node, "NotImplemented is no exception; raise NotImplementedError")


# --- expressions ------------------------------------------------------------------------------------


@_on(ast.Compare)
def compares(node: ast.Compare) -> Iterator[Flaw]:
    left = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.Is | ast.IsNot):
            literal = _literal(left) or _literal(right)
            if literal:
                better = "==" if isinstance(operator, ast.Is) else "!="
                yield flaw(
                    "literal-identity",
                    node,
                    f"identity with {literal} depends on the interpreter; compare with `{better}`",
                )
        elif isinstance(operator, ast.Eq | ast.NotEq):
            single = _singleton(left) or _singleton(right)
            if single and not (isinstance(left, ast.Constant) and isinstance(right, ast.Constant)):
                better = "is" if isinstance(operator, ast.Eq) else "is not"
                yield flaw("singleton-comparison", node, f"compared to {single} by equality; write `{better} {single}`")
        left = right


def _singleton(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)):
        return str(node.value)
    return ""


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return "" if node.value is None or node.value is ... or isinstance(node.value, bool) else "a literal"
    if isinstance(node, ast.Tuple | ast.List | ast.Dict | ast.Set):
        return f"a {type(node).__name__.lower()} display"
    return ""


@_on(ast.Dict)
def repeats_key(node: ast.Dict) -> Iterator[Flaw]:
    """A key that is given twice with the same literal loses nothing, so it is no finding."""
    # Keyed by (family, value): True and 1 are one key to Python; str and bytes never, and comparing them may warn.
    seen: dict[tuple[str, object], ast.expr] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant):
            continue
        family = "number" if isinstance(key.value, bool | int | float | complex) else type(key.value).__name__
        earlier = seen.setdefault((family, key.value), value)
        if earlier is not value and not _same_literal(earlier, value):
            message = f"the key {_shown(key.value)} was given before, its value on line {earlier.lineno} is lost"
            yield flaw("duplicate-key", key, message)


def _same_literal(one: ast.expr, other: ast.expr) -> bool:
    if not (isinstance(one, ast.Constant) and isinstance(other, ast.Constant)):
        return False
    return type(one.value) is type(other.value) and one.value == other.value


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"of {value.bit_length()} bits"  # Python refuses to write out integers beyond a length
    return printable(repr(value), 60)


@_on(ast.JoinedStr)
def formats_nothing(node: ast.JoinedStr) -> Iterator[Flaw]:
    if not any(isinstance(part, ast.FormattedValue) for part in node.values):
        yield flaw("empty-fstring", node, "f-string without a placeholder; drop the f or add the value")


@_on(ast.Call)
def leaves_file_open(node: ast.Call) -> Iterator[Flaw]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in _FILE_USES and _opens(node.func.value):
        yield flaw("unclosed-file", node, f"open(...).{node.func.attr}() leaves the file open; use `with open(...)`")


@_on(ast.For)
def iterates_open_file(node: ast.For) -> Iterator[Flaw]:
    if _opens(node.iter):
        yield flaw("unclosed-file", node, "the loop leaves the file open; use `with open(...)`")


def _opens(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"


# --- statements -------------------------------------------------------------------------------------


@_on(ast.Assert)
def asserts_tuple(node: ast.Assert) -> Iterator[Flaw]:
    if isinstance(node.test, ast.Tuple) and node.test.elts:
        yield flaw("assert-tuple", node, "a tuple is always true; drop the parentheses")


def check_defaults(node: Function | ast.Lambda) -> Iterator[Flaw]:
    for default in [*node.args.defaults, *node.args.kw_defaults]:
        made = isinstance(default, ast.Call) and last_name(default.func) in _MUTABLE_CALLS
        if default is not None and (made or isinstance(default, _MUTABLE_DISPLAYS)):
            message = "the default is one object shared by all calls; take None and make it inside"
            yield flaw("mutable-default", default, message)


def check_block(block: Block, *, probed: bool) -> Iterator[Flaw]:
    """The statements of one block. In a ``with`` or ``try`` (``probed``) a bare comparison may be there for the error it raises."""
    ended = ""
    for statement in block:
        if ended:
            if not _makes_generator(block, statement):
                yield flaw("unreachable", statement, f"never executed: the block ends with the {ended} above")
            break
        if isinstance(statement, ast.Return | ast.Raise | ast.Break | ast.Continue):
            ended = f"`{type(statement).__name__.lower()}`"
        elif not probed and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Compare):
            yield flaw("discarded-comparison", statement, "the result is not used; was `assert` or `=` meant?")


def _makes_generator(block: Block, statement: ast.stmt) -> bool:
    """``return`` followed by ``yield`` makes an empty generator."""
    return statement is block[-1] and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield)


def redefinitions(block: Block) -> Iterator[tuple[ast.stmt, ast.stmt, str]]:
    """(first, second, name) of functions or classes in one block; a use between the two makes it legitimate."""
    last: dict[str, ast.stmt] = {}
    for statement in block:
        if not isinstance(statement, Function | ast.ClassDef):
            continue
        if statement.name in last and statement.name != "_":
            yield last[statement.name], statement, statement.name
        last[statement.name] = statement


# --- blocks -----------------------------------------------------------------------------------------


def blocks(statement: ast.AST) -> Iterator[Block]:
    """The statement lists right inside a statement, cases and handlers included."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list):
            yield block
    for name in ("handlers", "cases"):
        for part in getattr(statement, name, ()):
            yield part.body


def within(block: Block) -> Iterator[ast.stmt]:
    """Every statement of the block and below, but not inside functions and classes defined there."""
    waiting = list(block)
    while waiting:
        statement = waiting.pop()
        yield statement
        if not isinstance(statement, _DEFINITIONS):
            waiting.extend(child for part in blocks(statement) for child in part)
