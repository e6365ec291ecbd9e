"""An engine in a process of its own that runs an example and kills itself in the middle. Called by ``tests.examples.killed``.

Each call of an effect is written to the file ``world`` before it is made. The call at which the process is to be killed is made,
and then the process is killed: what was done is not yet recorded anywhere in the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import onex
from onex import ModelIntent


def watched(target: str, function: Callable[..., Any], world: Path, killed_at: str) -> Any:
    """``killed_at`` is ``TARGET:N``: the N-th call of this target, from 1, is the last thing that the process does."""
    numbers = count(1)

    def call(intent: ModelIntent[Any]) -> Any:
        number = next(numbers)  # from several threads, each number once
        with world.open("a") as file:
            file.write(f"{json.dumps([target, intent.idempotency_key, intent.serialize_payload()])}\n")
        value = function(intent)
        if f"{target}:{number}" == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    return call


async def main(asked: dict[str, Any]) -> dict[str, object]:
    app = onex.load_app(asked["app"])
    executors = {
        target: watched(target, function, Path(asked["world"]), asked["killed_at"])
        for workflow in app.workflows.values()
        for target, function in workflow.effects.items()
    }
    async with await onex.open(asked["store"], app, executors=executors) as engine:
        for number, (key, trigger, payload, at) in enumerate(asked["actions"]):
            await engine.idle()
            issued_at = datetime.fromisoformat(at) if at else None
            await engine.submit(key, trigger, payload, action_id=UUID(int=number + 1), issued_at=issued_at)
        ended: dict[str, object] = {}
        for key, status in asked["until"].items():
            ended[key] = json.loads((await engine.wait(key, until=status, timeout_s=60)).state)
        await engine.idle()
    return ended


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
