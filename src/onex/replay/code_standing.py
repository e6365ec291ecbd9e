"""Code standing: which codes a store's instances stand on, and what still holds an old one.

An instance stands on the code that made its last action, and goes on under the code that its engine has. The *current* code of a
workflow is the one that was used last; of several that run side by side each is shown with its own last use. An older one is
held by the instances that stand on it and have not ended: for each status it says which waits longest, and for what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ..code_use import CodeUse, CodeUses
from ..engine.encode import read_intents
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..ports import Code, EnumOutboxState, Env, OutboxRow, Position, Reader, Stored

WAITS: int = 20
EVERY = tuple(EnumOutboxState)


class StandingReader(Reader, CodeUses, Protocol):
    """What is asked of a store; any store answers it."""


class Holding(NamedTuple):
    """Instances in one status that have not ended. ``oldest`` was changed longest ago, at ``since_us``, and waits for these."""

    status: str
    held: bool
    instances: int
    oldest: WorkflowKey
    since_us: int
    waits_for: tuple[str, ...]


class CodeStanding(NamedTuple):
    """One code. ``ended`` and ``in_flight`` count instances, of which ``held`` wait for a release. ``last_us`` is 0 where none
    stands on it: it is in the log only, or has not been used yet. ``revisions`` are those of git that ran it, as far as the rows
    that were looked at name one.
    """

    code: Code
    code_id: int
    current: bool
    in_flight: int
    held: int
    ended: int
    last_us: int
    revisions: tuple[str, ...]
    holds: tuple[Holding, ...]


async def code_standing(reader: StandingReader, workflow_type: str | None = None) -> tuple[CodeStanding, ...]:
    """By workflow type; of each the code that was used last comes first."""
    codes = {
        number: code for number, code in (await reader.codes()).items() if workflow_type in (None, code.workflow_type)
    }
    uses = [use for use in await reader.code_uses() if use.code_id in codes]
    first = await reader.load([use.first for use in uses])
    envs = await reader.envs()
    last: dict[int, int] = dict.fromkeys(codes, 0)
    for use in uses:
        last[use.code_id] = max(last[use.code_id], use.last_us)
    order = sorted(codes, key=lambda number: (codes[number].workflow_type, -last[number], -number))
    found: list[CodeStanding] = []
    for number in order:
        own = [use for use in uses if use.code_id == number]
        current = all(one.code.workflow_type != codes[number].workflow_type for one in found)
        found.append(
            CodeStanding(
                codes[number],
                number,
                current,
                sum(use.instances for use in own if not use.terminal),
                sum(use.instances for use in own if use.held),
                sum(use.instances for use in own if use.terminal),
                last[number],
                await _revisions(reader, own, first, envs),
                tuple([await _holding(reader, use, first) for use in own if not use.terminal]),
            )
        )
    return tuple(found)


async def _revisions(
    reader: StandingReader, uses: Sequence[CodeUse], first: Mapping[WorkflowKey, Stored], envs: Mapping[int, Env]
) -> tuple[str, ...]:
    """What the last rows of these instances say."""
    named: dict[str, None] = {}
    for use in uses:
        stored = first.get(use.first)
        if stored is None or stored.code_id != use.code_id:
            continue  # it has moved on meanwhile
        shard, n = stored.position
        for entry in await reader.log(Position(shard, n - 1), 1):
            env = envs.get(entry.env_id)
            if entry.code_id == use.code_id and env is not None and env.git_revision:
                named[env.git_revision] = None
    return tuple(named)


async def _holding(reader: StandingReader, use: CodeUse, first: Mapping[WorkflowKey, Stored]) -> Holding:
    rows = await reader.outbox(EVERY, use.first, None, WAITS)
    waits = list(dict.fromkeys(_waits_for(row) for row in rows))
    stored = first.get(use.first)
    if use.held and stored is not None and stored.held:
        waits.insert(0, f"a release: {stored.held}")
    waits = waits or ["an action from outside"]
    return Holding(use.status, use.held, use.instances, use.first, use.first_us, tuple(waits))


def _waits_for(row: OutboxRow) -> str:
    if row.timer:
        name = f"timer {row.timer}"
    else:
        try:
            name = str(read_intents(row.intents)[row.pointer.ordinal]["name"])
        except (OnexError, LookupError):
            name = "an intent that cannot be read"
    return name if row.state is EnumOutboxState.WAITING else f"{name} ({row.state})"
