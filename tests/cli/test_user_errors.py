"""A person's mistake is answered with one sentence, what to do next, and an exit code. Never with a traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.conftest import JOBS, ORDERS, Commands, fill


class Mistake(NamedTuple):
    words: str
    code: int
    told: str
    before: Callable[[Path], object] = lambda place: None


def _garbage(place: Path) -> None:
    (place / "garbage.db").write_text("no store at all, but long enough to be read as one" * 100)


def _newer(place: Path) -> None:
    fill(ORDERS, [])
    with sqlite3.connect(place / "store.db") as connection:
        connection.execute("update meta set value = '99' where name = 'schema_version'")
    connection.close()


def _filled(place: Path) -> None:
    fill(ORDERS, [("orders:1", "cancel", None)])


def _broken_app(place: Path) -> None:
    (place / "app").mkdir()
    (place / "app" / "contract.yaml").write_text("name: app\nstate_machin: {}\n")


def _unpayable(place: Path) -> None:
    (place / "big.json").write_text('{"text": "' + "x" * 300_000 + '"}')


MISTAKES = {
    "no such command": Mistake("shw orders:1", 2, "No such command 'shw'. Did you mean 'show', 'shadow'?"),
    "no such option": Mistake("ls --stat x", 2, "--status"),
    "an argument is missing": Mistake("submit orders:1", 2, "the trigger is missing"),
    "a key without a colon": Mistake("show orders", 2, "write TYPE:INSTANCE, for example orders:4711"),
    "a key with a bad type": Mistake("submit Orders:1 place", 2, "workflow type 'Orders' must match"),
    "a payload that is no JSON": Mistake("submit orders:1 place --payload {", 2, "--payload: payload is not JSON"),
    "a payload that is no object": Mistake("submit orders:1 place --payload [1]", 2, "--payload is a JSON object"),
    "a payload with a key twice": Mistake('submit a:1 b --payload {"a":1,"a":2}', 2, "key 'a' stands twice"),
    "a payload that is too large": Mistake("submit a:1 b --payload @big.json", 2, "belongs in a Blob", _unpayable),
    "a payload file that is not there": Mistake("submit orders:1 place --payload @no.json", 2, "No such file"),
    "a payload file that never ends": Mistake("submit a:1 b --payload @/dev/zero", 2, "payload has 278528 bytes"),
    "a payload that is a folder": Mistake("submit a:1 b --payload @.", 2, "Is a directory"),
    "a payload that is text": Mistake('submit orders:1 place --payload "x"', 2, "--payload is a JSON object"),
    "a payload that is a number": Mistake("submit orders:1 place --payload 7", 2, "--payload is a JSON object"),
    "a payload that is null": Mistake("submit orders:1 place --payload null", 2, "--payload is a JSON object"),
    "a payload that is no Unicode": Mistake("submit orders:1 place --payload \udcff", 2, "payload is not UTF-8"),
    "a payload file of no name": Mistake("submit orders:1 place --payload @\udcff", 2, "No such file"),
    "a key that is no Unicode": Mistake(
        "submit orders:\udcff place", 2, "holds a control character or a lone surrogate"
    ),
    "a trigger that is no Unicode": Mistake("submit orders:1 \udcff", 2, "it holds what cannot be printed"),
    "a trigger without end": Mistake(f"submit orders:1 {'x' * 5000}", 2, "more than 200 characters"),
    "an idempotency key that is no Unicode": Mistake(
        "submit orders:1 place --idempotency-key \udcff", 2, "without NUL or lone surrogates"
    ),
    "an idempotency key that is empty": Mistake(
        "submit orders:1 place --idempotency-key=", 2, "text of at least one character"
    ),
    "a time that is none": Mistake("submit orders:1 place --timeout nan", 2, "Invalid value for '--timeout'"),
    "a time before now": Mistake("submit orders:1 place --timeout -1", 2, "Invalid value for '--timeout'"),
    "a time of an operator that is none": Mistake(
        f"release orders:1 --timeout nan --app {ORDERS}", 2, "Invalid value for '--timeout'", _filled
    ),
    "an id that is no UUID": Mistake("submit orders:1 place --id 7", 2, "valid UUID"),
    "two ids": Mistake("submit a:1 b --id 6f1d1b5e-4f0a-5c8e-9a54-0e0e5b0c7a01 --idempotency-key x", 2, "not both"),
    "a number that is none": Mistake("ls --limit many", 2, "valid integer"),
    "a store that is not there": Mistake("ls", 3, "/store.db; start an engine on it first"),
    "a folder that is not there": Mistake(
        f"run {ORDERS} --store sqlite:///no/x.db", 3, "does not exist; make it first"
    ),
    "a store that is none": Mistake("ls --store sqlite:///garbage.db", 3, "is not an ONEX store", _garbage),
    "a store of a newer ONEX": Mistake("ls", 3, "has schema 99", _newer),
    "a store's URL that is none": Mistake("ls --store store.db", 2, "did you mean sqlite:///store.db?"),
    "a store of another kind": Mistake("ls --store redis://x", 2, "write sqlite:///FILE"),
    "a store in memory": Mistake("ls --store memory:", 2, "exists only in the process that made it"),
    "an app that is not there": Mistake("run nowhere", 2, "nowhere is no folder"),
    "a file that is not there": Mistake("run nofile.py", 2, "nofile.py does not exist"),
    "an app that is a file": Mistake(f"run {ORDERS}/reducer.py", 1, "the file declares no workflow"),
    "an app with mistakes": Mistake("run app", 1, "app/contract.yaml:2:1: error", _broken_app),
    "an instance that never began": Mistake("show orders:2", 1, "orders:2 has not begun", _filled),
    "a version that is not yet": Mistake(f"show orders:1 --at 9 --app {ORDERS}", 2, "is at version 1", _filled),
    "time travel without code": Mistake("show orders:1 --at 1", 2, "--app PATH", _filled),
    "another app's instance": Mistake(
        f"show orders:1 --at 1 --app {JOBS}", 2, "no workflow 'orders'; it has jobs", _filled
    ),
    "a pointer that is none": Mistake(f"dead --redrive 12 --app {ORDERS}", 2, "write SHARD:N:ORDINAL", _filled),
    "a pointer to nothing": Mistake(
        f"dead --redrive 0:1:0 --app {ORDERS}", 2, "no dead or held intent at 0:1:0", _filled
    ),
    "release while nobody runs": Mistake("release orders:1", 2, "no engine runs on sqlite:///store.db", _filled),
    "release of what never began": Mistake(f"release orders 2 --app {ORDERS}", 1, "orders:2 has not begun", _filled),
    "replay of what never began": Mistake(f"replay {ORDERS} orders:2", 1, "orders:2 has not begun", _filled),
    "a position that is none": Mistake("log --after then", 2, "write SHARD:N", _filled),
    "a diagram of another workflow": Mistake(f"diagram {ORDERS} --type jobs", 2, "it has orders"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(name: str, commands: Commands, place: Path) -> None:
    mistake = MISTAKES[name]
    mistake.before(place)
    told = commands(*mistake.words.split(" "))
    assert (told.code, told.out) == (mistake.code, "")
    assert mistake.told in " ".join(told.err.split())
    assert "Traceback" not in told.err
    assert "defect" not in told.err


def test_with_json_the_error_is_json_too(commands: Commands, place: Path) -> None:
    told = commands("ls", "--json")
    assert told.code == 3
    assert told.row["error"] == {
        "code": "store_missing",
        "message": f"there is no store at {place.resolve() / 'store.db'}; start an engine on it first",
        "retryable": False,
        "context": {"path": str(place.resolve() / "store.db")},
    }


def test_a_setting_that_cannot_be_meant_is_the_environments(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_WORKERS", "lots")
    told = commands("run", ORDERS)
    assert told.code == 3
    assert told.err == "onex: ONEX_WORKERS='lots' is not a number from 1 to 1024; correct it or unset it\n"


def test_the_traceback_is_there_for_who_asks(commands: Commands, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_DEBUG", "1")
    told = commands("ls")
    assert told.code == 3
    assert "Traceback (most recent call last)" in told.err
    assert told.err.endswith(
        f"onex: there is no store at {place.resolve() / 'store.db'}; start an engine on it first\n"
    )


@pytest.mark.parametrize("off", ["0", "off", "false", "no", ""])
def test_no_traceback_is_there_for_who_declines(commands: Commands, monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    monkeypatch.setenv("ONEX_DEBUG", off)
    assert "Traceback" not in commands("ls").err


def test_a_debug_switch_that_cannot_be_meant_is_named_beside_the_error(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEX_DEBUG", "maybe")
    first, second = commands("ls", "--store", "sqlite:///nowhere.db").err.splitlines()
    assert first == "onex: ONEX_DEBUG='maybe' is neither 1 nor 0; correct it or unset it"
    assert second.startswith("onex: there is no store at ")


def test_with_the_traceback_stands_where_code_of_the_user_raised(
    commands: Commands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Path(shutil.copytree(ORDERS, place / "shop"))
    (app / "reducer.py").write_text("def fail():\n    return 1 / 0\n\nfail()\n")
    monkeypatch.setenv("ONEX_DEBUG", "1")
    told = commands("run", app, "--until-idle").err
    assert "Traceback (most recent call last)" in told
    raised = told.splitlines()[told.splitlines().index("your code raised at, innermost last:") + 1 :][:2]
    assert raised == [f"  {app}/reducer.py:4 in <module>", f"  {app}/reducer.py:2 in fail"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read_is_the_machines(commands: Commands, orders: Path, place: Path) -> None:
    (place / "store.db").chmod(0)
    told = commands("ls")
    assert told.code == 3
    assert "cannot be opened" in told.err


def test_what_the_machine_refuses_is_no_defect(
    place: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full where no command looks for it: exit code 3, and the words of the system."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "store.db")

    monkeypatch.setattr("onex.cli.ls.look", full)
    told = commands("ls")
    assert told.code == 3
    assert told.err == "onex: [Errno 28] No space left on device: 'store.db'\n"
