"""The contracts on the page about these effects are accepted as they stand there."""

from __future__ import annotations

import pytest

from onex.contracts.load import load_contract
from onex.kernel.finding import errors
from tests.docs.transcript import Block, blocks
from tests.laws.tree import ROOT

HEAD = """\
name: shop
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_machine:
  initial_state: new
  terminal_states: [done]
  transitions:
    - {from_state: new, to_state: done, trigger: go}
"""
SHOWN = [one for one in blocks((ROOT / "docs/concepts/effects-on-data.md").read_text()) if one.language == "yaml"]


@pytest.mark.parametrize("block", SHOWN, ids=lambda one: one.text.split()[1])
def test_the_contract_on_the_page_is_accepted(block: Block) -> None:
    loaded = load_contract(HEAD + block.text, "contract.yaml")
    assert errors(loaded.findings) == ()
    assert loaded.contract is not None
    (target,) = loaded.contract.targets.values()
    assert all(intent.calls.keys() == target.blocks.keys() for intent in loaded.contract.intents)


def test_the_page_shows_each_kind() -> None:
    assert [block.text.split()[2] for block in SHOWN] == ["sql:", "files:", "cache:", "topic:"]
