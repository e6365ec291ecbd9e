"""From a handler to everything it reaches: which lines of the repository use the world, and by which chain of calls.

Theory of operation. ``entry_units`` says where a runtime enters a handler: a function itself; of a class its constructors, and the
methods that runtimes call by name or that the contract names as operations; if it has none of them, every
public method of its own.
``reach`` then searches breadth first over the traces of `function_body`. The first way that is found to a unit is a shortest one,
and it is the one that is reported. A unit is read once, however many ways lead to it, so a circle of calls ends the search.

Two queues make the result useful. What only a ``raise`` leads to waits in the second one until the first is empty. So each unit
that a normal way reaches is reported with that way, and ``failing`` is True only for what no normal way reaches. What is found
from a failing unit is failing as well, whatever the edge says.

After 20,000 units the search stops and ``whole`` is False: the claim is then at best unproven. The roots are taken in their order
and each trace lists its references in the order of the text, so the same code gives the same chains on every machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .function_body import FunctionTraces
from .symbols import ClassSymbol, FunctionSymbol, Symbol
from .trace import CodeUnit, ImpureUse, UnitKey, unit_of

FUNCTIONS_MAX: Final = 20_000

ENTRY_METHODS: Final = frozenset({
    "__call__", "handle", "handle_async", "handle_event", "process", "process_async", "execute", "execute_compute",
    "execute_reduction", "run", "run_async", "compute", "reduce", "apply", "transform", "evaluate", "delta", "on_event",
    "invoke", "call", "validate", "classify", "analyze",
})  # fmt: skip
"""Methods that runtimes call. A class that has none of them is entered by every public method."""


class CallSite(NamedTuple):
    """A step on the way to a finding: what is called, and the file and line where the call is written."""

    name: str
    path: str
    line: int


class ReachedUse(NamedTuple):
    """``chain`` begins with the entry and ends with the function that holds ``touch``; ``failing``: only a ``raise`` leads
    there.
    """

    touch: ImpureUse
    path: str
    chain: tuple[CallSite, ...]
    failing: bool


@dataclass(slots=True)
class ReachResult:
    """``functions`` counts the units that were read; ``whole`` is False when the limit stopped the search."""

    encounters: list[ReachedUse] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    functions: int = 0
    whole: bool = True


def entry_units(bodies: FunctionTraces, handler: Symbol, operations: Iterable[str] = ()) -> Iterator[CodeUnit]:
    """Where a runtime enters the handler; nothing for a symbol that is neither function nor class."""
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
    """Everything that the roots reach, each unit once. The same roots give the same result, in the same order."""
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
            unit, key, link = later.popleft()
            if unit.key in came:
                continue
            came[unit.key] = (key, link)
            waiting.append(unit)
        if result.functions == FUNCTIONS_MAX:
            result.whole = False
            break
        unit = waiting.popleft()
        result.functions += 1
        trace = bodies.trace(unit)
        result.outside |= trace.outside
        for touch in trace.touches:
            result.encounters.append(ReachedUse(touch, unit.module.path, _chain(came, unit), failing or touch.failing))
        for reached in trace.reached:
            if reached.unit.key in came:
                continue
            link = CallSite(reached.unit.name, unit.module.path, reached.line)
            if reached.failing and not failing:
                later.append((reached.unit, unit.key, link))
            else:
                came[reached.unit.key] = (unit.key, link)
                waiting.append(reached.unit)
    return result


def _chain(came: dict[UnitKey, tuple[UnitKey | None, CallSite]], unit: CodeUnit) -> tuple[CallSite, ...]:
    links = []
    key: UnitKey | None = unit.key
    while key is not None:
        key, link = came[key]
        links.append(link)
    return tuple(reversed(links))
