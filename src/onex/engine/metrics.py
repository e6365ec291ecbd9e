"""What the engine reports of itself: named events, plain counters, and one histogram of latencies."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, exp, log
from typing import Final
from uuid import UUID

from ..kernel.user_code import caught, flag_of
from ..ports import Telemetry

_LOG_STEP = log(1.02)  # bucket width: a quantile is at most 1 % off (Masson et al., DDSketch, VLDB 2019)


EVENTS: Final[Mapping[str, str]] = {
    "engine_started": "The engine has taken its store and what waited in it.",
    "engine_closed": "It was closed in order; `not_durable` actions had found no commit.",
    "engine_lost": "It ended without being asked to, and every later call gets this error.",
    "closed_with_work_left": "The store took no commit while the engine closed: `actions` were answered as perhaps not durable.",
    "loop_failed": "A part of the engine failed and begins again after a pause; the fifth time in a row ends the engine.",
    "task_left": "A part of the engine did not stop within its time and was left behind.",
    "store_refused": "A commit failed and is tried again.",
    "judging_failed": "A fault of the engine while it judged one action: that action is refused.",
    "state_unreadable": "A stored state does not fit this code: what comes for its instance is refused.",
    "inbox_refused": "A row of the inbox cannot be read as an action: it is answered with the error.",
    "held_row_unreadable": "A held outcome does not fit this code and stays held.",
    "stranded": "This code has no place for rows that wait: their name, how many, the first, and what to add to the code.",
    "instance_erased": "An operator destroyed the data key of an instance: `intents` of it were open and are dead.",
    "intent_stranded": "One waiting intent or timer cannot be read by this code; its row says why and waits.",
    "search_filled": "Every instance of a workflow has its search fields now; `instances` of them were filled in.",
    "search_fill_failed": "Search fields cannot be filled in for now: tried again, and queries by them are refused until then.",
    "rollout": "How far a rollout is has changed: its status, and the share of the instances that begin under the new version.",
    "rollout_taken_back": "A new version was worse than the file of the rollout allows, or an operator took it back: `reason`.",
    "rollout_not_followed": "The store did not say how far a rollout is: versions stay as they were, and it is asked again.",
    "rollout_bypassed": "This code was started, not deployed: every instance runs on `version` at once. onex deploy goes in steps.",
    "release_missing": "A rollout names a version that is not in the folder of releases here: instances begin under the old one.",
    "bus_unreachable": "Nothing was published in three calls: the bus is left alone for a while. The engine goes on.",
    "bus_reached": "The bus takes messages again.",
    "event_rejected": "The bus refuses an event for good: it is passed over, and a reader sees the gap by the versions.",
    "message_waits": "A message of the bus is refused for now and tried again; what is behind it in its key waits.",
    "message_quarantined": "A message nobody can use went to its dead-letter topic; `kept` is False where that refused it.",
    "positions_not_committed": "A closing engine could not commit its positions: those messages are read again, applied once.",
    "process_died_judging": "The last process ended while `suspects` actions or rows ran; they now run one at a time.",
    "step_was_stuck": "The last process was ended because a step did not return, at `where`; its instance is held once known.",
    "refused_after_crashes": "An action was being judged at three crashes: it is refused; a timer or outcome is held.",
    "dead_after_crashes": "A row was being read at three crashes: it is dead until driven again.",
    "intent_runs_alone": "Its process ended `crashes` times while it ran: it runs while no other intent does, `timeout_s` at most.",
    "over_rate": "Senders of an instance were refused for its quota of actions; `refused` since it was told last, once a minute.",
    "worker_lost": "A worker was not heard of for its lease, or its session ended: this one has taken `shards` of it.",
    "shards_gained": "This worker has `shards` more of the store: it judges their instances from now on.",
    "shards_given": "This worker has given `shards` back, in order, because they belong to another.",
    "shards_lost": "Another worker took `shards` of this one, whose lease had run out. What ran here for them is cut off.",
    "intents_taken_over": "`intents` that the last process left waiting, at most as many as memory holds, now run here.",
    "schedules_declared": "Schedules of the app that are new or changed, and how many `ended` because it has them no more.",
    "schedules_refused": "Schedules of the app could not be declared; that is tried again.",
    "transition": "An action was applied and is durable: `trigger`, from which status, to which, and the new version.",
    "refused": "An action was refused, and why.",
    "reducer_failed": "Code of a workflow raised on an action, which is refused; `where` is file and line.",
    "instance_held": "Its reducer failed three times in a row: it takes nothing until other code runs or it is released.",
    "outcome_held": "The outcome or timer of an intent waits in its row, because the reducer failed on it.",
    "attempt_began": "A try of an intent began; `n`: which of several intents of its name in a step, from 0; the first has no `n`.",
    "attempt_succeeded": "It succeeded, after `ms` milliseconds.",
    "attempt_failed": "It did not. `next_s`: it is tried again after so many seconds; `where`: file and line of your code.",
    "attempt_cut_off": "The engine closed while it ran; the next engine runs the intent again, unless it must run at most once.",
    "breaker_opened": "Calls of `target` failed in a row, or a probe did: it is left alone for a while, and its intents wait.",
    "breaker_closed": "`target` answers again: its intents run.",
    "effect_log": "A function of yours said so with `io.log`: `message` and its own fields; `level` is info, warning or error.",
    "external_call": "A built-in effect called something outside: `what`, of which `target`, for how long, and what came of it.",
    "alert_not_recorded": "The store did not take what was measured of `alert`: it is told again at the next reading.",
    "intent_dead": "An intent has no way to an outcome: nothing goes on until `onex dead --redrive` is given `redrive`.",
}
"""What the engine reports through the ``Telemetry`` port, by name."""

DETAILS: Final = frozenset({"transition", "refused", "attempt_began", "attempt_succeeded", "external_call"})
"""Events that come with every action or intent: only a listener whose ``details`` is True gets them."""


class Events:
    """Calls the ``Telemetry`` port. That is code of the user: what it raises is counted (``failed``) and goes no further.

    ``details``: somebody listens to the events in ``DETAILS``. Who reports one of these asks first.
    """

    __slots__ = ("_listener", "details", "failed")

    def __init__(self, listener: Telemetry | None = None) -> None:
        self._listener = listener
        self.details = flag_of(listener, "details", False)
        self.failed = 0

    @property
    def heard(self) -> bool:
        """Somebody listens."""
        return self._listener is not None

    def __call__(self, name: str, **fields: str | int | float | bool | UUID | None) -> None:
        if self._listener is None:
            return
        try:
            self._listener.emit(name, **fields)
        except BaseException as error:
            caught(error)
            self.failed += 1


class Latency:
    """A histogram of seconds in logarithmic buckets: bounded memory, quantiles within 1 % of the value."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        bucket = int(log(seconds * 1e6) / _LOG_STEP) if seconds > 1e-6 else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: Latency) -> None:
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count

    def quantile_s(self, q: float) -> float:
        """Nearest rank; 0.0 when nothing was added."""
        rank, seen = max(1, ceil(q * self.count)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return 1e-6 * exp((bucket + 0.5) * _LOG_STEP)
        return 0.0

    def cumulative(self, bounds_s: Sequence[float]) -> tuple[list[int], float]:
        """How many are at most each bound (rising), and about the sum of all: what a histogram of Prometheus shows."""
        counts, total_s, found = [0] * len(bounds_s), 0.0, self.as_pairs()
        for bucket, added in found:
            value_s = 1e-6 * exp((bucket + 0.5) * _LOG_STEP)
            total_s += added * value_s
            at = bisect_left(bounds_s, value_s)
            if at < len(counts):
                counts[at] += added
        return list(accumulate(counts)), total_s

    def as_pairs(self) -> list[tuple[int, int]]:
        """``(bucket, count)`` in order: what another process merges."""
        return sorted(self._buckets.items())

    @classmethod
    def from_pairs(cls, pairs: list[tuple[int, int]]) -> Latency:
        latency = cls()
        latency._buckets = dict(pairs)
        latency.count = sum(latency._buckets.values())
        return latency


@dataclass(slots=True)
class Counters:
    """Since this process opened the store. In seconds: ``latency`` from accepted to durable, ``backoff`` of waits for a retry."""

    committed: int = 0
    refused: int = 0
    duplicates: int = 0
    overloaded: int = 0
    over_rate: int = 0
    conflicts: int = 0
    batches: int = 0
    store_failures: int = 0
    not_durable: int = 0
    effects_run: int = 0
    effects_retried: int = 0
    effects_cut_off: int = 0
    breakers_opened: int = 0
    outcomes_dropped: int = 0
    timers_dropped: int = 0
    states_over_advice: int = 0
    states_read: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    latency: Latency = field(default_factory=Latency)
    backoff: Latency = field(default_factory=Latency)
