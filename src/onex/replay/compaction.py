"""Compaction: log rows that nothing needs any more go into an archive file, and then out of the store.

Theory of operation, in this order:

1. ``plan`` walks the instances in key order. Of one whose last action is old enough, the log may go up to its current state; of
   another, up to the newest kept state that is old enough. The store says what it would let go (``Retention.cut``, ``dry``).
2. ``archive`` writes these rows as an exported file (``history_export``): of each instance the rows, the state before the first of
   them, and the instance as it stood after the last. So ``onex replay`` and ``onex verify`` read an archive like any other file.
3. The caller makes the archive durable. Only then ``carry_out`` cuts, in small transactions. Each is judged anew.
4. ``collect`` removes blobs that no log row and no state names, and what is past its time.

What is old enough: issued before the time that is asked for, which is before the ids of that day are refused as expired. So dedup
keeps its promise: a late duplicate of an action that is gone finds the tombstone of an ended instance, or is refused by the
time in its id. An id that carries no time, as a client may choose it, is remembered as long as the promise says and no longer.

What may go wrong, and why it is still right:

- The process dies before 3: nothing is cut. Within 3: what was cut is in the archive. The rest goes with the next run, to
  its own archive. An archive may hold rows that the store holds too, and never lacks one that the store lost.
- The engine goes on meanwhile: rows that are there do not change, and an instance that moved on is left for the next run.
- A message to another instance is open since long: its receiver may have applied it and not answered. Were the receiver's row
  cut, a second delivery would be applied. So nothing younger than the oldest open message is cut.
- A state names a blob that only cut rows named: states are searched before a blob goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

from ..engine.encode import named_blobs, read_intents
from ..engine.refold import PAGE
from ..kernel.action import WorkflowKey
from ..kernel.errors import StateConsistencyError
from ..ports import Cut, EnumOutboxState, OutboxRow, Pointer, Position, Reader, Retention, SnapshotRow, Stored
from .history_export import export_each

BLOB_KEPT_US: Final = 24 * 3600 * 1_000_000
TOGETHER: Final = 2_000
"""Rows that one transaction removes, or those of one instance."""


class Compactable(Reader, Retention, Protocol):
    """A store that any process may read and keep short."""


@dataclass(slots=True)
class CompactionResult:
    """``cut`` instances lost ``rows`` log rows, ``ended`` of them have ended. ``stayed``: those whose rows are archived, and which
    had moved on when their turn came. ``held_by`` names an open message that is older than what was asked for."""

    instances: int = 0
    cut: int = 0
    ended: int = 0
    rows: int = 0
    stayed: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    expired: int = 0
    held_by: str = ""


async def oldest_message(store: Reader) -> tuple[int, OutboxRow] | None:
    """When the oldest message that is not settled was sent, and its row."""
    found: tuple[int, OutboxRow] | None = None
    after: Pointer | None = None
    while rows := await store.outbox(tuple(EnumOutboxState), None, after, PAGE):
        for row in rows:
            if not row.timer and _is_message(row):
                (entry,) = await store.log(Position(row.pointer.shard, row.pointer.n - 1), 1)
                if found is None or entry.row.issued_us < found[0]:
                    found = entry.row.issued_us, row
        after = rows[-1].pointer
    return found


def _is_message(row: OutboxRow) -> bool:
    try:
        return "to" in read_intents(row.intents)[row.pointer.ordinal]
    except (StateConsistencyError, IndexError):
        return True  # nobody can say what it is


async def plan(store: Compactable, before_us: int, result: CompactionResult) -> AsyncIterator[tuple[Cut, Stored]]:
    """In key order: what may be cut, each with its instance as it stood at the cut."""
    message = await oldest_message(store)
    if message is not None and message[0] <= before_us:
        before_us = message[0] - 1
        result.held_by = f"{message[1].key} version {message[1].version}"
    after: WorkflowKey | None = None
    while found := await store.instances(None, None, after, PAGE):
        result.instances += len(found)
        asked = [Cut(one.key, one.cut, one.version) for one in found]
        lets = await store.cut(asked, 0, dry=True)
        for stored, cut, lets_go in zip(found, asked, lets, strict=True):
            if cut.to == cut.was:
                continue
            if lets_go and stored.last_us <= before_us:
                yield cut, stored
            elif (at := await _at_kept(store, stored, before_us)) is not None:
                yield Cut(stored.key, stored.cut, at.version), at
        after = found[-1].key


async def _at_kept(store: Compactable, stored: Stored, before_us: int) -> Stored | None:
    """The instance as it stood at the newest kept state up to which its log may go."""
    kept = await store.snapshot(stored.key, stored.version - 1)
    while kept is not None and kept.version > stored.cut:
        (entry,) = await store.history(stored.key, kept.version - 1, 1)
        if (
            entry.row.issued_us <= before_us
            and (await store.cut([Cut(stored.key, stored.cut, kept.version)], 0, dry=True))[0]
        ):
            return stored._replace(
                version=kept.version, epoch=0, status=entry.row.status, terminal=False, state=kept.state,
                state_schema=kept.state_schema, state_hash=kept.state_hash, code_id=kept.code_id, position=entry.position,
                last_us=entry.row.issued_us, failures=0, held="", lease_id=None, lease_until_us=0,
            )  # fmt: skip
        kept = await store.snapshot(stored.key, kept.version - 1)
    return None


async def archive(
    store: Compactable,
    before_us: int,
    out: TextIO | None,
    result: CompactionResult,
    on_rows: Callable[[int], None] = lambda count: None,
) -> Sequence[Cut]:
    """Write what may be cut to ``out``, and say it; None: only say it."""
    cuts: list[Cut] = []

    async def planned() -> AsyncIterator[Stored]:
        async for cut, stored in plan(store, before_us, result):
            cuts.append(cut)
            result.cut += 1
            result.ended += stored.terminal
            result.rows += cut.to - cut.was
            yield stored

    if out is None:
        async for _ in planned():
            pass
    else:
        await export_each(store, out, planned(), written_rows=on_rows)
    return cuts


async def carry_out(store: Compactable, cuts: Sequence[Cut], now_us: int, result: CompactionResult) -> None:
    """Cut what a durable archive holds."""
    waiting: list[Cut] = []
    for one in (*cuts, None):
        if waiting and (one is None or sum(each.to - each.was for each in waiting) + one.to - one.was > TOGETHER):
            for each, gone in zip(waiting, await store.cut(waiting, now_us), strict=True):
                if not gone:
                    result.stayed += 1
                    result.cut -= 1
                    result.rows -= each.to - each.was
            waiting = []
        if one is not None:
            waiting.append(one)


async def collect(store: Compactable, now_us: int, result: CompactionResult, *, dry: bool) -> None:
    """Remove blobs that nothing names and what is past its time. ``dry``: only count, and nothing of what a cut would free."""
    named: set[bytes] | None = None
    after = b""
    while found := await store.unnamed_blobs(after, now_us - BLOB_KEPT_US, PAGE):
        named = await _named_elsewhere(store) if named is None else named
        gone = [(digest, size) for digest, size in found if digest not in named]
        result.blobs += len(gone) if dry else await store.drop_blobs([digest for digest, _ in gone])
        result.blob_bytes += sum(size for _, size in gone)
        after = found[-1][0]
    result.expired = await store.expire(now_us, dry=dry)


async def _named_elsewhere(store: Reader) -> set[bytes]:
    """Blobs that a state, a held result or an action in the inbox names."""
    named: set[bytes] = set()
    after: WorkflowKey | None = None
    while instances := await store.instances(None, None, after, PAGE):
        for one in instances:
            named.update(named_blobs(one.state))
            kept: SnapshotRow | None = await store.snapshot(one.key, one.version)
            while kept is not None:
                named.update(named_blobs(kept.state))
                kept = await store.snapshot(one.key, kept.version - 1)
        after = instances[-1].key
    pointer: Pointer | None = None
    while rows := await store.outbox(tuple(EnumOutboxState), None, pointer, PAGE):
        for row in rows:
            named.update((*named_blobs(row.result), *named_blobs(row.intents)))
        pointer = rows[-1].pointer
    ticket = 0
    while sent := await store.inbox(ticket, PAGE):
        for action in sent:
            named.update(named_blobs(action.body))
        ticket = sent[-1].ticket
    return named
