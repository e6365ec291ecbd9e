"""Blocking effects run beside the loop, share threads when they can, and hold up no process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from onex.wiring.effect_threads import EffectThreads


def test_a_free_thread_takes_the_next_call() -> None:
    async def story() -> None:
        threads = EffectThreads()
        first = await threads(threading.get_ident)
        assert first != threading.get_ident()
        # the thread counts itself free after its answer is on its way, so two may be started, never one per call
        assert len({first, *[await threads(threading.get_ident) for _ in range(50)]}) < 10

    asyncio.run(story())


def test_calls_run_beside_one_another() -> None:
    async def story() -> None:
        threads = EffectThreads()
        together = threading.Barrier(8, timeout=10)
        assert sorted(await asyncio.gather(*(threads(together.wait) for _ in range(8)))) == list(range(8))

    asyncio.run(story())


def test_what_a_call_raises_is_raised() -> None:
    async def story() -> None:
        with pytest.raises(ZeroDivisionError):
            await EffectThreads()(lambda: 1 // 0)

    asyncio.run(story())


def test_a_call_that_never_returns_does_not_keep_the_process() -> None:
    code = """
import asyncio, threading
from onex.wiring.effect_threads import EffectThreads
async def main():
    try:
        async with asyncio.timeout(0.05):
            await EffectThreads()(threading.Event().wait)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("given up\n", "")
