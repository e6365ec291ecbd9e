"""``onex mcp`` as an agent uses it: by the client of the protocol's own SDK, over standard input and output."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters, stdio_client

import onex
from tests.cli.conftest import ITEMS, ORDERS, Commands, fill

ONEX = Path(sys.executable).with_name("onex")


def asked(app: Path, *questions: tuple[str, dict[str, Any]]) -> list[Any]:
    """The tools there are, then the answer to each question."""

    async def go() -> list[Any]:
        words = StdioServerParameters(command=str(ONEX), args=["mcp", "--app", str(app)], env=dict(os.environ))
        async with stdio_client(words) as (read, write), ClientSession(read, write) as session:
            assert (await session.initialize()).server_info.version == onex.__version__
            found: list[Any] = [(await session.list_tools()).tools]
            for name, given in questions:
                found.append(await session.call_tool(name, given))
            return found

    return asyncio.run(go())


def test_an_agent_looks_and_changes_nothing(place: Path) -> None:
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS}), ("orders:1", "cancel", None)])
    shutil.copytree(ORDERS, place / "orders", ignore=shutil.ignore_patterns("__pycache__"))
    tools, shown, earlier, odd, above = asked(
        Path("orders"),
        ("instance", {"key": "orders:1"}),
        ("instance", {"key": "orders:1", "version": 1}),
        ("instance", {"key": "--no-redact"}),
        ("whatif", {"against": "/etc"}),
    )
    assert {one.name for one in tools} == {
        "summary", "instances", "instance", "log", "causes", "stopped", "rejections", "check", "whatif", "simulate",
    }  # fmt: skip
    assert all(one.annotations.read_only_hint for one in tools)
    (row,) = shown.structured_content["rows"]
    assert (row["status"], row["version"], len(row["history"])) == ("shipped", 3, 3)
    assert earlier.structured_content["rows"][0]["status"] == "charging"
    assert odd.structured_content["exit_code"] == 2
    assert above.is_error


def test_top_tells_the_figures_once_as_a_table_and_as_json(commands: Commands, place: Path) -> None:
    fill(ORDERS, [("orders:1", "place", {"items": ITEMS}), ("orders:1", "cancel", None)])
    row = commands("top", "--once", "--json").row
    assert (row["instances"], row["actions"], row["rejections"], row["engine_runs"]) == (1, 3, 1, False)
    assert row["by_status"] == [{"type": "orders", "status": "shipped", "instances": 1}]
    told = commands("top")
    assert told.out == commands("top", "--once").out, "what is no terminal gets it once"
    assert "no engine runs" in told.out
    assert "orders  shipped" in told.out
