"""Conditions in CEL over ``payload`` and ``state``. No other name, only the listed functions, and a limit on the cost.

Theory of operation. A condition is judged in two steps: ``expressed`` when the contract loads, with the text alone, and ``bind``
when the app loads, with the classes. After that only values are missing.

``expressed`` refuses, in this order: a text that is too long or has too many brackets, what the compiler
refuses, names that begin with ``_``, unknown names, functions that are not listed, more than MACROS_MAX loops, and a text whose
cost cannot be known. The compiler reports names and functions without their places, so these are searched in the text again;
strings and comments are blanked first, so that offsets stay right and no name is found inside a string. The variable of a loop
is no unknown name. What the cost needs is the tree of the condition. The compiler shows none, so ``cel_syntax`` reads the text
a second time. Where it cannot, the condition passes only if it holds no loop, pattern or plus at all.

``bind`` looks every path up in the classes, asks ``cel_cost`` which check is needed before an evaluation, and compiles once.
``_run`` gives CEL only the fields that the condition names: a state of 60 KB is not converted to look at one number.

A guard that raises, or gives no boolean, refuses the action (promise 13). That is decided by the machine, not here.

CEL's compiler is an extension module that its package imports together with a terminal program: 300 modules, half a second.
``_extension`` loads the extension alone, under the name that the package would give it, because it can be initialised only once
in a process. Where the package is laid out in another way, the whole package is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import NamedTuple, Protocol
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from ...kernel.machine import Guard
from .cel_cost import PATTERN_POSITIONS_MAX, PATTERN_STEPS_MAX, SUBJECT_CHARS_MAX, cost_limit, loops_deep, pattern_cost
from .cel_syntax import QUOTED, CelNode, CelNotRead, cel_tree
from .problem import GuardProblem, known_field, suggest, value_in_words

PACKAGE = "cel"
EXTENSION = "cel.cel"


class CelProgram(Protocol):
    """A compiled condition, or another expression."""

    def execute(self, context: dict[str, object]) -> object: ...
    def variables(self) -> list[str]: ...
    def functions(self) -> list[str]: ...


def compile_cel(text: str) -> CelProgram:
    """Raises whatever the compiler raises for ``text``."""
    program: CelProgram = _extension().compile(text)
    return program


def _extension() -> ModuleType:
    """The compiler: as it was loaded before, else alone, else with its package."""
    loaded = sys.modules.get(EXTENSION)
    if loaded is not None:
        return loaded
    package = PathFinder.find_spec(PACKAGE)
    spec = PathFinder.find_spec(EXTENSION, package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:
        import cel

        whole: ModuleType = cel
        return whole
    module = module_from_spec(spec)
    sys.modules[EXTENSION] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[EXTENSION]
        raise
    return module


TEXT_CHARS = 4000
MACROS_MAX = 3


class CelExpression(NamedTuple):
    """``paths`` are the dotted paths that begin with payload or state, each with its offset.

    ``node`` is None when the cost is surely small; ``deep`` is the largest number of loops within one another.
    """

    text: str
    paths: tuple[tuple[tuple[str, ...], int], ...]
    node: CelNode | None
    deep: int = 0


_CLOCK = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")
# fmt: off
_FUNCTIONS = frozenset((
    "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "type", "dyn",
    "timestamp", "duration", *(f"get{part}" for part in _CLOCK), "getMilliseconds",
))
# fmt: on
_QUOTED = re.compile(rf"{QUOTED}|//[^\n]*")
_COSTLY = re.compile(r"\b(?:all|exists|exists_one|existsOne|map|filter|matches)\b|\+")
_CHAIN = re.compile(r"(?<![\w.])(payload|state)((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_PRIVATE = re.compile(r"(^|\W)(_\w*)\b(?!\s*\()")
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_CEL_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def expressed(text: str) -> CelExpression:
    """Raises GuardProblem for what CEL does not parse, for unknown names and functions, and for an unknown cost."""
    if len(text) > TEXT_CHARS:
        message = f"the condition has {len(text):,} characters; {TEXT_CHARS:,} are read"
        raise GuardProblem(0, "guard_too_heavy", message, "decide in the reducer instead")
    if text.count("(") + text.count("[") + text.count("{") > 60:
        raise GuardProblem(0, "guard_syntax", "the condition has too many brackets", "move the decision into a field")
    try:
        program = compile_cel(text)
    except Exception as error:  # the compiler has one class for all errors
        found = _CEL_PLACE.search(str(error))
        lines = text.splitlines() or [""]
        line, column = (int(found[1]), int(found[2])) if found else (1, 1)
        offset = sum(len(before) + 1 for before in lines[: line - 1]) + column - 1
        said = (
            (found[3] if found else str(error).splitlines()[0]).split(" expecting {")[0].replace("'<EOF>'", "the end")
        )
        raise GuardProblem(
            offset, "guard_syntax", f"{said}", "write `field operator value`, or CEL over payload and state"
        ) from error
    # strings and comments are blanked: offsets stay, and no name is found inside them
    code = _QUOTED.sub(lambda quoted: " " * len(quoted.group()), text)
    if private := _PRIVATE.search(code):
        message = f"{private[2]!r} begins with _: it is private"
        raise GuardProblem(private.start(2), "guard_field", message, "name a field that does not begin with _")
    bound = {found[2] for found in _MACRO.finditer(code)}
    for name in program.variables():
        if name not in bound and name not in ("payload", "state"):
            found = re.search(rf"(?<![\w.]){re.escape(name)}\b", code)
            offset = found.start() if found else 0
            raise GuardProblem(
                offset, "guard_field", f"CEL does not know {name!r}", f"write payload.{name} or state.{name}"
            )
    for name in program.functions():
        if name.isidentifier() and name not in _FUNCTIONS:
            found = re.search(rf"\b{re.escape(name)}\s*\(", code)
            known = sorted(_FUNCTIONS)
            raise GuardProblem(
                found.start() if found else 0,
                "guard_function",
                f"there is no function {name!r}",
                suggest(name, known) or f"there are {' '.join(known)}",
            )
    macros = len(_MACRO.findall(code))
    if macros > MACROS_MAX:
        raise GuardProblem(0, "guard_too_heavy", f"{macros} loops in one condition", f"use at most {MACROS_MAX}")
    paths = []
    for found in _CHAIN.finditer(code):
        names = tuple(re.findall(r"\w+", found[2]))
        # the last name before a round bracket is a function, not a field
        paths.append(((found[1], *(names[:-1] if found[3] else names)), found.start()))
    node = _tree(text, code)
    return CelExpression(text, tuple(paths), node, loops_deep(node) if node is not None else 0)


def _tree(text: str, code: str) -> CelNode | None:
    """Raises GuardProblem for a cost that cannot be bounded."""
    try:
        made = cel_tree(text)
    except CelNotRead as error:
        if _COSTLY.search(code) is None:
            return None
        message = f"the cost of the condition cannot be known: {error}"
        raise GuardProblem(0, "guard_too_heavy", message, "write it more simply, or decide in the reducer") from error
    _judge_patterns(made)
    return made


def _judge_patterns(node: CelNode) -> None:
    if node.kind == "call" and node.word == "matches" and node.of:
        pattern = node.of[-1]
        if pattern.kind != "text":
            message = "the pattern is not written here, so its cost cannot be known"
            raise GuardProblem(node.at, "guard_pattern", message, "write the pattern in quotes")
        matching(pattern.word, pattern.at)
    for part in node.of:
        _judge_patterns(part)


def bind(parsed: CelExpression, state: type[BaseModel], payload: type[BaseModel]) -> Guard:
    """The guard over these classes, compiled once. Raises GuardProblem for a field that is not there."""
    for path, offset in parsed.paths:
        known_field(payload if path[0] == "payload" else state, path[0], path[1:], offset + len(path[0]) + 1)

    def short(node: CelNode) -> bool:
        """Whether the value is surely no text and no list, which a plus would make longer."""
        if node.kind in ("number", "pair") or (node.kind == "call" and node.word in _SHORT):
            return True
        if node.kind in ("sum", "choice"):
            return all(map(short, node.of[node.kind == "choice" :]))
        names = [node.word]
        while node.kind == "member":
            node = node.of[0]
            names.insert(0, node.word)
        if node.kind != "name" or node.word not in ("payload", "state") or len(names) == 1:
            return False
        types = known_field(payload if node.word == "payload" else state, node.word, tuple(names[1:]), 0)
        return all(one in _PLAIN_TYPES for one in types)

    judge = cost_limit(parsed.node, short) if parsed.node is not None else None
    holds = _run(parsed)
    if judge is None:
        return Guard(parsed.text, holds)
    affordable = judge

    def holds_if_affordable(state: BaseModel, payload: BaseModel) -> bool:
        affordable({"payload": payload, "state": state})
        return holds(state, payload)

    return Guard(parsed.text, holds_if_affordable)


_SHORT = frozenset(("size", "int", "uint", "double", "duration", "timestamp", *(f"get{part}" for part in _CLOCK)))
_PLAIN_TYPES = (int, float, bool, datetime, date, AwareDatetime, type(None))


def _run(parsed: CelExpression) -> Callable[[BaseModel, BaseModel], bool]:
    program = compile_cel(parsed.text)
    used: dict[str, set[str] | None] = {}
    for path, _ in parsed.paths:
        names = used.setdefault(path[0], set())
        if len(path) == 1:
            used[path[0]] = None
        elif names is not None:
            names.add(path[1])

    def holds(state: BaseModel, payload: BaseModel) -> bool:
        context: dict[str, object] = {}
        for root, names in used.items():
            value = payload if root == "payload" else state
            fields = value.__dict__
            shown = fields if names is None else {name: fields[name] for name in names}
            context[root] = {name: _simple(field) for name, field in shown.items()}
        answer = program.execute(context)
        if not isinstance(answer, bool):
            raise TypeError(f"it gives {value_in_words(answer)}, neither true nor false")
        return answer

    return holds


def matching(pattern: str, offset: int) -> Callable[[object, object], bool]:
    """A test whether ``pattern`` matches anywhere in a text, in linear time. Raises GuardProblem for what is no pattern."""
    positions, steps = pattern_cost(pattern)
    if positions > PATTERN_POSITIONS_MAX or steps > PATTERN_STEPS_MAX:
        message = (
            f"the pattern has {positions:,} places, all its repetitions counted; {PATTERN_POSITIONS_MAX:,} are allowed"
        )
        if positions <= PATTERN_POSITIONS_MAX:
            message = r"the pattern repeats large classes (\w, \p) so often that it takes milliseconds to build"
        raise GuardProblem(
            offset, "guard_too_heavy", message, "repeat less, or compare the length in a second condition"
        )
    program = compile_cel("subject.matches(pattern)")
    try:
        program.execute({"subject": "", "pattern": pattern})
    except Exception as error:
        lines = str(error).splitlines()
        why = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
        raise GuardProblem(
            offset, "guard_pattern", f"{pattern!r} is not a pattern: {why.split('. Check')[0]}", "correct the pattern"
        ) from error

    def holds(left: object, right: object) -> bool:
        if not isinstance(left, str):
            raise TypeError(f"{value_in_words(left)} is not text")
        if len(left) > SUBJECT_CHARS_MAX:
            raise ValueError(f"the text has {len(left)} characters; patterns look at most at {SUBJECT_CHARS_MAX}")
        return program.execute({"subject": left, "pattern": pattern}) is True

    return holds


def _simple(value: object) -> object:
    """What CEL knows: models become maps, ids and dates their text."""
    if isinstance(value, StrEnum | UUID):
        return str(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return {name: _simple(part) for name, part in value.__dict__.items()}
    if isinstance(value, dict):
        return {name: _simple(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_simple(part) for part in value]
    return value
