"""The files of a new small workflow: one trigger, one effect, and what becomes of it. They pass ``onex check`` and run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from keyword import iskeyword

from ..kernel.errors import ValidationError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TAKEN = frozenset(
    ("Action", "Begin", "Failure", "Literal", "ModelIntent", "Payload", "State", "Step", "Work", "Worked")
)


class BadWorkflowName(ValidationError):
    """A new workflow cannot have this name. The message says what a name looks like, and gives one that is near."""

    code = "bad_workflow_name"


def workflow_files(name: str) -> Mapping[str, str]:
    """``[file] -> text`` of the workflow ``name``, contract first. Raises BadWorkflowName."""
    state = _state_of(name)
    return {file: text.replace("NAME", name).replace("STATE", state) for file, text in _FILES.items()}


def workflow_file(name: str) -> str:
    """The text of the same workflow in one file. Raises BadWorkflowName."""
    state = _state_of(name)
    return _ONE_FILE.replace("NAME", name).replace("STATE", state)


def _state_of(name: str) -> str:
    """The name of the state's class."""
    if _NAME.fullmatch(name) is None or iskeyword(name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:60]
        if not near or iskeyword(near):
            near = f"{near}_flow".lstrip("_")
        raise BadWorkflowName(
            f"{name!r} cannot name a workflow: begin with a small letter, then small letters, digits or _, at most 64. "
            f"For example: {near}"
        )
    state = "".join(part.capitalize() for part in name.split("_"))
    return f"{state}State" if state in _TAKEN else state


_FILES = {
    "contract.yaml": """\
# What may happen to an instance of NAME, and what it asks of the world. `onex diagram` draws it.
name: NAME
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: STATE                     # a class in payloads.py
state_machine:
  initial_state: new
  terminal_states: [done, failed]
  transitions:
    - {from_state: new, to_state: working, trigger: begin, payload: Begin}
    - {from_state: working, to_state: done, trigger: work.succeeded, payload: Worked}
    - {from_state: working, to_state: failed, trigger: work.failed, payload: Failure}
    - {from_state: working, to_state: failed, trigger: work.unknown, payload: Failure}
intents:                                # its outcomes are work.succeeded, work.failed and work.unknown, by their names
  - {name: work, type: api_call, target: worker, payload: Work, retry: {max_attempts: 3}}
""",
    "payloads.py": '''\
"""What an instance of NAME keeps, and what its triggers and intents carry. All of it may stay in a log for ever."""

from __future__ import annotations

from onex import Payload, State


class STATE(State):
    text: str = ""
    answer: str = ""
    trouble: str = ""


class Begin(Payload):
    text: str


class Work(Payload):
    text: str


class Worked(Payload):
    answer: str
''',
    "reducer.py": '''\
"""What NAME decides: pure functions of a state and an action. No clock, no chance, no I/O."""

from __future__ import annotations

from onex import Action, Failure, Step, reducer

from .payloads import STATE, Begin, Work, Worked

handlers = reducer(STATE)


@handlers.on("begin")
def begin(state: STATE, action: Action[Begin]) -> Step[STATE]:
    return Step(state.evolve(text=action.payload.text), Work(text=action.payload.text))


@handlers.on("work.succeeded")
def worked(state: STATE, action: Action[Worked]) -> Step[STATE]:
    return Step(state.evolve(answer=action.payload.answer))


@handlers.on("work.failed", "work.unknown")
def failed(state: STATE, action: Action[Failure]) -> Step[STATE]:
    return Step(state.evolve(trouble=action.payload.message))
''',
    "effects.py": '''\
"""What NAME does in the world. An effect may run again after a crash, always with the same intent.idempotency_key."""

from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Work, Worked


@effect("worker")
def work(intent: ModelIntent[Work]) -> Worked:
    return Worked(answer=intent.payload.text.upper())
''',
}
_ONE_FILE = '''\
"""NAME: one trigger, one effect, and what becomes of it. `onex check NAME.py`, then `onex run NAME.py`."""

from __future__ import annotations

from typing import Literal

from onex import Action, Failure, ModelIntent, Payload, State, Step, workflow


class STATE(State):
    status: Literal["new", "working", "done", "failed"] = "new"
    text: str = ""
    answer: str = ""
    trouble: str = ""


class Begin(Payload):
    text: str


class Work(Payload):
    text: str


class Worked(Payload):
    answer: str


flow = workflow("NAME", STATE)


@flow.effect(retry=3)
def work(intent: ModelIntent[Work]) -> Worked:
    """Touches the world. It may run again after a crash, always with the same intent.idempotency_key."""
    return Worked(answer=intent.payload.text.upper())


@flow.on("new -> working")
def begin(state: STATE, action: Action[Begin]) -> Step[STATE]:
    """Pure: no clock, no chance, no I/O. `Work(...)` asks for the effect above."""
    return Step(state.evolve(text=action.payload.text), Work(text=action.payload.text))


@flow.on(work.succeeded, "working -> done")
def worked(state: STATE, action: Action[Worked]) -> Step[STATE]:
    return Step(state.evolve(answer=action.payload.answer))


@flow.on(work.failed, work.unknown, "working -> failed")
def failed(state: STATE, action: Action[Failure]) -> Step[STATE]:
    return Step(state.evolve(trouble=action.payload.message))
'''
