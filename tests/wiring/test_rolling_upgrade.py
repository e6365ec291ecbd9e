"""Old and new code side by side on one PostgreSQL: what new code has written the old leaves alone, and nothing is lost of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import StateTooNew
from onex.kernel.route import shard_of
from onex.wiring.client import EngineClient
from tests.app.apps import edit
from tests.wiring.test_migrations import first, second
from tests.wiring.test_workers import ONEX, PATIENCE_S, Crew, crew

__all__ = ["crew"]  # a fixture
SHARDS = 16
NOTE: dict[str, JsonValue] = {}


def keys() -> list[str]:
    """A job in each shard, so that each worker has some."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SHARDS:
        key = f"job:{number}"
        found.setdefault(shard_of(WorkflowKey.parse(key), SHARDS), key)
        number += 1
    return list(found.values())


def gated(app: Path, gate: Path, ran: Path, field: str) -> Path:
    """The effect is tried again until the gate opens, and then tells whom it served. ``note`` changes nothing."""
    body = (
        f"    if not Path({str(gate)!r}).exists():\n"
        '        raise EffectFailed("the gate is shut", retryable=True)\n'
        f"    with Path({str(ran)!r}).open('a') as file:\n"
        "        file.write(f'{intent.idempotency_key}\\n')\n"
        f"    return Made(where=intent.payload.{field}.upper())\n"
    )
    text = (app / "effects.py").read_text()
    head = text[: text.index("    raise") if "    raise" in text else text.index("    return")]
    head = head.replace("import EffectFailed, ModelIntent", "import ModelIntent")
    head = head.replace("import ModelIntent", "import EffectFailed, ModelIntent")
    (app / "effects.py").write_text(head.replace("from onex", "from pathlib import Path\n\nfrom onex", 1) + body)
    edit(app / "contract.yaml", "intents:", "    - {from_state: busy, to_state: busy, trigger: note}\nintents:")
    edit(
        app / "contract.yaml",
        "payload: Make,",
        "payload: Make, retry: {max_attempts: 1000, initial_ms: 100, max_ms: 300},",
    )
    return app


async def schemas(client: EngineClient, jobs: list[str]) -> dict[str, int]:
    rows = {key: await client.stored(key) for key in jobs}
    return {key: row.state_schema for key, row in rows.items() if row is not None}


def test_an_old_worker_leaves_what_is_newer_alone_and_the_new_one_goes_on(crew: Crew, tmp_path: Path) -> None:
    gate, ran, jobs = tmp_path / "gate", tmp_path / "ran", keys()
    old = gated(first(tmp_path), gate, ran, "what")
    new = gated(second(tmp_path), gate, ran, "title")
    older = crew.start(old)

    async def script() -> None:
        async with await onex.connect(crew.url) as client:
            for key in jobs:
                await client.submit(key, "begin", {"what": f"a chair for {key}"}, timeout_s=PATIENCE_S)
            newer = crew.start(new)
            await crew.until(
                lambda shards: len(shards) == 2 and sum(shards.values()) == SHARDS and min(shards.values()) > 0
            )
            await asyncio.gather(*(client.submit(key, "note", NOTE, timeout_s=PATIENCE_S) for key in jobs))
            written = await schemas(client, jobs)
            assert set(written.values()) == {1, 2}

            newer.kill()
            await crew.until(lambda shards: shards == {str(older.pid): SHARDS})
            for key, schema in written.items():
                if schema == 1:
                    await client.submit(key, "note", NOTE, timeout_s=PATIENCE_S)
                    continue
                with pytest.raises(StateTooNew) as refused:
                    await client.submit(key, "note", NOTE, timeout_s=PATIENCE_S)
                assert refused.value.retryable
            gate.touch()
            ended = [key for key, schema in written.items() if schema == 1]
            await asyncio.gather(*(client.wait(key, "done", timeout_s=PATIENCE_S) for key in ended))
            assert await schemas(client, jobs) == written

            crew.start(new)
            older.terminate()
            await asyncio.gather(*(client.wait(key, "done", timeout_s=PATIENCE_S) for key in jobs))
            assert older.wait() == 0
            assert await schemas(client, jobs) == written
            for key in jobs:
                state = await client.state(key)
                assert isinstance(state, dict) and state["where"] == f"A CHAIR FOR {key.upper()}"

    asyncio.run(script())
    keys_seen = ran.read_text().split()
    assert len(set(keys_seen)) == SHARDS
    replayed = subprocess.run(
        [ONEX, "replay", new, "--with", old, "--strict", "--json"],
        env=crew.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert replayed.returncode == 0, replayed.stdout[-2000:] + replayed.stderr[-2000:]
    said = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert said
