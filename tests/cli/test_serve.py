"""``onex serve`` takes what a person types first, makes no store by mistake, and serves one that only can be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.conftest import ITEMS, ORDERS, Commands, Process, fill
from tests.service.service import Service


def served(*words: str | Path) -> tuple[Process, Service]:
    process = Process("serve", *words, "--listen", "127.0.0.1:0")
    return process, Service(re.findall(r"http://[\d.:]+", process.until("Ctrl-C stops"))[0])


def test_a_store_that_is_not_there_is_not_made_by_mistake(commands: Commands, place: Path) -> None:
    told = commands("serve", "sqlite:///wrong.db")
    assert told.code == 3
    assert (
        "there is no store at sqlite:///wrong.db. An engine makes it: onex run APP --store sqlite:///wrong.db"
        in told.err
    )
    assert list(place.iterdir()) == []
    assert "did you mean sqlite:///wrong.db?" in commands("serve", "wrong.db").err


def test_an_imported_store_is_served_for_reading_and_says_why_it_takes_no_command(
    commands: Commands, place: Path
) -> None:
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS})])
    assert commands("export", "--out", "run.onexrun", "--app", ORDERS).code == 0
    assert commands("import", "run.onexrun", "--store", "sqlite:///past.db").code == 0
    process, service = served("past.db", "--app", ORDERS)  # a file, as a person types it
    moment = service.get("instance", key="orders:1", version=2).body
    refused = service.post("submit", {"key": "orders:1", "trigger": "cancel"})
    process.popen.terminate()
    process.end()
    assert moment["status"] == "paid"
    assert (refused.status, refused.body["code"]) == (409, "store_takes_no_commands")
    assert "was imported from" in refused.body["detail"]
    assert "another store" in refused.body["next"]


def test_the_app_may_be_typed_first_here_and_as_an_option_is_told_of_run(commands: Commands, place: Path) -> None:
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS})])
    process, service = served(ORDERS)
    told = service.get("session").body
    process.popen.terminate()
    process.end()
    assert (told["app"], told["store"]) == ("orders", "sqlite:///store.db"), json.dumps(told)
    assert "Here the app is a word of its own: onex run APP" in commands("run", "--app", ORDERS).err
