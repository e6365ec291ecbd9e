"""The three machines of code_analysis: a file's life, a directory that waits for a number of files, one report at the end."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from pathlib import Path

import onex
from onex import Blob, Failure, load_app
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.testing.harness import given
from onex.workflows.code_analysis.tree import begin, module_of

APP = load_app(Path(str(files("onex.workflows"))) / "code_analysis")
BLOB = Blob(digest="0" * 64, size=1)


def payload(workflow: str, trigger: str, **fields: object) -> onex.Payload:
    model = APP.workflows[workflow].reducer.payloads[trigger]
    return model.model_validate(fields)  # type: ignore[return-value]  # every payload of this app derives from Payload


SEEN = {"root": "/r", "path": "a/b.py", "module": "a.b", "directory": "j/a", "out": "/o"}


def test_a_file_is_read_analysed_and_reported_to_its_directory() -> None:
    file = given(APP.workflows["code_file"].reducer)
    file.when("discover", payload("code_file", "discover", **SEEN)).then(status="discovered", path="a/b.py")
    assert [one.name for one in file.emitted] == ["read"]
    file.when("was_read", payload("code_file", "was_read", source=BLOB)).then(status="read")
    assert [one.name for one in file.emitted] == ["analyse"]
    file.when("was_analysed", payload("code_file", "was_analysed", analysis=BLOB, tally={})).then(status="analysed")
    assert [one.name for one in file.emitted] == ["write"]
    file.when("was_written", payload("code_file", "was_written", report="/o/x")).then(status="reported", report="/o/x")
    (reported,) = file.emitted
    assert (reported.name, reported.to) == ("tell_directory", "j/a")


def test_a_file_that_fails_says_why_and_still_counts() -> None:
    file = given(APP.workflows["code_file"].reducer).when("discover", payload("code_file", "discover", **SEEN))
    file.when("gave_up", Failure(code="unreadable", message="no such file", attempts=1))
    file.then(status="failed", reason="no such file (unreadable, 1 tries)")
    (reported,) = file.emitted
    assert reported.payload is not None and reported.payload.model_dump()["references"] == ()


def test_a_directory_without_results_is_complete_at_once() -> None:
    directory = given(APP.workflows["code_directory"].reducer)
    directory.when("begin", payload("code_directory", "begin", total="j", files=1))
    directory.when("file_done", payload("code_directory", "file_done", tally={}))
    assert [one.name for one in directory.emitted] == ["complete"]
    directory.when("hand_over").then(status="handed_over")


def test_a_directory_packs_what_it_holds_before_it_hands_over() -> None:
    directory = given(APP.workflows["code_directory"].reducer)
    directory.when("begin", payload("code_directory", "begin", total="j", files=2))
    directory.when("file_done", payload("code_directory", "file_done", tally={}, references=[BLOB]))
    assert [one.name for one in directory.emitted] == []
    directory.when("file_done", payload("code_directory", "file_done", tally={}, references=[BLOB]))
    assert [one.name for one in directory.emitted] == ["pack"]
    directory.when("packed", payload("code_directory", "packed", bundle=BLOB))
    assert [one.name for one in directory.emitted] == ["complete"]


def test_modules_are_named_as_they_are_imported() -> None:
    assert [module_of(p) for p in ("a.py", "a/__init__.py", "a/b.py")] == ["a", "a", "a.b"]


SOURCES = {
    "good.py": "import os\n\n\ndef f(x=[]):\n    return os.sep\n",
    "bad.py": "def broken(:\n",
    "pkg/__init__.py": "from . import one\n",
    "pkg/one.py": "from . import two\n",
    "pkg/two.py": "from . import one\n",
}


async def analysed(engine: ReducerPatternEngine, root: Path, out: Path, paths: list[str]) -> None:
    actions = [(a.key, a.trigger, a.payload) for a in begin("t", str(root), paths, str(out), "A small tree")]
    for answer in await engine.submit_many(actions):
        assert not isinstance(answer, onex.OnexError), answer
    await engine.wait("code_total:t", timeout_s=60)
    await engine.idle()


def test_a_small_tree_becomes_one_report_and_a_missing_file_one_failure(tmp_path: Path) -> None:
    root, out = tmp_path / "src", tmp_path / "out"
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    paths = [*sorted(SOURCES), "pkg/gone.py", "../outside.py"]

    async def go() -> None:
        store = f"sqlite:///{tmp_path}/store.db"
        async with await onex.open(store, APP, workers=2, check_all=True) as engine:
            await analysed(engine, root, out, paths)
            counts = await engine.reader.counts()
            assert counts.by_status == {
                ("code_file", "reported"): 5,
                ("code_file", "failed"): 2,
                ("code_directory", "handed_over"): 3,
                ("code_total", "reported"): 1,
            }
            gone = await engine.state("code_file:t/pkg/gone.py")
            assert gone is not None and "gone.py" in gone.model_dump()["reason"]

    asyncio.run(go())
    text = (out / "report.md").read_text()
    assert "A small tree" in text and "bad.py" in text and "pkg.one" in text
    assert "<html" in (out / "report.html").read_text()
    assert json.loads((out / "files/good.py.json").read_text())["module"] == "good"
