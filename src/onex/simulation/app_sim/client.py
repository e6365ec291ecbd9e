"""Clients of the app under test: they send what its contracts allow, mostly what is accepted just now, and repeat themselves.

Each act is drawn when it is about to happen, from the state of that moment, and written down. From a script, a client does
what is written. An act keeps its number as long as it lives in a script: its action id follows from seed, client and number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, JsonValue

from ...engine.pattern_engine import ReducerPatternEngine
from ...engine.pending import Committed
from ...kernel.action import WorkflowKey
from ...kernel.errors import EngineClosed, InstanceHeld, OnexError
from ...kernel.step import ROLLBACK, State
from ...kernel.user_code import a_type
from ...ports import Position
from ..client_requests import ClientRequest, send_by_inbox
from ..clock import stream
from ..engine_supervisor import EngineSupervisor
from ..host import HostCrashed, current_host
from ..sim_store import SimStore
from .app_under_test import AppUnderTest
from .observer import Observer
from .schedule import MANNERS, Act
from .values import Undrawable, Values

ACTS: Final = 10
PAUSE_S: Final = 0.6
RETRY_S: Final = 0.2
HELD_TRIES: Final = 3
PATIENCE_S: Final = 0.05
HOSTILE_P: Final = 0.04
DEEP: Final = 40
CONTROLS: Final = (ROLLBACK, "@redrive", "@")
HOSTILE: Final[tuple[JsonValue, ...]] = (
    [1, 2], "text", 7, 1.5, {"n": 2**70}, {"text": "caf\udce9"}, {"text": "a\x00b"}, [], "", True,
    json.loads('{"a":' * DEEP + "1" + "}" * DEEP),
)  # fmt: skip
"""Sent instead of a payload: of a type that no payload has, or with values that no log may hold."""
FITTING_P: Final = 0.85
FITTING_TRIES: Final = 8
NEXT_P: Final = 0.9
OTHER_P: Final = 0.6
MANNER_P: Final = 0.35
MISBEHAVE_P: Final = 0.3
NAMES: Final = "ab"
_HOW: Final = {
    "twice at once": "twice at once",
    "again": "and once more when it has its answer",
    "impatient": "and does not wait for the answer",
    "inbox": "through the inbox",
}
_IDS: Final = UUID("7a5d0c1e-3f52-5a0b-9b0e-51c6d3a4f201")


class Instances:
    """The instances that clients use: two per workflow, so that clients meet. One that has ended is followed by another."""

    def __init__(self, under_test: AppUnderTest) -> None:
        self.keys = [
            WorkflowKey(name, one) for name in under_test.workflows if under_test.triggers[name] for one in NAMES
        ]

    def successor(self, key: WorkflowKey) -> WorkflowKey:
        """``orders:a`` is followed by ``orders:a2``."""
        name, number = key.instance_id[0], int(key.instance_id[1:] or "1")
        other = WorkflowKey(key.workflow_type, f"{name}{number + 1}")
        if key in self.keys:
            self.keys[self.keys.index(key)] = other
        return other


class AppClient:
    """``script`` are its acts. None: it draws them from ``chance`` and adds them to ``did``."""

    def __init__(
        self,
        number: int,
        seed: int,
        under_test: AppUnderTest,
        supervisor: EngineSupervisor,
        instances: Instances,
        observer: Observer,
        truth: SimStore,
        script: Sequence[Act] | None,
        add_line: Callable[[str, str], None],
    ) -> None:
        self.number, self.seed, self.under_test, self.supervisor = number, seed, under_test, supervisor
        self.instances, self.observer, self.truth = instances, observer, truth
        self.script, self.add_line = script, add_line
        # "client" and "hostile client" are hashed into the streams: other words change every run
        self.chance = stream(seed, f"client {number}")
        self.did: list[Act] = []
        self._hostile = stream(seed, f"hostile client {number}")
        self._manners = [one for one in MANNERS if self.chance.random() < MANNER_P]

    async def run(self) -> None:
        """Returns when every act has its answer."""
        if self.script is not None:
            for written in self.script:
                await self._until(written.at_us)
                await self._do(written)
            return
        loop = asyncio.get_running_loop()
        for n in range(ACTS):
            at_us = round((loop.time() + PAUSE_S * self.chance.random()) * 1000) * 1000
            await self._until(at_us)
            act = self._drawn(n, at_us)
            if act is not None and HOSTILE_P and self._hostile.random() < HOSTILE_P:
                act = hostile(act, self._hostile)
            if act is not None:
                self.did.append(act)
                await self._do(act)

    async def _until(self, at_us: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if at_us / 1e6 > now_s:
            await current_host().clock.sleep(at_us / 1e6 - now_s)

    # --- what it does -------------------------------------------------------------------------------------------------

    def _drawn(self, n: int, at_us: int) -> Act | None:
        chance = self.chance
        if not self.instances.keys:
            return None
        key = chance.choice(self.instances.keys)
        reducer = self.under_test.workflows[key.workflow_type].reducer
        state = self.observer.state_of(key)
        waits = not any(trigger in reducer.accepts(state) for trigger in self.under_test.triggers[key.workflow_type])
        if waits and chance.random() < (NEXT_P if state.status in reducer.terminal else OTHER_P):
            key = self.instances.successor(key)
            state = self.observer.state_of(key)
        chosen = self._wanted(key, state) or self._fitting(key, state)
        if chosen is None:
            return None
        trigger, payload = chosen
        manner = chance.choice(self._manners) if self._manners and chance.random() < MISBEHAVE_P else ""
        return Act(self.number, n, at_us, str(key), trigger, payload, manner)

    def _wanted(self, key: WorkflowKey, state: State) -> tuple[str, JsonValue] | None:
        """What ``actions`` of simulation.py chooses. None: nothing, or it is wrong, which is a violation."""
        if self.under_test.actions is None:
            return None
        try:
            chosen = self.under_test.actions(self.chance, key, state)
            wanted = None if chosen is None else (chosen[0], _plain(chosen[1]))
        except Exception as error:
            self.observer.violated(f"simulation.py: actions raised {type(error).__name__}: {error}")
            return None
        known = self.under_test.workflows[key.workflow_type].reducer.payloads
        if (
            wanted is not None and wanted[0] not in known
        ):  # else every act would be refused, and everything would seem to hold
            self.observer.violated(
                f"simulation.py: actions named the trigger {wanted[0]!r}, which {key.workflow_type} does not have; "
                f"it has {', '.join(known)}"
            )
            return None
        return wanted

    def _fitting(self, key: WorkflowKey, state: State) -> tuple[str, JsonValue] | None:
        """Mostly what is accepted now; of that, four times as often what does not end the instance."""
        chance = self.chance
        own = self.under_test.triggers[key.workflow_type]
        if not own:
            return None
        reducer = self.under_test.workflows[key.workflow_type].reducer
        row = reducer.machine.table.get(state.status, {})
        accepted = [trigger for trigger in own if trigger in row]
        if accepted and chance.random() < FITTING_P:
            ends = [all(one.to_state in reducer.terminal for one in row[trigger]) for trigger in accepted]
            trigger = chance.choices(accepted, [1 if end else 4 for end in ends])[0]
        else:
            trigger = chance.choice(own)
        words = [known.instance_id for known in self.instances.keys]
        values = Values(chance, words)
        model = reducer.payloads[trigger]
        try:
            payload = values.of(model)
            for _ in range(FITTING_TRIES if trigger in accepted else 0):
                if self._passes(key, trigger, state, payload):
                    break
                payload = values.of(model)
        except Undrawable:
            return None
        return trigger, _plain(payload)

    def _passes(self, key: WorkflowKey, trigger: str, state: State, payload: BaseModel) -> bool:
        try:
            self.under_test.workflows[key.workflow_type].reducer.machine.next(state.status, trigger, state, payload)
        except OnexError:
            return False
        return True

    # --- how it is done -----------------------------------------------------------------------------------------------

    async def _do(self, act: Act) -> None:
        if act.manner == "hostile":
            await self._attack(act)
            return
        payload = act.payload if isinstance(act.payload, dict) else None
        request = ClientRequest(
            WorkflowKey.parse(act.key),
            act.trigger,
            payload,
            uuid5(_IDS, f"{self.seed} {act.client} {act.n}"),
        )
        how = f", {_HOW[act.manner]}" if act.manner else ""
        self._says(f"submits {act.trigger}{_shown(payload)} to {act.key}{how}")
        if act.manner == "inbox":
            await self._by_inbox(request)
        elif act.manner == "twice at once":
            await asyncio.gather(*(asyncio.create_task(self._deliver(request)) for _ in range(2)))
        else:
            await self._deliver(request, patience_s=PATIENCE_S if act.manner == "impatient" else None)
            if act.manner == "again":
                await self._deliver(request)

    async def _attack(self, act: Act) -> None:
        """What nobody may accept: it is refused with an OnexError, and with nothing else."""
        self._says(f"sends {act.trigger} with {json.dumps(act.payload)[:60]} to {act.key}")
        payload: Any = act.payload

        async def post(engine: ReducerPatternEngine) -> Committed:
            return await engine.submit(act.key, act.trigger, payload)

        try:
            answer = await self.supervisor.ask(post)
        except HostCrashed:
            return
        except OnexError as error:
            self._says(f"is refused: {error.message}")
        except Exception as error:
            self.observer.violated(f"what a client sent came back to it as a raw {type(error).__name__}: {error}")
        else:
            self.observer.violated(
                f"{act.key} accepted what nobody may send: {act.trigger}, as version {answer.version}"
            )

    async def _deliver(self, request: ClientRequest, *, patience_s: float | None = None) -> None:
        """Sends until there is a final answer: committed, or refused for good."""
        held = 0
        while True:
            sent_us = self.observer.world.now_us
            try:
                answer = await self.supervisor.ask(request.submit, patience_s=patience_s)
            except (HostCrashed, TimeoutError, EngineClosed):
                self._says(f"gets no answer for {request.kind} to {request.key}")
                patience_s = None
            except OnexError as error:
                held += isinstance(error, InstanceHeld)
                if not error.retryable or held > HELD_TRIES:
                    self._says(f"is refused: {error.message}")
                    self.observer.refusal(request.key, request.id, error, sent_us)
                    return
            else:
                self._says(f"is answered: {request.key} version {answer.version}, {answer.status}")
                await self._answered(request, answer)
                return
            await current_host().clock.sleep(RETRY_S)

    async def _answered(self, request: ClientRequest, answer: Committed) -> None:
        here = await self.truth.applied(request.key, request.id.bytes)
        self.observer.acknowledged(request.key, request.id, answer, here)

    async def _by_inbox(self, request: ClientRequest) -> None:
        """From another process, which has only the store."""

        def not_written(error: OnexError) -> None:
            self._says(f"cannot write into the inbox: {error.message}")

        answer = await send_by_inbox(self.supervisor.sender, request.inbox_body(), RETRY_S, not_written)
        if answer is None:
            return
        if "error" in answer:
            here = await self.truth.applied(request.key, request.id.bytes)
            self.observer.require(
                here is None, f"{request.key} {request.id} was refused in the inbox, and the log has it"
            )
            return
        at = Position(0, 0)  # the inbox does not say where
        committed = Committed(request.key, answer["version"], at, answer["status"], answer["duplicate"])
        await self._answered(request, committed)

    def _says(self, what: str) -> None:
        self.add_line(f"client {self.number + 1}", what)


def hostile(act: Act, chance: Random) -> Act:
    """The same act with what no client of this app would send."""
    trigger = chance.choice((act.trigger, act.trigger, act.trigger, *CONTROLS))
    payload: JsonValue = chance.choice(HOSTILE)
    if trigger == ROLLBACK:
        payload = {"to_version": chance.randrange(1, 4), "state": {"status": "paid"}}
    return replace(act, trigger=trigger, payload=payload, manner="hostile")


def _plain(payload: object) -> JsonValue:
    """As JSON, as it is sent. Raises TypeError for a value that no payload can be."""
    if payload is None:
        return None
    if isinstance(payload, BaseModel):
        sent: JsonValue = payload.model_dump(mode="json", exclude_unset=True)
        return sent or None
    if isinstance(payload, dict):
        return dict(payload)
    raise TypeError(f"a payload is a model, a dict or None, not {a_type(payload)}")


def _shown(payload: Mapping[str, JsonValue] | None) -> str:
    return f" {orjson.dumps(payload).decode()}" if payload else ""
