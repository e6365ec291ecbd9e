"""Each bench answers in one shape, measured on next to nothing. No figure is asserted: machines differ, shapes do not."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest

from onex.bench.measurement import Result
from onex.bench.options import InvalidOption, Options
from tests.servers.postgres_server import PostgresServer

NAMES = [
    "age",
    "check",
    "cli",
    "codec",
    "compute",
    "durable",
    "effects",
    "hotkey",
    "import_",
    "isolate",
    "lag",
    "latency",
    "memory",
    "orchestrate",
    "page",
    "replay",
    "route",
    "shadow",
    "simulate",
    "bulk",
    "search",
    "skip",
    "soak",
    "step",
    "whatif",
    "workflow",
]
ALWAYS = {"unit", "value", "fsync_us", "load", "python", "commit", "detail"}
SOMETIMES = {"ceiling", "ratio", "p50_ms", "p99_ms"}


def measured(name: str, folder: Path, **options: str) -> Result:
    result = import_module(f"onex.bench.{name}").run({"quick": "1", "directory": str(folder), **options})
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_a_bench_tells_its_figure_its_targets_and_the_machine(name: str, tmp_path: Path) -> None:
    result = measured(name, tmp_path)
    shape = json.loads(json.dumps(result, allow_nan=False))
    assert shape == result
    assert set(shape) >= ALWAYS and set(shape) <= ALWAYS | SOMETIMES
    assert all(isinstance(shape[field], float) and shape[field] > 0 for field in set(shape) & SOMETIMES)
    assert shape["detail"]["targets"]
    for target in shape["detail"]["targets"]:
        bound = {"at least", "at most"} & set(target)
        assert len(bound) == 1 and set(target) == {"what", "value", "aim", "met", *bound}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["durable", "hotkey", "lag", "latency", "workflow"])
def test_the_memory_store_can_be_measured_as_well(name: str, tmp_path: Path) -> None:
    detail = measured(name, tmp_path, store="memory", seconds="0.01")["detail"]
    assert isinstance(detail, dict) and detail["store"] == "memory"


@pytest.mark.parametrize("name", ["durable", "effects", "hotkey", "lag", "latency", "replay", "workflow"])
def test_a_store_on_a_server_can_be_measured_as_well(name: str, tmp_path: Path, postgres: PostgresServer) -> None:
    detail = measured(name, tmp_path, store="postgres", store_url=postgres.url(), seconds="0.01")["detail"]
    assert isinstance(detail, dict) and detail["store"] == "postgres"
    if name == "durable":
        assert isinstance(detail["server"], dict) and detail["server"]["fsync"] == "off"
        assert isinstance(detail["ceilings_tried"], dict) and len(detail["ceilings_tried"]) == 4

    async def left() -> list[str]:
        connection = await asyncpg.connect(postgres.url().partition("?")[0])
        rows = await connection.fetch("select nspname from pg_namespace where nspname like 'onex_bench%'")
        await connection.close()
        return [row[0] for row in rows]

    assert asyncio.run(left()) == []


def test_workers_that_share_a_server_are_measured(tmp_path: Path, postgres: PostgresServer) -> None:
    given = {"store": "postgres", "store_url": postgres.url()}
    taken = measured("takeover", tmp_path, seconds="0.6", **given)["detail"]
    assert isinstance(taken, dict) and (taken["lease_s"], taken["rounds"]) == (0.6, 1)
    shared = measured("scale", tmp_path, seconds="0.1", **given)["detail"]
    assert isinstance(shared, dict) and {"workers_1", "workers_2"} <= set(shared)
    still = measured("idle", tmp_path, **given)["detail"]
    assert isinstance(still, dict) and isinstance(still["resident_mib"], float)


@pytest.mark.parametrize("name", ["idle", "scale", "takeover"])
def test_a_bench_of_workers_needs_a_server(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="--store postgres"):
        measured(name, tmp_path)


def test_without_a_server_the_way_to_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOption, match=r"--store-url postgres://.*initdb"):
        Options.of({"store": "postgres"})
    monkeypatch.setenv("ONEX_STORE", "postgres://db/bench")
    assert Options.of({"store": "postgres"}).opens == "postgres://db/bench"


def test_options_are_read_with_their_types() -> None:
    options = Options.of({"seconds": "2", "pairs": "3", "quick": "no"})
    assert (options.seconds, options.pairs, options.quick, options.keys) == (2.0, 3, False, 1000)


def test_what_is_given_wins_over_quick() -> None:
    assert Options.of({"quick": "yes", "pairs": "5"}).pairs == 5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"second": "2"}, "no bench has an option 'second'"),
        ({"seconds": "soon"}, "seconds='soon' is not a number"),
        ({"pairs": "0"}, "pairs='0' must be more than 0"),
        ({"store": "oracle"}, "store='oracle' cannot be measured"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidOption, match=told):
        Options.of(given)
