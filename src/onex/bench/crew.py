"""Worker processes for measuring: each is one worker of a PostgreSQL store, with the handlers of ``workload`` and no app to load.

``python -m onex.bench.crew URL LEASE_S`` says ``ready`` when it has joined. Then each line on its standard input is answered by
one on its standard output: ``drive SECONDS`` sends actions to instances of its own shards for so long, in a closed loop, and
gives how many became durable and in what time; ``memory`` gives its resident bytes. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.interpreter import OwnInterpreter
from ..adapters.postgres.address import Address
from ..adapters.watchdog import Watchdog
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.membership import Membership, Worker
from ..kernel.route import shard_of
from ..ports import Env
from ..wiring.store_access import StoreUrl, open_shared
from .load import TEXT, refuse_refusals
from .memory import resident
from .options import InvalidOption, Options
from .workload import AccountEntry, registry

NEEDED = "workers share a PostgreSQL store: --store postgres --store-url postgres://HOST/DATABASE"
PATIENCE_S = 60.0
AT_ONCE = 32
WINDOW = 32
ENV = Env("bench", "", "", "", "")


class CrewMember:
    """One worker process, seen from outside."""

    def __init__(self, url: str, lease_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onex.bench.crew", url, str(lease_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def heard(self) -> str:
        """Its next line. Raises InvalidOption when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise InvalidOption("a worker process ended; what it said is above")
        return line

    def ask(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def end(self, *, killed: bool = False) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        if killed:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@asynccontextmanager
async def crew(options: Options, lease_s: float, size: int) -> AsyncIterator[tuple[str, list[CrewMember]]]:
    """The URL of a new store, and so many workers that have all shards between them. Both are gone at the end."""
    if options.store != "postgres":
        raise InvalidOption(NEEDED)
    from .postgres.server import own_schema

    members: list[CrewMember] = []
    async with own_schema(options.store_url) as address:
        url = url_of(address)
        try:
            members += [CrewMember(url, lease_s) for _ in range(size)]
            for one in members:
                await asyncio.to_thread(one.heard)
            await shared_out(url, size)
            yield url, members
        finally:
            for one in members:
                one.end()


def url_of(address: Address) -> str:
    """What another process opens the same schema by."""
    return f"{address.dsn}{'&' if '?' in address.dsn else '?'}schema={address.schema}"


async def shared_out(url: str, size: int) -> Membership:
    """Returns when so many workers have all shards between them, each some. Raises TimeoutError."""
    store = await open_shared(StoreUrl.parse(url))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                seen = await store.look()
                if len(seen.workers) == size == len({one.worker for one in seen.owners}) and all(
                    one.worker for one in seen.owners
                ):
                    return seen
                await asyncio.sleep(0.05)
    finally:
        await store.close()


async def _work(url: str, lease_s: float) -> None:
    store, watchdog = await open_shared(StoreUrl.parse(url)), Watchdog()
    engine = ReducerPatternEngine(
        store, store, registry(watchdog), SystemClock(), UuidV7(), ENV, interpreter=OwnInterpreter()
    )
    await engine.share(Worker(uuid4().hex, lease_s, "bench"), store, store, store.watch())
    async with engine:
        print("ready", flush=True)  # noqa: T201 - a line of the protocol
        while words := (await asyncio.to_thread(sys.stdin.readline)).split():
            if words[0] == "drive":
                answer: object = await _drive(engine, float(words[1]))
            else:
                answer = resident()
            print(json.dumps(answer), flush=True)  # noqa: T201 - the same
    watchdog.close()


async def _drive(engine: ReducerPatternEngine, seconds: float) -> tuple[int, float]:
    """Actions that became durable, and the seconds it took. Only instances of shards that it has now."""
    has, shards = engine.service.fences, engine.store.shards
    keys = [key for key in (WorkflowKey("account", f"{n}") for n in range(4000)) if shard_of(key, shards) in has]
    before, begun = engine.counters.committed, time.perf_counter()

    async def client(number: int) -> None:
        mine, n = keys[number::AT_ONCE], 0
        while time.perf_counter() - begun < seconds:
            sent = [(mine[(n + k) % len(mine)], "enter", AccountEntry(amount=k, text=TEXT)) for k in range(WINDOW)]
            refuse_refusals(await engine.submit_many(sent))
            n += WINDOW

    await asyncio.gather(*(client(number) for number in range(AT_ONCE) if keys[number::AT_ONCE]))
    return engine.counters.committed - before, time.perf_counter() - begun


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], float(sys.argv[2])))
