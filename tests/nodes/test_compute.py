from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

import pytest
from pydantic import BaseModel

from onex.kernel.action import Blob, Payload
from onex.kernel.errors import (
    AlgorithmNotFoundError,
    ContractError,
    EffectFailed,
    EngineClosed,
    NoAvailableSubreducersError,
    OnexError,
    PayloadTooLarge,
    StateConsistencyError,
)
from onex.kernel.intent import ModelIntent
from onex.nodes.compute import COMPUTE, AlgorithmRegistry, ComputeAddress, ComputeIO, compute, perform
from onex.nodes.compute_executor import ComputeExecutor
from onex.nodes.io import Function, NewBlobs, compute_shape
from onex.ports import NewBlob, Result


class Parse(Payload):
    sources: tuple[Blob, ...] = ()


class Parsed(Payload):
    lines: int
    tree: Blob | None = None


@compute("parse")
def parse(task: Parse, io: ComputeIO) -> Parsed:
    texts = [io.read(source) for source in task.sources]
    return Parsed(lines=sum(text.count(b"\n") for text in texts), tree=io.blob(b"".join(texts).upper()))


@compute("nothing")
def nothing(task: Parse) -> None:
    assert task.sources == ()


def too_much(task: Parse) -> Parsed:
    return Parsed(lines=len(task.sources), tree=Blob(digest="0" * 64, size=0, media_type="x" * 300_000))


class Kept:
    """Blobs by digest, counting reads."""

    def __init__(self, *made: NewBlob) -> None:
        self.data = {one.digest: one.data for one in made}
        self.reads = 0

    async def read(self, digest: bytes) -> bytes:
        self.reads += 1
        return self.data[digest]


class Here:
    """Workers that work at once, in this process; ``asked`` is what crossed over."""

    max_workers = 2

    def __init__(self, function: Function, error: OnexError | None = None) -> None:
        self.function = function
        self.error = error
        self.asked: list[tuple[ComputeAddress, bytes, Mapping[bytes, bytes], float | None]] = []

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        self.asked.append((where, payload, blobs, timeout_s))
        if self.error is not None:
            raise self.error
        return perform(self.function, compute_shape(self.function, ComputeIO), payload, blobs)


WHERE = ("/app", "digest", "files", "parse")


def run(workers: Here, blobs: Kept, task: Parse) -> Result:
    one = UUID(int=1)
    intent: ModelIntent[BaseModel] = ModelIntent(
        intent_id=one, intent_type="compute_task", target="parse", payload=task, correlation_id=one, idempotency_key="k"
    )
    executor = ComputeExecutor(workers, blobs, where=WHERE, function=workers.function, timeout_s=3.0)
    return asyncio.run(executor.execute(intent))


def test_a_marked_function_is_the_same_function_and_carries_its_name() -> None:
    assert getattr(parse, COMPUTE) == "parse"
    assert parse(Parse(), ComputeIO({})).lines == 0
    with pytest.raises(ContractError, match="is the compute function 'parse' already"):
        compute("again")(parse)
    with pytest.raises(ContractError, match="needs a name"):
        compute("")


def test_names_and_bytes_cross_over_with_every_blob_the_task_names_read_once() -> None:
    io = NewBlobs()
    one, two = io.blob(b"a\nb\n"), io.blob(b"c\n")
    workers, blobs = Here(parse), Kept(*io.made)
    result = run(workers, blobs, Parse(sources=(one, two, one)))
    assert isinstance(result.value, Parsed)
    assert result.value.lines == 5
    assert [made.data for made in result.blobs] == [b"A\nB\nC\nA\nB\n"]
    assert blobs.reads == 2
    ((where, payload, shipped, timeout_s),) = workers.asked
    assert (where, timeout_s) == (WHERE, 3.0)
    assert Parse.model_validate_json(payload) == Parse(sources=(one, two, one))
    assert set(shipped.values()) == {b"a\nb\n", b"c\n"}


def test_a_function_that_gives_nothing_has_no_value() -> None:
    assert run(Here(nothing), Kept(), Parse()) == Result(None)


def test_a_compute_function_reads_only_what_its_task_names() -> None:
    stranger = NewBlobs().blob(b"never sent")
    with pytest.raises(EffectFailed, match="was not sent along") as caught:
        ComputeIO({}).read(stranger)
    assert caught.value.reason == "blob_not_sent"


def test_a_damaged_blob_is_not_computed_on() -> None:
    io = NewBlobs()
    blob = io.blob(b"good")
    workers = Here(parse)
    with pytest.raises(StateConsistencyError, match="damaged"):
        run(workers, Kept(io.made[0]._replace(data=b"bad")), Parse(sources=(blob,)))
    assert workers.asked == []


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (EffectFailed("it raised", code="raised"), "raised", False),
        (EffectFailed("late", retryable=True, code="timed_out"), "timed_out", True),
        (NoAvailableSubreducersError("no worker can be started"), "no_available_subreducers", True),
    ],
)
def test_whatever_befalls_a_pure_function_nothing_was_done(error: OnexError, reason: str, retry: bool) -> None:
    with pytest.raises(EffectFailed) as caught:
        run(Here(parse, error), Kept(), Parse())
    assert (caught.value.reason, caught.value.retry) == (reason, retry)


def test_a_close_of_the_engine_is_no_outcome() -> None:
    with pytest.raises(EngineClosed):
        run(Here(parse, EngineClosed("closing")), Kept(), Parse())


@pytest.mark.parametrize("carried", [False, True], ids=["here", "from a worker"])
def test_a_result_too_large_for_the_log_has_failed_by_that_name(carried: bool) -> None:
    error = EffectFailed("too_much returned too much: ...", code="payload_too_large") if carried else None
    with pytest.raises(PayloadTooLarge, match="returned too much") as caught:
        run(Here(too_much, error), Kept(), Parse())
    assert isinstance(caught.value, EffectFailed)


def test_an_unknown_algorithm_is_named_with_what_is_near() -> None:
    registry = AlgorithmRegistry({"parse": parse, "nothing": nothing})
    assert registry.get_algorithm("parse") is parse
    assert registry.names == ("nothing", "parse")
    with pytest.raises(AlgorithmNotFoundError, match="no compute function is named 'prase'; there is parse"):
        registry.get_algorithm("prase")
    with pytest.raises(AlgorithmNotFoundError, match="there is none at all"):
        AlgorithmRegistry({}).get_algorithm("parse")
