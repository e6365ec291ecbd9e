"""The job on ONEX, as a program that embeds it: one engine, one store file, actions by ``submit_many``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel

import onex
from bench.peers.driver import COMMENTS, OUTSIDE, TASKS, by_clients, main
from onex.kernel.errors import OnexError

APP = Path(__file__).with_name("onex_job.py")


async def task(intent: onex.ModelIntent[BaseModel]) -> None:
    OUTSIDE.act()


class OnexPeer:
    settings: Mapping[str, str] = {"journal_mode": "wal", "synchronous": "full"}  # reads both back, or does not open

    def __init__(self, engine: onex.ReducerPatternEngine) -> None:
        self._engine = engine

    async def wave(self, names: Sequence[str]) -> None:
        await by_clients(names, self._send)
        if len(names) == 1:
            await self._engine.wait(f"job:{names[0]}", until="done")
        else:
            await self._engine.idle()

    async def _send(self, names: Sequence[str]) -> None:
        sent = [
            (f"job:{name}", kind, payload)
            for name in names
            for kind, payload in (("begin", None), *(("comment", {"text": text}) for text in COMMENTS))
        ]
        for answer in await self._engine.submit_many(sent):
            if isinstance(answer, OnexError):
                raise answer

    async def count_done(self) -> int:
        counts = await self._engine.reader.counts()
        done = counts.by_status.get(("job", "done"), 0)
        return done if counts.actions == done * (1 + TASKS + len(COMMENTS)) and not counts.rejections else 0


@asynccontextmanager
async def opened(folder: Path, mode: str) -> AsyncIterator[OnexPeer]:
    async with await onex.open(f"sqlite:///{folder}/onex.db", APP, executors={"task": task}) as engine:
        yield OnexPeer(engine)


if __name__ == "__main__":
    main(opened, ["pydantic"])
