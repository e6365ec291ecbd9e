"""The pages for who comes from another engine count lines as they say, and show code as the formatter leaves it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.transcript import blocks
from tests.laws.tree import ROOT

GUIDES = ROOT / "docs" / "guides"
PAGES = sorted(GUIDES.glob("coming-from-*.md"))
COUNTED = re.compile(r"^\| lines of the app \| (\d+) \| (\d+) \|$", re.MULTILINE)


def both(page: Path) -> tuple[str, str]:
    """The app in the other engine, which is a block of ``py`` and not run, and ours."""
    found = blocks(page.read_text())
    theirs = next(block for block in found if block.language == "py")
    ours = next(
        block for block in found if block.language == "python" and block.options.get("file", "").endswith(".py")
    )
    return theirs.text, ours.text


def lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_are_counted_by_the_rule_of_the_page(page: Path) -> None:
    counted = COUNTED.search(page.read_text())
    assert counted is not None
    assert tuple(map(int, counted.groups())) == tuple(map(lines, both(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_both_apps_are_as_the_formatter_leaves_them(page: Path) -> None:
    for text in both(page):
        command = [str(Path(sys.executable).with_name("ruff")), "format", "--isolated", "--line-length", "120", "-"]
        made = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        assert made.stdout == text


def test_the_order_is_one_app_on_every_page_that_has_it() -> None:
    apps = {both(GUIDES / f"coming-from-{engine}.md")[1] for engine in ("dbos", "temporal")}
    assert len(apps) == 1
