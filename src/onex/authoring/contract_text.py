"""A contract as YAML text, in one form for one contract: what ``onex contract`` prints and a lock file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import yaml
from pydantic import JsonValue

from ..contracts.text.yaml_tree import YamlMap, plain

_WIDE = 1_000_000
_LISTS_OF_ROWS = ("states", "transitions", "intents")


def contract_text(tree: YamlMap) -> str:
    """Keys in the tree's order; each status, transition and intent on a line of its own. It is read back equal."""
    return "\n".join(_block(_values(tree), 0)) + "\n"


_LOCKED: Final = re.compile(r"# Derived from (?P<source>[^/\\\0\n]+\.py)\. Do not edit")


def locked_source(text: str) -> str:
    """The name of the Python file beside it that this lock file is derived from; '' for any other text."""
    found = _LOCKED.match(text)
    return found["source"] if found is not None else ""


def contract_lock(tree: YamlMap, source: str) -> str:
    """The text of the lock file of a workflow that ``source`` declares."""
    return f"# Derived from {source}. Do not edit: onex contract {source} --lock writes it.\n{contract_text(tree)}"


def _values(tree: YamlMap) -> Mapping[str, JsonValue]:
    values = plain(tree)
    assert isinstance(values, dict), "a contract is a mapping"
    return values


def _block(values: Mapping[str, JsonValue], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in values.items():
        if key in _LISTS_OF_ROWS and isinstance(value, list) and value:
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_flow(row)}" for row in value)
        elif isinstance(value, dict) and any(name in _LISTS_OF_ROWS for name in value):
            yield f"{indent}{key}:"
            yield from _block(value, depth + 1)
        else:
            yield f"{indent}{key}: {_flow(value)}"


def _flow(value: JsonValue) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=_WIDE)
    return text.removesuffix("\n...\n").removesuffix("\n")
