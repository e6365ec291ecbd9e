"""An orchestration whose calls are all built-in effects: one contract and no line of Python, against a real HTTP server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import JsonValue

import onex
from tests.effects.http_server import Answer, Got, http_server, json

CONTRACT = """\
name: shop
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: ORCHESTRATOR_GENERIC
models:
  Order: {{id: str, cents: int, parcels: list of Parcel}}
  Parcel: {{to: str}}
  Charge: {{order: str, cents: int}}
  Receipt: {{number: str}}
  Label: {{number: str}}
input: Order
targets:
  bank: {{http: {{base_url: "{url}", private: true, idempotency_header: Idempotency-Key}}}}
  post: {{http: {{base_url: "{url}", private: true, idempotency_header: Idempotency-Key}}}}
tasks:
  - id: pay
    effect: bank
    payload: Charge
    result: Receipt
    with: {{order: input.id, cents: input.cents}}
    http: {{method: POST, path: "/charges/{{order}}"}}
    compensate:
      {{effect: bank, payload: Receipt, with: {{number: pay.number}}, http: {{method: DELETE, path: "/charges/{{number}}"}}}}
  - id: labels
    effect: post
    payload: Parcel
    result: Label
    with: item
    http: {{method: POST, path: /labels}}
    retry: {{max_attempts: 1}}
    map: {{over: input.parcels, gather: collect}}
"""
ORDER: dict[str, JsonValue] = {"id": "o-1", "cents": 500, "parcels": [{"to": "ann"}, {"to": "bob"}]}


async def ordered(home: Path, refuses: str = "") -> tuple[str, str, list[tuple[str, str]]]:
    """The status and the state at the end, and what the server was asked."""

    def answer(got: Got) -> Answer:
        if refuses and refuses.encode() in got.body:
            return Answer(422, b"no such town")
        return json('{"number": "n-1"}')

    async with http_server(answer) as server:
        (home / "contract.yaml").write_text(CONTRACT.format(url=server.url))
        async with await onex.open("memory:", home) as engine:
            await engine.submit("shop:1", "start", ORDER)
            stored = await engine.wait("shop:1")
        return stored.status, stored.state.decode(), [(got.method, got.target) for got in server.got]


def test_a_list_of_calls_needs_no_python(tmp_path: Path) -> None:
    status, state, asked = asyncio.run(ordered(tmp_path))
    assert status == "completed", state
    assert asked == [("POST", "/charges/o-1"), ("POST", "/labels"), ("POST", "/labels")]
    assert '"results":[{"number":"n-1"},{"number":"n-1"}]' in state


def test_an_item_that_is_refused_undoes_the_payment(tmp_path: Path) -> None:
    status, state, asked = asyncio.run(ordered(tmp_path, refuses="bob"))
    assert status == "failed"
    assert "1 of 2 items failed" in state
    assert asked[-1] == ("DELETE", "/charges/n-1")


def test_where_a_target_is_reached_is_no_part_of_the_code(tmp_path: Path) -> None:
    codes = []
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        (tmp_path / "contract.yaml").write_text(CONTRACT.format(url=url).replace("/labels", f"/labels/{url[-1]}"))
        codes.append({name: one.code.digest for name, one in onex.load_app(tmp_path).workflows.items()})
    assert codes[0] == codes[1]
    assert [*codes[0]] == ["shop_labels", "shop"]
