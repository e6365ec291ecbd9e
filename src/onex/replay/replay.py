"""Replay: what the log holds is folded and compared, byte for byte, with what was stored. It never fires an effect.

Consecutive rows of one instance under one code are a *segment* (``segment.py``); each gets one verdict (``verdict.py``).
Rows whose code is not at hand, or is not the code that made them, count as unverified, never as equal (promise 31).

Order: first the store is asked, once, what it says against itself (pages, indexes, rows without an owner). Then instances
are read in key order, and each one's rows in pages of 1,000. What the store said of an instance goes into its last segment.

What may go wrong, and why the result is still right:

- The store is written meanwhile. An instance is replayed up to the version its row had when it was read; later rows are
  left out. Positions and hashes of the rows before do not change.
- A row cannot be read: it holds a value of another type, or an id that was cut short. That is damage of its instance, which
  gets a MISMATCH. The others are folded as before.
- The store itself cannot be read any more (any other OnexError): the replay ends with that error. Nothing could be said.
- Work is shared by several processes: each takes every k-th instance, so no instance is counted twice. What the store says
  against itself beside instances is counted by the first share only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from ..engine.refold import PAGE, Recorded
from ..engine.registry import ReducerRegistry, Workflow
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError, StateConsistencyError
from ..kernel.user_code import describe
from ..ports import Stored
from ..records import Damage
from .segment import UNKNOWN_CODE, CodeAtHand, SegmentReplay
from .verdict import EnumReplayVerdict, ReplayResult, Segment


async def nothing_redacted(key: WorkflowKey) -> int:
    """For a store that an engine wrote."""
    return 0


async def nothing_damaged(part: int) -> Sequence[Damage]:
    """For a store that does not check itself."""
    return ()


class Replay:
    """Checks instances against the code at hand: this app's, and any older ones given beside it (by digest).

    ``redacted_since``: from which version on an instance's bytes were changed on purpose, 0 for never. ``damaged``: what
    the store says against itself; asked once, with the number of the share that asks.
    """

    def __init__(
        self,
        reader: Recorded,
        registry: ReducerRegistry,
        older: Sequence[Workflow] = (),
        redacted_since: Callable[[WorkflowKey], Awaitable[int]] = nothing_redacted,
        damaged: Callable[[int], Awaitable[Sequence[Damage]]] = nothing_damaged,
    ) -> None:
        self.reader = reader
        self.result = ReplayResult()
        self._at_hand = CodeAtHand(registry, older)
        self._redacted_since = redacted_since
        self._damaged = damaged
        self._damage: dict[WorkflowKey, str] | None = None

    async def all(self, workflow_type: str | None = None, part: tuple[int, int] = (0, 1)) -> AsyncIterator[Segment]:
        """Every instance, or those of one type, in key order. ``part`` (i, k): only each k-th of them, from the i-th on."""
        after: WorkflowKey | None = None
        number, (mine, parts) = 0, part
        await self._damage_by_key(mine)
        while rows := await self.reader.instances(workflow_type, None, after, PAGE):
            for stored in rows:
                if number % parts == mine:
                    async for segment in self.instance(stored):
                        yield segment
                number += 1
            after = rows[-1].key

    async def _damage_by_key(self, part: int) -> Mapping[WorkflowKey, str]:
        """Damage by instance. What belongs to no instance goes into the result of the first share."""
        if self._damage is None:
            self._damage = {}
            for one in await self._damaged(part):
                if one.key is not None:
                    self._damage.setdefault(one.key, one.what)
                elif part == 0:
                    self.result.damage.append(one.what)
        return self._damage

    async def instance(self, stored: Stored) -> AsyncIterator[Segment]:
        """The segments of one instance, oldest first."""
        at_hand, result = self._at_hand, self.result
        damage = (await self._damage_by_key(0)).get(stored.key)
        at_hand.codes = at_hand.codes or await self.reader.codes()
        result.instances += 1
        try:
            async for segment in self._segments(stored, damage):
                result.add(segment)
                yield segment
        except Exception as error:
            if isinstance(error, OnexError) and not isinstance(error, StateConsistencyError):
                raise
            # a value of another type, an id that was cut short: damage of this instance alone
            why = damage or f"it cannot be read: {describe(error)}"
            last = stored.version if type(stored.version) is int else 0
            broken = Segment(stored.key, 1, last, UNKNOWN_CODE, 0, EnumReplayVerdict.MISMATCH, why)
            result.add(broken)
            yield broken

    async def _segments(self, stored: Stored, damage: str | None) -> AsyncIterator[Segment]:
        at_hand, result = self._at_hand, self.result
        folding = SegmentReplay(self.reader, at_hand, stored, await self._redacted_since(stored.key))
        done: Segment | None
        more = True
        while more and folding.version < stored.version:
            try:
                rows = await self.reader.history(stored.key, folding.version, PAGE)
            except StateConsistencyError as error:
                folding.damage(error.message)
                break
            at, more = 0, bool(rows)
            while more and at < len(rows):
                entry = rows[at]
                if entry.version > stored.version:  # committed after the row was read
                    more = False
                    break
                if entry.code_id != folding.code_id:
                    done = await folding.end(other_code_follows=True)
                    if done is not None:
                        yield done
                    await folding.begin(entry)
                before, at = at, folding.fold(rows, at)
                result.actions += at - before
                await folding.check_kept()
        if damage is not None:
            folding.damage(damage)
        done = await folding.end()
        result.intents += folding.intents
        if done is not None:
            yield done
        elif damage is not None:
            result.damage.append(f"{stored.key}: {damage}")
