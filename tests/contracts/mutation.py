"""Every contract that differs from a given one in a single honoured field: what a diff must not overlook.

Values are changed without validation, so that a word, a number or a list need not make sense to be distinguished.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel

from onex.contracts.model.contract import ModelContractBase
from onex.contracts.model.part import ModelContractVersion, use_of


class Mutant(NamedTuple):
    """``path`` is the field that was changed, ``how`` in a word."""

    path: str
    how: str
    contract: ModelContractBase


def mutants(contract: ModelContractBase) -> Iterator[Mutant]:
    for path, how, changed in _of_block(contract):
        assert isinstance(changed, ModelContractBase)
        yield Mutant(path, how, changed)


def _of_block(block: BaseModel) -> Iterator[tuple[str, str, BaseModel]]:
    for name in type(block).model_fields:
        if use_of(type(block), name).by:
            for path, how, value in _of_value(getattr(block, name)):
                yield f"{name}{path}", how, block.model_copy(update={name: value})


def _of_value(value: object) -> Iterator[tuple[str, str, object]]:
    if isinstance(value, ModelContractVersion):
        yield "", "raised", value.model_copy(update={"patch": value.patch + 1})
    elif isinstance(value, BaseModel):
        for path, how, block in _of_block(value):
            yield f".{path}", how, block
        yield "", "removed", None
    elif isinstance(value, tuple):
        for n, entry in enumerate(value):
            for path, how, changed in _of_value(entry):
                if changed is not None:
                    yield f"[{n}]{path}", how, (*value[:n], changed, *value[n + 1 :])
            yield f"[{n}]", "removed", (*value[:n], *value[n + 1 :])
    elif isinstance(value, bool):
        yield "", "turned", not value
    elif isinstance(value, int | float):
        yield "", "raised", value + 1
    elif isinstance(value, str):
        yield "", "renamed", type(value)(f"{value}x") if type(value) is str else f"{value}x"
    elif isinstance(value, dict):
        yield "", "grown", {**value, "more": "x"}
    elif isinstance(value, list):
        yield "", "grown", [*value, "x"]
