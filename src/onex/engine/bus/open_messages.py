"""OpenMessages: which messages of each partition are being handled, and so which position may be committed. Pure.

The rule: a position is committed when every message before it is finished: answered by each instance that it asks
something of. Messages finish in any order; one that waits holds
the position of its partition, and what is behind it is handled meanwhile.

A partition that was given to another member and came back brings again what was not committed. Messages of it that are known
here are not taken twice. They show that the bus left our last position out, so it is committed once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from ...bus import ReceivedMessage, TopicPartition


class _Partition:
    """``open[offset]``, in that order: how many instances are still to answer."""

    __slots__ = ("committed", "next", "open")

    def __init__(self, first: int) -> None:
        self.next = self.committed = first
        self.open: dict[int, int] = {}

    @property
    def position(self) -> int:
        return next(iter(self.open), self.next)


class OpenMessages:
    """Of one member of a group."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def __len__(self) -> int:
        return sum(len(one.open) for one in self._partitions.values())

    def take(self, message: ReceivedMessage, asks: int = 1) -> bool:
        """False for one that was taken before: it is being handled, or done. ``asks``: so often is it to be finished."""
        partition = self._partitions.setdefault(message.source, _Partition(message.offset))
        if message.offset < partition.next:
            partition.committed = min(partition.committed, message.offset)
            return False
        if asks:
            partition.open[message.offset] = asks
        partition.next = message.offset + 1
        return True

    def has(self, message: ReceivedMessage) -> bool:
        """Whether it is still to be handled here: its partition may have gone to another member."""
        partition = self._partitions.get(message.source)
        return partition is not None and message.offset in partition.open

    def finish(self, message: ReceivedMessage) -> None:
        partition = self._partitions.get(message.source)
        left = partition.open.get(message.offset) if partition is not None else None
        if partition is None or left is None:
            return
        if left > 1:
            partition.open[message.offset] = left - 1
        else:
            del partition.open[message.offset]

    def keep_only(self, assignment: AbstractSet[TopicPartition]) -> None:
        """Forget the partitions that are no longer this member's: whoever has them reads what was not committed."""
        for gone in self._partitions.keys() - assignment:
            del self._partitions[gone]

    def positions(self) -> Mapping[TopicPartition, int]:
        """What may be committed and is not yet."""
        return {at: one.position for at, one in self._partitions.items() if one.position > one.committed}

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        for at, position in positions.items():
            partition = self._partitions.get(at)
            if partition is not None:
                partition.committed = max(partition.committed, position)
