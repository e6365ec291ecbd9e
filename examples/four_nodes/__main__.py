"""``python -m examples.four_nodes [ORDER]``: carries out near-1, or fails at far-1, odd-1 or an order that is not there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

from onex.kernel.errors import WorkflowExecutionError

from .pipeline import carried_out, opened


async def said(order: str) -> tuple[int, str]:
    """The exit code, and what came of the order."""
    async with opened(Path("out/four_nodes/shop.db")) as services:
        try:
            key = await carried_out(services, order, uuid4())
        except WorkflowExecutionError as error:
            return 1, f"{error.message}; {error.__cause__}"
        stored = await services.orders.stored(key)
        return 0, f"{stored.status if stored else 'gone'}, under one correlation id"


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "near-1"
    code, told = asyncio.run(said(wanted))
    print(f"{wanted}: {told}")  # noqa: T201  # a program for a terminal
    sys.exit(code)
