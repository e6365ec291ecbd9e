"""What ``onex ls`` tells of reducers that fail: whose last actions were refused for it, how often in a row, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import InvalidKey, ReducerFailed
from ..ports import Reader, Stored
from .console import counted, note

READ = 1000
TOLD = 3


class Failing(NamedTuple):
    """``why`` is the message of the last refusal, '' when it is kept no more."""

    key: WorkflowKey
    times: int
    why: str


async def failing_of(reader: Reader, rows: Sequence[Stored], *, whole: bool) -> list[Failing]:
    """Those of ``rows`` that fail and are not held yet. ``whole``: also those that could not begin, by the newest refusals."""
    refused = [row for row in await reader.rejections(None, None, 0, READ) if row.code == ReducerFailed.code]
    last: dict[str, tuple[int, str]] = {}
    for row in refused:
        times, why = last.get(row.key, (0, row.message))
        last[row.key] = (times + row.times, why)
    found = [
        Failing(row.key, row.failures, last.get(str(row.key), (0, ""))[1])
        for row in rows
        if row.failures and not row.held
    ]
    if not whole:
        return found
    begun = {str(row.key) for row in rows}
    others = {key: WorkflowKey.parse(key) for key in last if key not in begun and _is_key(key)}
    there = await reader.load(list(others.values()))
    found += [Failing(key, *last[text]) for text, key in others.items() if key not in there]
    return found


def tell_failing(failing: Sequence[Failing]) -> None:
    for one in failing[:TOLD]:
        why = f": {one.why}" if one.why else ""
        note(f"{one.key} refused {counted(one.times, 'action')} because its reducer failed{why}")
    if len(failing) > TOLD:
        note(f"and {counted(len(failing) - TOLD, 'more instance')}; onex rejections lists what was refused")


def _is_key(text: str) -> bool:
    """What was refused without a readable key stands under its source."""
    try:
        WorkflowKey.parse(text)
    except InvalidKey:
        return False
    return True
