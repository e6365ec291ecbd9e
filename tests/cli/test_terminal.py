"""On a terminal there is colour and a status line; in a pipe, or where NO_COLOR is set, there is neither."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import ONEX, ORDERS, Commands

ESCAPE = "\x1b["


def on_terminal(*words: str | Path, typed: str = "", until: str = "") -> tuple[int, str]:
    """Exit code and everything a terminal of 80 columns was sent; Ctrl-C once ``until`` was seen. A minute of silence fails."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen([ONEX, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, typed.encode())
    seen = b""
    pressed = False
    while True:
        try:
            if not select.select([ours], [], [], 60)[0]:
                process.kill()
                pytest.fail(f"nothing came for a minute after: {seen.decode()}")
            read = os.read(ours, 65536)
        except OSError:  # Linux tells the end of a terminal so
            break
        if not read:
            break
        seen += read
        if until and not pressed and until.encode() in seen:
            process.send_signal(signal.SIGINT)
            pressed = True
    os.close(ours)
    return process.wait(60), seen.decode()


def test_columns_are_headed_in_a_quiet_colour(orders: Path) -> None:
    code, told = on_terminal("ls")
    assert code == 0
    assert told.startswith(f"{ESCAPE}2minstance")


def test_no_color_is_obeyed(orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE not in on_terminal("ls")[1]


def test_a_pipe_gets_no_colour(commands: Commands, orders: Path) -> None:
    assert ESCAPE not in commands("ls").out


def test_the_last_column_is_cut_to_the_terminal(orders: Path) -> None:
    _, told = on_terminal("rejections")
    lines = told.replace("\r", "").splitlines()
    assert max(len(line) for line in lines[1:]) <= 80
    assert any(line.endswith("...") for line in lines[1:])


def test_a_replay_shows_how_far_it_is(orders: Path) -> None:
    code, told = on_terminal("replay", ORDERS)
    assert code == 0
    assert "5/5" in told
    assert "equal" in told


def test_a_run_keeps_one_line_up_to_date_and_clears_it(place: Path) -> None:
    code, told = on_terminal("run", ORDERS, until="idle")
    assert code == 130
    assert "0 committed  0 effects  idle" in told
    assert told.splitlines()[-1].lstrip("\r").startswith(f"{ESCAPE}2Kinterrupted after")


def test_submit_of_lines_says_on_a_terminal_too_that_no_engine_runs(place: Path) -> None:
    line = '{"key": "orders:1", "trigger": "cancel"}\n'
    code, seen = on_terminal("submit", "-", typed=line, until="no engine runs")
    assert code == 130
    assert "so actions are stored for the next: onex run APP; this command waits 10 s for an answer" in seen
