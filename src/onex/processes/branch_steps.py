"""The branch of one instance under other code, step by step, for a screen that shows it beside the record.

A what-if has found that nothing differs before version ``first``. So, in this order:

1. The instance is folded as recorded up to ``first``. A long one begins at a kept state, as a fork does (``fork.py``).
2. From there each recorded action is given to the branch. Steps from ``begin`` on are told, with the state after each.
3. The first action that may not be given opens the branch: nothing behind it is folded, for no answers exist there.

What messages do is known to the what-if alone, for it has folded the other instances. So the caller says in ``last`` where the
what-if found the branch open. Nothing is fired, and nothing is written.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ..engine.encode import encode
from ..engine.refold import Recorded, Refold
from ..kernel.action import WorkflowKey
from ..whatif.branch import Blocked
from ..whatif.value_diff import RecordedIntent
from .fork import ForkedStep, branch_before, fold_step
from .moments import SLICE, Moments


class AskBranch(NamedTuple):
    """Steps ``begin`` to ``last`` of a branch that is as recorded before ``first``, which is at most ``begin``."""

    key: WorkflowKey
    first: int
    begin: int
    last: int


class BranchStep(NamedTuple):
    """One action in the branch, what it emits there, and the state after it."""

    step: ForkedStep
    emitted: tuple[RecordedIntent, ...]
    state: bytes


class BranchSteps(NamedTuple):
    """``before`` is the branch's state before the first step. ``opened``: the version that it cannot be given; 0 for none."""

    before: bytes
    steps: tuple[BranchStep, ...]
    opened: int
    trigger: str
    why: str
    effects_fired: int = 0


async def branch_steps(reader: Recorded, moments: Moments, refold: Refold, asked: AskBranch) -> BranchSteps:
    """Raises NotFound for versions that the log does not have, InvalidPayload where it differs before ``first``."""
    branch = await branch_before(reader, moments, refold, asked.key, asked.first)
    before, told, last = encode(branch.state), list[BranchStep](), asked.first - 1
    while last < asked.last:
        rows = [one for one in await reader.history(asked.key, last, SLICE) if one.version <= asked.last]
        if not rows:
            break
        for entry in rows:
            try:
                step, emitted = fold_step(branch, entry, entry.row)
            except Blocked as blocked:
                return BranchSteps(before, tuple(told), entry.version, entry.row.kind, blocked.why)
            last = entry.version
            if last < asked.begin - 1:
                continue
            state = encode(branch.state)
            if last < asked.begin:
                before = state
            else:
                told.append(BranchStep(step, tuple(emitted), state))
        await asyncio.sleep(0)
    return BranchSteps(before, tuple(told), 0, "", "")
