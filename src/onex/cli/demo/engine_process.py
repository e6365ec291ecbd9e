"""One engine process of the demo, seen from its parent."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from .wire import Connection, EffectReport, Input, Pulse


class EngineProcess:
    """The process, and its messages that are not handled yet. ``asked`` are the inputs that it has and has not answered."""

    def __init__(self, process: asyncio.subprocess.Process, link: Connection) -> None:
        self.process, self.link = process, link
        self.reports: deque[EffectReport] = deque()
        self.arrived = asyncio.Event()
        self.asked: dict[int, Input] = {}
        self.ready = False
        self.finishing = False
        self.ended = False
        self.killed = False
        self.pulse = Pulse(committed=0, latency=[])
        self.idle_us: int | None = None
        self.reason = ""


async def start_engine(
    program: Sequence[str], words: Sequence[str], log: Path, environment: Mapping[str, str]
) -> EngineProcess:
    """``program`` gets the number of a socket that it inherits, then ``words``. What it prints goes to ``log``."""
    ours, theirs = socket.socketpair()
    try:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *program,
                str(theirs.fileno()),
                *words,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the engine
                env=os.environ | environment,
            )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return EngineProcess(process, await Connection.over(ours))
