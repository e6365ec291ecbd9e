"""The pictures of contracts, on the first page and in the pages of concepts, are the ones that the contracts give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onex import load_app
from onex.contracts.draw.contract_pictures import pictures

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/concepts/orchestration.md", "docs/concepts/registration.md", "examples/README.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_picture_is_drawn_from_the_contract(page: str) -> None:
    text = (ROOT / page).read_text()
    found = re.findall(r"<!-- diagram: (\S+) -->\n```mermaid\n(.*?)```", text, flags=re.S)
    assert found, "the page shows a picture"
    for app, drawn in found:
        *derived, workflow = load_app(ROOT / app).workflows.values()
        assert all(one.contract.name.startswith(f"{workflow.contract.name}_") for one in derived), "items of its maps"
        assert drawn.strip() == pictures(workflow.contract)[0].mermaid.strip(), f"run: onex diagram {app}"
