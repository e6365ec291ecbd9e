"""Work spread over cores gives what one process gives, in the same order, whatever becomes of the others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from onex.doctor.parallel import BATCH, MANY, spread

HERE = os.getpid()  # forked processes have it from the one that imported this
SCRIPT = """
import os, threading
from onex.doctor import parallel as room
from tests.doctor.test_parallel import {work}
os.sched_getaffinity = lambda pid: {{0, 1, 2}}
found = list(room.spread({work}, range({count})))
assert [number for number, _ in found] == list(range({count})), found
assert threading.active_count() == 1, "the next one would not fork, and the end of the interpreter would race with it"
print(len({{pid for _, pid in found}} - {{os.getpid()}}))
"""


def numbers(things: Sequence[int]) -> list[tuple[int, int]]:
    return [(number, os.getpid()) for number in things]


def dying(things: Sequence[int]) -> list[tuple[int, int]]:
    """One process that is not the first dies of a batch in the middle."""
    if MANY // 2 in things and os.getpid() != HERE:
        os._exit(9)
    return numbers(things)


def others(work: str, count: int) -> int:
    """How many processes beside the first did anything; in an interpreter without threads."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(work=work, count=count)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_few_things_are_done_here() -> None:
    assert {pid for _, pid in spread(numbers, range(MANY - 1))} == {HERE}


def test_many_things_are_done_by_several_processes_in_order() -> None:
    assert 1 <= others("numbers", MANY) <= 3
    assert 1 <= others("numbers", 10 * BATCH + 1) <= 3


def test_what_a_process_died_of_is_done_here() -> None:
    assert others("dying", MANY) <= 3


def test_beside_a_thread_nothing_is_forked() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert {pid for _, pid in spread(numbers, range(MANY))} == {HERE}
    finally:
        stop.set()
        thread.join()


def test_nothing_is_nothing() -> None:
    assert list(spread(numbers, [])) == []
