"""The lock beside a store, and the record in it, against real files and processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onex.adapters import owner_lock
from onex.adapters.owner_lock import IDENTITY_AT, IDENTITY_BYTES, OwnerLock
from onex.adapters.store_limits import JUDGING_BYTES
from onex.ports import STUCK

RECORD_AT = IDENTITY_AT + IDENTITY_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db-owner"


def taken(path: Path) -> OwnerLock:
    lock = OwnerLock(path)
    assert lock.take()
    return lock


def left(path: Path, record: bytes) -> None:
    """An owner that died over ``record``."""
    lock = taken(path)
    lock.write(record)
    lock.free()


def test_a_record_outlives_the_owner_that_wrote_it(path: Path) -> None:
    left(path, b"what it died over")
    assert taken(path).read() == b"what it died over"


@pytest.mark.parametrize("at", [0, 3, 4, 7, 8, 20])
def test_a_record_that_was_written_in_part_reads_as_nothing(path: Path, at: int) -> None:
    left(path, b"what it died over")
    raw = bytearray(path.read_bytes())
    raw[RECORD_AT + at] ^= 0x40
    path.write_bytes(raw)
    assert taken(path).read() == b""


@pytest.mark.parametrize("length", range(RECORD_AT + 24))
def test_a_record_that_was_cut_reads_as_nothing(path: Path, length: int) -> None:
    left(path, b"what it died over")
    path.write_bytes(path.read_bytes()[:length])
    assert taken(path).read() == b""


def test_a_record_that_is_too_long_is_none_and_not_the_one_before(path: Path) -> None:
    left(path, b"short")
    left(path, b"r" * (JUDGING_BYTES + 1))
    assert taken(path).read() == b""


def test_a_lock_that_is_not_held_writes_and_reads_nothing(path: Path) -> None:
    left(path, b"one")
    lock = OwnerLock(path)
    lock.write(b"two")
    assert lock.read() == b""
    assert taken(path).read() == b"one"


def test_where_a_process_was_ended_is_told_once_before_its_record(path: Path) -> None:
    left(path, b"what it died over")
    lock = taken(path)
    crash_file = lock.crash_file()
    assert crash_file is not None
    ours = Path(owner_lock.__file__).parents[1]
    with os.fdopen(crash_file, "wb") as crash:
        crash.write(b"Current thread 0x1 (most recent call first):\n")
        for file, line, function in (
            ("/lib/re.py", 9, "match"), ("/app.py", 7, "look"), (f"{ours}/kernel/machine.py", 1, "delta"), ("/main.py", 3, "main"),
        ):  # fmt: skip
            crash.write(f'  File "{file}", line {line} in {function}\n'.encode())
    lock.free()
    assert taken(path).read() == STUCK + b"/app.py:7 in look, /lib/re.py:9 in match\nwhat it died over"


def test_a_crash_is_told_only_once(path: Path) -> None:
    lock = taken(path)
    crash_file = lock.crash_file()
    assert crash_file is not None
    os.write(crash_file, b"half a line")
    os.close(crash_file)
    assert lock.read() == STUCK + b"?\n"
    assert lock.read() == b""
    lock.free()
    assert lock.crash_file() is None
