"""What must hold, whatever happened: checked at each commit where that is cheap, and over everything at the end.

Theory of operation
    The store calls ``committed`` at the instant at which a commit is applied, before the engine is told. So this checker knows
    what is durable, independently of what an engine believes: the log so far, versions, fences, intents, settled rows.
    While the run goes on it checks each commit (fence, batch size, positions, base version, lease, times, projections, what is
    cancelled), each attempt at an effect (``effect_attempts``), and each answer: what a client is told must be in the log.
    At the end (``check_end``) nothing is due any more, and the store is read again, through a handle that never fails:
    1. The log is what was committed, in that order; projection and followers have reached its end.
    2. Every row that the engine caused follows from an intent; its outcome agrees with what was done outside.
    3. Timers fired once, in time, and not after they were replaced or cancelled.
    4. Every answer and refusal that a client got is still true. Bytes that a row names are there.
    5. Everything folds again to the same bytes (``Replay``), and no intent is lost or stray (``audit``).
    A violation is a sentence. It does not stop the checks: one bug often breaks several promises, and all are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol
from uuid import UUID

import orjson
from blake3 import blake3

from ..engine.encode import named_blobs
from ..engine.pending import Committed
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.takeover import CRASHES_ALONE
from ..kernel.action import OutcomeOf, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.intent import EnumIntentType, EnumOutcome, IntentSpec, intent_id, outcome_id, sent_id
from ..kernel.step import ROLLBACK
from ..ports import (
    Applied,
    Commit,
    Conflict,
    EnumOutboxState,
    KeyChange,
    LogEntry,
    Pointer,
    Position,
    ProjectionRow,
)
from ..replay.audit import INSIDE, SeenEffect, audit
from ..replay.replay import Replay
from .cancelling_checks import CancellingChecks
from .running_checks import OperatorChecks, ProjectionChecks, TimeChecks, numbered, placed
from .sim_store import SimStore

PAGE = 1000
ENGINE_TIME_OUT = b"no answer within"  # stands in the outcome of an effect that the engine itself gave up


class OutsideRecord(Protocol):
    """What the outside world saw."""

    @property
    def done(self) -> Collection[SeenEffect]:
        """The intents whose effect was done."""

    @property
    def own_timeouts(self) -> Collection[SeenEffect]:
        """The intents whose last attempt raised a TimeoutError itself, within the time it had."""


@dataclass(frozen=True, slots=True)
class ExpectedAction:
    """What an intent of the log leads to: an action with a known id, at instance ``at``."""

    what: SeenEffect
    spec: IntentSpec | None
    at: WorkflowKey
    due_us: int
    version: int
    intent_id: UUID

    def says(self, kind: str) -> bool | None:
        """Whether an action of this ``kind`` says that the effect was done (True) or surely not done. None: neither."""
        spec = self.spec
        if spec is None or list(spec.outcomes.values()).count(kind) != 1:
            return None
        return {spec.outcomes[EnumOutcome.SUCCEEDED]: True, spec.outcomes[EnumOutcome.FAILED]: False}.get(kind)


class InvariantChecker:
    """Is told of every commit, answer and refusal. ``violations`` says what was broken, each thing once."""

    def __init__(self, batch: int) -> None:
        self.violations: list[str] = []
        self.acked: dict[tuple[WorkflowKey, UUID], Committed] = {}
        self.refused: list[tuple[WorkflowKey, UUID, OnexError]] = []
        self.check_lease: Callable[[KeyChange, int], None] = lambda change, at_us: None
        """A change that was applied, and when: whoever grants leases checks it."""
        self.projection = ProjectionChecks(self.violated)
        self.times = TimeChecks(self.violated)
        self.operator = OperatorChecks(self.violated)
        self.cancelling = CancellingChecks(self.violated, self.times)
        self.while_reading: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered while this checker runs validators of the app: here they must not misbehave as they do for the engine."""
        self._batch = batch
        self._outside: OutsideRecord | None = None
        self._registry = ReducerRegistry()
        self._older: Sequence[Workflow] = ()
        self._rows: list[tuple[WorkflowKey, int, bytes]] = []
        self._versions: dict[WorkflowKey, int] = defaultdict(int)
        self._fence = 0
        self._intents: dict[SeenEffect, str] = {}
        self._rows_of: dict[Pointer, SeenEffect] = {}
        self._states: dict[tuple[WorkflowKey, int], bytes] = {}
        self._ended: set[SeenEffect] = set()

    def set_up(self, outside: OutsideRecord, registry: ReducerRegistry, older: Sequence[Workflow] = ()) -> None:
        """Call it before anything runs. ``registry`` is the code that makes the log, ``older`` are its earlier releases."""
        self._outside, self._registry, self._older = outside, registry, older

    def _spec(self, key: WorkflowKey, name: str) -> IntentSpec | None:
        return self._registry[key.workflow_type].reducer.intents.by_name.get(name)

    def violated(self, text: str) -> None:
        if text not in self.violations:
            self.violations.append(text)

    def require(self, fact: bool, text: str) -> None:
        if not fact:
            self.violated(text)

    # --- while it runs ------------------------------------------------------------------------------------------------

    def committed(self, commit: Commit, answers: Sequence[Applied | Conflict]) -> None:
        fence = commit.fences[0]
        self.require(fence >= self._fence, f"a commit came under fence {fence} after one under {self._fence}")
        self._fence = max(fence, self._fence)
        rows = sum(len(change.rows) for change in commit.changes)
        self.require(rows <= self._batch, f"a batch holds {rows} actions; its limit is {self._batch}")
        self.require(len(answers) == len(commit.changes), "not every change was answered")
        self._settle(commit.settled)
        self.cancelling.beside(commit.notes, commit.settled)
        applied = [
            (change, one) for change, one in zip(commit.changes, answers, strict=False) if isinstance(one, Applied)
        ]
        self.operator.committed(commit, [change for change, _ in applied])
        for change, answer in applied:
            self._settle(change.settled)
            key, before = change.key, len(self._rows)
            if change.rows:
                self.require(
                    answer.first == Position(0, before + 1), f"{key} got {answer.first} after {before} actions"
                )
            self.require(
                self._versions[key] == change.based_on,
                f"{key} was folded on version {change.based_on} and stood at {self._versions[key]}",
            )
            self.check_lease(change, commit.at_us)
            self.projection.committed(change)
            self.times.committed(change, commit.at_us)
            self.cancelling.committed(change, before + 1, fence, self._spec)
            if change.rows:
                self._states[key, change.based_on + len(change.rows)] = change.state
            for row in change.rows:
                if row.kind == ROLLBACK:
                    self._check_rollback(key, row.payload)
                self._versions[key] += 1
                self._rows.append((key, self._versions[key], row.action_id))
                for ordinal, item, n in placed(row):
                    what = SeenEffect(str(key), self._versions[key], item["name"], n)
                    self._intents[what] = orjson.dumps(item["payload"]).decode()
                    self._rows_of[Pointer(0, len(self._rows), ordinal)] = what
                    is_timer = (spec := self._spec(key, item["name"])) is not None and spec.kind == EnumIntentType.TIMER
                    self.times.emitted(key, row.action_id, what, item.get("due_us", 0), timer=is_timer)

    def _check_rollback(self, key: WorkflowKey, payload: bytes) -> None:
        """The state that comes back is the one that stood at that version, as far as a commit showed it."""
        back = orjson.loads(payload)
        stood = self._states.get((key, back["to_version"]))
        self.require(
            stood is None or orjson.loads(stood) == back["state"],
            f"{key} went back to version {back['to_version']}, but not to the state that stood there",
        )

    @property
    def applied(self) -> int:
        """Actions that were applied, of all instances."""
        return len(self._rows)

    def projected(self, name: str, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> None:
        self.projection.moved(name, from_n, to_n, rows)

    def _settle(self, pointers: Sequence[Pointer]) -> None:
        self._ended.update(self._rows_of[pointer] for pointer in pointers if pointer in self._rows_of)

    def has_ended(self, what: SeenEffect) -> bool:
        """Whether a commit has settled this intent, or a step under an earlier owner cancelled it: the owner must not begin it."""
        return what in self._ended or self.cancelling.was_cancelled_before(what, self._fence)

    def runs_alone(self, what: SeenEffect) -> bool:
        """Whether it was running at so many crashes that it must run alone now."""
        crashed = (row for row, crashes in self.operator.crashes.items() if crashes >= CRASHES_ALONE)
        return any(self._rows_of.get(row) == what for row in crashed)

    def has_committed(self, what: SeenEffect, body: str) -> bool:
        """Whether a commit has this intent, with this payload as it is read back from the log."""
        logged = self._intents.get(what)
        if logged is None or logged == body:
            return logged == body
        spec = self._spec(WorkflowKey.parse(what.key), what.name)
        if spec is None or spec.payload is None:
            return False
        with self.while_reading():
            return spec.payload.model_validate_json(logged).model_dump_json() == body

    def acknowledged(self, key: WorkflowKey, action_id: UUID, answer: Committed, here: LogEntry | None) -> None:
        """An answer reached a client: the log must have the action already, and agree."""
        first = self.acked.setdefault((key, action_id), answer)
        self.require(
            (first.version, first.status) == (answer.version, answer.status),
            f"{key} answered {action_id} with version {first.version} and later with {answer.version}",
        )
        if here is None:
            self.violated(f"{key} acknowledged {action_id}, and the log does not have it")
        else:
            self.require(
                (here.version, here.row.status) == (answer.version, answer.status)
                and answer.position in (here.position, Position(0, 0)),
                f"{key} acknowledged {action_id} as {answer}; the log has it at {here.position}, version {here.version}",
            )

    # --- at the end ---------------------------------------------------------------------------------------------------

    async def check_end(self, truth: SimStore, now_us: int, tail_n: int) -> str:
        """Checks everything again, from what the store holds. Returns a digest of the log, equal for equal runs."""
        log = await _log(truth)
        self._check_order(log)
        shown = self.projection.watermark
        self.require(shown == len(log), f"the projection stands at {shown} of {len(log)}, and nothing more happens")
        self.require(tail_n == len(log), f"a subscriber saw the log up to {tail_n} of {len(log)} only")
        expected = self._expected(log)
        self._check_ends(log, expected)
        self.times.check_timers(log, self._spec)
        await self._check_answers(truth, log)
        await self._check_refused_outcomes(truth, log, expected)
        await self._check_blobs(truth, log)
        await self._check_replay(truth)
        await self._check_audit(truth, now_us)
        rows = [(str(e.key), e.version, e.row.action_id.hex(), e.state_hash.hex()) for e in log]
        return blake2b(orjson.dumps(rows), digest_size=16).hexdigest()

    def _check_order(self, log: list[LogEntry]) -> None:
        found = [(entry.key, entry.version, entry.row.action_id) for entry in log]
        self.require(found == self._rows, "the log is not what was committed, in that order")
        self.require([entry.position.n for entry in log] == list(range(1, len(log) + 1)), "positions are not dense")
        ids = {(entry.key, entry.row.action_id) for entry in log}
        self.require(len(ids) == len(log), "an action stands in the log twice")

    def _expected(self, log: list[LogEntry]) -> dict[tuple[WorkflowKey, bytes], ExpectedAction]:
        """``expected[receiver, action id]`` of every outcome, timer and message that the log's intents lead to."""
        expected: dict[tuple[WorkflowKey, bytes], ExpectedAction] = {}
        for entry in log:
            for item, n in numbered(entry.row):
                name, key = item["name"], entry.key
                what = SeenEffect(str(key), entry.version, name, n)
                one = intent_id(UUID(bytes=entry.row.action_id), key, name, n)
                due_us = item.get("due_us", 0)
                spec = self._spec(key, name)
                expected[key, outcome_id(one).bytes] = ExpectedAction(what, spec, key, due_us, entry.version, one)
                if spec is not None and spec.kind == EnumIntentType.ACTION_SEND:
                    to = WorkflowKey(spec.target, item["to"])
                    expected[to, sent_id(one).bytes] = ExpectedAction(what, spec, to, due_us, entry.version, one)
        return expected

    def _check_ends(self, log: list[LogEntry], expected: dict[tuple[WorkflowKey, bytes], ExpectedAction]) -> None:
        """Every row that the engine caused follows from an intent. A success was done outside, a failure was not."""
        assert self._outside is not None
        done = self._outside.done
        in_log = {(entry.key, entry.row.action_id) for entry in log}
        for entry in log:
            if entry.row.cause is None:
                continue
            one = expected.get((entry.key, entry.row.action_id))
            at = f"{entry.key} version {entry.version} ({entry.row.kind})"
            if one is None:
                self.violated(f"{at} names an intent as its cause, and no intent leads to it")
                continue
            of, told = entry.row.outcome_of, OutcomeOf(one.intent_id, one.what.name, one.what.n, one.what.version)
            self.require(of == told, f"{at} comes of {told}, and its handler is told of {of}")
            if one.what in self._outside.own_timeouts:
                self.require(
                    ENGINE_TIME_OUT not in entry.row.payload,
                    f"{at}: a time-out of the effect is reported as the engine's",
                )
            said = one.says(entry.row.kind)
            if said is None or one.spec is None:
                continue
            if one.spec.kind not in INSIDE:
                truth = one.what in done
                self.require(truth is said, f"{at}: {one.what} was {'done' if truth else 'not done'}")
            elif one.spec.kind == EnumIntentType.ACTION_SEND:
                self._check_message(entry, expected, in_log, arrived=said)

    def _check_message(
        self,
        entry: LogEntry,
        expected: dict[tuple[WorkflowKey, bytes], ExpectedAction],
        in_log: set[tuple[WorkflowKey, bytes]],
        *,
        arrived: bool,
    ) -> None:
        what = expected[entry.key, entry.row.action_id].what
        there = any(
            one.what == what and (to, action_id) in in_log
            for (to, action_id), one in expected.items()
            if (to, action_id) != (entry.key, entry.row.action_id)
        )
        self.require(
            there is arrived,
            f"{what} {entry.row.kind}, and the receiver {'has' if there else 'does not have'} it",
        )

    async def _check_answers(self, truth: SimStore, log: list[LogEntry]) -> None:
        here = {(entry.key, UUID(bytes=entry.row.action_id)): entry for entry in log}
        for (key, action_id), answer in self.acked.items():
            self.acknowledged(key, action_id, answer, here.get((key, action_id)))
        rejections = await truth.rejections(None, None, 0, 1_000_000)
        self.operator.check(rejections)
        kept = {(row.key, UUID(bytes=row.action_id), row.code) for row in rejections}
        for key, action_id, error in self.refused:
            text = f"{key} refused {action_id} with {error.code}"
            if error.retryable:
                self.require(
                    (str(key), action_id, error.code) not in kept, f"{text}: it may be sent again, and is recorded"
                )
                continue
            self.require((str(key), action_id, error.code) in kept, f"{text}: no rejection says so")
            self.require(
                (key, action_id) not in here or (key, action_id) in self.acked,
                f"{text}: the log has it",
            )

    async def _check_refused_outcomes(
        self, truth: SimStore, log: list[LogEntry], expected: dict[tuple[WorkflowKey, bytes], ExpectedAction]
    ) -> None:
        """An outcome on which the reducer failed is held, not forgotten. No timer fires after its instance has ended."""
        in_log = {(entry.key, entry.row.action_id) for entry in log}
        states = tuple(EnumOutboxState)
        rows = {self._rows_of.get(row.pointer) for row in await truth.outbox(states, None, None, 1_000_000)}
        codes: dict[tuple[str, bytes], set[str]] = defaultdict(set)
        for row in await truth.rejections(None, None, 0, 1_000_000):
            codes[row.key, row.action_id].add(row.code)
        for (key, action_id), one in expected.items():
            refused, kind = codes.get((str(key), action_id), set()), one.spec and one.spec.kind
            if kind == EnumIntentType.TIMER:
                self.require("instance_finished" not in refused, f"{one.what} fired after its instance had ended")
            elif kind != EnumIntentType.ACTION_SEND and (key, action_id) not in in_log and one.what not in rows:
                self.require(
                    refused != {"reducer_failed"}, f"{one.what} ended, and its outcome was neither applied nor held"
                )

    async def _check_blobs(self, truth: SimStore, log: list[LogEntry]) -> None:
        """The bytes that a row names are in the store."""
        named = {
            digest for entry in log for data in (entry.row.payload, entry.row.intents) for digest in named_blobs(data)
        }
        for digest in sorted(named):
            data = await truth.blob(digest)
            self.require(
                data is not None and blake3(data).digest() == digest, f"the bytes of {digest.hex()} are not there"
            )

    async def _check_replay(self, truth: SimStore) -> None:
        replay = Replay(truth, self._registry, self._older)
        async for segment in replay.all():
            self.require(
                segment.verdict == "equal",
                f"replay: {segment.key} {segment.first}..{segment.last} {segment.verdict}: {segment.reason}",
            )
        self.require(replay.result.actions == len(self._rows), "replay did not see every action")

    async def _check_audit(self, truth: SimStore, now_us: int) -> None:
        assert self._outside is not None
        known = await audit(truth, self._registry, now_us, seen=self._outside.done, acknowledged=list(self.acked))
        for lost in known.lost:
            self.violated(f"lost: {lost}")
        for stray in known.strays:
            self.violated(f"stray: {stray}")
        for key, action_id in known.forgotten:
            self.violated(f"forgotten: {key} {action_id}")
        held = await truth.outbox((EnumOutboxState.HELD,), None, None, PAGE)
        over = known.unsettled - sum(bool(row.timer) for row in held)  # a held timer may have been replaced since
        self.require(over <= 0, f"{over} outbox rows of intents that have ended")


async def _log(truth: SimStore) -> list[LogEntry]:
    log: list[LogEntry] = []
    while rows := await truth.log(Position(0, len(log)), PAGE):
        log += rows
    return log
