"""One step of an orchestration: what came is entered, then all that may begin now begins. Pure.

Theory of operation. A handler makes a ``Turn``, tells it what came, and takes the ``finished`` step from it:

1. What came is entered into the progress of its task. An outcome of a task that no longer runs changes nothing, so a late answer
   does no harm. A duplicate never comes here: the engine applies an action once.
2. While the plan goes on, each task that has not begun and whose ``needs`` have all ended is looked at, in the order of the
   contract. Its ``when`` is judged, its payload is made, its call is emitted. A task that is left out has ended, so the loop goes
   round until nothing more begins. At most ``concurrency`` calls run at once, and a step emits at most INTENTS_MAX intents: what is
   left begins in a later step.
3. When all tasks have ended the whole is completed.

A failure that aborts, a cancel and the deadline of the whole set ``ending``. From then on nothing begins:

- What runs and cannot be undone is cancelled: its effect is told, and whatever comes of it is ignored.
- What runs and can be undone (``compensate``) is let finish, because a cancelled intent that waits has no outcome. A plan that
  ended without knowing would leave a payment that nobody takes back.
- Then the tasks in ``undo`` are undone, one after the other, the last one first. An outcome ``unknown`` counts as done there: to
  undo what was not done must do no harm. What cannot be undone is entered as ``undo_failed``, and the next one is undone.

Time is ``action.issued_at``. Nothing else is read, so a replay gives the same.
"""

from __future__ import annotations

from datetime import timedelta
from graphlib import TopologicalSorter
from typing import Literal

from pydantic import AwareDatetime, BaseModel

from ..contracts.model.orchestration import EnumTaskFailure
from ..contracts.orchestration.expansion import (
    COMPENSATING,
    COMPLETED,
    DEADLINE,
    ENDS,
    PAUSED,
    RUNNING,
    cancel_of,
    reply_name,
    timer_of,
)
from ..kernel.action import NOTHING, Action
from ..kernel.intent import IntentDraft, cancel, intent, send, timer
from ..kernel.step import Step
from ..kernel.user_code import caught
from .children import child_prefix, item_at, item_ended, item_of, items_begin
from .compiled_plan import CompiledMap, CompiledPlan, CompiledTask
from .given import Missing, value_at
from .progress import OPEN, Ended, Gathered, PlanProgress, PlanState, TaskProgress, TaskState

INTENTS_MAX = 60
ERROR_CHARS = 500


