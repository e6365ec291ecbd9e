"""Trial: runs one workload, kills its engine twice, and counts what the effects did.

Theory of operation. This process is the parent. It starts the engine as a child, or several workers that share a store; it
sends the inputs, and is never killed. Each effect reports to it when it is done, and returns only when the parent has acknowledged
the report.

1. The moments of the kills are drawn from the seed before the start: a number of seen effects inside each window of KILLS, and
   a wait of up to WAIT_S_MAX, so that the kill meets any point of a commit.
2. ``_keep`` keeps one place filled: ``_run_engine`` starts a process and three tasks. ``_receive`` reads messages,
   ``_write_reports`` writes reports into the ledger (fsync) and then acknowledges them, ``_watch`` ends an engine that does
   nothing for STALL_S.
3. ``_next_reports`` takes no report that would carry the count past the window of the next kill. Effects wait for their
   acknowledgement, so the work cannot finish before the kill, however fast the engines are. ``_writing`` is held from the
   count to the acknowledgement: two places count together.
4. At the moment of a kill ``_acknowledge`` starts ``_kill`` for the engine whose report made it. For the second kill it leaves one
   report of the batch unacknowledged: that effect is done, its engine does not know it, and it must run again under the same key.
5. After a kill the place is filled again. Inputs that the dead engine had not answered are sent again, to whoever has room, with
   the same action ids: if the commit was durable and only the answer was lost, they are duplicates and change nothing.
6. Reports that were still in the socket when the engine died are read until the stream ends, and written down: the effect
   did happen. Nobody can be told; the next owner runs it again, which counts as *retried*.
7. One engine says itself when nothing is due any more. Of several none can: ``_finish_workers`` asks the store, first the inbox and
   then the outbox. A message to another worker keeps its row in the outbox until it is answered: none is missed in between.

8. ``kill_now`` is a kill that somebody asks for, by the page. It is one more: those of KILLS come as drawn. One that was about to
   meet the same engine meets the next one.
9. A trial ``after`` another goes on with its store, its ledger and its counts, and draws no kills. It stays until ``end``; ``take``
   gives it more inputs.

What may go wrong: an engine ends without a kill, or hangs (EngineEnded, with its last output); it refuses an input
(InputRefused). Whatever happens, ``_run_engine`` kills the process that it started.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ...engine.metrics import Latency
from ...kernel.errors import EngineClosed, OnexError
from ...ports import EnumOutboxState, Pointer, Reader
from ...wiring import open_reader
from .engine_process import EngineProcess, start_engine
from .kill_moments import KillMoment, kill_moments
from .ledger import EffectLedger
from .wire import (
    EffectReport,
    EngineFailed,
    EngineIdle,
    EngineReady,
    FinishWork,
    Input,
    InputsTaken,
    Message,
    Pulse,
    RefusedInput,
    ReportsWritten,
    TakeInputs,
)
from .workload import Workload

ENGINE = (sys.executable, "-P", "-m", "onex.cli.demo.engine")
BATCH = 25
UNANSWERED_MAX = 100
STALL_S = 120.0
LEASE_S = 1.0
LOOK_S = 0.1
PAGE = 500


class EngineEnded(EngineClosed):
    """The demo's engine ended or hung although it was not killed."""

    code = "engine_ended"


class InputRefused(OnexError):
    """The demo's engine refused an input of the job."""

    code = "input_refused"


class ProgressListener(Protocol):
    """Shows the progress to a person."""

    def seen(self, effects: int) -> None: ...

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None: ...


class EngineKill(NamedTuple):
    """One kill that happened, when ``effects`` were seen; ``withheld``: one of them was done and not acknowledged.

    ``asked``: somebody asked for it, beside those that were drawn.
    """

    effects: int
    withheld: bool
    asked: bool = False


class TrialResult(NamedTuple):
    """``wall_s``: first start to last end. ``latency``: over all engines. ``idle_us``: since then nothing was due."""

    wall_s: float
    struck: tuple[EngineKill, ...]
    latency: Latency
    idle_us: int
    taken: tuple[Input, ...]

    @property
    def kills(self) -> int:
        return len(self.struck)

    @property
    def kills_asked(self) -> int:
        return sum(one.asked for one in self.struck)


