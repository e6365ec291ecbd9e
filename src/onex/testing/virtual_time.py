"""An app on a virtual clock: the real engine on a store in memory, where idle time costs nothing.

    with virtual("shop", executors={"bank": fake}) as run:
        run.submit("orders:1", "place", {"items": [...]})
        run.skip(days=30)
        assert run.state("orders:1").status == "shipped"

Theory of operation
    The engine runs on the simulation's loop (``simulation.loop``), without faults. Every call of a ``VirtualRun`` drives that loop
    and returns when nothing more can run at this moment, so a test is a plain function and needs no plugin.
    Time passes in ``skip``, ``until`` and ``wait`` (``_pass``). It goes from one due row of the outbox to the next: a timer,
    or an effect that is to be tried again. What lies between is passed over, as on a machine that slept. While a row is due and
    has not ended, an effect runs and may sleep itself. Then time goes to the next timer of the loop.
    Nothing polls. On a real clock the engine looks twice a minute whether the clock was set, and reads the timers of the minute
    to come. Here the clock is never set, and ``LIMITS`` holds every intent in memory, however late it is due.
    The app's effects are called in this thread, and its compute functions too, and what they give to ``asyncio.to_thread``: time
    stands still meanwhile. An async effect may sleep, but a socket or process of asyncio ends the run (``UnsimulatedError``),
    because these have a time of their own.
    The order of what happens at one moment is drawn from ``seed``: the same in every run.
    What may go wrong: the engine stops, or code of a task fails that nobody awaits. The next call raises that error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor as Executors
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, overload

from pydantic import BaseModel

from ..adapters.memory.store import MemoryStore
from ..adapters.watchdog import Watchdog
from ..app import App, load_app
from ..contracts.model.schedule import SCHEDULE
from ..engine.arguments import workflow_key
from ..engine.awaited_status import TERMINAL
from ..engine.limits import Limits
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.payload_reading import PayloadInput
from ..engine.pending import Committed
from ..engine.registry import ReducerRegistry
from ..kernel.action import EPOCH, WorkflowKey, micros
from ..kernel.errors import EffectFailed, OnexError, ValidationError
from ..kernel.intent import ModelIntent
from ..kernel.step import S, State
from ..kernel.user_code import caught
from ..nodes.compute import ComputeAddress, ComputeIO, perform
from ..nodes.given import GivenEffect
from ..nodes.io import compute_shape
from ..ports import EnumOutboxState, Executor, LogEntry, NewBlob, Result, Stored
from ..settings import read_settings
from ..simulation.clock import EPOCH_US, SimClock, SimIds, stream
from ..simulation.loop import SimLoop, UnsimulatedError
from ..wiring.environment import environment
from ..wiring.schedules import Schedules
from ..wiring.served import ServedApp
from ..wiring.store_access import StoreBlobs

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START: Final = EPOCH + timedelta(microseconds=EPOCH_US)
YEAR: Final = timedelta(days=365)
MAX_STEPS: Final = 10_000_000
LIMITS: Final = Limits(kept=1 << 30, horizon_s=math.inf)
_PAGE: Final = 1000


class VirtualRun:
    """An app that runs in virtual time; made by ``virtual``. ``engine`` is the real one: drive its coroutines by ``run``."""

    def __init__(self, app: App, executors: Mapping[str, GivenEffect], start: datetime, seed: int) -> None:
        self.app = app
        self._loop = _ThreadlessLoop(seed, max_steps=MAX_STEPS)
        self._clock = SimClock(self._loop, skew_s=(micros(start) - EPOCH_US) / 1e6)
        self._store = MemoryStore()
        self._watchdog = Watchdog(read_settings().step_budget_s)
        self._calls: dict[str, list[ModelIntent[BaseModel]]] = {}
        schedules = Schedules(app)
        served = ServedApp(
            app, StoreBlobs(self._store), _at_once, _Here(app), executors, self._watchdog, None, schedules
        )
        try:
            self.engine = ReducerPatternEngine(
                self._store,
                self._store,
                self._recorded(served.registry()),
                self._clock,
                SimIds(self._clock, stream(seed, "ids")),
                environment(app.root),
                limits=LIMITS,
                check_all=True,
            )
            schedules.connected(self.engine)
            self.run(self.engine.start("a virtual run"))
            if SCHEDULE in app.workflows:
                self.run(schedules.declare())
        except BaseException:
            self._end()
            raise

    def _recorded(self, registry: ReducerRegistry) -> ReducerRegistry:
        """The same workflows, and every call of an executor is kept for ``calls``."""
        for target in {target for one in registry.workflows for target in one.executors}:
            self._calls[target] = []
        workflows = (
            replace(one, executors={name: _Recorder(each, self._calls[name]) for name, each in one.executors.items()})
            for one in registry.workflows
        )
        return ReducerRegistry(tuple(workflows))

    # --- asked -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return EPOCH + timedelta(microseconds=self._clock.now_us())

    @property
    def steps(self) -> int:
        """How many steps the loop has run: a measure of work that is the same on every machine."""
        return self._loop.steps

    @overload
    def state(self, key: WorkflowKey | str) -> State: ...

    @overload
    def state(self, key: WorkflowKey | str, kind: type[S]) -> S: ...

    def state(self, key: WorkflowKey | str, kind: type[State] = State) -> State:
        """The current state, as the app's class; or as ``kind``, the class that the test imported.

        Raises ValidationError for an instance that has not begun.
        """
        state = self.run(self.engine.state(key))
        if state is None:
            raise ValidationError(f"{key} has not begun: no action of it was applied")
        return state if isinstance(state, kind) else kind.model_validate(state.model_dump())

    def history(self, key: WorkflowKey | str) -> list[LogEntry]:
        """Every applied action of an instance, the first one first. ``entry.row.kind`` is its trigger."""
        at = workflow_key("key", key)
        found: list[LogEntry] = []
        while rows := self.run(self._store.history(at, len(found), _PAGE)):
            found += rows
        return found

    def calls(self, target: str) -> list[ModelIntent[BaseModel]]:
        """The intents with which this target was called, tries that failed included. Raises ValidationError."""
        if target not in self._calls:
            raise ValidationError(f"nothing serves {target!r}; there is {', '.join(sorted(self._calls)) or 'nothing'}")
        return list(self._calls[target])

    # --- done --------------------------------------------------------------------------------------------------------

    def submit(
        self,
        key: WorkflowKey | str,
        trigger: str,
        payload: PayloadInput = None,
        *,
        expected_version: int | None = None,
    ) -> Committed:
        """Applies one action, then lets run what takes no time. Raises the OnexError with which it was refused.

        ``payload`` is a mapping, or the payload class, also one that the test imported itself. ``expected_version`` is as in
        ``engine.submit``: at any other version ConcurrentModificationError is raised.
        """
        given = self._of_app(key, trigger, payload)
        return self.run(self.engine.submit(key, trigger, given, expected_version=expected_version))

    def _of_app(self, key: WorkflowKey | str, trigger: str, payload: PayloadInput) -> PayloadInput:
        """The app's classes are loaded under names of its own: one that was imported is another class of the same name."""
        workflow = self.app.workflows.get(str(key).partition(":")[0])
        model = None if workflow is None else workflow.reducer.payloads.get(trigger)
        if model is not None and isinstance(payload, BaseModel) and type(payload) is not model:
            same = type(payload).__qualname__ == model.__qualname__
            return payload.model_dump(mode="json") if same else payload
        return payload

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end, then what takes no time. It may use ``engine`` and sleep: time passes as it waits."""
        with self._driving(work):
            task = self._loop.create_task(work)
            try:
                value = self._loop.run_until_complete(task)
            finally:
                if not task.done():  # the loop was ended by an error: it has reported that
                    task.cancel()
            self._loop.run_ready()
            return value

    # --- time --------------------------------------------------------------------------------------------------------

    def skip(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Lets so much time pass, with all that becomes due in it. Raises ValidationError for less than nothing."""
        self.until(self.now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))

    def until(self, when: datetime) -> None:
        """Lets time pass until this moment. Raises ValidationError for a moment that is over, or has no time zone."""
        if when.tzinfo is None:
            raise ValidationError(f"{when} has no time zone; write datetime(..., tzinfo=UTC)")
        if when < self.now:
            raise ValidationError(f"{when} is over: it is {self.now} already; a virtual clock never goes back")
        with self._driving():
            self._pass(micros(when), lambda: False)

    def wait(self, key: WorkflowKey | str, until: str = TERMINAL, *, within: timedelta = YEAR) -> Stored:
        """Lets time pass until the instance has this status, or any terminal one. Returns its row.

        Raises TimeoutError when it has not after ``within``, or at once when nothing is due any more; and ValidationError.
        """

        async def waiting() -> Stored:
            return await self.engine.wait(key, until, math.inf)

        with self._driving():
            task = self._loop.create_task(waiting())
            if self._pass(self._clock.now_us() + within // timedelta(microseconds=1), task.done, stop_idle=True):
                return task.result()
            task.cancel()
            self._loop.run_ready()
        stored = self.run(self.engine.stored(key))
        now = f"its status is {stored.status!r}" if stored is not None and stored.version else "it has not begun"
        wanted = "a terminal status" if until == TERMINAL else f"status {until!r}"
        late = f"by {self.now}" if self._next_us() is not None else f"and nothing is due any more at {self.now}"
        raise TimeoutError(f"{key} did not reach {wanted} {late}; {now}")

    def _pass(self, end_us: int, done: Callable[[], bool], *, stop_idle: bool = False) -> bool:
        """Lets time pass until ``end_us`` or ``done``; with ``stop_idle`` no further than to what is due last."""
        while True:
            self._loop.run_ready()
            if done():
                return True
            if self.engine.service.closed is not None:
                raise self.engine.service.closed
            next_us = self._next_us()
            if next_us is None and stop_idle:
                return False
            self._go_to(end_us if next_us is None else min(next_us, end_us))
            if self._clock.now_us() >= end_us:
                self._loop.run_ready()
                return done()

    def _next_us(self) -> int | None:
        """When something happens next; None: nothing will."""
        now_us = self._clock.now_us()
        waiting = [row.due_us for row in self._store.tables.outbox.values() if row.state is EnumOutboxState.WAITING]
        later = [due_us for due_us in waiting if due_us > now_us]
        if len(later) < len(waiting):  # an effect runs, or its engine has not looked yet
            timer_s = self._loop.next_timer()
            later += [] if timer_s == math.inf else [now_us + max(1, round((timer_s - self._loop.time()) * 1e6))]
        return min(later, default=None)

    def _go_to(self, at_us: int) -> None:
        self._loop.pass_until(self._loop.time() + (at_us - self._clock.now_us()) / 1e6)
        while self._clock.now_us() < at_us:  # one float short of it
            self._loop.pass_until(math.nextafter(self._loop.time(), math.inf))

    @contextmanager
    def _driving(self, work: Coroutine[Any, Any, object] | None = None) -> Iterator[None]:
        """Raises ValidationError while the loop runs, or another one: ``work`` is closed then."""
        try:
            _not_in_a_loop(itself=self._loop.is_running())
        except ValidationError:
            if work is not None:
                work.close()
            raise
        try:
            yield
        except UnsimulatedError as error:
            error.add_note(
                "in virtual time an effect cannot use the network or processes of asyncio: give a fake for it in executors"
            )
            raise

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes the engine in order. Raises the error that ended the run, if one did and nobody has seen it."""
        try:
            if self._loop.failure is None:
                self.run(self.engine.close())
        finally:
            self._end()

    def _end(self) -> None:
        self._watchdog.close()
        self._loop.finish()


@contextmanager
def virtual(
    app: App | Path | str = ".",
    *,
    executors: Mapping[str, GivenEffect] | None = None,
    start: datetime = START,
    seed: int = 0,
) -> Iterator[VirtualRun]:
    """An app in virtual time, from ``start`` on: ``with virtual("shop", executors={"bank": fake}) as run``.

    ``executors[target]`` serves that target in place of the app's own function, as with ``onex.open``. ``seed`` draws the order
    of what happens at one moment. Raises ContractError, InvalidExecutor, ValidationError for a start without a time zone.
    """
    if start.tzinfo is None:
        raise ValidationError(f"start={start} has no time zone; write datetime(..., tzinfo=UTC)")
    _not_in_a_loop()
    given = executors or {}
    run = VirtualRun(app if isinstance(app, App) else load_app(app, tuple(given)), given, start, seed)
    try:
        yield run
    except BaseException:
        with suppress(OnexError):  # the test's own error comes first
            run.close()
        raise
    run.close()


def _not_in_a_loop(*, itself: bool = False) -> None:
    """Raises ValidationError inside a running event loop; ``itself``: it is the run's own."""
    if itself:
        raise ValidationError(
            "this was called by an effect or a coroutine of the run itself: only the test can drive it; a coroutine awaits "
            "the methods of run.engine"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ValidationError(
        "a virtual run drives an event loop of its own: use it in a plain function (def test_...), not in a coroutine"
    )


def _here(call: Callable[[], T]) -> T:
    """In this thread, and time stands still. The call sees no running loop, as in a thread: it may use ``asyncio.run``."""
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return call()
    finally:
        asyncio._set_running_loop(loop)


async def _at_once(call: Callable[[], T]) -> T:
    return _here(call)


class _ThreadlessLoop(SimLoop):
    """What an effect hands to a thread, by ``asyncio.to_thread``, is done here and now."""

    def run_in_executor(self, executor: Executors | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(_here(lambda: func(*args)))
        except Exception as error:
            future.set_exception(error)
        return future


class _Here:
    """Workers without processes: a compute function is called here and now."""

    max_workers = 1

    def __init__(self, app: App) -> None:
        self._app = app

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        function = self._app.workflows[where[2]].computes[where[3]]
        try:
            return _here(lambda: perform(function, compute_shape(function, ComputeIO), payload, blobs))
        except OnexError:
            raise
        except BaseException as error:
            raise EffectFailed(caught(error)) from error


class _Recorder:
    def __init__(self, executor: Executor, calls: list[ModelIntent[BaseModel]]) -> None:
        self._executor, self._calls = executor, calls

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self._calls.append(intent)
        return await self._executor.execute(intent)
