"""`onex new`: what it writes passes `onex check` and runs; what was there stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from tests.cli.conftest import ORDERS, Commands

CONTRACT = """\
name: parcel
contract_version: {major: 1, minor: 0, patch: 0}
node_type: REDUCER_GENERIC
state_model: Parcel
state_machine:
  initial_state: new
  terminal_states: [sent, lost]
  transitions:
    - {from_state: new, to_state: weighed, trigger: weigh, payload: Weigh,
       conditions: [{expression: grams > 0}, {expression: "payload.lines.size() < 10 && state.owner != 'x'"}]}
    - {from_state: weighed, to_state: sent, trigger: send.succeeded, payload: Sent}
    - {from_state: weighed, to_state: lost, trigger: send.failed, payload: Failure}
    - {from_state: weighed, to_state: lost, trigger: send.unknown, payload: Failure}
    - {from_state: weighed, to_state: lost, trigger: give-up}
    - {from_state: weighed, to_state: weighed, trigger: class, payload: Weigh}
    - {from_state: weighed, to_state: weighed, trigger: rated, payload: Rated}
intents:
  - {name: send, type: api_call, target: carrier, payload: Send}
  - {name: rate, type: compute_task, target: rate, payload: Send,
     outcomes: {succeeded: rated, failed: give-up, unknown: give-up}}
  - {name: shout, type: notification, target: horn, delivery: at_most_once}
  - {name: alarm, type: timer, trigger: give-up}
