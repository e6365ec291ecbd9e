"""What a release has no place for is named before it is missed: when an engine starts, and by ``onex migrate --check``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest

import onex
from onex.cli.main import main
from onex.kernel.errors import MigrationFailed
from onex.ports import EnumOutboxState
from tests.wiring.leaves import CONTRACT, REDUCER, RENAMED, changed, first, second, slow

PLAIN = """\
from __future__ import annotations

from onex import migrate


@migrate(1)
def renamed(leave: dict) -> dict:
    status = {"asked": "waiting"}.get(leave["status"], leave["status"])
    return {("notified" if name == "told" else name): value for name, value in leave.items()} | {"status": status}
"""
"""A migration of the state, as one writes it who does not know of renames."""


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    made = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("ONEX_STORE", made)
    return made


async def asked(url: str, app: Path, *names: str) -> None:
    async with await onex.open(url, app, check_all=True) as engine:
        for name in names or ("ann",):
            await engine.submit(f"leave:{name}", "ask", {"days": 3})


def still(folder: Path) -> Path:
    """The first code, nothing of which rings within a test."""
    return first(folder, contract=slow(CONTRACT), reducer=slow(REDUCER))


def checked(app: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, object]]]:
    capsys.readouterr()
    code = main(["migrate", "--check", str(app), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is (code == 0)
    return code, {one["name"]: one for one in said["names"]}


def test_check_names_what_a_plain_migration_strands_and_the_line_to_add(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(asked(url, still(tmp_path), "ann", "bob", "cid"))
    code, told = checked(second(tmp_path, PLAIN), capsys)
    assert (code, set(told)) == (1, {"@asked", "reminder", "tell"})
    assert {name: (one["what"], one["rows"], one["schema"], one["first"]) for name, one in told.items()} == {
        "@asked": ("timer", 3, 1, "leave:ann"),
        "reminder": ("timer", 3, 1, "leave:ann"),
        "tell": ("intent", 6, 1, "leave:ann"),
    }
    assert 'renames(1, statuses={"asked": "waiting"})' in str(told["@asked"]["fix"])
    assert 'renames(1, intents={"reminder": "nudge"})' in str(told["reminder"]["fix"])
    assert 'renames(1, intents={"tell": "notify"})' in str(told["tell"]["fix"])


def test_check_has_nothing_to_say_of_renames_that_are_told(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(asked(url, still(tmp_path)))
    assert checked(second(tmp_path), capsys) == (0, {})


def test_an_engine_tells_at_its_start_and_runs_the_rest(tmp_path: Path, url: str) -> None:
    class Listener:
        heard: ClassVar[list[tuple[str, object]]] = []

        def emit(self, name: str, **fields: str | float | UUID | None) -> None:
            self.heard.append((name, fields.get("of")))

    async def life() -> None:
        await asked(url, still(tmp_path))
        two = second(tmp_path, PLAIN)
        async with await onex.open(url, two, check_all=True, telemetry=Listener()) as engine:
            assert {("stranded", name) for name in ("@asked", "reminder", "tell")} <= set(Listener.heard)
            assert [name for name, _ in Listener.heard].count("intent_stranded") == 2
            assert {(one.what, one.name, one.rows) for one in engine.stranded} == {
                ("timer", "@asked", 1),
                ("timer", "reminder", 1),
                ("intent", "tell", 2),
            }
            assert (await engine.submit("leave:ann", "prod")).version == 2
            assert (await engine.submit("leave:bob", "request", {"days": 1})).version == 1
        async with await onex.open(url, second(tmp_path, RENAMED, "three"), check_all=True) as engine:
            assert engine.stranded == ()  # told after all: they go on, though the state was written meanwhile
            await engine.submit("leave:ann", "later")
            stored = await engine.stored("leave:ann")
            assert stored is not None
            assert set(stored.timers) == {"nudge", "@asked"}

    asyncio.run(life())


def test_run_says_it_on_stderr(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(asked(url, still(tmp_path)))
    assert main(["run", str(second(tmp_path, PLAIN)), "--until-idle"]) == 0
    said = capsys.readouterr().err
    for name in ("@asked", "reminder", "tell"):
        assert f"'{name}' of leave" in said
    assert 'renames(1, statuses={"asked": "waiting"})' in said
    assert main(["show", "leave:ann"]) == 0
    assert "intent 'tell' is in the log but no longer in the contract" in capsys.readouterr().out


def test_a_status_that_nothing_leaves_is_named(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(asked(url, still(tmp_path), "ann", "bob"))
    fields = RENAMED.replace('    statuses={"asked": "waiting"},\n', "")
    code, told = checked(second(tmp_path, fields), capsys)
    assert code == 1
    assert (told["asked"]["what"], told["asked"]["rows"]) == ("state", 2)
    assert "in status 'asked' nothing is accepted" in str(told["asked"]["reason"])

    async def life() -> None:
        async with await onex.open(url, tmp_path / "two" / "leave") as engine:
            assert ("state", "asked", 2) in {(one.what, one.name, one.rows) for one in engine.stranded}

    asyncio.run(life())


def test_a_held_outcome_and_an_inbox_action_with_a_trigger_that_is_gone_are_named(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = changed(slow(REDUCER), ("one.evolve(told=one.told + 1)", "one.evolve(told=1 // 0)"))
    (tmp_path / "office").mkdir()
    (tmp_path / "office" / "open").touch()

    async def life() -> None:
        one = first(tmp_path, contract=slow(CONTRACT), reducer=broken)
        async with await onex.open(url, one, check_all=True) as engine:
            await engine.submit("leave:ann", "ask", {"days": 3})
            await engine.idle()
        sender = await onex.open_sender(url)
        body = {"workflow_key": ["leave", "ann"], "kind": "remind", "command_payload": {}}
        await sender.send(json.dumps(body).encode(), 1)
        await sender.close()

    asyncio.run(life())
    untold = RENAMED.replace('"remind": "prod", "told": "heard", ', "")
    code, told = checked(second(tmp_path, untold), capsys)
    assert (code, set(told)) == (1, {"told", "remind"})
    assert (told["told"]["what"], told["told"]["rows"]) == ("outcome", 2)
    assert "triggers={" in str(told["told"]["fix"])
    assert (told["remind"]["what"], told["remind"]["rows"]) == ("inbox", 1)


def test_open_intents_of_a_workflow_that_is_gone_are_named(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(asked(url, still(tmp_path)))
    other = first(tmp_path, "other", contract=CONTRACT.replace("name: leave", "name: absence"))
    code, told = checked(other, capsys)
    assert (code, {one["what"] for one in told.values()}) == (1, {"workflow"})


# --- migrations that misbehave ------------------------------------------------------------------------------------------------


def spoiled(body: str) -> str:
    """Migrates everything as it should, except what says 13 days."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return RENAMED.replace("import renames", "import migrate, renames") + (
        f"\n\n@migrate(1)\ndef spoil(leave: dict) -> object:\n    if leave['days'] == 13:\n{lines}\n    return leave\n"
        "\n\nclass Untellable(Exception):\n    def __str__(self):\n        raise ValueError\n"
        "\n\nclass Lying:\n    @property\n    def __class__(self):\n        raise SystemExit\n"
        "\n\nclass Posing:\n    __class__ = dict\n"
        "\n\ndef deep(n):\n    return [deep(n - 1)] if n else []\n"
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("raise BaseException('no')", "raised BaseException: no"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        ("raise StopIteration", "raised StopIteration"),
        ("raise Untellable", "raised Untellable (no text"),
        ("import asyncio\nraise asyncio.CancelledError", "raised CancelledError"),
        ("return spoil(leave)", "raised RecursionError"),
        ("while True:\n    pass", "did not end within its step budget"),
        ("try:\n    while True:\n        pass\nexcept Exception:\n    pass", "did not end within its step budget"),
        ("return None", "returned NoneType, not a dict"),
        ("return [leave]", "returned list, not a dict"),
        ("return {**leave, 'days': float('nan')}", "days is nan, which JSON does not have"),
        ("return {**leave, 'days': {1, 2}}", "days is a set, which JSON does not have"),
        ("return {**leave, 'days': 2**70}", "days is an integer beyond"),
        ("return {**leave, 'days': '\\ud800'}", "days holds NUL or a lone surrogate"),
        ("return {**leave, 7: 'seven'}", "has a key that is an int; keys are text"),
        ("return {**leave, 'days': deep(40)}", "nested deeper than 32"),
        ("leave['days'] = leave\nreturn leave", "nested deeper than 32"),
        ("return {**leave, 'days': [0] * 1_100_000}", "holds more than 1,000,000 values"),
        ("return {**leave, 'days': 'x' * 1_100_000}", "bytes; the limit is"),
        ("leave.clear()\nreturn leave | {'status': 5}", "Input should be a valid string"),
        ("return {**leave, 'days': Lying()}", "raised SystemExit"),
        ("return {**leave, 'days': Posing()}", "is not what it says it is"),
        ("return Posing()", "returned Posing, not a dict"),
        ("return (name for name in leave)", "returned generator, not a dict"),
    ],
)
def test_whatever_a_migration_does_is_the_trouble_of_its_own_value(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str, told: str
) -> None:
    # only what never ends should meet its budget: a machine that is busy must not
    monkeypatch.setenv("ONEX_STEP_BUDGET_MS", "300" if "while True" in body else "10000")

    async def before() -> None:
        async with await onex.open(url, still(tmp_path)) as engine:
            await engine.submit("leave:ann", "ask", {"days": 13})
            await engine.submit("leave:bob", "ask", {"days": 3})

    async def life() -> None:
        async with await onex.open(url, second(tmp_path, spoiled(body)), check_all=True) as engine:
            with pytest.raises((MigrationFailed, onex.OnexError)) as refused:
                await engine.submit("leave:ann", "prod")
            assert told in refused.value.message, refused.value.message
            assert (await engine.submit("leave:bob", "prod")).version >= 2
            assert [one.first for one in engine.stranded if told in one.reason] == ["leave:ann"]
            ann = await engine.stored("leave:ann")
            assert ann is not None
            assert ann.version == 1

    asyncio.run(before())
    asyncio.run(life())
    code, names = checked(tmp_path / "two" / "leave", capsys)
    assert code == 1
    assert told in str(names["asked"]["reason"])
    assert names["asked"]["first"] == "leave:ann"


