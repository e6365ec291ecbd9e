"""A plan that can be carried out: tasks in their order, what each waits for, and how its payloads are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from ..contracts.model.orchestration import EnumTaskFailure
from ..contracts.orchestration.expansion import task_of
from ..kernel.machine import Guard
from .given import Names, PayloadOf
from .progress import Ended, Gathered


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """``intent`` is its name in the contract."""

    intent: str
    payload: PayloadOf


@dataclass(frozen=True, slots=True)
class CompiledMap:
    """Items from the list at ``over``, or as many as ``count`` says; at most ``at_most``, and ``concurrency`` of them at once.

    ``fold(total, result)`` takes each result as it comes, and begins with ``total()``.
    """

    gathered: type[Gathered]
    over: Names = ()
    count: int | Names = 0
    at_most: int | None = None
    concurrency: int = 1
    failures: int = 0
    collects: bool = False
    fold: Callable[[BaseModel, BaseModel], BaseModel] | None = None
    total: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class CompiledTask:
    """``call`` is None where the task waits: for ``until`` a time, for ``after_us`` from its beginning, or for somebody.

    ``has_result``: a field of the state holds what it gave. ``begins_child``: its call begins a child; with ``items`` one for each.
    """

    id: str
    needs: tuple[str, ...] = ()
    when: Guard | None = None
    on_failure: EnumTaskFailure = EnumTaskFailure.ABORT
    call: CompiledCall | None = None
    undo: CompiledCall | None = None
    after_us: int | None = None
    until: Names = ()
    is_wait: bool = False
    has_result: bool = False
    begins_child: bool = False
    items: CompiledMap | None = None


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """``signals[trigger] -> task``. ``ended`` is the class in which it tells a parent how it ended, with what stands at ``output``,
    by one of the messages ``replies``.
    """

    tasks: Mapping[str, CompiledTask]
    concurrency: int
    deadline_us: int | None = None
    signals: Mapping[str, str] = field(default_factory=dict)
    output: Names = ()
    ended: type[Ended] = Ended
    replies: frozenset[str] = frozenset()

    def of_intent(self, name: str) -> CompiledTask:
        return self.tasks[task_of(name)]
