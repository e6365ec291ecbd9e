"""A workflow without a function of its own: a row, a file, a counter and a message, served by the blocks of its contract."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

import onex
from onex.adapters.memory.bus import MemoryBroker, MemoryBus
from onex.app import load_app
from onex.bus import BusRefused
from onex.effects.sql_database import make_dedup_table
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding, errors

PAYLOADS = """
from typing import Literal

from onex import Payload, State


class Sale(State):
    total: int = 0
    seen: str = ""


class Sell(Payload):
    id: str
    cents: int


class Entry(Payload):
    id: str
    cents: int


class Booked(Payload):
    rows: int
    cents: int


class Receipt(Payload):
    id: str
    text: str


class Counted(Payload):
    value: int


class Amount(Payload):
    value: int


class News(Payload):
    id: str
    total: int


class Where(Payload):
    topic: str
    message_id: str
"""
REDUCER = """
from onex import Action, Nothing, Step, reducer

from .payloads import Amount, Booked, Counted, Entry, News, Receipt, Sale, Sell, Where

sale = reducer(Sale)


@sale.on("sell")
def sell(state: Sale, action: Action[Sell]) -> Step[Sale]:
    return Step(state, Entry(id=action.payload.id, cents=action.payload.cents))


@sale.on("book.succeeded")
def booked(state: Sale, action: Action[Booked]) -> Step[Sale]:
    return Step(state, Receipt(id=action.key.instance_id, text=f"{action.payload.cents} cents"))


@sale.on("keep.succeeded")
def kept(state: Sale, action: Action[Nothing]) -> Step[Sale]:
    return Step(state, Amount(value=3))


@sale.on("count.succeeded")
def counted(state: Sale, action: Action[Counted]) -> Step[Sale]:
    return Step(state.evolve(total=action.payload.value), News(id=action.key.instance_id, total=action.payload.value))


@sale.on("tell.succeeded")
def told(state: Sale, action: Action[Where]) -> Step[Sale]:
    return Step(state.evolve(seen=action.payload.topic))
"""
CONTRACT = """
name: sale
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: REDUCER_GENERIC
state_model: Sale
state_machine:
  initial_state: new
  terminal_states: [done, lost]
  transitions:
    - {{from_state: new, to_state: booking, trigger: sell, payload: Sell}}
    - {{from_state: booking, to_state: keeping, trigger: book.succeeded, payload: Booked}}
    - {{from_state: keeping, to_state: counting, trigger: keep.succeeded}}
    - {{from_state: counting, to_state: telling, trigger: count.succeeded, payload: Counted}}
    - {{from_state: telling, to_state: done, trigger: tell.succeeded, payload: Where}}
    - {{from_state: "*", to_state: lost, trigger: lost, payload: Failure}}
targets:
  ledger:
    sql: {{url: "sqlite:///{ledger}", tables: {{entries: {{columns: [id, cents], key: [id]}}}}, dedup_table: done_once}}
  folder:
    files: {{root: {{env: RECEIPTS}}, max_bytes: 1000}}
  counters:
    cache: {{prefix: "shop:"}}
  announcements:
    topic: {{name: shop.sold.v1}}
intents:
  - {{name: book, type: database_write, target: ledger, payload: Entry, sql: {{operation: {operation}, table: {table}}},
     outcomes: {{succeeded: book.succeeded, failed: lost, unknown: lost}}}}
  - {{name: keep, type: file_operation, target: folder, payload: Receipt,
     files: {{operation: write, path: "sales/{{id}}.txt", content: text}},
     outcomes: {{succeeded: keep.succeeded, failed: lost, unknown: lost}}}}
  - {{name: count, type: cache_update, target: counters, payload: Amount, cache: {{operation: increment, key: sales}},
     outcomes: {{succeeded: count.succeeded, failed: lost, unknown: lost}}}}
  - {{name: tell, type: message_publish, target: announcements, payload: News, topic: {{key: {key}}},
     outcomes: {{succeeded: tell.succeeded, failed: lost, unknown: lost}}}}
