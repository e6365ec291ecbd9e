"""NodeReducer: reduces many values to few, and moves one state by one action. Pure: side effects leave it as intents.

The rule for a reduction: ``lift(a + b) == merge(lift(a), lift(b))``. So it does not matter how a list is cut into chunks,
which process lifts which, or where a stream was interrupted. Only the order of the values counts, and for sums not even that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json

from ..kernel.action import Action, Payload
from ..kernel.errors import AlgorithmNotFoundError, DependencyResolutionError, InvalidPayload, Refused
from ..kernel.intent import Emitted, IntentDraft, intent
from ..kernel.step import Reducer, S

A = TypeVar("A", bound=BaseModel)

FLUSH_AT = 0.8
"""Share of its buffer at which a streaming aggregation folds what it holds."""


@dataclass(frozen=True, slots=True)
class Reduction(Generic[A]):
    """``lift`` turns values into a partial, ``merge`` joins two partials in order, ``result`` reads one.

    The partial is a model, so that it can be stored, sent and merged elsewhere. Of no values it is ``lift(())``.
    """

    partial: type[A]
    lift: Callable[[Sequence[JsonValue]], A]
    merge: Callable[[A, A], A]
    result: Callable[[A], JsonValue]


# --- sum, average, count ----------------------------------------------------------------------------------------------


class ExactSum(Payload):
    """How many values, and their exact sum. Floating point addition is not associative; rational addition is."""

    count: int = 0
    total: Fraction = Fraction(0)
    whole: bool = True


_SCALE = 1074  # every finite float is a multiple of 2**-1074


def _exact_sum(values: Sequence[JsonValue]) -> ExactSum:
    total = 0  # in units of 2**-1074: shifting and adding integers is ten times faster than adding fractions
    whole = True
    for n, value in enumerate(values):
        if type(value) is int:
            total += value << _SCALE
        elif type(value) is float and value - value == 0:  # neither NaN nor infinite
            whole = False
            numerator, denominator = value.as_integer_ratio()
            total += numerator << (_SCALE + 1 - denominator.bit_length())
        else:
            raise InvalidPayload(f"value {n} is {value!r:.80}; sum and average take finite numbers")
    return ExactSum(count=len(values), total=Fraction(total, 1 << _SCALE), whole=whole)


def _add(first: ExactSum, second: ExactSum) -> ExactSum:
    return ExactSum(
        count=first.count + second.count, total=first.total + second.total, whole=first.whole and second.whole
    )


def _sum(exact: ExactSum) -> JsonValue:
    return exact.total.numerator if exact.whole else _rounded(exact.total)


def _average(exact: ExactSum) -> JsonValue:
    """None of no values."""
    return _rounded(exact.total / exact.count) if exact.count else None


def _rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        raise InvalidPayload("the sum is beyond the largest float; divide the values first") from None


SUM = Reduction(ExactSum, _exact_sum, _add, _sum)
AVERAGE = Reduction(ExactSum, _exact_sum, _add, _average)
COUNT = Reduction(ExactSum, lambda values: ExactSum(count=len(values)), _add, lambda exact: exact.count)


# --- batch and stream -------------------------------------------------------------------------------------------------


class BatchReductionResult(Payload):
    """``reduction_ratio``: values out per record in, 0.0 for no records."""

    aggregated_data: JsonValue
    aggregated_state: dict[str, JsonValue]
    records_processed: int
    reduction_ratio: float


class ChunkProgress(Payload):
    """After one chunk: records so far, bytes of those not folded yet, and whether this chunk made it fold."""

    records_processed: int
    memory_bytes: int
    flushed: bool


class StreamingAggregator(Generic[A]):
    """Folds a stream of chunks, holding back at most ``chunk_size`` records and 80 % of ``buffer_bytes`` (JSON size)."""

    def __init__(
        self, reduction: Reduction[A], *, chunk_size: int = 1000, buffer_bytes: int = 1 << 26, state: A | None = None
    ) -> None:
        """``state`` continues an earlier aggregation."""
        self.reduction = reduction
        self.state = reduction.lift(()) if state is None else state
        self.flushes = 0
        self._chunk_size = chunk_size
        self._buffer_bytes = buffer_bytes
        self._held: list[JsonValue] = []
        self._held_bytes = 0
        self._records = 0

    def process_chunk(self, chunk: Sequence[JsonValue]) -> ChunkProgress:
        """Raises what the reduction's ``lift`` raises."""
        self._held.extend(chunk)
        self._held_bytes += len(to_json(chunk))
        self._records += len(chunk)
        full = len(self._held) >= self._chunk_size or self._held_bytes > FLUSH_AT * self._buffer_bytes
        if full:
            self.flush_intermediate_results()
        return ChunkProgress(records_processed=self._records, memory_bytes=self._held_bytes, flushed=full)

    def flush_intermediate_results(self) -> A:
        """Fold what is held; the partial of all records so far."""
        if self._held:
            self.state = self.reduction.merge(self.state, self.reduction.lift(self._held))
            self._held, self._held_bytes = [], 0
            self.flushes += 1
        return self.state

    def finalize(self) -> BatchReductionResult:
        state = self.flush_intermediate_results()
        return BatchReductionResult(
            aggregated_data=self.reduction.result(state),
            aggregated_state=state.model_dump(mode="json"),
            records_processed=self._records,
            reduction_ratio=1 / self._records if self._records else 0.0,
        )


class EnumStreamingMode(StrEnum):
    """``batch`` reduces the data as one; ``incremental`` in chunks of ``batch_size``, with bounded memory."""

    BATCH = "batch"
    INCREMENTAL = "incremental"


