"""The state, the machine and the intents of an orchestration, made of its tasks. Pure: the same tasks give the same contract.

So an orchestration is a workflow like any other. Its reducer (``onex.orchestration``) writes into ``state.plan.next`` where a step
leads, and the guards of this machine read it. What is made here stands at the place of the task that it is made of.

    trigger                     brought by                              payload
    start                       a client, or an orchestration above     the input
    T.succeeded                 the call of task T                      its result
    T.undone                    the call that undoes T                  its result
    T.ended                     a child of T                            how it ended
    T.approve, T.reject         a person                                Decision
    SIGNAL                      a client, or a message                  the task's payload
    task.failed, task.unknown   any call                                Failure
    task.due                    a timer of a task                       nothing
    task.sent                   a message to a child, that arrived      nothing
    cancel, pause, resume       a client                                nothing
    rerun                       a client                                RerunTask
    deadline                    the timer of the whole                  nothing

The triggers ``task.*`` are shared: ``action.outcome_of`` names the intent, so each task needs few transitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from pydantic import JsonValue

from ...kernel.intent import EnumIntentType, EnumOutcome
from ..model.orchestration import ModelCall, ModelOrchestration, ModelTask
from ..model.target import BLOCKS
from ..text.yaml_tree import (
    Loc,
    YamlEntry,
    YamlList,
    YamlMap,
    YamlNode,
    YamlPlace,
    YamlScalar,
    located,
    node_at,
    place_of,
)

NEW, RUNNING, PAUSED, COMPENSATING = "new", "running", "paused", "compensating"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
ENDS = (COMPLETED, FAILED, CANCELLED)
STATUSES = (NEW, RUNNING, PAUSED, COMPENSATING, *ENDS)
START, CANCEL, PAUSE, RESUME, RERUN, DEADLINE = "start", "cancel", "pause", "resume", "rerun", "deadline"
TASK_FAILED, TASK_UNKNOWN, TASK_SENT, TASK_DUE = "task.failed", "task.unknown", "task.sent", "task.due"
WAITING = "waiting"
DECISION, RERUN_TASK = "Decision", "RerunTask"
NAME_CHARACTERS = 64
EACH = "each"
"""The one task of the children of a map."""


def payload_name(task: str, call: ModelCall) -> str:
    """The class of what the call is given, as the contract names it: a name of its own where the function says it."""
    return call.payload or f"{task}__payload"


def result_name(task: str, call: ModelCall) -> str:
    return call.result or f"{task}__result"


def undo_of(task: str) -> str:
    """The intent that undoes a task; as a task has it, so the classes it leaves out have names of its own."""
    return f"{task}-undo"


def timer_of(task: str) -> str:
    return f"{task}-due"


def task_of(intent: str) -> str:
    """The task that an intent of an orchestration belongs to. No id of a task has a hyphen."""
    return intent.partition("-")[0]


def child_type(workflow: str, task: ModelTask) -> str:
    """The type of the children that a task starts."""
    return task.workflow or f"{workflow}_{task.id}"


def cancel_of(task: str) -> str:
    """The message that cancels a child."""
    return f"{task}-cancel"


def child_input(task: str) -> str:
    """What a child begins with, as the contract of the task names the class."""
    return f"{task}__input"


def ended_name(name: str) -> str:
    """The class by which a child says how it ended, by the name of the task or of the message."""
    return f"{name.replace('-', '_')}__ended"


def reply_name(parent: str, task: str) -> str:
    """The message by which a child says to its parent how it ended."""
    name = f"to-{parent}-{task}"
    return name if len(name) <= NAME_CHARACTERS else f"to-{blake2b(name.encode(), digest_size=16).hexdigest()}"


def state_name(workflow: str) -> str:
    return f"{pascal(workflow)}State"


def pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def expanded(tree: YamlMap, workflow: str, plan: ModelOrchestration) -> YamlMap:
    """``tree`` with ``state_model``, ``state_machine`` and ``intents``. ``plan`` is what it says, and has passed its checks."""
    return _Expansion(tree, workflow, plan).run()


class _Expansion:
    def __init__(self, tree: YamlMap, workflow: str, plan: ModelOrchestration) -> None:
        self.tree, self.workflow, self.plan = tree, workflow, plan
        self.top = place_of(tree, ("tasks",))
        self.rows: list[YamlNode] = []
        self.intents: list[YamlNode] = []

    def run(self) -> YamlMap:
        self._move(START, self.top, self.plan.input, {}, start=True)
        for n, task in enumerate(self.plan.tasks):
            self._task(task, ("tasks", n), place_of(self.tree, ("tasks", n)))
        self._shared()
        machine: dict[str, YamlNode] = {
            "initial_state": located(NEW, self.top),
            "terminal_states": located([*ENDS], self.top),
            "states": located([{"name": status} for status in STATUSES], self.top),
            "transitions": YamlList(tuple(self.rows), self.top),
        }
        given = self.tree.get("intents")
        intents = (*self.intents, *(given.items if isinstance(given, YamlList) else ()))
        made: dict[str, YamlNode] = {
            "state_model": located(state_name(self.workflow), self.top),
            "state_machine": YamlMap({name: self._entry(name, node) for name, node in machine.items()}, self.top),
            "intents": YamlList(intents, self.top),
        }
        entries = {**self.tree.entries, **{name: self._entry(name, node) for name, node in made.items()}}
        return YamlMap(entries, self.tree.place)

    def _entry(self, name: str, node: YamlNode) -> YamlEntry:
        return YamlEntry(YamlScalar(name, self.top), node)

    # --- one task ---------------------------------------------------------------------------------------------------

    def _task(self, task: ModelTask, loc: Loc, place: YamlPlace) -> None:
        if task.kind in ("effect", "compute"):
            self._call(task.id, task, loc, place)
            self._move(f"{task.id}.succeeded", place, result_name(task.id, task))
        elif task.kind in ("workflow", "map"):
            self._children(task, place)
        elif task.kind == "signal":
            self._move(str(task.signal), place, task.payload, self._waits(task))
        elif task.kind == "approval":
            for answer in ("approve", "reject"):
                self._move(f"{task.id}.{answer}", place, DECISION, self._waits(task))
        if task.kind in ("wait_ms", "wait_until") or (task.deadline_ms is not None):
            self._intent({"name": timer_of(task.id), "type": EnumIntentType.TIMER, "trigger": TASK_DUE}, place)
        if task.compensate is not None:
            name = undo_of(task.id)
            at: Loc = (*loc, "compensate")
            self._call(name, task.compensate, at, place, succeeded=f"{task.id}.undone", classes=f"{task.id}__undo")
            self._move(f"{task.id}.undone", place, result_name(f"{task.id}__undo", task.compensate))

    def _children(self, task: ModelTask, place: YamlPlace) -> None:
        """One child, or one for each item: a message begins it, one may cancel it, and its own says how it ended."""
        send: dict[str, JsonValue] = {"type": EnumIntentType.ACTION_SEND, "target": child_type(self.workflow, task)}
        sent = {str(outcome): TASK_SENT for outcome in EnumOutcome}
        outcomes: dict[str, JsonValue] = {**sent, "failed": TASK_FAILED, "unknown": TASK_UNKNOWN}
        start: dict[str, JsonValue] = {
            "name": task.id,
            "trigger": START,
            "payload": child_input(task.id),
            "outcomes": outcomes,
        }
        self._intent(send | start, place)
        self._intent(send | {"name": cancel_of(task.id), "trigger": CANCEL, "outcomes": {**sent}}, place)
        self._move(f"{task.id}.ended", place, ended_name(task.id))

    def _waits(self, task: ModelTask) -> dict[str, JsonValue]:
        """One that comes too early, or twice, is refused by the machine."""
        return {"expression": f"state.plan.tasks.{task.id}.state == {WAITING}"}

    def _call(
        self, name: str, call: ModelCall, loc: Loc, place: YamlPlace, *, succeeded: str = "", classes: str = ""
    ) -> None:
        row: dict[str, JsonValue] = {
            "name": name,
            "type": self._type(call),
            "target": call.compute or call.effect,
            "payload": payload_name(classes or name, call),
            "outcomes": {
                str(EnumOutcome.SUCCEEDED): succeeded or f"{name}.succeeded",
                str(EnumOutcome.FAILED): TASK_FAILED,
                str(EnumOutcome.UNKNOWN): TASK_UNKNOWN,
            },
        }
        said = call.model_dump(mode="json", include={"retry", "delivery", "priority", "timeout_ms"}, exclude_none=True)
        made = located(row | said, place)
        written = node_at(self.tree, loc)
        if isinstance(made, YamlMap) and isinstance(written, YamlMap):  # a block keeps its own place
            blocks = {key: one for key, one in written.entries.items() if key in BLOCKS}
            made = YamlMap({**made.entries, **blocks}, made.place)
        self.intents.append(made)

    def _type(self, call: ModelCall) -> str:
        if call.compute:
            return EnumIntentType.COMPUTE_TASK
        target = node_at(self.tree, ("targets", call.effect or ""))
        keys = (*call.calls, *(target.entries if isinstance(target, YamlMap) else ()))
        return call.type or next((BLOCKS[key] for key in keys if key in BLOCKS), EnumIntentType.API_CALL)

    # --- what all tasks share -----------------------------------------------------------------------------------------

    def _shared(self) -> None:
        tasks = self.plan.tasks
        if any(one.effect or one.compute or one.compensate or one.kind in ("workflow", "map") for one in tasks):
            self._move(TASK_FAILED, self.top, "Failure")
            self._move(TASK_UNKNOWN, self.top, "Failure")
        if any(one.kind in ("workflow", "map") for one in tasks):
            self._move(TASK_SENT, self.top)
        if any(one.kind in ("wait_ms", "wait_until") or one.deadline_ms is not None for one in tasks):
            self._move(TASK_DUE, self.top)
        if self.plan.deadline_ms is not None:
            self._intent({"name": DEADLINE, "type": EnumIntentType.TIMER, "trigger": DEADLINE}, self.top)
            self._move(DEADLINE, self.top)
        for trigger in (CANCEL, PAUSE, RESUME):
            self._move(trigger, self.top)
        self._move(RERUN, self.top, RERUN_TASK)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def _move(
        self,
        trigger: str,
        place: YamlPlace,
        payload: str | None = None,
        condition: dict[str, JsonValue] | None = None,
        *,
        start: bool = False,
    ) -> None:
        """A transition to each status that ``plan.next`` may name."""
        ends: Iterator[str] = (one for one in STATUSES if one != NEW and not (start and one in (PAUSED, CANCELLED)))
        for end in ends:
            chosen: dict[str, JsonValue] = {"expression": f"state.plan.next == {end}", "after": True}
            row: dict[str, JsonValue] = {
                "from_state": NEW if start else "*",
                "to_state": end,
                "trigger": trigger,
                "conditions": [condition, chosen] if condition else [chosen],
            }
            self.rows.append(located(row | ({"payload": payload} if payload else {}), place))

    def _intent(self, row: dict[str, JsonValue], place: YamlPlace) -> None:
        self.intents.append(located(row, place))
