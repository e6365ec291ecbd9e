"""A history folds to the same bytes wherever it is folded: another process, hash seed, zone, folder, locale, Python."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue

import onex
from onex.kernel.errors import OnexError
from onex.replay.history_export import export_history
from tests.golden.corpus import CORPUS, ORDERS
from tests.replay.interpreters import ROOT, Interpreter, NoEnvironment, clean, environment, others
from tests.replay.refold import Report, Task, refold

REFOLD = Path(__file__).with_name("refold.py")
BYTECODE = ROOT / ".cache" / "bytecode"  # kept apart, so that nobody finds what -OO made
IMPURE = Path(__file__).with_name("impure")
EQUAL = {"equal"}
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
ELSEWHERE: dict[str, dict[str, str]] = {
    "seed 0, Tokyo, no locale": {"PYTHONHASHSEED": "0", "TZ": "Asia/Tokyo", **ASCII},
    "seed 1, New York, without assertions": {
        "PYTHONHASHSEED": "1", "TZ": "America/New_York", "LC_ALL": "C.UTF-8", "PYTHONOPTIMIZE": "2",
    },
    "random seed, UTC, developer mode": {"PYTHONHASHSEED": "random", "TZ": "UTC", "PYTHONDEVMODE": "1"},
}  # fmt: skip
WORDS: list[JsonValue] = ["nine", "words", "whose", "order", "in", "a", "set", "nobody", "knows"]
# What each impurity listens to beside the state and the action.
CHANCE, PROCESS, SEED, ZONE, FOLDER = "chance", "this process's past", "hash seed", "time zone", "working directory"
PLANTED = {
    "uuid4": CHANCE, "clock": CHANCE, "chance": CHANCE, "memory": PROCESS, "set_order": SEED, "hash_of_text": SEED,
    "local_time": ZONE, "folder": FOLDER,
}  # fmt: skip


class Told(NamedTuple):
    """What one process found."""

    here: str
    hash: int
    reports: list[Report]


def asked(python: Path | str, tasks: list[Task], cwd: Path, variables: dict[str, str]) -> Told:
    words = [python, REFOLD, json.dumps(tasks)]
    env = clean(PYTHONPATH=str(ROOT / "src"), PYTHONPYCACHEPREFIX=str(BYTECODE), **variables)
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Told(**json.loads(done.stdout))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Orders on SQLite, by the engine and the effects as they are; text of all kinds, refusals in between."""
    place = tmp_path_factory.mktemp("orders")
    url = f"sqlite:///{place / 'store.db'}"

    async def go() -> None:
        async with await onex.open(url, ORDERS, check_all=True) as engine:
            for n, sku in enumerate(["tea", "Grüner Tee", "茶", "🍵", 'a"b\\c', "\u2028\x7f", "e\u0301"]):
                for key in (f"orders:{n}", f"orders:№ {sku}"):
                    for quantity in (n + 1, 999):
                        try:
                            items: list[JsonValue] = [
                                {"sku": f"{sku}{m}", "quantity": quantity, "cents": 1999} for m in range(n + 1)
                            ]
                            await engine.submit(key, "place", {"items": items}, issuer=f"till {sku}")
                        except OnexError:
                            continue
            await engine.idle()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        asyncio.run(go())
    return url, str(ORDERS), []


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Orders on the memory store, as ``onex export`` writes them: another kind of store, and no store to read."""
    place = tmp_path_factory.mktemp("run")
    path = place / "run.onexrun"

    async def go() -> None:
        async with await onex.open("memory:", ORDERS, check_all=True) as engine:
            for n, sku in enumerate(["tea", "茶", "\u2028\x7f"]):
                await engine.submit(f"orders:{n}", "place", {"items": [{"sku": sku, "quantity": 1, "cents": 1999}]})
            await engine.idle()
            with path.open("x", encoding="utf-8", newline="\n") as file:
                assert await export_history(engine.reader, file) == 3

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        asyncio.run(go())
    return str(path), str(ORDERS), []


@pytest.fixture(scope="module")
def tasks(store: Task, run_file: Task) -> list[Task]:
    """The store, an exported run, and the golden histories under the code they were recorded under."""
    return [store, run_file, *((str(golden.history), str(golden.app), list(golden.served)) for golden in CORPUS)]


@pytest.fixture(scope="module")
def reports(tasks: list[Task]) -> list[Report]:
    """What this very process makes of them."""
    found = [asyncio.run(refold(*task)) for task in tasks]
    for report in found:
        assert {verdict.rpartition(" ")[2] for verdict in _verdicts(report)} == EQUAL
    return found


def _verdicts(report: Report) -> list[str]:
    verdicts = report["verdicts"]
    assert isinstance(verdicts, list)
    return verdicts


def test_it_is_the_same_under_other_seeds_zones_folders_and_locales(
    tasks: list[Task], reports: list[Report], tmp_path: Path
) -> None:
    def ask(name: str) -> Told:
        cwd = tmp_path / name
        cwd.mkdir()
        return asked(sys.executable, tasks, cwd, ELSEWHERE[name])

    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(ELSEWHERE, pool.map(ask, ELSEWHERE), strict=True))
    assert {name: one.reports for name, one in told.items()} == dict.fromkeys(ELSEWHERE, reports)
    assert len({one.hash for one in told.values()}) == len(ELSEWHERE), "the seeds did not differ"


@pytest.mark.parametrize("other", others() or [None], ids=lambda one: one.version if one else "none")
def test_it_is_the_same_under_another_python(
    other: Interpreter | None,
    tasks: list[Task],
    reports: list[Report],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if other is None:
        pytest.skip("no other CPython >= 3.11 was found: looked along PATH, in ~/.pyenv/versions and in /usr/bin")
    try:
        python = environment(other)
    except NoEnvironment as error:
        pytest.skip(f"NOT REPLAYED under another Python: {error}")
    told = asked(python, tasks, tmp_path, {"PYTHONHASHSEED": "0", "TZ": "Asia/Kolkata", **ASCII})
    with capsys.disabled():
        print(f"\nreplayed under {told.here} ({other.path.name})", file=sys.stderr)
    assert told.here == f"CPython {other.version}"
    assert told.reports == reports


def test_a_python_that_gets_no_packages_is_told_after_two_tries_and_leaves_nothing(tmp_path: Path) -> None:
    before = set((ROOT / ".cache").glob("pythons/*"))
    with pytest.raises(NoEnvironment, match=r"3\.99\.0 .* got no packages\. uv: .*; pip: .*python3\.99"):
        environment(Interpreter(tmp_path / "python3.99", (3, 99), "3.99.0"))
    assert {path for path in (ROOT / ".cache").glob("pythons/*") if "3.99" in path.name} <= before


# --- the test can fail ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impure(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """One instance for each planted impurity, and an honest one."""
    url = f"sqlite:///{tmp_path_factory.mktemp('impure') / 'store.db'}"

    async def go() -> None:
        async with await onex.open(url, IMPURE) as engine:
            for trigger in ("honest", *PLANTED):
                for _ in range(3):
                    await engine.submit(f"impure:{trigger}", trigger, {"words": WORDS})

    asyncio.run(go())
    return url, str(IMPURE), []


def _mismatched(report: Report) -> set[str]:
    found = {line.split(" ")[0].removeprefix("impure:"): line.rpartition(" ")[2] for line in _verdicts(report)}
    assert set(found.values()) <= {"equal", "MISMATCH"}
    return {trigger for trigger, verdict in found.items() if verdict == "MISMATCH"}


def test_what_is_never_the_same_twice_is_found_in_the_process_that_made_it(impure: Task) -> None:
    assert _mismatched(asyncio.run(refold(*impure))) == {
        name for name, source in PLANTED.items() if source in (CHANCE, PROCESS)
    }


def test_what_depends_on_seed_zone_or_folder_is_found_elsewhere_only(impure: Task, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        seeds = [{"PYTHONHASHSEED": seed, "TZ": "Asia/Kathmandu"} for seed in ("0", "1")]
        told = list(pool.map(lambda variables: asked(sys.executable, [impure], tmp_path, variables), seeds))
    found = [_mismatched(one.reports[0]) for one in told]
    # a new process remembers nothing either, so memory is found in the old one only: neither test replaces the other
    assert found[0] | found[1] == {name for name, source in PLANTED.items() if source != PROCESS}
    assert any("set_order" in one for one in found)
