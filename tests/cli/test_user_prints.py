"""What an app prints, or does not end, while it is imported: JSON stays JSON, and a loop becomes a finding."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onex.app import import_limit
from tests.cli.conftest import ITEMS, ORDERS, Commands, Process, fill

LOUD = """
import os

print("printed at import")
os.system("echo printed by a child")
"""


@pytest.fixture
def loud(place: Path) -> Path:
    """The orders app, which prints wherever it can."""
    app = place / "loud" / "orders"
    shutil.copytree(ORDERS, app, ignore=shutil.ignore_patterns("__pycache__"))
    with (app / "payloads.py").open("a") as file:
        file.write(LOUD)
    for name, line in (("reducer.py", "    items = action.payload.items\n"), ("effects.py", "    folder.mkdir(")):
        text = (app / name).read_text()
        assert line in text
        (app / name).write_text(text.replace(line, f'    print("printed by {name}")\n{line}'))
    return app


@pytest.mark.parametrize(
    "words",
    [
        "check {app} --json",
        "check {app} --sarif -",
        "run {app} --until-idle --json",
        "replay {app} --json",
        "whatif {app} --against {app} --json",
        "show orders:1 --at 1 --app {app} --json",
    ],
)
def test_json_is_all_there_is_on_standard_output(words: str, loud: Path, processes: type[Process]) -> None:
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS})])
    sent = processes(
        "submit", "orders:2", "place", "--payload", json.dumps({"items": ITEMS}), "--no-wait", "--json"
    ).end()
    assert sent.code == 0
    told = processes(*words.format(app=loud).split()).end()
    assert told.code == 0, told.err
    assert told.rows, "every line is JSON"
    if not words.startswith("whatif"):  # its children say nothing of what their code prints
        assert "printed at import" in told.err
        assert "printed by a child" in told.err


def test_without_json_an_app_may_print(loud: Path, commands: Commands) -> None:
    assert commands("check", loud).out.startswith("printed at import\n")  # what a child prints goes past this test


def test_an_error_is_json_too(loud: Path, commands: Commands) -> None:
    assert set(commands("run", loud, "--store", "nowhere", "--json").row) == {"error"}
    assert "Usage: onex check" in commands("check", "--json", "--help").out


# --- what never ends ------------------------------------------------------------------------------------------------------


ENDLESS = {
    "loop": "while True:\n    pass\n",
    "sleep": "import time\n\ntime.sleep(3600)\n",
    "catches": "try:\n    while True:\n        pass\nexcept Exception:\n    pass\n",
}


@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS)
def test_a_module_that_does_not_end_is_a_finding_at_its_line(
    endless: str, place: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = place / "orders"
    shutil.copytree(ORDERS, app, ignore=shutil.ignore_patterns("__pycache__"))
    lines = len((app / "payloads.py").read_text().splitlines())
    with (app / "payloads.py").open("a") as file:
        file.write(endless)
    monkeypatch.setattr(import_limit, "IMPORT_S", 0.3)
    told = commands("check", app)
    assert told.code == 1
    first = told.out.splitlines()[0]
    head = f"{app / 'payloads.py'}:"
    assert first.startswith(head)
    assert int(first.removeprefix(head).partition(":")[0]) > lines
    assert "error [import_endless] importing was interrupted: it did not end within 0.3 s and was ended" in first


def test_a_module_that_catches_even_that_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    program = tmp_path / "stubborn.py"
    program.write_text(
        "from onex.app import import_limit as limit\n"
        "limit.IMPORT_S, limit.AGAIN_S = 0.1, 0.01\n"
        "with limit.import_limit('shop'):\n"
        "    while True:\n"
        "        try:\n"
        "            while True:\n"
        "                pass\n"
        "        except BaseException:\n"
        "            pass\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "onex: importing shop does not end, and catches what should end it\n")
