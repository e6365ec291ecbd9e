"""The outside world: takes each effect once per key, remembers everybody who knocked, and has bad days."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from blake3 import blake3
from pydantic import BaseModel

from onex.engine.encode import ordinals
from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from onex.ports import OutboxRow, Result
from onex.replay.audit import SeenEffect
from onex.simulation.faults import Faults
from onex.simulation.host import Host, current_host
from tests.engine_sim.sample_workflow import AT_ONCE, HOSTILE, TOO_MUCH, Filing, Went

_AT_MOST_ONCE: Final = frozenset({"once", "whisper"})


@dataclass
class Tries:
    """Everything the outside knows of one intent. ``perhaps`` are the tries that did not end with "surely not done"."""

    keys: set[str] = field(default_factory=set)
    bodies: set[str] = field(default_factory=set)
    tries: int = 0
    perhaps: set[int] = field(default_factory=set)
    allowed: int = 0
    done: bool = False


def seen_of(row: OutboxRow) -> SeenEffect:
    """The intent of an outbox row, as the outside knows it."""
    names = [item["name"] for item in orjson.loads(row.intents)]
    at = row.pointer.ordinal
    return SeenEffect(str(row.key), row.version, names[at], ordinals(names)[at])


class Outside:
    """An Executor. ``committed`` says whether the log holds an intent, and ``ended`` whether its row is settled.

    An effect of an intent that no commit has is a phantom. One of an ended intent is nobody's who is the ``owner``; who
    was, and does not know that it no longer is, may still run what it has in memory.
    """

    def __init__(self, faults: Faults, violated: Callable[[str], None]) -> None:
        self.faults = faults
        self.violated = violated
        self.committed: Callable[[SeenEffect, str], bool] = lambda what, body: True
        self.ended: Callable[[SeenEffect], bool] = lambda what: False
        self.begins: Callable[[SeenEffect, int], None] = lambda what, now_us: None
        self.owner: Callable[[], Host | None] = lambda: None
        self.read: Callable[[bytes], Awaitable[bytes | None]] | None = None
        self.tries: dict[SeenEffect, Tries] = {}
        self.own_timeouts: set[SeenEffect] = set()
        self.by_key: dict[str, SeenEffect] = {}
        self.killers: set[SeenEffect] = set()
        self.alone: Callable[[SeenEffect], bool] = lambda what: False
        self._running: dict[Host, list[SeenEffect]] = defaultdict(list)
        self._begun: Counter[tuple[Host, SeenEffect]] = Counter()

    @property
    def done(self) -> set[SeenEffect]:
        return {what for what, known in self.tries.items() if known.done}

    def allow_again(self, what: SeenEffect) -> None:
        """An operator drives it again, as often as he says so: that is no second try of the engine's."""
        if what in self.tries:
            self.tries[what].allowed += 1

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        host = current_host()
        what = SeenEffect(str(intent.workflow_key), intent.version, intent.name, intent.n)
        running = self._running[host]
        running.append(what)
        self._begun[host, what] += 1
        try:
            self._count(host, running)
            return await self._serve(intent, host)
        finally:
            running.remove(what)

    def _count(self, host: Host, running: Sequence[SeenEffect]) -> None:
        """Never more than the contract allows; and what was running at two crashes is first tried alone."""
        if len(running) > AT_ONCE:
            self.violated(f"{len(running)} effects ran at once; the contract allows {AT_ONCE}")
        for what in running if len(running) > 1 else ():
            if self._begun[host, what] == 1 and self.alone(what):
                self.violated(f"{what} was running at two crashes, and runs beside {len(running) - 1} others")

    async def _serve(self, intent: ModelIntent[BaseModel], host: Host) -> Result:
        faults = self.faults
        what, known = self._begin_try(intent)
        this = known.tries
        known.perhaps.add(this)
        call = await self._begin(known, this)
        if what in self.killers or faults.hits("effect kills its process always"):
            self.killers.add(what)
            if faults.kills("effect kills its process before"):
                await host.die()
        elif faults.kills("effect kills its process before"):
            await host.die()
        if faults.hits("effect is slow"):
            await host.clock.sleep(faults.some_s(0.9))
        if faults.hits("effect refused"):
            known.perhaps.discard(this)
            raise EffectFailed(self._complaint(), code="refused")
        if faults.hits("effect busy"):
            known.perhaps.discard(this)
            raise EffectFailed(self._complaint(), retryable=True)
        if faults.hits("effect fails before"):
            raise OSError(self._complaint())
        if faults.hits("effect hangs before"):
            await host.clock.sleep(100)
        if isinstance(intent.payload, Filing) and self.read is not None:
            self._hold_sheet(what, intent.payload, await self.read(bytes.fromhex(intent.payload.sheet.digest)))
        known.done = True
        await faults.after("effect", call)
        if faults.hits("effect fails after"):
            raise OSError(self._complaint())
        if faults.hits("effect hangs after"):
            await host.clock.sleep(100)
        if faults.kills("effect kills its process after"):
            await host.die()
        if faults.hits("effect leaks a cancellation"):
            raise asyncio.CancelledError
        if faults.hits("effect answers too much"):
            return Result(Went(text=TOO_MUCH))
        return Result(Went(text=self._answer()))

    async def _begin(self, known: Tries, this: int) -> int:
        try:
            return await self.faults.before("effect")
        except EffectFailed:
            known.perhaps.discard(this)
            raise

    def _hold_sheet(self, what: SeenEffect, filing: Filing, data: bytes | None) -> None:
        """Bytes named by a commit are there when it is."""
        if data is None or blake3(data).hexdigest() != filing.sheet.digest:
            self.violated(f"{what} names bytes that the store does not have: {filing.sheet.digest}")

    def _answer(self) -> str:
        if self.faults.hits("effect answers poison"):
            return "poison"
        return "then" if self.faults.hits("effect answers then") else "fine"

    def _complaint(self) -> str:
        return HOSTILE if self.faults.hits("effect complains in hostile text") else "not today"

    def _begin_try(self, intent: ModelIntent[BaseModel]) -> tuple[SeenEffect, Tries]:
        what = SeenEffect(str(intent.workflow_key), intent.version, intent.name, intent.n)
        known = self.tries.setdefault(what, Tries())
        body = intent.payload.model_dump_json()
        if not self.committed(what, body):
            self.violated(f"phantom: {what} ran, and no commit has it")
        if self.ended(what) and self.owner() is current_host():
            self.violated(f"ended: {what} runs again after its row was settled")
        self.begins(what, current_host().clock.now_us())
        if known.perhaps and intent.name in _AT_MOST_ONCE:
            if not known.allowed:
                self.violated(f"at most once: {what} runs again after a try that may have been done")
            known.allowed = max(0, known.allowed - 1)
            known.perhaps.clear()
        known.tries += 1
        known.keys.add(intent.idempotency_key)
        known.bodies.add(body)
        if len(known.keys) > 1 or len(known.bodies) > 1:
            self.violated(f"repeated: {what} came with keys {sorted(known.keys)} and bodies {sorted(known.bodies)}")
        if self.by_key.setdefault(intent.idempotency_key, what) != what:
            self.violated(f"one key, two intents: {what} and {self.by_key[intent.idempotency_key]}")
        return what, known
