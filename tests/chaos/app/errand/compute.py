"""Pure work for a worker process, long enough that one can be killed in the middle."""

from __future__ import annotations

from onex import compute

from .payloads import Numbers, Sum


@compute("add_up")
def add_up(task: Numbers) -> Sum:
    total = sum(task.numbers)
    for _ in range(200):
        total = sum(task.numbers) + 0 * total
    return Sum(total=total)
