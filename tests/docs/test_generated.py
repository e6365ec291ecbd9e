"""The reference pages say what the code says: written again, they are the same."""

from __future__ import annotations

import pytest

import onex
from docs.api_contents import PAGES as API_PAGES
from docs.generate import HERE, PAGES


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
