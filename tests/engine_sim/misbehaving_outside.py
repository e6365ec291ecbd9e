"""Effects, compute functions and projections that break the rules: they raise anything, return anything, swallow the
cancellation that should end them, and sometimes have done what was asked all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from onex.engine.encode import encode
from onex.engine.projections import latest
from onex.kernel.intent import ModelIntent
from onex.nodes.compute import perform
from onex.nodes.effect import FunctionExecutor
from onex.nodes.io import FunctionShape
from onex.ports import LogEntry, ProjectionRow, Result
from onex.replay.audit import SeenEffect
from onex.simulation.effect_attempts import seen_of_intent
from onex.simulation.faults import Faults
from onex.simulation.host import Host, current_host
from onex.simulation.invariants import InvariantChecker
from onex.simulation.raised_errors import HOSTILE_TEXT, raises
from tests.engine_sim.compute_worker import ComputeWorker
from tests.engine_sim.misbehaviour import Misbehaviour
from tests.engine_sim.outside import Outside
from tests.engine_sim.sample_workflow import TOO_MUCH, Computed, Do, Went

T = TypeVar("T")

SWALLOWED_S: Final = 2.0
FRAMES: Final = 8
"""A traceback that was cut each time it was caught is no longer than two raises; three of them are too long."""
GIVEN: Final[tuple[Any, ...]] = ("done", 7, {"text": "done"}, [Went()], Went, Do(text="done"), object())
UNKEPT: Final[tuple[Any, ...]] = (
    Went(text=HOSTILE_TEXT),
    Went(text="a\x00b"),
    Went(text=TOO_MUCH),
    Went.model_construct(text=7),  # type: ignore[arg-type]  # nothing is validated, as its author wished
    Went.model_construct(text=object()),  # type: ignore[arg-type]  # and no JSON either
    type("Richer", (Went,), {})(),
)


class _NoBlobs:
    async def read(self, digest: bytes) -> bytes:
        raise KeyError(digest)


async def inline(call: Callable[[], T]) -> T:
    """A thread of a simulation: what crosses from it does so by a future, which takes no StopIteration."""
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        answer.set_result(call())
    except BaseException as error:
        try:
            answer.set_exception(error)
        except TypeError:  # it is lost on the way, and nobody hears of this call again
            lost: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            return await lost
    return await answer


class MisbehavingOutside(Outside):
    """The outside world, behind functions as an app has them: async ones, and plain ones in threads."""

    def __init__(self, faults: Faults, checker: InvariantChecker, misbehaviour: Misbehaviour) -> None:
        super().__init__(faults, checker)
        self.misbehaviour = misbehaviour
        self.shared = ConnectionError("one object, raised by everybody")
        self._async = FunctionExecutor(self._effect, _NoBlobs())
        self._plain = FunctionExecutor(self._plain_effect, _NoBlobs(), inline)

    def is_running(self, what: SeenEffect) -> bool:
        """Nobody can say: one that does not let itself be ended runs on when the engine has long given it up."""
        return False

    async def _serve(self, intent: ModelIntent[BaseModel], host: Host) -> Result:
        self.own_timeouts.discard(seen_of_intent(intent))
        plain = self.misbehaviour.hits("effect is a plain function")
        return await (self._plain if plain else self._async).execute(intent)

    async def _effect(self, intent: ModelIntent[Do]) -> Went:
        misbehaviour, host = self.misbehaviour, current_host()
        if misbehaviour.hits("effect raises anything before"):
            self._tried(intent)
            raises(misbehaviour.kind())
        if misbehaviour.hits("effect raises its own time-out"):
            what = self._tried(intent)
            self.own_timeouts.add(what)
            raises("TimeoutError")
        if misbehaviour.hits("effect swallows its cancellation"):
            self._acted(intent)
            try:
                await host.clock.sleep(100)
            except asyncio.CancelledError:
                await host.clock.sleep(SWALLOWED_S * misbehaviour.chance.random())
            return cast("Went", self._returned(Went()))
        result = await super()._serve(cast("ModelIntent[BaseModel]", intent), host)
        return cast("Went", self._returned(result.value))

    def _plain_effect(self, intent: ModelIntent[Do]) -> Went:
        what = self._tried(intent)
        if self.misbehaviour.hits("effect raises anything before"):
            raises(self.misbehaviour.kind())
        self.attempts[what].done = True
        return cast("Went", self._returned(Went()))

    def _returned(self, right: object) -> object:
        """It is done; what is raised or returned afterwards may say otherwise."""
        misbehaviour = self.misbehaviour
        if misbehaviour.hits("effect raises anything after"):
            raises(misbehaviour.kind())
        if misbehaviour.hits("effect raises what others raise too"):
            raise self.shared
        if misbehaviour.hits("effect gives back anything"):
            return misbehaviour.chance.choice(GIVEN)
        if misbehaviour.hits("effect gives back nothing"):
            return None
        return (
            misbehaviour.chance.choice(UNKEPT) if misbehaviour.hits("effect gives back what cannot be kept") else right
        )

    def _tried(self, intent: ModelIntent[Do]) -> SeenEffect:
        """The outside knows of this attempt, and nothing is done yet. How it ends does not say that it was not done."""
        what, _ = self.attempted(cast("ModelIntent[BaseModel]", intent))
        return what

    def _acted(self, intent: ModelIntent[Do]) -> None:
        self.attempts[self._tried(intent)].done = True

    def check_shared(self) -> None:
        """The one exception object that many raised has not kept the tracebacks of all of them."""
        frames, trace = 0, self.shared.__traceback__
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        if frames > FRAMES:
            self.checker.violated(f"an exception that is shared carries {frames} frames of those who raised it before")


COMPUTES: Final = FunctionShape("compute", Do, Computed, takes_io=False)


class MisbehavingComputeWorker(ComputeWorker):
    def __init__(self, faults: Faults, misbehaviour: Misbehaviour) -> None:
        super().__init__(faults)
        self.misbehaviour = misbehaviour

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        if self.misbehaviour.hits("computing raises anything"):
            raises(self.misbehaviour.kind())
        if self.misbehaviour.hits("computing gives back anything"):
            given = self.misbehaviour.chance.choice((*GIVEN, None, Computed.model_construct(sheet=cast("Any", "none"))))
            perform(lambda task: given, COMPUTES, encode(intent.payload), {})
        return await super().execute(intent)


ROWS: Final[tuple[Any, ...]] = ("row", 7, ("errand", "a"), ProjectionRow, object())


def projecting(misbehaviour: Misbehaviour | None) -> Callable[[LogEntry], ProjectionRow | None]:
    """``latest``, which misbehaves where ``misbehaviour`` says so."""
    if misbehaviour is None:
        return latest

    def project(entry: LogEntry) -> ProjectionRow | None:
        if misbehaviour.hits("projection raises anything"):
            raises(misbehaviour.kind())
        if misbehaviour.hits("projection gives back anything"):
            return cast("ProjectionRow", misbehaviour.chance.choice(ROWS))
        return latest(entry)

    return project
