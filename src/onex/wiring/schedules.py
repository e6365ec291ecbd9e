"""Schedules of one engine: what it declares when it starts, and what serves their firings.

Theory of operation
    ``declare`` compares the schedules of the app with what the store knows, and tells the difference: a schedule that is new or
    changed is ``declared``, one that the app has no more is ``removed``. The action's id follows from the definition and from the
    version it replaces. So several workers that start at once tell it once, and a schedule that is changed back is told again.

    ``fire`` is the effect of a firing. Its action goes the way of a message between instances: to the mailbox here, or through
    the inbox of the worker that has the instance. Its id is the schedule's (promise 45), so a second try, a takeover or a second
    owner applies nothing twice.

    What may go wrong: the store, or the worker of an instance, does not answer. ``declare`` begins again after AGAIN_S, and the
    effect is tried again by its policy. A firing that is refused for good is told as that, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple, Protocol, Self
from uuid import UUID, uuid5

from blake3 import blake3
from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from ..app import App
from ..contracts.due_times import schedule_id
from ..contracts.model.schedule import SCHEDULE, TARGET, WATCH_TARGET, ModelSchedule
from ..engine.pattern_engine import ReducerPatternEngine
from ..kernel.action import WorkflowKey
from ..kernel.errors import EffectFailed, OnexError
from ..kernel.intent import ModelIntent
from ..kernel.route import shard_of
from ..nodes.given import GivenEffect
from ..ports import Code, Stored
from ..workflows.schedule.payloads import Fire, FireResult, WatchRun

AGAIN_S: Final = 5.0
WATCH_S: Final = 3600.0
LOOK_S: Final = 5.0
PAGE: Final = 1000


class Scheduled(NamedTuple):
    workflow: str
    definition: ModelSchedule

    @property
    def key(self) -> WorkflowKey:
        return key_of(self.workflow, self.definition.name)


def key_of(workflow: str, name: str) -> WorkflowKey:
    return WorkflowKey.of(SCHEDULE, f"{workflow}/{name}")


class KnownCodes(Protocol):
    async def codes(self) -> Mapping[int, Code]:
        """As of a Reader."""


class Schedules:
    """``connected`` to its engine before the engine starts."""

    def __init__(self, app: App) -> None:
        self._wanted = {
            one.key: one
            for workflow in app.written.values()
            for one in (Scheduled(workflow.name, definition) for definition in workflow.contract.schedules)
        }
        self._engine: ReducerPatternEngine | None = None
        self._has_some = SCHEDULE in app.workflows
        self.declared = asyncio.Event()
        """Set when the store knows all of them."""

    def connected(self, engine: ReducerPatternEngine) -> Self:
        self._engine = engine
        return self

    # --- what the app has ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Declares them beside what else goes on: another worker may have to take them in. Nothing where the app has none."""
        if self._has_some:
            self._its_engine.relay.beside(self.keep_declared(), "onex-schedules")
        else:
            self.declared.set()

    async def keep_declared(self) -> None:
        """Returns when all is told, however often the store has to be asked."""
        engine = self._its_engine
        while True:
            try:
                await self.declare()
            except OnexError as error:
                if engine.is_closing or engine.service.closed is not None:
                    return
                engine.service.events("schedules_refused", error=error.message)
                await engine.clock.sleep(AGAIN_S)
            else:
                self.declared.set()
                return

    async def declare(self) -> None:
        """Raises what the engine refuses an action with, and what the store raises."""
        engine, told, ended = self._its_engine, 0, 0
        known = await _known(engine)
        for key, one in self._wanted.items():
            stored = known.get(key)
            said: dict[str, JsonValue] = {
                "workflow": one.workflow,
                "definition": one.definition.model_dump(mode="json"),
            }
            if stored is not None and stored.status != "ended" and _definition(stored) == said["definition"]:
                continue
            await self._tell(key, "declared", said, stored)
            told += 1
        for key, stored in known.items():
            if key not in self._wanted and stored.status != "ended":
                await self._tell(key, "removed", {}, stored)
                ended += 1
        if told or ended:
            engine.service.events("schedules_declared", declared=told, ended=ended)

    async def _tell(self, key: WorkflowKey, trigger: str, said: dict[str, JsonValue], stored: Stored | None) -> None:
        version = 0 if stored is None else stored.version
        action_id = uuid5(_id_of(key), f"{trigger}/{version}/{blake3(to_json(said)).hexdigest()}")
        await self._send(key, trigger, said, action_id)

    async def missed(self) -> int | None:
        """How many firings were missed, of all schedules of the store; None where the app has none."""
        if not self._has_some:
            return None
        found = [from_json(one.state).get("missed") for one in (await _known(self._its_engine)).values()]
        return sum(number for number in found if isinstance(number, int))

    # --- what they ask for --------------------------------------------------------------------------------------------------

    @property
    def effects(self) -> Mapping[str, GivenEffect]:
        """What serves each target of the workflow that keeps schedules."""
        return {TARGET: self.fire, WATCH_TARGET: self.watch}

    async def watch(self, intent: ModelIntent[BaseModel]) -> Mapping[str, JsonValue]:
        """Fields of WatchResult: as soon as the run has ended, or after WATCH_S."""
        engine = self._its_engine
        asked = WatchRun.model_validate(intent.serialize_payload())
        end_s = engine.clock.monotonic() + WATCH_S
        while await self._runs(asked.key):
            left_s = end_s - engine.clock.monotonic()
            if left_s <= 0:
                return {"over": False}
            at = WorkflowKey.parse(asked.key)
            if engine.service.not_here(shard_of(at, engine.store.shards)) is not None:
                await engine.clock.sleep(min(left_s, LOOK_S))  # another worker has it: its row says when it has ended
                continue
            with suppress(TimeoutError):
                await engine.wait(at, timeout_s=left_s)
        return {"over": True}

    async def fire(self, intent: ModelIntent[BaseModel]) -> Mapping[str, JsonValue]:
        """Fields of FireResult. Raises EffectFailed, to be tried again."""
        asked = Fire.model_validate(intent.serialize_payload())
        try:
            told = await self._fired(asked, intent)
        except OnexError as error:
            raise EffectFailed(error.message, code=error.code, retryable=True) from error
        return told.model_dump()

    async def _fired(self, asked: Fire, intent: ModelIntent[BaseModel]) -> FireResult:
        """Raises a retryable OnexError."""
        if asked.before and asked.cancel:
            cancelling = uuid5(asked.firing_id, "cancel")
            await self._sent(asked.before, asked.cancel, {}, cancelling, intent)  # refused: it has ended
        elif asked.before and await self._runs(asked.before):
            return FireResult(outcome="running", reason=f"{asked.before} has not ended")
        refused = await self._sent(asked.key, asked.trigger, asked.payload, asked.firing_id, intent)
        if refused is None:
            return FireResult(outcome="begun")
        return FireResult(outcome="refused", reason=f"{refused.code}: {refused.message}"[:500])

    async def _sent(
        self, key: str, trigger: str, payload: dict[str, JsonValue], action_id: UUID, intent: ModelIntent[BaseModel]
    ) -> OnexError | None:
        """What it is refused with for good. Raises what passes."""
        try:
            await self._send(key, trigger, payload, action_id, intent)
        except OnexError as error:
            if error.retryable or self._its_engine.service.closed is not None:
                raise
            return error
        return None

    async def _runs(self, key: str) -> bool:
        at = WorkflowKey.parse(key)
        stored = (await self._its_engine.reader.load([at])).get(at)
        return stored is not None and stored.version > 0 and not stored.terminal

    async def _send(
        self,
        key: WorkflowKey | str,
        trigger: str,
        payload: dict[str, JsonValue],
        action_id: UUID,
        intent: ModelIntent[BaseModel] | None = None,
    ) -> None:
        engine = self._its_engine
        pending = engine.intake.pending(
            key,
            trigger,
            payload,
            action_id=action_id,
            correlation_id=None if intent is None else intent.correlation_id,
            cause=None if intent is None else intent.causation_id,
        )
        issuer = SCHEDULE if intent is None else str(intent.workflow_key)
        await engine.relay.bring(replace(pending, issuer=issuer, sent=True, internal=""))

    @property
    def _its_engine(self) -> ReducerPatternEngine:
        assert self._engine is not None, "connected comes first"
        return self._engine


async def schedules_of(app: App, store: KnownCodes) -> tuple[App, Schedules]:
    """The app with what keeps its schedules, if it has some, or had some on this store: then they are ended."""
    if SCHEDULE not in app.workflows:
        known = (await store.codes()).values()
        app = app.with_schedules() if any(code.workflow_type == SCHEDULE for code in known) else app
    return app, Schedules(app)


def _id_of(key: WorkflowKey) -> UUID:
    workflow, _, name = key.instance_id.partition("/")
    return schedule_id(workflow, name)


def _definition(stored: Stored) -> JsonValue:
    found: JsonValue = from_json(stored.state).get("definition")
    return found


async def _known(engine: ReducerPatternEngine) -> dict[WorkflowKey, Stored]:
    found: dict[WorkflowKey, Stored] = {}
    after: WorkflowKey | None = None
    while rows := await engine.reader.instances(SCHEDULE, None, after, PAGE):
        found |= {row.key: row for row in rows}
        after = rows[-1].key
    return found
