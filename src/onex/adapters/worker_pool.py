"""WorkerPool: compute functions run in worker processes, which may die, hang or grow without harm to the engine.

Theory of operation. A source makes the workers: ``ForkedWorkers`` on this machine, ``RayWorkers`` on a cluster of Ray. The pool
decides which worker gets which task, and what a death, a time-out and a cancelled call mean. So that is the same wherever they run.

1. ``run`` takes an idle worker, or waits in a queue. ``_refill`` orders as many workers as are waited for, up to
   ``max_workers``.
2. The worker gets one task at a time. So a death or a time-out has exactly one task to blame, and other tasks do not notice.
3. A free worker goes to the task that has waited longest.

What may go wrong:

- The worker dies before it answers. The task goes to another worker, three workers in all (``DEATHS``); then it is EffectFailed
  (``killed_its_worker``), since it is likely the task that kills them. One that was dead before it had the task does not count.
- The task takes too long, or its caller is cancelled: the worker cannot be asked for anything else, so it is ended.
- An order for a worker must not be cancelled half-way. So only tasks of the pool itself send orders.
- ``close`` while a worker is starting: it is let go once more at the end, after all tasks of the pool are done.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from ..kernel.errors import EffectFailed, EngineClosed
from ..ports import NewBlob
from .fork_server import FunctionAddress, outcome, request

DEATHS: Final = 3
"""A task at which so many workers died is not given to another."""

T = TypeVar("T")


class WorkerDied(Exception):
    """The worker ended before it answered. ``had_task``: it may have been the task that ended it."""

    def __init__(self, *, had_task: bool = True) -> None:
        super().__init__()
        self.had_task = had_task


class PoolWorker(Protocol):
    """One process that does one task at a time."""

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended while it was idle."""

    async def ask(self, parts: list[bytes]) -> list[bytes]:
        """A task as ``request`` writes it; its answer is for ``outcome``. Raises WorkerDied."""

    def let_go(self) -> None:
        """It gets no more tasks. Idempotent."""

    async def end(self) -> str:
        """Ends it, whatever it does, and says in words how it ended."""

    async def until_gone(self) -> None:
        """After ``let_go``."""


class WorkerSource(Protocol):
    """Makes workers. Only tasks of the pool call it, and nobody cancels those."""

    async def start(self) -> None:
        """All that can be found out before the first task. Raises DependencyResolutionError; NoAvailableSubreducersError."""

    async def new(self) -> PoolWorker:
        """A worker that is ready. Raises what ``start`` raises."""

    async def close(self) -> None:
        """Ends all workers; ``new`` raises from then on. Idempotent."""


class WorkerPool:
    """Workers are made when they are needed, ``max_workers`` at most (default: the number of processors). ``timeout_s`` bounds
    a task that has no bound of its own. The time during which it waits for a worker does not count.
    """

    def __init__(self, source: WorkerSource, *, max_workers: int | None = None, timeout_s: float | None = None) -> None:
        self.max_workers = max_workers or os.cpu_count() or 1
        self.deaths = 0
        self._source = source
        self._timeout_s = timeout_s
        self._workers: set[PoolWorker] = set()
        self._idle: list[PoolWorker] = []
        self._starting = 0
        self._waiting: deque[asyncio.Future[PoolWorker]] = deque()
        self._tasks: set[asyncio.Task[object]] = set()
        self._released = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    # --- for callers --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the source. Without this call the first task does it.

        Raises DependencyResolutionError when the entry cannot be imported; NoAvailableSubreducersError.
        """
        await asyncio.shield(self._own(self._source.start()))

    async def run(
        self, where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        """The result of one task and the blobs it made. A caller that is cancelled ends the worker that has the task.

        A task whose worker dies is given to another, DEATHS workers in all. Raises EffectFailed with the ``reason``
        ``raised``, ``killed_its_worker``, ``timed_out`` (which may be retried) or the code that function or entry gave;
        EngineClosed; and what ``start`` raises.
        """
        parts = request(where, payload, blobs)
        bound = self._timeout_s if timeout_s is None else timeout_s
        ends: list[str] = []
        while len(ends) < DEATHS:
            worker = await self._take()
            try:
                async with asyncio.timeout(bound):
                    reply = await worker.ask(parts)
            except TimeoutError:
                await self._discard(worker)
                raise EffectFailed(
                    f"{where[2]}.{where[3]} was stopped after {bound:g} s; raise timeout_ms, or give it less to do",
                    retryable=True,
                    code="timed_out",
                ) from None
            except WorkerDied as died:
                self.deaths += 1
                told = await self._discard(worker)
                if died.had_task:
                    ends.append(told)
                if self._closing is not None:
                    raise EngineClosed("the workers are closed; the task was not finished") from None
            except BaseException:
                _ = self._drop(worker)
                raise
            else:
                self._release(worker)
                return outcome(reply)
        raise EffectFailed(
            f"{where[2]}.{where[3]} killed its worker {DEATHS} times ({'; '.join(ends)}); it is not tried again",
            code="killed_its_worker",
        )

    async def ping(self) -> None:
        """Raises NoAvailableSubreducersError when no worker can be started now."""
        await self.start()

    async def close(self, grace_s: float = 5.0) -> None:
        """Refuse new tasks, wait up to ``grace_s`` seconds for running ones, then end every process. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(grace_s))
        await asyncio.shield(self._closing)

    # --- workers ------------------------------------------------------------------------------------------------------

    async def _take(self) -> PoolWorker:
        if self._closing is not None:
            raise EngineClosed("the workers are closed; no task is taken")
        while self._idle:
            worker = self._idle.pop()  # the one used last: its caches are warm
            if not worker.is_gone:
                return worker
            self.deaths += 1
            _ = self._drop(worker)
        waiter: asyncio.Future[PoolWorker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._refill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _refill(self) -> None:
        wanted = sum(not waiter.done() for waiter in self._waiting)
        while self._starting < wanted and len(self._workers) + self._starting < self.max_workers:
            self._starting += 1
            _ = self._own(self._start_worker())

    async def _start_worker(self) -> None:
        try:
            worker = await self._source.new()
        except Exception as error:
            self._starting -= 1
            self._released.set()
            if (waiter := self._next_waiter()) is not None:
                waiter.set_exception(error)
            self._refill()
            return
        self._starting -= 1
        self._workers.add(worker)
        self._release(worker)

    def _release(self, worker: PoolWorker) -> None:
        """Give a free worker to the task that has waited longest."""
        if (waiter := self._next_waiter()) is not None:
            waiter.set_result(worker)
        else:
            self._idle.append(worker)
            self._released.set()

    def _next_waiter(self) -> asyncio.Future[PoolWorker] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _drop(self, worker: PoolWorker) -> asyncio.Task[str]:
        self._workers.discard(worker)
        self._released.set()
        worker.let_go()
        ending = self._own(worker.end())
        if self._closing is None:
            self._refill()
        return ending

    async def _discard(self, worker: PoolWorker) -> str:
        return await asyncio.shield(self._drop(worker))

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _close(self, grace_s: float) -> None:
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(EngineClosed("the workers are closed; the task was not begun"))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while len(self._idle) < len(self._workers) + self._starting:
                    self._released.clear()
                    await self._released.wait()
        for worker in self._workers:
            worker.let_go()
        await self._source.close()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for worker in self._workers:
            worker.let_go()  # again: one may have been starting when close began
        for worker in list(self._workers):
            await worker.until_gone()
        self._workers.clear()
        self._idle.clear()

    def _own(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
