"""The process that folds for a page: it loads the app, and answers what an instance was at a version.

Code of a user runs in here and never in the process that answers requests. A reducer that hangs, raises or ends its process
costs one answer: the parent starts another one at the next question. No effect runs (``wiring/folding``).

Questions and answers carry a number, because several are under way: each question is a task, and a long one gives way after each
slice of rows. FoldedRows tell in between how far a long one is. None ends the process, and so does the end of the parent.

``MomentProcess`` is the parent's side. Its methods belong to one event loop, which reads the pipe when something is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..engine.encode import decode
from ..engine.refold import Refold
from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidPayload, OnexError, UnknownWorkflow
from ..kernel.machine import first_failed
from ..kernel.user_code import caught
from ..wiring.folding import InertApp
from ..wiring.recorded import RecordedRun, RunSource
from .app_facts import AppFacts, EdgeFacts, edge_facts, facts_of
from .branch_steps import AskBranch, BranchSteps, branch_steps
from .child_process import Child, FoldingBroken, sendable, serve
from .fork import Fork, forked
from .moments import Moment, Moments, Stretch

A = TypeVar("A")


class AskFacts(NamedTuple):
    """What the app is."""


class AskMoment(NamedTuple):
    """One instance at a version."""

    key: WorkflowKey
    version: int


class AskStretches(NamedTuple):
    """Which versions up to ``last`` are not proven."""

    key: WorkflowKey
    last: int


class AskFork(NamedTuple):
    """The action of ``version`` with another trigger or payload; None keeps what was recorded."""

    key: WorkflowKey
    version: int
    trigger: str | None
    payload: Mapping[str, object] | None


class TriedTransition(NamedTuple):
    """A transition that was tried for an action, in this order. ``failed``: the condition that did not hold, '' when all held."""

    edge: EdgeFacts
    taken: bool
    failed: str


class ExplainedMoment(NamedTuple):
    """A moment, and the transitions that were tried for its action: the first that was ``taken`` chose its status."""

    moment: Moment
    tried: tuple[TriedTransition, ...]


class FoldedRows(NamedTuple):
    """How many rows the question has folded so far."""

    rows: int


Question = AskFacts | AskMoment | AskStretches | AskFork | AskBranch


class _Answering:
    """The child's side: the app, its code and the run."""

    def __init__(self, line: Connection, run: RecordedRun, inert: InertApp) -> None:
        self._line, self._run, self._app, self._boundary = line, run, inert.app, inert.boundary
        self._refolds = {one.reducer.workflow_type: Refold(one) for one in inert.registry.workflows}
        self._moments = Moments(run, self._refolds)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, number: int, question: Question) -> None:
        task = asyncio.create_task(self._answer(number, question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, question: Question) -> None:
        answer: object
        try:
            answer = await self._asked(number, question)
        except OnexError as error:
            answer = sendable(error)
        except BaseException as error:  # code of a user, or a defect of ours: either way it is an answer
            answer = OnexError(f"the question could not be answered: {caught(error)}")
        self._line.send((number, answer))

    async def _asked(self, number: int, question: Question) -> object:
        folded = 0

        def went(rows: int) -> None:
            nonlocal folded
            folded += rows
            if folded // 10_000 != (folded - rows) // 10_000:
                self._line.send((number, FoldedRows(folded)))

        if isinstance(question, AskFacts):
            return facts_of(self._app)
        key = question.key
        if key.workflow_type not in self._refolds:
            raise UnknownWorkflow(
                f"the app has no workflow {key.workflow_type!r}; it has {', '.join(self._refolds)}",
                workflow_type=key.workflow_type,
            )
        if isinstance(question, AskMoment):
            return self._explained(key, await self._moments.at(key, question.version, went))
        if isinstance(question, AskStretches):
            return await self._moments.stretches(key, question.last, went)
        refold = self._refolds[key.workflow_type]
        if isinstance(question, AskBranch):
            steps = await branch_steps(self._run, self._moments, refold, question)
            return steps._replace(effects_fired=self._boundary.fired)
        if question.trigger is not None and question.trigger not in refold.workflow.reducer.payloads:
            raise InvalidPayload(
                f"{key.workflow_type} has no trigger {question.trigger!r}; it has {', '.join(refold.workflow.reducer.payloads)}"
            )
        return await forked(self._run, self._moments, refold, *question)

    def _explained(self, key: WorkflowKey, moment: Moment) -> ExplainedMoment:
        one, refold = self._app.workflows[key.workflow_type], self._refolds[key.workflow_type]
        if not moment.before or not moment.state:
            return ExplainedMoment(moment, ())
        reducer = one.reducer
        before, after = (decode(reducer.state_type, data) for data in (moment.before, moment.state))
        action = refold.action(key, moment.entry.row)
        tried: list[TriedTransition] = []
        for transition in reducer.machine.table.get(before.status, {}).get(action.kind, ()):
            failed = first_failed(transition.before, before, action.payload) or first_failed(
                transition.after, after.with_status(before.status), action.payload
            )
            taken = failed is None and transition.to_state == after.status
            tried.append(TriedTransition(edge_facts(one, transition), taken, failed or ""))
            if taken:
                break
        return ExplainedMoment(moment, tuple(tried))


def answer_moments(line: Connection, source: RunSource, app: str) -> None:
    """The life of the child."""

    async def run() -> None:
        inert = InertApp(Path(app))
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with source.opened() as reader:
            answering = _Answering(line, reader, inert)

            def heard() -> None:
                try:
                    while line.poll():
                        word = line.recv()
                        if word is None:
                            ended.set()
                            return
                        answering.begin(*word)
                except (EOFError, OSError):
                    ended.set()

            loop.add_reader(line.fileno(), heard)
            await ended.wait()
            loop.remove_reader(line.fileno())

    serve(line, run, "onex serve")


class MomentProcess:
    """Asks a process that folds, and starts one when there is none. ``app`` is where its code lies."""

    def __init__(self, source: RunSource, app: Path) -> None:
        self._source, self._app = source, str(app)
        self._child: Child | None = None
        self._asked: dict[int, tuple[asyncio.Future[object], Callable[[int], None]]] = {}
        self._number = 0

    async def facts(self) -> AppFacts:
        """Raises ContractError when the app cannot be loaded."""
        return await self._ask(AskFacts(), AppFacts)

    async def moment(self, key: WorkflowKey, version: int, went: Callable[[int], None]) -> ExplainedMoment:
        """``went`` hears of rows folded so far. Raises StateConsistencyError, UnknownWorkflow, FoldingBroken."""
        return await self._ask(AskMoment(key, version), ExplainedMoment, went)

    async def stretches(self, key: WorkflowKey, last: int, went: Callable[[int], None]) -> tuple[Stretch, ...]:
        found: tuple[Stretch, ...] = await self._ask(AskStretches(key, last), tuple, went)
        return found

    async def fork(self, asked: AskFork) -> Fork:
        return await self._ask(asked, Fork)

    async def branch(self, asked: AskBranch) -> BranchSteps:
        return await self._ask(asked, BranchSteps)

    async def close(self) -> None:
        """Ends it. Who still waits gets FoldingBroken. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        asyncio.get_running_loop().remove_reader(child.line.fileno())
        self._broken("the service closes")
        await asyncio.to_thread(child.close)

    async def _ask(self, question: Question, kind: type[A], went: Callable[[int], None] = lambda rows: None) -> A:
        if self._child is None:
            self._child = Child(answer_moments, self._source, self._app)
            asyncio.get_running_loop().add_reader(self._child.line.fileno(), self._heard, self._child)
        self._number += 1
        number = self._number
        waiting: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._asked[number] = (waiting, went)
        try:
            self._child.line.send((number, question))
            answer = await waiting
        except (BrokenPipeError, ConnectionResetError) as error:
            raise FoldingBroken("the process that folds has ended; ask again, and another one is started") from error
        finally:
            self._asked.pop(number, None)
        assert isinstance(answer, kind), f"{kind.__name__} is due, {type(answer).__name__} came"
        return answer

    def _heard(self, child: Child) -> None:
        try:
            while child.line.poll():
                word = child.receive()
                if isinstance(word, tuple):
                    self._told(*word)
        except OnexError as error:  # it ended: with a reason of its own, or without one
            asyncio.get_running_loop().remove_reader(child.line.fileno())
            self._child = None
            self._broken(error.message, error)
            child.close()
        except OSError:
            return

    def _told(self, number: int, word: object) -> None:
        waiting, went = self._asked.get(number, (None, None))
        if waiting is None or went is None or waiting.done():
            return
        if isinstance(word, FoldedRows):
            went(word.rows)
        elif isinstance(word, OnexError):
            waiting.set_exception(word)
        else:
            waiting.set_result(word)

    def _broken(self, why: str, error: OnexError | None = None) -> None:
        for waiting, _ in self._asked.values():
            if not waiting.done():
                waiting.set_exception(error or FoldingBroken(f"the process that folds has ended: {why}"))
