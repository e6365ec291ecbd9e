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