class ModelReducerInput(BaseModel):
    """One reduction. ``aggregation_method`` is sum, average, count or a registered name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    correlation_id: UUID
    data: tuple[JsonValue, ...]
    aggregation_method: str = "sum"
    field: str = Field(default="", description="dotted path to the value in each record; '' takes the record itself")
    operation_id: UUID | None = None
    streaming_mode: EnumStreamingMode = EnumStreamingMode.BATCH
    batch_size: int = Field(default=1000, ge=1)
    buffer_size_mb: float = Field(default=64.0, gt=0)
    previous_state: dict[str, JsonValue] | None = Field(
        default=None, description="aggregated_state of an earlier output"
    )


class StateBackup(Payload):
    """Payload of the intent that keeps a copy of the aggregated state."""

    correlation_id: UUID
    operation_id: UUID | None
    state: dict[str, JsonValue]


class ModelReducerOutput(BaseModel):
    """What one reduction gave. ``state_size`` is bytes of JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    correlation_id: UUID
    operation_id: UUID | None
    aggregated_data: JsonValue
    aggregated_state: dict[str, JsonValue]
    previous_state: dict[str, JsonValue] | None
    records_processed: int
    batches_processed: int
    reduction_ratio: float
    state_size: int
    streaming_mode: EnumStreamingMode
    intents: tuple[IntentDraft, ...] = ()
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FSMTransitionResult(Generic[S]):
    """One action on one state. Refused: ``new_state`` is ``previous_state``, there are no intents, ``error`` says why."""

    previous_state: S
    new_state: S
    intents: tuple[Emitted, ...]
    trigger: str
    success: bool
    error: str = ""
    failed_conditions: tuple[str, ...] = ()


class NodeReducer(Generic[S]):
    """Reduces data by named reductions, and moves states by a reducer. It keeps nothing between calls."""

    def __init__(
        self,
        reducer: Reducer[S] | None = None,
        reductions: Mapping[str, Reduction[Any]] | None = None,
        *,
        backup_intent: str = "",
    ) -> None:
        """``reductions`` are added to sum, average and count. ``backup_intent`` names the intent that keeps a copy of
        each aggregated state, '' for none."""
        self.reducer = reducer
        self._backup_intent = backup_intent
        # of any partial: each merges only what it lifted
        self._reductions: dict[str, Reduction[Any]] = {"sum": SUM, "average": AVERAGE, "count": COUNT}
        self._reductions.update(reductions or {})

    def transition(self, state: S, action: Action[BaseModel]) -> FSMTransitionResult[S]:
        """What ``delta`` makes of it, a refusal as a value. Raises DependencyResolutionError without a reducer."""
        if self.reducer is None:
            raise DependencyResolutionError("this node has no state machine; give NodeReducer a reducer")
        try:
            done = self.reducer.delta(state, action)
        except Refused as refused:
            conditions = refused.context.get("conditions")
            failed = tuple(conditions) if isinstance(conditions, list) else ()
            return FSMTransitionResult(state, state, (), action.kind, False, refused.message, failed)
        return FSMTransitionResult(state, done.state, done.intents, action.kind, True)

    async def execute_reduction(self, task: ModelReducerInput) -> ModelReducerOutput:
        """``reduce``, for callers that await every node alike."""
        return self.reduce(task)

    def reduce(self, task: ModelReducerInput) -> ModelReducerOutput:
        """Raises AlgorithmNotFoundError; InvalidPayload for a record without the field or with a value that cannot be
        reduced; pydantic's ValidationError for a ``previous_state`` of another reduction."""
        reduction = self._reductions.get(task.aggregation_method)
        if reduction is None:
            raise AlgorithmNotFoundError(
                f"no reduction is named {task.aggregation_method!r}; there is {', '.join(self._reductions)}"
            )
        return self._run(reduction, task)

    def _run(self, reduction: Reduction[A], task: ModelReducerInput) -> ModelReducerOutput:
        before = None if task.previous_state is None else reduction.partial.model_validate(task.previous_state)
        batch = task.streaming_mode is EnumStreamingMode.BATCH
        step = max(1, len(task.data)) if batch else task.batch_size
        buffer_bytes = int(task.buffer_size_mb * (1 << 20))
        aggregator = StreamingAggregator(reduction, chunk_size=step, buffer_bytes=buffer_bytes, state=before)
        for chunk in _chunks(task.data, step):
            aggregator.process_chunk(list(_picked(chunk, task.field)))
        done = aggregator.finalize()
        return ModelReducerOutput(
            correlation_id=task.correlation_id,
            operation_id=task.operation_id,
            aggregated_data=done.aggregated_data,
            aggregated_state=done.aggregated_state,
            previous_state=task.previous_state,
            records_processed=done.records_processed,
            batches_processed=aggregator.flushes,
            reduction_ratio=done.reduction_ratio,
            state_size=len(to_json(done.aggregated_state)),
            streaming_mode=task.streaming_mode,
            intents=self._backup(task, done.aggregated_state),
        )

    def _backup(self, task: ModelReducerInput, state: dict[str, JsonValue]) -> tuple[IntentDraft, ...]:
        if not self._backup_intent:
            return ()
        copy = StateBackup(correlation_id=task.correlation_id, operation_id=task.operation_id, state=state)
        return (intent(self._backup_intent, copy),)


def _chunks(data: Sequence[JsonValue], size: int) -> Iterator[Sequence[JsonValue]]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _picked(records: Sequence[JsonValue], path: str) -> Iterator[JsonValue]:
    """``path`` of each record, '' for the record itself."""
    names = path.split(".") if path else []
    for record in records:
        value = record
        for name in names:
            if not isinstance(value, dict) or name not in value:
                raise InvalidPayload(f"a record has no field {path!r}: {record!r:.200}")
            value = value[name]
        yield value
