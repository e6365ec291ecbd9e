"""Fake effects: they take the place of everything outside an app, answer as it would, and fail as the seed says.

Theory of operation
    ``execute`` is called by the engine's relay, once per attempt, for every target of the app. In this order:
    1. The attempt is logged (``effect_attempts``). What the engine must never do is found here: an attempt that no commit
       asked for, one after the intent had ended, a second one at most once, another key or another body.
    2. Faults before anything is done: refused, busy, broken, hanging, the engine's process killed. Only "refused" and "busy"
       say that surely nothing was done, so only they take the attempt out of ``perhaps``.
    3. The effect is done: once per idempotency key. A key that is known gets its first answer again, as a good outside
       service would give it. The answer is drawn from a stream named after the key, so it is the same whenever it is asked
       for, in a shrunk run too.
    4. Faults after it was done: the answer is lost, the process dies, a bug of the effect raises or returns something else.
       Whatever the engine is told then, it must not say "surely not done".
    ``changed`` is called as soon as the effect is done, whatever follows: the app's invariants are checked at this instant.

    What the engine is told and what was done are compared at the end of the run (``invariants``), from ``done``.
    Compute tasks are pure, so none of this applies to them: they are only slow, or fail as a pool of workers fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, cast

import orjson
from pydantic import BaseModel

from ...engine.encode import encode
from ...kernel.action import Nothing
from ...kernel.errors import EffectFailed, EffectUnknown, OnexError
from ...kernel.intent import EnumDelivery, EnumIntentType, Failure, IntentSpec, ModelIntent
from ...nodes.compute import ComputeIO, perform
from ...nodes.effect import FunctionExecutor
from ...nodes.given import success_payload
from ...nodes.io import NewBlobs, blobs_in, compute_shape
from ...ports import NewBlob, Result
from ...replay.audit import SeenEffect
from ..clock import stream
from ..effect_attempts import AttemptLog, Attempts
from ..host import Host, current_host
from ..invariants import InvariantChecker
from ..raised_errors import KINDS, raises
from ..sim_store import SimStore
from .app_under_test import AppUnderTest
from .fault_plan import FaultPlan
from .values import Undrawable, Values, simplest
from .world import Effect, World

SLOW_S: Final = 0.9
"""The most of its time-out that a slow effect takes: slow is not too late."""
SWALLOWED_S: Final = 3.0
GIVEN: Final[Mapping[str, object]] = {
    "text": "done",
    "a number": 7,
    "a dict": {},
    "a list": [],
    "a class": Nothing,
    "another class": Failure(code="", message="", attempts=1),
}
"""What an effect may return instead of the class it announced."""


class _NoBlobs:
    async def read(self, digest: bytes) -> bytes:
        raise KeyError(digest)


NO_BLOBS: Final = _NoBlobs()


class Answer(NamedTuple):
    """What the far side keeps under a key. ``refused`` is what a user's stand-in raised instead."""

    value: BaseModel | None = None
    blobs: tuple[NewBlob, ...] = ()
    refused: OnexError | None = None


