"""Trial: one job, an engine that is killed twice, and a witness who counts and is never killed.

The witness hands out the inputs, and answers an effect's report only after writing it down. So it can hold the work
where it wants it: neither kill can come too late, however fast the engine is.
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
"""Of the expected effects: from, until, and whether an answer is held back."""
WAIT_S_MAX = 0.025
BATCH = 25
UNANSWERED_MAX = 100
STALL_S = 120.0


class EngineEnded(EngineClosed):
    """The demo's engine ended, or hung, though nobody killed it."""

    code = "engine_ended"


class InputRefused(OnexError):
    """The demo's engine refused an input of the job."""

    code = "input_refused"


class KillMoment(NamedTuple):
    """Kill ``wait_s`` after ``at`` effects were seen; of later ones none beyond ``until`` is written down before."""

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
    """Who tells people how it goes."""

    def seen(self, effects: int) -> None: ...

    def killed(self, kill: int, effects: int, *, withheld: bool) -> None: ...


class TrialResult(NamedTuple):
    """``wall_s`` is from the first start to the last end, ``latency`` of all lives; nothing was due at ``idle_us``."""

    wall_s: float
    kills: int
    latency: Latency
    idle_us: int
    taken: tuple[Input, ...]


class _EngineProcess:
    """One engine process, and what of it is still to be answered."""

    def __init__(self, process: asyncio.subprocess.Process, link: Connection) -> None:
        self.process, self.link = process, link
        self.reports: deque[EffectReport] = deque()
        self.stir = asyncio.Event()
        self.inputs: deque[Input] = deque()
        self.unanswered = 0
        self.ready = False
        self.finishing = False
        self.over = False
        self.doom: asyncio.Task[None] | None = None
        self.killed = False
        self.pulse = Pulse(committed=0, latency=[])
        self.idle_us: int | None = None
        self.why = ""


