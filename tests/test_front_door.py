"""`from onex import ...`: the names most programs need, the same to a type checker and at run time."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import onex

TREE = ast.parse(Path(onex.__file__).read_text())


@pytest.mark.parametrize("name", onex.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(onex, name) is not None
    assert name in dir(onex)


def test_what_the_type_checker_reads_is_what_is_loaded() -> None:
    block = next(node for node in TREE.body if isinstance(node, ast.If))
    read = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(read) == set(onex.__all__) - {"__version__"}
    for name, module in read.items():
        assert getattr(onex, name) is getattr(import_module(f"onex.{module}"), name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'reducers'"):
        _ = onex.reducers  # type: ignore[attr-defined]  # that is the point
