"""Policies of a target: said in the contract or at the function, and a finding where both say them differently."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.app import load_app
from onex.kernel.errors import ContractError
from onex.kernel.retry import BreakerPolicy
from onex.kernel.target_policy import TargetPolicy

CONTRACT = """\
name: calls
node_type: REDUCER_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: new, trigger: go}
    - {from_state: new, to_state: done, trigger: end}
targets:
  bank: {concurrency: 3, rate_per_s: 50.0, circuit_breaker: {failures: 2}}
intents:
  - {name: ask, type: api_call, target: bank, payload: Ask}
"""
PAYLOADS = "from onex import Payload\n\n\nclass Ask(Payload):\n    n: int\n"
EFFECTS = """\
from onex import BreakerPolicy, ModelIntent, effect

from .payloads import Ask


@effect("bank")
def ask(intent: ModelIntent[Ask]) -> None:
    pass
"""


def app(folder: Path, contract: str = CONTRACT, effects: str = EFFECTS) -> Path:
    place = folder / "calls"
    place.mkdir()
    (place / "contract.yaml").write_text(contract)
    (place / "payloads.py").write_text(PAYLOADS)
    (place / "effects.py").write_text(effects)
    return place


def policy(place: Path) -> TargetPolicy:
    return load_app(place).workflows["calls"].policies["bank"]


def test_the_contract_says_them(tmp_path: Path) -> None:
    assert policy(app(tmp_path)) == TargetPolicy(3, 50.0, None, BreakerPolicy(2, 30.0, 1))


def test_the_function_says_what_the_contract_leaves_out(tmp_path: Path) -> None:
    plain = CONTRACT.replace(", rate_per_s: 50.0, circuit_breaker: {failures: 2}", "")
    said = EFFECTS.replace('"bank"', '"bank", rate_per_s=5, burst=2, circuit_breaker=BreakerPolicy(9)')
    assert policy(app(tmp_path, plain, said)) == TargetPolicy(3, 5, 2, BreakerPolicy(9, 30.0, 1))


def test_a_policy_is_no_part_of_the_code_of_a_workflow(tmp_path: Path) -> None:
    """So a history that was made under another rate is still equal."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = load_app(app(tmp_path / "one")).workflows["calls"]
    second = load_app(app(tmp_path / "two", CONTRACT.replace("50.0", "5.0"))).workflows["calls"]
    assert first.policies != second.policies
    assert first.code == second.code


@pytest.mark.parametrize(
    ("contract", "effects", "named"),
    [
        (CONTRACT, EFFECTS.replace('"bank"', '"bank", rate_per_s=5'), "ask differ in rate_per_s of 'bank'"),
        (CONTRACT.replace("payload: Ask}", "payload: Ask, concurrency: 5}"), EFFECTS, "says 5 at once, and its target"),
        (CONTRACT.replace("rate_per_s: 50.0", "burst: 5"), EFFECTS, "write rate_per_s too"),
        (CONTRACT.replace("concurrency: 3", "concurrency: 0"), EFFECTS, "concurrency"),
        (CONTRACT, EFFECTS.replace('"bank"', '"bank", rate_per_s=-5'), "rate_per_s is -5"),
    ],
)
def test_what_contradicts_itself_or_is_out_of_range_is_found(
    tmp_path: Path, contract: str, effects: str, named: str
) -> None:
    with pytest.raises(ContractError) as refused:
        load_app(app(tmp_path, contract, effects))
    assert any(named in str(finding) for finding in refused.value.findings), refused.value.findings
