"""Checks of the tasks of an orchestration: what each does, what it waits for, and that the whole can end.

All is judged on what the contract says, without a class of Python. Whether a path leads somewhere is judged when the app loads
(``onex.orchestration``), since only then the classes are known.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from ...kernel.finding import EnumSeverity, Finding
from ...kernel.step import State
from ..guard.problem import suggest
from ..model.orchestration import EnumWorkflowCoordination, ModelCall, ModelOrchestration, ModelTask
from ..model.target import BLOCKS
from ..text.yaml_tree import Loc, YamlMap, place_of

RESERVED = frozenset({"input", "plan", "item", "index", "payload", "state", "task", "dict", "json"})
"""Names that a task cannot have, beside those of a state's own attributes: paths and the state use them."""
CALLED = frozenset(
    {*BLOCKS, "type", "payload", "result", "with", "retry", "delivery", "priority", "timeout_ms", "compensate"}
)
EACH_DOES = ("effect", "compute", "workflow", "stages")
"""What a map may do with each item."""
_ALWAYS = frozenset({"id", "description", "depends_on", "when", "on_failure"})
_KEYS: Mapping[str, frozenset[str]] = {
    "effect": CALLED,
    "compute": CALLED - {"type", "delivery", *BLOCKS},
    "workflow": frozenset({"with", "compensate", "deadline_ms"}),
    "map": CALLED - {"compensate"} | {"effect", "compute", "workflow", "stages", "deadline_ms"},
    "signal": frozenset({"payload", "deadline_ms"}),
    "approval": frozenset({"deadline_ms"}),
    "wait_ms": frozenset(),
    "wait_until": frozenset(),
}
"""kind of a task -> keys that have an effect, beside those that each may have."""
_STATE_PATH = re.compile(r"(?:^\s*|\bstate\.)([a-z][a-z0-9_]*)")


def paths_in(call: ModelCall) -> Iterator[str]:
    """The paths under ``with``."""
    given = call.given
    for value in given.values() if isinstance(given, dict) else (given,):
        if isinstance(value, str):
            yield value


def needs(plan: ModelOrchestration) -> dict[str, tuple[str, ...]]:
    """``needs[task] -> what must have ended before``: what it says or what the mode says, and the tasks whose results it takes."""
    ids = {task.id for task in plan.tasks}
    found: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for task in plan.tasks:
        said = task.depends_on
        if said is None:
            alone = plan.mode is EnumWorkflowCoordination.PARALLEL or (
                plan.mode is EnumWorkflowCoordination.EVENT_DRIVEN and task.signal is not None
            )
            said = () if alone else before
        taken = [path.partition(".")[0] for path in (*paths_in(task), task.wait_until or "")]
        if task.map is not None:
            taken += [str(path).partition(".")[0] for path in (task.map.over, task.map.count)]
        taken += _STATE_PATH.findall(task.when or "")
        found[task.id] = tuple(dict.fromkeys((*said, *(name for name in taken if name in ids))))
        before = (task.id,)
    return found


def check_tasks(tree: YamlMap, plan: ModelOrchestration, path: str) -> Iterator[Finding]:
    return _Checks(tree, plan, path).run()


