"""Orders that go every way their contract knows: shipped, declined, in doubt, cancelled, timed out, and back again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, JsonValue

from onex.adapters.memory.store import MemoryStore
from onex.app import App
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.errors import EffectFailed, OnexError
from onex.kernel.intent import ModelIntent
from onex.ports import Clock, Executor, Result

DAY_S = 86_400.0
TRIES = 5  # of the contract's retry


class Place(NamedTuple):
    """What the world answers to the charges and packings this order leads to: ``ok`` when nothing more is said."""

    items: list[JsonValue]
    charges: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()


class Say(NamedTuple):
    """An action of somebody outside; ``id`` to say the same one again, the rest as an API caller may give it."""

    trigger: str
    payload: dict[str, JsonValue] | None = None
    id: UUID | None = None
    correlation: UUID | None = None
    cause: UUID | None = None
    issuer: str = ""
    issued_at: datetime | None = None


class Together(NamedTuple):
    """Said at once, so that one batch takes them."""

    said: tuple[Say, ...]


class Wait(NamedTuple):
    days: float


class Rollback(NamedTuple):
    to_version: int


Told = Place | Say | Together | Wait | Rollback

TEA: list[JsonValue] = [{"sku": "tea", "quantity": 2, "cents": 450}]
LOST = ("lost",) * TRIES
PLACED = Say("place", {"items": TEA}, id=UUID(int=1 << 96 | 8 << 76 | 2 << 62 | 1))
BY_HAND = Say("charged", {"receipt": "found in the bank's books"}, issuer="clerk")
DECLINED: dict[str, JsonValue] = {"code": "declined", "message": "the bank says no", "attempts": 1}
IDS = [UUID(int=n << 96 | 8 << 76 | 2 << 62 | n) for n in range(2, 5)]


def items(count: int, cents: int = 100) -> list[JsonValue]:
    return [{"sku": f"sku-{n}", "quantity": n % 9 + 1, "cents": cents * n} for n in range(1, count + 1)]


STORIES: dict[str, tuple[Told, ...]] = {
    "shipped": (Place(TEA),),
    "shipped-many": (Place(items(60)),),
    "shipped-free": (Place([{"sku": "sample", "quantity": 1, "cents": 0}]),),
    "shipped-dear": (Place([{"sku": "ship", "quantity": 1000, "cents": 9_007_199_254}]),),
    "shipped-text": (
        Place([{"sku": sku, "quantity": 1, "cents": 1} for sku in ("Grüner Tee", "茶", "🍵", 'a"b\\c/d', "\u2028\t\x7f")]),
    ),
    "Grüße: № 7/茶 ☕": (Place(TEA),),
    "shipped-after-failed-tries": (Place(TEA, ("lost", "lost", "ok"), ("lost", "ok")),),
    "shipped-said-twice": (PLACED, PLACED),
    "shipped-after-an-empty-basket": (Say("place", {"items": []}), Say("packed", {"parcel": "x"}), Place(TEA)),
    "shipped-for-somebody": (
        Say(
            "place", {"items": TEA}, id=IDS[0], correlation=IDS[1], cause=IDS[2], issuer="shop, till 3 (Zürich)",
            issued_at=datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
    ),
    "shipped-by-hand-at-once": (
        Together((Say("place", {"items": TEA}), BY_HAND, Say("packed", {"parcel": "carried over"}))),
    ),
    "declined-then-shipped": (Place(TEA, ("declined",)), Place(items(2))),
    "declined-often": tuple(Place(items(n), ("declined",)) for n in range(1, 13)),
    "declined-then-cancelled": (Place(TEA, ("declined",)), Say("cancel", issuer="customer")),
    "declined-then-abandoned": (Place(TEA, ("declined",)), Wait(7.5)),
    "declined-almost-abandoned": (Place(TEA, ("declined",)), Wait(6.9), Place(TEA)),
    "in-doubt-then-charged": (Place(TEA, LOST), Wait(1), BY_HAND),
    "in-doubt-then-declined": (Place(TEA, LOST), Say("declined", DECLINED), Wait(8)),
    "in-doubt-then-placed-again": (
        Place(TEA, LOST), Together((Say("declined", DECLINED), Say("place", {"items": items(3)}))),
    ),
    "in-doubt-then-cancelled": (Place(TEA, LOST), Say("cancel")),
    "in-doubt-then-abandoned": (Place(TEA, LOST), Wait(3.5)),
    "in-doubt-twice": (Place(TEA, LOST), Say("declined", DECLINED), Place(TEA, LOST), Wait(2.9), BY_HAND),
    "not-packed": (Place(TEA, ("ok",), ("declined",)),),
    "not-packed-then-cancelled": (Place(TEA, ("ok",), ("declined",)), Wait(2), Say("cancel")),
    "not-packed-then-charged": (Place(TEA, ("ok",), LOST), BY_HAND),
    "not-packed-then-abandoned": (Place(TEA, ("ok",), LOST), Wait(4)),
    "cancelled-at-once": (Say("cancel"), Say("cancel")),
    "abandoned-by-hand": (Say("abandon", issuer="clerk"), Place(TEA)),
    "cancelled-while-charging": (Together((Say("place", {"items": TEA}), Say("cancel"))),),
    "rolled-back": (Place(TEA, ("declined",)), Place(items(2), ("declined",)), Rollback(1), BY_HAND),
    "rolled-back-to-a-timer": (Place(TEA, LOST), Say("declined", DECLINED), Rollback(2), Wait(3.1)),
}  # fmt: skip
CUT_OFF = {
    "charging-at-the-end": ("never",),
    "paid-at-the-end": ("ok", "never"),
    "basket-at-the-end": ("declined",),
    "in-doubt-at-the-end": LOST,
}


class Orders:
    """The stories, all told at once, and the bank and the warehouse they are told against."""

    def __init__(self, app: App, store: MemoryStore, clock: Clock) -> None:
        self.clock = clock
        self.payloads = app.workflows["orders"].reducer.payloads
        self.answers: dict[tuple[str, str], list[str]] = {}

    async def tell(self, engine: ReducerPatternEngine) -> None:
        await asyncio.gather(*(self._tell(engine, name, story) for name, story in STORIES.items()))
        await self.clock.sleep(10 * DAY_S)
        for name, (*charges, last) in CUT_OFF.items():
            self.answers[name, "bank"], self.answers[name, "warehouse"] = [*charges, last], [last]
            await engine.submit(f"orders:{name}", "place", {"items": TEA})
        await self.clock.sleep(60)

    def executors(self, workflow: str) -> dict[str, Executor]:
        return {"bank": self, "warehouse": self}

    async def _tell(self, engine: ReducerPatternEngine, name: str, story: tuple[Told, ...]) -> None:
        key = f"orders:{name}"
        for told in story:
            if isinstance(told, Wait):
                await self.clock.sleep(told.days * DAY_S)
                continue
            if isinstance(told, Place):
                self.answers[name, "bank"], self.answers[name, "warehouse"] = list(told.charges), list(told.packs)
            with suppress(OnexError):  # what is refused leaves no trace, and that is the story
                if isinstance(told, Rollback):
                    await engine.rollback(key, told.to_version)
                elif isinstance(told, Place):
                    await engine.submit(key, "place", {"items": told.items})
                elif isinstance(told, Together):
                    await engine.submit_many([(key, said.trigger, said.payload) for said in told.said])
                else:
                    await engine.submit(
                        key, told.trigger, told.payload, action_id=told.id, correlation_id=told.correlation,
                        cause=told.cause, issuer=told.issuer, issued_at=told.issued_at,
                    )  # fmt: skip
            await self.clock.sleep(600)  # longer than any retry

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        instance = intent.workflow_key.instance_id if intent.workflow_key is not None else ""
        left = self.answers.get((instance, intent.target), [])
        answer = "ok" if not left else left[0] if left[0] == "never" else left.pop(0)
        await self.clock.sleep(1e9 if answer == "never" else 0.25)
        if answer == "lost":
            raise OSError("the line dropped")
        if answer == "declined":
            raise EffectFailed(f"the {intent.target} says no", code="declined")
        trigger, field = {"bank": ("charged", "receipt"), "warehouse": ("packed", "parcel")}[intent.target]
        return Result(self.payloads[trigger].model_validate({field: f"{intent.idempotency_key}.json"}))
