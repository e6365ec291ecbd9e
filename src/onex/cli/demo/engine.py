"""The demo's engine: the real engine on a real store, in a process that the demo's parent starts and kills.

    python -m onex.cli.demo.engine SOCKET STORE_URL APP PACE [LEASE_S]

PACE is JSON: by workflow, how many seconds an effect takes at least, so that a person can watch it. With LEASE_S it is a worker
that shares the store with others: inputs then go through the inbox, to whoever has the instance.

Theory of operation.

1. ``Reporter.reporting`` wraps every effect of the app. When the effect is done, the wrapper sends an ``EffectReport`` and waits
   for the acknowledgement; only then the engine gets the result. So no outcome is durable before the parent has
   written down that the effect happened. Compute tasks, timers and sends to other instances touch nothing outside and are
   not reported.
2. ``DemoEngine.run`` starts to read the socket before it opens the store. Opening runs again the effects that were running at
   the kill; they report, and would wait forever for an acknowledgement that nobody reads.
3. Inputs are submitted with their given action ids. A retryable refusal (for example Overloaded) is tried again up to TRIES
   times; any other refusal is reported and ends the demo.
4. After ``FinishWork`` the engine waits until nothing is due here, sends a last ``Pulse`` and ``EngineIdle``, and closes. Workers
   get it when nothing is due in the whole store.
5. The parent is gone: the socket ends, ``_listen`` returns, the work is cancelled, and the process exits with code 3. It must not
   go on: nobody would count its effects.
6. A kill may come anywhere. Before the report: the effect runs again and is seen once. After the report, before the
   outcome is durable: it runs again and is seen twice, with the same key. After that: it does not run again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import json
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from blake3 import blake3
from pydantic import BaseModel

from ...app import App, load_app
from ...engine.encode import encode_payload
from ...engine.held_lease import Orchestrated
from ...engine.pattern_engine import ReducerPatternEngine
from ...kernel.errors import OnexError, Overloaded
from ...kernel.intent import ModelIntent
from ...nodes.io import Function
from ...wiring.client import connect
from ...wiring.engine import open as open_engine
from ...wiring.engine import open_worker
from .wire import (
    Connection,
    EffectReport,
    EngineFailed,
    EngineIdle,
    EngineReady,
    FinishWork,
    Input,
    InputsTaken,
    Pulse,
    RefusedInput,
    ReportsWritten,
    TakeInputs,
)

PULSE_S = 0.1
TRIES = 100
RETRY_S = 0.05

Intent = ModelIntent[BaseModel]
Tamper = Callable[[Intent], Intent]


class Reporter:
    """Makes effects that report. ``tamper``, which plants a fault, may change what effect and parent are given."""

    def __init__(
        self, link: Connection, tamper: Tamper | None = None, pace_s: Mapping[str, float] | None = None
    ) -> None:
        self._link = link
        self._tamper = tamper
        self._pace_s = pace_s or {}
        self._unanswered: dict[int, asyncio.Future[None]] = {}
        self._number = 0

    def reporting(self, app: App) -> App:
        """The same app with effects that report."""
        workflows = {
            name: dataclasses.replace(
                one,
                effects={
                    target: self._wrap(effect, self._pace_s.get(name, 0.0)) for target, effect in one.effects.items()
                },
            )
            for name, one in app.workflows.items()
        }
        return dataclasses.replace(app, workflows=workflows)

    def _wrap(self, effect: Function, pace_s: float) -> Function:
        waits = inspect.iscoroutinefunction(effect)

        @functools.wraps(effect)
        async def reporting(intent: Intent, *io: object) -> object:
            intent = self._tamper(intent) if self._tamper is not None else intent
            if pace_s:
                await asyncio.sleep(pace_s)
            value = effect(intent, *io) if waits else await asyncio.to_thread(effect, intent, *io)
            if inspect.isawaitable(value):
                value = await value
            await self._report(intent)
            return value

        return reporting

    async def _report(self, intent: Intent) -> None:
        self._number += 1
        number = self._number
        answered = self._unanswered[number] = asyncio.get_running_loop().create_future()
        body = blake3(encode_payload(intent.payload)).hexdigest()
        report = EffectReport(
            number=number,
            idempotency_key=intent.idempotency_key,
            instance=str(intent.workflow_key),
            version=intent.version,
            name=intent.name,
            n=intent.n,
            body=body,
        )
        self._link.send(report)
        try:
            await answered
        finally:
            del self._unanswered[number]

    def written(self, reports: Sequence[int]) -> None:
        for number in reports:
            answered = self._unanswered.get(number)
            if answered is not None and not answered.done():
                answered.set_result(None)


class DemoEngine:
    """Takes inputs until ``FinishWork``, or until the parent is gone."""

    def __init__(
        self, link: Connection, reporter: Reporter, store_url: str, app: Path, lease_s: float | None = None
    ) -> None:
        self._link, self._reporter = link, reporter
        self._store_url, self._app, self._lease_s = store_url, app, lease_s
        self._requests: asyncio.Queue[TakeInputs | FinishWork] = asyncio.Queue()

    async def run(self) -> None:
        """Raises OnexError when the engine cannot run."""
        # listens before the store is opened: effects found in it run and report while it opens
        listening = asyncio.create_task(self._listen())
        working = asyncio.create_task(self._work())
        await asyncio.wait((listening, working), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await working

    async def _listen(self) -> None:
        while (message := await self._link.read()) is not None:
            if isinstance(message, ReportsWritten):
                self._reporter.written(message.reports)
            elif isinstance(message, TakeInputs | FinishWork):
                self._requests.put_nowait(message)

    async def _work(self) -> None:
        app = self._reporter.reporting(load_app(self._app))
        async with AsyncExitStack() as stack:
            door: Orchestrated
            if self._lease_s is None:
                door = engine = await stack.enter_async_context(await open_engine(self._store_url, app))
            else:
                worker = await open_worker(self._store_url, app, lease_s=self._lease_s, workers=1)
                engine = await stack.enter_async_context(worker)
                door = await stack.enter_async_context(await connect(self._store_url))
            self._link.send(EngineReady())
            async with asyncio.TaskGroup() as tasks:
                pulse = tasks.create_task(self._beat(engine))
                while isinstance(request := await self._requests.get(), TakeInputs):
                    tasks.create_task(self._take(door, request.inputs))
                await engine.idle()
                since_us = time.time_ns() // 1000
                await engine.idle()  # for what fell due while the first one waited
                pulse.cancel()
            self._link.send(_pulse(engine))
            self._link.send(EngineIdle(since_us=since_us))

    async def _beat(self, engine: ReducerPatternEngine) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self._link.send(_pulse(engine))

    async def _take(self, door: Orchestrated, inputs: Sequence[Input]) -> None:
        taken = await asyncio.gather(*(self._submit(door, one) for one in inputs))
        self._link.send(InputsTaken(inputs=tuple(one.number for one, done in zip(inputs, taken, strict=True) if done)))

    async def _submit(self, door: Orchestrated, one: Input) -> bool:
        tries = 0
        while True:
            tries += 1
            try:
                await door.submit(one.key, one.trigger, one.payload, action_id=one.action_id)
            except OnexError as error:
                if not error.retryable or tries >= TRIES:
                    self._link.send(RefusedInput(input=one.number, why=error.message))
                    return False
                await asyncio.sleep(error.retry_after_s if isinstance(error, Overloaded) else RETRY_S)
            else:
                return True


def _pulse(engine: ReducerPatternEngine) -> Pulse:
    counters = engine.counters
    return Pulse(committed=counters.committed, latency=counters.latency.as_pairs())


async def serve(
    end: socket.socket,
    store_url: str,
    app: Path,
    pace_s: Mapping[str, float],
    lease_s: float | None = None,
    tamper: Tamper | None = None,
) -> int:
    """Runs the engine. Returns the exit code: 0 done, 1 an error, 3 the parent is gone."""
    link = await Connection.over(end)
    try:
        await DemoEngine(link, Reporter(link, tamper, pace_s), store_url, app, lease_s).run()
    except asyncio.CancelledError:  # the parent is gone: there is nobody to report to
        return 3
    except Exception as error:
        traceback.print_exc()
        why = error.message if isinstance(error, OnexError) else f"{type(error).__name__}: {error}"
        link.send(EngineFailed(why=why))
        return 1
    finally:
        await link.close()
    return 0


def main(words: Sequence[str], tamper: Tamper | None = None) -> int:
    """``words`` are the number of the inherited socket, the store's URL, the folder of the app, the pace, and a worker's lease."""
    number, store_url, app, pace, *lease = words
    end = socket.socket(fileno=int(number))
    end.set_inheritable(False)  # a worker process that kept it would hide this one's death from the parent
    return asyncio.run(serve(end, store_url, Path(app), json.loads(pace), float(lease[0]) if lease else None, tamper))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
