"""The reference pages say what the code says: written again, they are the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import onex
from docs.api_contents import PAGES as API_PAGES
from docs.generate import HERE, PAGES
from tests.docs.transcript import blocks
from tests.laws.tree import ROOT, pages


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (HERE / name).read_text() == PAGES[name](), "run: make docs"


def test_every_name_of_the_front_door_has_its_entry() -> None:
    entries = {entry.home.rpartition(".")[2] for page in API_PAGES for part in page.sections for entry in part.entries}
    assert sorted(set(onex.__all__) - {"__version__"} - entries) == []


def test_an_entry_says_how_it_is_called_what_it_raises_and_where_it_lives() -> None:
    page = PAGES["api/engine.md"]()
    entry = page.partition("### load_app\n")[2].partition("\n### ")[0]
    assert "load_app(path: Path | str," in entry
    assert "Raises [ContractError](../errors.md#invalid-input)" in entry
    assert "`from onex import load_app`" in entry
    assert "(../../../src/onex/app/load.py)" in entry


def imported(text: str) -> Iterator[str]:
    """``onex.ports.Position`` of ``from onex.ports import Position``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "onex":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_a_page_or_an_example_imports_is_in_the_reference() -> None:
    """Errors have a page of their own; the built-in workflow and the schema of a file are no parts to build with."""
    elsewhere = ("onex.kernel.errors.", "onex.workflows.", "onex.adapters.sqlite.schema.")
    shown = [
        block.text
        for page in pages()
        if ROOT / "docs" / "decisions" not in page.parents
        for block in blocks(page.read_text())
        if block.language == "python" and not page.is_relative_to(HERE)
    ]
    examples = [file.read_text() for file in sorted((ROOT / "examples").rglob("*.py"))]
    found = {name for text in (*shown, *examples) for name in imported(text) if not name.startswith(elsewhere)}
    entries = {
        line.split("`")[1]
        for name in PAGES
        if name == "api/README.md"
        for line in PAGES[name]().splitlines()
        if line.startswith("| [`")
    }
    assert len(found) > 20
    assert sorted(name for name in found if name.rpartition(".")[2] not in entries) == []
