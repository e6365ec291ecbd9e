"""Another process, which sends to the owner by the inbox table: requests, operator's orders, and bytes that are neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from onex.engine.operator_requests import REDRIVE, RELEASE
from onex.kernel.action import WorkflowKey
from onex.ports import Pointer
from onex.simulation.client_requests import send_by_inbox
from onex.simulation.sim_store import SimStore
from tests.engine_sim.sample_workflow import TOO_MUCH

AGAIN_S: Final = 0.5
RUBBISH: Final = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'{"workflow_key":["errand","a"],"kind":"add","kind":"add"}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":NaN}}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":1e999}}',
    b'{"workflow_key":["errand","a"],"kind":"add","nobody_knows":1}',
    b'{"workflow_key":["errand","\\ud800"],"kind":"add"}',
    b'{"workflow_key":["../..","a"],"kind":"add"}',
    b'{"workflow_key":["errand","a"],"kind":"@no_such_control"}',
    b'{"workflow_key":["errand","a"],"kind":"@redrive","command_payload":{"pointer":"0:999999:0"}}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"poison":"' + TOO_MUCH.encode() + b'"}}',
)
"""What may stand in a table that anybody can write into."""


class InboxSender:
    """Asks and waits, for ever if need be. What comes back is the parsed answer, or None when it was swept away."""

    def __init__(self, store: SimStore, violated: Callable[[str], None]) -> None:
        self.store, self.violated = store, violated

    async def send(self, body: bytes) -> dict[str, Any] | None:
        return await send_by_inbox(self.store, body, AGAIN_S)

    async def rubbish(self, which: int) -> None:
        body = RUBBISH[which % len(RUBBISH)]
        answer = await self.send(body)
        if answer is not None and "error" not in answer:
            self.violated(f"the inbox took rubbish: {body[:80]!r} was answered {answer}")

    async def release(self, key: WorkflowKey) -> None:
        self._done(await self.send(orjson.dumps({"workflow_key": list(key), "kind": RELEASE})))

    async def redrive(self, key: WorkflowKey, pointer: Pointer) -> None:
        text = ":".join(map(str, pointer))
        body = {"workflow_key": list(key), "kind": REDRIVE, "command_payload": {"pointer": text}}
        self._done(await self.send(orjson.dumps(body)))

    def _done(self, answer: dict[str, Any] | None) -> None:
        if answer is not None and answer != {"done": True} and "error" not in answer:
            self.violated(f"an operator's order was answered {answer}")
