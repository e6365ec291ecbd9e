"""The engine's own program submits too, through the library, and writes down what it was told before it goes on.

A line in a file that was written stays when the process is killed: the kernel has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from uuid import uuid4

from onex.cli import run
from onex.engine.dispatch import ReducerService
from onex.engine.pending import Committed
from onex.kernel.errors import OnexError
from onex.wiring.engine import WiredEngine

AT_ONCE = 2
AGAIN_S = 0.05
REST_S = 0.02  # clients in other processes are to be heard as well

Opening = Callable[..., Coroutine[None, None, WiredEngine]]


def submits_too(told: Path) -> None:
    """From here on ``onex run`` in this process has a part that submits, as an application around an engine has."""
    open_engine: Opening = run.open  # type: ignore[attr-defined]  # the command's own way to an engine
    talking: list[asyncio.Task[None]] = []

    async def open_and_talk(*given: object, **named: object) -> WiredEngine:
        engine = await open_engine(*given, **named)
        ours = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        talking.extend(asyncio.create_task(_talk(engine, ours, n)) for n in range(AT_ONCE))
        return engine

    run.open = open_and_talk  # type: ignore[attr-defined]  # as if the command were a program of ours


async def _talk(engine: WiredEngine, told: int, number: int) -> None:
    chance = random.Random(f"{os.getpid()} {number}")
    errands = 0
    while engine.service.closed is None:
        errands += 1
        key = f"errand:own-{os.getpid()}-{number}-{errands}"
        if not await _submit(engine, told, key, "begin", {"number": errands, "text": "from inside"}):
            return
        for _ in range(chance.randrange(1, 5)):
            await asyncio.sleep(REST_S)
            if not await _submit(engine, told, key, "note", {"text": "from inside"}):
                return


async def _submit(engine: WiredEngine, told: int, key: str, kind: str, payload: dict[str, object]) -> bool:
    """Until it was told what came of it; False when the engine has ended."""
    action_id = uuid4()
    while not _over(engine.service):
        try:
            done: Committed = await engine.submit(key, kind, payload, action_id=action_id)  # type: ignore[arg-type]  # JSON
        except OnexError as error:
            if error.retryable:
                await asyncio.sleep(AGAIN_S)
                continue
            if _over(engine.service):
                return False
            line: dict[str, object] = {"refused": error.code}
        else:
            line = {"version": done.version, "status": done.status}
        os.write(told, json.dumps({"key": key, "action_id": action_id.hex, **line}).encode() + b"\n")
        return True
    return False


def _over(service: ReducerService) -> bool:
    return service.closed is not None
