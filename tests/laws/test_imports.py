"""Imports look down, and what a pure room may reach is a short list (docs/decisions/0002)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.laws.tree import ROOT, SOURCE, sources

WORLD = {
    "asyncio", "concurrent", "ctypes", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "sched",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading",
    "time",
}  # fmt: skip
LEAKS = {
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.sleep", "uuid.uuid1", "uuid.uuid4", "open", "io.open", "os.open", "os.urandom", "input", "print",
}  # fmt: skip
# The simulator owns time: the engine waits by the Clock port. `asyncio.sleep(0)` only lets others go first.
WAITS = {"asyncio.sleep", "asyncio.to_thread", "asyncio.run"}
WORLDLY = (
    "adapters", "cli", "service", "bench", "processes", "simulation", "testing", "doctor", "repository", "app", "wiring",
    "monitoring", "settings", "effects",
)  # fmt: skip
WORLDLY_FILES = ("effects.py", "compute.py")
BY_HAND = {"playwright": "bench/browser.py"}
"""No extra brings it: the one file that can use it does so where somebody has installed it, and says so where nobody has."""
KERNEL_LIBRARIES = {"pydantic", "pydantic_core"}


def names(tree: ast.Module) -> dict[str, str]:
    """Local name -> what it stands for, in full: `{"dt": "datetime.datetime"}`; relative imports keep their dots."""
    table: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                table[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                table[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
    return table


def references(source: str) -> Iterator[tuple[int, str]]:
    """`(line, full name)` of every name and attribute that is read, called or not: a default factory leaks as well."""
    tree = ast.parse(source)
    table = names(tree)
    for node in ast.walk(tree):
        chain: list[str] = []
        walk: ast.expr | ast.AST = node
        while isinstance(walk, ast.Attribute):
            chain.append(walk.attr)
            walk = walk.value
        if isinstance(walk, ast.Name) and isinstance(walk.ctx, ast.Load):  # a field that is called input reads nothing
            yield walk.lineno, ".".join([table.get(walk.id, walk.id), *reversed(chain)])
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def imports(source: str) -> set[str]:
    """The top-level modules a file imports, wherever in the file it does so."""
    tree = ast.parse(source)
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.split(".")[0] for name in plain | from_}


def leaks(path: Path, banned: set[str]) -> list[str]:
    found = {(line, name) for line, name in references(path.read_text()) if name in banned}
    return [f"{path.relative_to(ROOT)}:{line}: {name}" for line, name in sorted(found)]


def guarded(path: Path) -> bool:
    """Whether a source file may not touch the world."""
    place = path.relative_to(SOURCE)
    return Path(place.parts[0]).stem not in WORLDLY and place.name not in WORLDLY_FILES


def test_floors_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_only_the_rooms_that_touch_the_world_read_clocks_chance_or_files() -> None:
    assert [leak for path in sources() if guarded(path) for leak in leaks(path, LEAKS)] == []


def test_the_reducers_of_the_examples_touch_no_world() -> None:
    pure = [*(ROOT / "examples").rglob("reducer.py"), *(ROOT / "examples").rglob("payloads.py")]
    assert [leak for path in pure for leak in leaks(path, LEAKS)] == []
    assert {path: imports(path.read_text()) & WORLD for path in pure if imports(path.read_text()) & WORLD} == {}


def test_kernel_and_contracts_import_no_world() -> None:
    found = {path.name: imports(path.read_text()) & WORLD for path in sources("kernel", "contracts")}
    assert {name: worldly for name, worldly in found.items() if worldly} == {}


def test_the_kernel_needs_the_standard_library_and_pydantic() -> None:
    allowed = sys.stdlib_module_names | KERNEL_LIBRARIES | {"onex"}
    found = {path.name: imports(path.read_text()) - allowed for path in sources("kernel")}
    assert {name: foreign for name, foreign in found.items() if foreign} == {}


def test_the_engine_waits_by_the_clock_port() -> None:
    texts = {
        path: path.read_text().replace("asyncio.sleep(0)", "None") for path in sources("engine", "replay", "whatif")
    }
    waits = {
        (path.name, line, name) for path, text in texts.items() for line, name in references(text) if name in WAITS
    }
    assert sorted(waits) == []


def test_no_floor_is_got_round_for_the_type_checker() -> None:
    """A TYPE_CHECKING block is an import like any other; only the front door (`onex/__init__.py`) may import ours in one."""
    rooms = [path for path in sources() if path != SOURCE / "__init__.py"]
    assert [path.name for path in rooms if ours_for_the_type_checker(ast.parse(path.read_text()))] == []
    planted = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..engine import relay\n"
    assert ours_for_the_type_checker(ast.parse(planted))


def ours_for_the_type_checker(tree: ast.Module) -> bool:
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    inside = [node for block in blocks for node in ast.walk(block)]
    relative = any(
        isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("onex")) for node in inside
    )
    return relative or any(isinstance(node, ast.Import) and node.names[0].name.startswith("onex") for node in inside)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    parsed = [Requirement(line) for line in requires("onex") or []]
    declared = {canonicalize_name(one.name) for one in parsed if one.marker is None or "extra" not in str(one.marker)}
    optional = {canonicalize_name(one.name) for one in parsed} - declared
    imported = set().union(*(imports(path.read_text()) for path in sources())) - sys.stdlib_module_names - {"onex"}
    owners = packages_distributions()
    used = {canonicalize_name(owners[name][0]) if name in owners else name for name in imported}
    assert used - declared - optional - {"pydantic-core", *BY_HAND} == set()  # pydantic pins its own core
    for name, place in BY_HAND.items():
        assert [path.relative_to(SOURCE).as_posix() for path in sources() if name in imports(path.read_text())] == [
            place
        ]
    assert declared - used == set()


@pytest.mark.parametrize(
    ("source", "leak"),
    [
        ("from datetime import datetime as dt\nstamp = dt.now", "datetime.datetime.now"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("import time as t\nt.time()", "time.time"),
        ("from time import monotonic", "time.monotonic"),
        ("from uuid import uuid4\nfield(default_factory=uuid4)", "uuid.uuid4"),
        ("def f():\n    with open('x') as file: pass", "open"),
    ],
)
def test_the_law_sees_a_leak(source: str, leak: str) -> None:
    assert leak in {name for _, name in references(source)} & LEAKS


@pytest.mark.parametrize("source", ["clock.now_us()", "self.clock.now()", "await store.open(url)", "import time"])
def test_the_law_lets_ports_be(source: str) -> None:
    assert {name for _, name in references(source)} & LEAKS == set()
