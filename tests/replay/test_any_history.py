"""Whatever is done to an order, in whatever order, refused or not, under one code or several: the log makes the state again."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO, StringIO
from typing import NamedTuple
from uuid import UUID

from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from onex.adapters.memory.store import MemoryStore
from onex.app import load_app
from onex.engine.encode import decode, encode
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.refold import Recorded
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import Action
from onex.kernel.errors import EffectFailed, OnexError
from onex.kernel.intent import ModelIntent
from onex.kernel.step import fold
from onex.ports import Clock, Env, Result
from onex.replay.history_export import export_history
from onex.replay.history_reader import HistoryReader
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.simulation.seeded_run import Sim, run
from tests.golden.corpus import ORDERS

LOADED = load_app(ORDERS).workflows["orders"]
KEYS = ("orders:1", "orders:Grüße № 2", "orders:3")


Body = dict[str, JsonValue]


class Said(NamedTuple):
    """``again`` sends an earlier id a second time, perhaps with another body."""

    key: str
    trigger: str
    payload: Body
    again: int | None = None
    issuer: str = ""


class Together(NamedTuple):
    said: list[Said]


class Back(NamedTuple):
    key: str
    version: int


class Wait(NamedTuple):
    seconds: float


class NewCode(NamedTuple):
    """The engine is closed, and another opened under code that does the same and is named otherwise."""


texts = st.text(max_size=12)
numbers = st.integers(-1, 2**53 + 1)  # one beyond either end of what is taken
items = st.lists(st.builds(lambda sku, n, cents: {"sku": sku, "quantity": n, "cents": cents}, texts, numbers, numbers))
failure: st.SearchStrategy[Body] = st.builds(
    lambda code, message, tries: {"code": code, "message": message, "attempts": tries}, texts, texts, st.integers(0, 9)
)
nothing: st.SearchStrategy[Body] = st.just({})
payloads: dict[str, st.SearchStrategy[Body]] = {
    "place": st.builds(lambda some: {"items": some}, items),
    "charged": st.builds(lambda text: {"receipt": text}, texts),
    "packed": st.builds(lambda text: {"parcel": text}, texts),
    "declined": failure,
    "charge_unknown": failure,
    "not_packed": failure,
    "cancel": nothing,
    "abandon": nothing,
}
GOOD: Body = {"items": [{"sku": "茶", "quantity": 2, "cents": 450}]}


@st.composite
def said(draw: st.DrawFn) -> Said:
    trigger = draw(st.sampled_from(["place", "place", "place", *payloads]))
    payload = GOOD if trigger == "place" and draw(st.integers(0, 4)) else draw(payloads[trigger])
    again = None if draw(st.integers(0, 6)) else draw(st.integers(0, 5))
    return Said(draw(st.sampled_from(KEYS)), trigger, payload, again, draw(texts))


done = st.lists(
    st.one_of(
        said(),
        said(),
        said(),
        st.builds(Together, st.lists(said(), min_size=2, max_size=5)),
        st.builds(Back, st.sampled_from(KEYS), st.integers(1, 6)),
        st.builds(Wait, st.sampled_from([0.0, 0.3, 60.0])),
        st.builds(NewCode),
    ),
    min_size=8,
    max_size=30,
)
answers = st.lists(st.sampled_from(["ok", "declined", "lost"]), min_size=4, max_size=30)


class Outside:
    """Bank and warehouse at once: what they answer to each intent, at every try, comes off one list."""

    def __init__(self, script: list[str], clock: Clock) -> None:
        self.script, self.clock = list(script), clock
        self.answers: dict[str, str] = {}

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        await self.clock.sleep(0.1)
        if intent.idempotency_key not in self.answers:
            self.answers[intent.idempotency_key] = self.script.pop() if self.script else "ok"
        match self.answers[intent.idempotency_key]:
            case "declined":
                raise EffectFailed("no", code="declined")
            case "lost":
                raise OSError("the line dropped")
        trigger, field = {"bank": ("charged", "receipt"), "warehouse": ("packed", "parcel")}[intent.target]
        return Result(LOADED.reducer.payloads[trigger].model_validate({field: intent.idempotency_key}))


class Shop:
    """A store and the engine on it, one code after the other."""

    def __init__(self, sim: Sim, script: list[str]) -> None:
        self.sim, self.store = sim, MemoryStore()
        self.outside = Outside(script, sim.world.clock)
        self.codes: list[Workflow] = []

    async def open(self) -> ReducerPatternEngine:
        code = LOADED.code._replace(digest=bytes([len(self.codes)]) * 32)
        served = {"bank": self.outside, "warehouse": self.outside}
        self.codes.append(Workflow(LOADED.reducer, code, served, LOADED.unleased))
        place = self.store = MemoryStore(self.store.tables)
        host = self.sim.world
        env = Env("", "", "", "", str(len(self.codes)))
        registry = ReducerRegistry((self.codes[-1],))
        engine = ReducerPatternEngine(place, place, registry, host.clock, host.ids, env, check_all=True)
        return await engine.start("test")

    async def live(self, what: list[Said | Together | Back | Wait | NewCode]) -> None:
        engine = await self.open()
        await engine.submit_many([(key, "place", GOOD) for key in KEYS[:2]])
        for n, one in enumerate(what):
            with suppress(OnexError):
                match one:
                    case Said():
                        action_id = UUID(int=(n if one.again is None else one.again) << 80 | 8 << 76 | 2 << 62)
                        await engine.submit(one.key, one.trigger, one.payload, action_id=action_id, issuer=one.issuer)
                    case Together():
                        await engine.submit_many([(each.key, each.trigger, each.payload) for each in one.said])
                    case Back():
                        await engine.rollback(one.key, one.version)
                    case Wait():
                        await self.sim.clock.sleep(one.seconds)
                    case NewCode():
                        tables = self.store.tables
                        await engine.close()
                        self.store = MemoryStore(tables)
                        engine = await self.open()
        await self.sim.clock.sleep(300)
        tables = self.store.tables
        await engine.close()
        self.store = MemoryStore(tables)


async def told(reader: Recorded, codes: list[Workflow]) -> list[tuple[str, int, int, str, str]]:
    replay = Replay(reader, ReducerRegistry((codes[-1],)), codes)
    return [(str(one.key), one.first, one.last, one.verdict, one.reason) async for one in replay.all()]


@given(done, answers, st.integers(0, 2**32))
def test_what_any_day_recorded_folds_to_what_it_left(
    what: list[Said | Together | Back | Wait | NewCode], script: list[str], seed: int
) -> None:
    async def main(sim: Sim) -> None:
        shop = Shop(sim, script)
        await shop.live(what)
        found = await told(shop.store, shop.codes)
        assert [one for one in found if one[3] != EnumReplayVerdict.EQUAL] == []
        event(f"segments: {len(found)}")
        event(f"actions: {len(shop.store.tables.log) // 5 * 5} or more")
        # the same from a file, and by the kernel's fold alone, without batches and segments
        out = StringIO()
        await export_history(shop.store, out)
        assert await told(HistoryReader(BytesIO(out.getvalue().encode())), shop.codes) == found
        for stored in await shop.store.instances(None, None, None, 100):
            rows = [entry.row for entry in await shop.store.history(stored.key, 0, 10_000)]
            model = shop.codes[0].payload_model
            actions = [
                Action(
                    stored.key, row.kind, decode(model(row.kind), row.payload), row.action_id, row.issued_us,
                    row.correlation, row.issuer, row.cause_id, (row.cause or b"")[16:],
                )
                for row in rows
            ]  # fmt: skip
            assert encode(fold(LOADED.reducer, actions).state) == stored.state

    run(main, seed).result()
