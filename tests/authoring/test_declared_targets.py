"""Targets in one file are those of a contract: equal contracts, findings at the call, and a call that is made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import onex
from onex.authoring.contract_text import contract_text
from onex.contracts.load import load_contract
from onex.kernel.errors import ContractError
from tests.effects.http_server import HttpServer, http_server
from tests.effects.http_server import json as answer

APP = """\
from typing import Literal

from onex import Action, Failure, Payload, State, Step, workflow


class Job(State):
    status: Literal["new", "busy", "done", "lost"] = "new"
    said: str = ""


class Begin(Payload):
    order: str


class Charge(Payload):
    order: str
    cents: int = 5


class Receipt(Payload):
    receipt: str


class Told(Payload):
    text: str


pay = workflow("pay", Job)
pay.target(
    "bank",
    http={"base_url": {"env": "BANK_URL"}, "idempotency_header": "X-Key", "hosts": ["a.example"], "private": True},
    rate_per_s=50, circuit_breaker={"failures": 3},
)
pay.target("ops", chat={"url": {"env": "CHAT_URL"}})
charge = pay.call("charge", Charge, Receipt, target="bank", http={"path": "/c/{order}", "failed": [500]}, retry=2)
tell = pay.call("tell", Told, target="ops", chat={}, delivery="at_most_once")


@pay.on("new -> busy")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job, Charge(order=action.payload.order))


@pay.on(charge.succeeded, "busy -> done")
def charged(job: Job, action: Action[Receipt]) -> Step[Job]:
    return Step(job.evolve(said=action.payload.receipt))


@pay.on(charge.failed, charge.unknown, "busy -> lost")
def lost(job: Job, action: Action[Failure]) -> Step[Job]:
    return Step(job.evolve(said=action.payload.code))
"""
CONTRACT = """\
name: pay
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Job
state_machine:
  initial_state: new
  terminal_states: [done, lost]
  states: [{name: new}, {name: busy}, {name: done}, {name: lost}]
  transitions:
    - {from_state: new, to_state: busy, trigger: begin, payload: Begin}
    - {from_state: busy, to_state: done, trigger: charge.succeeded, payload: Receipt}
    - {from_state: busy, to_state: lost, trigger: charge.failed, payload: Failure}
    - {from_state: busy, to_state: lost, trigger: charge.unknown, payload: Failure}
targets:
  bank:
    http: {base_url: {env: BANK_URL}, idempotency_header: X-Key, hosts: [a.example], private: true}
    rate_per_s: 50
    circuit_breaker: {failures: 3}
  ops:
    chat: {url: {env: CHAT_URL}}
intents:
  - {name: charge, type: api_call, target: bank, payload: Charge, retry: {max_attempts: 2},
     http: {path: "/c/{order}", failed: [500]}}
  - {name: tell, type: notification, target: ops, payload: Told, delivery: at_most_once, chat: {}}
"""


def written(tmp_path: Path, text: str = APP) -> Path:
    file = tmp_path / "pay.py"
    file.write_text(text)
    return file


def test_the_derived_contract_is_the_written_one(tmp_path: Path) -> None:
    derived = onex.load_app(written(tmp_path)).workflows["pay"]
    wanted = load_contract(CONTRACT, "contract.yaml").contract
    assert wanted is not None
    assert derived.contract == wanted
    assert load_contract(derived.contract_text, "again.yaml").contract == wanted
    assert contract_text(derived.located.tree) == derived.contract_text


def test_it_calls_what_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> tuple[str, HttpServer]:
        async with http_server(lambda got: answer('{"receipt": "r-9"}')) as server:
            monkeypatch.setenv("BANK_URL", server.url)
            async with await onex.open("memory:", written(tmp_path)) as engine:
                await engine.submit("pay:1", "begin", {"order": "o-1"})
                await engine.wait("pay:1", "terminal", 20)
                return str(await engine.state("pay:1")), server

    state, server = asyncio.run(story())
    assert "r-9" in state
    assert (server.got[0].target, json.loads(server.got[0].body)) == ("/c/o-1", {"cents": 5})


WRONG = [
    ('http={"path": "/c/{order}", "failed": [500]}', 'http={"pth": "/c"}', "35", "did you mean 'path'?"),
    ('http={"path": "/c/{order}", "failed": [500]}', 'htp={"path": "/c"}', "35", "did you mean 'http'?"),
    ('http={"path": "/c/{order}", "failed": [500]}, ', "", "35", "call says 0 things to ask of its target"),
    ('"/c/{order}"', '"/c/{ordr}"', "35", "Charge has no field 'ordr'"),
    ('"/c/{order}"', "object()", "35", "a block holds what no contract can: http"),
    ('target("ops"', 'target("bank"', "34", "target 'bank' is said on line 29 too"),
]


@pytest.mark.parametrize(("right", "wrong", "line", "words"), WRONG)
def test_what_is_wrong_is_found_at_its_call(tmp_path: Path, right: str, wrong: str, line: str, words: str) -> None:
    assert right in APP
    with pytest.raises(ContractError) as raised:
        onex.load_app(written(tmp_path, APP.replace(right, wrong, 1)))
    found = [str(one) for one in raised.value.findings if words in str(one)]
    assert found, str(raised.value)
    assert f"pay.py:{line}:" in found[0]
