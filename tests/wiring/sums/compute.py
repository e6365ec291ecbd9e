"""Adds up, and says which process did."""

from __future__ import annotations

import os

from onex import compute

from .payloads import Numbers, Total


@compute("add_up")
def add_up(task: Numbers) -> Total:
    return Total(total=sum(task.numbers), worker=os.getpid())
