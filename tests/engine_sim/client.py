"""Clients: they send, send again, give up, misuse ids, and write down every answer they were given."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from random import Random
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from onex.engine.mailbox import Committed
from onex.engine.pattern_engine import ReducerPatternEngine
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
from onex.simulation.engine_supervisor import House
from onex.simulation.faults import Faults
from onex.simulation.host import Host, HostCrashed, current_host
from onex.simulation.invariants import Judge
from onex.simulation.sim_store import SimStore
from tests.engine_sim.leases import Lease, Leases
from tests.engine_sim.outside import Outside, seen_of
from tests.engine_sim.sample_workflow import ASKED, HOSTILE, TOO_MUCH, UNLEASED, Add, Ask, Begin, Tell, Wake
from tests.engine_sim.sender import Letter, Sender

_RETRY_S: Final = 0.2
_HELD_TRIES: Final = 3
_WOKEN_S: Final = 5.0
POISONS: Final = ("raise", "text", "state", "key", "to", "flood", "intent", "size", "in place")


class Client:
    """One after the other, with a pause: what it does is drawn, and so is how it misbehaves."""

    def __init__(
        self,
        house: House,
        faults: Faults,
        judge: Judge,
        outside: Outside,
        truth: SimStore,
        leases: Leases,
        chance: Random,
    ) -> None:
        self.house, self.faults, self.judge, self.truth, self.chance = house, faults, judge, truth, chance
        self.outside, self.leases = outside, leases
        self.sender = Sender(house.sender, judge.complain)
        self._told: list[tuple[Letter, Committed]] = []

    async def live(self, actions: int) -> None:
        """Returns when every action of its own has its answer."""
        for key in self.house.keys:
            await self._begin(key)
        for _ in range(actions):
            await self.act()
            await current_host().clock.sleep(0.3 * self.chance.random())

    async def _begin(self, key: WorkflowKey) -> None:
        await self.deliver(Letter(key, "begin", Begin(), UUID(bytes=current_host().ids.new())))

    async def act(self) -> None:
        faults = self.faults
        letter = self._letter()
        if faults.hits("bad input"):
            await self._misuse(letter)
        elif faults.hits("burst"):
            await self._burst(letter.key)
        elif faults.hits("action without an id"):
            await self._once(letter)
        elif faults.hits("submitted through the inbox"):
            await self._through_the_inbox(letter)
        elif faults.hits("rubbish in the inbox"):
            await self.sender.rubbish(self.chance.randrange(1000))
        elif faults.hits("control through the inbox"):
            await self._control(letter.key)
        elif faults.hits("rollback"):
            await self._roll_back(letter.key)
        elif faults.hits("command under a lease"):
            await self._lead(letter)
        elif faults.hits("command under a foreign lease"):
            await self.deliver(letter._replace(lease_id=UUID(bytes=current_host().ids.new())))
        elif faults.hits("action with a deadline"):
            after_s = self.chance.choice((0.05, 0.5))
            expires_at = datetime.fromtimestamp(current_host().clock.now_us() / 1e6 + after_s, UTC)
            await self.deliver(letter._replace(expires_at=expires_at))
        elif faults.hits("action for one version"):
            await self._for_one_version(letter)
        elif faults.hits("action sent twice at once"):
            rival = letter._replace(kind="add", payload=Add(amount=2_000_000))
            twins = [asyncio.create_task(self.deliver(one)) for one in (letter, letter, rival)]
            await asyncio.gather(*twins)
        elif letter.kind == "finish":
            await self._finish(letter)
        else:
            await self.deliver(letter)
        if self._told and faults.hits("answer sent again"):
            await self.deliver(self.chance.choice(self._told)[0])
        if self._told and faults.hits("id used for another body"):
            await self._other_body(self.chance.choice(self._told)[0])

    # --- sending ------------------------------------------------------------------------------------------------------

    async def deliver(self, letter: Letter) -> Committed | OnexError:
        """Until there is an answer that will not change: committed, or refused for good."""
        held = 0
        self.leases.sending(letter.id, letter.lease_id, letter.epoch)
        if letter.expires_at is not None:
            self.judge.punctual.sending(letter.id, micros(letter.expires_at))
        while True:
            patience_s = 0.05 if self.faults.hits("client stops waiting") else None
            try:
                told = await self.house.ask(letter.post, patience_s=patience_s)
            except (HostCrashed, TimeoutError, EngineClosed):
                pass
            except OnexError as error:
                held += isinstance(error, InstanceHeld)
                led = isinstance(error, LeaseConflictError) and letter.kind in UNLEASED and letter.lease_id is None
                self.judge.hold(not led, f"{letter.key}: {letter.kind} needs no lease, and was kept out by one")
                innocent = letter.kind != "tender" and not getattr(letter.payload, "poison", "")
                self.judge.hold(
                    not innocent or not isinstance(error, ReducerFailed),
                    f"{letter.key}: {letter.kind} failed, and asks for nothing",
                )
                moved = isinstance(error, ConcurrentModificationError) and letter.expected_version is not None
                if not error.retryable or moved or held > _HELD_TRIES:
                    self.judge.refused.append((letter.key, letter.id, error))
                    return error
            else:
                await self.answered(letter, told)
                if not self.faults.hits("action sent again"):
                    return told
            await current_host().clock.sleep(_RETRY_S)

    async def answered(self, letter: Letter, told: Committed) -> None:
        here = await self.truth.applied(letter.key, letter.id.bytes)
        self.judge.acknowledged(letter.key, letter.id, told, here)
        body = letter.payload.model_dump_json().encode()
        same = here is None or (here.row.kind, here.row.payload) == (letter.kind, body)
        self.judge.hold(same, f"{letter.key} acknowledged {letter.id}, and the log has another body under it")
        if self.faults.hits("answer read again"):
            await self._read(letter.key, told)
        if told.position.n and self.faults.hits("read from the projection"):
            await self._read_projected(letter.key, told)
        self._told.append((letter, told))

    async def _read(self, key: WorkflowKey, told: Committed) -> None:
        """Whoever was told of a commit sees it."""
        try:
            stored = await self.house.ask(lambda engine: engine.stored(key))
        except (HostCrashed, OnexError):
            return
        version = stored.version if stored is not None else 0
        self.judge.hold(version >= told.version, f"{key} answered version {told.version}, and then showed {version}")

    async def _read_projected(self, key: WorkflowKey, told: Committed) -> None:
        try:
            rows = await self.house.ask(lambda engine: self.house.project(told.position))
        except (HostCrashed, OnexError):
            return
        version = next((row.version for row in rows if row.key == key), 0)
        self.judge.hold(version >= told.version, f"{key} is at {told.version}, and its projection showed {version}")

    async def _once(self, letter: Letter) -> None:
        """Without an id of one's own a lost answer stays lost."""
        try:
            told = await self.house.ask(lambda engine: engine.submit(letter.key, letter.kind, letter.payload))
        except (HostCrashed, OnexError):
            return
        rows = await self.truth.history(letter.key, told.version - 1, 1)
        self.judge.hold(
            bool(rows) and rows[0].row.kind == letter.kind, f"{letter.key} {told.version} is not {letter.kind}"
        )

    async def _through_the_inbox(self, letter: Letter) -> None:
        copies = 1 + letter.id.bytes[-1] % 2
        posted = [asyncio.create_task(self.sender.deliver(letter)) for _ in range(copies)]
        answers = [told for told in await asyncio.gather(*posted) if told is not None]
        here = await self.truth.applied(letter.key, letter.id.bytes)
        if len(answers) == copies and all("error" in told for told in answers):
            self.judge.hold(here is None, f"{letter.key} {letter.id} was refused in the inbox, and the log has it")
        for told in answers:
            if "error" not in told:
                one = Committed(letter.key, told["version"], Position(0, 0), told["status"], told["duplicate"])
                await self.answered(letter, one)

    async def _control(self, key: WorkflowKey) -> None:
        rows = await self.truth.outbox((EnumOutboxState.DEAD, EnumOutboxState.HELD), None, None, 100)
        if not rows or self.chance.random() < 0.5:
            await self.sender.release(key)
            return
        row = self.chance.choice(rows)
        self.outside.allow_again(seen_of(row))
        await self.sender.redrive(row.key, row.pointer)

    async def _roll_back(self, key: WorkflowKey) -> None:
        """To some version it had: a new one, and what was, remains. One that has ended stays so."""
        if self._told and self.chance.random() < 0.5:
            key = self.chance.choice(self._told)[0].key
        stored = (await self.truth.load([key])).get(key)
        if stored is None:
            return
        to_version = self.chance.randrange(1, stored.version + 1)
        before = await self.truth.history(key, 0, 10_000)
        try:
            told = await self.house.ask(lambda engine: engine.rollback(key, to_version))
        except (HostCrashed, OnexError):
            return
        after = await self.truth.history(key, 0, 10_000)
        self.judge.hold(list(after[: len(before)]) == list(before), f"{key}: going back has changed what was")
        status = before[to_version - 1].row.status
        self.judge.hold(
            (told.version > stored.version, told.status) == (True, status),
            f"{key} went back to version {to_version} ({status}) as version {told.version} ({told.status})",
        )

    async def _lead(self, letter: Letter) -> None:
        """As the one who leads this instance, or believes so."""
        lease = self.leases.current.get(letter.key)
        if lease is None:
            lease = self._lease()
            if not self.leases.grant(letter.key, lease):
                await self.deliver(letter)
                return
        epoch: int | None = None
        if self.faults.hits("command of an epoch"):
            stored = (await self.truth.load([letter.key])).get(letter.key)
            epoch = stored.epoch if stored is not None else 0
        twin = letter._replace(id=UUID(bytes=current_host().ids.new()))
        both = [one._replace(lease_id=lease.id, epoch=epoch) for one in (letter, twin)]
        await asyncio.gather(*(asyncio.create_task(self.deliver(one)) for one in both[: self.chance.choice((1, 2))]))
        if self.leases.current.get(letter.key) == lease:
            self.leases.end(letter.key)

    def _lease(self) -> Lease:
        host = self.house.host
        now_us = current_host().clock.now_us() if host is None else host.clock.now_us()
        return Lease(UUID(bytes=current_host().ids.new()), now_us + self.chance.choice((0, 1_000_000, 20_000_000)))

    async def _for_one_version(self, letter: Letter) -> None:
        stored = (await self.truth.load([letter.key])).get(letter.key)
        version = stored.version if stored is not None else 0
        letter = letter._replace(expected_version=version)
        told = await self.deliver(letter)
        here = await self.truth.applied(letter.key, letter.id.bytes)
        if isinstance(told, Committed):
            self.judge.hold(told.version == version + 1, f"{letter.key} took at {told.version} what was for {version}")
        else:
            self.judge.hold(here is None, f"{letter.key} {letter.id} was refused as {told.code}, and the log has it")

    async def _burst(self, key: WorkflowKey) -> None:
        """Without waiting in between: applied in the order sent, also where an action makes the one before it possible."""
        chance = self.chance
        kinds = chance.choice((("add",), ("add", "watch", "unwatch", "unwatch")))
        actions: list[tuple[WorkflowKey, str, BaseModel]] = []
        for _ in range(chance.randrange(2, 12)):
            kind = chance.choice(kinds)
            actions.append((key, kind, Add(amount=chance.randrange(10**6, 10**9)) if kind == "add" else NOTHING))
        before = (await self.truth.load([key])).get(key)
        try:
            told = await self.house.ask(lambda engine: engine.submit_many(actions))
        except Overloaded:
            after = await self.truth.history(key, before.version if before is not None else 0, 1000)
            bodies = [payload.model_dump_json().encode() for _, kind, payload in actions if kind == "add"]
            self.judge.hold(
                not any(entry.row.payload in bodies for entry in after), f"{key}: a burst was turned away and applied"
            )
            return
        except (HostCrashed, OnexError):
            return
        versions = [one.version for one in told if isinstance(one, Committed)]
        self.judge.hold(versions == sorted(set(versions)), f"{key}: a burst was applied out of order: {versions}")
        for (_, kind, payload), one in zip(actions, told, strict=True):
            if isinstance(one, Committed):
                (row,) = await self.truth.history(key, one.version - 1, 1)
                self.judge.hold(
                    (row.row.kind, row.row.payload) == (kind, payload.model_dump_json().encode()),
                    f"{key} {one.version} is another action's answer",
                )

    async def _other_body(self, letter: Letter) -> None:
        other = letter._replace(kind="add", payload=Add(amount=1_000_000))
        try:
            told = await self.house.ask(other.post)
        except (HostCrashed, EngineClosed):
            return
        except DuplicateActionError as error:
            self.judge.refused.append((other.key, other.id, error))
        except OnexError as error:
            self.judge.hold(error.retryable, f"{other.key} {other.id} with another body was refused as {error.code}")
        else:
            self.judge.complain(f"{other.key} {other.id} was applied, and again with another body: {told}")

    async def _misuse(self, letter: Letter) -> None:
        """Input that nobody should send, and somebody will."""

        case = self.chance.randrange(8)

        async def wrong(engine: ReducerPatternEngine) -> Committed:
            match case:
                case 0:
                    return await engine.submit(letter.key, "no_such_trigger", letter.payload, action_id=letter.id)
                case 1:
                    return await engine.submit(letter.key, "add", b'{"amount":"many"}', action_id=letter.id)
                case 2:
                    return await engine.submit("errand", letter.kind, letter.payload)
                case 3:
                    return await engine.submit(f"errand:{HOSTILE}", letter.kind, letter.payload)
                case 4:
                    return await engine.submit(letter.key, letter.kind, letter.payload, issuer=HOSTILE)
                case 5:
                    return await engine.submit(letter.key, "add", Add(amount=-1), action_id=letter.id)
                case 6:
                    return await engine.submit(letter.key, "add", Add(poison=TOO_MUCH), action_id=letter.id)
            return await engine.submit(letter.key, "add", Add(), lease_id=letter.id)

        try:
            told = await self.house.ask(wrong)
        except (HostCrashed, OnexError):
            return
        self.judge.complain(f"{letter.key} took what nobody should send ({case}): {told}")

    async def _finish(self, letter: Letter) -> None:
        """Wait for the end and bring it about: who waits on the engine that committed is woken by it."""

        async def wait(engine: ReducerPatternEngine) -> Host:
            await engine.wait(letter.key, timeout_s=10_000)
            return current_host()

        waiting = asyncio.create_task(self.house.ask(wait))
        told = await self.deliver(letter)
        host = self.house.host
        if isinstance(told, Committed):
            await self._begin(self.house.replace(letter.key))
        try:
            if isinstance(told, Committed):
                async with asyncio.timeout(_WOKEN_S):
                    await waiting
        except TimeoutError:
            alive = host is not None and host is self.house.host and host.alive
            self.judge.hold(not alive, f"{letter.key} ended, and who waited for it was not woken")
        except (HostCrashed, OnexError):
            return
        finally:
            waiting.cancel()

    # --- what is sent -------------------------------------------------------------------------------------------------

    def _letter(self) -> Letter:
        chance = self.chance
        key, other = chance.choice(self.house.keys), chance.choice(self.house.keys)
        kind, payload = self._command(other.instance_id)
        return Letter(key, kind, payload, UUID(bytes=current_host().ids.new()))

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
                after_s = chance.choice((0.0, 0.0, 0.0, 2.0))
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
                return "reckon", Ask(name="reckon", text=f"{chance.randrange(5)}")
        return "finish", NOTHING
