"""The outside world of the engine's own simulation: it takes each effect, keeps a log of every attempt, and fails by the seed.

The log of attempts is one half of the truth: the checker compares it with the store's log at the end of the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from blake3 import blake3
from pydantic import BaseModel

from onex.kernel.errors import EffectFailed
from onex.kernel.intent import ModelIntent
from onex.ports import Result
from onex.replay.audit import SeenEffect
from onex.simulation.effect_attempts import AttemptLog, Attempts, seen_of_intent
from onex.simulation.faults import Faults
from onex.simulation.host import Host, current_host
from onex.simulation.invariants import InvariantChecker
from onex.simulation.raised_errors import HOSTILE_TEXT
from tests.engine_sim.sample_workflow import AT_ONCE, TOO_MUCH, Filing, Went

AT_MOST_ONCE: Final = frozenset({"once", "whisper"})


class Outside(AttemptLog):
    """An Executor of every effect of the sample workflow."""

    def __init__(self, faults: Faults, checker: InvariantChecker) -> None:
        super().__init__(checker)
        self.faults = faults
        self.read: Callable[[bytes], Awaitable[bytes | None]] | None = None
        """Reads a blob as an effect does."""
        self.alone: Callable[[SeenEffect], bool] = lambda what: False
        """Whether this one was running at so many crashes that it must not run beside others."""
        self._by_key: dict[str, SeenEffect] = {}
        self._killers: set[SeenEffect] = set()
        self._running: dict[Host, list[SeenEffect]] = defaultdict(list)
        self._begun: Counter[tuple[Host, SeenEffect]] = Counter()

    def allow_again(self, what: SeenEffect) -> None:
        """An operator drives it again; two operators at once may do so twice, also before it ran for the first time."""
        self.attempts.setdefault(what, Attempts()).allowed += 1

    def is_running(self, what: SeenEffect) -> bool:
        """In the engine that owns the store."""
        owner = self.owner()
        return owner is not None and what in self._running[owner]

    def attempted(self, intent: ModelIntent[BaseModel]) -> tuple[SeenEffect, Attempts]:
        body = intent.payload.model_dump_json()
        what, known = self.begin(intent, body, at_most_once=intent.name in AT_MOST_ONCE)
        if self._by_key.setdefault(intent.idempotency_key, what) != what:
            self.checker.violated(f"one key, two intents: {what} and {self._by_key[intent.idempotency_key]}")
        return what, known

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        host, what = current_host(), seen_of_intent(intent)
        running = self._running[host]
        running.append(what)
        self._begun[host, what] += 1
        try:
            self._check_together(host, running)
            return await self._serve(intent, host)
        finally:
            running.remove(what)

    def _check_together(self, host: Host, running: Sequence[SeenEffect]) -> None:
        """Never more at once than the contract allows; what was running at two crashes is first tried alone.

        An engine that lost the store, and does not know, knows nothing of what the next owner counts.
        """
        if len(running) > AT_ONCE:
            self.checker.violated(f"{len(running)} effects ran at once; the contract allows {AT_ONCE}")
        for what in running if len(running) > 1 else ():
            if self._begun[host, what] == 1 and self.owner() is host and self.alone(what):
                self.checker.violated(f"{what} was running at two crashes, and runs beside {len(running) - 1} others")

    async def _serve(self, intent: ModelIntent[BaseModel], host: Host) -> Result:
        faults = self.faults
        what, known = self.attempted(intent)
        this = known.count
        call = await self._before(known, this)
        if what in self._killers or faults.hits("effect kills its process always"):
            self._killers.add(what)
            if faults.kills("effect kills its process before"):
                await host.die()
        elif faults.kills("effect kills its process before"):
            await host.die()
        if faults.hits("effect is slow"):
            await host.clock.sleep(faults.some_s(0.9))
        if faults.hits("effect refused"):
            known.perhaps.discard(this)
            raise EffectFailed(self._error_text(), code="refused")
        if faults.hits("effect busy"):
            known.perhaps.discard(this)
            raise EffectFailed(self._error_text(), retryable=True)
        if faults.hits("effect fails before"):
            raise OSError(self._error_text())
        if faults.hits("effect hangs before"):
            await host.clock.sleep(100)
        if isinstance(intent.payload, Filing) and self.read is not None:
            self._check_sheet(what, intent.payload, await self.read(bytes.fromhex(intent.payload.sheet.digest)))
        known.done = True
        await faults.after("effect", call)
        if faults.hits("effect fails after"):
            raise OSError(self._error_text())
        if faults.hits("effect hangs after"):
            await host.clock.sleep(100)
        if faults.kills("effect kills its process after"):
            await host.die()
        if faults.hits("effect leaks a cancellation"):
            raise asyncio.CancelledError
        if faults.hits("effect answers too much"):
            return Result(Went(text=TOO_MUCH))
        return Result(Went(text=self._answer()))

    async def _before(self, known: Attempts, this: int) -> int:
        try:
            return await self.faults.before("effect")
        except EffectFailed:
            known.perhaps.discard(this)
            raise

    def _check_sheet(self, what: SeenEffect, filing: Filing, data: bytes | None) -> None:
        """The bytes that a commit names are in the store as soon as the commit is."""
        if data is None or blake3(data).hexdigest() != filing.sheet.digest:
            self.checker.violated(f"{what} names bytes that the store does not have: {filing.sheet.digest}")

    def _answer(self) -> str:
        if self.faults.hits("effect answers poison"):
            return "poison"
        return "then" if self.faults.hits("effect answers then") else "fine"

    def _error_text(self) -> str:
        return HOSTILE_TEXT if self.faults.hits("effect complains in hostile text") else "not today"
