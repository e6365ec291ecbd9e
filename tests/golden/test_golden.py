"""What an engine of any day recorded replays under the code of that day, byte for byte, and today's code is told apart."""

from __future__ import annotations

import asyncio
import shutil
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest

from onex.app import load_app
from onex.engine.registry import ReducerRegistry, Workflow
from onex.replay.history_export import export_history
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict, ReplayResult
from tests.golden.corpus import CORPUS, HERE, Golden, workflows
from tests.golden.record import main as record

corpus = pytest.mark.parametrize("golden", CORPUS, ids=lambda golden: golden.name)


def replayed(golden: Golden, code: tuple[Workflow, ...]) -> ReplayResult:
    async def go() -> ReplayResult:
        replay = Replay(golden.reader(), ReducerRegistry(code))
        async for _ in replay.all():
            pass
        return replay.result

    return asyncio.run(go())


@corpus
def test_it_replays_equal_under_the_code_it_was_recorded_under(golden: Golden) -> None:
    result = replayed(golden, golden.frozen_code())
    assert [(str(one.key), one.verdict, one.reason) for one in result.bad] == []
    assert (set(result.by_verdict), result.unverified) == ({EnumReplayVerdict.EQUAL}, 0)
    assert result.instances >= 30
    assert result.intents > result.instances


@corpus
def test_todays_code_makes_the_same_of_it_or_the_difference_is_explained(golden: Golden) -> None:
    result = replayed(golden, golden.todays_code())
    allowed = {EnumReplayVerdict.EQUAL, EnumReplayVerdict.OTHER_CODE_EQUAL}
    differing = [one for one in result.bad if one.verdict not in allowed]
    unexplained = [
        f"{one.key}: {one.verdict}: {one.reason}"
        for one in differing
        if one.verdict is not EnumReplayVerdict.OTHER_CODE_DIFFERS
        or not any(part in one.reason for part in golden.accepted)
    ]
    assert unexplained == []
    stale = [part for part in golden.accepted if not any(part in one.reason for one in differing)]
    assert stale == [], "accepted differences that are none any more"


@corpus
def test_it_was_not_touched_since_it_was_recorded(golden: Golden) -> None:
    assert sha256(golden.history.read_bytes()).hexdigest() == golden.sha256


@corpus
def test_it_shows_every_transition_of_its_contracts(golden: Golden) -> None:
    async def go() -> set[tuple[str, str, str, str]]:
        reader = golden.reader()
        seen: set[tuple[str, str, str, str]] = set()
        for stored in await reader.instances(None, None, None, 10_000):
            app_reducer = reducers[stored.key.workflow_type]
            before = app_reducer.initial().status
            for entry in await reader.history(stored.key, 0, 10_000):
                seen.add((stored.key.workflow_type, before, entry.row.kind, entry.row.status))
                before = entry.row.status
        return seen

    reducers = {name: one.reducer for name, one in load_app(golden.app, golden.served).workflows.items()}
    wanted = {
        (name, one.from_state, one.trigger, one.to_state)
        for name, reducer in reducers.items()
        for one in reducer.machine.transitions
    }
    assert wanted - asyncio.run(go()) == set()


@corpus
def test_its_code_is_the_same_wherever_it_stands(golden: Golden, tmp_path: Path) -> None:
    moved = shutil.copytree(golden.app, tmp_path / "moved to. another place")
    there = {name: one.code for name, one in load_app(moved, golden.served).workflows.items()}
    here = {one.code.workflow_type: one.code for one in golden.frozen_code()}
    assert there == here == {code.workflow_type: code for code in asyncio.run(golden.reader().codes()).values()}


@corpus
def test_reading_and_writing_it_gives_the_same_bytes(golden: Golden) -> None:
    out = StringIO()
    asyncio.run(export_history(golden.reader(), out))
    assert out.getvalue().encode() == golden.history.read_bytes()


@corpus
def test_the_recorder_refuses_to_record_it_again(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    before = golden.history.stat().st_mtime_ns
    assert record(golden.name) == 2
    assert "never recorded again" in capsys.readouterr().err
    assert golden.history.stat().st_mtime_ns == before


def test_what_lies_here_is_what_the_corpus_lists() -> None:
    assert {path.stem for path in HERE.glob("*.jsonl")} == {golden.name for golden in CORPUS}
    assert {path.name for path in (HERE / "apps").iterdir()} == {golden.name for golden in CORPUS}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("item.quantity * item.cents", "item.cents", EnumReplayVerdict.OTHER_CODE_DIFFERS),
        ("orders = reducer(Order)", "orders = reducer(Order)  # the same", EnumReplayVerdict.OTHER_CODE_EQUAL),
    ],
)
def test_a_change_of_code_is_told_apart(old: str, new: str, verdict: EnumReplayVerdict, tmp_path: Path) -> None:
    golden = CORPUS[0]
    changed = shutil.copytree(golden.app, tmp_path / "orders")
    text = (changed / "reducer.py").read_text()
    assert old in text
    (changed / "reducer.py").write_text(text.replace(old, new))
    result = replayed(golden, workflows(changed, golden.served))
    assert result.mismatches == 0
    assert EnumReplayVerdict.EQUAL not in result.by_verdict
    assert verdict in result.by_verdict
    assert (EnumReplayVerdict.OTHER_CODE_DIFFERS in result.by_verdict) is (
        verdict is EnumReplayVerdict.OTHER_CODE_DIFFERS
    )
