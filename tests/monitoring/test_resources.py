"""What a process uses of its machine, on this machine."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from onex.monitoring import resources
from onex.monitoring.resources import LoopLag, disk_use, memory_limit_bytes, memory_use, resident_bytes


def test_memory_is_what_is_resident_over_what_the_process_may_have() -> None:
    before = resident_bytes()
    kept = bytearray(os.urandom(1024)) * (64 << 10)
    assert resident_bytes() - before > len(kept) // 2
    assert 0 < memory_use() < 1


def test_the_limit_of_the_control_group_counts_where_there_is_one(tmp_path: Path) -> None:
    group, none = tmp_path / "memory.max", tmp_path / "other"
    group.write_text("1048576\n")
    none.write_text("max\n")
    machine = memory_limit_bytes(())
    assert memory_limit_bytes((str(group), str(none), str(tmp_path / "missing"))) == 1 << 20 < machine
    assert memory_limit_bytes((str(none),)) == machine


def test_a_disk_with_enough_room_is_no_use_and_a_full_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "DISK_ENOUGH", 0)
    assert disk_use(tmp_path) == 0.0
    monkeypatch.setattr(resources, "DISK_ENOUGH", 1 << 62)
    assert 0 < disk_use(tmp_path) < 1
    assert disk_use(tmp_path / "missing") == 0.0


def test_a_loop_that_is_held_is_late() -> None:
    async def go() -> None:
        lag = LoopLag()
        lag.start()
        await asyncio.sleep(0)
        time.sleep(resources.PERIOD_S + 0.2)  # noqa: ASYNC251  # it is to hold the loop beyond its wake
        while not lag.worst_s:
            await asyncio.sleep(0.001)
        assert lag.worst_s > 0.1
        await lag.close()

    asyncio.run(go())
