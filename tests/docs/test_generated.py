"""The reference pages say what the code says: written again, they are the same."""

from __future__ import annotations

import pytest

from docs.generate import HERE, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (HERE / name).read_text() == PAGES[name](), "run: make docs"