class Trial:
    """``engine``: the command line of an engine. ``between`` is called after each kill, while the killed engine does not run.
    ``ready`` is called each time an engine takes work.

    ``workers``: how many share the store; None for one engine that has it alone. ``after``: the trial that it goes on from.
    """

    def __init__(
        self,
        workload: Workload,
        store_url: str,
        folder: Path,
        seed: int,
        progress: ProgressListener,
        *,
        workers: int | None = None,
        engine: Sequence[str] = ENGINE,
        between: Callable[[], None] = lambda: None,
        ready: Callable[[Trial], None] = lambda trial: None,
        after: Trial | None = None,
    ) -> None:
        self.workload, self.store_url, self.workers = workload, store_url, workers
        self.ledger: EffectLedger = EffectLedger(folder / "ledger.jsonl") if after is None else after.ledger
        self._stays = after is not None
        self.log = folder / "engine.log"
        self._progress, self._command, self._between, self._ready = progress, engine, between, ready
        moments = kill_moments(workload.effects, random.Random(seed)) if after is None else ()  # noqa: S311 - a moment, not a secret
        self._moments = deque(moments)
        inputs = workload.inputs if after is None else ()
        self._left, self._unsent = {one.number: one for one in inputs}, deque(inputs)
        self._engines: list[EngineProcess] = []
        self._writing = asyncio.Lock()
        self._kill_task: asyncio.Task[None] | None = None
        self._all_taken, self._finishing = asyncio.Event(), False
        self._taken: list[Input] = [] if after is None else after._taken
        self._struck: list[EngineKill] = [] if after is None else after._struck
        self._latency = Latency()

    async def run(self) -> TrialResult:
        """Raises EngineEnded, InputRefused. No engine runs when it returns or raises."""
        began_s = time.monotonic()
        try:
            tasks = [asyncio.create_task(self._keep()) for _ in range(self.workers or 1)]
            asking = asyncio.create_task(self._finish_workers()) if self.workers else None
            idle_us = max(await _all_or_none([*tasks, *([asking] if asking else [])]))
        finally:
            if self._kill_task is not None:
                self._kill_task.cancel()
            self.ledger.close()
        wall_s = time.monotonic() - began_s
        return TrialResult(wall_s, tuple(self._struck), self._latency, idle_us, tuple(self._taken))

    async def _keep(self) -> int:
        """One engine after the other, until one ends in order. Returns since when nothing was due."""
        while (idle_us := await self._run_engine()) is None:
            self._between()
        return idle_us

    async def _run_engine(self) -> int | None:
        """One engine from start to end. Returns since when nothing was due, or None when it was killed."""
        pace = json.dumps(dict(self.workload.pace_s))
        words = [self.store_url, str(self.workload.app), pace, *([str(LEASE_S)] if self.workers else [])]
        engine = await start_engine(self._command, words, self.log, self.workload.environment)
        self._engines.append(engine)
        writing = asyncio.create_task(self._write_reports(engine))
        watching = asyncio.create_task(self._watch(engine))
        try:
            await self._receive(engine)
            engine.ended = True
            engine.arrived.set()
            await writing
            code = await engine.process.wait()
        finally:
            writing.cancel()
            watching.cancel()
            if engine.process.returncode is None:
                engine.process.kill()
                await engine.process.wait()
            self._engines.remove(engine)
            await engine.link.close()
        self._latency.merge(Latency.from_pairs(engine.pulse.latency))
        self._unsent.extendleft(reversed(engine.asked.values()))
        if engine.killed:
            return None
        if engine.idle_us is None or code != 0:
            raise EngineEnded(f"the engine ended by itself: {engine.reason or self._last_output(code)}")
        return engine.idle_us

    async def _finish_workers(self) -> int:
        """Returns since when nothing was due in the store; the workers are then told that no more comes."""
        await self._all_taken.wait()
        reader = await open_reader(self.store_url)
        try:
            while True:
                since_us = time.time_ns() // 1000
                if not await reader.inbox(0, 1) and not await _is_due(reader, since_us):
                    break
                await asyncio.sleep(LOOK_S)
        finally:
            await reader.close()
        self._finishing = True
        for engine in self._engines:
            self._send_inputs(engine)
        return since_us

    def _last_output(self, code: int) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"exit code {code}; {lines[-1] if lines else 'no output'} ({self.log})"

    # --- messages from the engine -----------------------------------------------------------------------------------------

    async def _receive(self, engine: EngineProcess) -> None:
        """Until the stream ends; after a kill the messages that the engine had sent come first."""
        while (message := await engine.link.read()) is not None:
            if isinstance(message, EffectReport):
                engine.reports.append(message)
                engine.arrived.set()
            else:
                self._handle(engine, message)

    def _handle(self, engine: EngineProcess, message: Message) -> None:
        if isinstance(message, InputsTaken):
            for number in message.inputs:
                engine.asked.pop(number, None)
            self._taken.extend(self._left.pop(number) for number in message.inputs)
            if not self._left:
                self._all_taken.set()
            self._send_inputs(engine)
        elif isinstance(message, EngineReady):
            engine.ready = True
            self._ready(self)
            self._send_inputs(engine)
        elif isinstance(message, Pulse):
            engine.pulse = message
        elif isinstance(message, EngineIdle):
            engine.idle_us = message.since_us
        elif isinstance(message, EngineFailed):
            engine.reason = message.why
        elif isinstance(message, RefusedInput):
            refused = self._left[message.input]
            raise InputRefused(f"{refused.trigger!r} for {refused.key} was refused: {message.why}")

    def _send_inputs(self, engine: EngineProcess) -> None:
        """Keeps up to UNANSWERED_MAX inputs unanswered. Inputs without an answer are sent again to the next engine."""
        while engine.ready and self._unsent and len(engine.asked) < UNANSWERED_MAX:
            batch = tuple(self._unsent.popleft() for _ in range(min(BATCH, len(self._unsent))))
            engine.asked.update((one.number, one) for one in batch)
            engine.link.send(TakeInputs(inputs=batch))
        is_over = self._finishing if self.workers else not self._left
        if engine.ready and is_over and not self._stays and not engine.finishing:
            engine.finishing = True
            engine.link.send(FinishWork())

    async def _watch(self, engine: EngineProcess) -> None:
        """Kills an engine that commits nothing and reports nothing for STALL_S; that is an error."""
        last, since_s = (-1, -1), time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = (engine.pulse.committed, self.ledger.effects)
            if now != last:
                last, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > STALL_S and not self._stays:
                engine.reason = f"it did nothing for {STALL_S:.0f} s, at {self.ledger.effects} effects, and was killed"
                engine.process.kill()
                return

    # --- answers to the engine ------------------------------------------------------------------------------------------

    async def _write_reports(self, engine: EngineProcess) -> None:
        while True:
            await engine.arrived.wait()
            engine.arrived.clear()
            async with self._writing:
                while batch := self._next_reports(engine):
                    await asyncio.to_thread(self.ledger.write, batch)
                    self._progress.seen(self.ledger.effects)
                    self._acknowledge(engine, batch)
            if engine.ended and not engine.reports:
                return

    def _next_reports(self, engine: EngineProcess) -> list[EffectReport]:
        """The reports to write now. Before a kill, none that would carry the count past its window."""
        count = len(engine.reports)
        if self._moments and not engine.ended:
            room = self._moments[0].until - self.ledger.effects
            count = min(count, max(room, 0 if self._kill_task else 1))
        return [engine.reports.popleft() for _ in range(count)]

    def _acknowledge(self, engine: EngineProcess, batch: list[EffectReport]) -> None:
        if engine.ended:
            return
        moment = self._moments[0] if self._moments else None
        if moment is not None and self._kill_task is None and self.ledger.effects >= moment.at:
            self._kill_task = asyncio.create_task(self._kill(engine, moment))
            if moment.withhold:
                batch = batch[:-1]
        engine.link.send(ReportsWritten(reports=tuple(report.number for report in batch)))

    async def _kill(self, engine: EngineProcess, moment: KillMoment) -> None:
        await asyncio.sleep(moment.wait_s)
        self._kill_task = None
        if self._killed(engine, withheld=moment.withhold):
            self._moments.popleft()
            for other in self._engines:  # what waited for the kill may be written down
                other.arrived.set()

    def take(self, more: Sequence[Input]) -> None:
        """Inputs beside those of the workload, while it stays."""
        self._left.update((one.number, one) for one in more)
        self._unsent.extend(more)
        for engine in self._engines:
            self._send_inputs(engine)

    def end(self) -> None:
        """No more comes: it is over when nothing is due."""
        self._stays = False
        for engine in self._engines:
            self._send_inputs(engine)

    @property
    def takes_work(self) -> bool:
        return any(one.ready and not one.ended and not one.killed for one in self._engines)

    @property
    def kills(self) -> int:
        """So far."""
        return len(self._struck)

    def kill_now(self) -> bool:
        """Kill an engine that takes work, as somebody asks. False where none does: between two, and when all is done."""
        return any(self._killed(one, asked=True) for one in self._engines if one.ready and not one.ended)

    def _killed(self, engine: EngineProcess, *, withheld: bool = False, asked: bool = False) -> bool:
        """False for one that was killed already, or has ended by itself: ``_run_engine`` reports that."""
        if engine.killed:
            return False
        try:
            engine.process.kill()
        except ProcessLookupError:
            return False
        engine.killed = True
        self._struck.append(EngineKill(self.ledger.effects, withheld, asked))
        self._progress.killed(len(self._struck), self.ledger.effects, withheld=withheld)
        return True


async def _is_due(reader: Reader, now_us: int) -> bool:
    """Whether an intent waits whose time has come."""
    after: Pointer | None = None
    while rows := await reader.outbox([EnumOutboxState.WAITING], None, after, PAGE):
        if any(row.due_us <= now_us for row in rows):
            return True
        after = rows[-1].pointer
    return False


async def _all_or_none(tasks: Sequence[asyncio.Task[int]]) -> list[int]:
    """What each gives. One that raises ends the others, and is raised when they have ended; so does a cancelled wait."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