"""


def write_app(folder: Path, *, operation: str = "insert", table: str = "entries", key: str = "id") -> Path:
    home = folder / "shop" / "sale"
    home.mkdir(parents=True)
    (home / "payloads.py").write_text(PAYLOADS)
    (home / "reducer.py").write_text(REDUCER)
    ledger = folder / "ledger.db"
    text = CONTRACT.format(ledger=ledger, operation=operation, table=table, key=key)
    (home / "contract.yaml").write_text(text)
    connection = sqlite3.connect(ledger)
    connection.executescript(f"create table entries (id text primary key, cents int); {make_dedup_table('done_once')};")
    connection.close()
    return folder / "shop"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "receipts").mkdir()
    monkeypatch.setenv("RECEIPTS", str(tmp_path / "receipts"))
    return write_app(tmp_path)


def test_four_targets_serve_a_workflow_without_a_function(app: Path, tmp_path: Path) -> None:
    async def body() -> None:
        broker = MemoryBroker()
        async with await onex.open("memory:", app, bus=MemoryBus(broker)) as engine:
            for n in (1, 2):
                await engine.submit(f"sale:{n}", "sell", {"id": f"e-{n}", "cents": 5 * n})
                assert (await engine.wait(f"sale:{n}", "done", 20)).status == "done"
            states = [await engine.state(f"sale:{n}") for n in (1, 2)]
            assert [(one.model_dump()["total"], one.model_dump()["seen"]) for one in states if one] == [
                (3, "shop.sold.v1"),
                (6, "shop.sold.v1"),
            ]
        member = await MemoryBus(broker).subscribe("readers", ["shop.sold.v1"])
        found = sorted(
            (OnexEnvelopeV1.from_bytes(one.value) for one in await member.read(10)),
            key=lambda one: one.partition_key or "",
        )
        assert [(one.partition_key, one.payload) for one in found] == [
            ("1", {"id": "1", "total": 3}),
            ("2", {"id": "2", "total": 6}),
        ]
        assert all(one.causation_id and one.correlation_id for one in found)
        events = await MemoryBus(broker).subscribe("events", [BusTopics().event(EnumBusEvent.WORKFLOW_STEP_COMPLETED)])
        confirmed = [OnexEnvelopeV1.from_bytes(one.value).payload["intent"] for one in await events.read(20)]
        assert confirmed.count("book") == 2  # a write is told once it is confirmed

    asyncio.run(body())
    kept = {path.name: path.read_text() for path in (tmp_path / "receipts" / "sales").iterdir()}
    assert kept == {"1.txt": "5 cents", "2.txt": "10 cents"}
    connection = sqlite3.connect(tmp_path / "ledger.db")
    assert connection.execute("select id, cents from entries").fetchall() == [("e-1", 5), ("e-2", 10)]
    connection.close()


def test_an_engine_without_a_bus_does_not_start_if_a_target_publishes(app: Path) -> None:
    async def body() -> None:
        with pytest.raises(BusRefused, match="'announcements' publishes on the bus"):
            await onex.open("memory:", app, bus="")

    asyncio.run(body())


def test_what_does_not_fit_is_found_at_its_line_when_the_app_loads(tmp_path: Path) -> None:
    shop = write_app(tmp_path, operation="delete", table="entries", key="colour")
    with pytest.raises(ContractError) as raised:
        load_app(shop)
    told = str(raised.value)
    assert "[call_misfit] a delete takes the key only, and Entry has cents" in told
    assert "[call_field] News has no field 'colour'" in told
    contract = (shop / "sale" / "contract.yaml").read_text().splitlines()
    places = [contract[one.line - 1] for one in errors(_findings(raised.value))]
    assert ["operation: delete" in line or "key: colour" in line for line in places] == [True, True]


def _findings(error: ContractError) -> tuple[Finding, ...]:
    return tuple(one for one in error.findings if isinstance(one, Finding))
