"""What the pages show is run: every bash and python block of concepts and guides, and what the first page lets one try."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.transcript import blocks, played, section
from tests.laws.tree import ROOT, sources

CITED = re.compile(r"promise (\d+(?:, \d+)*)")
PAGES = sorted(page for room in ("concepts", "guides") for page in (ROOT / "docs" / room).glob("*.md"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples in it, as a reader of the pages stands in a clone."""
    for name in [name for name in os.environ if name.startswith("ONEX_")]:
        monkeypatch.delenv(name)
    shutil.copytree(ROOT / "examples", tmp_path / "here" / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_page_does_what_it_shows(page: Path, place: Path) -> None:
    with played(str(page.relative_to(ROOT)), blocks(page.read_text()), place):
        pass


def test_the_program_of_the_first_page_runs_as_often_as_one_likes(place: Path) -> None:
    program = blocks(section((ROOT / "README.md").read_text(), "## As a library"))
    with played("README.md", [*program, *program], place):
        pass


@pytest.mark.parametrize("heading", ["## Try it by hand", "## As a library"])
def test_what_the_first_page_lets_one_try_works(heading: str, place: Path) -> None:
    with played("README.md", blocks(section((ROOT / "README.md").read_text(), heading)), place):
        pass


def test_the_first_page_quotes_the_example_as_it_is() -> None:
    example = (ROOT / "examples" / "billing" / "app.py").read_text()
    lines = {bare(line) for line in example.splitlines()}
    quoted = blocks(section((ROOT / "README.md").read_text(), "## What you write"))
    shown = {bare(line) for block in quoted if block.language == "python" for line in block.text.splitlines()}
    assert shown - lines - {"", "..."} == set()


def bare(line: str) -> str:
    """Without indentation and without the remark behind it."""
    return re.sub(r"\s*#.*$", "", line).strip()


def test_every_rule_that_the_code_cites_is_on_the_page_of_promises() -> None:
    promised = set(re.findall(r"^- \*\*(\d+)\*\* ", (ROOT / "docs/concepts/promises.md").read_text(), re.MULTILINE))
    files = [*sources(), *(ROOT / "tests").rglob("*.py")]
    cited = {number for file in files for found in CITED.findall(file.read_text()) for number in found.split(", ")}
    assert cited
    assert cited - promised == set()
