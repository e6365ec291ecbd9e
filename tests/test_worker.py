"""An app's own compute function, found by its names: in this process and in a worker."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import pytest

from onex import worker
from onex.adapters.forked_workers import ForkedWorkers
from onex.adapters.worker_pool import WorkerPool
from onex.app import App, load_app
from onex.kernel.errors import AlgorithmNotFoundError, EffectFailed
from onex.nodes.compute import ComputeAddress
from tests.adapters.inline_workers import InlineWorkers

FILES = {
    "contract.yaml": """
        name: words
        contract_version: {major: 1, minor: 0, patch: 0}
        node_type: REDUCER_GENERIC
        description: counts words
        state_model: Words
        state_machine:
          initial_state: new
          terminal_states: [done]
          transitions:
            - {from_state: new, to_state: counting, trigger: begin, payload: Text}
            - {from_state: counting, to_state: done, trigger: counted, payload: Count}
            - {from_state: counting, to_state: done, trigger: failed, payload: Failure}
        intents:
          - {name: count, type: compute_task, target: count, payload: Text,
             outcomes: {succeeded: counted, failed: failed, unknown: failed}}
        """,
    "payloads.py": """
        from __future__ import annotations
        from onex.kernel.action import Payload
        from onex.kernel.step import State

        class Words(State):
            n: int = 0

        class Text(Payload):
            text: str

        class Count(Payload):
            n: int
        """,
    "reducer.py": """
        from __future__ import annotations
        from onex.kernel.action import Action
        from onex.kernel.machine import reducer
        from onex.kernel.step import Step
        from .payloads import Count, Text, Words

        words = reducer(Words)

        @words.on("begin")
        def begin(state: Words, action: Action[Text]) -> Step[Words]:
            return Step(state, action.payload)
        """,
    "compute.py": """
        from __future__ import annotations
        from onex.nodes.compute import compute
        from .payloads import Count, Text

        CALLS: list[str] = []

        @compute("count")
        def count(task: Text) -> Count:
            CALLS.append(task.text)
            if not task.text:
                raise ValueError("nothing to count")
            return Count(n=len(task.text.split()) * 1000 + len(CALLS))
        """,
}


@pytest.fixture
def app(tmp_path: Path) -> App:
    folder = tmp_path / "words"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(textwrap.dedent(text))
    return load_app(folder)


def where(app: App, name: str = "count") -> ComputeAddress:
    return (str(app.root), app.digest, "words", name)


def test_a_worker_finds_the_function_by_its_names_and_keeps_its_module(app: App) -> None:
    async def main() -> list[tuple[bytes, tuple[object, ...]]]:
        pool = WorkerPool(ForkedWorkers("onex.worker:perform"), max_workers=1)
        try:
            return [await pool.run(where(app), b'{"text":"one two"}', {}) for _ in range(3)]
        finally:
            await pool.close(grace_s=0)

    assert asyncio.run(main()) == [(b'{"n":2001}', ()), (b'{"n":2002}', ()), (b'{"n":2003}', ())]


def test_what_the_function_raises_is_reported_with_its_line_in_the_app(app: App) -> None:
    with pytest.raises(EffectFailed, match=r"^count raised ValueError: nothing to count at compute\.py:12$"):
        asyncio.run(InlineWorkers("onex.worker:perform").run(where(app), b'{"text":""}', {}))


def test_files_that_are_not_the_engines_are_not_run(app: App) -> None:
    (app.root / "compute.py").write_text((app.root / "compute.py").read_text() + "\n# changed\n")
    with pytest.raises(EffectFailed, match="changed: their digest is") as caught:
        worker.perform(where(app), b'{"text":"one"}', {})
    assert (caught.value.reason, caught.value.retry) == ("code_changed", False)


def test_a_function_the_app_does_not_have_is_named(app: App) -> None:
    with pytest.raises(AlgorithmNotFoundError, match="no compute function 'cuont' for workflow 'words'"):
        worker.perform(where(app, "cuont"), b"{}", {})
