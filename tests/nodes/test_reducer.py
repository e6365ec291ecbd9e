from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from onex.kernel.action import NOTHING, Action, Payload, WorkflowKey
from onex.kernel.errors import AlgorithmNotFoundError, DependencyResolutionError, InvalidPayload
from onex.kernel.intent import EnumIntentType, IntentSpec, intent
from onex.kernel.machine import Guard, Machine, MachineReducer, Transition, reducer
from onex.kernel.step import State, Step
from onex.nodes.reducer import (
    AVERAGE,
    COUNT,
    SUM,
    EnumStreamingMode,
    ExactSum,
    FSMTransitionResult,
    ModelReducerInput,
    ModelReducerOutput,
    NodeReducer,
    Reduction,
    StateBackup,
    StreamingAggregator,
)

ONE = UUID(int=1)
NUMBERS = st.lists(
    st.integers(min_value=-(2**60), max_value=2**60) | st.floats(allow_nan=False, allow_infinity=False, width=64),
    max_size=30,
)


class Words(Payload):
    """A partial whose order counts: associative, not commutative."""

    text: str = ""


def lift_words(values: Sequence[JsonValue]) -> Words:
    return Words(text="".join(str(value) for value in values))


JOIN: Reduction[Words] = Reduction(
    Words, lift_words, lambda a, b: Words(text=a.text + b.text), lambda words: words.text
)


def reduce(*data: JsonValue, method: str = "sum", **fields: object) -> ModelReducerOutput:
    task = {"correlation_id": ONE, "data": data, "aggregation_method": method, **fields}
    return NodeReducer[State]().reduce(ModelReducerInput.model_validate(task))


# --- the law ----------------------------------------------------------------------------------------------------------


@given(NUMBERS, NUMBERS, NUMBERS)
@pytest.mark.parametrize("reduction", [SUM, AVERAGE, COUNT], ids=["sum", "average", "count"])
def test_merging_is_associative_and_equals_reducing_the_whole(
    reduction: Reduction[ExactSum], a: list[JsonValue], b: list[JsonValue], c: list[JsonValue]
) -> None:
    lift, merge = reduction.lift, reduction.merge
    whole = lift([*a, *b, *c])
    assert merge(merge(lift(a), lift(b)), lift(c)) == merge(lift(a), merge(lift(b), lift(c))) == whole
    assert merge(lift(()), whole) == merge(whole, lift(())) == whole
    assert reduction.partial.model_validate_json(whole.model_dump_json()) == whole


@given(NUMBERS, st.randoms(use_true_random=False))
def test_a_sum_does_not_depend_on_the_order_of_its_values(values: list[int | float], chance: Random) -> None:
    shuffled = sorted(values, key=lambda _: chance.random())
    assert SUM.lift(list(values)) == SUM.lift(list(shuffled))


