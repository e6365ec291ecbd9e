"""Whatever is done to them, the SQLite core and the memory store hold the same, and so does one on a server: one meaning."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.adapters.sqlite.core import SqliteCore
from onex.kernel.action import WorkflowKey
from onex.ports import (
    Attempt,
    Commit,
    EnumAttempt,
    EnumOutboxState,
    InboxAnswer,
    KeyChange,
    NewBlob,
    NewIntent,
    Note,
    Pointer,
    Position,
    ProjectionRow,
    Rejection,
)
from onex.testing.conformance.owner import CODE, ENV, A, AnyStore, B, C, action, row
from tests.servers.postgres_server import PostgresServer

R = TypeVar("R")
KEYS = [A, B, C]
ALL = 10**6
DAY_US = 86_400_000_000

keys = st.sampled_from(KEYS)
names = st.sampled_from([f"x{number}" for number in range(40)])
pointers = st.builds(Pointer, st.just(0), st.integers(1, 30), st.integers(0, 2))
intents = st.builds(
    NewIntent, st.just(0), st.integers(0, 4), st.integers(0, 9), st.sampled_from(["", "", "remind", "expire"])
)
emitted = st.lists(intents, max_size=3).map(
    lambda found: tuple(intent._replace(ordinal=ordinal) for ordinal, intent in enumerate(found))
)
rows = st.builds(lambda name, outbox, us: row(name, *outbox, issued_us=us), names, emitted, st.integers(0, 9))
notes = st.builds(
    Note, pointers, st.sampled_from(EnumOutboxState), st.integers(0, 5), st.integers(0, 9), st.booleans(),
    st.integers(0, 3), st.binary(max_size=3), st.text(max_size=3),
)  # fmt: skip
attempts = st.builds(
    Attempt, pointers, st.integers(1, 3), st.integers(0, 9), st.just(0), st.sampled_from(EnumAttempt),
    st.text(max_size=2), st.text(max_size=3), st.text(max_size=3),
)  # fmt: skip
answers = st.builds(InboxAnswer, st.integers(1, 6), st.binary(max_size=2), st.integers(0, 9), st.just(0))
digests = st.sampled_from([b"d" * 32, b"e" * 32])


class Lost(Exception):
    """What the probe raises."""


def now(call: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine that never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    raise AssertionError("the memory store waited")


class StoresAgree(RuleBasedStateMachine):
    other: AnyStore

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="onex-agree-"))
        self.at_us = 0
        self.fail_at = ""
        self.tables = Tables()
        self.boot()

    def now(self, call: Coroutine[Any, Any, R]) -> R:
        """The result of a call of the other store."""
        return now(call)

    def open_other(self) -> AnyStore:
        return MemoryStore(self.tables, rejections_kept=5)

    def drop_other(self) -> None:
        """As its process dies; ``open_other`` follows."""
        asyncio.run(self.other.close())

    def boot(self) -> None:
        self.core = SqliteCore(self.folder / "store.db", synchronous="off", rejections_kept=5, probe=self.probe)
        self.other = self.open_other()
        self.fences = self.core.own("core")
        assert self.now(self.other.own("other")) == self.fences
        self.ids = self.core.intern(CODE, ENV)
        assert self.now(self.other.intern(CODE, ENV)) == self.ids

    def probe(self, point: str) -> None:
        if point == self.fail_at:
            raise Lost(point)

    def teardown(self) -> None:
        self.core.close()
        shutil.rmtree(self.folder)

    def change(self, data: st.DataObject, key: WorkflowKey) -> KeyChange:
        stored = self.core.load([key]).get(key)
        instance, version = (stored.instance, stored.version) if stored else (None, 0)
        if data.draw(st.integers(0, 9), "stale") == 0:
            version += data.draw(st.sampled_from([-1, 1]), "by")
        if data.draw(st.integers(0, 19), "lost") == 0:
            instance = data.draw(st.sampled_from([None, 99]), "instance")
        its = tuple(data.draw(st.lists(rows, max_size=3), "rows"))
        made = version + len(its)
        # what is settled stood there before, or is gone: nothing settles what its own commit emits
        waits = [Pointer(0, ALL, 0), *(one.pointer for one in self.core.outbox(list(EnumOutboxState), None, None, ALL))]
        return KeyChange(
            key, instance, version, its, b"state %d" % made, data.draw(st.integers(1, 2)), b"hash %d" % made, "open",
            data.draw(st.integers(0, 5), "terminal") == 0 and bool(its), *self.ids,
            epoch=data.draw(st.integers(0, 3)), failures=data.draw(st.integers(0, 3)),
            held=data.draw(st.sampled_from(["", "held"])),
            settled=tuple(data.draw(st.lists(st.sampled_from(waits), max_size=2), "settled")),
            row_blobs=tuple((index, data.draw(digests)) for index in range(min(1, len(its)))),
            snapshot_before=data.draw(st.none() | st.binary(max_size=2), "before"),
            snapshot_after=data.draw(st.booleans(), "after"),
            lease_seen=b"lease" if data.draw(st.integers(0, 19), "lease") == 0 else None,
            notes=tuple(data.draw(st.lists(notes, max_size=1), "its notes")),
            rejections=tuple(self.rejection(data) for _ in range(data.draw(st.integers(0, 1)))),
            answers=tuple(data.draw(st.lists(answers, max_size=1), "its answers")),
        )  # fmt: skip

    def rejection(self, data: st.DataObject) -> Rejection:
        key = data.draw(st.sampled_from(["orders:a", "bus"]), "refused at")
        return Rejection(key, action(data.draw(names)), data.draw(st.sampled_from("xy")), "no", b"b" * 9, 0)

    def timed(self, refused: tuple[Rejection, ...]) -> tuple[Rejection, ...]:
        """Each at a time of its own: which of two at once is the newer, no store says."""
        self.at_us += len(refused)
        first = self.at_us - len(refused)
        return tuple(one._replace(at_us=first + index) for index, one in enumerate(refused))

    def stamped(self, told: tuple[InboxAnswer, ...]) -> tuple[InboxAnswer, ...]:
        return tuple(one._replace(at_us=self.at_us) for one in told)

    @rule(data=st.data(), later=st.sampled_from([0, 0, 0, DAY_US // 48, 4 * DAY_US]))
    def commit(self, data: st.DataObject, later: int) -> None:
        self.at_us += later
        changes = tuple(self.change(data, key) for key in data.draw(st.lists(keys, max_size=4), "keys"))
        commit = Commit(
            self.fences,
            changes,
            tuple(NewBlob(digest, "text/plain", digest[:3]) for digest in data.draw(st.lists(digests, max_size=1))),
            tuple(data.draw(st.lists(notes, max_size=2), "notes")),
            tuple(self.rejection(data) for _ in range(data.draw(st.integers(0, 3)))),
            tuple(data.draw(st.lists(answers, max_size=2), "answers")),
            tuple(data.draw(st.lists(pointers, max_size=1), "settled")),
            self.at_us,
            tuple(data.draw(st.lists(attempts, max_size=3), "attempts")),
        )
        commit = commit._replace(rejections=self.timed(commit.rejections))
        changes = tuple(change._replace(rejections=self.timed(change.rejections)) for change in commit.changes)
        changes = tuple(change._replace(answers=self.stamped(change.answers)) for change in changes)
        tried = tuple(one._replace(ended_us=self.at_us) for one in commit.attempts)
        commit = commit._replace(
            changes=changes, answers=self.stamped(commit.answers), at_us=self.at_us, attempts=tried
        )
        self.fail_at = data.draw(st.sampled_from(["", "", "", "before_commit", "after_commit"]), "fail at")
        try:
            outcomes = self.core.commit(commit)
        except Lost as lost:
            if str(lost) == "after_commit":
                self.now(self.other.commit(commit))
            return
        finally:
            self.fail_at = ""
        assert outcomes == self.now(self.other.commit(commit))

    @rule()
    def crash(self) -> None:
        self.core.drop()
        self.drop_other()
        self.boot()

    @rule(bodies=st.lists(st.binary(max_size=3), min_size=1, max_size=2))
    def send(self, bodies: list[bytes]) -> None:
        assert self.core.send_all(bodies, self.at_us) == [*self.now(self.other.send_all(bodies, self.at_us))]

    @rule(
        from_n=st.integers(0, 2), step=st.integers(0, 2), key=keys, version=st.integers(1, 4), tag=st.sampled_from("xy")
    )
    def project(self, from_n: int, step: int, key: WorkflowKey, version: int, tag: str) -> None:
        projected = [ProjectionRow(key, version, tag, "place", b"{}")]
        moved = self.core.project("board", 0, from_n, from_n + step, projected)
        assert moved == self.now(self.other.project("board", 0, from_n, from_n + step, projected))

    @invariant()
    def they_hold_the_same(self) -> None:
        core, other, now = self.core, self.other, self.now
        states = list(EnumOutboxState)
        start = Position(0, 0)
        assert core.load(KEYS) == now(other.load(KEYS))
        assert core.log(start, ALL) == now(other.log(start, ALL))
        assert core.outbox(states, None, None, ALL) == now(other.outbox(states, None, None, ALL))
        assert core.waiting(None, ALL, 5) == now(other.waiting(None, ALL, 5))
        assert core.rejections(None, None, 0, ALL) == now(other.rejections(None, None, 0, ALL))
        assert core.inbox(0, ALL) == now(other.inbox(0, ALL))
        assert core.answers(range(8)) == now(other.answers(range(8)))
        assert core.counts() == now(other.counts())
        assert core.projected("board", None, None, ALL) == now(other.projected("board", None, None, ALL))
        assert core.watermark("board", 0) == now(other.watermark("board", 0))
        assert [core.blob(one) for one in (b"d" * 32, b"e" * 32)] == [
            now(other.blob(one)) for one in (b"d" * 32, b"e" * 32)
        ]
        for key in KEYS:
            assert core.attempts(key, 4) == now(other.attempts(key, 4))
            assert core.history(key, 2, 3) == now(other.history(key, 2, 3))
            assert [core.snapshot(key, one) for one in range(9)] == [now(other.snapshot(key, one)) for one in range(9)]


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(stateful_step_count=12)


class PostgresAgrees(StoresAgree):
    """The other store is one on a server: a schema for each example."""

    server: ClassVar[PostgresServer]
    schemas: ClassVar[Iterator[int]] = count(1)

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.schema = f"agree{next(self.schemas)}"
        super().__init__()

    def now(self, call: Coroutine[Any, Any, R]) -> R:
        return self.runner.run(call)

    def open_other(self) -> AnyStore:
        url = f"{self.server.url(self.schema)}&shards=1"
        return self.now(PostgresStore.open(Address.parse(url), rejections_kept=5))

    def drop_other(self) -> None:
        assert isinstance(self.other, PostgresStore)
        self.other.drop()
        self.now(self.other.close())

    def teardown(self) -> None:
        self.now(self.other.close())
        self.runner.close()
        super().teardown()


@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_store_on_a_server_agrees_too(postgres: PostgresServer, examples: int) -> None:
    PostgresAgrees.server = postgres
    # a failure is not shrunk: that takes minutes on a server, and the steps are few
    run_state_machine_as_test(
        PostgresAgrees, settings=settings(max_examples=examples, stateful_step_count=12, phases=[Phase.generate])
    )
