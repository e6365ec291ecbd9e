"""The store as one simulated process sees it: a call may fail before or after its work, be slow, or lose its answer.

Theory of operation
    Both stores are plain calls underneath, so the work of a call happens at one instant of virtual time. Everything around
    that instant is simulated here. A read, in this order: it may be slow, it may fail, it is done, its answer may be late.
    A commit, in this order:
    1. It may be slow. The engine's process may crash now: nothing was sent.
    2. Only over a network: the process crashes, and the commit arrives up to two seconds later. The fence decides then.
    3. The commit is lost on its way, with its answer: CommitUnknown, and nothing was done.
    4. The store refuses it, inside the transaction (``_probe``): TemporaryDatabaseError, and nothing was done.
    5. It is applied. ``listener`` hears of it at this instant, whatever the engine is told afterwards.
    6. The process may crash, or the answer is lost: CommitUnknown, and it was done. Or the answer is late.
    3 and 6 look the same to the engine: that is the case it must find out about before it goes on (promise 9).
    Reads, commits and ``close`` ask ``current_host`` first, so code of a dead process reaches nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from ..adapters.memory.store import MemoryStore
from ..code_use import CodeUse
from ..kernel.action import WorkflowKey
from ..kernel.errors import CommitUnknown, FencedError, TemporaryDatabaseError, TransactionError
from ..ports import (
    Applied,
    Attempt,
    Code,
    Commit,
    Conflict,
    Counts,
    EnumOutboxState,
    Env,
    InboxRow,
    InFlight,
    LogEntry,
    OutboxRow,
    Pointer,
    Position,
    ProjectionRow,
    RejectionRow,
    SnapshotRow,
    Stored,
)
from .disk import Disk, Handle
from .faults import Faults
from .host import Host, current_host

R = TypeVar("R")
READ_S = 0.3
COMMIT_S = 1.0
LOOK_S = 5.0


class StoreListener(Protocol):
    """Is called at the instant at which a commit is applied."""

    def committed(self, commit: Commit, answers: Sequence[Applied | Conflict]) -> None: ...

    def projected(self, name: str, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> None:
        """The watermark has moved; ``rows`` are all rows of the projection now."""


class SimStore:
    """Store, Reader and Sender of one process over one handle. Without ``faults`` nothing fails: the checks read the truth."""

    shards: int = 1

    def __init__(
        self, disk: Disk, world: Host, faults: Faults | None = None, listener: StoreListener | None = None
    ) -> None:
        self.disk = disk
        self.handle: Handle = disk.open(self._probe)
        self._world = world
        self._faults = faults
        self._listener = listener
        self._refuses = False

    async def _ask(self, ask: Callable[[Handle], R | Coroutine[object, object, R]]) -> R:
        value = ask(self.handle)
        return await value if isinstance(value, Coroutine) else value

    async def _read(self, port: str, ask: Callable[[Handle], R | Coroutine[object, object, R]]) -> R:
        clock, faults = current_host().clock, self._faults
        if faults is None:
            return await self._ask(ask)
        call = await faults.before(port)
        if faults.hits("read is slow"):
            await clock.sleep(faults.some_s(READ_S))
        if faults.hits("read fails"):
            raise TemporaryDatabaseError("a read failed, as the simulation had it")
        value = await self._ask(ask)
        if faults.hits("read answers late"):
            await clock.sleep(faults.some_s(READ_S))
        await faults.after(port, call)
        return value

    # --- the owner ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        self._write_at_all()
        return await self._read("own", lambda base: base.own(owner))

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        self._write_at_all()
        return await self._read("intern", lambda base: base.intern(code, env))

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        host, faults = current_host(), self._faults
        if faults is None:
            return await self._apply(commit)
        call = await faults.before("commit")
        if faults.hits("commit is slow"):
            await host.clock.sleep(faults.some_s(COMMIT_S))
        if faults.kills("crash before commit"):
            await host.die()
        if self.disk.networked and faults.kills("commit lands after its owner died"):
            self._world.start(self._land(commit, faults.some_s(2.0)))
            await host.die()
        if faults.hits("commit lost"):
            raise CommitUnknown("the answer to a commit was lost, and so was the commit")
        self._refuses = faults.hits("commit refused")
        answers = await self._apply(commit)
        await faults.after("commit", call)
        if faults.kills("crash after commit"):
            await host.die()
        if faults.hits("commit answer lost"):
            raise CommitUnknown("the answer to a commit was lost")
        if faults.hits("commit answers late"):
            await host.clock.sleep(faults.some_s(COMMIT_S))
        return answers

    async def _apply(self, commit: Commit) -> Sequence[Applied | Conflict]:
        if isinstance(self.handle, MemoryStore):
            self._probe("before_commit")
        self._write_at_all()
        answers = await self._ask(lambda base: base.commit(commit))
        if self._listener is not None:
            self._listener.committed(commit, answers)
        return answers

    def _probe(self, point: str) -> None:
        """SQLite calls it inside the transaction, so that a refusal makes it roll back for real."""
        if point == "before_commit" and self._refuses:
            self._refuses = False
            raise TemporaryDatabaseError("a commit was refused, as the simulation had it")

    def _write_at_all(self) -> None:
        refused = self.disk.refuses()
        if refused is not None:
            raise refused

    async def _land(self, commit: Commit, after_s: float) -> None:
        """The commit of a dead owner arrives late. Until the next owner has the shard it is valid; after that it must fail."""
        await self._world.clock.sleep(after_s)
        try:
            await self._apply(commit)
        except (FencedError, TransactionError):  # another owner came first, or nobody can write now
            return

    def judging(self, record: bytes) -> None:
        """A dead process writes nothing more, though the code that crashed it still runs up to its next await."""
        if current_host().alive:
            self.handle.judging(record)

    async def judged(self) -> bytes:
        return await self._ask(
            lambda base: base.judged()
        )  # a small file beside the store: no simulated fault is put on it

    async def woken(self) -> None:
        with suppress(TimeoutError):  # the signal is lost when another engine on this disk takes it
            async with asyncio.timeout(LOOK_S):
                await self.disk.written.wait()
                self.disk.written.clear()
                if self._faults is not None:
                    await self._faults.after("woken", await self._faults.before("woken"))
                if self._faults is not None and self._faults.hits("read fails"):
                    raise TemporaryDatabaseError("a look at the inbox failed, as the simulation had it")

    async def waiting(self, after: Pointer | None, limit: int, timers_before_us: int | None) -> Sequence[OutboxRow]:
        return await self._read("waiting", lambda base: base.waiting(after, limit, timers_before_us))

    async def inbox(self, after: int, limit: int) -> Sequence[InboxRow]:
        return await self._read("inbox", lambda base: base.inbox(after, limit))

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None:
        return await self._read("applied", lambda base: base.applied(key, action_id))

    async def close(self) -> None:
        current_host()
        call = 0 if self._faults is None else await self._faults.before("close")
        closing = self.handle.close()
        if closing is not None:
            await closing
        if self._faults is not None:
            await self._faults.after("close", call)

    # --- any process --------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        self._write_at_all()
        tickets = await self._read("send", lambda base: base.send_all([body], at_us))
        self.disk.written.set()
        return tickets[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        self._write_at_all()
        tickets = await self._read("send_all", lambda base: base.send_all(bodies, at_us))
        self.disk.written.set()
        return tickets

    async def answer(self, ticket: int) -> bytes | None:
        return (await self._read("answer", lambda base: base.answers([ticket]))).get(ticket)

    async def answers(self, tickets: Sequence[int]) -> Mapping[int, bytes]:
        return await self._read("answers", lambda base: base.answers(tickets))

    async def load(self, keys: Sequence[WorkflowKey]) -> Mapping[WorkflowKey, Stored]:
        return await self._read("load", lambda base: base.load(keys))

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return await self._read("instances", lambda base: base.instances(workflow_type, status, after, limit))

    async def codes(self) -> Mapping[int, Code]:
        return await self._read("codes", lambda base: base.codes())

    async def envs(self) -> Mapping[int, Env]:
        return await self._read("envs", lambda base: base.envs())

    async def log(self, after: Position, limit: int) -> Sequence[LogEntry]:
        return await self._read("log", lambda base: base.log(after, limit))

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._read("history", lambda base: base.history(key, after, limit))

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return await self._read("snapshot", lambda base: base.snapshot(key, at_most))

    async def outbox(
        self, states: Sequence[EnumOutboxState], key: WorkflowKey | None, after: Pointer | None, limit: int
    ) -> Sequence[OutboxRow]:
        return await self._read("outbox", lambda base: base.outbox(states, key, after, limit))

    async def rejections(
        self, key: str | None, action_id: bytes | None, after: int, limit: int
    ) -> Sequence[RejectionRow]:
        return await self._read("rejections", lambda base: base.rejections(key, action_id, after, limit))

    async def attempts(self, key: WorkflowKey, limit: int) -> Sequence[Attempt]:
        return await self._read("attempts", lambda base: base.attempts(key, limit))

    async def blob(self, digest: bytes) -> bytes | None:
        return await self._read("blob", lambda base: base.blob(digest))

    async def counts(self) -> Counts:
        return await self._read("counts", lambda base: base.counts())

    async def code_uses(self) -> Sequence[CodeUse]:
        return await self._read("code_uses", lambda base: base.code_uses())

    async def in_flight(self, limit: int) -> Sequence[InFlight]:
        return await self._read("in_flight", lambda base: base.in_flight(limit))

    # --- projections --------------------------------------------------------------------------------------------------

    async def watermark(self, name: str, shard: int) -> int:
        return await self._read("watermark", lambda base: base.watermark(name, shard))

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        return await self._read("project", lambda base: self._project(name, shard, from_n, to_n, rows))

    async def _project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        self._write_at_all()
        moved = await self._ask(lambda base: base.project(name, shard, from_n, to_n, rows))
        if moved and self._listener is not None:
            everything = await self._ask(lambda base: base.projected(name, None, None, 1000))
            self._listener.projected(name, from_n, to_n, everything)
        if self._faults is not None and self._faults.hits("read fails"):
            raise TemporaryDatabaseError("the answer to a projection was lost, as the simulation had it")
        return moved

    async def projected(
        self, name: str, tag: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[ProjectionRow]:
        return await self._read("projected", lambda base: base.projected(name, tag, after, limit))
