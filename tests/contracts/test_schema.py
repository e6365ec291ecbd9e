"""The schema that editors are given says what the reader does: of ours it refuses the same, of others it refuses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from onex.contracts.edit.editor_schema import contract_schema
from onex.contracts.load import load_contract
from onex.contracts.text.yaml_tree import plain, read_yaml
from tests.contracts.test_diff import CORPUS, NODE, SHOP, WORK
from tests.contracts.validity import Schema, complaints
from tests.laws.tree import ROOT

SCHEMA: Schema = contract_schema()
OURS = sorted([ROOT / "examples" / "orders" / "contract.yaml", *(ROOT / "src").rglob("contract.yaml")])


def wrong(text: str) -> list[str]:
    tree = read_yaml(text, "contract.yaml").tree
    assert tree is not None
    return list(complaints(plain(tree), SCHEMA, SCHEMA))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.parent.name)
def test_contracts_that_load_are_valid(path: Path) -> None:
    assert load_contract(path.read_text(), str(path)).contract is not None
    assert wrong(path.read_text()) == []


ERRORS = {
    "a key that does not exist": ("unleased: [cancel]", "unleashed: [cancel]"),
    "a key of other families": ("unleased: [cancel]", "handler_routing: {}"),
    "a key that is missing": ("state_model: Cart\n", "state_model: Cart\nstate_schema: high\n"),
    "a name with a space": ("name: open}", 'name: "o pen"}'),
    "a number that is text": ("timeout_ms: 60000", 'timeout_ms: "60000"'),
    "a number out of its bounds": ("max_attempts: 5", "max_attempts: 0"),
    "a word that is none of the choices": ("delivery: at_most_once", "delivery: sometimes"),
    "a list that is a word": ("unleased: [cancel]", "unleased: cancel"),
    "a version with a part too few": ("{major: 1, minor: 0, patch: 0}", "{major: 1, minor: 0}"),
    "a transition without a trigger": ("to_state: sent, trigger: send, priority: 5", "to_state: sent, priority: 5"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_the_reader_refuses_the_schema_refuses(case: str) -> None:
    old, new = ERRORS[case]
    assert old in SHOP
    text = SHOP.replace(old, new)
    assert load_contract(text, "contract.yaml").contract is None
    assert wrong(text) != []


def test_without_mistake_nothing_is_refused() -> None:
    assert (wrong(SHOP), wrong(NODE), wrong(WORK)) == ([], [], [])


def test_contracts_of_others_are_not_refused_however_they_are_spelt() -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"there is no corpus at {CORPUS}: contracts of other repositories were not validated")
    texts = [path.read_text() for path in sorted(CORPUS.rglob("*.yaml"))[::10]]
    trees = [tree for tree in (read_yaml(text, "contract.yaml").tree for text in texts) if tree is not None]
    values = [value for tree in trees if isinstance(value := plain(tree), dict) and "node_type" in value]
    assert len(values) > 10
    assert [found for value in values for found in complaints(value, SCHEMA, SCHEMA)] == []


def test_every_field_says_who_acts_on_it() -> None:
    definitions = SCHEMA["definitions"]
    assert isinstance(definitions, dict)
    assert _description(definitions, "workflow", "unleased") == (
        "The engine runs by it; `onex check` judges it; `onex diff` compares it."
    )
    assert _description(definitions, "contract", "caching").startswith("Held: nobody acts on it")
    described = [
        field
        for block in definitions.values()
        if isinstance(block, dict) and isinstance(fields := block.get("properties"), dict)
        for field in fields.values()
    ]
    assert len(described) > 200
    assert all(isinstance(field, dict) and field.get("description") for field in described)


def test_the_examples_it_gives_are_valid() -> None:
    definitions = SCHEMA["definitions"]
    assert isinstance(definitions, dict)
    shown = [
        (example, field)
        for block in definitions.values()
        if isinstance(block, dict) and isinstance(fields := block.get("properties"), dict)
        for field in fields.values()
        if isinstance(field, dict) and isinstance(examples := field.get("examples"), list)
        for example in examples
    ]
    assert len(shown) > 15
    assert [found for example, field in shown for found in complaints(example, field, SCHEMA)] == []


def _description(definitions: Schema, block: str, field: str) -> str:
    found: JsonValue = definitions[block]
    for step in ("properties", field, "description"):
        assert isinstance(found, dict)
        found = found[step]
    return str(found)
