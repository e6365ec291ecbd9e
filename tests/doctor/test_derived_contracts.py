"""Apps in one file, by reading alone: the lock file names the file in which the handlers of its contract are."""

from __future__ import annotations

import shutil
from pathlib import Path

from onex.app import load_app
from onex.app.lock import lock_file, locked_text
from onex.doctor.examination import Examination, examine
from onex.doctor.purity_claims import EnumClaimVerdict
from tests.doctor.planted import reported
from tests.laws.tree import ROOT

APP = """
import time
from typing import Literal
from onex import Action, Nothing, State, Step, workflow

class Import(State):
    status: Literal["new", "done"] = "new"
    at: float = 0

class Other(State):
    status: Literal["new", "done"] = "new"

imports = workflow("imports", Import)
others = workflow("others", Other)

def now() -> float:
    return time.time()

@imports.on("new -> done")
def begin(state: Import, action: Action[Nothing]) -> Step[Import]:
    return Step(state.evolve(at=now()))

@others.on("new -> done")
def end(state: Other, action: Action[Nothing]) -> Step[Other]:
    return Step(state)
"""
CLOCK = 1 + APP.splitlines().index("    return time.time()")


def locked(root: Path) -> Path:
    source = root / "jobs" / "app.py"
    source.parent.mkdir()
    source.write_text(APP)
    for name, one in load_app(source.parent).workflows.items():
        lock_file(source, name).write_text(locked_text(one.located.tree, source))
    return source


def verdicts(found: Examination) -> dict[str, EnumClaimVerdict]:
    return {one.node: one.verdict for one in found.claims}


def test_handlers_of_a_one_file_app_are_followed_each_for_its_own_contract(tmp_path: Path) -> None:
    locked(tmp_path)
    found = examine(tmp_path)
    assert reported(found, tmp_path)[0] == f"impure_clock jobs/app.py:{CLOCK}"
    (clock,) = [one for one in found.findings if one.finding.code == "impure_clock"]
    assert [link.name for link in clock.chain] == ["begin", "now", "time.time()"]
    assert clock.contracts == (str(tmp_path / "jobs" / "imports.lock.yaml"),)
    of = verdicts(found)
    assert of["imports"] is EnumClaimVerdict.BROKEN
    assert of["others"] not in (EnumClaimVerdict.BROKEN, EnumClaimVerdict.NO_CODE)


def test_a_lock_file_whose_source_is_gone_is_a_warning(tmp_path: Path) -> None:
    locked(tmp_path).unlink()
    found = examine(tmp_path)
    assert reported(found, tmp_path) == [f"module_missing jobs/{name}.lock.yaml:1" for name in ("imports", "others")]
    assert set(verdicts(found).values()) == {EnumClaimVerdict.NO_CODE}
    assert found.counts() == {"warning": 2}


def test_a_source_that_cannot_be_parsed_is_reported(tmp_path: Path) -> None:
    locked(tmp_path).write_text("def (")
    found = examine(tmp_path)
    assert {one.finding.code for one in found.findings} == {"code_unreadable"}
    assert "app.py beside the contract cannot be read" in found.findings[0].finding.message


def test_naming_an_effect_is_not_calling_it(tmp_path: Path) -> None:
    """``charge.intent(...)`` and ``charge.succeeded`` stand in pure code; the effect behind them writes files."""
    folder = shutil.copytree(ROOT / "examples" / "billing", tmp_path / "billing")
    claims = [one.finding.code for one in examine(folder).findings]
    assert claims == []
    file = folder / "app.py"
    file.write_text(
        file.read_text().replace(
            "    month = sub.months + 1\n    key",
            "    month = sub.months + 1\n    _keep('x', '', Plan(cents=1))\n    key",
        )
    )
    assert "impure_file" in [one.finding.code for one in examine(folder).findings]
