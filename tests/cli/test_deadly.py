"""User code that ends the process: after three crashes it is refused, held or dead, and its neighbours are done (promise 29)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import ONEX
from tests.promises.promise import promise

APP = Path(__file__).with_name("deadly")
STARTS = 6
"""Three crashes, at most one before anything of it was written down, and the start that goes well."""


def onex(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ONEX, *words], cwd=folder, capture_output=True, text=True, timeout=60)


def rows(folder: Path, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in onex(folder, *words, "--json").stdout.splitlines()]


@promise(
    "Any of them",
    "end the process: `os._exit`, a crash in C, a hang that only `kill -9` ends",
    "It is counted against what ran: the action, timer, outcome or effect. After one crash that runs alone, an "
    "effect after two; after three the action is refused, a timer or outcome held, an effect dead (`killed_its_process`).",
)
@pytest.mark.parametrize(
    ("trigger", "place", "ends"),
    [
        ("start", "validator", "rejected"),
        pytest.param("start", "reducer", "rejected", marks=pytest.mark.long),
        ("start", "reducer, killed", "rejected"),
        ("later", "timer", "held"),
        ("start", "outcome", "dead"),
        pytest.param("start", "effect", "dead", marks=pytest.mark.long),
    ],
)
def test_code_that_ends_the_process_is_stopped_after_three_crashes(
    tmp_path: Path, trigger: str, place: str, ends: str
) -> None:
    onex(tmp_path, "submit", "job:before", "start", "--no-wait")
    onex(tmp_path, "submit", "job:bad", trigger, "--payload", json.dumps({"what": place}), "--no-wait")
    onex(tmp_path, "submit", "job:after", "start", "--no-wait")
    codes: list[int] = []
    log = ""
    while 0 not in codes and len(codes) < STARTS:
        ran = onex(tmp_path, "run", str(APP), "--until-idle")
        codes.append(ran.returncode)
        log += ran.stderr
    assert codes[-1] == 0
    assert len(codes) > 3
    if place in ("effect", "outcome"):  # the effect of such an outcome was running at the crash as well
        assert "intent runs alone" in log
    done = {row["key"]: row["status"] for row in rows(tmp_path, "ls")}
    assert (done["job:before"], done["job:after"]) == ("done", "done")
    rejected = [(row["key"], row["code"]) for row in rows(tmp_path, "rejections")]
    stopped = [(row["key"], row["state"]) for row in rows(tmp_path, "dead")]
    if ends == "rejected":
        assert rejected == [("job:bad", "killed_its_process")]
    else:
        assert stopped == [("job:bad", ends)]
    assert onex(tmp_path, "replay", str(APP)).returncode == 0
