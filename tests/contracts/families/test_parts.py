"""Contracts in several files: blocks stand where they are included, and each key is reported in the file it stands in."""

from __future__ import annotations

from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.model.contract import machine_of
from onex.contracts.text.include import IncludedFile, IncludeMissing, IncludeRefused

MAIN = """\
name: shop
node_type: reducer
version: {major: 1, minor: 0, patch: 0}
fsm: {$ref: "./contracts/fsm.yaml"}
streaming: !include contracts/streaming.yaml
testing: true
"""
FILES = {
    "shop/contracts/fsm.yaml": """\
initial_state: open
states: [open, paid]
terminal_states: [paid]
surprise: 1
transitions:
  - {from: open, to: paid, trigger: pay, guard: amount > 0}
""",
    "shop/contracts/bad.yaml": """\
initial_state: open
states: [open, paid]
transitions:
  - {from: open, to: paid, trigger: pay, guard: is_paid}
""",
    "shop/contracts/streaming.yaml": "{enabled: true, batch_size: many}\n",
}


def fetch(including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing:
    path = f"shop/{reference.removeprefix('./')}"
    return IncludedFile(FILES[path], path) if path in FILES else IncludeMissing(path)


def reported(text: str) -> list[str]:
    return [f"{one.path}:{one.line} {one.code}" for one in read_contract(text, "shop/contract.yaml", fetch).findings]


def test_a_machine_in_another_file_is_the_contracts_machine() -> None:
    reading = read_contract(MAIN, "shop/contract.yaml", fetch)
    assert reading.contract is not None
    machine = machine_of(reading.contract)
    assert machine is not None
    assert machine.accepts("open") == ("pay",)


def test_only_the_keys_of_the_file_itself_are_counted() -> None:
    reading = read_contract(MAIN, "shop/contract.yaml", fetch)
    assert [".".join(map(str, key.loc)) for key in reading.keys if key.usage != "honoured"] == ["streaming", "testing"]
    assert len(reading.keys) == 10
    assert {key.leaf.place.path for key in reading.keys} == {""}


def test_what_is_wrong_in_an_included_file_is_reported_there() -> None:
    assert reported(MAIN) == [
        "shop/contract.yaml:5 not_honoured",
        "shop/contract.yaml:6 unknown_key",
        "shop/contracts/fsm.yaml:4 unknown_key",
        "shop/contracts/streaming.yaml:1 left_out",
    ]


def test_a_guard_in_an_included_file_is_refused_there() -> None:
    reading = read_contract(MAIN.replace("fsm.yaml", "bad.yaml"), "shop/contract.yaml", fetch)
    assert not reading.ok
    (error,) = (one for one in reading.findings if one.severity == "error")
    assert (error.path, error.line, error.column) == ("shop/contracts/bad.yaml", 4, 49)


def test_a_file_that_is_not_there_is_a_warning_and_the_contract_stands() -> None:
    reading = read_contract(MAIN.replace("fsm.yaml", "lost.yaml"), "shop/contract.yaml", fetch)
    assert reading.ok
    assert reading.contract is not None
    assert reading.contract.state_machine is None
    assert next((one.severity, one.code) for one in reading.findings) == ("warning", "reference_missing")
    assert [".".join(map(str, key.loc)) for key in reading.keys if key.usage != "honoured"] == [
        "fsm",
        "fsm.$ref",
        "streaming",
        "testing",
    ]
