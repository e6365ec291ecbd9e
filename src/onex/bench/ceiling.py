"""The ceiling: durable actions per second that SQLite alone reaches with the rows of ONEX.

Theory of operation. A bench compares the engine with this number, so the two must do the same work on the disk, and this
one must do nothing else.

- The same: tables, indexes, SQL statements, bytes per row, batch size, checkpoint threshold, ``synchronous=FULL`` and the thread
  that checkpoints (``Checkpointer``). Statements and schema are imported from the adapter, so they cannot diverge.
- Left out is all that the engine adds: mailboxes, the step, encoding, making rows, answers. Rows are made before the
  transaction, and only time inside a transaction counts. A faster Python therefore cannot improve the ceiling.
- A batch is what a commit writes: one log row per action, one state row per touched instance with its version check, one
  outbox row per intent, and one settled row per outcome. ``RowSizes`` says how many bytes each has.
- Nothing else runs in this process meanwhile, so rows that go together (``statements``) cost as much here as one by one. They
  gain where a loop wants the GIL. Another driver, apsw, would fill these tables 1.10 times as fast: decision 23 says why a store
  cannot use it.
- The ceiling is measured beside the engine, in alternating slices of the same minute. Disks of shared machines differ by more than
  the engine does, so only the ratio of a pair means something, and the median of several.
- ``wait_share`` is the part of a transaction spent in COMMIT. If it is near 1 the disk is the limit, not SQLite's B-trees.

What may go wrong: the checkpoint thread falls behind and the WAL grows, which shows as falling rates within a slice. If
the result at 1,000 a batch is below 0.8 of REFERENCE_AT_1000, examine the ceiling before the engine.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from ..adapters.clock import UuidV7
from ..adapters.sqlite.core import WAL_PAGES
from ..adapters.sqlite.location import StoreFiles
from ..adapters.sqlite.schema import connect, create
from ..adapters.sqlite.statements import INSERT_LOG, INSERT_OUTBOX, INSERT_STATE, SETTLE, UPDATE_STATE
from ..adapters.sqlite.threads import Checkpointer

Value = int | str | bytes | bytearray | None
Row = tuple[Value, ...]

# Actions per second of this append layout at 1,000 a batch, with the same driver, when fsync took 100 us.
REFERENCE_AT_1000: Final = 101_000


@dataclass(frozen=True, slots=True)
class RowSizes:
    """Bytes per row. ``intents_every=3``: each third action emits one intent and, with ``settles``, settles an older one."""

    keys: int = 1_000
    payload_bytes: int = 200
    state_bytes: int = 220
    intents_bytes: int = 60
    intents_every: int = 3
    settles: bool = True


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Times of one transaction. ``wait_share``: the part of it spent in COMMIT (WAL, fsync, checkpoint)."""

    actions_per_s: float
    p50_ms: float
    p99_ms: float
    transactions: int
    wait_share: float


def append_ceiling(path: Path, batch: int, seconds: float, shape: RowSizes | None = None) -> float:
    """Durable actions per second with ``batch`` actions in a transaction, measured for about ``seconds``."""
    return measure(path, batch, seconds, shape).actions_per_s


def measure(path: Path, batch: int, seconds: float, shape: RowSizes | None = None) -> Ceiling:
    """Makes a store at ``path`` and fills it. Raises DatabaseConnectionError when it cannot be made."""
    create(path)
    connection = connect(path, "rw")
    folder = Checkpointer(StoreFiles(path))
    cursor = connection.cursor()
    taken: list[float] = []
    waited = 0.0
    try:
        cursor.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}").fetchall()
        rows = _Rows(shape or RowSizes())
        cursor.execute("begin immediate")
        INSERT_STATE.run(cursor, rows.instances())
        cursor.execute("commit")
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            log, states, settled, outbox = rows.batch(batch)
            begun = time.perf_counter()
            cursor.execute("begin immediate")
            cursor.execute("update shards set n = n + ? where shard = 0 and fence = 0 returning n", (batch,)).fetchall()
            assert UPDATE_STATE.run(cursor, states) == len(states)
            INSERT_LOG.run(cursor, log)
            SETTLE.run(cursor, settled)
            INSERT_OUTBOX.run(cursor, outbox)
            written = time.perf_counter()
            cursor.execute("commit")
            done = time.perf_counter()
            folder.written.set()
            taken.append(done - begun)
            waited += done - written
    finally:
        folder.close()
        connection.close()
    p99 = quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
    return Ceiling(
        batch * len(taken) / sum(taken), median(taken) * 1e3, p99 * 1e3, len(taken), waited / sum(taken)
    )  # fmt: skip


class _Rows:
    """Rows as the store writes them: one log row per action, one state row per key and batch."""

    def __init__(self, shape: RowSizes) -> None:
        self.shape = shape
        self.ids = UuidV7()
        self.n = 0
        self.ends: dict[int, tuple[int, int]] = {}
        self.keys = cycle(range(1, shape.keys + 1))
        self.waits: list[Row] = []
        self.payload = bytearray(b"p" * shape.payload_bytes)  # the type that the driver binds fastest
        self.state = bytearray(b"s" * shape.state_bytes)
        self.intents = bytearray(b"i" * shape.intents_bytes)
        self.nothing, self.none = bytearray(b"[]"), bytearray()
        self.digest = bytearray(b"h" * 32)

    def instances(self) -> list[Row]:
        return [
            (0, 0, "open", 0, 1, self.digest, 1, 0, 0, 0, "", 0, self.state, 1, key, "orders", f"order-{key}", 0)
            for key in range(1, self.shape.keys + 1)
        ]

    def batch(self, size: int) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
        """Parameters of ``size`` actions: log, states, settled, outbox."""
        shape = self.shape
        log: list[Row] = []
        outbox: list[Row] = []
        touched: dict[int, int] = {}
        for key in (next(self.keys) for _ in range(size)):
            self.n = n = self.n + 1
            version, prev = self.ends.get(key, (0, 0))
            touched.setdefault(key, version)
            self.ends[key] = version + 1, n
            action_id = bytearray(self.ids.new())
            emits = n % shape.intents_every == 0
            log.append(
                (n, key, version + 1, prev, action_id, "place", self.payload, 1, n, action_id, self.none, "bench", self.digest,
                 self.intents if emits else self.nothing, "open", 1, 1, self.digest, 1)
            )  # fmt: skip
            if emits:
                outbox.append((n, 0, key, 2, 0, ""))
        states: list[Row] = [
            (self.ends[key][0], 0, "open", 0, 1, self.digest, 1, self.ends[key][1], self.n, 0, "", self.n, self.state,
             1, key, based_on)
            for key, based_on in touched.items()
        ]  # fmt: skip
        settled, self.waits = self.waits, [row[:2] for row in outbox] if shape.settles else []
        return log, states, settled, outbox


def fsync_us(folder: Path, count: int = 200, size: int = 4096) -> float:
    """Median microseconds of writing ``size`` bytes behind the last and ``fdatasync``, as a commit does."""
    path = folder / f"fsync-{os.getpid()}"
    taken: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(count):
            begun = time.perf_counter()
            os.write(descriptor, b"f" * size)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(taken) * 1e6
