"""One concept per file: short enough to be read at one sitting, and named after it."""

from __future__ import annotations

from pathlib import Path

from tests.laws.tree import ROOT, sources

LINES_MAX = 400
KINDS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "models", "enums", "types", "constants"}


def test_no_source_file_is_longer_than_four_hundred_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_files_are_named_after_concepts_not_kinds() -> None:
    def words(path: Path) -> set[str]:
        return {*path.stem.split("_"), path.parent.name}

    assert [str(path.relative_to(ROOT)) for path in sources() if words(path) & KINDS] == []
