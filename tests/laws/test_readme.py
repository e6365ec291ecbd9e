"""The picture on the first page is the one the contract gives."""

from __future__ import annotations

import re
from pathlib import Path

from onex import load_app
from onex.contracts.draw.machine_diagram import mermaid

ROOT = Path(__file__).parents[2]


def test_the_picture_is_drawn_from_the_contract() -> None:
    text = (ROOT / "README.md").read_text()
    found = re.findall(r"<!-- diagram: (\S+) -->\n```mermaid\n(.*?)```", text, flags=re.S)
    assert found, "the first page shows a machine"
    for app, drawn in found:
        (workflow,) = load_app(ROOT / app).workflows.values()
        assert drawn.strip() == mermaid(workflow.reducer.machine).strip(), f"run: onex diagram {app}"
