"""``onex run --page``: a page beside the engine, which ends with it however it ends. And a service that cannot start says why."""

from __future__ import annotations

import json
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import ORDERS, Commands, Process

RUN = ("run", ORDERS, "--page", "--page-listen", "127.0.0.1:0")


def test_the_page_is_there_while_the_engine_runs_and_not_after_it_was_killed(place: Path) -> None:
    engine = Process(*RUN)
    address = engine.until("page on").split()[-1]
    with urllib.request.urlopen(f"{address}/api/summary") as answer:
        told = json.load(answer)
    assert told["engine_runs"] is True
    assert told["p99_ms"] == 0  # what only the engine knows comes from its health
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        assert b"onex_" in answer.read()
    engine.popen.kill()
    engine.popen.communicate(timeout=60)  # their standard error ends when both have ended


@pytest.mark.long
def test_the_page_ends_with_an_orderly_end(place: Path) -> None:
    engine = Process(*RUN)
    engine.until("page on")
    assert engine.end(signal.SIGINT).code == 130


def test_a_page_needs_a_store_that_others_can_read(commands: Commands) -> None:
    told = commands("run", ORDERS, "--store", "memory:", "--page")
    assert (told.code, "another process can read" in told.err) == (2, True)


def test_a_port_that_is_taken_is_told(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = commands("serve", "--create", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (told.code, "the API cannot listen on 127.0.0.1" in told.err) == (3, True)


def test_a_service_that_others_reach_wants_tokens(commands: Commands) -> None:
    told = commands("serve", "--listen", "0.0.0.0:0")
    assert (told.code, "onex token" in told.err) == (2, True)


def test_a_token_is_a_line_for_the_file_and_a_secret_for_its_owner(commands: Commands, place: Path) -> None:
    from onex.service.access import Tokens

    told = commands("token", "ada", "--role", "operator")
    tokens = Tokens(told.out.splitlines(), "file")
    secret = told.err.split()[-1]
    assert secret not in told.out
    assert tokens.who(f"Bearer {secret}").name == "ada"


@pytest.mark.parametrize(
    ("words", "missing", "loaded", "extra"),
    [
        (["serve"], "uvicorn", "onex.service.run", "server"),
        (["mcp"], "mcp.server.mcpserver", "mcp.server.mcpserver", "mcp"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, words: list[str], missing: str, loaded: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, loaded, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    told = commands(*words)
    assert (told.code, f"[{extra}]" in told.err) == (2, True)
