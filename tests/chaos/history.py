"""Linearizability of one instance's history, as its clients saw it.

An action that was applied has a version, and the versions of an instance are 1, 2, 3 ... in the order in which they took
effect. So there is one order to check, and no search: each action must have taken effect at some moment between its call and its
answer, and these moments must rise with the versions. The earliest moment that fits is tried for each in turn. An action
without an answer may have taken effect at any later moment, or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple


class Operation(NamedTuple):
    """``told_s`` is when its client had the answer; ``math.inf`` when it never came. Both by one clock."""

    key: str
    version: int
    begun_s: float
    told_s: float = inf


def not_linearizable(operations: Iterable[Operation]) -> Mapping[str, str]:
    """``{key: what contradicts what}``; empty when every history has an order that fits."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        by_key[one.key].append(one)
    found: dict[str, str] = {}
    for key, history in by_key.items():
        at_s, last = -inf, 0
        for one in sorted(history, key=lambda one: one.version):
            at_s = max(at_s, one.begun_s)
            if at_s > one.told_s:
                found[key] = f"version {one.version} was told before version {last} was asked for"
                break
            last = one.version if at_s == one.begun_s else last
    return found