class Trial:
    """``engine`` is the command line that becomes an engine; ``between`` is called while none runs, after each kill."""

    def __init__(
        self,
        workload: Workload,
        store_url: str,
        folder: Path,
        seed: int,
        watcher: ProgressListener,
        *,
        engine: Sequence[str] = ENGINE,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.workload, self.store_url = workload, store_url
        self.ledger = EffectLedger(folder / "ledger.jsonl")
        self.log = folder / "engine.log"
        self._watcher, self._engine, self._between = watcher, engine, between
        self._moments = deque(kill_moments(workload.effects, random.Random(seed)))  # noqa: S311 - a moment, not a secret
        self._left = {one.number: one for one in workload.inputs}
        self._taken: list[Input] = []
        self._latency = Latency()
        self._kills = 0

    async def run(self) -> TrialResult:
        """Raises EngineEnded, InputRefused. Whatever happens, no engine is left behind."""
        began_s = time.monotonic()
        try:
            while (idle_us := await self._live()) is None:
                self._between()
        finally:
            self.ledger.close()
        wall_s = time.monotonic() - began_s
        return TrialResult(wall_s, self._kills, self._latency, idle_us, tuple(self._taken))

    async def _live(self) -> int | None:
        """One engine, from its start to its end: when it had nothing left to do; None when it was killed."""
        life = await self._start()
        writing = asyncio.create_task(self._write(life))
        minding = asyncio.create_task(self._mind(life))
        try:
            await self._hear(life)
            life.over = True
            life.stir.set()
            await writing
            code = await life.process.wait()
        finally:
            for task in (writing, minding, life.doom):
                if task is not None:
                    task.cancel()
            if life.process.returncode is None:
                life.process.kill()
                await life.process.wait()
            await life.link.close()
        self._latency.merge(Latency.from_pairs(life.pulse.latency))
        if life.killed:
            return None
        if life.idle_us is None or code != 0:
            raise EngineEnded(f"the engine ended by itself: {life.why or self._last_words(code)}")
        return life.idle_us

    async def _start(self) -> _EngineProcess:
        ours, theirs = socket.socketpair()
        try:
            with self.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._engine,
                    str(theirs.fileno()),
                    self.store_url,
                    str(self.workload.app),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the witness, who ends the engine
                    env=os.environ | self.workload.environment,
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        life = _EngineProcess(process, await Connection.over(ours))
        life.inputs.extend(self._left.values())
        return life

    def _last_words(self, code: int) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"exit code {code}; {lines[-1] if lines else 'it said nothing'} ({self.log})"

    # --- what the engine says -----------------------------------------------------------------------------------------

    async def _hear(self, life: _EngineProcess) -> None:
        """Until the stream ends, which after a kill is behind the last word the engine got out."""
        while (message := await life.link.read()) is not None:
            if isinstance(message, EffectReport):
                life.reports.append(message)
                life.stir.set()
            else:
                self._note(life, message)

    def _note(self, life: _EngineProcess, message: Message) -> None:
        if isinstance(message, InputsTaken):
            life.unanswered -= len(message.inputs)
            self._taken.extend(self._left.pop(number) for number in message.inputs)
            self._feed(life)
        elif isinstance(message, EngineReady):
            life.ready = True
            self._feed(life)
        elif isinstance(message, Pulse):
            life.pulse = message
        elif isinstance(message, EngineIdle):
            life.idle_us = message.since_us
        elif isinstance(message, EngineFailed):
            life.why = message.why
        elif isinstance(message, RefusedInput):
            refused = self._left[message.input]
            raise InputRefused(f"{refused.trigger!r} for {refused.key} was refused: {message.why}")

    def _feed(self, life: _EngineProcess) -> None:
        """As any client: some inputs ahead of their answers; what has none after a crash is sent again under its id."""
        while life.ready and life.inputs and life.unanswered < UNANSWERED_MAX:
            batch = tuple(life.inputs.popleft() for _ in range(min(BATCH, len(life.inputs))))
            life.unanswered += len(batch)
            life.link.send(TakeInputs(inputs=batch))
        if life.ready and not self._left and not life.finishing:
            life.finishing = True
            life.link.send(FinishWork())

    async def _mind(self, life: _EngineProcess) -> None:
        """An engine that commits nothing and reports nothing for STALL_S is ended, and its end is an error."""
        last, since_s = (-1, -1), time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = (life.pulse.committed, self.ledger.effects)
            if now != last:
                last, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > STALL_S:
                life.why = f"it did nothing for {STALL_S:.0f} s, at {self.ledger.effects} effects; it was ended"
                life.process.kill()
                return

    # --- what it is answered ------------------------------------------------------------------------------------------

    async def _write(self, life: _EngineProcess) -> None:
        while True:
            await life.stir.wait()
            life.stir.clear()
            while batch := self._admitted(life):
                await asyncio.to_thread(self.ledger.write, batch)
                self._watcher.seen(self.ledger.effects)
                self._answer(life, batch)
            if life.over and not life.reports:
                return

    def _admitted(self, life: _EngineProcess) -> list[EffectReport]:
        """The reports to write down now. With a kill ahead, none that might carry the work out of its window."""
        count = len(life.reports)
        if self._moments and not life.over:
            room = self._moments[0].until - self.ledger.effects
            count = min(count, max(room, 0 if life.doom else 1))
        return [life.reports.popleft() for _ in range(count)]

    def _answer(self, life: _EngineProcess, batch: list[EffectReport]) -> None:
        if life.over:
            return
        moment = self._moments[0] if self._moments else None
        if moment is not None and life.doom is None and self.ledger.effects >= moment.at:
            life.doom = asyncio.create_task(self._kill(life, moment))
            if moment.withhold:
                batch = batch[:-1]
        life.link.send(ReportsWritten(reports=tuple(report.number for report in batch)))

    async def _kill(self, life: _EngineProcess, moment: KillMoment) -> None:
        await asyncio.sleep(moment.wait_s)
        try:
            life.process.kill()
        except ProcessLookupError:  # it ended by itself, which is for whoever waits for it to judge
            return
        life.killed = True
        self._moments.popleft()
        self._kills += 1
        self._watcher.killed(self._kills, self.ledger.effects, withheld=moment.withhold)
