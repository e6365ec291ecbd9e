"""Moments of a long instance, folded in segments: every one as the engine had it, and what is not proven is named."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import onex
from onex.engine.encode import encode
from onex.engine.refold import Recorded, Refold, state_at
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError, StateConsistencyError
from onex.ports import Code, LogEntry, SnapshotRow, Stored
from onex.processes import moments as room
from onex.processes.child_process import FoldingBroken
from onex.processes.moment_process import AskFork, MomentProcess
from onex.processes.moments import Moment, Moments, Stretch, joined
from onex.wiring.folding import InertApp
from onex.wiring.recorded import RunSource

KEY = WorkflowKey("count", "a")
ROWS = 2345
APP = '''"""Counts."""
from __future__ import annotations

from typing import Literal

from onex import Action, Payload, State, Step, workflow


class Count(State):
    status: Literal["on"] = "on"
    sum: int = 0


class Add(Payload):
    n: int


count = workflow("count", Count)


@count.on("on -> on")
def add(state: Count, action: Action[Add]) -> Step[Count]:
    {fold}
    return Step(state.evolve(sum=state.sum + action.payload.n))
'''


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an app and a store of one long instance."""
    place = tmp_path_factory.mktemp("long")
    (place / "count.py").write_text(APP.replace("{fold}", ""))

    async def go() -> None:
        async with await onex.open(f"sqlite:///{place}/s.db", place / "count.py") as engine:
            for first in range(0, ROWS, 90):  # each a batch, or a few
                rows = range(first, min(first + 90, ROWS))
                await asyncio.gather(*(engine.submit(KEY, "add", {"n": n}) for n in rows))

    asyncio.run(go())
    yield place
    shutil.rmtree(place)


class NoSnapshots:
    """The same run without the states that its store kept, as an old store has it. It counts the rows that are read."""

    def __init__(self, run: Recorded) -> None:
        self._run, self.rows = run, 0

    async def codes(self) -> Mapping[int, Code]:
        return await self._run.codes()

    async def instances(
        self, workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
    ) -> Sequence[Stored]:
        return await self._run.instances(workflow_type, status, after, limit)

    async def history(self, key: WorkflowKey, after: int, limit: int) -> Sequence[LogEntry]:
        found = await self._run.history(key, after, limit)
        self.rows += len(found)
        return found

    async def snapshot(self, key: WorkflowKey, at_most: int) -> SnapshotRow | None:
        return None


def folded(place: Path, app: Path, versions: Sequence[int], *, snapshots: bool = True) -> list[Moment]:
    async def go() -> list[Moment]:
        inert = InertApp(app)
        try:
            async with RunSource(store_url=f"sqlite:///{place}/s.db").opened() as run:
                refolds = {one.reducer.workflow_type: Refold(one) for one in inert.registry.workflows}
                moments = Moments(run if snapshots else NoSnapshots(run), refolds)
                return [await moments.at(KEY, version, lambda rows: None) for version in versions]
        finally:
            inert.close()

    return asyncio.run(go())


@pytest.mark.parametrize("snapshots", [True, False])
def test_each_moment_is_as_the_engine_folds_it(
    recorded: Path, snapshots: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SEGMENT_BYTES", 100_000)  # not every state of a segment is kept
    chosen = random.Random(7)  # a fixed seed
    versions = [1, 999, 1000, 1001, ROWS, 1, *(chosen.randint(1, ROWS) for _ in range(15))]

    async def expected() -> dict[int, bytes]:
        inert = InertApp(recorded / "count.py")
        async with RunSource(store_url=f"sqlite:///{recorded}/s.db").opened() as run:
            workflow = inert.registry["count"]
            return {one: encode(await state_at(run, workflow, KEY, one)) for one in {*versions}}

    states = asyncio.run(expected())
    for version, moment in zip(
        versions, folded(recorded, recorded / "count.py", versions, snapshots=snapshots), strict=True
    ):
        assert (moment.state, moment.unproven, moment.unknown) == (states[version], "", "")
        assert moment.entry.version == version
        if version - 1 in states:
            assert moment.before == states[version - 1]


def test_a_first_pass_is_made_once(recorded: Path) -> None:
    async def go() -> tuple[int, int]:
        inert = InertApp(recorded / "count.py")
        async with RunSource(store_url=f"sqlite:///{recorded}/s.db").opened() as run:
            counted = NoSnapshots(run)
            moments = Moments(counted, {"count": Refold(inert.registry["count"])})
            await moments.at(KEY, ROWS, lambda rows: None)
            first, counted.rows = counted.rows, 0
            for version in range(ROWS, ROWS - 50, -1):
                await moments.at(KEY, version, lambda rows: None)
            return first, counted.rows

    first, again = asyncio.run(go())
    assert first >= ROWS
    assert again == 0


def test_a_version_that_is_not_there_is_told(recorded: Path) -> None:
    with pytest.raises(StateConsistencyError, match=f"ends at version {ROWS}"):
        folded(recorded, recorded / "count.py", [ROWS + 1])


def changed(place: Path, line: str) -> Path:
    (place / "changed").mkdir(exist_ok=True)
    app = place / "changed" / "count.py"
    app.write_text(APP.replace("{fold}", line))
    return app


def test_what_other_code_makes_of_it_is_a_stretch_up_to_the_next_kept_state(recorded: Path) -> None:
    """It differs from version 501 on; the store kept states every 1,000 versions, and from there on it is the same again."""
    app = changed(recorded, "if state.sum > 125_000 and state.sum < 130_000: state = state.evolve(sum=state.sum + 1)")

    async def go() -> tuple[Stretch, ...]:
        process = MomentProcess(RunSource(store_url=f"sqlite:///{recorded}/s.db"), app)
        try:
            return await process.stretches(KEY, ROWS, lambda rows: None)
        finally:
            await process.close()

    found = asyncio.run(go())
    (stretch,) = found
    assert 400 < stretch.first <= 501 < stretch.last <= 1100
    assert "it makes something else of the same actions" in stretch.why


def test_code_that_raises_leaves_the_states_behind_it_unknown(recorded: Path) -> None:
    app = changed(recorded, "if action.payload.n == 1499: raise ValueError('odd')")
    before, at, behind, later = folded(recorded, app, [1499, 1500, 1501, ROWS])
    assert before.state
    assert (at.state, behind.state) == (b"", b"")
    assert "version 1500" in behind.unknown
    assert "odd" in behind.unknown
    assert behind.unproven
    assert later.state
    assert later.unproven == ""


def test_code_that_ends_its_process_costs_one_answer(recorded: Path) -> None:
    app = changed(recorded, "if action.payload.n == 1499: __import__('os')._exit(3)")

    async def go() -> None:
        process = MomentProcess(RunSource(store_url=f"sqlite:///{recorded}/s.db"), app)
        try:
            with pytest.raises(FoldingBroken, match="exit code 3"):
                await process.moment(KEY, 1600, lambda rows: None)
            told = await process.moment(KEY, 7, lambda rows: None)
            assert told.moment.entry.version == 7
            with pytest.raises(OnexError, match="no trigger"):
                await process.fork(AskFork(KEY, 5, "nothing", None))
        finally:
            await process.close()

    asyncio.run(go())


def test_stretches_that_meet_are_one() -> None:
    assert joined([Stretch(5, 9, "x"), Stretch(1, 4, "x"), Stretch(7, 12, "x"), Stretch(20, 21, "y")]) == (
        Stretch(1, 12, "x"),
        Stretch(20, 21, "y"),
    )
