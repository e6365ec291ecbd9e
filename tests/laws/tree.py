"""The project's own files, as the laws read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "onex"


def sources(*rooms: str) -> list[Path]:
    """Every Python file of these rooms (`kernel`, `ports.py`), or of the whole house when none is named."""
    places = [SOURCE / room for room in rooms] if rooms else [SOURCE]
    return sorted(
        path for place in places for path in ([place] if place.is_file() else place.rglob("*.py")) if path.is_file()
    )


def pages() -> list[Path]:
    """Every Markdown page a reader of the project may open."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def files() -> list[Path]:
    """Every file of the project, without what tools and runs leave behind."""
    made = {"build", "dist", "__pycache__"}
    kept = [path for path in ROOT.iterdir() if path.name not in made and (path.name[0] != "." or path.name == ".ci")]
    found = [path for place in kept for path in ([place] if place.is_file() else place.rglob("*"))]
    return sorted(path for path in found if path.is_file() and not made & set(path.parts))


def fenced(text: str, *languages: str) -> Iterator[tuple[int, str]]:
    """`(line number, line)` of each line inside a fenced block of one of these languages."""
    language: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = line.strip()
        if mark.startswith("```"):
            language = None if language is not None else mark.removeprefix("```").split(" ")[0]
        elif language in languages:
            yield number, line
