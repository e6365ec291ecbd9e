"""A file that declares two workflows says for each which values of earlier schemas it reads, and how."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.app import load_app
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding
from tests.authoring.declared import app, line_of

OLD = """\
from __future__ import annotations

from typing import Literal

from onex import Action, Payload, State, Step, migrate, renames, workflow


class Job(State):
    status: Literal["new", "busy", "done"] = "new"
    cents: int = 0


class Note(State):
    status: Literal["new", "kept"] = "new"


class Begin(Payload):
    cents: int


jobs = workflow("jobs", Job)
notes = workflow("notes", Note)


@jobs.on("new -> busy")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job.evolve(cents=action.payload.cents))


jobs.move("end", "busy -> done")
notes.move("keep", "new -> kept")
"""
NEW = (
    OLD.replace("busy", "working")
    .replace("    cents: int = 0", "    euros: float = 0")
    .replace("evolve(cents=action.payload.cents)", "evolve(euros=action.payload.cents / 100)")
    .replace('workflow("jobs", Job)', 'workflow("jobs", Job, state_schema=2)')
)
STEPS = """

@jobs.migrate(1)
def in_euros(old: dict) -> dict:
    return {"status": old["status"], "euros": old["cents"] / 100}


jobs.renames(1, statuses={"busy": "working"})
"""


def test_one_of_two_workflows_gets_a_new_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def before() -> None:
        async with await onex.open(url, app(tmp_path / "old", OLD)) as engine:
            await engine.submit("jobs:1", "begin", {"cents": 250})
            await engine.submit("notes:1", "keep")

    async def after() -> tuple[str, object, str]:
        async with await onex.open(url, app(tmp_path / "new", NEW + STEPS)) as engine:
            job, note = await engine.state("jobs:1"), await engine.state("notes:1")
            assert job is not None
            assert note is not None
            done = await engine.submit("jobs:1", "end")
            return job.status, getattr(job, "euros"), f"{done.status} {note.status}"  # noqa: B009 # a class of the app's

    asyncio.run(before())
    assert asyncio.run(after()) == ("working", 2.5, "done kept")


@pytest.mark.parametrize(
    ("plain", "line"),
    [("jobs.renames", "renames(1,"), ("@jobs.migrate", "def in_euros")],
)
def test_a_step_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, plain: str, line: str) -> None:
    text = NEW + STEPS.replace(plain, plain.replace("jobs.", ""))
    with pytest.raises(ContractError) as caught:
        load_app(app(tmp_path, text))
    (one,) = [one for one in caught.value.findings if isinstance(one, Finding) and one.code == "whose_migration"]
    assert (one.line, "jobs.renames(...)" in one.fix) == (line_of(text, line), True)


def test_a_mistake_in_one_is_reported_at_its_line(tmp_path: Path) -> None:
    text = NEW + STEPS + '\nnotes.renames(1, statuses={"new": "kept"})\n'
    with pytest.raises(ContractError) as caught:
        load_app(app(tmp_path, text))
    assert [(one.line, one.code) for one in caught.value.findings if isinstance(one, Finding)] == [
        (line_of(text, "notes.renames"), "migration_schema")
    ]


def test_a_file_with_one_workflow_need_not_say_it(tmp_path: Path) -> None:
    alone = NEW.replace('notes = workflow("notes", Note)\n', "").replace('notes.move("keep", "new -> kept")\n', "")
    steps = STEPS.replace("jobs.", "")
    migrations = load_app(app(tmp_path, alone + steps)).workflows["jobs"].migrations
    assert (len(migrations.steps), len(migrations.renames)) == (1, 1)


def test_a_status_that_the_type_no_longer_lists_is_named_with_the_line_to_add(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def begun_and_reopened() -> list[tuple[str, str, str]]:
        async with await onex.open(url, app(tmp_path / "old", OLD)) as engine:
            await engine.submit("jobs:1", "begin", {"cents": 250})
        async with await onex.open(url, app(tmp_path / "new", OLD.replace("busy", "busier"))) as engine:
            return [(one.name, one.reason, one.fix) for one in engine.stranded]

    ((name, reason, fix),) = asyncio.run(begun_and_reopened())
    assert (name, reason) == ("busy", "its state has no status 'busy' any more")
    assert fix.endswith('renames(1, statuses={"busy": "busier"})')
