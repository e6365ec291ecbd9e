"""What must hold, whatever happened: judged at each commit where that is cheap, and over everything at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol
from uuid import UUID

import orjson
from blake3 import blake3

from ..engine.encode import named_blobs, ordinals
from ..engine.mailbox import Committed
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.takeover import CRASHES_ALONE
from ..kernel.action import WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.intent import EnumIntentType, EnumOutcome, IntentSpec, intent_id, outcome_id, sent_id
from ..kernel.step import ROLLBACK
from ..ports import Applied, Commit, Conflict, EnumOutboxState, KeyChange, LogEntry, Pointer, Position, ProjectionRow
from ..replay.audit import INSIDE, SeenEffect, audit
from ..replay.replay import Replay
from .misbehaviour import misbehaving
from .operator_checks import Operated
from .projection_checks import Projected
from .sim_store import SimStore
from .time_checks import Punctual

PAGE = 1000
OURS = b"no answer within"
"""How the engine tells a time-out of its own."""


class LeaseJudge(Protocol):
    """Whoever grants leases behind the engine and knows what they must have kept out."""

    def judge(self, change: KeyChange, at_us: int) -> None: ...


class Ledger(Protocol):
    """What the outside world knows."""

    @property
    def done(self) -> Collection[SeenEffect]:
        """The intents whose effect was had."""

    @property
    def own_timeouts(self) -> Collection[SeenEffect]:
        """The intents whose last try raised a time-out of its own, within the time it had."""


@dataclass(frozen=True, slots=True)
class Promise:
    """An intent of the log: who must answer to it, and by what action."""

    what: SeenEffect
    spec: IntentSpec | None
    at: WorkflowKey
    due_us: int
    version: int

    def says(self, kind: str) -> bool | None:
        """What an outcome of this ``kind`` says of an effect: it was done, surely not, or None: it says neither."""
        spec = self.spec
        if spec is None or list(spec.outcomes.values()).count(kind) != 1:
            return None
        return {spec.outcomes[EnumOutcome.SUCCEEDED]: True, spec.outcomes[EnumOutcome.FAILED]: False}.get(kind)


class Judge:
    """Hears of every commit, answer and refusal; says what was broken in ``violations``."""

    def __init__(self, batch: int) -> None:
        self.violations: list[str] = []
        self.acked: dict[tuple[WorkflowKey, UUID], Committed] = {}
        self.refused: list[tuple[WorkflowKey, UUID, OnexError]] = []
        self.leases: LeaseJudge | None = None
        self.projection = Projected(self.complain)
        self.punctual = Punctual(self.complain)
        self.operated = Operated(self.complain)
        self._batch = batch
        self._outside: Ledger | None = None
        self._registry = ReducerRegistry()
        self._older: Sequence[Workflow] = ()
        self._rows: list[tuple[WorkflowKey, int, bytes]] = []
        self._versions: dict[WorkflowKey, int] = defaultdict(int)
        self._fence = 0
        self._intents: dict[SeenEffect, str] = {}
        self._rows_of: dict[Pointer, SeenEffect] = {}
        self._states: dict[tuple[WorkflowKey, int], bytes] = {}
        self._ended: set[SeenEffect] = set()

    def judges(self, outside: Ledger, registry: ReducerRegistry, older: Sequence[Workflow] = ()) -> None:
        """Before anything runs: what serves the effects, and the code that makes the log (``older`` beside it)."""
        self._outside, self._registry, self._older = outside, registry, older

    def _spec(self, key: WorkflowKey, name: str) -> IntentSpec | None:
        return self._registry[key.workflow_type].reducer.intents.by_name.get(name)

    def complain(self, text: str) -> None:
        if text not in self.violations:
            self.violations.append(text)

    def hold(self, fact: bool, text: str) -> None:
        if not fact:
            self.complain(text)

    # --- while it runs ------------------------------------------------------------------------------------------------

    def committed(self, commit: Commit, answers: Sequence[Applied | Conflict]) -> None:
        fence = commit.fences[0]
        self.hold(fence >= self._fence, f"a commit came under fence {fence} after one under {self._fence}")
        self._fence = max(fence, self._fence)
        rows = sum(len(change.rows) for change in commit.changes)
        self.hold(rows <= self._batch, f"a batch holds {rows} actions; its limit is {self._batch}")
        self.hold(len(answers) == len(commit.changes), "not every change was answered")
        self._settle(commit.settled)
        both = zip(commit.changes, answers, strict=False)
        self.operated.committed(commit, [change for change, answer in both if isinstance(answer, Applied)])
        for change, answer in zip(commit.changes, answers, strict=False):
            if isinstance(answer, Conflict):
                continue
            self._settle(change.settled)
            key, taken = change.key, len(self._rows)
            if change.rows:
                self.hold(answer.first == Position(0, taken + 1), f"{key} got {answer.first} when {taken} were taken")
            self.hold(
                self._versions[key] == change.based_on,
                f"{key} was folded on version {change.based_on} and stood at {self._versions[key]}",
            )
            if self.leases is not None:
                self.leases.judge(change, commit.at_us)
            self.projection.committed(change)
            self.punctual.committed(change, commit.at_us)
            if change.rows:
                self._states[key, change.based_on + len(change.rows)] = change.state
            for row in change.rows:
                if row.kind == ROLLBACK:
                    self._judge_rollback(key, row.payload)
                self._versions[key] += 1
                self._rows.append((key, self._versions[key], row.action_id))
                items = orjson.loads(row.intents or b"[]")
                for ordinal, (item, n) in enumerate(zip(items, ordinals([one["name"] for one in items]), strict=True)):
                    what = SeenEffect(str(key), self._versions[key], item["name"], n)
                    self._intents[what] = orjson.dumps(item["payload"]).decode()
                    self._rows_of[Pointer(0, len(self._rows), ordinal)] = what
                    spec = self._spec(key, item["name"])
                    is_timer = spec is not None and spec.kind == EnumIntentType.TIMER
                    self.punctual.emitted(key, row.action_id, what, item.get("due_us", 0), timer=is_timer)

    def _judge_rollback(self, key: WorkflowKey, payload: bytes) -> None:
        """What comes back is what stood, where the commit that wrote it showed it."""
        back = orjson.loads(payload)
        stood = self._states.get((key, back["to_version"]))
        self.hold(
            stood is None or orjson.loads(stood) == back["state"],
            f"{key} went back to version {back['to_version']}, and to a state that never stood",
        )

    @property
    def taken(self) -> int:
        """Actions that were applied, of all instances."""
        return len(self._rows)

    def projected(self, name: str, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> None:
        self.projection.moved(name, from_n, to_n, rows)

    def _settle(self, pointers: Sequence[Pointer]) -> None:
        self._ended.update(self._rows_of[pointer] for pointer in pointers if pointer in self._rows_of)

    def has_ended(self, what: SeenEffect) -> bool:
        """Whether a commit has settled this intent: from then on nobody who owns the store runs it."""
        return what in self._ended

    def runs_alone(self, what: SeenEffect) -> bool:
        """Whether it was running at so many crashes that it may take nobody with it any more."""
        crashed = (row for row, crashes in self.operated.crashes.items() if crashes >= CRASHES_ALONE)
        return any(self._rows_of.get(row) == what for row in crashed)

    def knows(self, what: SeenEffect, body: str) -> bool:
        """Whether a commit has this intent, and this is its payload as it is read back from the log."""
        logged = self._intents.get(what)
        if logged is None or logged == body:
            return logged == body
        spec = self._spec(WorkflowKey.parse(what.key), what.name)
        if spec is None or spec.payload is None:
            return False
        with misbehaving(None):
            return spec.payload.model_validate_json(logged).model_dump_json() == body

    def acknowledged(self, key: WorkflowKey, action_id: UUID, told: Committed, here: LogEntry | None) -> None:
        """An answer reached a client: the log must have it already, and say the same."""
        first = self.acked.setdefault((key, action_id), told)
        self.hold(
            (first.version, first.status) == (told.version, told.status),
            f"{key} answered {action_id} with version {first.version} and later with {told.version}",
        )
        if here is None:
            self.complain(f"{key} acknowledged {action_id}, and the log does not have it")
        else:
            self.hold(
                (here.version, here.row.status) == (told.version, told.status)
                and told.position in (here.position, Position(0, 0)),
                f"{key} acknowledged {action_id} as {told}; the log has it at {here.position}, version {here.version}",
            )

    # --- at the end ---------------------------------------------------------------------------------------------------

    async def close(self, truth: SimStore, now_us: int, tail_n: int) -> str:
        """Everything again, from what the store holds. A digest of the log, the same for the same run."""
        log = await _log(truth)
        self._judge_order(log)
        shown = self.projection.watermark
        self.hold(shown == len(log), f"the projection stands at {shown} of {len(log)}, and nothing more happens")
        self.hold(tail_n == len(log), f"a subscriber saw the log up to {tail_n} of {len(log)}: nobody told it")
        promises = self._promises(log)
        self._judge_ends(log, promises)
        self._judge_timers(log)
        await self._judge_answers(truth, log)
        await self._judge_refused_outcomes(truth, log, promises)
        await self._judge_blobs(truth, log)
        await self._judge_replay(truth)
        await self._judge_audit(truth, now_us)
        rows = [(str(e.key), e.version, e.row.action_id.hex(), e.state_hash.hex()) for e in log]
        return blake2b(orjson.dumps(rows), digest_size=16).hexdigest()

    def _judge_order(self, log: list[LogEntry]) -> None:
        found = [(entry.key, entry.version, entry.row.action_id) for entry in log]
        self.hold(found == self._rows, "the log is not what was committed, in that order")
        self.hold([entry.position.n for entry in log] == list(range(1, len(log) + 1)), "positions are not dense")
        ids = {(entry.key, entry.row.action_id) for entry in log}
        self.hold(len(ids) == len(log), "an action stands in the log twice")

    def _promises(self, log: list[LogEntry]) -> dict[tuple[WorkflowKey, bytes], Promise]:
        """``promises[receiver, action id]`` of every outcome, timer and message the log's intents lead to."""
        promises: dict[tuple[WorkflowKey, bytes], Promise] = {}
        for entry in log:
            items = orjson.loads(entry.row.intents or b"[]")
            for item, n in zip(items, ordinals([item["name"] for item in items]), strict=True):
                name, key = item["name"], entry.key
                what = SeenEffect(str(key), entry.version, name, n)
                one = intent_id(UUID(bytes=entry.row.action_id), key, name, n)
                due_us = item.get("due_us", 0)
                spec = self._spec(key, name)
                promises[key, outcome_id(one).bytes] = Promise(what, spec, key, due_us, entry.version)
                if spec is not None and spec.kind == EnumIntentType.ACTION_SEND:
                    to = WorkflowKey(spec.target, item["to"])
                    promises[to, sent_id(one).bytes] = Promise(what, spec, to, due_us, entry.version)
        return promises

    def _judge_ends(self, log: list[LogEntry], promises: dict[tuple[WorkflowKey, bytes], Promise]) -> None:
        """What the engine made happen follows from an intent; a failure was not done, a success was."""
        assert self._outside is not None
        done = self._outside.done
        in_log = {(entry.key, entry.row.action_id) for entry in log}
        for entry in log:
            if entry.row.cause is None:
                continue
            promise = promises.get((entry.key, entry.row.action_id))
            at = f"{entry.key} version {entry.version} ({entry.row.kind})"
            if promise is None:
                self.complain(f"{at} says that it follows from an intent, and follows from none")
                continue
            if promise.what in self._outside.own_timeouts:
                self.hold(OURS not in entry.row.payload, f"{at}: its own time-out is told as ours")
            said = promise.says(entry.row.kind)
            if said is None or promise.spec is None:
                continue
            if promise.spec.kind not in INSIDE:
                truth = promise.what in done
                self.hold(truth is said, f"{at}: {promise.what} was {'done' if truth else 'not done'}")
            elif promise.spec.kind == EnumIntentType.ACTION_SEND:
                self._judge_mail(entry, promises, in_log, arrived=said)

    def _judge_mail(
        self,
        entry: LogEntry,
        promises: dict[tuple[WorkflowKey, bytes], Promise],
        in_log: set[tuple[WorkflowKey, bytes]],
        *,
        arrived: bool,
    ) -> None:
        what = promises[entry.key, entry.row.action_id].what
        there = any(
            promise.what == what and (to, action_id) in in_log
            for (to, action_id), promise in promises.items()
            if (to, action_id) != (entry.key, entry.row.action_id)
        )
        self.hold(
            there is arrived,
            f"{what} {entry.row.kind}, and the receiver {'has' if there else 'does not have'} it",
        )

    def _judge_timers(self, log: list[LogEntry]) -> None:
        """A timer fires once, not before its time, and not after it was replaced, cancelled or ended with its state."""
        waiting: dict[tuple[WorkflowKey, str], tuple[bytes, int]] = {}
        over: dict[tuple[WorkflowKey, bytes], str] = {}
        for entry in log:
            fired = (entry.key, entry.row.action_id)
            at = f"{entry.key} version {entry.version}"
            self.hold(fired not in over, f"{at}: timer {over.get(fired)!r} fired though it no longer waited")
            for (key, name), (awaited, due_us) in list(waiting.items()):
                if (key, awaited) == fired:
                    self.hold(entry.row.issued_us >= due_us, f"{at}: timer {name!r} fired before its time")
                    del waiting[key, name]
            items = orjson.loads(entry.row.intents or b"[]")
            for item, n in zip(items, ordinals([item["name"] for item in items]), strict=True):
                name = item["name"]
                spec = self._spec(entry.key, name)
                if spec is not None and spec.kind != EnumIntentType.TIMER:
                    continue
                gone = waiting.pop((entry.key, name), None)
                if gone is not None:
                    over[entry.key, gone[0]] = name
                if "cancel" not in item:
                    awaited = outcome_id(intent_id(UUID(bytes=entry.row.action_id), entry.key, name, n)).bytes
                    waiting[entry.key, name] = (awaited, item["due_us"])

    async def _judge_answers(self, truth: SimStore, log: list[LogEntry]) -> None:
        here = {(entry.key, UUID(bytes=entry.row.action_id)): entry for entry in log}
        for (key, action_id), told in self.acked.items():
            self.acknowledged(key, action_id, told, here.get((key, action_id)))
        rejections = await truth.rejections(None, None, 0, 1_000_000)
        self.operated.judge(rejections)
        kept = {(row.key, UUID(bytes=row.action_id), row.code) for row in rejections}
        for key, action_id, error in self.refused:
            text = f"{key} refused {action_id} with {error.code}"
            if error.retryable:
                self.hold(
                    (str(key), action_id, error.code) not in kept, f"{text}: it may be sent again, and is recorded"
                )
                continue
            self.hold((str(key), action_id, error.code) in kept, f"{text}: no rejection says so")
            self.hold(
                (key, action_id) not in here or (key, action_id) in self.acked,
                f"{text}: the log has it",
            )

    async def _judge_refused_outcomes(
        self, truth: SimStore, log: list[LogEntry], promises: dict[tuple[WorkflowKey, bytes], Promise]
    ) -> None:
        """An outcome that the reducer could not digest is held, not forgotten; a timer does not outlive its instance."""
        in_log = {(entry.key, entry.row.action_id) for entry in log}
        states = tuple(EnumOutboxState)
        rows = {self._rows_of.get(row.pointer) for row in await truth.outbox(states, None, None, 1_000_000)}
        codes: dict[tuple[str, bytes], set[str]] = defaultdict(set)
        for row in await truth.rejections(None, None, 0, 1_000_000):
            codes[row.key, row.action_id].add(row.code)
        for (key, action_id), promise in promises.items():
            refused, kind = codes.get((str(key), action_id), set()), promise.spec and promise.spec.kind
            if kind == EnumIntentType.TIMER:
                self.hold("instance_finished" not in refused, f"{promise.what} has outlived its instance")
            elif kind != EnumIntentType.ACTION_SEND and (key, action_id) not in in_log and promise.what not in rows:
                self.hold(refused != {"reducer_failed"}, f"{promise.what} came to an end that nobody digested")

    async def _judge_blobs(self, truth: SimStore, log: list[LogEntry]) -> None:
        """Bytes that a row names were written with it, or before."""
        named = {
            digest for entry in log for data in (entry.row.payload, entry.row.intents) for digest in named_blobs(data)
        }
        for digest in sorted(named):
            data = await truth.blob(digest)
            self.hold(
                data is not None and blake3(data).digest() == digest, f"the bytes of {digest.hex()} are not there"
            )

    async def _judge_replay(self, truth: SimStore) -> None:
        replay = Replay(truth, self._registry, self._older)
        async for segment in replay.all():
            self.hold(
                segment.verdict == "equal",
                f"replay: {segment.key} {segment.first}..{segment.last} {segment.verdict}: {segment.reason}",
            )
        self.hold(replay.result.actions == len(self._rows), "replay did not see every action")

    async def _judge_audit(self, truth: SimStore, now_us: int) -> None:
        assert self._outside is not None
        known = await audit(truth, self._registry, now_us, seen=self._outside.done, acknowledged=list(self.acked))
        for lost in known.lost:
            self.complain(f"lost: {lost}")
        for stray in known.strays:
            self.complain(f"stray: {stray}")
        for key, action_id in known.forgotten:
            self.complain(f"forgotten: {key} {action_id}")
        held = await truth.outbox((EnumOutboxState.HELD,), None, None, PAGE)
        over = known.unsettled - sum(bool(row.timer) for row in held)  # a held timer may have been replaced since
        self.hold(over <= 0, f"{over} outbox rows of intents that have ended")


async def _log(truth: SimStore) -> list[LogEntry]:
    log: list[LogEntry] = []
    while rows := await truth.log(Position(0, len(log)), PAGE):
        log += rows
    return log
