"""Bills and a ledger, with every way an action can come in: clients, outcomes, timers, messages. Made so as to be changed.

``shop(...)`` is one code of it; whatever is given replaces what the first code does. ``record`` lets the real engine run a
script in virtual time, and gives back what it stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from onex.adapters.memory.read import Tables
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.refold import Recorded
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action, Nothing, Payload
from onex.kernel.errors import EffectFailed, OnexError
from onex.kernel.intent import EnumIntentType, EnumOutcome, Failure, IntentSpec, ModelIntent, send, timer
from onex.kernel.machine import Handler, Handlers, Machine, MachineReducer, Transition, reducer
from onex.kernel.migration import Migrations
from onex.kernel.step import State, Step
from onex.ports import Code, Env, Executor, Result
from onex.simulation.seeded_run import Sim, run
from onex.whatif.messages import MessageChanges
from onex.whatif.recorded_states import RefoldedStates
from onex.whatif.result import InstanceResult
from onex.whatif.what_if import WhatIf

ENV = Env("0", "2", "3", "", "")
LIMIT = 1000


class Bill(State):
    amount: int = 0
    words: str = ""
    reminders: int = 0


class Book(State):
    total: int = 0


class Amount(Payload):
    amount: int


class Charge(Payload):
    cents: int


class Words(Payload):
    text: str


class Letter(Payload):
    text: str


class Mail(Payload):
    bill: str
    cents: int


def opened(bill: Bill, action: Action[Amount]) -> Step[Bill]:
    return Step(bill.evolve(amount=action.payload.amount), Charge(cents=100 * action.payload.amount))


def paid(bill: Bill, action: Action[Nothing]) -> Step[Bill]:
    mail = Mail(bill=action.key.instance_id, cents=100 * bill.amount)
    return Step(bill, timer("remind", action.issued_at + timedelta(days=1)), send("enter", "main", mail))


def noted(bill: Bill, action: Action[Words]) -> Step[Bill]:
    return Step(bill.evolve(words=action.payload.text))


def reminded(bill: Bill, action: Action[Nothing]) -> Step[Bill]:
    return Step(bill.evolve(reminders=bill.reminders + 1), Letter(text=f"{bill.amount} was paid"))


def refused(bill: Bill, action: Action[Failure]) -> Step[Bill]:
    return Step(bill.evolve(words=action.payload.code))


def entered(book: Book, action: Action[Mail]) -> Step[Book]:
    return Step(book.evolve(total=book.total + action.payload.cents), send("thank", action.payload.bill))


def quiet(bill: Bill, action: Action[Nothing]) -> Step[Bill]:
    return Step(bill)


BILL: Mapping[str, Callable[..., Step[Bill]]] = {
    "open": opened,
    "paid": paid,
    "note": noted,
    "remind": reminded,
    "refused": refused,
    "thanked": quiet,
    "close": quiet,
}
MOVES = (
    ("new", "charging", "open"),
    ("charging", "paid", "paid"),
    ("charging", "lost", "refused"),
    ("paid", "paid", "note"),
    ("paid", "paid", "remind"),
    ("paid", "paid", "thanked"),
    ("paid", "closed", "close"),
)
PAYLOADS: Mapping[str, type[BaseModel]] = {
    "open": Amount,
    "paid": Nothing,
    "refused": Failure,
    "note": Words,
    "remind": Nothing,
    "thanked": Nothing,
    "close": Nothing,
}
ENDS = {EnumOutcome.SUCCEEDED: "paid", EnumOutcome.FAILED: "refused", EnumOutcome.UNKNOWN: "refused"}
INTENTS = {
    "charge": IntentSpec("charge", "api_call", "bank", Charge, ENDS),
    "letter": IntentSpec("letter", "notification", "post", Letter),
    "remind": IntentSpec("remind", EnumIntentType.TIMER, trigger="remind"),
    "enter": IntentSpec("enter", EnumIntentType.ACTION_SEND, "ledger", Mail, trigger="enter"),
}


class Bank:
    """What happens outside. Counts how often it is asked."""

    asked = 0

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        self.asked += 1
        if isinstance(intent.payload, Charge) and intent.payload.cents > 100 * LIMIT:
            raise EffectFailed("beyond the limit", code="limit")
        return Result(None)


def shop(
    name: str = "first",
    *,
    model: type[State] = Bill,
    moves: tuple[tuple[str, str, str], ...] = MOVES,
    intents: Mapping[str, IntentSpec] = INTENTS,
    payloads: Mapping[str, type[BaseModel]] = PAYLOADS,
    schema: int = 1,
    migrations: Migrations | None = None,
    book: Handler[Book, Mail] = entered,
    ledger: bool = True,
    bank: Executor | None = None,
    **handlers: Callable[..., Step[Any]],
) -> ReducerRegistry:
    """One code of the shop, called ``name``."""
    bills: Handlers[Any] = reducer(model)
    for trigger, handler in {**BILL, **handlers}.items():
        bills.on(trigger)(handler)
    table = Machine("new", tuple(Transition(*move) for move in moves), frozenset({"closed", "lost"}))
    outside: dict[str, Executor] = {"bank": bank or Bank(), "post": bank or Bank()}
    made = Workflow(
        MachineReducer("bill", bills, table, payloads, intents),
        Code("bill", "1", name.encode().ljust(32), schema),
        outside,
        migrations=migrations or Migrations(),
    )
    if not ledger:
        return ReducerRegistry((made,))
    books = reducer(Book)
    books.on("enter")(book)
    thanks = {"thank": IntentSpec("thank", EnumIntentType.ACTION_SEND, "bill", trigger="thanked")}
    keeping = Machine("kept", (Transition("kept", "kept", "enter"),))
    kept = MachineReducer("ledger", books, keeping, {"enter": Mail}, thanks)
    entering = Workflow(kept, Code("ledger", "1", name.encode().ljust(32), 1), public=frozenset({"enter"}))
    return ReducerRegistry((made, entering))


Script = Callable[[ReducerPatternEngine], Awaitable[None]]


def record(
    script: Script, code: ReducerRegistry, *, tables: Tables | None = None, seed: int = 1, to_rest: bool = True
) -> Tables:
    """What the engine stored of a script, in virtual time. ``to_rest``: it is closed when nothing is due any more."""
    kept = Tables() if tables is None else tables

    async def scenario(sim: Sim) -> None:
        host, store = sim.host("shop"), MemoryStore(kept)
        engine = ReducerPatternEngine(store, store, code, host.clock, host.ids, ENV, check_all=True)

        async def life() -> None:
            await engine.start("shop")
            await script(engine)
            if to_rest:
                await engine.idle()
            await engine.close()

        await host.spawn(life())

    run(scenario, seed=seed).result()
    return kept


async def told(
    engine: ReducerPatternEngine, *actions: tuple[str, str, Mapping[str, Any] | None], settle: bool = True
) -> None:
    """One after the other, each with all that comes of it unless ``settle`` is false; a refusal is part of the story."""
    for key, trigger, payload in actions:
        try:
            await engine.submit(key, trigger, payload)
        except OnexError:
            continue
        if settle:
            await engine.idle()


async def one_bill(engine: ReducerPatternEngine) -> None:
    """Versions 1 open, 2 paid (an outcome), 3 thanked (a message), 4 note, 5 remind (a timer), 6 note, 7 close."""
    await told(engine, ("bill:1", "open", {"amount": 5}), ("bill:1", "note", {"text": "first"}))
    await asyncio.sleep(2 * 86_400)
    await told(engine, ("bill:1", "note", {"text": "second"}), ("bill:1", "close", None))


def judged(
    tables: Tables, other: ReducerRegistry, made_by: ReducerRegistry | None = None, reader: Recorded | None = None
) -> dict[str, InstanceResult]:
    """What-if over all there is, as often as messages ask for it. ``made_by``: the code of the record, where it is at hand."""

    async def go() -> dict[str, InstanceResult]:
        source = MemoryStore(tables) if reader is None else reader
        judge = WhatIf(source, other, None if made_by is None else RefoldedStates(source, made_by))
        while True:
            found = {str(one.key): await judge.instance(one) for one in await source.instances(None, None, None, 1000)}
            news, judge.new_messages = judge.new_messages, MessageChanges()
            if not judge.messages.learn(news):
                return found

    return asyncio.run(go())
