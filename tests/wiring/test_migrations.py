"""A workflow changes shape while its instances live: what was stored is read as the new code has it, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.app import load_app
from onex.cli.main import main
from onex.engine.refold import state_at
from onex.engine.registry import ReducerRegistry
from onex.engine.schema_upgrade import MigrationMissing
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ContractError, MigrationFailed, OnexError, StateTooNew
from onex.kernel.finding import Finding
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from tests.app.apps import EFFECTS, PAYLOADS, REDUCER, edit, job

LATER = EFFECTS.replace(
    "    return Made(where=intent.payload.what.upper())", '    raise EffectFailed("closed", retryable=True)'
).replace("import ModelIntent, effect", "import EffectFailed, ModelIntent, effect")
"""Whoever serves ``make`` is closed today, so the intent stays open."""

MIGRATIONS = """\
from __future__ import annotations

from onex import migrate


@migrate(1)
def name_it(state: dict) -> dict:
    return {("title" if name == "what" else name): value for name, value in state.items()}


@migrate(1, payload="begin")
@migrate(1, intent="make")
def carry_it(payload: dict) -> dict:
    return {"title": payload["what"]}
"""


NO: dict[str, JsonValue] = {"code": "no", "message": "no", "attempts": 1}
VALUE = '"title" if name == "what" else name): value'
LIMBO = (VALUE, VALUE + ' if name != "status" else "busy!"')


def first(folder: Path) -> Path:
    return job(folder / "one" / "job", effects=LATER)


def second(folder: Path, migrations: str = MIGRATIONS, schema: int = 2) -> Path:
    """``what`` is called ``title`` now, in state, action and intent."""
    made = job(
        folder / "two" / "job",
        payloads=PAYLOADS.replace("what:", "title:"),
        reducer=REDUCER.replace("what=action.payload.what", "title=action.payload.title"),
        effects=EFFECTS.replace("payload.what", "payload.title"),
        migrations=migrations,
    )
    edit(made / "contract.yaml", "state_model: Job", f"state_model: Job\nstate_schema: {schema}")
    return made


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    made = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("ONEX_STORE", made)
    return made


async def begun(url: str, app: Path, key: str = "job:1") -> None:
    async with await onex.open(url, app, check_all=True) as engine:
        await engine.submit(key, "begin", {"what": "a chair"})


def test_an_instance_begun_under_the_old_shape_ends_under_the_new_one(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await begun(url, first(tmp_path))
        async with await onex.open(url, second(tmp_path), check_all=True) as engine:
            state = await engine.state("job:1")
            assert state is not None
            assert json.loads(state.model_dump_json())["title"] == "a chair"
            ended = await engine.wait("job:1", timeout_s=20)
            assert (ended.status, ended.state_schema) == ("done", 2)
            assert json.loads(ended.state) == {"status": "done", "title": "a chair", "where": "A CHAIR"}
            workflow = load_app(tmp_path / "two" / "job").workflows["job"].recorded
            early = await state_at(engine.reader, workflow, WorkflowKey("job", "1"), 1)
            assert json.loads(early.model_dump_json())["title"] == "a chair"

    asyncio.run(life())


def test_its_history_folds_under_both_codes(tmp_path: Path, url: str) -> None:
    async def life() -> list[EnumReplayVerdict]:
        await begun(url, first(tmp_path))
        new = load_app(second(tmp_path)).workflows["job"].recorded
        old = load_app(tmp_path / "one" / "job").workflows["job"].recorded
        async with await onex.open(url, tmp_path / "two" / "job", check_all=True) as engine:
            await engine.wait("job:1", timeout_s=20)
            verdicts = []
            for older in ((), (old,)):
                proof = Replay(engine.reader, ReducerRegistry((new,)), older)
                verdicts += [segment.verdict async for segment in proof.all()]
            return verdicts

    assert asyncio.run(life()) == [
        EnumReplayVerdict.OTHER_CODE_EQUAL,
        EnumReplayVerdict.EQUAL,
        EnumReplayVerdict.EQUAL,
        EnumReplayVerdict.EQUAL,
    ]


def test_an_engine_without_the_way_up_does_not_start(tmp_path: Path, url: str) -> None:
    asyncio.run(begun(url, first(tmp_path)))
    two = second(tmp_path, migrations="")
    with pytest.raises(MigrationMissing, match="schema 1, this app writes 2 and has no migration from 1 to 2"):
        asyncio.run(onex.open(url, two))
    asyncio.run(begun(url, tmp_path / "one" / "job", "job:2"))  # nothing was touched


def test_old_code_leaves_an_instance_of_new_code_alone(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        async with await onex.open(url, second(tmp_path)) as engine:
            await engine.submit("job:1", "begin", {"title": "a chair"})
            await engine.wait("job:1", timeout_s=20)
            await engine.submit("job:2", "begin", {"title": "a table"})
        async with await onex.open(url, first(tmp_path)) as engine:
            with pytest.raises(StateTooNew):
                await engine.state("job:2")
            with pytest.raises(OnexError):
                await engine.submit("job:2", "failed", NO, operator="test")
            stored = await engine.stored("job:2")
            assert stored is not None
            assert stored.state_schema == 2

    asyncio.run(life())


def test_an_outcome_that_old_code_could_not_deliver_is_delivered_by_the_new_without_anybody_asking(
    tmp_path: Path, url: str
) -> None:
    """In a rolling upgrade an old process may finish an effect for an instance that new code has moved on meanwhile. The
    result waits in its row, and the effect is not run again."""
    ran = tmp_path / "ran"
    writes = f'    with open({str(ran)!r}, "a") as file:\n        file.write("x")\n    return Made('

    async def life() -> None:
        await begun(url, first(tmp_path))
        two = second(tmp_path)
        edit(
            two / "effects.py", "    return Made(", '    raise EffectFailed("closed", retryable=True)\n    return Made('
        )
        edit(two / "effects.py", "import ModelIntent", "import EffectFailed, ModelIntent")
        async with await onex.open(url, two) as engine:
            await engine.rollback("job:1", 1)  # the intent is open, and the state is of schema 2 now
        open_again = job(tmp_path / "one" / "job", effects=EFFECTS.replace("    return Made(", writes))
        async with await onex.open(url, open_again) as engine:
            await engine.idle()
            with pytest.raises(StateTooNew) as refused:
                await engine.submit("job:1", "failed", NO, operator="test")
            assert refused.value.retryable
            stored = await engine.stored("job:1")
            assert stored is not None
            assert (stored.version, stored.state_schema, stored.status) == (2, 2, "busy")
        assert ran.read_text() == "x"
        async with await onex.open(url, two) as engine:
            assert (await engine.wait("job:1", timeout_s=20)).status == "done"

    asyncio.run(life())


def test_a_migration_that_raises_refuses_the_instance_and_changes_nothing(tmp_path: Path, url: str) -> None:
    asyncio.run(begun(url, first(tmp_path)))
    two = second(tmp_path, MIGRATIONS.replace("return {(", "assert 0\n    return {("))

    async def life() -> None:
        async with await onex.open(url, two) as engine:
            before = await engine.stored("job:1")
            with pytest.raises(MigrationFailed, match="from schema 1 to 2 raised AssertionError"):
                await engine.submit("job:1", "failed", NO, operator="test")
            assert await engine.stored("job:1") == before
            await engine.submit("job:2", "begin", {"title": "a neighbour"})

    asyncio.run(life())


# --- onex migrate --check ---------------------------------------------------------------------------------------------


def checked(app: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = main(["migrate", "--check", str(app), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert "ok" in said, said
    return code, said


def test_check_says_that_all_is_well(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(begun(url, first(tmp_path)))
    code, told = checked(second(tmp_path), capsys)
    assert (code, told["ok"], told["instances"], told["migrated"], told["intents"]) == (0, True, 1, 1, 1)
    assert main(["migrate", "--check", str(tmp_path / "two" / "job")]) == 0
    assert "none is stranded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "what", "reason"),
    [
        (("return {(", "assert 0\n    return {("), "failed", "AssertionError"),
        (('"title" if', '"name" if'), "failed", "name: Extra inputs are not permitted"),
        (('{"title": payload["what"]}', '{"colour": "red"}'), "intent_failed", "title: Field required"),
        (LIMBO, "stranded", "in status 'busy!' nothing is accepted"),
    ],
)
def test_check_names_what_would_go_wrong(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str], what: str, reason: str
) -> None:
    asyncio.run(begun(url, first(tmp_path)))
    code, told = checked(second(tmp_path, MIGRATIONS.replace(*wrong)), capsys)
    assert (code, told["ok"], told["troubles"]) == (1, False, {what: 1}), told
    (found,) = told["found"] if isinstance(told["found"], list) else []
    assert (found["key"], found["schema"]) == ("job:1", 1)
    assert reason in found["reason"]


def test_check_says_where_a_migration_is_missing(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(begun(url, first(tmp_path)))
    code, told = checked(second(tmp_path, migrations=""), capsys)
    assert (code, told["ok"]) == (1, False)
    assert "@migrate(1)" in str(told["missing"])


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("migrations", "schema", "told"),
    [
        (MIGRATIONS, 1, ["migration_schema"] * 2),
        (MIGRATIONS.replace('"begin"', '"begn"'), 2, ["unknown_trigger"]),
        (MIGRATIONS.replace('"make"', '"bake"'), 2, ["unknown_intent"]),
        (MIGRATIONS, 3, ["migration_missing"]),
        (MIGRATIONS + "\n\n@migrate(1)\ndef again(state: dict) -> dict:\n    return state\n", 2, ["duplicate"]),
        (MIGRATIONS.replace("def name_it(state: dict)", "async def name_it(state: dict)"), 2, ["migration"]),
    ],
)
def test_migrations_that_do_not_fit_the_contract_are_told_at_their_line(
    tmp_path: Path, migrations: str, schema: int, told: list[str]
) -> None:
    with pytest.raises(ContractError) as caught:
        load_app(second(tmp_path, migrations, schema))
    found = [one for one in caught.value.findings if isinstance(one, Finding)]
    assert [one.code for one in found] == told
    assert all(one.path.endswith("migrations.py") and one.line for one in found)


def test_what_a_migration_left_behind_is_told_as_its_own(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has written a migration is not told to write one."""
    asyncio.run(begun(url, first(tmp_path)))
    two = second(tmp_path, MIGRATIONS.replace('"title" if name == "what" else name', "name"))
    assert main(["migrate", "--check", str(two)]) == 1
    told = capsys.readouterr().out
    assert (
        "they are of schema 1: what migrations.py makes of them is to be what schema 2 has, no more and no less" in told
    )
    assert "give a migration" not in told
