"""After the run: compares the store with the list of effects (audit), and replays the log in two processes."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from ...app import load_app
from ...engine.registry import ReducerRegistry
from ...kernel.action import WorkflowKey
from ...kernel.errors import OnexError
from ...ports import Counts
from ...replay.audit import Audit, audit
from ...replay.replay import Replay
from ...replay.verdict import ReplayResult
from ...wiring import open_reader
from .ledger import EffectCounts
from .trial import TrialResult

_COMMAND = "import sys; from onex.cli.main import main; sys.exit(main(sys.argv[1:]))"


class ReplayFailed(OnexError):
    """The replay in another process gave no result."""

    code = "replay_failed"


class OtherReplay(BaseModel):
    """The fields of ``onex replay --json`` that the demo needs."""

    model_config = ConfigDict(extra="ignore")

    mismatches: int
    unverified: int


class DemoCheck(NamedTuple):
    """``here`` was folded in this process, ``elsewhere`` in another one, under another hash seed."""

    counts: Counts
    audit: Audit
    here: ReplayResult
    elsewhere: OtherReplay


async def check(store_url: str, app: Path, witnessed: TrialResult, tally: EffectCounts, seed: int) -> DemoCheck:
    """Reads only. Raises ReplayFailed, ContractError, DatabaseConnectionError."""
    elsewhere = asyncio.create_task(_replay_elsewhere(store_url, app, seed))
    try:
        reader = await open_reader(store_url)
        try:
            workflows = load_app(app).workflows.values()
            registry = ReducerRegistry(tuple(one.recorded for one in workflows))
            acknowledged = [(WorkflowKey.parse(one.key), one.action_id) for one in witnessed.taken]
            found = await audit(reader, registry, witnessed.idle_us, seen=tally.seen, acknowledged=acknowledged)
            replay = Replay(reader, registry)
            async for _ in replay.all():
                pass
            return DemoCheck(await reader.counts(), found, replay.result, await elsewhere)
        finally:
            await reader.close()
    finally:
        elsewhere.cancel()
        await asyncio.gather(elsewhere, return_exceptions=True)


async def _replay_elsewhere(store_url: str, app: Path, seed: int) -> OtherReplay:
    """Runs ``onex replay`` as a user would, with another hash seed than this process has."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _COMMAND, "replay", str(app), "--store", store_url, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": other_hash_seed(seed)},
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    try:
        return OtherReplay.model_validate_json((out.splitlines() or [b""])[-1])
    except ValidationError as error:
        why = err.decode(errors="replace").strip()
        raise ReplayFailed(f"onex replay ended with {process.returncode}: {why or out!r}") from error


def other_hash_seed(seed: int) -> str:
    chance = random.Random(seed)  # noqa: S311 - a hash seed, not a secret
    while (chosen := str(chance.randrange(1, 2**32))) == os.environ.get("PYTHONHASHSEED"):
        pass
    return chosen
