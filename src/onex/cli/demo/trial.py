"""Trial: runs one workload, kills its engine twice, and counts what the effects did.

Theory of operation. This process is the parent. It starts the engine as a child, sends the inputs, and is never killed.
Each effect of the engine reports to it when it is done, and returns only when the parent has acknowledged the report.

1. The moments of the kills are drawn from the seed before the start: a number of seen effects inside each window of KILLS, and
   a wait of up to WAIT_S_MAX, so that the kill meets any point of a commit.
2. ``_run_engine`` starts a process and three tasks: ``_receive`` reads messages, ``_write_reports`` writes reports into the
   ledger (fsync) and then acknowledges them, ``_watch`` ends an engine that does nothing for STALL_S.
3. ``_next_reports`` takes no report that would carry the count past the window of the next kill. Effects wait for their
   acknowledgement, so the work cannot finish before the kill, however fast the engine is.
4. At the moment of a kill ``_acknowledge`` starts ``_kill``. For the second kill it leaves one report of the batch
   unacknowledged: that effect is done, the engine does not know it, and it must run again under the same key.
5. After a kill the loop in ``run`` starts the next engine. Inputs without an answer are sent again with the same action ids:
   if the commit was durable and only the answer was lost, they are duplicates and change nothing.
6. Reports that were still in the socket when the engine died are read until the stream ends, and written down: the effect
   did happen. Nobody can be told; the next engine runs it again, which counts as *retried*.

What may go wrong: the engine ends without a kill, or hangs (EngineEnded, with its last output); it refuses an input
(InputRefused). Whatever happens, ``_run_engine`` kills the process that it started.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple, Protocol

from ...engine.metrics import Latency
from ...kernel.errors import EngineClosed, OnexError
from .ledger import EffectLedger
from .wire import (
    Connection,
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
KILLS = ((0.25, 0.50, False), (0.55, 0.80, True))
"""Shares of the expected effects: from, until; and whether an acknowledgement is withheld."""
WAIT_S_MAX = 0.025
BATCH = 25
UNANSWERED_MAX = 100
STALL_S = 120.0


class EngineEnded(EngineClosed):
    """The demo's engine ended or hung although it was not killed."""

    code = "engine_ended"


class InputRefused(OnexError):
    """The demo's engine refused an input of the job."""

    code = "input_refused"


class KillMoment(NamedTuple):
    """Kill ``wait_s`` after ``at`` effects were seen. Until then at most ``until`` effects are written down."""

    at: int
    until: int
    wait_s: float
    withhold: bool


def kill_moments(effects: int, chance: random.Random) -> tuple[KillMoment, ...]:
    """One random moment inside each window of KILLS."""
    chosen: list[KillMoment] = []
    for low, high, withhold in KILLS:
        until = max(1, int(effects * high))
        at = chance.randint(min(until, max(1, ceil(effects * low))), until)
        chosen.append(KillMoment(at, until, chance.uniform(0.0, WAIT_S_MAX), withhold))
    return tuple(chosen)


class ProgressListener(Protocol):
    """Shows the progress to a person."""

    def seen(self, effects: int) -> None: ...

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None: ...


class EngineKill(NamedTuple):
    """One kill that happened, when ``effects`` were seen; ``withheld``: one of them was done and not acknowledged."""

    effects: int
    withheld: bool


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


class _EngineProcess:
    """One engine process, and its messages that are not handled yet."""

    def __init__(self, process: asyncio.subprocess.Process, link: Connection) -> None:
        self.process, self.link = process, link
        self.reports: deque[EffectReport] = deque()
        self.arrived = asyncio.Event()
        self.inputs: deque[Input] = deque()
        self.unanswered = 0
        self.ready = False
        self.finishing = False
        self.ended = False
        self.kill_task: asyncio.Task[None] | None = None
        self.killed = False
        self.pulse = Pulse(committed=0, latency=[])
        self.idle_us: int | None = None
        self.reason = ""


