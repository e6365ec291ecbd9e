"""Which code the instances of a store stand on: the values, and what is asked of a store for them.

An instance stands on the code that made its last action. It is counted where it stands; nothing is kept for the count, so no
commit pays for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .kernel.action import WorkflowKey


class CodeUse(NamedTuple):
    """Instances that stand alike on one code. ``held``: each waits for a release or for other code.

    ``first`` is the one that was changed longest ago, at ``first_us``; of equal ones the oldest. ``last_us``: the newest change.
    """

    code_id: int
    status: str
    terminal: bool
    held: bool
    instances: int
    first: WorkflowKey
    first_us: int
    last_us: int


class CodeUses(Protocol):
    """Any process may ask."""

    async def code_uses(self) -> Sequence[CodeUse]:
        """Of all instances, in the order of code, status, whether they have ended and whether they are held.

        One aggregate over the instances; no row of the log is read.
        """
