"""Every bench runs and prints one JSON object with its surroundings. No figure is asserted: machines differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

BENCHES = ["age", "durable", "hotkey", "import_", "latency", "replay", "route", "step", "workflow"]


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_says_what_it_measured_and_where(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = cast(Mapping[str, object], import_module(f"onex.bench.{name}").run({"quick": "1"}))
    assert json.loads(json.dumps(told)) == told
    assert {"unit", "value", "fsync_us", "load", "python", "commit", "detail"} <= set(told)
    assert isinstance(told["value"], float) and told["value"] > 0
    assert list(tmp_path.iterdir()) == [], "a bench leaves nothing behind"
    if "ceiling" in told:
        assert isinstance(told["ratio"], float)
