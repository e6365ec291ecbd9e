"""From a handler to everything it reaches: which lines of the repository touch the world, and by which way one gets there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .function_body import FunctionTraces
from .symbols import ClassSymbol, FunctionSymbol, Symbol
from .trace import CodeUnit, ImpureUse, UnitKey, unit_of

FUNCTIONS_MAX: Final = 20_000

ENTRY_METHODS: Final = frozenset(
    [
        "__call__",
        "handle",
        "handle_async",
        "handle_event",
        "process",
        "process_async",
        "execute",
        "execute_compute",
        "execute_reduction",
        "run",
        "run_async",
        "compute",
        "reduce",
        "apply",
        "transform",
        "evaluate",
        "delta",
        "on_event",
        "invoke",
        "call",
        "validate",
        "classify",
        "analyze",
    ]
)
"""Methods that a runtime calls; a class that has none of them is entered by every public method."""


class CallSite(NamedTuple):
    """A step on the way to a finding: what is called, and the file and line where the call is written."""

    name: str
    path: str
    line: int


class ReachedUse(NamedTuple):
    """``chain`` begins with the entry and ends with the function in which ``touch`` stands; ``failing``: only errors go it."""

    touch: ImpureUse
    path: str
    chain: tuple[CallSite, ...]
    failing: bool


@dataclass(slots=True)
class ReachResult:
    """``functions`` counts what was read; ``whole`` is False when there was more than may be read."""

    encounters: list[ReachedUse] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    functions: int = 0
    whole: bool = True


def entry_units(bodies: FunctionTraces, handler: Symbol, operations: Iterable[str] = ()) -> Iterator[CodeUnit]:
    """Where a runtime enters the handler: a function itself, of a class its constructor and the methods for operations."""
    if isinstance(handler, FunctionSymbol):
        yield unit_of(handler)
    elif isinstance(handler, ClassSymbol):
        methods = list(bodies.classes.methods(handler))
        wanted = ENTRY_METHODS | {name.rpartition(".")[2] for name in operations}
        named = [one for one in methods if one.node.name in wanted]
        chosen = named or [one for one in methods if one.owner == handler and not one.node.name.startswith("_")]
        made = [one for one in methods if one.node.name in ("__init__", "__new__", "__post_init__")]
        yield from map(unit_of, [*chosen, *made])


def reach(bodies: FunctionTraces, roots: Sequence[CodeUnit]) -> ReachResult:
    """Breadth first, so that each chain is a shortest one; what only a ``raise`` leads to comes after everything else.

    The same roots give the same result, in the same order.
    """
    result = ReachResult()
    came: dict[UnitKey, tuple[UnitKey | None, CallSite]] = {}
    waiting: deque[CodeUnit] = deque()
    later: deque[tuple[CodeUnit, UnitKey, CallSite]] = deque()
    for root in roots:
        if root.key not in came:
            came[root.key] = (None, CallSite(root.name, root.module.path, root.node.lineno))
            waiting.append(root)
    failing = False
    while waiting or later:
        if not waiting:
            failing = True
            task, key, link = later.popleft()
            if task.key in came:
                continue
            came[task.key] = (key, link)
            waiting.append(task)
        if result.functions == FUNCTIONS_MAX:
            result.whole = False
            break
        task = waiting.popleft()
        result.functions += 1
        trace = bodies.trace(task)
        result.outside |= trace.outside
        for touch in trace.touches:
            result.encounters.append(ReachedUse(touch, task.module.path, _chain(came, task), failing or touch.failing))
        for reached in trace.reached:
            if reached.task.key in came:
                continue
            link = CallSite(reached.task.name, task.module.path, reached.line)
            if reached.failing and not failing:
                later.append((reached.task, task.key, link))
            else:
                came[reached.task.key] = (task.key, link)
                waiting.append(reached.task)
    return result


def _chain(came: dict[UnitKey, tuple[UnitKey | None, CallSite]], task: CodeUnit) -> tuple[CallSite, ...]:
    links = []
    key: UnitKey | None = task.key
    while key is not None:
        key, link = came[key]
        links.append(link)
    return tuple(reversed(links))
