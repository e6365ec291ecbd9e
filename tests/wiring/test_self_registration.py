"""An engine that tells a directory of itself: it registers, beats, comes back, and leaves; or goes on without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import onex
from onex.cli.main import main
from onex.wiring.self_registration import EngineNode, registered
from tests.workflows.registration.directories import Directories

NODE = EngineNode("shop-1", "shop", "1.2.0", ("orders", "bills"), "127.0.0.1:8080")
KEY = "registration:shop-1"
BEAT_S = 0.05


@asynccontextmanager
async def directory(url: str, directories: Directories) -> AsyncIterator[onex.ReducerPatternEngine]:
    async with await onex.open(url, "onex:registration", executors=directories.executors) as engine:
        yield engine


def test_an_engine_stands_in_the_directory_while_it_runs(tmp_path: Path) -> None:
    url, directories, told = f"sqlite:///{tmp_path / 'nodes.db'}", Directories(), list[str]()

    async def run() -> None:
        async with directory(url, directories) as engine:
            async with registered(NODE, url, told.append, BEAT_S):
                await engine.wait(KEY, until="complete", timeout_s=30)
                service = directories.services["onex-reducer-shop-1"]
                assert (service["Name"], service["Port"]) == ("shop", 8080)
                node = directories.records["shop-1"]["record"]
                assert isinstance(node, dict)
                assert (node["capabilities"], node["node_version"]) == (["orders", "bills"], "1.2.0")
                while (await engine.reader.counts()).actions < 8:  # four of these are the registration
                    await asyncio.sleep(BEAT_S)
            await engine.wait(KEY, until="deregistered", timeout_s=30)
        assert directories.empty
        assert told == []

    asyncio.run(run())


def test_one_that_was_taken_out_registers_again_at_its_next_beat(tmp_path: Path) -> None:
    url, directories = f"sqlite:///{tmp_path / 'nodes.db'}", Directories()

    async def run() -> None:
        async with directory(url, directories) as engine, registered(NODE, url, lambda text: None, BEAT_S):
            await engine.wait(KEY, until="complete", timeout_s=30)
            await engine.submit(KEY, "deregister", {"reason": "by mistake"})
            await engine.wait(KEY, until="deregistered", timeout_s=30)
            await engine.wait(KEY, until="complete", timeout_s=30)

    asyncio.run(run())


def test_without_a_directory_it_says_so_once_and_goes_on_and_finds_it_when_it_comes(tmp_path: Path) -> None:
    url, directories, told = f"sqlite:///{tmp_path / 'nodes.db'}", Directories(), list[str]()

    async def run() -> None:
        async with registered(NODE, url, told.append, BEAT_S):
            while not told:
                await asyncio.sleep(BEAT_S)
            await asyncio.sleep(5 * BEAT_S)
            assert len(told) == 1
            assert told[0].startswith("not registered as shop-1, the work goes on: ")
            async with directory(url, directories) as engine:
                await engine.wait(KEY, until="complete", timeout_s=30)

    asyncio.run(run())


def test_nodes_are_listed_and_written_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, directories = f"sqlite:///{tmp_path / 'nodes.db'}", Directories()

    async def said(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, [*words, "--store", url])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    async def run() -> None:
        async with directory(url, directories) as engine:
            assert await said("nodes") == (0, "no node is known here; onex register ID --name NAME --type TYPE writes one, and "
                                              "onex:registration carries it out")  # fmt: skip
            assert await said("register", "mailer-1", "--version", "2.0.0") == (0, "mailer-1: complete")
            code, printed = await said("nodes")
            assert code == 0
            assert "mailer-1 complete mailer-1 effect 2.0.0" in printed
            code, printed = await said("nodes", "--json")
            assert '"node_id":"mailer-1","status":"complete"' in printed
            assert await said("register", "mailer-1", "--remove") == (0, "mailer-1: deregistered")
            code, printed = await said("register", "nobody", "--remove")
            assert code == 1
            assert "'deregister' is not accepted in 'unseen'" in printed
            await engine.idle()
        assert directories.empty

    asyncio.run(run())


def test_a_registration_that_no_engine_carries_out_is_stored_and_waits_no_longer_than_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, directories = f"sqlite:///{tmp_path / 'nodes.db'}", Directories()

    async def run() -> None:
        async with directory(url, directories):
            pass  # it makes the store
        assert await asyncio.to_thread(main, ["register", "mailer-1", "--wait", "0", "--store", url]) == 3
        told = capsys.readouterr().err
        assert "no answer for registration:mailer-1 in 0 s: no engine runs on" in told
        async with directory(url, directories) as engine:
            await engine.wait("registration:mailer-1", until="complete", timeout_s=30)

    asyncio.run(run())
