"""Neighbours of an instance that runs away are neither refused nor starved: seeded stories, and planted bugs that they find.

A story: one instance is flooded, with batches of actions that grow its state and emit intents, while quiet instances of the same
type send a few actions each, in an order that a seed draws. No time is asserted: how long a neighbour waits is counted in commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

import pytest

import onex.engine.mailbox
from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.admission import FOR_OTHERS, Admission
from onex.engine.limits import Limits
from onex.engine.mailbox import Entry, Mailboxes
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Pending
from onex.engine.quotas import QuotaUse
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError, Overloaded
from onex.kernel.quota import NO_LIMITS, ResourceLimits
from tests.engine.conftest import ENV
from tests.engine.test_quotas import Pour, Sink, tap

RUNAWAY: Final = WorkflowKey("tap", "runaway")
QUOTAS: Final = ResourceLimits(state_bytes=2000, pending_intents=20, actions_per_s=10)
COMMITS_MOST: Final = 4
"""One that runs, one that was folded ahead of it, its own, and one that began between two of these."""
SEEDS: Final = range(6)


class HeldClock(SystemClock):
    """Its monotonic time stands still: what a rate lets through does not depend on this machine."""

    def monotonic(self) -> float:
        return 1000.0


async def story(seed: int, quotas: ResourceLimits) -> list[str]:
    """What happened to neighbours that must not."""
    chance, wrong, store = Random(seed), list[str](), MemoryStore()
    limits = Limits(batch=32, waiting=2 * FOR_OTHERS)
    engine = ReducerPatternEngine(store, store, tap(Sink(), quotas), HeldClock(), UuidV7(), ENV, limits=limits)

    async def runaway() -> None:
        """Two of these fill the queue to its last place, where nobody stops them."""
        pour = Pour(drips=chance.randrange(4), water="x" * chance.choice((0, 100, 3000)))
        with suppress(Overloaded):
            await engine.submit_many([(RUNAWAY, "pour", pour)] * FOR_OTHERS)

    async def neighbour(name: int) -> None:
        for _ in range(chance.randrange(1, 5)):
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            before = engine.counters.batches
            try:
                await engine.submit(f"tap:{name}", "pour", Pour(drips=chance.randrange(3), water="y" * 50))
            except OnexError as error:
                wrong.append(f"{name} was refused: {error.code}")
                continue
            waited = engine.counters.batches - before
            if waited > COMMITS_MOST:
                wrong.append(f"{name} waited for {waited} commits")

    async with asyncio.timeout(60), await engine.start("test"):
        await asyncio.gather(runaway(), runaway(), *(neighbour(name) for name in range(6)))
    return wrong


@pytest.mark.parametrize("quotas", [QUOTAS, NO_LIMITS], ids=["with quotas", "without"])
@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_are_neither_refused_nor_starved(seed: int, quotas: ResourceLimits) -> None:
    assert asyncio.run(story(seed, quotas)) == []


# --- planted bugs -----------------------------------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def quotas_are_counted_by_type(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[ResourceLimits, QuotaUse] = {}
    monkeypatch.setattr(onex.engine.mailbox, "quota_use", lambda limits: shared.setdefault(limits, QuotaUse(limits)))


def who_was_not_done_comes_first_again(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Mailboxes.take

    def wrong(self: Mailboxes, *args: object) -> object:
        taken = take(self, *args)  # type: ignore[arg-type]  # as they were given
        for entry, _ in taken:
            if entry.queued:
                self._ready.remove(entry)
                self._ready.appendleft(entry)
        return taken

    monkeypatch.setattr(Mailboxes, "take", wrong)


def a_full_queue_refuses_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Admission, entry: Entry, pending: Pending) -> Overloaded | None:
        return Overloaded("full") if self._waiting >= self.limits.waiting - FOR_OTHERS else None

    monkeypatch.setattr(Admission, "_over_share", wrong)


def no_place_is_kept_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_over_share", lambda self, entry, pending: None)


@pytest.mark.parametrize(
    ("plant", "quotas"),
    [
        (quotas_are_counted_by_type, QUOTAS),
        (who_was_not_done_comes_first_again, NO_LIMITS),
        (a_full_queue_refuses_everybody, NO_LIMITS),
        (no_place_is_kept_for_others, NO_LIMITS),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, plant: Plant, quotas: ResourceLimits) -> None:
    plant(monkeypatch)
    assert any(asyncio.run(story(seed, quotas)) for seed in SEEDS)
