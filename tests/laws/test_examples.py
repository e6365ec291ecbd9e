"""An example that does not run is a lie: each has a test of its own, beside it or in tests/examples/test_NAME.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onex import load_app
from tests.laws.tree import ROOT


def examples() -> list[Path]:
    folder = ROOT / "examples"
    return (
        sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        if folder.is_dir()
        else []
    )


def files_that_test(example: Path) -> list[Path]:
    beside = ROOT / "tests" / "examples" / f"test_{example.name}.py"
    return [*sorted(example.rglob("test_*.py")), *([beside] if beside.is_file() else [])]


@pytest.mark.parametrize("example", examples(), ids=lambda path: path.name)
def test_the_example_has_tests_that_are_collected(example: Path) -> None:
    files = files_that_test(example)
    assert files, f"examples/{example.name} has no test_*.py, and there is no tests/examples/test_{example.name}.py"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not long", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_table_of_examples_has_each_with_the_command_that_starts_it() -> None:
    table = (ROOT / "examples" / "README.md").read_text()
    for example in examples():
        (row,) = [line for line in table.splitlines() if line.startswith("|") and f"]({example.name}/" in line]
        command = row.split("`")[-2]
        if command == f"onex run examples/{example.name}":
            assert load_app(example).findings == ()
        else:
            assert (command, (example / "__main__.py").is_file()) == (f"python -m examples.{example.name}", True)
