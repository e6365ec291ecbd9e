"""Fields on which somebody acts and fields that are only kept: which is which follows from the class of the field."""

from __future__ import annotations

import pytest

from onex.contracts.foreign.foreign_reader import KINDS, read_contract
from onex.contracts.model.contract import (
    ModelContractBase,
    ModelContractCompute,
    ModelContractEffect,
    ModelContractOrchestrator,
    ModelContractReducer,
)
from onex.contracts.model.key_usage import EnumKeyUsage
from onex.contracts.model.part import use_of
from onex.contracts.model.unenforced import UnenforcedFields

ALL = (ModelContractEffect, ModelContractCompute, ModelContractReducer, ModelContractOrchestrator)


def test_nobody_acts_on_unenforced_fields() -> None:
    assert {
        name: use_of(UnenforcedFields, name).by
        for name in UnenforcedFields.model_fields
        if use_of(UnenforcedFields, name).by
    } == {}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_somebody_acts_on_all_else_of_a_contract(kind: type[ModelContractBase]) -> None:
    assert [
        name for name in kind.model_fields if name not in UnenforcedFields.model_fields and not use_of(kind, name).by
    ] == []


def test_every_kind_of_node_has_its_model() -> None:
    assert set(KINDS.values()) == set(ALL)


def test_a_kept_key_is_reported_even_when_it_stands_alone() -> None:
    """Each field of UnenforcedFields, written with a value that fits it or not: never accepted in silence."""
    for name in UnenforcedFields.model_fields:
        reading = read_contract(f"name: x\nnode_type: effect\n{name}: {{a: 1}}\n", "x.yaml")
        usages = {key.loc: key.usage for key in reading.keys}
        assert usages[(name,)] is not EnumKeyUsage.HONOURED, name
        assert [one for one in reading.findings if one.line == 3], name