def test_what_a_migration_keeps_and_changes_later_changes_nothing(tmp_path: Path, url: str) -> None:
    sly = RENAMED.replace("import renames", "import migrate, renames") + (
        "\n\nKEPT = []\n\n\n@migrate(1)\ndef keep(leave: dict) -> dict:\n"
        "    for one in KEPT:\n        one['days'] = 666\n    KEPT.append(leave)\n    return leave\n"
    )

    async def life() -> None:
        await asked(url, still(tmp_path), "ann", "bob")
        async with await onex.open(url, second(tmp_path, sly)) as engine:
            states = [await engine.state(f"leave:{name}") for name in ("ann", "bob", "ann")]
            assert [json.loads(state.model_dump_json())["days"] for state in states if state] == [3, 3, 3]

    asyncio.run(life())


def test_a_payload_migration_that_fails_strands_that_intent_and_says_so_in_its_row(tmp_path: Path, url: str) -> None:
    bad = RENAMED.replace("import renames", "import migrate, renames") + (
        '\n\n@migrate(1, intent="tell")\ndef fail(tell: dict) -> dict:\n    if tell["days"] == 3:\n        raise SystemExit\n'
        "    return tell\n"
    )
    (tmp_path / "office").mkdir()

    async def life() -> None:
        await asked(url, still(tmp_path))
        (tmp_path / "office" / "open").touch()
        async with await onex.open(url, second(tmp_path, bad), check_all=True) as engine:
            await engine.idle()
            left = [row for row in await engine.reader.outbox(tuple(EnumOutboxState), None, None, 10) if not row.timer]
            assert [(row.pointer.ordinal, row.state) for row in left] == [(0, EnumOutboxState.WAITING)]
            assert "migrating from schema 1 to 2 raised SystemExit" in left[0].error
            state = await engine.state("leave:ann")
            assert state is not None
            assert json.loads(state.model_dump_json())["notified"] == 1

    asyncio.run(life())