class Turn:
    """The plan, while one action is applied to it."""

    def __init__(self, compiled: CompiledPlan, state: PlanState, action: Action[BaseModel]) -> None:
        self.compiled, self.state, self.action = compiled, state, action
        self.now: AwareDatetime = action.issued_at
        plan = state.plan
        self.tasks = dict(plan.tasks)
        self.undo = list(plan.undo)
        self.paused, self.ending, self.why = plan.paused, plan.ending, plan.why
        self.runs, self.refused = plan.runs, False
        self.parent, self.reply = plan.parent, plan.reply
        self.intents: list[IntentDraft] = []
        self.begun: set[str] = set()
        self.fired = ""

    # --- what came --------------------------------------------------------------------------------------------------

    def started(self, given: BaseModel) -> None:
        of = self.action.outcome_of
        if of is not None:  # a message of a parent: no client can send one
            reply = reply_name(self.action.issuer.partition(":")[0], of.name)
            if reply in self.compiled.replies:
                self.parent, self.reply = self.action.issuer, reply
        if "input" in type(self.state).model_fields:
            self.state = self.state.evolve(input=given)
        if self.compiled.deadline_us is not None:
            self.intents.append(timer(DEADLINE, self.now + timedelta(microseconds=self.compiled.deadline_us)))

    def done(self, task: CompiledTask, result: BaseModel) -> None:
        if not self._is_open(task):
            return
        if task.has_result:
            self.state = self.state.evolve(**{task.id: result})
        self._end(task, "done")
        if task.undo is not None and task.id not in self.undo:
            self.undo.append(task.id)

    def failed(self, task: CompiledTask, error: str, *, maybe_done: bool = False) -> None:
        if not self._is_open(task):
            return
        if maybe_done and task.undo is not None and task.id not in self.undo:
            self.undo.append(task.id)
        self._failed(task, error)

    def undone(self, task: CompiledTask, error: str = "") -> None:
        """It was undone, or could not be."""
        if self.tasks[task.id].state == "undoing":
            self._end(task, "undo_failed" if error else "undone", error or self.tasks[task.id].error)

    def due(self, task: CompiledTask) -> None:
        """The timer of a task fired: a wait is over, or nobody answered in time."""
        self.fired = task.id
        if task.is_wait:
            self.done(task, NOTHING)
        elif task.begins_child and self._is_open(task):
            self._enter(task, "running", "deadline: it took too long")
            self.give_up(task)
        else:
            self.failed(task, "deadline: nobody answered in time")

    def child_ended(self, task: CompiledTask, ended: Ended) -> None:
        """A child said how it ended. One that is not open, or that an earlier answer has counted, changes nothing."""
        if not self._is_open(task):
            return
        prefix = self._prefix(task)
        if task.items is not None:
            self._item_ended(task, task.items, item_of(ended.child, prefix), ended)
        elif ended.child == prefix:
            given_up = self.tasks[task.id].error
            if ended.status == "completed":
                self.done(task, getattr(ended, "result", None) or NOTHING)
            elif ended.status == "cancelled" and self.ending:
                self._end(task, "cancelled")
            else:
                self.failed(task, given_up or f"{ended.status}: {ended.error}")

    def _item_ended(self, task: CompiledTask, items: CompiledMap, index: int | None, ended: Ended) -> None:
        gathered: Gathered = getattr(self.state, task.id)
        if index is None or index not in gathered.open:
            return
        self.state = self.state.evolve(**{task.id: item_ended(items, gathered, index, ended)})

    def _map_on(self, task: CompiledTask, items: CompiledMap) -> None:
        """Begins items up to the window, or ends the task when all have ended."""
        gathered: Gathered = getattr(self.state, task.id)
        assert task.call is not None, "a map begins children"
        open_, begun = list(gathered.open), gathered.begun
        prefix = self._prefix(task)
        while begun < gathered.count and len(open_) < items.concurrency and len(self.intents) < INTENTS_MAX:
            if self.paused or self.ending or self.tasks[task.id].error or gathered.failed > items.failures:
                break
            try:
                payload = task.call.payload.make(self.state, item_at(items, self.state, begun), begun)
            except Missing as missing:
                self._enter(task, "running", f"the payload of item {begun} cannot be made: {missing.message}")
                self.give_up(task)
                break
            self.intents.append(send(task.call.intent, f"{prefix}/{begun}", payload))
            open_.append(begun)
            begun += 1
        if begun != gathered.begun:
            gathered = gathered.model_validate({**gathered.__dict__, "begun": begun, "open": tuple(open_)})
            self.state = self.state.evolve(**{task.id: gathered})
        if gathered.open:
            return
        if self.tasks[task.id].error:
            self._failed(task, self.tasks[task.id].error)
        elif self.ending:
            self._end(task, "cancelled")
        elif gathered.failed > items.failures:
            first = f": item {gathered.failures[0].index}: {gathered.failures[0].error}" if gathered.failures else ""
            self._failed(task, f"{gathered.failed} of {gathered.begun} items failed{first}")
        elif gathered.begun == gathered.count:
            self._end(task, "done")

    def give_up(self, task: CompiledTask) -> None:
        """Its children are told. It ends when they have ended, so nothing of it runs beside what undoes it."""
        if task.items is None:
            self._tell(task, self._prefix(task))
            return
        gathered: Gathered = getattr(self.state, task.id)
        prefix = self._prefix(task)
        for index in gathered.open:
            self._tell(task, f"{prefix}/{index}")

    def _tell(self, task: CompiledTask, child: str) -> None:
        if len(self.intents) < INTENTS_MAX:  # those that are not told end by themselves
            self.intents.append(send(cancel_of(task.id), child))

    def abort(self, ending: Literal["failed", "cancelled"], why: str) -> None:
        """Nothing begins any more. The first reason stays."""
        if self.ending:
            return
        self.ending = ending
        self.why = why[:ERROR_CHARS]
        for name, progress in [*self.tasks.items()]:
            task = self.compiled.tasks[name]
            if progress.state not in OPEN:
                continue
            if task.begins_child:
                self.give_up(task)
            elif name in self.begun:  # by this very step, which has not been committed: its intents are not emitted
                unmade = (task.call.intent if task.call is not None else "", timer_of(name))
                self.intents = [one for one in self.intents if one.name not in unmade]
                self._enter(task, "cancelled", "", ended=True)
            elif task.undo is None:
                if task.call is not None:
                    self.intents.append(cancel(task.call.intent))
                self._end(task, "cancelled")

    def rerun(self, name: str) -> None:
        """Begins a task again, and all that waits for it. Refused while one of them runs, and while the whole is being undone."""
        again = {name}
        for task in self._in_order():
            if again & set(task.needs):
                again.add(task.id)
        rows = [self.tasks[one] for one in again if one in self.tasks]
        self.refused = bool(self.ending) or name not in self.tasks or any(row.state in OPEN for row in rows)
        if self.refused:
            return
        tasks = self.compiled.tasks  # what can be undone keeps the result that undoing takes
        cleared = {one: None for one in again if tasks[one].has_result and tasks[one].undo is None}
        self.state = self.state.evolve(**cleared)
        self.runs = {**self.runs, **{one: self.runs.get(one, 0) + 1 for one in again if one in self.tasks}}
        self.tasks = {one: row for one, row in self.tasks.items() if one not in again}
        self.paused, self.why = False, ""

    def _in_order(self) -> list[CompiledTask]:
        """Each behind those that it waits for."""
        waits = {task.id: task.needs for task in self.compiled.tasks.values()}
        return [self.compiled.tasks[name] for name in TopologicalSorter(waits).static_order()]

    # --- what follows -----------------------------------------------------------------------------------------------

    def finished(self) -> Step[PlanState]:
        following = "" if self.refused else self._follow()  # the machine has no transition to ''
        plan: dict[str, object] = {
            "next": following,
            "tasks": self.tasks,
            "paused": self.paused,
            "runs": self.runs,
            "undo": tuple(self.undo),
            "ending": self.ending,
            "why": self.why,
            "parent": self.parent,
            "reply": self.reply,
        }
        if self.reply and following in ENDS:
            self.intents.append(send(self.reply, self.parent.partition(":")[2], self._end_told(following)))
        if plan == self.state.plan.__dict__:  # most answers of a map
            return Step(self.state, *self.intents)
        return Step(self.state.evolve(plan=PlanProgress.model_validate(plan)), *self.intents)

    def _end_told(self, status: str) -> Ended:
        told: dict[str, object] = {"child": self.action.key.instance_id, "status": status, "error": self.why}
        if status == COMPLETED and self.compiled.output:
            told["result"] = value_at(self.state, self.compiled.output)
        return self.compiled.ended.model_validate(told)

    def _follow(self) -> str:
        for task in self.compiled.tasks.values():
            if task.items is not None and self._is_open(task):
                self._map_on(task, task.items)
        if not self.ending and not self.paused:
            while self._begun_one():
                pass
        if self.ending:
            return self._undone_further()
        ended = all(name in self.tasks and self.tasks[name].state not in OPEN for name in self.compiled.tasks)
        return PAUSED if self.paused else COMPLETED if ended else RUNNING

    def _begun_one(self) -> bool:
        """Whether a task began or was left out, so that others may begin now."""
        running = sum(progress.state == "running" for progress in self.tasks.values())
        for task in self.compiled.tasks.values():
            if self.ending or self.paused or len(self.intents) >= INTENTS_MAX:
                return False
            if task.id in self.tasks or not all(self._has_ended(name) for name in task.needs):
                continue
            if task.call is not None and running >= self.compiled.concurrency:
                continue
            self._begin(task)
            return True
        return False

    def _has_ended(self, name: str) -> bool:
        progress = self.tasks.get(name)
        return progress is not None and progress.state not in OPEN

    def _begin(self, task: CompiledTask) -> None:
        if task.when is not None:
            try:
                wanted = task.when.holds(self.state, NOTHING)
            except BaseException as error:
                self._failed(task, f"when: {caught(error)}")
                return
            if not wanted:
                self._end(task, "skipped")
                return
        if task.items is not None:
            made = items_begin(task.items, self.state)
            if isinstance(made, str):
                self._failed(task, made)
                return
            self._running(task)
            self.state = self.state.evolve(**{task.id: made})
            self._map_on(task, task.items)
            return
        if task.call is not None:
            try:
                payload = task.call.payload.make(self.state)
            except Missing as missing:
                self._without_payload(task, missing)
                return
            if task.begins_child:
                self.intents.append(send(task.call.intent, self._prefix(task), payload))
            else:
                self.intents.append(intent(task.call.intent, payload))
            self._running(task)
            return
        if task.until:
            moment = value_at(self.state, task.until)
            if moment is None:
                self._failed(task, f"there is no {'.'.join(task.until)}")
                return
            self.intents.append(timer(timer_of(task.id), moment))  # type: ignore[arg-type]  # checked when the app loads
        elif task.after_us is not None:
            self.intents.append(timer(timer_of(task.id), self.now + timedelta(microseconds=task.after_us)))
        self.tasks[task.id] = TaskProgress(state="waiting", began=self.now)
        self.begun.add(task.id)

    def _running(self, task: CompiledTask) -> None:
        self.tasks[task.id] = TaskProgress(state="running", began=self.now)
        self.begun.add(task.id)
        if task.after_us is not None:
            self.intents.append(timer(timer_of(task.id), self.now + timedelta(microseconds=task.after_us)))

    def _without_payload(self, task: CompiledTask, missing: Missing) -> None:
        """A task that takes the result of one that was left out is left out too."""
        source = self.tasks.get(missing.of)
        if source is not None and source.state == "skipped":
            self._end(task, "skipped", f"{missing.of} was left out, and it takes its result")
        else:
            self._failed(task, f"its payload cannot be made: {missing.message}")

    def _failed(self, task: CompiledTask, error: str) -> None:
        left_out = task.on_failure is EnumTaskFailure.SKIP
        self._end(task, "skipped" if left_out else "failed", error)
        if task.on_failure is EnumTaskFailure.ABORT:
            self.abort("failed", f"{task.id}: {error}")
        elif task.on_failure is EnumTaskFailure.HOLD:
            self.paused, self.why = True, f"{task.id}: {error}"[:ERROR_CHARS]

    def _undone_further(self) -> str:
        while True:
            if any(progress.state in OPEN or progress.state == "undoing" for progress in self.tasks.values()):
                return COMPENSATING
            if not self.undo:
                return self.ending
            task = self.compiled.tasks[self.undo.pop()]
            assert task.undo is not None, "only what can be undone is in the list"
            try:
                self.intents.append(intent(task.undo.intent, task.undo.payload.make(self.state)))
            except Missing as missing:
                self._end(task, "undo_failed", f"what undoes it cannot be made: {missing.message}")
                continue
            self._enter(task, "undoing", self.tasks[task.id].error)

    # --- progress ---------------------------------------------------------------------------------------------------

    def _prefix(self, task: CompiledTask) -> str:
        return child_prefix(self.action.key.instance_id, task.id, self.runs.get(task.id, 0))

    def _is_open(self, task: CompiledTask) -> bool:
        progress = self.tasks.get(task.id)
        return progress is not None and progress.state in OPEN

    def _end(self, task: CompiledTask, state: TaskState, error: str = "") -> None:
        timed = task.is_wait or task.after_us is not None
        if timed and task.id != self.fired and self._is_open(task):
            self.intents.append(cancel(timer_of(task.id)))
        self._enter(task, state, error, ended=True)

    def _enter(self, task: CompiledTask, state: TaskState, error: str, *, ended: bool = False) -> None:
        before = self.tasks.get(task.id)
        began = self.now if before is None else before.began
        moment = self.now if ended else before.ended if before else None
        self.tasks[task.id] = TaskProgress(state=state, began=began, ended=moment, error=error[:ERROR_CHARS])
