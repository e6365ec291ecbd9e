"""The page of a demo: the service in the demo's own process, so that who watches can kill the engine from it.

The trial and the service have an event loop each, in a thread each. The service begins when the first engine takes work: the store
is there by then. A kill crosses from the one loop to the other; figures are read without a lock, since each is one number.
A demo may end while the service still begins. Its beginning is cancelled then, so that the process that folds for it ends in order.

Where the page cannot be served (its libraries are missing, no port is free), the demo goes on without it and says why.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...kernel.errors import OnexError
from ...service.demo_answers import DemoAnswer, DemoChoice, DemoExample, DemoRow
from .living import EXAMPLES
from .trial import Trial
from .verdict import ProofRow
from .workload import Workload

BEGAN_S = float(os.environ.get("ONEX_DEMO_SINCE") or time.time())
"""When the command began; of ``make demo`` when that began, set-up included."""
BEGIN_S = 20.0
END_S = 15.0


class DemoPage:
    """``say`` is told the address, or why there is none. Use it as a context manager: at the end nothing is served any more."""

    def __init__(self, url: str, work: Workload, say: Callable[[str], None]) -> None:
        self._url, self._work, self._say = url, work, say
        self._trial: Trial | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._end: Callable[[], None] | None = None
        self._beginning: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._over = False
        self._told = threading.Event()
        self._rows: list[ProofRow] = []
        self._conclusion: list[str] = []
        self.address = ""

    def __enter__(self) -> DemoPage:
        return self

    def __exit__(self, *error: object) -> None:
        self._over = True
        if self._end is not None:
            self._end()
        elif self._beginning is not None:
            loop, task = self._beginning
            with suppress(RuntimeError):  # it has ended by itself, and its loop is closed
                loop.call_soon_threadsafe(task.cancel)
        if self._thread is not None:
            self._thread.join(END_S)

    # --- for the trial --------------------------------------------------------------------------------------------------

    def ready(self, trial: Trial) -> None:
        """An engine takes work. Called in the loop of the trial."""
        self._trial, self._loop = trial, asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="onex-demo-page", daemon=True)
            self._thread.start()

    def proved(self, rows: list[ProofRow], conclusion: list[str]) -> None:
        """All is done, and this came of it."""
        self._rows, self._conclusion = rows, conclusion

    def wait_begun(self) -> bool:
        """Whether it is served, once that is known."""
        return self._thread is not None and self._told.wait(BEGIN_S) and bool(self.address)

    # --- for the service ------------------------------------------------------------------------------------------------

    def told(self) -> DemoAnswer:
        trial = self._trial
        assert trial is not None, "the service begins with the first engine"
        return DemoAnswer(
            title=self._work.title,
            effects=self._work.effects,
            effects_seen=trial.ledger.effects,
            effects_retried=trial.ledger.retried,
            effects_repeated=trial.ledger.repeated,
            kills=trial.kills,
            engine_takes_work=trial.takes_work,
            done=bool(self._conclusion),
            rows=[DemoRow(what=what, number=number, meaning=meaning) for what, number, meaning in self._rows],
            conclusion=self._conclusion,
            examples=[
                DemoExample(
                    key=one.key, what=one.what, status=None, waits_in=list(one.waits_in),
                    choices=[DemoChoice(label=label, trigger=trigger, payload=said) for label, trigger, said in one.choices],
                )
                for one in (EXAMPLES if self._work.made_of else ())
            ],
        )  # fmt: skip

    async def kill(self) -> bool:
        assert self._trial is not None and self._loop is not None, "the service begins with the first engine"
        try:
            asked = asyncio.run_coroutine_threadsafe(_killed(self._trial), self._loop)
        except RuntimeError:  # the trial is over, and its loop closed
            return False
        return await asyncio.wrap_future(asked)

    # --- its thread -----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            from ...service.access import Tokens
            from ...service.run import RunningService, ServiceAddress, serve
        except ImportError as error:
            self._failed(f"a library is missing ({error}). pip install 'PATH/TO/ONEX[server]' installs it")
            return

        def begun(running: RunningService) -> None:
            self._end, self.address = running.end, running.address
            self._say(f"watch it, and kill it, on {running.address} (page after {time.time() - BEGAN_S:.0f} s)")
            self._told.set()

        async def serving() -> None:
            task = asyncio.current_task()
            assert task is not None, "asyncio.run made it"
            self._beginning = asyncio.get_running_loop(), task
            if not self._over:
                await serve(self._url, self._work.app, ServiceAddress(), Tokens(), begun=begun, demonstration=self)

        try:
            asyncio.run(serving())
        except asyncio.CancelledError:
            return
        except (OnexError, OSError) as error:
            self._failed(str(error))

    def _failed(self, why: str) -> None:
        self._say(f"there is no page: {why}")
        self._told.set()


async def _killed(trial: Trial) -> bool:
    return trial.kill_now()
