"""Clients: they send, send again, give up, misuse ids, and compare every answer with the log.

Each act draws one way to behave, in the order of the questions in ``act``: the order of the draws is the order of the code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Committed
from onex.kernel.action import NOTHING, WorkflowKey, micros
from onex.kernel.errors import (
    ConcurrentModificationError,
    DuplicateActionError,
    EngineClosed,
    InstanceHeld,
    LeaseConflictError,
    OnexError,
    Overloaded,
    ReducerFailed,
)
from onex.ports import EnumOutboxState, Position
from onex.simulation.client_requests import ClientRequest
from onex.simulation.effect_attempts import seen_of_row
from onex.simulation.engine_supervisor import EngineSupervisor
from onex.simulation.faults import Faults
from onex.simulation.host import Host, HostCrashed, current_host
from onex.simulation.invariants import InvariantChecker
from onex.simulation.raised_errors import HOSTILE_TEXT
from onex.simulation.sim_store import SimStore
from tests.engine_sim.leases import Lease, Leases
from tests.engine_sim.outside import Outside
from tests.engine_sim.sample_workflow import ASKED, TOO_MUCH, UNLEASED, Add, Ask, Begin, Tell, Wake
from tests.engine_sim.sender import InboxSender

_RETRY_S: Final = 0.2
_HELD_TRIES: Final = 3
_WOKEN_S: Final = 5.0
POISONS: Final = ("raise", "text", "state", "key", "to", "flood", "intent", "size", "in place")


class SampleClient:
    """One act after the other, with a pause. What it does is drawn, and so is how it breaks the rules."""

    def __init__(
        self,
        supervisor: EngineSupervisor,
        faults: Faults,
        checker: InvariantChecker,
        outside: Outside,
        truth: SimStore,
        leases: Leases,
        keys: list[WorkflowKey],
        chance: Random,
    ) -> None:
        self.supervisor, self.faults, self.checker, self.truth, self.chance = supervisor, faults, checker, truth, chance
        self.outside, self.leases, self.keys = outside, leases, keys
        self.sender = InboxSender(supervisor.sender, checker.violated)
        self.after_s: Sequence[float] = (0.0, 0.0, 0.0, 2.0)
        """How much later than now an intent that it asks for may be due."""
        self._answered_requests: list[tuple[ClientRequest, Committed]] = []

    async def run(self, actions: int) -> None:
        """Returns when every action of its own has its answer."""
        for key in self.keys:
            await self._begin(key)
        for _ in range(actions):
            await self.act()
            await current_host().clock.sleep(0.3 * self.chance.random())

    async def _begin(self, key: WorkflowKey) -> None:
        await self.deliver(ClientRequest(key, "begin", Begin(), UUID(bytes=current_host().ids.new())))

    async def act(self) -> None:
        faults = self.faults
        request = self._drawn_request()
        if faults.hits("bad input"):
            await self._misuse(request)
        elif faults.hits("burst"):
            await self._burst(request.key)
        elif faults.hits("action without an id"):
            await self._once(request)
        elif faults.hits("submitted through the inbox"):
            await self._through_the_inbox(request)
        elif faults.hits("rubbish in the inbox"):
            await self.sender.rubbish(self.chance.randrange(1000))
        elif faults.hits("control through the inbox"):
            await self._control(request.key)
        elif faults.hits("rollback"):
            await self._roll_back(request.key)
        elif faults.hits("command under a lease"):
            await self._lead(request)
        elif faults.hits("command under a foreign lease"):
            await self.deliver(request._replace(lease_id=UUID(bytes=current_host().ids.new())))
        elif faults.hits("action with a deadline"):
            after_s = self.chance.choice((0.05, 0.5))
            expires_at = datetime.fromtimestamp(current_host().clock.now_us() / 1e6 + after_s, UTC)
            await self.deliver(request._replace(expires_at=expires_at))
        elif faults.hits("action for one version"):
            await self._for_one_version(request)
        elif faults.hits("action sent twice at once"):
            rival = request._replace(kind="add", payload=Add(amount=2_000_000))
            twins = [asyncio.create_task(self.deliver(one)) for one in (request, request, rival)]
            await asyncio.gather(*twins)
        elif request.kind == "finish":
            await self._finish(request)
        else:
            await self.deliver(request)
        if self._answered_requests and faults.hits("answer sent again"):
            await self.deliver(self.chance.choice(self._answered_requests)[0])
        if self._answered_requests and faults.hits("id used for another body"):
            await self._other_body(self.chance.choice(self._answered_requests)[0])

    # --- sending ------------------------------------------------------------------------------------------------------

    async def deliver(self, request: ClientRequest) -> Committed | OnexError:
        """Sends until there is a final answer: committed, or refused for good."""
        held = 0
        self.leases.sending(request.id, request.lease_id, request.epoch)
        if request.expires_at is not None:
            self.checker.times.sending(request.id, micros(request.expires_at))
        while True:
            patience_s = 0.05 if self.faults.hits("client stops waiting") else None
            try:
                answer = await self.supervisor.ask(request.submit, patience_s=patience_s)
            except (HostCrashed, TimeoutError, EngineClosed):
                pass
            except OnexError as error:
                held += isinstance(error, InstanceHeld)
                led = isinstance(error, LeaseConflictError) and request.kind in UNLEASED and request.lease_id is None
                self.checker.require(
                    not led, f"{request.key}: {request.kind} needs no lease, and was refused because of one"
                )
                innocent = request.kind != "tender" and not getattr(request.payload, "poison", "")
                self.checker.require(
                    not innocent or not isinstance(error, ReducerFailed),
                    f"{request.key}: {request.kind} failed, and contains nothing to fail for",
                )
                moved = isinstance(error, ConcurrentModificationError) and request.expected_version is not None
                if not error.retryable or moved or held > _HELD_TRIES:
                    self.checker.refused.append((request.key, request.id, error))
                    return error
            else:
                await self.answered(request, answer)
                if not self.faults.hits("action sent again"):
                    return answer
            await current_host().clock.sleep(_RETRY_S)

    async def answered(self, request: ClientRequest, answer: Committed) -> None:
        here = await self.truth.applied(request.key, request.id.bytes)
        self.checker.acknowledged(request.key, request.id, answer, here)
        assert isinstance(request.payload, BaseModel), "as every request of these clients"
        body = request.payload.model_dump_json().encode()
        same = here is None or (here.row.kind, here.row.payload) == (request.kind, body)
        self.checker.require(same, f"{request.key} acknowledged {request.id}, and the log has another body under it")
        if self.faults.hits("answer read again"):
            await self._read(request.key, answer)
        if answer.position.n and self.faults.hits("read from the projection"):
            await self._read_projected(request.key, answer)
        self._answered_requests.append((request, answer))

    async def _read(self, key: WorkflowKey, answer: Committed) -> None:
        """Who was answered that it is committed can read it."""
        try:
            stored = await self.supervisor.ask(lambda engine: engine.stored(key))
        except (HostCrashed, OnexError):
            return
        version = stored.version if stored is not None else 0
        self.checker.require(
            version >= answer.version, f"{key} answered version {answer.version}, and then showed {version}"
        )

    async def _read_projected(self, key: WorkflowKey, answer: Committed) -> None:
        try:
            rows = await self.supervisor.ask(lambda engine: self.supervisor.projected(answer.position))
        except (HostCrashed, OnexError):
            return
        version = next((row.version for row in rows if row.key == key), 0)
        self.checker.require(
            version >= answer.version, f"{key} is at {answer.version}, and its projection showed {version}"
        )

    async def _once(self, request: ClientRequest) -> None:
        """Without an id of its own a client cannot send again: a lost answer stays lost."""
        try:
            answer = await self.supervisor.ask(lambda engine: engine.submit(request.key, request.kind, request.payload))
        except (HostCrashed, OnexError):
            return
        rows = await self.truth.history(request.key, answer.version - 1, 1)
        self.checker.require(
            bool(rows) and rows[0].row.kind == request.kind, f"{request.key} {answer.version} is not {request.kind}"
        )

    async def _through_the_inbox(self, request: ClientRequest) -> None:
        copies = 1 + request.id.bytes[-1] % 2
        posted = [asyncio.create_task(self.sender.send(request.inbox_body())) for _ in range(copies)]
        answers = [answer for answer in await asyncio.gather(*posted) if answer is not None]
        here = await self.truth.applied(request.key, request.id.bytes)
        if len(answers) == copies and all("error" in answer for answer in answers):
            self.checker.require(
                here is None, f"{request.key} {request.id} was refused in the inbox, and the log has it"
            )
        for answer in answers:
            if "error" not in answer:
                one = Committed(request.key, answer["version"], Position(0, 0), answer["status"], answer["duplicate"])
                await self.answered(request, one)

    async def _control(self, key: WorkflowKey) -> None:
        rows = await self.truth.outbox((EnumOutboxState.DEAD, EnumOutboxState.HELD), None, None, 100)
        if not rows or self.chance.random() < 0.5:
            await self.sender.release(key)
            return
        row = self.chance.choice(rows)
        self.outside.allow_again(seen_of_row(row))
        await self.sender.redrive(row.key, row.pointer)

    async def _roll_back(self, key: WorkflowKey) -> None:
        """Back to an earlier version, as a new version: history stays as it was, and an ended instance stays ended."""
        if self._answered_requests and self.chance.random() < 0.5:
            key = self.chance.choice(self._answered_requests)[0].key
        stored = (await self.truth.load([key])).get(key)
        if stored is None:
            return
        to_version = self.chance.randrange(1, stored.version + 1)
        before = await self.truth.history(key, 0, 10_000)
        try:
            answer = await self.supervisor.ask(lambda engine: engine.rollback(key, to_version))
        except (HostCrashed, OnexError):
            return
        after = await self.truth.history(key, 0, 10_000)
        self.checker.require(list(after[: len(before)]) == list(before), f"{key}: a rollback has changed its history")
        status = before[to_version - 1].row.status
        self.checker.require(
            (answer.version > stored.version, answer.status) == (True, status),
            f"{key} went back to version {to_version} ({status}) as version {answer.version} ({answer.status})",
        )

    async def _lead(self, request: ClientRequest) -> None:
        """As the holder of this instance's lease, or as one who believes so."""
        lease = self.leases.current.get(request.key)
        if lease is None:
            lease = self._lease()
            if not self.leases.grant(request.key, lease):
                await self.deliver(request)
                return
        epoch: int | None = None
        if self.faults.hits("command of an epoch"):
            stored = (await self.truth.load([request.key])).get(request.key)
            epoch = stored.epoch if stored is not None else 0
        twin = request._replace(id=UUID(bytes=current_host().ids.new()))
        both = [one._replace(lease_id=lease.id, epoch=epoch) for one in (request, twin)]
        await asyncio.gather(*(asyncio.create_task(self.deliver(one)) for one in both[: self.chance.choice((1, 2))]))
        if self.leases.current.get(request.key) == lease:
            self.leases.end(request.key)

    def _lease(self) -> Lease:
        host = self.supervisor.host
        now_us = current_host().clock.now_us() if host is None else host.clock.now_us()
        return Lease(UUID(bytes=current_host().ids.new()), now_us + self.chance.choice((0, 1_000_000, 20_000_000)))

    async def _for_one_version(self, request: ClientRequest) -> None:
        stored = (await self.truth.load([request.key])).get(request.key)
        version = stored.version if stored is not None else 0
        request = request._replace(expected_version=version)
        answer = await self.deliver(request)
        here = await self.truth.applied(request.key, request.id.bytes)
        if isinstance(answer, Committed):
            self.checker.require(
                answer.version == version + 1, f"{request.key} took at {answer.version} what was for {version}"
            )
        else:
            self.checker.require(
                here is None, f"{request.key} {request.id} was refused as {answer.code}, and the log has it"
            )

    async def _burst(self, key: WorkflowKey) -> None:
        """Many actions without waiting in between: they are applied in the order sent, also where one makes the next possible."""
        chance = self.chance
        kinds = chance.choice((("add",), ("add", "watch", "unwatch", "unwatch")))
        actions: list[tuple[WorkflowKey, str, BaseModel]] = []
        for _ in range(chance.randrange(2, 12)):
            kind = chance.choice(kinds)
            actions.append((key, kind, Add(amount=chance.randrange(10**6, 10**9)) if kind == "add" else NOTHING))
        before = (await self.truth.load([key])).get(key)
        try:
            answer = await self.supervisor.ask(lambda engine: engine.submit_many(actions))
        except Overloaded:
            after = await self.truth.history(key, before.version if before is not None else 0, 1000)
            bodies = [payload.model_dump_json().encode() for _, kind, payload in actions if kind == "add"]
            self.checker.require(
                not any(entry.row.payload in bodies for entry in after),
                f"{key}: a refused burst was partly applied",
            )
            return
        except (HostCrashed, OnexError):
            return
        versions = [one.version for one in answer if isinstance(one, Committed)]
        self.checker.require(versions == sorted(set(versions)), f"{key}: a burst was applied out of order: {versions}")
        for (_, kind, payload), one in zip(actions, answer, strict=True):
            if isinstance(one, Committed):
                (row,) = await self.truth.history(key, one.version - 1, 1)
                self.checker.require(
                    (row.row.kind, row.row.payload) == (kind, payload.model_dump_json().encode()),
                    f"{key} {one.version} is another action's answer",
                )

    async def _other_body(self, request: ClientRequest) -> None:
        other = request._replace(kind="add", payload=Add(amount=1_000_000))
        try:
            answer = await self.supervisor.ask(other.submit)
        except (HostCrashed, EngineClosed):
            return
        except DuplicateActionError as error:
            self.checker.refused.append((other.key, other.id, error))
        except OnexError as error:
            self.checker.require(
                error.retryable, f"{other.key} {other.id} with another body was refused as {error.code}"
            )
        else:
            self.checker.violated(f"{other.key} {other.id} was applied, and again with another body: {answer}")

    async def _misuse(self, request: ClientRequest) -> None:
        """Input that no client should send, and some client will."""

        case = self.chance.randrange(8)

        async def wrong(engine: ReducerPatternEngine) -> Committed:
            match case:
                case 0:
                    return await engine.submit(request.key, "no_such_trigger", request.payload, action_id=request.id)
                case 1:
                    return await engine.submit(request.key, "add", b'{"amount":"many"}', action_id=request.id)
                case 2:
                    return await engine.submit("errand", request.kind, request.payload)
                case 3:
                    return await engine.submit(f"errand:{HOSTILE_TEXT}", request.kind, request.payload)
                case 4:
                    return await engine.submit(request.key, request.kind, request.payload, issuer=HOSTILE_TEXT)
                case 5:
                    return await engine.submit(request.key, "add", Add(amount=-1), action_id=request.id)
                case 6:
                    return await engine.submit(request.key, "add", Add(poison=TOO_MUCH), action_id=request.id)
            return await engine.submit(request.key, "add", Add(), lease_id=request.id)

        try:
            answer = await self.supervisor.ask(wrong)
        except (HostCrashed, OnexError):
            return
        self.checker.violated(f"{request.key} accepted what nobody should send ({case}): {answer}")

    async def _finish(self, request: ClientRequest) -> None:
        """Waits for the end of an instance and ends it: a waiter on the engine that committed must be woken."""

        async def wait(engine: ReducerPatternEngine) -> Host:
            await engine.wait(request.key, timeout_s=10_000)
            return current_host()

        waiting = asyncio.create_task(self.supervisor.ask(wait))
        answer = await self.deliver(request)
        host = self.supervisor.host
        if isinstance(answer, Committed):
            await self._begin(self.replace_finished(request.key))
        try:
            if isinstance(answer, Committed):
                async with asyncio.timeout(_WOKEN_S):
                    await waiting
        except TimeoutError:
            alive = host is not None and host is self.supervisor.host and host.alive
            self.checker.require(not alive, f"{request.key} ended, and who waited for it was not woken")
        except (HostCrashed, OnexError):
            return
        finally:
            waiting.cancel()

    def replace_finished(self, key: WorkflowKey) -> WorkflowKey:
        """This one has ended: from now on clients use another, which is returned."""
        other = key._replace(instance_id=f"{key.instance_id}'")
        if key in self.keys:
            self.keys[self.keys.index(key)] = other
        return other

    # --- what is sent -------------------------------------------------------------------------------------------------

    def _drawn_request(self) -> ClientRequest:
        chance = self.chance
        key, other = chance.choice(self.keys), chance.choice(self.keys)
        kind, payload = self._command(other.instance_id)
        return ClientRequest(key, kind, payload, UUID(bytes=current_host().ids.new()))

    def _command(self, other: str) -> tuple[str, BaseModel]:
        chance = self.chance
        if self.faults.hits("poison"):
            return "add", Add(poison=chance.choice(POISONS))
        match chance.choices(range(12), (2, 12, 24, 10, 14, 8, 5, 4, 5, 2, 6, 3))[0]:
            case 0:
                return "begin", Begin(note=chance.choice(("", "ä note")))
            case 1:
                return "add", Add(amount=chance.randrange(10))
            case 2:
                times = chance.choice((1, 1, 1, 3))
                after_s = chance.choice(self.after_s)
                name = chance.choice(ASKED)
                return "ask", Ask(name=name, text="please", times=times, after_s=after_s, own_key=chance.random() < 0.3)
            case 3:
                return "tell", Tell(name=chance.choice(("tell", "mail")), to=other, amount=chance.randrange(10))
            case 4:
                after_s = chance.choice((0.0, 0.1, 0.5, 2.0, 20.0, 90.0))
                return "wake", Wake(name=chance.choice(("alarm", "nudge")), after_s=after_s)
            case 5:
                return "hush", NOTHING
            case 6:
                return "mix", Tell(name="tell", to=other)
            case 7:
                return "watch", NOTHING
            case 8:
                return "unwatch", NOTHING
            case 9:
                return "ask", Ask(name="unserved", text="nobody")
            case 10:
                return "compute", Ask(name="compute", text=f"{chance.randrange(5)}")
        return "finish", NOTHING
