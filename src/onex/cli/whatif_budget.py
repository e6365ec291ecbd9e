"""Budget of a what-if: how many instances may differ before the command fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..whatif.result import WhatIfTotals
from .exit_codes import Misused

NAMES: Final = {"differs": "differs", "open": "opened", "refused": "refused", "stranded": "stranded"}
"""name in a budget -> attribute of the totals"""
_LINE = re.compile(r"([a-z]+)=(\d+(?:\.\d+)?)(%?)")


class DifferenceBudget(NamedTuple):
    """At most ``most`` instances, or ``most`` percent of those compared."""

    name: str
    most: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.name}={self.most:g}{'%' if self.percent else ''}"


def parse_budgets(text: str) -> tuple[DifferenceBudget, ...]:
    """``differs=0,open=5%``. Raises Misused; an empty budget, which nothing could exceed, is refused too."""
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(part: str) -> DifferenceBudget:
    found = _LINE.fullmatch(part)
    if found is None or found[1] not in NAMES or (not found[3] and "." in found[2]):
        raise Misused(
            f"--budget {part!r} is not valid; write NAME=MOST, a number of instances or a percentage of them, with NAME one of "
            f"{', '.join(NAMES)}: for example differs=0,open=5%"
        )
    return DifferenceBudget(found[1], float(found[2]), bool(found[3]))


def over(budgets: Sequence[DifferenceBudget], totals: WhatIfTotals) -> list[str]:
    """The budgets that are exceeded, each as a sentence."""
    exceeded = []
    for one in budgets:
        count: int = getattr(totals, NAMES[one.name])
        share = 100 * count / totals.instances if totals.instances else 0.0
        if (share if one.percent else count) > one.most:
            exceeded.append(f"{one} but {count:,} of {totals.instances:,} ({share:.1f}%)")
    return exceeded
