"""Compute functions on Ray: without it, and where it is not reached, a clear error; on a real one the same rules as here."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

import onex
from onex.kernel.errors import DependencyResolutionError
from onex.settings import InvalidSetting, read_settings
from tests.adapters.test_worker_pool import running
from tests.laws.tree import ROOT
from tests.servers.ray_package import environment

SUMS = ROOT / "tests" / "wiring" / "sums"
HEAD = "from ray.scripts.scripts import main; main()"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_the_engine_does_not_open_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_COMPUTE", "ray")

    async def opened() -> None:
        with pytest.raises(
            DependencyResolutionError, match=r"pip install 'PATH/TO/ONEX\[ray\]', or unset ONEX_COMPUTE"
        ):
            await onex.open(f"sqlite:///{tmp_path / 'store.db'}", SUMS, executors={"somebody": lambda intent: None})

    asyncio.run(opened())


@pytest.mark.parametrize("where", ["ray", "ray:auto", "ray:node-1:6379"])
def test_where_compute_functions_run_is_one_setting(where: str) -> None:
    assert (read_settings({"ONEX_COMPUTE": where}).compute, read_settings({}).compute) == (where, "")


@pytest.mark.parametrize("where", ["dask", "ray:", "ray:node-1", "ray://node-1:1", "ray:a:1/b"])
def test_any_other_word_is_refused(where: str) -> None:
    with pytest.raises(InvalidSetting, match="is none of ray, ray:auto, ray:HOST:PORT"):
        read_settings({"ONEX_COMPUTE": where})


# --- a real one -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def within(folder: Path) -> set[int]:
    """Processes that stand in this folder: two helpers of Ray give themselves a name, and so have no environment to be seen."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").resolve().is_relative_to(folder):
                found.add(int(entry.name))
    return found


def ended(mark: str, folder: Path) -> None:
    """What still runs of a test is killed; one that wants none looks before."""
    while left := {*running(mark), *within(folder)}:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def scenarios(where: str, folder: Path) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.adapters.ray_child", where, str(folder)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return said


@contextmanager
def cluster(folder: Path) -> Iterator[int]:
    """Of one node, and its port."""
    mark, port = uuid4().hex, free_port()
    words = [
        "start", "--head", "--block", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false",
        "--temp-dir", str(folder),
    ]  # fmt: skip
    log = folder.with_suffix(".log")
    with log.open("w") as told:
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD, *words],
            env={**environment(), "ONEX_TEST_MARK": mark}, stdout=told, stderr=told, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while "To terminate the Ray runtime" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        yield port
    finally:
        head.terminate()  # it ends what it started, some of which have no environment any more
        head.wait(60)
        ended(mark, folder)
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink()


@pytest.mark.long
def test_a_ray_of_its_own_keeps_the_rules_of_worker_processes(tmp_path: Path) -> None:
    said = scenarios("ray", tmp_path)
    assert {name: told for name, told in said.items() if told != "ok"} == {}
    assert len(said) == 6


@pytest.mark.long
def test_a_cluster_that_is_there_already_keeps_them_too(tmp_path: Path) -> None:
    with cluster(Path(f"/tmp/onex-ray-{uuid4().hex[:8]}")) as port:  # names of sockets are short
        said = scenarios(f"ray:127.0.0.1:{port}", tmp_path)
    assert {name: told for name, told in said.items() if told != "ok"} == {}
    assert len(said) == 9


ENGINE = """
import asyncio, sys
import onex

async def main():
    served = {"somebody": lambda intent: None}
    async with await onex.open("memory:", sys.argv[1], executors=served) as engine:
        await engine.submit("sums:1", "add", {"numbers": [1, 2, 39]})
        await engine.wait("sums:1", "told", 60)
        state = await engine.state("sums:1")
        print(state.total, state.worker, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


# What Ray keeps ready beside the worker, and its helpers, may take minutes to see that their engine is gone.
@pytest.mark.long
def test_an_engine_computes_on_ray_and_its_worker_does_not_outlive_a_kill(tmp_path: Path) -> None:
    mark = uuid4().hex
    try:
        with subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(SUMS)],
            cwd=tmp_path, env={**environment(), "ONEX_COMPUTE": "ray", "ONEX_TEST_MARK": mark},
            stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            total, worker = process.stdout.readline().split()
            assert (total, int(worker) in running(mark)) == ("42", True)
            process.kill()
            process.wait()
            deadline = time.monotonic() + 60
            while int(worker) in running(mark) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert int(worker) not in running(mark)
    finally:
        ended(mark, tmp_path)


@pytest.mark.long
def test_a_cluster_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    where = f"ray:127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, str(SUMS)],
        cwd=tmp_path, env={**environment(), "ONEX_COMPUTE": where}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert f"ONEX_COMPUTE={where}: Ray is not reached ([Errno 111] Connection refused)" in done.stderr
