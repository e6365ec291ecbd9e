"""The page of ``onex run --page``: ``onex serve`` as a process of its own, for as long as the engine runs.

It ends with its standard input, so it ends too when this process is killed. Where it cannot start, or ends by itself, the engine
goes on, and a line says what happened: the page is no part of the work.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

ONEX: Final = "from onex.cli.start import start; raise SystemExit(start())"
END_S: Final = 5.0


@asynccontextmanager
async def page_beside(
    url: str, app: str, listen: str, engine: str, say_it: Callable[[str], None]
) -> AsyncIterator[None]:
    """``listen`` is where it answers, ``engine`` where the engine tells its health, or ''."""
    words = ["serve", url, "--app", app, "--listen", listen, "--with-stdin", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ONEX, *words, *(("--engine", engine) if engine else ()),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,  # Ctrl-C is for the engine
    )  # fmt: skip
    telling = asyncio.create_task(_tell(process, say_it))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        assert process.stdin is not None, "asked for"
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _tell(process: asyncio.subprocess.Process, say_it: Callable[[str], None]) -> None:
    assert process.stdout is not None, "asked for"
    line = await process.stdout.readline()
    if line:
        say_it(f"page on {json.loads(line)['address']}")
    code = await process.wait()
    say_it(
        f"the page has ended with exit code {code}, and the engine goes on without it. onex serve starts it again; "
        "--page-listen HOST:PORT names another place for it"
    )
