"""The picture on the page of effects is the one that its contract gives."""

from __future__ import annotations

import re
from pathlib import Path

from onex import load_app
from onex.contracts.draw.machine_diagram import mermaid
from tests.docs.transcript import blocks
from tests.laws.tree import ROOT


def test_the_picture_is_drawn_from_the_contract(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "concepts" / "effects.md").read_text()
    found = re.findall(r"<!-- diagram: (\S+) -->\n```mermaid\n(.*?)```", text, flags=re.S)
    assert found, "the page shows a machine"
    for name, drawn in found:
        (written,) = [block for block in blocks(text) if block.options.get("file") == name]
        (tmp_path / name).write_text(written.text)
        (workflow,) = load_app(tmp_path / name).workflows.values()
        assert drawn.strip() == mermaid(workflow.reducer.machine).strip(), "run: onex diagram on the app of the page"
