"""A task in parts gives what the whole gives, in order; a death costs its part, and equal tasks are computed once."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import onex
from onex.adapters.forked_workers import ForkedWorkers
from onex.adapters.worker_pool import WorkerPool
from onex.kernel.errors import ContractError, EffectFailed
from onex.kernel.intent import ModelIntent
from onex.kernel.try_signals import CancelSignal
from onex.nodes.chunks import Chunking, chunked, chunking_of, join, split
from onex.nodes.compute import ComputeAddress, ComputeIO, address_of, perform
from onex.nodes.compute_call import ComputeCall, Computed, ResultCache
from onex.nodes.compute_executor import ComputeExecutor
from onex.nodes.io import NewBlobs, compute_shape
from onex.ports import NewBlob
from tests.nodes.algorithms import (
    Lengths,
    Numbers,
    Rows,
    Scores,
    Text,
    Total,
    fatal,
    lengths,
    plain,
    score,
    slow,
    total,
)

ENTRY = "onex.worker:perform"


class Here:
    """Workers that work at once, in this process."""

    max_workers = 2

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.asked: list[bytes] = []

    async def run(
        self, where: ComputeAddress, payload: bytes, blobs: Mapping[bytes, bytes], timeout_s: float | None = None
    ) -> tuple[bytes, tuple[NewBlob, ...]]:
        self.asked.append(payload)
        return perform(self.function, compute_shape(self.function, ComputeIO), payload, blobs)


class NoBlobs:
    """The store of a task that names none."""

    async def read(self, digest: bytes) -> bytes:
        raise AssertionError("the task names no blob")


def called(function: Callable[..., object], task: BaseModel, blobs: Mapping[bytes, bytes] | None = None) -> Computed:
    return asyncio.run(ComputeCall(Here(function), address_of(function), function).run(task, blobs or {}))


@given(st.lists(st.integers(-(2**40), 2**40), max_size=40), st.integers(1, 12))
def test_any_size_of_part_gives_what_the_whole_gives(rows: list[int], size: int) -> None:
    chunking = Chunking("rows", size)
    parts = [score(part.task) for part in split(Rows(rows=rows, factor=3), chunking, {}) if isinstance(part.task, Rows)]
    assert join(parts, chunking) == score(Rows(rows=rows, factor=3))
    marked = chunking_of(total)
    assert marked is not None
    sums = [total(part.task) for part in split(Numbers(rows), marked, {}) if isinstance(part.task, Numbers)]
    assert join(sums, marked) == Total(sum(rows))


@given(
    st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b".")), max_size=12),
    st.integers(1, 5),
    st.booleans(),
)
def test_a_blob_is_cut_at_line_ends_and_every_byte_is_in_one_part(lines: list[bytes], size: int, ends: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    io = NewBlobs()
    blob = io.blob(data, "text/plain")
    cut = list(split(Text(lines=blob), Chunking("lines", size), {io.made[0].digest: data}))
    assert b"".join(data for part in cut for data in part.blobs.values()) == data
    assert all(data.count(b"\n") <= size for part in cut for data in part.blobs.values())
    for part in cut:
        assert isinstance(part.task, Text)
        assert part.task.lines.size == len(part.blobs[bytes.fromhex(part.task.lines.digest)])
        assert part.task.lines.media_type == "text/plain"


def test_the_parts_of_a_call_are_joined_in_order_by_a_worker() -> None:
    workers = Here(score)
    told: list[tuple[int, int]] = []
    call = ComputeCall(workers, address_of(score), score)
    computed = asyncio.run(call.run(Rows(rows=list(range(8)), factor=2), {}, lambda done, of: told.append((done, of))))
    assert Scores.model_validate_json(computed.encoded).scores == [0, 2, 4, 6, 8, 10, 12, 14]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(workers.asked) == 4, "three parts, and the join"


def test_an_intent_tells_how_many_parts_are_done() -> None:
    told: list[str] = []
    intent: ModelIntent[BaseModel] = ModelIntent(
        intent_id=UUID(int=1), intent_type="compute_task", target="score", payload=Rows(rows=[1, 2, 3, 4]),
        correlation_id=UUID(int=1), idempotency_key="k",
    )  # fmt: skip
    intent.told_by(CancelSignal(), told.append)
    executor = ComputeExecutor(Here(score), NoBlobs(), where=address_of(score), function=score)
    result = asyncio.run(executor.execute(intent)).value
    assert isinstance(result, Scores)
    assert result.scores == [1, 2, 3, 4]
    assert told == ["1 of 2 parts", "2 of 2 parts"]


def test_few_items_are_one_call_and_none_still_give_a_result() -> None:
    assert Scores.model_validate_json(called(score, Rows(rows=[5])).encoded).scores == [5]
    assert Scores.model_validate_json(called(score, Rows()).encoded).scores == []
    assert Total.model_validate_json(called(total, Numbers([])).encoded).root == 0


def test_results_are_kept_by_what_went_in_and_a_full_cache_drops_the_oldest() -> None:
    io = NewBlobs()
    one, two = io.blob(b"a\nbb\nccc\n"), io.blob(b"dddd\n")
    blobs = {made.digest: made.data for made in io.made}
    workers = Here(lengths)
    cache = ResultCache(max_bytes=30)
    call = ComputeCall(workers, address_of(lengths), lengths, cache=cache)

    async def run(*tasks: Text) -> list[list[int]]:
        return [Lengths.model_validate_json((await call.run(task, blobs)).encoded).lengths for task in tasks]

    assert asyncio.run(run(Text(lines=one), Text(lines=one))) == [[1, 2, 3], [1, 2, 3]]
    assert (cache.hits, cache.misses, len(workers.asked)) == (1, 1, 3)
    assert asyncio.run(run(Text(lines=two), Text(lines=one))) == [[4], [1, 2, 3]]
    assert cache.misses == 3, "the second blob pushed the first result out"
    assert cache.bytes <= cache.max_bytes


def test_a_function_without_the_mark_is_never_cut_and_never_kept() -> None:
    workers, cache = Here(plain), ResultCache()
    call = ComputeCall(workers, address_of(plain), plain, cache=cache)
    asyncio.run(call.run(Rows(rows=list(range(5000))), {}))
    asyncio.run(call.run(Rows(rows=list(range(5000))), {}))
    assert (len(workers.asked), cache.bytes) == (2, 0)


def _no_list(task: Rows) -> Total:
    return Total(len(task.rows))


def _scored(task: Rows) -> Scores:
    return Scores(scores=task.rows)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: chunked("nothing")(_scored), "cut over 'nothing'; Rows has rows, factor, sign"),
        (lambda: chunked("factor")(_scored), "cut over 'factor', which is no list and no Blob"),
        (lambda: chunked("rows")(_no_list), "not every field of Total is a list"),
        (lambda: chunked("rows", size=0)(_scored), "a part has at least one item"),
    ],
)
def test_a_mark_that_does_not_fit_its_function_is_an_error_when_it_is_loaded(
    made: Callable[[], Callable[..., object]], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        compute_shape(made(), ComputeIO)


async def _in_processes(function: Callable[..., object], task: BaseModel) -> tuple[Computed, int]:
    pool = WorkerPool(ForkedWorkers(ENTRY), max_workers=2)
    try:
        return await ComputeCall(pool, address_of(function), function).run(task, {}), pool.deaths
    finally:
        await pool.close()


def test_a_worker_that_is_killed_costs_one_more_try_of_its_part(tmp_path: Path) -> None:
    computed, deaths = asyncio.run(_in_processes(fatal, Rows(rows=list(range(10)), sign=tmp_path)))
    assert Scores.model_validate_json(computed.encoded).scores == list(range(10))
    assert deaths == 1
    ran = (tmp_path / "ran").read_text().splitlines()
    assert sorted(ran) == sorted(["[0, 1]", "[2, 3]", "[4, 5]", "[6, 7]", "[6, 7]", "[8, 9]"])


def test_a_part_that_fails_for_good_ends_the_others_and_is_the_error_of_the_call(tmp_path: Path) -> None:
    async def run() -> None:
        pool = WorkerPool(ForkedWorkers(ENTRY), max_workers=2)
        try:
            with pytest.raises(EffectFailed, match="part 2 of 3: row 0 cannot be scored") as failed:
                await ComputeCall(pool, address_of(slow), slow).run(Rows(rows=[1, 0, 2], sign=tmp_path), {})
            assert failed.value.reason == "bad_row"
        finally:
            await pool.close()
        assert not (tmp_path / "began-2").exists(), "no part begins after one has failed"

    asyncio.run(run())


APP = {
    "app.py": """
        from typing import Literal
        from onex import Action, Payload, State, Step, chunked, workflow

        class Job(State):
            status: Literal["new", "scoring", "done", "failed"] = "new"
            best: int = 0

        class Rows(Payload):
            rows: list[int]

        class Scores(Payload):
            scores: list[int]

        jobs = workflow("jobs", Job)

        @jobs.compute()
        @chunked("rows", size=2)
        def score(task: Rows) -> Scores:
            return Scores(scores=[len(task.rows) * 100 + row for row in task.rows])

        @jobs.on("new -> scoring")
        def begin(job: Job, action: Action[Rows]) -> Step[Job]:
            return Step(job, action.payload)

        @jobs.on(score.succeeded, "scoring -> done")
        def scored(job: Job, action: Action[Scores]) -> Step[Job]:
            return Step(job.evolve(best=max(action.payload.scores)))

        jobs.move(score.failed, "scoring -> failed")
        jobs.move(score.unknown, "scoring -> failed")
        """,
}


def test_an_engine_computes_the_parts_of_one_task_in_its_worker_processes(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(APP["app.py"]))

    async def run() -> tuple[str, int]:
        async with await onex.open(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "app.py", workers=2) as engine:
            await engine.submit("jobs:1", "begin", {"rows": [1, 2, 3, 4, 5]})
            done = await engine.wait("jobs:1", timeout_s=60)
            state = await engine.state("jobs:1")
            return done.status, getattr(state, "best", 0)

    assert asyncio.run(run()) == ("done", 204), "the parts hold two rows, and the last one a single row"