"""


@pytest.mark.parametrize("suffix", ["", ".py"], ids=["folder", "file"])
@pytest.mark.parametrize("name", ["leave", "work", "long_walk", "n"])
def test_a_new_workflow_passes_the_check_and_runs(place: Path, commands: Commands, name: str, suffix: str) -> None:
    told = commands("new", f"apps/{name}{suffix}")
    assert told.code == 0
    assert told.out.splitlines()[0] == f"onex check apps/{name}{suffix}"
    assert commands("check", f"apps/{name}{suffix}", "--strict").code == 0

    async def go() -> None:
        async with await onex.open("memory:", f"apps/{name}{suffix}") as engine:
            await engine.submit(f"{name}:1", "begin", {"text": "hello"})
            assert (await engine.wait(f"{name}:1", timeout_s=20)).status == "done"
            state = await engine.state(f"{name}:1")
            assert state is not None and '"HELLO"' in state.model_dump_json()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("name", "near"),
    [("Leave", "leave"), ("my-flow", "my_flow"), ("1st", "st"), ("class", "class_flow"), ("--", "flow")],
)
def test_a_name_that_no_workflow_can_have_is_refused_with_one_that_can(
    place: Path, commands: Commands, name: str, near: str
) -> None:
    told = commands("new", "--", name)
    assert told.code == 2
    assert "cannot name a workflow" in told.err
    assert told.err.rstrip().endswith(near)
    assert list(place.iterdir()) == []


def test_files_that_are_there_stay_unless_forced(place: Path, commands: Commands) -> None:
    (place / "leave").mkdir()
    (place / "leave" / "reducer.py").write_text("mine = 1\n")
    (place / "leave" / "notes.txt").write_text("mine\n")
    told = commands("new", "leave")
    assert told.code == 2
    assert "leave has reducer.py already" in told.err
    assert sorted(one.name for one in (place / "leave").iterdir()) == ["notes.txt", "reducer.py"]
    assert commands("new", "leave", "--force").code == 0
    assert commands("check", "leave").code == 0
    assert (place / "leave" / "notes.txt").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the workflow"),
        (["leave", "--from", "contract.yaml"], "leave NAME and --force out"),
        (["--from", "contract.yaml"], "contract.yaml is no file"),
        (["file"], "file is a file"),
    ],
)
def test_misuse_is_said(place: Path, commands: Commands, words: list[str], said: str) -> None:
    (place / "file").write_text("")
    told = commands("new", *words)
    assert (told.code, said in told.err) == (2, True)


# --- stubs ------------------------------------------------------------------------------------------------------------


def test_a_contract_alone_gets_all_it_names_and_then_loads(place: Path, commands: Commands) -> None:
    (place / "parcel").mkdir()
    (place / "parcel" / "contract.yaml").write_text(CONTRACT)
    told = commands("new", "--from", "parcel/contract.yaml")
    assert told.code == 0
    assert told.err.splitlines() == [
        "parcel/payloads.py: class Parcel",
        "parcel/payloads.py: class Weigh",
        "parcel/payloads.py: class Sent",
        "parcel/payloads.py: class Rated",
        "parcel/payloads.py: class Send",
        "parcel/reducer.py: a table of handlers",
        "parcel/reducer.py: a handler of weigh",
        "parcel/reducer.py: a handler of send.succeeded",
        "parcel/reducer.py: a handler of send.failed",
        "parcel/reducer.py: a handler of send.unknown",
        "parcel/reducer.py: a handler of class",
        "parcel/reducer.py: a handler of rated",
        "parcel/effects.py: a function that serves carrier",
        "parcel/effects.py: a function that serves horn",
        "parcel/compute.py: a function that serves rate",
    ]
    assert commands("check", "parcel", "--strict").code == 0
    assert "nothing is missing" in commands("new", "--from", "parcel").err


def test_what_was_written_can_be_told_as_json(place: Path, commands: Commands) -> None:
    (place / "parcel").mkdir()
    (place / "parcel" / "contract.yaml").write_text(CONTRACT)
    files = commands("new", "--from", "parcel", "--json").row["files"]
    assert isinstance(files, list)
    assert files[-1] == {"path": "parcel/compute.py", "added": ["a function that serves rate"]}
    assert commands("new", "leave", "--json").row == {
        "files": [
            {"path": f"leave/{name}", "added": ["all of it"]}
            for name in ("contract.yaml", "payloads.py", "reducer.py", "effects.py")
        ]
    }


def test_an_effect_that_is_only_a_stub_has_surely_failed(place: Path, commands: Commands) -> None:
    (place / "parcel").mkdir()
    (place / "parcel" / "contract.yaml").write_text(CONTRACT)
    assert commands("new", "--from", "parcel").code == 0
    reducer = place / "parcel" / "reducer.py"
    text = reducer.read_text().replace("return Step(state)", 'return Step(state, intent("send", Send()))', 1)
    reducer.write_text(
        text.replace("from onex import ", "from onex import intent, ").replace("import Parcel", "import Send, Parcel")
    )

    async def go() -> None:
        async with await onex.open("memory:", "parcel") as engine:
            await engine.submit("parcel:1", "weigh", {"grams": 5, "lines": []})
            assert (await engine.wait("parcel:1", timeout_s=20)).status == "lost"
            async for entry in engine.subscribe():
                if entry.version == 2:
                    assert b"send is not written yet" in entry.row.payload
                    break

    asyncio.run(go())


@pytest.mark.parametrize(("end", "mark"), [("\n", ""), ("\r\n", ""), ("\n", "\ufeff")])
def test_no_line_that_is_there_is_changed(place: Path, commands: Commands, end: str, mark: str) -> None:
    home = place / "orders"
    home.mkdir()
    gone = {
        "payloads.py": ("class Charged(Payload):\n    receipt: str\n", ""),
        "reducer.py": ('@orders.on("packed")\n', "# packed\n"),
        "effects.py": ('@effect("bank")\n', "# bank\n"),
    }
    for name in ("contract.yaml", *gone):
        text = (ORDERS / name).read_text()
        for old, new in [gone[name]] if name in gone else []:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        start = mark if name in gone else ""
        (home / name).write_bytes(f"{start}{text}".replace("\n", end).encode())
    before = {name: (home / name).read_bytes().decode().split(end) for name in gone}
    assert commands("new", "--from", "orders/contract.yaml").code == 0
    for name, lines in before.items():
        after = iter((home / name).read_bytes().decode().split(end))
        assert all(line in after for line in lines), f"a line of {name} is gone or has moved"
    assert onex.load_app(home).findings == ()


def test_an_error_in_the_contract_or_in_a_file_writes_nothing(place: Path, commands: Commands) -> None:
    home = place / "parcel"
    home.mkdir()
    (home / "contract.yaml").write_text(CONTRACT.replace("to_state: sent", "to_state: snt"))
    told = commands("new", "--from", "parcel")
    assert told.code == 1
    assert "did you mean 'sent'?" in told.err
    (home / "contract.yaml").write_text(CONTRACT)
    (home / "reducer.py").write_text("def broken(:\n")
    told = commands("new", "--from", "parcel")
    assert (told.code, "reducer.py:1" in told.err) == (1, True)
    (home / "reducer.py").write_text("x = 1\n")
    assert "write one: orders = reducer(Parcel)" in commands("new", "--from", "parcel").err
    assert sorted(one.name for one in home.iterdir()) == ["contract.yaml", "reducer.py"]
