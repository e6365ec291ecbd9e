"""The commands as a person calls them: in this process where that says the same, else in one of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue

import onex
from onex.cli.main import main
from onex.engine.payload_reading import PayloadInput
from onex.kernel.errors import OnexError

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ROOT / "examples" / "orders"
JOBS = Path(__file__).with_name("jobs")
ONEX = Path(sys.executable).with_name("onex")
STORE = "sqlite:///store.db"
ITEMS: JsonValue = [{"sku": "tea", "quantity": 2, "cents": 450}]


class Told(NamedTuple):
    """What a command said. ``rows`` are its standard output as JSON lines."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, JsonValue]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self) -> dict[str, JsonValue]:
        (only,) = self.rows
        return only


class Commands:
    """``commands("ls", "--json")`` in this process, on the store of a test."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Told:
        code = main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        return Told(code, out, err)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to stand in, with a store's name in the environment and nothing else of ours."""
    for name in [name for name in os.environ if name.startswith("ONEX_") or name == "NO_COLOR"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEX_STORE", STORE)
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    return tmp_path


@pytest.fixture
def commands(place: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def fill(app: Path, actions: Sequence[tuple[str, str, PayloadInput]], store: str = STORE) -> None:
    """Actions one after the other, each followed by all that comes of it; refusals are part of the story."""

    async def go() -> None:
        async with await onex.open(store, app) as engine:
            for key, trigger, payload in actions:
                try:
                    await engine.submit(key, trigger, payload)
                except OnexError:
                    continue
                await engine.idle()

    asyncio.run(go())


@pytest.fixture
def orders(place: Path) -> Path:
    """A store on which one order was shipped, one is a basket still, and one was refused from the start."""
    fill(
        ORDERS,
        [
            ("orders:1", "place", {"items": ITEMS}),
            ("orders:1", "cancel", None),
            ("orders:2", "place", {"items": [{"sku": "car", "quantity": 9, "cents": 900_000}]}),
            ("orders:3", "place", {"items": []}),
            ("orders:1", "cancel", None),
        ],
    )
    return ORDERS


class Process:
    """A command in a process of its own, ended with its test."""

    def __init__(self, *words: str | Path, stdin: int = subprocess.DEVNULL) -> None:
        self.popen = subprocess.Popen(
            [ONEX, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )

    def until(self, text: str) -> str:
        """Its first line on stderr that holds ``text``."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if text in line:
                return line
        raise AssertionError(f"it ended and never said {text!r}")

    def end_with(self, text: str) -> Told:
        """Writes all of its standard input, and waits for its end."""
        out, err = self.popen.communicate(text, timeout=60)
        return Told(self.popen.returncode, out, err)

    def end(self, number: signal.Signals | None = None, wait_s: float = 60) -> Told:
        if number is not None:
            self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=wait_s)
        return Told(self.popen.returncode, out, err)


@pytest.fixture
def processes(place: Path) -> Iterator[type[Process]]:
    started: list[Process] = []

    class Started(Process):
        def __init__(self, *words: str | Path, stdin: int = subprocess.DEVNULL) -> None:
            super().__init__(*words, stdin=stdin)
            started.append(self)

    yield Started
    for one in started:
        one.popen.kill()
        one.popen.communicate()
