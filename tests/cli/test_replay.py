"""`onex replay` says of every segment whether its bytes are those that were stored; `onex diagram` draws an app."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.conftest import ITEMS, JOBS, ORDERS, Commands, fill

CHANGE = "update log set payload = cast(replace(cast(payload as text), '450', '451') as blob) where version = 1"


def changed(place: Path, name: str, old: str, new: str) -> Path:
    """The orders app with one thing said otherwise."""
    app = place / name / "orders"
    app.mkdir(parents=True)
    for file in ORDERS.glob("*.*"):
        (app / file.name).write_text(file.read_text().replace(old, new))
    assert any(new in file.read_text() for file in app.iterdir())
    return app


def test_a_history_is_equal(commands: Commands, orders: Path) -> None:
    told = commands("replay", ORDERS, "--strict")
    assert (told.code, told.out) == (0, "2 segments: equal\n2 instances, 5 actions, 0 unverified\n")
    row = commands("replay", ORDERS, "orders:1", "--json").row
    assert (row["ok"], row["instances"], row["actions"], row["by_verdict"]) == (True, 1, 3, {"equal": 1})
    assert commands("replay", ORDERS, "--type", "parcels", "--json").row["instances"] == 0


def test_a_changed_byte_is_a_mismatch(commands: Commands, orders: Path, place: Path) -> None:
    with sqlite3.connect(place / "store.db") as connection:
        connection.execute(CHANGE)
    connection.close()
    told = commands("replay", ORDERS)
    assert told.code == 1
    assert told.out.startswith("MISMATCH  orders:1  versions 1 to 3  code 1.0.0, ")
    assert "version 1 (place): intents" in told.out
    assert "made in the same environment as here: impure code, or damage" in told.out
    row = commands("replay", ORDERS, "--json").row
    assert (row["ok"], row["mismatches"]) == (False, 1)


def test_a_mismatch_names_what_it_was_made_under(commands: Commands, orders: Path, place: Path) -> None:
    with sqlite3.connect(place / "store.db") as connection:
        connection.execute(CHANGE)
        connection.execute("update envs set python = '3.9.1'")
    connection.close()
    assert "made with python 3.9.1 (here 3." in commands("replay", ORDERS).out


def test_other_code_is_never_called_equal(commands: Commands, orders: Path, place: Path) -> None:
    same = changed(place, "same", "Where it goes next stands", "Where it goes then stands")
    told = commands("replay", same, "--json")
    assert (told.code, told.row["by_verdict"], told.row["unverified"]) == (0, {"other code, equal": 2}, 5)
    assert commands("replay", same, "--strict").code == 1
    differs = changed(place, "differs", 'trouble="")', 'trouble="none")')
    told = commands("replay", differs)
    assert told.code == 0
    assert "other code, differs  orders:1  versions 1 to 3" in told.out


def test_a_field_that_was_added_with_a_default_changes_bytes_and_no_decision(
    commands: Commands, orders: Path, place: Path
) -> None:
    field = '    trouble: str = ""\n'
    told = commands("replay", changed(place, "wider", field, f'{field}    note: str = "none"\n'), "--json")
    assert (told.code, told.row["by_verdict"]) == (0, {"other code, same decisions": 2})
    assert told.row["unverified"] == 5  # its bytes are not those that were stored: never equal (promise 31)
    louder = 'Annotated[str, BeforeValidator(str.upper)] = ""'
    adapted = changed(place, "adapted", '    receipt: str = ""', f'    note: str = "none"\n    receipt: {louder}')
    payloads = adapted / "payloads.py"
    names = "from typing import Annotated\n\nfrom pydantic import BeforeValidator, Field"
    payloads.write_text(payloads.read_text().replace("from pydantic import Field", names))
    told = commands("replay", adapted, "--json")
    assert told.row["by_verdict"] == {"other code, differs": 1, "other code, same decisions": 1}  # one has a receipt


def test_older_code_is_brought_along(commands: Commands, place: Path) -> None:
    newer = changed(place, "newer", 'trouble="")', 'trouble="none")')
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS})])
    fill(newer, [("orders:2", "place", {"items": ITEMS})])
    assert commands("replay", newer, "--strict").code == 1
    told = commands("replay", newer, "--with", ORDERS, "--strict", "--json")
    assert (told.code, told.row["by_verdict"]) == (0, {"equal": 2})


def test_another_apps_instances_are_not_verified(commands: Commands, orders: Path) -> None:
    told = commands("replay", JOBS)
    assert told.code == 1
    assert "2 segments: code not at hand\n2 instances, 5 actions, 5 unverified\n" in told.out
    assert f"the log is of orders, which {JOBS} does not have" in told.err


def test_a_diagram_is_drawn_from_the_machine(commands: Commands) -> None:
    told = commands("diagram", ORDERS)
    assert told.out.startswith("stateDiagram-v2\n    [*] --> basket\n")
    assert commands("diagram", ORDERS, "--json").row == {"workflows": {"orders": told.out}}


def test_several_workflows_are_drawn_as_a_page(commands: Commands, place: Path) -> None:
    changed(place, "shop", "Where", "Where")
    jobs = place / "shop" / "jobs"
    jobs.mkdir()
    for file in JOBS.glob("*.*"):
        (jobs / file.name).write_text(file.read_text())
    told = commands("diagram", place / "shop")
    assert [line for line in told.out.splitlines() if line.startswith("#")] == ["## jobs", "## orders"]
    assert told.out.count("```mermaid\n") == 2
    assert commands("diagram", place / "shop", "--type", "jobs").out.startswith("stateDiagram-v2\n")
