"""The forward check: every instance in flight continued, in memory, under the code that runs and under the code that is to run.

Two child processes hold the two codes, each with an app whose effects only count calls (``InertApp``). This process imports
neither; it reads the store, and lets ``forward_walk`` compare what the two answer. In this order:

1. Both codes are loaded. The old one says its statuses and outcomes in plain words.
2. The outbox is read once: which intents and timers are under way, by instance.
3. The instances in flight are read, page by page, and put into classes (``alike_as``). A few instances of every status, ended
   ones too, give their log to ``Known``.
4. One instance of each class is continued, the largest class first, until the budget ends. The others are counted with it.
5. What is left of the budget goes to the last instance of each class, as a proof of *alike*: one that comes out otherwise is
   counted by itself, and its class as uneven.

What may go wrong: the engine goes on meanwhile. An instance whose version has changed is read again, three times; then it is
left out. The budget ends in step 3 or 4: what was not looked at is counted, and the result is not ``ok``. Nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from pydantic import BaseModel

from ..app import App
from ..engine.encode import read_intents
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey
from ..kernel.data_key import EnumUnreadable, unreadable
from ..kernel.errors import OnexError
from ..ports import EnumOutboxState, OutboxRow, Pointer, Stored
from ..simulation.app_sim.values import schema_of, simplest
from ..whatif.forward_known import AlikeAs, CodeWords, Known, alike_as, code_words
from ..whatif.forward_result import EnumForward, ForwardResult, ForwardSummary
from ..whatif.forward_side import Began, Emission, ForwardSide, StepAsked, Stepped
from ..whatif.forward_walk import DEPTH, STEPS, ForwardWalk, WalkResult
from ..wiring.folding import InertApp
from ..wiring.store_access import WatchedReader, open_reader
from .child_process import GONE_S, Child, serve

PAGE: Final = 1000
CLASSES: Final = 20_000
"""Classes of instances that are told apart at most; those of later ones are not looked at."""
SAMPLED: Final = 5
"""Instances of each status whose log is read for answers and actions."""
HISTORY: Final = 2_000
"""Log rows of an instance that are compared with, the newest."""
TRIES: Final = 3
BUDGET_S: Final = 60.0
INSTANCES: Final = 500
GOING: Final = (EnumOutboxState.WAITING, EnumOutboxState.HELD, EnumOutboxState.CANCELLED)

T = TypeVar("T")


class ForwardTask(NamedTuple):
    """``old`` and ``new`` are paths of apps on disk. ``instances``: so many are continued at most, one or two of each class."""

    store_url: str
    old: str
    new: str
    of_type: str | None = None
    budget_s: float = BUDGET_S
    instances: int = INSTANCES
    depth: int = DEPTH
    steps: int = STEPS
    examples: int = 3


class _Loaded(NamedTuple):
    """The first word of a child: its code in plain words."""

    schemas: Mapping[str, int]
    words: Mapping[str, CodeWords]
    digests: Mapping[str, bytes]


def check_forward(task: ForwardTask, went: Callable[[int, int], None] = lambda done, classes: None) -> ForwardResult:
    """``went`` is called with how many of how many classes are done.

    It blocks: a program with a loop calls it in a thread. Raises ContractError, FoldingBroken, DatabaseConnectionError.
    """
    began_s, grace_s = time.monotonic(), 0.0
    sides: list[_RemoteSide] = []
    try:
        sides += [_RemoteSide(task.old), _RemoteSide(task.new)]
        old, new = sides
        result = asyncio.run(_Check(task, old, new, began_s + task.budget_s, went).run())
        fired = sum(side.end() for side in sides)
        grace_s = GONE_S
        return result.model_copy(update={"fired": fired})
    finally:
        for side in sides:
            side.child.close(grace_s)


class _RemoteSide:
    """A ``Side`` in a process of its own."""

    def __init__(self, app: str) -> None:
        self.child = Child(_continue, app)
        self._loaded: _Loaded | None = None

    @property
    def loaded(self) -> _Loaded:
        if self._loaded is None:
            self._loaded = self._heard(_Loaded)
        return self._loaded

    def schemas(self) -> Mapping[str, int]:
        return self.loaded.schemas

    def begin(self, key: WorkflowKey, schema: int, data: bytes) -> Began:
        self.child.line.send(("begin", (key, schema, data)))
        return self._heard(Began)

    def read(self, workflow_type: str, steps: Sequence[tuple[int, bytes]]) -> list[tuple[Emission, ...]]:
        if not steps:
            return []
        self.child.line.send(("read", (workflow_type, steps)))
        found: list[tuple[Emission, ...]] = self._heard(list)
        return found

    def step(self, asked: Sequence[StepAsked]) -> list[Stepped]:
        if not asked:
            return []
        self.child.line.send(("step", (asked,)))
        found: list[Stepped] = self._heard(list)
        return found

    def end(self) -> int:
        """How many effects came to its boundary."""
        self.child.line.send(None)
        return self._heard(int)

    def _heard(self, kind: type[T]) -> T:
        word = self.child.receive()
        assert isinstance(word, kind), f"{kind.__name__} is due, {type(word).__name__} came"
        return word


def _continue(line: Connection, app_path: str) -> None:
    """The life of a child."""

    async def run() -> None:
        inert = InertApp(Path(app_path))
        side = ForwardSide(inert.registry, simplest)
        digests = {name: one.code.digest for name, one in inert.app.workflows.items()}
        line.send(_Loaded(side.schemas(), workflow_words(inert.app, inert.registry), digests))
        answers: Mapping[str, Callable[..., object]] = {"begin": side.begin, "read": side.read, "step": side.step}
        while (order := line.recv()) is not None:
            name, arguments = order
            line.send(answers[name](*arguments))
        line.send(inert.boundary.fired)
        inert.close()

    serve(line, run, "onex forward")


def workflow_words(app: App, registry: ReducerRegistry) -> dict[str, CodeWords]:
    """``[workflow type]``: what the code says of it in plain words."""
    words: dict[str, CodeWords] = {}
    for name, one in app.workflows.items():
        reducer = registry[name].reducer
        outcomes = {spec.name: spec.outcomes for spec in reducer.intents.by_name.values()}
        state_type: type[BaseModel] = reducer.state_type
        state = dict(schema_of(state_type))
        initial = reducer.initial().status
        words[name] = code_words(one.code.state_schema, initial, reducer.terminal, outcomes, state)
    return words


@dataclass(slots=True)
class _Alike:
    """A class of instances: how many, the first of them, and the last. ``found`` is what the first one told."""

    last: WorkflowKey
    instances: int = 0
    first: list[WorkflowKey] = field(default_factory=list)
    found: frozenset[tuple[EnumForward, str]] | None = None


class _Check:
    def __init__(
        self, task: ForwardTask, old: _RemoteSide, new: _RemoteSide, until_s: float, went: Callable[[int, int], None]
    ) -> None:
        self._task, self._old, self._new, self._until_s, self._went = task, old, new, until_s, went
        self._words = old.loaded.words
        self._known = Known(self._words)
        self._classes: dict[AlikeAs, _Alike] = {}
        self._in_flight = self._classed = self._unreadable = self._other_code = 0
        self._reasons: dict[str, int] = {}

    async def run(self) -> ForwardResult:
        reader = await open_reader(self._task.store_url)
        try:
            await self._classify(reader)
            return await self._continue(reader)
        finally:
            await reader.close()

    def _is_over(self) -> bool:
        return time.monotonic() > self._until_s

    # --- which instances stand alike ------------------------------------------------------------------------------------

    async def _classify(self, reader: WatchedReader) -> None:
        under_way = await _under_way(reader)
        codes = {number: code.digest for number, code in (await reader.codes()).items()}
        for (own, status), count in sorted((await reader.counts()).by_status.items()):
            if self._task.of_type not in (None, own):
                continue
            words = self._words.get(own)
            ended = words is not None and status in words.terminal
            self._in_flight += 0 if ended else count
            after: WorkflowKey | None = None
            seen = 0
            while not self._is_over():
                rows = await reader.instances(own, status, after, SAMPLED if ended else PAGE)
                for stored in rows[: max(0, SAMPLED - seen)]:
                    self._known.learn(await reader.history(stored.key, 0, PAGE))
                seen += len(rows)
                for stored in () if ended else rows:
                    if unreadable(stored.state) is EnumUnreadable.ERASED:
                        self._in_flight -= 1  # it accepts nothing
                        continue
                    digest = self._old.loaded.digests.get(own)
                    self._other_code += codes.get(stored.code_id) != digest
                    self._class(stored, under_way.get(stored.key, ()), words)
                if ended or len(rows) < PAGE:
                    break
                after = rows[-1].key

    def _class(self, stored: Stored, under_way: Sequence[str], words: CodeWords | None) -> None:
        alike = alike_as(stored, under_way, words)
        if alike not in self._classes and len(self._classes) >= CLASSES:
            return
        self._classed += 1
        one = self._classes.setdefault(alike, _Alike(stored.key))
        one.instances += 1
        one.last = stored.key
        if len(one.first) < self._task.examples:
            one.first.append(stored.key)

    # --- one of each class ------------------------------------------------------------------------------------------------

    async def _continue(self, reader: WatchedReader) -> ForwardResult:
        walk = ForwardWalk(self._old, self._new, self._known)
        summary = ForwardSummary(self._task.examples)
        looked_at = alike = steps = cut = uneven = 0
        ranked = sorted(self._classes.values(), key=lambda one: (-one.instances, one.first[0]))
        several = [one for one in ranked if one.instances > 1]
        for number, one in enumerate([*ranked, *several]):
            if self._is_over() or number >= self._task.instances:
                break
            second = number >= len(ranked)
            if second and one.found is None:
                continue
            walked = await self._walk(reader, walk, one.last if second else one.first[0])
            self._went(number + 1, len(ranked) + len(several))
            if walked is None:
                continue
            status, result = walked
            if result.unreadable:
                if not second:
                    self._unreadable += one.instances
                    self._reasons[result.unreadable] = self._reasons.get(result.unreadable, 0) + one.instances
                continue
            looked_at += 1
            steps += result.steps
            cut += result.cut
            found = frozenset((each.what, each.name) for each in result.found)
            if one.found is None:
                alike += one.instances - 1
                one.found = found
                summary.add(one.first[0], status, result.found, one.instances, one.first)
                continue
            alike -= 1
            uneven += found != one.found
            own = [each for each in result.found if (each.what, each.name) not in one.found]
            summary.add(one.last, status, own, 1, ())
        done = looked_at + alike + self._unreadable
        instances = max(self._in_flight, done)
        return ForwardResult(
            instances=instances,
            looked_at=looked_at,
            alike=alike,
            not_looked_at=instances - done,
            unreadable=self._unreadable,
            cut=cut,
            other_code=self._other_code,
            uneven=uneven,
            steps=steps,
            findings=summary.findings,
            reasons=tuple(f"{why} ({count:,})" for why, count in sorted(self._reasons.items())),
            **summary.totals,
        )

    async def _walk(self, reader: WatchedReader, walk: ForwardWalk, key: WorkflowKey) -> tuple[str, WalkResult] | None:
        """The status it stands in and what was found; None: it has ended meanwhile, or never stood still."""
        for _ in range(TRIES):
            stored = (await reader.load([key])).get(key)
            if stored is None or stored.terminal:
                return None
            rows = await reader.history(key, max(0, stored.version - HISTORY), HISTORY)
            outbox = await _outbox_of(reader, key)
            again = (await reader.load([key])).get(key)
            if again is not None and again.version == stored.version:
                now_us = time.time_ns() // 1000
                task = self._task
                return stored.status, walk.instance(stored, rows, outbox, now_us, depth=task.depth, steps=task.steps)
        return None


async def _outbox_of(reader: WatchedReader, key: WorkflowKey) -> list[OutboxRow]:
    found: list[OutboxRow] = []
    while rows := await reader.outbox(GOING, key, found[-1].pointer if found else None, PAGE):
        found += rows
        if len(rows) < PAGE:
            break
    return found


async def _under_way(reader: WatchedReader) -> dict[WorkflowKey, tuple[str, ...]]:
    """Names of what is under way, by instance."""
    names: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal ones are kept once
    found: dict[WorkflowKey, tuple[str, ...]] = {}
    after: Pointer | None = None
    while rows := await reader.outbox(GOING, None, after, PAGE):
        for row in rows:
            whole = (*found.get(row.key, ()), _name_of(row))
            found[row.key] = names.setdefault(whole, whole)
        after = rows[-1].pointer
        if len(rows) < PAGE:
            break
    return found


def _name_of(row: OutboxRow) -> str:
    if row.timer:
        return f"timer {row.timer}"
    try:
        name = str(read_intents(row.intents)[row.pointer.ordinal]["name"])
    except (OnexError, LookupError):
        name = "?"
    return name if row.state is EnumOutboxState.WAITING else f"{name} {row.state}"