class FakeEffects(AttemptLog):
    """An Executor for every target of an app. ``changed`` is called whenever something was done."""

    def __init__(
        self,
        under_test: AppUnderTest,
        seed: int,
        faults: FaultPlan,
        checker: InvariantChecker,
        world: World,
        add_line: Callable[[str, str], None],
        *,
        plain: bool,
    ) -> None:
        super().__init__(checker)
        self.under_test, self.seed, self.faults, self.world, self.add_line = under_test, seed, faults, world, add_line
        self.plain = plain
        """Answer with the simplest value of the class, not with a drawn one."""
        self.truth: SimStore | None = None
        self.changed: Callable[[], None] = lambda: None
        self.words: list[str] = []
        self._by_key: dict[str, tuple[Effect, Answer]] = {}

    def allow_again(self, what: SeenEffect) -> None:
        """An operator drives it again: the next attempt is the first one as far as "at most once" goes."""
        if what in self.attempts:
            self.attempts[what].perhaps.clear()

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        spec = self.under_test.spec(intent)
        if spec.kind == EnumIntentType.COMPUTE_TASK:
            return await self._compute(intent, spec)
        host, faults = current_host(), self.faults
        attempts = self._attempted(intent, spec)
        this = attempts.count
        if faults.kills("effect kills its process before"):
            self._says(intent, "kills the engine before anything is done")
            await host.die()
        if faults.hits("effect is slow"):
            await host.clock.sleep(faults.some_s(SLOW_S * spec.timeout_s))
        if faults.hits("effect refused"):
            attempts.perhaps.discard(this)
            self._says(intent, "refuses")
            raise EffectFailed("refused, as the simulation had it", code="refused")
        if faults.hits("effect busy"):
            attempts.perhaps.discard(this)
            self._says(intent, "is busy")
            raise EffectFailed("busy, as the simulation had it", retryable=True, code="busy")
        if faults.hits("effect raises anything before"):
            kind = faults.choose(KINDS)
            self._says(intent, f"raises {kind}, and did nothing")
            raises(kind)
        if faults.hits("effect fails before"):
            self._says(intent, "breaks before anything is done")
            raise ConnectionError("broken, as the simulation had it")
        if faults.hits("effect hangs before"):
            self._says(intent, "hangs and does nothing")
            await host.clock.sleep(2 * spec.timeout_s)
        answer = self._do(attempts, intent, spec)
        if answer.refused is not None:
            attempts.perhaps.discard(this)
            raise answer.refused
        await self._aftermath(host, intent, spec)
        if spec.outcomes and faults.hits("effect gives back nothing"):
            self._did(intent, "does it and returns None")
            return await self._given(intent, spec, None)
        if spec.outcomes and faults.hits("effect gives back anything"):
            name = faults.choose(tuple(GIVEN))
            self._did(intent, f"does it and returns {name}")
            return await self._given(intent, spec, GIVEN[name])
        self._did(intent, "does it")
        return Result(answer.value, answer.blobs)

    async def _given(self, intent: ModelIntent[BaseModel], spec: IntentSpec, value: object) -> Result:
        """What the engine makes of a function that returns ``value``."""
        assert intent.workflow_key is not None, "an intent that is served has a key"
        model = self.under_test.result_model(intent.workflow_key.workflow_type, spec)

        async def stand_in(intent: ModelIntent[Nothing]) -> Nothing:
            return cast("Nothing", value)

        stand_in.__annotations__ = {"intent": ModelIntent.__class_getitem__(spec.payload or Nothing), "return": model}
        return await FunctionExecutor(stand_in, NO_BLOBS).execute(intent)

    async def _aftermath(self, host: Host, intent: ModelIntent[BaseModel], spec: IntentSpec) -> None:
        """It is done; here its answer may be lost."""
        faults = self.faults
        if faults.hits("effect fails after"):
            self._did(intent, "does it, and breaks before it can say so")
            raise EffectUnknown("broken after it was done, as the simulation had it")
        if faults.hits("effect hangs after"):
            self._did(intent, "does it, and hangs")
            await host.clock.sleep(2 * spec.timeout_s)
        if faults.kills("effect kills its process after"):
            self._did(intent, "does it, and the engine dies")
            await host.die()
        if faults.hits("effect leaks a cancellation"):
            self._did(intent, "does it, and leaks a cancellation")
            raise asyncio.CancelledError
        if faults.hits("effect raises anything after"):
            kind = faults.choose(KINDS)
            self._did(intent, f"does it, and raises {kind}")
            raises(kind)
        if faults.hits("effect swallows its cancellation"):
            self._did(intent, "does it, hangs, and does not let itself be ended")
            try:
                await host.clock.sleep(2 * spec.timeout_s)
            except asyncio.CancelledError:
                await host.clock.sleep(faults.some_s(SWALLOWED_S))

    def _did(self, intent: ModelIntent[BaseModel], what: str) -> None:
        """The line comes first, so that the story has it when ``changed`` finds a violation."""
        self._says(intent, what)
        self.changed()

    # --- what is done -------------------------------------------------------------------------------------------------

    def _do(self, attempts: Attempts, intent: ModelIntent[BaseModel], spec: IntentSpec) -> Answer:
        known = self._by_key.get(intent.idempotency_key)
        if known is None:
            answer = self._answer(intent, spec)
            if answer.refused is not None:
                self._says(intent, f"refuses: {answer.refused.message}")
                return answer
            effect = self._effect(intent, answer.value)
            known = self._by_key[intent.idempotency_key] = effect, answer
            self.world.effects.append(effect)
        effect, answer = known
        effect.times += 1
        attempts.done = True
        return answer

    def _effect(self, intent: ModelIntent[BaseModel], result: BaseModel | None) -> Effect:
        assert intent.workflow_key is not None, "an intent that is served has a key"
        return Effect(
            intent.workflow_key, intent.name, intent.target, intent.payload, intent.idempotency_key, intent.version,
            self.world.now_us, result,
        )  # fmt: skip

    def _answer(self, intent: ModelIntent[BaseModel], spec: IntentSpec) -> Answer:
        """The same for the same key, in every run of a seed."""
        assert intent.workflow_key is not None, "an intent that is served has a key"
        model = self.under_test.result_model(intent.workflow_key.workflow_type, spec)
        chance = stream(self.seed, f"answer {intent.idempotency_key}")
        stand_in = self.under_test.stand_ins.get(intent.target)
        if stand_in is None:
            blobs = NewBlobs()
            try:
                value = simplest(model, blobs) if self.plain else Values(chance, self.words, blobs).of(model)
            except Undrawable as error:
                self.checker.violated(f"simulation: {intent.target!r} could not answer: {error.message}")
                value = None
            return Answer(None if model is Nothing else value, blobs.made)
        try:
            given = stand_in(intent, chance)
        except EffectFailed as error:
            return Answer(refused=error)
        except Exception as error:
            name = getattr(stand_in, "__name__", "function")
            self.checker.violated(f"simulation.py: {name} for {intent.target!r} raised {type(error).__name__}: {error}")
            return Answer()
        who = f"simulation.py: the stand-in for {intent.target!r}"
        if spec.outcomes and model is Nothing and given is not None:
            self.checker.violated(f"{who} returned {type(given).__name__}, not None")
        elif spec.outcomes and model is not Nothing:
            try:
                given = success_payload(given, model, who)
            except EffectUnknown as error:
                self.checker.violated(error.message)
        return Answer(given if isinstance(given, BaseModel) else None)

    # --- compute ------------------------------------------------------------------------------------------------------

    async def _compute(self, intent: ModelIntent[BaseModel], spec: IntentSpec) -> Result:
        """Pure, so it may run as often as it likes: it is slow, or it fails as a pool of workers fails."""
        host, faults = current_host(), self.faults
        if faults.hits("effect is slow"):
            await host.clock.sleep(faults.some_s(SLOW_S * spec.timeout_s))
        if faults.hits("effect refused"):
            self._says(intent, "fails")
            raise EffectFailed("the function failed, as the simulation had it", code="refused")
        if faults.hits("effect busy"):
            self._says(intent, "loses its worker")
            raise EffectFailed("the worker died, as the simulation had it", retryable=True, code="worker_died")
        if self.under_test.real_compute:
            return await self._computed(intent)
        answer = self._answer(intent, spec)
        if answer.refused is not None:
            raise answer.refused
        return Result(answer.value, answer.blobs)

    async def _computed(self, intent: ModelIntent[BaseModel]) -> Result:
        """The app's own function, here and now."""
        assert intent.workflow_key is not None and self.truth is not None, "the truth is there before anything runs"
        function = self.under_test.workflows[intent.workflow_key.workflow_type].computes[intent.target]
        shape = compute_shape(function, ComputeIO)
        shipped: dict[bytes, bytes] = {}
        for blob in blobs_in(intent.payload):
            digest = bytes.fromhex(blob.digest)
            shipped[digest] = await self.truth.blob(digest) or b""
        try:
            encoded, made = perform(function, shape, encode(intent.payload), shipped)
        except OnexError:
            raise
        except Exception as error:
            raise EffectFailed(f"{type(error).__name__}: {error}") from error
        value = None if shape.result is Nothing else shape.result.model_validate_json(encoded)
        return Result(value, made)

    # --- the story ----------------------------------------------------------------------------------------------------

    def _attempted(self, intent: ModelIntent[BaseModel], spec: IntentSpec) -> Attempts:
        body = "null" if spec.payload is None else orjson.dumps(orjson.loads(encode(intent.payload))).decode()
        return self.begin(intent, body, at_most_once=spec.delivery is EnumDelivery.AT_MOST_ONCE)[1]

    def _says(self, intent: ModelIntent[BaseModel], what: str) -> None:
        again = f", try {intent.attempt}" if intent.attempt > 1 else ""
        self.add_line(intent.target, f"{what}: {intent.name} for {intent.workflow_key} version {intent.version}{again}")
