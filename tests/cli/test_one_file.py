"""The commands that take an APP take a Python file as well as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.authoring.declared import app
from tests.cli.conftest import Commands, Process


@pytest.mark.parametrize("name", ["jobs", "jobs/app.py"])
def test_a_workflow_in_one_file_is_run_shown_and_replayed(
    name: str, place: Path, commands: Commands, processes: type[Process]
) -> None:
    app(place / "jobs")
    assert commands("submit", "jobs:1", "begin", "--payload", '{"what": "a"}', "--no-wait").code == 0
    ran = processes("run", name, "--until-idle").end()
    assert (ran.code, "running jobs on" in ran.err) == (0, True)
    assert commands("show", "jobs:1", "--json").row["status"] == "done"
    told = commands("replay", name, "--strict")
    assert (told.code, told.out.splitlines()[-1]) == (0, "1 instance, 2 actions, 0 unverified")


def test_comments_in_a_lock_file_are_no_difference_to_anybody(place: Path, commands: Commands) -> None:
    app(place / "jobs")
    assert commands("contract", "jobs", "--lock").code == 0
    (lock,) = (place / "jobs").glob("*.lock.yaml")
    noted = lock.read_text() + "\n# agreed with Bo\n"
    lock.write_text(noted)
    assert commands("contract", "jobs", "--frozen").code == 0
    assert "contract_changed" not in commands("check", "jobs").out
    assert commands("contract", "jobs", "--lock").err == f"{lock} is up to date\n"
    assert lock.read_text() == noted
    lock.write_text(noted.replace("initial_state: new", "initial_state: old"))
    told = commands("contract", "jobs", "--frozen")
    assert (told.code, "differs from the contract" in told.err) == (1, True)
    assert "contract_changed" in commands("check", "jobs").out
    lock.write_text(noted.replace("app.py", "other.py", 1))
    assert commands("contract", "jobs", "--frozen").code == 0
    assert commands("contract", "jobs", "--lock").err == f"wrote {lock}\n"