class Trial:
    """``engine``: the command line of an engine. ``between`` is called after each kill, while no engine runs."""

    def __init__(
        self,
        workload: Workload,
        store_url: str,
        folder: Path,
        seed: int,
        progress: ProgressListener,
        *,
        engine: Sequence[str] = ENGINE,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.workload, self.store_url = workload, store_url
        self.ledger = EffectLedger(folder / "ledger.jsonl")
        self.log = folder / "engine.log"
        self._progress, self._command, self._between = progress, engine, between
        self._moments = deque(kill_moments(workload.effects, random.Random(seed)))  # noqa: S311 - a moment, not a secret
        self._left = {one.number: one for one in workload.inputs}
        self._taken: list[Input] = []
        self._latency = Latency()
        self._struck: list[EngineKill] = []

    async def run(self) -> TrialResult:
        """Raises EngineEnded, InputRefused. No engine runs when it returns or raises."""
        began_s = time.monotonic()
        try:
            while (idle_us := await self._run_engine()) is None:
                self._between()
        finally:
            self.ledger.close()
        wall_s = time.monotonic() - began_s
        return TrialResult(wall_s, tuple(self._struck), self._latency, idle_us, tuple(self._taken))

    async def _run_engine(self) -> int | None:
        """One engine from start to end. Returns since when nothing was due, or None when it was killed."""
        engine = await self._start()
        writing = asyncio.create_task(self._write_reports(engine))
        watching = asyncio.create_task(self._watch(engine))
        try:
            await self._receive(engine)
            engine.ended = True
            engine.arrived.set()
            await writing
            code = await engine.process.wait()
        finally:
            for task in (writing, watching, engine.kill_task):
                if task is not None:
                    task.cancel()
            if engine.process.returncode is None:
                engine.process.kill()
                await engine.process.wait()
            await engine.link.close()
        self._latency.merge(Latency.from_pairs(engine.pulse.latency))
        if engine.killed:
            return None
        if engine.idle_us is None or code != 0:
            raise EngineEnded(f"the engine ended by itself: {engine.reason or self._last_output(code)}")
        return engine.idle_us

    async def _start(self) -> _EngineProcess:
        ours, theirs = socket.socketpair()
        try:
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(theirs.fileno()),
                    self.store_url,
                    str(self.workload.app),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for this process, which then ends the engine
                    env=os.environ | self.workload.environment,
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        engine = _EngineProcess(process, await Connection.over(ours))
        engine.inputs.extend(self._left.values())
        return engine

    def _last_output(self, code: int) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"exit code {code}; {lines[-1] if lines else 'no output'} ({self.log})"

    # --- messages from the engine -----------------------------------------------------------------------------------------

    async def _receive(self, engine: _EngineProcess) -> None:
        """Until the stream ends; after a kill the messages that the engine had sent come first."""
        while (message := await engine.link.read()) is not None:
            if isinstance(message, EffectReport):
                engine.reports.append(message)
                engine.arrived.set()
            else:
                self._handle(engine, message)

    def _handle(self, engine: _EngineProcess, message: Message) -> None:
        if isinstance(message, InputsTaken):
            engine.unanswered -= len(message.inputs)
            self._taken.extend(self._left.pop(number) for number in message.inputs)
            self._send_inputs(engine)
        elif isinstance(message, EngineReady):
            engine.ready = True
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

    def _send_inputs(self, engine: _EngineProcess) -> None:
        """Keeps up to UNANSWERED_MAX inputs unanswered. Inputs without an answer are sent again to the next engine."""
        while engine.ready and engine.inputs and engine.unanswered < UNANSWERED_MAX:
            batch = tuple(engine.inputs.popleft() for _ in range(min(BATCH, len(engine.inputs))))
            engine.unanswered += len(batch)
            engine.link.send(TakeInputs(inputs=batch))
        if engine.ready and not self._left and not engine.finishing:
            engine.finishing = True
            engine.link.send(FinishWork())

    async def _watch(self, engine: _EngineProcess) -> None:
        """Kills an engine that commits nothing and reports nothing for STALL_S; that is an error."""
        last, since_s = (-1, -1), time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = (engine.pulse.committed, self.ledger.effects)
            if now != last:
                last, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > STALL_S:
                engine.reason = f"it did nothing for {STALL_S:.0f} s, at {self.ledger.effects} effects, and was killed"
                engine.process.kill()
                return

    # --- answers to the engine ------------------------------------------------------------------------------------------

    async def _write_reports(self, engine: _EngineProcess) -> None:
        while True:
            await engine.arrived.wait()
            engine.arrived.clear()
            while batch := self._next_reports(engine):
                await asyncio.to_thread(self.ledger.write, batch)
                self._progress.seen(self.ledger.effects)
                self._acknowledge(engine, batch)
            if engine.ended and not engine.reports:
                return

    def _next_reports(self, engine: _EngineProcess) -> list[EffectReport]:
        """The reports to write now. Before a kill, none that would carry the count past its window."""
        count = len(engine.reports)
        if self._moments and not engine.ended:
            room = self._moments[0].until - self.ledger.effects
            count = min(count, max(room, 0 if engine.kill_task else 1))
        return [engine.reports.popleft() for _ in range(count)]

    def _acknowledge(self, engine: _EngineProcess, batch: list[EffectReport]) -> None:
        if engine.ended:
            return
        moment = self._moments[0] if self._moments else None
        if moment is not None and engine.kill_task is None and self.ledger.effects >= moment.at:
            engine.kill_task = asyncio.create_task(self._kill(engine, moment))
            if moment.withhold:
                batch = batch[:-1]
        engine.link.send(ReportsWritten(reports=tuple(report.number for report in batch)))

    async def _kill(self, engine: _EngineProcess, moment: KillMoment) -> None:
        await asyncio.sleep(moment.wait_s)
        try:
            engine.process.kill()
        except ProcessLookupError:  # it ended by itself; ``_run_engine`` reports that
            return
        engine.killed = True
        self._moments.popleft()
        self._struck.append(EngineKill(self.ledger.effects, moment.withhold))
        self._progress.killed(len(self._struck), self.ledger.effects, withheld=moment.withhold)
