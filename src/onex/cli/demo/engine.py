"""The demo's engine: the real one on a real store, in a process of its own that the demo's parent starts and kills.

    python -m onex.cli.demo.engine SOCKET STORE_URL APP

Each effect, once done, reports to the parent and returns only when the parent has written that down. Compute tasks,
timers and sends touch nothing outside and are not reported.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from blake3 import blake3
from pydantic import BaseModel

from ...app import App, load_app
from ...engine.encode import encode_payload
from ...engine.pattern_engine import ReducerPatternEngine
from ...kernel.errors import OnexError, Overloaded
from ...kernel.intent import ModelIntent
from ...nodes.io import Function
from ...wiring import open as open_engine
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
Disguise = Callable[[Intent], Intent]


class Reporter:
    """Makes effects that tell. ``disguise`` may change what effect and parent are given: how a fault is planted."""

    def __init__(self, link: Connection, disguise: Disguise | None = None) -> None:
        self._link = link
        self._disguise = disguise
        self._unanswered: dict[int, asyncio.Future[None]] = {}
        self._number = 0

    def telling(self, app: App) -> App:
        """The same app, whose effects report."""
        workflows = {
            name: dataclasses.replace(
                one, effects={target: self._wrap(effect) for target, effect in one.effects.items()}
            )
            for name, one in app.workflows.items()
        }
        return dataclasses.replace(app, workflows=workflows)

    def _wrap(self, effect: Function) -> Function:
        waits = inspect.iscoroutinefunction(effect)

        @functools.wraps(effect)
        async def telling(intent: Intent, *io: object) -> object:
            intent = self._disguise(intent) if self._disguise is not None else intent
            value = effect(intent, *io) if waits else await asyncio.to_thread(effect, intent, *io)
            if inspect.isawaitable(value):
                value = await value
            await self._report(intent)
            return value

        return telling

    async def _report(self, intent: Intent) -> None:
        self._number += 1
        number = self._number
        answered = self._unanswered[number] = asyncio.get_running_loop().create_future()
        body = blake3(encode_payload(intent.payload)).hexdigest()
        told = EffectReport(
            number=number,
            idempotency_key=intent.idempotency_key,
            instance=str(intent.workflow_key),
            version=intent.version,
            name=intent.name,
            n=intent.n,
            body=body,
        )
        self._link.send(told)
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
    """One life of the engine: it takes inputs until it is told to finish, or until the parent is gone."""

    def __init__(self, link: Connection, reporter: Reporter, store_url: str, app: Path) -> None:
        self._link, self._reporter = link, reporter
        self._store_url, self._app = store_url, app
        self._orders: asyncio.Queue[TakeInputs | FinishWork] = asyncio.Queue()

    async def run(self) -> None:
        """Raises OnexError when the engine cannot run."""
        # heard before the store is opened: effects found there run, and report, while it opens
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
                self._orders.put_nowait(message)

    async def _work(self) -> None:
        app = self._reporter.telling(load_app(self._app))
        async with await open_engine(self._store_url, app) as engine:
            self._link.send(EngineReady())
            async with asyncio.TaskGroup() as tasks:
                pulse = tasks.create_task(self._beat(engine))
                while isinstance(order := await self._orders.get(), TakeInputs):
                    tasks.create_task(self._take(engine, order.inputs))
                await engine.idle()
                since_us = time.time_ns() // 1000
                await engine.idle()  # what fell due while the first one looked
                pulse.cancel()
            self._link.send(_pulse(engine))
            self._link.send(EngineIdle(since_us=since_us))

    async def _beat(self, engine: ReducerPatternEngine) -> None:
        while True:
            await asyncio.sleep(PULSE_S)
            self._link.send(_pulse(engine))

    async def _take(self, engine: ReducerPatternEngine, inputs: Sequence[Input]) -> None:
        taken = await asyncio.gather(*(self._submit(engine, one) for one in inputs))
        self._link.send(InputsTaken(inputs=tuple(one.number for one, done in zip(inputs, taken, strict=True) if done)))

    async def _submit(self, engine: ReducerPatternEngine, one: Input) -> bool:
        tries = 0
        while True:
            tries += 1
            try:
                await engine.submit(one.key, one.trigger, one.payload, action_id=one.action_id)
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


async def serve(end: socket.socket, store_url: str, app: Path, disguise: Disguise | None = None) -> int:
    """One life; the exit code."""
    link = await Connection.over(end)
    try:
        await DemoEngine(link, Reporter(link, disguise), store_url, app).run()
    except asyncio.CancelledError:  # the parent is gone: nobody is left to hear of it
        return 3
    except Exception as error:
        traceback.print_exc()
        told = error.message if isinstance(error, OnexError) else f"{type(error).__name__}: {error}"
        link.send(EngineFailed(why=told))
        return 1
    finally:
        await link.close()
    return 0


def main(words: Sequence[str], disguise: Disguise | None = None) -> int:
    """``words`` are the number of the inherited socket, the store's URL and the folder of the app."""
    number, store_url, app = words
    end = socket.socket(fileno=int(number))
    end.set_inheritable(False)  # a worker process that kept it would hide this one's death from the parent
    return asyncio.run(serve(end, store_url, Path(app), disguise))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
