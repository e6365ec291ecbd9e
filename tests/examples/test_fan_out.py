"""The fan-out: a thousand pages, each an instance of its own, and a kill in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import orjson

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "fan_out"
PAGES = 1_000
CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
import onex

store, app, world, killed_at = sys.argv[1:]
seen = 0

def read(intent):
    global seen
    seen += 1
    with Path(world).open("a") as file:
        file.write(f"{intent.payload.page} {intent.idempotency_key}\\n")
    if seen == int(killed_at):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"book": intent.payload.book, "words": 300 + intent.payload.page % 7}

async def main():
    async with await onex.open(store, app, executors={"read": read}) as engine:
        book = {"title": "tea", "pages": PAGES}
        await engine.submit("fan_out:1", "start", book, action_id=UUID(int=7))
        stored = await engine.wait("fan_out:1", timeout_s=300)
        print(stored.state.decode())

asyncio.run(main())
"""


def test_a_thousand_pages_are_read_once_each_over_a_kill(tmp_path: Path) -> None:
    world = tmp_path / "read"

    def run(killed_at: int) -> subprocess.CompletedProcess[str]:
        arguments = [f"sqlite:///{tmp_path / 'store.db'}", str(FOLDER), str(world), str(killed_at)]
        return subprocess.run(
            [sys.executable, "-c", CHILD.replace("PAGES", str(PAGES)), *arguments],
            capture_output=True,
            text=True,
            timeout=400,
        )

    assert run(PAGES // 2).returncode == -signal.SIGKILL
    last = run(0)
    assert last.returncode == 0, last.stderr[-2000:]
    state = orjson.loads(last.stdout)
    assert state["status"] == "completed"
    assert (state["pages"]["succeeded"], state["pages"]["failed"], state["pages"]["open"]) == (PAGES, 0, [])
    assert state["summary"]["words"] == sum(300 + page % 7 for page in range(PAGES))
    reads = world.read_text().splitlines()
    assert len(set(reads)) == PAGES, "each page under one key"
    assert len(last.stdout) < 2_000
