"""LabelledCounts: what an engine has done by workflow type, trigger, target and error, for ``/metrics``.

An engine keeps none until somebody will read them: ``service.labelled`` is None, and the writer looks at that once for each answer.
Nothing here is written twice: totals stand in ``Counters``.

Labels are bounded. Types, triggers and targets come from contracts, codes of errors from classes; but an effect may give any code
as its reason. A table has at most LABELS_MOST rows; what comes later is counted under ``other``. No key or id is a label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

from ..kernel.errors import OnexError, Refused, ValidationError, WorkflowExecutionError
from ..ports import Clock
from .metrics import Latency
from .pending import Answer, Committed, Pending

LABELS_MOST: Final = 500
OTHER: Final = "other"
FAULTS: Final = ("sender", "workflow", "engine")

T = TypeVar("T")
L = TypeVar("L", bound=tuple[str, ...])


class LabelledCounts:
    """Plain tables: ``applied[type, trigger]``, ``refused[type, fault, code]``, ``tries[target, result]``, ``retried[code]``.

    ``times[node type, status, error type]`` are run times of effects and compute functions, and of nodes of your own. ``commit``:
    of the store, per batch. ``recovered``: intents that succeeded at a later try; ``given_up``: that failed at their last one.
    """

    __slots__ = ("applied", "commit", "given_up", "recovered", "refused", "retried", "times", "tries")

    def __init__(self) -> None:
        self.applied: dict[tuple[str, str], int] = {}
        self.refused: dict[tuple[str, str, str], int] = {}
        self.tries: dict[tuple[str, str], int] = {}
        self.retried: dict[tuple[str], int] = {}
        self.times: dict[tuple[str, str, str], Latency] = {}
        self.commit = Latency()
        self.recovered = self.given_up = 0

    def answered(self, pending: Pending, answer: Answer) -> None:
        """One action, applied or refused. One that was applied before counts as neither."""
        of = pending.key.workflow_type
        if isinstance(answer, OnexError):
            count(self.refused, (of, fault_of(answer), answer.code))
        elif isinstance(answer, Committed) and not answer.duplicate:
            count(self.applied, (of, pending.kind))

    def time_commit(self, committing: asyncio.Future[T], clock: Clock) -> None:
        """From now until the store has answered, or failed."""
        begun_s = clock.monotonic()
        committing.add_done_callback(lambda _: self.commit.add(clock.monotonic() - begun_s))

    def tried(self, target: str, node_type: str, result: str, code: str, seconds: float, *, again: bool) -> None:
        """One try of an intent. ``code`` is '' when it succeeded; ``again``: it is tried again."""
        count(self.tries, (target, result))
        self.timed(node_type, "error" if code else "success", code, seconds)
        if again:
            count(self.retried, (code,))

    def timed(self, node_type: str, status: str, error_type: str, seconds: float) -> None:
        row = (node_type, status, error_type)
        found = self.times.get(row)
        if found is None:
            row = row if len(self.times) < LABELS_MOST else (OTHER, status, OTHER)
            found = self.times.setdefault(row, Latency())
        found.add(seconds)

    async def record_metric(self, metric_name: str, value: float, tags: Mapping[str, str]) -> None:
        """The port ``ProtocolMetricsCollector``: run times of nodes, in seconds. Tags beyond the three are left out."""
        name = tags.get("node_type", metric_name)
        self.timed(name, tags.get("status", "success"), tags.get("error_type", ""), value)


def count(table: dict[L, int], row: L) -> None:
    """One more, under ``other`` when the table is full."""
    if row not in table and len(table) >= LABELS_MOST:
        row = type(row)((OTHER,) * len(row))
    table[row] = table.get(row, 0) + 1


def fault_of(error: OnexError) -> str:
    """Whose fault a refusal is: the ``sender``'s, the ``workflow``'s code, or else the ``engine``'s and what it runs on."""
    if isinstance(error, WorkflowExecutionError):
        return "workflow"
    return "sender" if isinstance(error, Refused | ValidationError) else "engine"
