"""Small apps written into a test's folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

CONTRACT = """\
name: {name}
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: REDUCER_GENERIC
state_model: Job
state_machine:
  initial_state: new
  terminal_states: [done, lost]
  transitions:
    - {{from_state: new, to_state: busy, trigger: begin, payload: Begin}}
    - {{from_state: busy, to_state: done, trigger: made, payload: Made}}
    - {{from_state: busy, to_state: lost, trigger: failed, payload: Failure}}
intents:
  - {{name: make, type: file_operation, target: workshop, payload: Make,
     outcomes: {{succeeded: made, failed: failed, unknown: failed}}}}
"""
PAYLOADS = """\
from __future__ import annotations

from onex import Payload, State


class Job(State):
    what: str = ""
    where: str = ""


class Begin(Payload):
    what: str


class Make(Payload):
    what: str


class Made(Payload):
    where: str
"""
REDUCER = """\
from __future__ import annotations

from onex import Action, Step, reducer

from .payloads import Begin, Job, Made, Make

jobs = reducer(Job)


@jobs.on("begin")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job.evolve(what=action.payload.what), Make(what=action.payload.what))


@jobs.on("made")
def made(job: Job, action: Action[Made]) -> Step[Job]:
    return Step(job.evolve(where=action.payload.where))
"""
EFFECTS = """\
from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Made, Make


@effect("workshop")
def make(intent: ModelIntent[Make]) -> Made:
    return Made(where=intent.payload.what.upper())
"""


def write(folder: Path, **files: str) -> Path:
    """Files by name, ``__`` for a slash; a name without suffix is a ``.py``."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path if path.suffix else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def job(folder: Path, name: str = "job", **changed: str) -> Path:
    """An app of one workflow with one effect. ``changed`` replaces its files; an empty text leaves one out."""
    files = {"payloads": PAYLOADS, "reducer": REDUCER, "effects": EFFECTS} | changed
    write(folder, **{part: text for part, text in files.items() if text})
    (folder / "contract.yaml").write_text(CONTRACT.format(name=name))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1))
