"""`onex versions`: which code instances stand on, and what holds an old one."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import onex
from tests.cli.conftest import STORE, Commands, fill
from tests.cli.test_forward import RIDES, begin, begin_while_the_bank_is_closed, changed
from tests.cli.test_whatif import git


def test_what_holds_an_old_code_is_named_with_what_it_waits_for(commands: Commands, place: Path) -> None:
    """Three rides under the old code: one goes on under new code, one waits for its bank, one for its timer."""
    begin(3)
    begin_while_the_bank_is_closed(place, "rides:9")
    (only,) = commands("versions", "--json").rows
    assert (only["current"], only["in_flight"], only["held"], only["ended"]) == (True, 4, 0, 0)
    (place / "bank.closed").touch()  # so that what waits still waits
    new = changed(place, ("    cents: int = 0\n", "    cents: int = 0\n    note: str = \"\"\n"))  # fmt: skip

    async def upgraded() -> None:
        async with await onex.open(STORE, new) as engine:
            await engine.submit("rides:0", "stop")
            await engine.submit("rides:1", "remind")

    asyncio.run(upgraded())
    newest, old = commands("versions", "--json").rows
    assert (newest["current"], newest["in_flight"], newest["ended"]) == (True, 1, 1)
    assert (old["current"], old["in_flight"], old["ended"], old["code"]) == (False, 2, 0, only["code"])
    assert isinstance(old["holds"], list)
    holds = [{name: one[name] for name in ("status", "oldest", "instances", "waits_for")} for one in old["holds"]]  # type: ignore[index, call-overload]  # of JSON
    assert holds == [
        {"status": "charging", "oldest": "rides:9", "instances": 1, "waits_for": ["charge"]},
        {"status": "riding", "oldest": "rides:2", "instances": 1, "waits_for": ["timer look"]},
    ]
    told = commands("versions")
    assert told.code == 0
    assert "is held by 2 instances:" in told.out and "timer look" in told.out
    assert commands("versions", "--type", "trains").err == "there is no code of such a workflow\n"


def test_the_revision_that_ran_it_is_told_where_it_is_known(commands: Commands, place: Path) -> None:
    app = changed(place)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "as it runs"]):
        git(app.parent, *words)
    fill(app, [("rides:1", "begin", {"cents": 900})])
    (one,) = commands("versions", "--json").rows
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=app.parent, check=True, capture_output=True, text=True)
    assert one["revisions"] == [head.stdout.strip()]
    assert head.stdout[:12] in commands("versions").out


def test_a_code_on_which_nothing_stands_is_shown_with_none(commands: Commands, place: Path) -> None:
    fill(RIDES, [])
    (one,) = commands("versions", "--json").rows
    assert (one["in_flight"], one["ended"], one["last_used"], one["holds"]) == (0, 0, None, [])
    assert "no instance" in commands("versions").out
