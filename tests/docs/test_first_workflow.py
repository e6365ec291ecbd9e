"""The tutorial does what it says, from the first file to the last command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.transcript import blocks, played
from tests.laws.tree import ROOT

PAGE = ROOT / "docs" / "first-workflow.md"


def test_the_tutorial_plays_from_top_to_bottom(tmp_path: Path) -> None:
    with played("docs/first-workflow.md", blocks(PAGE.read_text()), tmp_path) as here:
        assert sorted(path.name for path in (here / "calendar").iterdir() if path.suffix != ".txt") == []
        assert len(list((here / "calendar").iterdir())) == 3
        again = subprocess.run([sys.executable, "book.py"], cwd=here, capture_output=True, text=True)
        assert again.returncode == 0, f"run a second time, it ends with:\n{again.stdout}{again.stderr}"
