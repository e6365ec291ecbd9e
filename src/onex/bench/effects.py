"""What a built-in effect adds to the bare client: an HTTP call, a row, a file, each by the executor that an engine makes of it.

The HTTP server is a process of its own and answers at once, so the client is all that is measured. The bare client is httpx2,
with a JSON body, a token and a key in its headers, and the answer read into the same class. Slices of both follow each other.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, JsonValue

from ..adapters.clock import SystemClock
from ..contracts.model.target import ModelIntentCall, ModelTarget
from ..effects.build import built_executor
from ..effects.context import EffectContext
from ..kernel.action import Payload
from ..kernel.intent import ModelIntent
from ..nodes.effect import ContainedExecutor
from .effect_stores import LegCost, NoBlobs, in_pairs, row_and_file
from .measurement import Goal, Measurement, Result
from .options import Options

CALLS = 2000
QUICK_CALLS = 40
GATE, AIM = 1.2, 1.05
KEY = "Idempotency-Key"
SERVER = """\
import asyncio, sys

ANSWER = b'{"receipt": "r-0123456789", "status": "succeeded", "cents": 4711}'
HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(ANSWER)

class Bank(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b""
    def data_received(self, data):
        self.got += data
        head, found, body = self.got.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n", 1)[0] or 0) if found else 0
        if found and len(body) >= length:
            self.got = b""
            self.transport.write(HEAD + ANSWER)

async def main():
    server = await asyncio.get_running_loop().create_server(Bank, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


class _Charge(Payload):
    order: str
    cents: int
    currency: str = "EUR"
    description: str = "a charge like many others"


class _Charged(Payload):
    receipt: str
    cents: int


def run(options: Mapping[str, str]) -> Result:
    chosen = Options.of(options)
    with chosen.place() as folder:
        calls = chosen.actions or (QUICK_CALLS if chosen.quick else CALLS)
        legs = asyncio.run(_legs(folder, calls, chosen.store_url))
        http = legs[0]
        goals = [Goal(f"{one.kind}: ours over the bare client", one.ratio, GATE, AIM, at_most=True) for one in legs]
        detail: dict[str, JsonValue] = {
            one.kind: {"ours_us": round(one.ours_us, 1), "bare_us": round(one.bare_us, 1)} for one in legs
        }
        detail["store"] = chosen.store
        measured = Measurement(
            "µs per HTTP call", http.ours_us, ceiling=http.bare_us, ratio=http.ratio, targets=goals, detail=detail
        )
        return measured.result(folder)


async def _legs(folder: Path, calls: int, store_url: str) -> list[LegCost]:
    async with _bank() as url:
        http = await http_call(url, calls)
    return [http, *await row_and_file(folder, calls, store_url)]


async def http_call(url: str, calls: int) -> LegCost:
    """``calls`` of each, one after the other."""
    import httpx2

    target = ModelTarget.model_validate(
        {
            "http": {
                "base_url": url,
                "private": True,
                "idempotency_header": KEY,
                "headers": {"Authorization": "Bearer x"},
            }
        }
    )
    call = ModelIntentCall.model_validate(
        {"name": "charge", "type": "api_call", "target": "bank", "http": {"path": "/charges/{order}"}}
    )
    context = EffectContext(NoBlobs(), SystemClock())
    built = built_executor("bank", target, {"charge": call}, lambda _: _Charged, context)
    effect = ContainedExecutor(built, "bank", 10)
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": "Bearer x"}) as client:

        async def bare(payload: _Charge) -> None:
            body = payload.model_dump(mode="json", exclude={"order"})
            answer = await client.post(f"/charges/{payload.order}", json=body, headers={KEY: payload.order})
            _Charged.model_validate_json(answer.content, extra="ignore")

        try:
            return await in_pairs("http call", calls, _intent, effect, _charge, bare)
        finally:
            await context.close()


def _charge(n: int) -> _Charge:
    return _Charge(order=f"order-{n}", cents=4711)


def _intent(n: int) -> ModelIntent[BaseModel]:
    return ModelIntent[BaseModel](
        intent_id=UUID(int=n), intent_type="api_call", target="bank", payload=_charge(n), correlation_id=UUID(int=1),
        idempotency_key=str(UUID(int=n)), name="charge",
    )  # fmt: skip


@asynccontextmanager
async def _bank() -> AsyncIterator[str]:
    """The URL of a server in a process of its own, which ends with its stdin."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None, "both are pipes"
    try:
        yield f"http://127.0.0.1:{int(await child.stdout.readline())}"
    finally:
        child.stdin.close()
        await child.wait()
