"""The tasks of a contract, joined with the classes they name: a compiled plan, or findings at the places of the tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel, create_model

from ..contracts.check.contract_checks import guard_finding
from ..contracts.compile import BUILT_IN_PAYLOADS, LocatedContract
from ..contracts.guard.guards import bind, parse
from ..contracts.guard.problem import GuardProblem, suggest
from ..contracts.model.orchestration import ModelCall, ModelMap, ModelTask
from ..contracts.model.payload_fields import NoSuchField, reach, unwrap
from ..contracts.orchestration.expansion import (
    DECISION,
    RERUN_TASK,
    child_input,
    child_type,
    ended_name,
    payload_name,
    result_name,
    state_name,
    undo_of,
)
from ..contracts.orchestration.task_checks import needs
from ..contracts.text.yaml_tree import Loc, YamlScalar, node_at, place_of
from ..kernel.action import Nothing
from ..kernel.finding import EnumSeverity, Finding, errors
from ..kernel.machine import Guard, Handlers
from ..kernel.step import State
from ..kernel.user_code import caught
from .compiled_plan import CompiledCall, CompiledMap, CompiledPlan, CompiledTask
from .given import INDEX, ITEM, GivenProblem, Names, payload_of
from .handlers import handlers_of
from .progress import Decision, Ended, PlanState, RerunTask, ended_class, gathered_class, state_class

Shape = tuple[type[BaseModel], type[BaseModel]]
"""What a function takes and returns."""


@dataclass(frozen=True, slots=True)
class Functions:
    """What serves the calls of the app: ``effects[target]`` and ``computes[name]``."""

    effects: Mapping[str, Shape] = field(default_factory=dict)
    computes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildClasses:
    """What a child begins with, what it gives, and how it says so."""

    input: type[BaseModel]
    result: type[BaseModel] | None
    ended: type[Ended]


NO_CHILDREN: Mapping[str, ChildClasses] = {}


@dataclass(frozen=True, slots=True)
class JoinedPlan:
    """``handlers`` and ``as_child`` are None where a finding is an error. ``classes`` are all that the contract names."""

    classes: Mapping[str, object]
    handlers: Handlers[State] | None
    findings: tuple[Finding, ...]
    as_child: ChildClasses | None = None


def joined(
    located: LocatedContract,
    classes: Mapping[str, object],
    declared: Mapping[str, type[BaseModel]],
    functions: Functions,
    children: Mapping[str, ChildClasses] = NO_CHILDREN,
    replies: frozenset[str] = frozenset(),
) -> JoinedPlan:
    """``classes`` are the names of payloads.py, ``declared`` the models of the contract, which may not have one of these names.

    ``children[type]`` are the orchestrations that its tasks begin. ``replies`` are its messages to those that begin it.
    """
    return _Join(located, classes, declared, functions, children, replies).run()


class _Join:
    def __init__(
        self,
        located: LocatedContract,
        classes: Mapping[str, object],
        declared: Mapping[str, type[BaseModel]],
        functions: Functions,
        children: Mapping[str, ChildClasses],
        replies: frozenset[str],
    ) -> None:
        self.contract, self.tree, self.path = located.contract, located.tree, located.path
        self.functions, self.children, self.replies = functions, children, replies
        self.own = classes
        self.findings: list[Finding] = []
        for name in declared:
            if name in classes or name in BUILT_IN_PAYLOADS or name in (DECISION, RERUN_TASK):
                message = f"the model {name} has the name of a class of payloads.py or of onex"
                self._error(("models", name), "reserved_name", message, "rename one of them")
        self.classes: dict[str, object] = {
            **BUILT_IN_PAYLOADS,
            DECISION: Decision,
            RERUN_TASK: RerunTask,
            **classes,
            **declared,
        }
        self.state: type[PlanState] = PlanState
        self._lacks_child = False  # the items of a map are an orchestration of their own, which has a finding

    def run(self) -> JoinedPlan:
        fields = {task.id: self._result(task, n) for n, task in enumerate(self.contract.tasks)}
        given = None if self.contract.input is None else self._class(self.contract.input, ("input",))
        if self.findings or self._lacks_child:
            return JoinedPlan(self.classes, None, tuple(self.findings))
        self.state = state_class(state_name(self.contract.name), {"input": given, **fields})
        self.classes[state_name(self.contract.name)] = self.state
        waits = needs(self.contract)
        tasks = {
            task.id: self._task(task, n, waits[task.id], fields[task.id]) for n, task in enumerate(self.contract.tasks)
        }
        output = tuple(self.contract.output.split(".")) if self.contract.output else ()
        result = self._output(output)
        if errors(tuple(self.findings)):
            return JoinedPlan(self.classes, None, tuple(self.findings))
        ended = ended_class(self.contract.name, result)
        self.classes |= dict.fromkeys((ended_name(reply) for reply in self.replies), ended)
        deadline = self.contract.deadline_ms
        plan = CompiledPlan(
            tasks,
            self.contract.concurrency,
            None if deadline is None else deadline * 1000,
            {task.signal: task.id for task in self.contract.tasks if task.signal},
            output,
            ended,
            self.replies,
        )
        handlers = handlers_of(plan, self.state)
        for idle in [trigger for trigger in handlers.by_trigger if trigger not in self.contract.payloads]:
            del handlers.by_trigger[idle]
        as_child = ChildClasses(given or Nothing, result, ended)
        return JoinedPlan(self.classes, handlers, tuple(self.findings), as_child)

    def _output(self, names: Names) -> type[BaseModel] | None:
        """The class of what the whole gives; None where it gives nothing."""
        if not names:
            return None
        try:
            found = [kind for kind in reach(self.state, names) if kind is not type(None)]
        except NoSuchField as missing:
            known = [name for name in missing.known if name not in ("status", "plan")]
            fix = suggest(missing.name, known) or f"there is {', '.join(known) or 'nothing'}"
            self._error(("output",), "given", f"output leads nowhere: there is no {missing.name!r}", fix)
            return None
        if len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], BaseModel):
            return found[0]
        message = f"output is {' or '.join(map(str, found))}, and not one model"
        self._error(("output",), "given", message, "take the path to a whole result, for example the id of a task")
        return None

    # --- classes ----------------------------------------------------------------------------------------------------

    def _class(self, name: str, loc: Loc) -> type[BaseModel] | None:
        found = self.classes.get(name)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
        known = [known for known, one in self.classes.items() if isinstance(one, type) and issubclass(one, BaseModel)]
        fix = suggest(name, known) or "write it under models, or in payloads.py"
        self._error(loc, "unknown_class", f"there is no model {name!r}", fix)
        return None

    def _result(self, task: ModelTask, n: int) -> type[BaseModel] | None:
        """The class of a task's result; None where it has none, or after a finding. Fills in what the functions say."""
        at: Loc = ("tasks", n)
        if task.compensate is not None:
            self._shape(task.compensate, f"{task.id}__undo", (*at, "compensate"))
        if task.kind == "signal":
            return self._class(task.payload, (*at, "payload")) if task.payload else None
        if task.kind == "approval":
            return Decision
        if task.kind in ("wait_ms", "wait_until"):
            return None
        if task.kind in ("workflow", "map"):
            return self._child_result(task, at)
        return self._shape(task, task.id, at)

    def _child_result(self, task: ModelTask, at: Loc) -> type[BaseModel] | None:
        child = self.children.get(child_type(self.contract.name, task))
        if child is None and task.workflow is None:
            self._lacks_child = True
            return None
        if child is None:
            known = list(self.children)
            fix = suggest(task.workflow or "", known) or "name another orchestration of this app, not this one"
            self._error((*at, "workflow"), "unknown_workflow", f"{task.workflow!r} is no orchestration to begin", fix)
            return None
        self.classes |= {child_input(task.id): child.input, ended_name(task.id): child.ended}
        if task.map is None:
            return child.result
        fold = self._fold(task, task.map, child, at)
        collected = child.result if task.map.gather == "collect" else None
        return gathered_class(task.id, collected, fold[1] if fold else None)

    def _fold(
        self, task: ModelTask, over: ModelMap, child: ChildClasses, at: Loc
    ) -> tuple[Callable[[BaseModel, BaseModel], BaseModel], type[BaseModel]] | None:
        """The function and the class of its total; None where there is none, or after a finding."""
        if over.fold is None:
            return None
        function, loc = self.own.get(over.fold), (*at, "map", "fold")
        result = child.result.__name__ if child.result else "nothing"
        shape = f"def {over.fold}(total: Total, one: {result}) -> Total"
        if not inspect.isfunction(function):
            self._error(loc, "unknown_function", f"payloads.py has no function {over.fold!r}", f"write {shape}")
            return None
        hints = get_type_hints(function)
        first, second = [hints.get(name) for name in [*inspect.signature(function).parameters, "", ""][:2]]
        total = hints.get("return")
        fits = isinstance(total, type) and issubclass(total, BaseModel) and first is total and second is child.result
        if not fits or not isinstance(total, type):
            self._error(loc, "function_payload", f"{over.fold} does not fold a {result}", f"write {shape}")
            return None
        try:
            total()
        except Exception as error:
            message = f"{total.__name__} has no beginning: {caught(error)}"
            self._error(loc, "no_default", message, f"give each field of {total.__name__} a default")
        return function, total

    def _shape(self, call: ModelCall, name: str, at: Loc) -> type[BaseModel] | None:
        """The result of a call; enters the classes of its payload and its result under the names of the contract."""
        served = self.functions.computes if call.compute else self.functions.effects
        shape = served.get(call.compute or call.effect or "", (Nothing, Nothing))
        said = (call.payload, call.result)
        names = (payload_name(name, call), result_name(name, call))
        for key, given, own, by_function in zip(("payload", "result"), said, names, shape, strict=True):
            if given is None:
                self.classes[own] = by_function
            else:
                self._class(given, (*at, key))
        result = self.classes.get(names[1])
        return result if isinstance(result, type) and issubclass(result, BaseModel) and result is not Nothing else None

    # --- tasks ------------------------------------------------------------------------------------------------------

    def _task(self, task: ModelTask, n: int, before: tuple[str, ...], result: type[BaseModel] | None) -> CompiledTask:
        at: Loc = ("tasks", n)
        call = undo = None
        after_us = task.wait_ms or task.deadline_ms
        items = None
        if task.kind in ("effect", "compute"):
            call = self._call(task, task.id, payload_name(task.id, task), at, self.state)
            after_us = None
        elif task.kind in ("workflow", "map"):
            scope: type[BaseModel] = self.state
            if task.map is not None:
                items, scope = self._items(task, task.map, (*at, "map"))
            call = self._call(task, task.id, child_input(task.id), at, scope)
        if task.compensate is not None:
            undo_class = payload_name(f"{task.id}__undo", task.compensate)
            undo = self._call(task.compensate, undo_of(task.id), undo_class, (*at, "compensate"), self.state)
        return CompiledTask(
            task.id,
            before,
            self._when(task, (*at, "when")),
            task.on_failure,
            call,
            undo,
            None if after_us is None else after_us * 1000,
            self._until(task, (*at, "wait_until")),
            task.kind in ("wait_ms", "wait_until"),
            result is not None,
            task.kind in ("workflow", "map"),
            items,
        )

    def _items(self, task: ModelTask, over: ModelMap, at: Loc) -> tuple[CompiledMap, type[BaseModel]]:
        """How a map goes over its items, and the class that paths lead into: the state with ``item`` and ``index``."""
        key = "over" if over.over is not None else "count"
        path = over.over if over.over is not None else over.count
        names: Names = tuple(path.split(".")) if isinstance(path, str) else ()
        item: object = int
        if isinstance(path, str):
            item = self._items_at(task, key, names, (*at, key))
        gathered = next(kind for kind in unwrap(self.state.model_fields[task.id].annotation) if kind is not type(None))
        child = self.children[child_type(self.contract.name, task)]
        fold = self._fold(task, over, child, at[:-1])
        compiled = CompiledMap(
            gathered,  # type: ignore[arg-type]  # the class that gathered_class made
            names if over.over is not None else (),
            over.count if isinstance(over.count, int) else names,
            over.at_most,
            over.concurrency,
            over.failures,
            over.gather == "collect",
            fold[0] if fold else None,
            fold[1] if fold else None,
        )
        scope: dict[str, tuple[object, object]] = {ITEM: (item, None), INDEX: (int, 0)}
        return compiled, create_model("Scope", __base__=self.state, **scope)  # type: ignore[call-overload]  # types of data

    def _items_at(self, task: ModelTask, key: str, names: Names, at: Loc) -> object:
        """The type of one item."""
        path = ".".join(names)
        try:
            found = [kind for kind in reach(self.state, names) if kind is not type(None)]
        except NoSuchField as missing:
            known = [name for name in missing.known if name not in ("status", "plan")]
            fix = suggest(missing.name, known) or f"there is {', '.join(known) or 'nothing'}"
            self._error(at, "given", f"{path} leads nowhere: there is no {missing.name!r}", fix)
            return int
        if key == "count":
            if int not in found:
                self._error(at, "map_items", f"{path} is no whole number", "write over: PATH for a list")
            return int
        lists = [kind for kind in found if get_origin(kind) is tuple]
        if not lists:
            self._error(at, "map_items", f"{path} is no list", "write count: PATH for a number")
            return int
        return get_args(lists[0])[0]

    def _call(self, call: ModelCall, intent: str, name: str, at: Loc, scope: type[BaseModel]) -> CompiledCall:
        model = self.classes[name]
        assert isinstance(model, type) and issubclass(model, BaseModel), "a class that is missing was a finding"
        made, problems = payload_of(call.given, model, scope)
        for problem in problems:
            self._given(problem, at)
        return CompiledCall(intent, made)

    def _given(self, problem: GivenProblem, at: Loc) -> None:
        loc: Loc = (*at, "with", problem.key) if problem.key else (*at, "with")
        self._error(loc, "given", problem.message, problem.fix)

    def _when(self, task: ModelTask, loc: Loc) -> Guard | None:
        if task.when is None:
            return None
        try:
            return bind(parse(task.when), self.state, Nothing)
        except GuardProblem as problem:
            leaf = node_at(self.tree, loc)
            if isinstance(leaf, YamlScalar):
                self.findings.append(guard_finding(problem, leaf, self.path))
            return None

    def _until(self, task: ModelTask, loc: Loc) -> Names:
        if task.wait_until is None:
            return ()
        _, problems = payload_of({"at": task.wait_until}, _Moment, self.state)
        for problem in problems:
            self._error(loc, "given", problem.message.replace("_Moment.at", "a time to wait for"), problem.fix)
        return tuple(task.wait_until.split("."))

    def _error(self, loc: Loc, code: str, message: str, fix: str) -> None:
        finding = Finding(code, EnumSeverity.ERROR, *place_of(self.tree, loc).spot(self.path), message, fix)
        if finding not in self.findings:
            self.findings.append(finding)


class _Moment(BaseModel):
    at: AwareDatetime
