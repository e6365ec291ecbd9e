"""A power cut loses nothing that was acknowledged. By hand: ``python -m tests.chaos.power --cuts 500``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.power import Cuts, run_cuts, told
from tests.chaos.recorded_disk import Event, NoShim, RecordedDisk


def cut(seed: int, cuts: int, synchronous: str = "full") -> Cuts:
    try:
        return run_cuts(seed, cuts, synchronous)
    except NoShim as error:
        pytest.skip(f"no power cuts here: {error}")


def test_what_was_acknowledged_is_there_after_a_power_cut() -> None:
    done = cut(1, 25)
    assert done.found == {}, "\n".join(told(done))
    assert 0 < done.lost_under_way < done.cuts, "some cuts fall before the commit under way is on the disk, some behind"


def test_a_store_that_does_not_wait_for_the_disk_is_found_out() -> None:
    assert cut(1, 10, "normal").found.keys() == {"lost"}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 14))
def test_many_power_cuts(seed: int) -> None:
    done = cut(seed, 500)
    assert done.found == {}, "\n".join(told(done))


def test_what_was_synced_stays_and_of_the_rest_anything_may_be_left(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    disk, path = RecordedDisk(tmp_path), str(tmp_path / "f")
    disk.events += [Event(path, 0, b"new"), Event(path, synced=True), Event(path, 4, b"x"), Event(path, 0)]
    left = {disk.left_at(4, random.Random(seed))[path] for seed in range(60)}
    assert left == {b"new", b"new\0x", b""}
    assert disk.left_at(2, random.Random(1))[path] == b"new"
