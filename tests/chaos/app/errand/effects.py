"""The far side is another process, which writes down every call before it answers; nothing of it is in this one."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import Any

from onex import EffectUnknown, ModelIntent, effect

from .payloads import Charge, Done, Pack


def asked(intent: ModelIntent[Any]) -> bytes:
    """The line that the far side keeps."""
    call = {
        "key": intent.idempotency_key,
        "instance": str(intent.workflow_key),
        "version": intent.version,
        "name": intent.name,
        "n": intent.n,
        "body": json.dumps(intent.serialize_payload(), sort_keys=True),
    }
    return json.dumps(call).encode() + b"\n"


@effect("bank")
async def charge(intent: ModelIntent[Charge]) -> Done:
    reader, writer = await asyncio.open_unix_connection(os.environ["CHAOS_FAR_SIDE"])
    try:
        writer.write(asked(intent))
        await writer.drain()
        answer = await reader.readline()
    finally:
        writer.close()
    return receipt(answer)


@effect("warehouse")
def pack(intent: ModelIntent[Pack]) -> Done:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(4)
        line.connect(os.environ["CHAOS_FAR_SIDE"])
        line.sendall(asked(intent))
        answer = line.makefile("rb").readline()
    return receipt(answer)


def receipt(answer: bytes) -> Done:
    if not answer.endswith(b"\n"):
        raise EffectUnknown("the far side gave no whole answer")
    return Done(receipt=answer.decode().strip())
