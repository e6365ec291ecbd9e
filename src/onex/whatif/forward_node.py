"""Forward node: where one instance stands under both codes, and what is under way on each side.

An intent is named on both sides alike (``OpenId``): by the action that emitted it, and the name that the new code has for it.
What is under way changes as in an engine: an outcome settles its intent, a timer set again replaces, a cancelled intent is gone,
and nothing waits in an instance that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from ..kernel.action import WorkflowKey
from ..kernel.intent import EnumIntentType, intent_id
from .branch import Movers
from .forward_side import Emission, Stepped

TIMER = EnumIntentType.TIMER


class OpenId(NamedTuple):
    """What is under way, by the same name on both sides: the action that emitted it, the new code's name, the number."""

    cause: bytes
    name: str
    n: int


class UnderWay(NamedTuple):
    """``name`` as the side itself calls it. ``emitted_as``, ``schema`` and ``number`` are what its id is made of. ``due_us`` is
    of a timer. ``held`` is a stored result that waits: its trigger, payload and schema."""

    name: str
    emitted_as: str
    schema: int
    number: int
    timer: bool
    outcomes: tuple[str, ...]
    due_us: int = 0
    held: tuple[str, bytes, int] | None = None


@dataclass(frozen=True, slots=True)
class Stands:
    """One side of a node."""

    state: bytes
    movers: Movers
    open: Mapping[OpenId, UnderWay]

    @property
    def names(self) -> set[str]:
        return {one.name for one in self.open.values()}


@dataclass(frozen=True, slots=True)
class Node:
    """``more[said]``: how often the new code emitted it more than the old one; negative: less. ``lasts`` is where each came.
    ``by_old``: what the old code emitted on this path. ``trail``: the nodes that it went through."""

    old: Stands
    new: Stands
    at_us: int
    path: tuple[str, ...] = ()
    more: Mapping[bytes, int] = field(default_factory=dict)
    lasts: Mapping[bytes, tuple[str, ...]] = field(default_factory=dict)
    by_old: frozenset[bytes] = frozenset()
    trail: frozenset[object] = frozenset()

    @property
    def met(self) -> tuple[object, ...]:
        sides = ((one.state, frozenset(one.open)) for one in (self.old, self.new))
        return (*sides, frozenset(self.more.items()))


def taken(
    key: WorkflowKey,
    stands: Stands,
    name: OpenId | None,
    step: Stepped | None,
    action_id: bytes,
    emitted: Sequence[Emission],
    schema: int,
) -> Stands:
    """One side after a step. None: the event was not given to it."""
    if step is None:
        return stands
    under_way = dict(stands.open)
    if name is not None:
        under_way.pop(name, None)
    for own, one in zip(step.emitted, emitted, strict=False):
        if own.cancels:
            for each in [
                each for each, what in under_way.items() if own.cancels in (what.name, _id_of(key, each, what))
            ]:
                del under_way[each]
        elif own.kind == TIMER:
            under_way[OpenId(b"", one.name, 0)] = UnderWay(own.name, own.name, schema, 0, True, (), own.due_us)
        elif own.outcomes:
            under_way[OpenId(action_id, one.name, one.n)] = UnderWay(
                own.name, own.name, schema, own.n, False, own.outcomes
            )
    if step.movers.terminal:
        under_way.clear()
    return replace(stands, state=step.state, movers=step.movers, open=under_way)


def _id_of(key: WorkflowKey, name: OpenId, one: UnderWay) -> str:
    return str(intent_id(UUID(bytes=name.cause), key, one.emitted_as, one.number)) if name.cause else ""
