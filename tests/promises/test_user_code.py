"""What user code may do and what comes of it. ``make docs`` writes the table of docs/concepts/promises.md from these tests.

One app misbehaves in every part of it, on a real store. After each misdeed a neighbour is judged and done, on the same engine.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.engine.projections import latest
from onex.kernel.action import ModelAction, WorkflowKey
from onex.kernel.errors import OnexError
from onex.ports import LogEntry, ProjectionRow
from onex.wiring import open_sender
from onex.wiring.engine import WiredEngine
from tests.promises.promise import promise

APP = Path(__file__).with_name("app")
RAISED = ("error", "exit", "ctrl-c", "panic", "cancelled", "mute", "stop", "hostile", "recursion")
"""An ordinary error, SystemExit, KeyboardInterrupt, a BaseException, CancelledError, one that cannot be told, StopIteration, text
that no store takes, and a RecursionError."""

Story = Callable[[WiredEngine], Awaitable[None]]


def told(tmp_path: Path, story: Story, app: Path = APP) -> None:
    async def go() -> None:
        async with asyncio.timeout(60), await onex.open(f"sqlite:///{tmp_path}/store.db", app, workers=1) as engine:
            await story(engine)
            assert engine.service.closed is None
            assert (await engine.submit("rough:neighbour", "reduced", {"what": "well"})).status == "fresh"

    asyncio.run(go())


async def sent(engine: WiredEngine, key: str, trigger: str, payload: dict[str, JsonValue]) -> str:
    """The code of the refusal of an action that came through the inbox."""
    action = ModelAction(workflow_key=WorkflowKey.parse(key), kind=trigger, command_payload=payload)
    sender = await open_sender(f"sqlite:///{engine.reader.path}")  # type: ignore[attr-defined]
    try:
        ticket = await sender.send(action.model_dump_json().encode(), engine.clock.now_us())
        while (answer := await sender.answer(ticket)) is None:
            await asyncio.sleep(0.002)
    finally:
        await sender.close()
    return str(json.loads(answer)["error"]["code"])


async def refused(engine: WiredEngine, key: str, trigger: str, payload: dict[str, JsonValue]) -> OnexError:
    """The refusal; no version moved, and a row of ``rejections`` says why."""
    with pytest.raises(OnexError) as error:
        await engine.submit(key, trigger, payload)
    assert await engine.stored(key) is None
    rows = await engine.reader.rejections(key, None, 0, 10)
    assert [row.code for row in rows] == [error.value.code]
    return error.value


@promise(
    "Validator of a payload",
    "raise anything",
    "The action is refused (`invalid_payload`), also one that waits in the inbox.",
)
def test_a_validator_that_raises_refuses_the_payload(tmp_path: Path) -> None:
    async def story(engine: WiredEngine) -> None:
        for what in RAISED:
            error = await refused(engine, f"rough:{what}", "checked", {"what": what})
            assert error.code == "invalid_payload", what
            assert await sent(engine, f"rough:{what}", "checked", {"what": what}) == "invalid_payload", what

    told(tmp_path, story)


@promise("Guard", "raise, or take too long", "The action is refused (`guard_failed`).")
def test_a_guard_that_raises_refuses_the_action(tmp_path: Path) -> None:
    async def story(engine: WiredEngine) -> None:
        assert (await refused(engine, "rough:1", "guarded", {"what": "x"})).code == "guard_failed"

    told(tmp_path, story)


@promise(
    "Reducer",
    "raise anything, return anything",
    "The action is refused (`reducer_failed`). The third of one instance holds it, until other code or `onex release`.",
)
def test_a_reducer_that_raises_or_returns_anything_refuses_the_action(tmp_path: Path) -> None:
    async def story(engine: WiredEngine) -> None:
        for what in (*RAISED, "nothing", "status", "priority", "integer"):
            error = await refused(engine, f"rough:{what}", "reduced", {"what": what})
            assert error.code == "reducer_failed", what
        await engine.submit("rough:held", "reduced", {"what": "well"})
        for code in ("reducer_failed", "reducer_failed", "reducer_failed", "instance_held"):
            with pytest.raises(OnexError) as error_of:
                await engine.submit("rough:held", "reduced", {"what": "panic"})
            assert error_of.value.code == code

    told(tmp_path, story)


@promise(
    "Reducer",
    "never end",
    "Python code is ended after its budget and the action refused (`reducer_failed`). A call into C that does not come back "
    "stops the engine until it returns, or until `kill -9`, which is counted as a crash.",
)
def test_a_reducer_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_STEP_BUDGET_S", "0.2")

    async def story(engine: WiredEngine) -> None:
        assert (await refused(engine, "rough:1", "reduced", {"what": "endless"})).code == "reducer_failed"

    told(tmp_path, story)


async def outcome(engine: WiredEngine, trigger: str, what: str) -> tuple[str, str]:
    key = f"rough:{trigger} {what}"
    await engine.submit(key, trigger, {"what": what})
    status = (await engine.wait(key, timeout_s=20)).status
    state = await engine.state(key)
    return status, getattr(state, "why", "")


def effects(tmp_path: Path, trigger: str) -> None:
    async def story(engine: WiredEngine) -> None:
        for what in RAISED:
            status, why = await outcome(engine, trigger, what)
            assert (status, why.endswith("tried 2 times")) == ("doubt", True), what
        assert (await outcome(engine, trigger, "refused"))[0] == "failed"
        status, why = await outcome(engine, trigger, "nothing")
        assert (status, why.endswith("tried 1 times")) == ("doubt", True)
        assert (await outcome(engine, trigger, "well"))[0] == "done"

    told(tmp_path, story)


@promise(
    "Effect, plain",
    "raise anything, return anything",
    "It ran, so it is tried again by its policy, then `unknown`. Only `EffectFailed` says `failed`. A wrong result is "
    "`unknown` at once.",
)
def test_a_plain_effect_that_raises_or_returns_anything_has_one_outcome(tmp_path: Path) -> None:
    effects(tmp_path, "sync")


@promise(
    "Effect, async",
    "raise anything, return anything",
    "The same. A `CancelledError` of its own is an error like any other.",
)
def test_an_async_effect_that_raises_or_returns_anything_has_one_outcome(tmp_path: Path) -> None:
    effects(tmp_path, "awaited")


@promise(
    "Compute function",
    "raise anything, return anything, end its process",
    "It is pure and runs in a process of its own: the outcome is `failed`, other tasks go on.",
)
def test_a_compute_function_that_raises_or_ends_its_process_has_failed(tmp_path: Path) -> None:
    async def story(engine: WiredEngine) -> None:
        for what in (*RAISED, "nothing", "ends its process"):
            assert (await outcome(engine, "computed", what))[0] == "failed", what
        assert (await outcome(engine, "computed", "well"))[0] == "done"

    told(tmp_path, story)


@promise(
    "Projection",
    "raise anything, return anything",
    "It stands still before that row (`projection_failed`, with the position); the engine and other projections go on.",
)
def test_a_projection_that_raises_stands_still_and_says_where(tmp_path: Path) -> None:
    from tests.promises.app.rough import payloads

    async def story(engine: WiredEngine) -> None:
        other = await engine.materialize("other", latest)
        for what in (*RAISED, "rubbish"):

            def project(entry: LogEntry, what: str = what) -> ProjectionRow | None:
                payloads.raises(what)
                return what  # type: ignore[return-value]

            view = await engine.materialize(f"view {what}", project)
            done = await engine.submit(f"rough:{what}", "reduced", {"what": "well"})
            with pytest.raises(OnexError) as error:
                await view.wait(done.position)
            assert error.value.code == "projection_failed", what
            await other.wait(done.position)

    told(tmp_path, story)


@contextmanager
def older(tmp_path: Path) -> Iterator[Path]:
    """The app as it was under schema 1."""
    app = tmp_path / "older" / "rough"
    shutil.copytree(APP / "rough", app)
    (app / "migrations.py").unlink()
    contract = app / "contract.yaml"
    contract.write_text(contract.read_text().replace("state_schema: 2\n", ""))
    yield app.parent


@promise(
    "Migration",
    "raise anything, return anything",
    "What comes for that instance is refused (`migration_failed`); its row stays as it is, and others are read.",
)
def test_a_migration_that_raises_leaves_its_row_and_its_neighbours(tmp_path: Path) -> None:
    names = (*RAISED, "a list")

    async def before(engine: WiredEngine) -> None:
        async def given(what: str) -> None:
            await engine.submit(f"rough:{what}", "guarded", {"what": what, "list": ["x"] * 8})

        for what in (*names, "well"):
            await given(what)

    async def after(engine: WiredEngine) -> None:
        for what in names:
            with pytest.raises(OnexError) as error:
                await engine.submit(f"rough:{what}", "reduced", {"what": "well"})
            assert error.value.code == "migration_failed", what
        assert (await engine.submit("rough:well", "reduced", {"what": "well"})).version == 2

    with older(tmp_path) as app:
        reducer = app / "rough" / "reducer.py"
        reducer.write_text(
            reducer.read_text()
            + '\n\n@rough.on("guarded")\ndef guarded(one: Rough, action: Action[What]) -> Step[Rough]:\n'
            + "    return Step(one.evolve(what=action.payload.what))\n"
        )
        told(tmp_path, before, app)
    told(tmp_path, after)


@promise(
    "Serializer",
    "raise anything, write something else than the value",
    "What cannot be written, or does not read back equal, is refused by name. `onex check` objects to a serializer.",
)
def test_a_serializer_that_raises_or_lies_refuses_the_action(tmp_path: Path) -> None:
    async def story(engine: WiredEngine) -> None:
        for what in (*RAISED, "changes"):
            error = await refused(engine, f"rough:{what}", "written", {"what": what})
            assert error.code in ("invalid_payload", "reducer_failed"), what

    told(tmp_path, story)
