"""A shadow says of a store what a what-if says of it later: the rules are the same, only the time is another (promise 46)."""

from __future__ import annotations

from typing import Any

import pytest

from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import Action, Nothing, WorkflowKey
from onex.kernel.intent import send
from onex.kernel.step import Step
from onex.ports import Cut
from onex.whatif.result import WhatIfSummary
from onex.whatif.shadow import Shadow
from onex.whatif.shadow_counts import ShadowCounts
from tests.engine.bills import (
    MOVES,
    Amount,
    Bill,
    Book,
    Charge,
    Letter,
    Mail,
    Words,
    judged,
    one_bill,
    record,
    shop,
    told,
)


def louder(state: Bill, action: Action[Words]) -> Step[Bill]:
    return Step(state.evolve(words=action.payload.text.upper()))


def cheaper(state: Bill, action: Action[Amount]) -> Step[Bill]:
    return Step(state.evolve(amount=action.payload.amount), Charge(cents=action.payload.amount - 1))


def forgetful(state: Bill, action: Action[Amount]) -> Step[Bill]:
    return Step(state.evolve(amount=action.payload.amount))


def with_a_letter(state: Bill, action: Action[Words]) -> Step[Bill]:
    return Step(state.evolve(words=action.payload.text), Letter(text=action.payload.text))


def without_timer_or_message(state: Bill, action: Action[Nothing]) -> Step[Bill]:
    return Step(state)


def thankless(book: Book, action: Action[Mail]) -> Step[Book]:
    return Step(book.evolve(total=book.total + action.payload.cents))


def thanks_twice(book: Book, action: Action[Mail]) -> Step[Book]:
    total = book.total + action.payload.cents
    return Step(book.evolve(total=total), send("thank", action.payload.bill), send("thank", "2"))


def shadowed(other: ReducerRegistry, *, at_once: bool) -> tuple[ShadowCounts, WhatIfSummary]:
    """``at_once``: the shadow reads while the engine writes, else when all is over and the stored states are far ahead."""
    found: list[ShadowCounts] = []

    async def script(engine: ReducerPatternEngine) -> None:
        shadow = Shadow(engine.reader, other)
        await shadow.begin()
        for story in (one_bill, another_bill):
            await story(engine)
            await engine.idle()
            while at_once and await shadow.read():
                pass
        while await shadow.read():
            pass
        found.append(await shadow.end())

    tables = record(script, shop(), to_rest=False)
    summary = WhatIfSummary()
    for result in judged(tables, other, shop()).values():
        summary.add(result)
    return found[0], summary


async def another_bill(engine: ReducerPatternEngine) -> None:
    await told(engine, ("bill:2", "open", {"amount": 7}), ("bill:2", "note", {"text": "third"}))


@pytest.mark.parametrize("at_once", [True, pytest.param(False, marks=pytest.mark.long)], ids=["beside", "behind"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"note": louder},
        {"open": cheaper},
        {"open": forgetful},
        {"note": with_a_letter},
        {"paid": without_timer_or_message},
        {"book": thankless},
        {"book": thanks_twice},
    ],
    ids=lambda changes: " ".join(getattr(one, "__name__", "?") for one in changes.values()) or "the same",
)
def test_a_shadow_counts_what_a_what_if_finds(changes: dict[str, Any], at_once: bool) -> None:
    counts, summary = shadowed(shop("other", **changes), at_once=at_once)
    totals = summary.totals
    assert bool(changes) == bool(totals.differs)
    assert (counts.instances, counts.same, counts.differs, counts.open) == (
        totals.instances, totals.same, totals.differs, totals.opened_only,
    )  # fmt: skip
    assert (counts.refused, counts.added, counts.lost, counts.changed) == (
        totals.refused_actions, totals.added, totals.lost, totals.changed,
    )  # fmt: skip
    assert {one.what for one in counts.findings} == {alike.what for alike in summary.groups}
    assert counts.compared + counts.behind_open == counts.actions


def test_what_was_cut_before_it_was_read_is_passed_over_and_its_instance_is_taken_up_again() -> None:
    """A bill without intents under way, so that its log may be cut up to the state that stands."""
    code = shop("first", open=forgetful, moves=(*MOVES, ("charging", "charging", "note")))
    found: list[ShadowCounts] = []

    async def script(engine: ReducerPatternEngine) -> None:
        shadow = Shadow(engine.reader, code)
        await shadow.begin()

        async def notes(*texts: str) -> None:
            await told(engine, *(("bill:1", "note", {"text": text}) for text in texts))

        await told(engine, ("bill:1", "open", {"amount": 5}))
        await shadow.read()
        await notes("a", "b", "c")
        await told(engine, ("bill:2", "open", {"amount": 5}))  # the last row of a shard is never cut
        assert isinstance(engine.reader, MemoryStore)
        assert await engine.reader.cut([Cut(WorkflowKey.parse("bill:1"), 0, 4)], 1) == [True]
        for text in ("d", "e", "f"):
            await notes(text)
            await shadow.read()
        found.append(await shadow.end())

    record(script, code, to_rest=False)
    (counts,) = found
    assert (counts.actions, counts.passed_over, counts.compared) == (5, 2, 3)
    assert (counts.instances, counts.same, counts.differs, counts.open) == (3, 3, 0, 0)
