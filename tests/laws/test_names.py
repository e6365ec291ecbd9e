"""Every name in docs/reference/names.md can be imported from where the page says it lives."""

from __future__ import annotations

import re
from importlib import import_module

from tests.laws.tree import ROOT

PAGE = ROOT / "docs" / "reference" / "names.md"
ROW = re.compile(r"^\| *`?(?P<name>\w+)`? *\| *`?(?P<module>onex[\w.]*)`? *\| *(?P<row>[\w ,.-]+?) *\|$")


def rows(text: str) -> list[tuple[str, str, str]]:
    """`(name, module, row)` of each line below the table's rule. Raises ValueError for a line that is no row."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    found = []
    for line in lines[2:]:
        row = ROW.match(line)
        if row is None:
            raise ValueError(f"not a row of | Name | onex.module | row |: {line}")
        found.append((row["name"], row["module"], row["row"]))
    return found


def missing(table: list[tuple[str, str, str]]) -> list[str]:
    return [f"{module}.{name}" for name, module, _ in table if not hasattr(import_module(module), name)]


def test_every_listed_name_is_importable_as_it_is_spelled() -> None:
    assert missing(rows(PAGE.read_text())) == []


def test_no_name_is_listed_twice() -> None:
    listed = [name for name, _, _ in rows(PAGE.read_text())]
    assert sorted(listed) == sorted(set(listed))


def test_the_law_sees_a_name_that_is_not_there() -> None:
    table = rows("| Name | Module | Row |\n|---|---|---|\n| `OnexErrors` | `onex.kernel.errors` | N9 |")
    assert missing(table) == ["onex.kernel.errors.OnexErrors"]
