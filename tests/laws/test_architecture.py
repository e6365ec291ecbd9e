"""The page on architecture names what is there."""

from __future__ import annotations

import re

from tests.laws.tree import ROOT, SOURCE

PLACED = re.compile(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`")


def test_every_file_and_room_that_the_architecture_names_is_there() -> None:
    named = PLACED.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(named) > 50
    assert [name for name in named if not (SOURCE / name).exists()] == []


def test_the_architecture_tells_what_every_room_does() -> None:
    named = set(PLACED.findall((ROOT / "docs" / "architecture.md").read_text()))
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert sorted(room for room in rooms if f"{room}/" not in named) == []