@given(st.lists(st.integers() | st.text(), max_size=30), st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_a_stream_gives_the_same_however_it_is_cut(values: list[JsonValue], cuts: list[int]) -> None:
    stream = StreamingAggregator(JOIN, chunk_size=5, buffer_bytes=200)
    at = 0
    for size in cuts:
        stream.process_chunk(values[at : at + size])
        at += size
    stream.process_chunk(values[at:])
    done = stream.finalize()
    assert done.aggregated_data == JOIN.result(JOIN.lift(values))
    assert done.records_processed == len(values)


@given(NUMBERS, st.integers(1, 10))
def test_incremental_equals_batch_and_so_does_continuing_a_stored_state(values: list[JsonValue], size: int) -> None:
    batch = reduce(*values, method="average")
    chunked = reduce(*values, method="average", streaming_mode="incremental", batch_size=size)
    half = len(values) // 2
    first = reduce(*values[:half], method="average")
    second = reduce(*values[half:], method="average", previous_state=first.aggregated_state)
    assert batch.aggregated_state == chunked.aggregated_state == second.aggregated_state
    assert batch.aggregated_data == chunked.aggregated_data == second.aggregated_data
    assert chunked.batches_processed == math.ceil(len(values) / size)


# --- results ----------------------------------------------------------------------------------------------------------


def test_sums_are_exact_and_whole_numbers_stay_whole() -> None:
    assert reduce(1, 2, 3).aggregated_data == 6
    assert isinstance(reduce(1, 2, 3).aggregated_data, int)
    assert reduce(0.1, 0.2, 0.3).aggregated_data == 0.6
    assert 0.1 + 0.2 + 0.3 != 0.6
    assert reduce(1e308, 1e-308, -1e308).aggregated_data == 1e-308
    assert reduce(5e-324, 5e-324).aggregated_data == 1e-323


def test_averages_and_counts() -> None:
    assert reduce(1, 2, 4, method="average").aggregated_data == 7 / 3
    assert reduce(method="average").aggregated_data is None
    assert reduce("a", None, {}, method="count").aggregated_data == 3
    assert reduce().aggregated_data == 0


def test_an_output_tells_what_was_done() -> None:
    task = ModelReducerInput(
        correlation_id=ONE, operation_id=UUID(int=2), data=(1, 2, 3, 4), streaming_mode=EnumStreamingMode.INCREMENTAL, batch_size=3
    )  # fmt: skip
    done = asyncio.run(NodeReducer[State]().execute_reduction(task))
    assert (done.correlation_id, done.operation_id) == (ONE, UUID(int=2))
    assert (done.records_processed, done.batches_processed, done.reduction_ratio) == (4, 2, 0.25)
    assert done.aggregated_state == {"count": 4, "total": "10", "whole": True}
    assert done.previous_state is None
    assert done.state_size == len(b'{"count":4,"total":"10","whole":true}')
    assert done.intents == ()
    assert ModelReducerOutput.model_validate_json(done.model_dump_json()) == done


def test_a_field_is_picked_out_of_each_record() -> None:
    records: list[JsonValue] = [{"order": {"cents": 5}}, {"order": {"cents": 7}}]
    assert reduce(*records, field="order.cents").aggregated_data == 12
    with pytest.raises(InvalidPayload, match=r"a record has no field 'order.euros': \{'order'"):
        reduce(*records, field="order.euros")


def test_a_custom_reduction_has_a_name() -> None:
    node = NodeReducer[State](reductions={"join": JOIN})
    task = ModelReducerInput(correlation_id=ONE, data=("a", "b", "c"), aggregation_method="join")
    assert node.reduce(task).aggregated_data == "abc"
    with pytest.raises(
        AlgorithmNotFoundError, match="no reduction is named 'jion'; there is sum, average, count, join"
    ):
        node.reduce(task.model_copy(update={"aggregation_method": "jion"}))


@pytest.mark.parametrize("value", ["7", True, None, [1], math.nan, math.inf], ids=repr)
def test_what_is_no_finite_number_is_not_summed(value: JsonValue) -> None:
    with pytest.raises(InvalidPayload, match=r"value 1 is .*; sum and average take finite numbers"):
        SUM.lift([1, value])


def test_a_sum_beyond_every_float_is_refused_not_infinite() -> None:
    with pytest.raises(InvalidPayload, match="beyond the largest float"):
        reduce(1e308, 1e308)
    assert reduce(1e308, 1e308, -1e308).aggregated_data == 1e308


def test_a_state_of_another_reduction_is_refused() -> None:
    with pytest.raises(ValidationError):
        reduce(1, previous_state={"text": "abc"})


def test_a_copy_of_the_state_leaves_as_an_intent() -> None:
    node = NodeReducer[State](backup_intent="keep_copy")
    done = node.reduce(ModelReducerInput(correlation_id=ONE, data=(1, 2)))
    copy = StateBackup(correlation_id=ONE, operation_id=None, state=done.aggregated_state)
    assert done.intents == (intent("keep_copy", copy),)


def test_a_stream_folds_at_four_fifths_of_its_buffer_and_tells_its_progress() -> None:
    stream = StreamingAggregator(SUM, chunk_size=1000, buffer_bytes=100)
    first, second, third = (stream.process_chunk([1] * 10) for _ in range(3))  # 21 bytes each
    assert [chunk.memory_bytes for chunk in (first, second, third)] == [21, 42, 63]
    assert not third.flushed
    fourth = stream.process_chunk([1] * 10)
    assert (fourth.records_processed, fourth.memory_bytes, fourth.flushed) == (40, 0, True)
    assert stream.state.total == Fraction(40)


# --- one action on one state ------------------------------------------------------------------------------------------


class Door(State):
    opened: int = 0


class Ring(Payload):
    loud: bool = True


doors = reducer(Door)


@doors.on("open")
def open_door(door: Door, action: Action[Payload]) -> Step[Door]:
    return Step(door.evolve(opened=door.opened + 1), Ring())


MACHINE = Machine(
    "shut",
    (
        Transition("shut", "open", "open"),
        Transition("open", "shut", "shut", (Guard("state.opened > 1", lambda state, _: bool(getattr(state, "opened", 0) > 1)),)),
    ),
)  # fmt: skip
DOORS = MachineReducer(
    "doors",
    doors,
    MACHINE,
    {},
    {"ring": IntentSpec("ring", EnumIntentType.NOTIFICATION, target="bell", payload=Ring)},
)
NODE = NodeReducer(DOORS)


def move(state: Door, trigger: str) -> FSMTransitionResult[Door]:
    return NODE.transition(state, Action(WorkflowKey("doors", "1"), trigger, NOTHING, ONE.bytes, 0, ONE.bytes))


def test_a_transition_gives_the_new_state_and_its_intents() -> None:
    before = DOORS.initial()
    done = move(before, "open")
    assert done.success
    assert (done.previous_state, done.new_state) == (before, Door(status="open", opened=1))
    assert [(emitted.name, emitted.payload) for emitted in done.intents] == [("ring", Ring())]


def test_a_refused_transition_is_a_value_and_leaves_no_trace() -> None:
    shut = DOORS.initial()
    refused = move(shut, "shut")
    assert not refused.success
    assert refused.new_state is shut
    assert refused.intents == ()
    assert "'shut' is not accepted in 'shut'" in refused.error
    guarded = move(Door(status="open", opened=1), "shut")
    assert guarded.failed_conditions == ("condition 'state.opened > 1' is false",)


def test_a_node_without_a_machine_says_so() -> None:
    with pytest.raises(DependencyResolutionError, match="no state machine"):
        NodeReducer[Door]().transition(Door(), Action(WorkflowKey("d", "1"), "open", NOTHING, b"", 0, b""))
