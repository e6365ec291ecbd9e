"""ShardHandover: the part of the writer that gains and loses shards while the engine runs.

An engine that has the store for itself takes every shard at its start, and ends when one of them is another's. One that shares
the store begins with none: ``gain_shards`` adds shards, and there are two ways to part with one.

- ``give_shards``: another worker is to have it. From then on nothing of it is accepted but outcomes of what runs. When nothing
  waits in it any more, and nothing is to be written for it, it is parted with. So what was accepted here is durable.
- ``lose_shards``: the store says that another has it, by the fence of a commit or by the owner in its table. What waits in it is
  answered with OwnershipLost, also what was in a commit: its sender asks again with the same id, and gets the first answer.

``part`` does both, and only between two commits. What belongs to a shard is forgotten there as a whole: its mailboxes, with what
was folded ahead for them; messages of its instances that wait in other mailboxes, since their rows are another's now; its side
writes; what is remembered of commits without an answer. What comes for it later is refused at the door (``has``), and a
side write is dropped: its row is judged by the owner that comes after.

A shard may come back. Nothing of its first time is left then, because ``gain_shards`` is called only after it was parted with.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence, Set

from ..kernel.errors import OwnershipLost
from ..kernel.route import shard_of
from ..ports import Pointer
from .batch import CommitListener, Extras
from .conflict_backoff import ConflictBackoff
from .fold_ahead import FoldAhead
from .pending import Answer, Pending
from .side_writes import SideWrites, finish
from .unknown_commits import UnknownCommits


class ShardHandover(SideWrites):
    """``shares``: other engines have shards of the same store, and a shard that is lost does not end this one."""

    listener: CommitListener
    shares: bool
    _shards: int
    _ahead: FoldAhead
    _backoff: ConflictBackoff
    _unknown: UnknownCommits

    def __init__(self) -> None:
        super().__init__()
        self._leaving: dict[int, asyncio.Future[None]] = {}
        self._lost: dict[int, asyncio.Future[None]] = {}

    def shard_of(self, pending: Pending) -> int:
        """The shard of its instance; of what has no readable key, the one that its inbox row lies in."""
        if self._shards == 1:
            return 0
        return shard_of(pending.key, self._shards) if pending.key.workflow_type else pending.shard

    def gain_shards(self, fences: Mapping[int, int]) -> None:
        """These are ours from now on. None of them may be ours already, or be on its way out."""
        self._fences.update(fences)

    async def give_shards(self, shards: Collection[int]) -> None:
        """Returns when nothing of these is left here, and all that was accepted for them is durable or answered."""
        await self._part_with(shards, self._leaving)

    async def lose_shards(self, shards: Collection[int]) -> None:
        """Returns when nothing of these is left here. Another has them: nothing more can be written for them."""
        await self._part_with(shards, self._lost)

    async def _part_with(self, shards: Collection[int], going: dict[int, asyncio.Future[None]]) -> None:
        loop = asyncio.get_running_loop()
        for shard in shards:
            if shard in self._fences and shard not in going:
                going[shard] = loop.create_future()
        waits = [going[shard] for shard in shards if shard in going]
        self._wake_writer()
        if waits:
            await asyncio.wait(waits)

    def not_here(self, shard: int) -> OwnershipLost | None:
        """Why nothing is accepted for this shard from callers and from the inbox; None when it is."""
        if shard in self._fences and shard not in self._leaving and shard not in self._lost:
            return None
        return OwnershipLost(
            f"shard {shard} of the store belongs to another worker now; send the same id again, and it goes there",
            shard=shard,
        )

    def _check_here(self, pending: Pending) -> None:
        """An outcome or a timer of a shard that is being given is still taken. Raises OwnershipLost.

        What nobody can accept needs no owner: its rejection is written under no shard. A row of the inbox is its owner's.
        """
        if pending.refusal is not None and pending.settles is None and not pending.ticket:
            return
        shard = self.shard_of(pending)
        elsewhere = self.not_here(shard)
        if elsewhere is not None and (pending.settles is None or pending.sent or not self.has(shard)):
            raise elsewhere

    def part(self, fenced: Collection[int] = ()) -> None:
        """Part with what is lost, with what was found ``fenced``, and with what is to be given and has nothing to do any more.

        Called by the writer, between two commits.
        """
        if not (fenced or self._lost or self._leaving):
            return
        gone = {shard for shard in (*fenced, *self._lost) if shard in self._fences}
        gone |= self._leaving.keys() & self._fences.keys() - self._shards_with_work()
        if gone:
            self._forget(gone)
        for going in (self._lost, self._leaving):
            finish([going.pop(shard) for shard in list(going) if shard not in self._fences])

    def _shards_with_work(self) -> set[int]:
        """Those in which something waits to be written."""
        extras, waiting = self._extras, list(self._mailboxes.waiting())
        busy = {entry.shard for entry in waiting}
        busy |= {one.settles.shard for entry in waiting for one in entry.inflight.values() if one.settles is not None}
        busy |= {note.pointer.shard for note in extras.notes} | {tried.pointer.shard for tried in extras.attempts}
        busy |= {pointer.shard for pointer in extras.settled} | {answer.shard for answer in extras.answers}
        return busy | {self.shard_of(pending) for pending, _ in extras.refused}

    def _forget(self, gone: Set[int]) -> None:
        answer = OwnershipLost(
            "the shard of this instance belongs to another worker now. The action may have been applied: send the same id again, "
            "and the first answer comes back"
        )
        entries = self._mailboxes.of_shards(gone)
        senders = [
            entry for entry in self._mailboxes.waiting() if any(_is_of(one, gone) for one in entry.inflight.values())
        ]
        self._backoff.drop(entries)
        self._ahead.drop(entries | set(senders))  # back to their mailboxes
        left = self._mailboxes.drop(entries)
        for entry in (one for one in senders if one not in entries):
            left += self._mailboxes.withdraw_all(entry, [one for one in entry.queue if _is_of(one, gone)])
        left += self._drop_extras(gone)
        self._row_writes, lost_writes = _split(self._row_writes, gone)
        finish([future for _, future in lost_writes], answer)
        finish([future for entry, future in self._released if entry in entries], answer)
        self._released = [one for one in self._released if one[0] not in entries]
        self._unknown.drop(lambda key: shard_of(key, self._shards) in gone)
        for shard in gone:
            del self._fences[shard]
        self._resolve([(pending, answer) for pending in left])
        self.listener.parted(gone)

    def _drop_extras(self, gone: Set[int]) -> list[Pending]:
        extras = self._extras
        refused = [pending for pending, _ in extras.refused if self.shard_of(pending) in gone]
        self._extras = Extras(
            [(pending, error) for pending, error in extras.refused if pending not in refused],
            [note for note in extras.notes if note.pointer.shard not in gone],
            extras.rejections,
            [answer for answer in extras.answers if answer.shard not in gone],
            [pointer for pointer in extras.settled if pointer.shard not in gone],
            [attempt for attempt in extras.attempts if attempt.pointer.shard not in gone],
        )
        return refused

    @abstractmethod
    def _resolve(self, results: Sequence[tuple[Pending, Answer]]) -> None:
        """Answer them."""


RowWrites = list[tuple[Pointer, "asyncio.Future[None]"]]


def _is_of(pending: Pending, shards: Set[int]) -> bool:
    """Whether it ends an outbox row of one of these shards."""
    return pending.settles is not None and pending.settles.shard in shards


def _split(writes: RowWrites, gone: Set[int]) -> tuple[RowWrites, RowWrites]:
    kept = [one for one in writes if one[0].shard not in gone]
    return kept, [one for one in writes if one[0].shard in gone]
