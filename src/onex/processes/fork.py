"""A fork: one recorded action is given otherwise, and what would have followed is folded, until nobody can know it.

The code is that of the app; only the action changes. In order:

1. The instance is folded as recorded up to the action before, and the branch learns which intents and timers are under way
   (``whatif.branch``). A long instance begins at a kept state; what was under way there is then taken as agreed.
2. The edited action is folded. It may have another trigger and another payload; id, time, issuer and cause stay.
3. Each later recorded action is given to the branch, as long as it may be (promise 36): an outcome only where the branch asked the
   same, a timer only where it is set for the same time. The first one that may not be given opens the branch, and the reason is
   told. An action that the branch refuses is told, and folding goes on.

Nothing is fired, and nothing is written. At most STEPS steps are told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..engine.encode import check_json, encode, json_bytes
from ..engine.refold import Recorded, Refold
from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidPayload, NotFound, OnexError
from ..ports import LogEntry, LogRow
from ..whatif.branch import Blocked, InstanceBranch
from ..whatif.value_diff import RecordedIntent, recorded_intents
from .moments import SLICE, Moments

STEPS: Final = 1000
FROM_START: Final = 5000
"""Up to so many versions the fork folds from the first one, and knows all that is under way."""


class ForkedStep(NamedTuple):
    """One action in the branch. ``refused`` is the code of the refusal, '' for none; ``intents`` are the branch's own."""

    version: int
    trigger: str
    status: str
    recorded_status: str
    intents: tuple[str, ...]
    recorded_intents: tuple[str, ...]
    refused: str
    why: str


class Fork(NamedTuple):
    """``opened`` is the version that the branch cannot be given, 0 when it was given all; ``why`` says the reason.

    ``state`` is the branch's last one, ``recorded`` the recorded one after the same action, b'' where that is not known. ``more``:
    steps that were folded and are not listed.
    """

    steps: tuple[ForkedStep, ...]
    more: int
    opened: int
    trigger: str
    why: str
    state: bytes
    last: int
    recorded: bytes


async def forked(
    reader: Recorded,
    moments: Moments,
    refold: Refold,
    key: WorkflowKey,
    version: int,
    trigger: str | None,
    payload: Mapping[str, object] | None,
) -> Fork:
    """Raises NotFound for a version that the log does not have, InvalidPayload."""
    branch = await branch_before(reader, moments, refold, key, version)
    steps: list[ForkedStep] = []
    folded, opened, opened_by, why, last = 0, 0, "", "", version - 1
    while not opened:
        rows = await reader.history(key, last, SLICE)
        if not rows:
            break
        for entry in rows:
            row = edited(entry.row, trigger, payload) if entry.version == version else entry.row
            try:
                step, _ = fold_step(branch, entry, row, edited_here=entry.version == version)
            except Blocked as blocked:
                opened, opened_by, why = entry.version, row.kind, blocked.why.replace("the other code", "the fork")
                break
            last = entry.version
            folded += 1
            if len(steps) < STEPS:
                steps.append(step)
        await asyncio.sleep(0)
    if not folded and not opened:
        raise NotFound(f"{key} has no version {version} in this log")
    recorded = (await moments.at(key, last, lambda rows: None)).state if last >= version else b""
    return Fork(tuple(steps), folded - len(steps), opened, opened_by, why, encode(branch.state), last, recorded)


async def branch_before(
    reader: Recorded, moments: Moments, refold: Refold, key: WorkflowKey, version: int
) -> InstanceBranch:
    """The branch as recorded up to ``version`` - 1."""
    if version - 1 <= FROM_START and (first := await reader.history(key, 0, 1)) and first[0].version == 1:
        branch, last = InstanceBranch(key, refold, refold.begin(None), begun=False), 0
    else:
        base = await moments.base(key, version - 1)
        branch, last = InstanceBranch(key, refold, refold.begin(base), begun=True), base.version
    while last < version - 1:
        rows = [one for one in await reader.history(key, last, SLICE) if one.version < version]
        if not rows:
            raise NotFound(f"{key} has no version {version} in this log")
        for entry in rows:
            try:
                fold_step(branch, entry, entry.row)
            except Blocked as blocked:
                raise InvalidPayload(
                    f"this code does not come to version {version} as recorded: at version {entry.version}, {blocked.why}"
                ) from blocked
        last = rows[-1].version
        await asyncio.sleep(0)
    return branch


def edited(row: LogRow, trigger: str | None, payload: Mapping[str, object] | None) -> LogRow:
    """The row with another trigger or payload. A payload is JSON of an object, bounded as a client's is. Raises InvalidPayload."""
    if payload is not None:
        data = json_bytes(dict(payload))  # type: ignore[arg-type]  # plain JSON from a request
        check_json(data)
        row = row._replace(payload=data)
    return row if trigger is None else row._replace(kind=trigger)


def fold_step(
    branch: InstanceBranch, entry: LogEntry, row: LogRow, *, edited_here: bool = False
) -> tuple[ForkedStep, list[RecordedIntent]]:
    """The step, and what it emits in the branch. Raises Blocked."""
    origin = branch.origin(row)
    kind = row.kind if edited_here else branch.kind_for(row, origin)
    recorded = recorded_intents(entry.row.intents)
    emitted: list[RecordedIntent] = []
    refused, why = "", ""
    try:
        emitted = branch.step(row, kind, origin)
    except OnexError as error:
        refused, why = error.code, error.message
    branch.take(row, origin, recorded, emitted)
    step = ForkedStep(
        entry.version, kind, branch.state.status, branch.status(entry.row), tuple(one.shown for one in emitted),
        tuple(one.shown for one in recorded), refused, why,
    )  # fmt: skip
    return step, emitted