class _Checks:
    def __init__(self, tree: YamlMap, plan: ModelOrchestration, path: str) -> None:
        self.tree, self.plan, self.path = tree, plan, path
        self.ids = [task.id for task in plan.tasks]

    def run(self) -> Iterator[Finding]:
        if not self.plan.tasks:
            yield self._error(("tasks",), "bad_length", "tasks is empty", "add one, or write a state_machine")
            return
        for key in ("state_machine", "state_model"):
            if key in self.tree.entries:
                message = f"an orchestration has no {key}: it is made of its tasks"
                yield self._error((key,), "unused_key", message, f"remove {key}, or remove tasks")
        seen = Counter(self.ids)
        triggers = Counter(task.signal for task in self.plan.tasks if task.signal)
        for n, task in enumerate(self.plan.tasks):
            at: Loc = ("tasks", n)
            if seen[task.id] > 1:
                yield self._error((*at, "id"), "duplicate", f"two tasks are called {task.id!r}", "rename one of them")
            if task.id in RESERVED or hasattr(State, task.id) or task.id in State.model_fields:
                yield self._error((*at, "id"), "reserved_name", f"no task can be called {task.id!r}", "rename it")
            if task.signal and triggers[task.signal] > 1:
                message = f"two tasks wait for the signal {task.signal!r}"
                yield self._error((*at, "signal"), "duplicate", message, "let one task wait, and others depend on it")
            yield from self._form(task, at)
        yield from self._order()

    def _form(self, task: ModelTask, at: Loc) -> Iterator[Finding]:
        said = [kind for kind in _KEYS if getattr(task, kind) is not None]
        if task.map is not None:
            said = [kind for kind in said if kind not in EACH_DOES]
            yield from self._map(task, at)
        if len(said) != 1:
            message = f"task {task.id!r} does {' and '.join(said) or 'nothing'}; it must do one thing"
            yield self._error(at, "task_kind", message, f"give it one of {', '.join(_KEYS)}")
            return
        kind = task.kind
        for key in sorted(task.model_fields_set - _ALWAYS - _KEYS[kind] - {kind}):
            fix = "write timeout_ms: how long one try may take" if key == "deadline_ms" else f"remove {key}"
            yield self._error((*at, key), "unused_key", f"{key} does nothing in a task that is a {kind}", fix)
        if kind == "approval" and task.deadline_ms is None:
            message = f"approval {task.id!r} has no deadline: it could wait for ever"
            yield self._error(at, "no_deadline", message, "add deadline_ms, for example 259200000 (three days)")
        if task.compensate is not None and (task.compensate.effect is None) == (task.compensate.compute is None):
            message = f"what undoes {task.id!r} is one effect or one compute"
            yield self._error((*at, "compensate"), "task_kind", message, "write compensate: {effect: NAME, with: ...}")

    def _map(self, task: ModelTask, at: Loc) -> Iterator[Finding]:
        assert task.map is not None
        calls = [kind for kind in EACH_DOES if getattr(task, kind) is not None]
        if len(calls) != 1:
            message = f"map {task.id!r} does {' and '.join(calls) or 'nothing'} with each item"
            yield self._error(at, "task_kind", message, f"give it one of {', '.join(EACH_DOES)}")
        if task.stages is not None and task.payload is None:
            message = f"nothing says what an item of {task.id!r} begins with"
            yield self._error(at, "missing_key", message, "add payload: CLASS, which its stages call input")
        if (task.map.over is None) == (task.map.count is None):
            message = f"map {task.id!r} goes over a list or up to a number"
            yield self._error((*at, "map"), "map_items", message, "write over: PATH, or count: NUMBER")
        if isinstance(task.map.count, str) and task.map.at_most is None:
            message = f"map {task.id!r} is unbounded: {task.map.count} may be any number"
            yield self._error((*at, "map", "count"), "unbounded", message, "add at_most: the most items there may be")

    def _order(self) -> Iterator[Finding]:
        for n, task in enumerate(self.plan.tasks):
            for m, name in enumerate(task.depends_on or ()):
                if name not in self.ids:
                    fix = suggest(name, self.ids) or f"there is {', '.join(self.ids)}"
                    message = f"task {task.id!r} waits for {name!r}, which is no task"
                    yield self._error(("tasks", n, "depends_on", m), "unknown_task", message, fix)
        graph = needs(self.plan)
        try:
            TopologicalSorter(
                {task: [name for name in before if name in graph] for task, before in graph.items()}
            ).prepare()
        except CycleError as error:
            ring: list[str] = error.args[1]
            n = self.ids.index(ring[0])
            message = f"these tasks wait for each other: {' -> '.join(reversed(ring))}"
            yield self._error(("tasks", n), "cycle", message, "remove one depends_on, or one path to a later task")

    def _error(self, loc: Loc, code: str, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *place_of(self.tree, loc).spot(self.path), message, fix)
