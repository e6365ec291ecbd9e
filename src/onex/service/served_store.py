"""ServedStore: everything that the routes ask, of one store and perhaps one app.

It holds four things, each opened once: a read-only handle for questions, a client for commands (the same as ``onex.connect``), the
process that folds, and one watch on the store. Whoever waits for a change waits on ``changes``: one task watches for all, so that
many viewers cost the engine as much as one.

Without an app there are no states of the past, no diagrams and no checks of names; everything else is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

from fastapi import Depends, Request

from ..engine.log_tail import ChangeSignal
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound, OnexError, UnknownWorkflow
from ..monitoring.store_summary import SummaryReader
from ..ports import Stored
from ..processes.app_facts import AppFacts, WorkflowFacts
from ..processes.moment_process import MomentProcess
from ..views.hidden import AllHidden, HiddenFields
from ..wiring import WatchedReader, open_reader, shown_url
from ..wiring.client import EngineClient, connect_or_read
from ..wiring.log_listener import Logger
from ..wiring.recorded import RunSource
from .access import NotAllowed, Principal, Tokens
from .audit import CommandAudit
from .defence import new_csrf
from .demo_answers import Demonstration
from .first_passes import Passes

WATCH_AGAIN_S: Final = 0.2


class NoApp(NotFound):
    """The service was started without the app, and this needs its code: ``onex serve STORE --app APP``."""

    code = "no_app"


class StoreTakesNoCommands(OnexError):
    """The store was imported, or is a backup: it can be read, and no engine continues it."""

    code = "store_takes_no_commands"


class ServedStore:
    """Made by ``serving``. All methods belong to one event loop."""

    def __init__(
        self,
        reader: WatchedReader,
        client: EngineClient,
        url: str,
        app: Path | None,
        tokens: Tokens,
        engine: str,
        audit: CommandAudit,
    ) -> None:
        self.reader, self.client, self.url, self.app, self.tokens = reader, client, url, app, tokens
        self.figures, self.audit = SummaryReader(reader, url, engine), audit
        self.csrf = new_csrf()
        self.demonstration: Demonstration | None = None
        self.takes_nothing = ""
        """Why the store takes no command; '' where it does."""
        self.commands = 0
        """How many wait for the engine's answer."""
        self.source = RunSource(store_url=url)
        self.moments = None if app is None else MomentProcess(self.source, app)
        self.changes = ChangeSignal()
        self.ending = asyncio.Event()
        """Set when the service is to end: streams end then."""
        self._waiters, self._wanted = 0, asyncio.Event()
        self.facts: AppFacts | None = None
        self.passes = Passes()
        self._hide = HiddenFields()

    @property
    def shown(self) -> str:
        return shown_url(self.url)

    async def load(self) -> None:
        """Learns what the app is. Raises ContractError."""
        if self.moments is not None:
            self.facts = await self.moments.facts()
            self._hide = HiddenFields(self.facts.secret)

    def now_us(self) -> int:
        return self.client.clock.now_us()

    def hide(self, principal: Principal) -> HiddenFields:
        """What is hidden from them: secrets, or everything."""
        return self._hide if principal.payloads else AllHidden()

    async def stored(self, key: WorkflowKey) -> Stored:
        """Raises NotFound for an instance that has not begun."""
        found = (await self.reader.load([key])).get(key)
        if found is None or found.version == 0:
            raise NotFound(f"{key} has not begun")
        return found

    def workflow(self, name: str) -> WorkflowFacts | None:
        return None if self.facts is None else self.facts.workflows.get(name)

    def known_workflow(self, name: str) -> WorkflowFacts:
        """Raises NoApp, UnknownWorkflow."""
        if self.facts is None:
            raise NoApp("this service has no app, so it knows no contract; start it with --app APP")
        if name not in self.facts.workflows:
            raise UnknownWorkflow(f"the app has no workflow {name!r}; it has {', '.join(self.facts.workflows)}")
        return self.facts.workflows[name]

    def folding(self) -> MomentProcess:
        """Raises NoApp."""
        if self.moments is None:
            raise NoApp(
                "earlier states are folded by the app's code, and this service has none; start it with --app APP"
            )
        return self.moments

    async def change(self, seen: int) -> None:
        """Returns when the store may have changed since ``changes.count`` was ``seen``."""
        self._waiters += 1
        self._wanted.set()
        try:
            await self.changes.wait(seen)
        finally:
            self._waiters -= 1

    async def watch(self) -> None:
        """Until cancelled: tells ``changes`` of each change, while somebody waits for one. A store that fails is watched again."""
        watch = self.reader.watch()
        while True:
            if not self._waiters:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await watch.changed()
            except OnexError:
                await asyncio.sleep(1)
            self.changes.notify()
            await asyncio.sleep(WATCH_AGAIN_S)

    async def close(self) -> None:
        await asyncio.gather(self.figures.close(), self.passes.close())
        if self.moments is not None:
            await self.moments.close()
        await self.client.close()
        await self.reader.close()


@asynccontextmanager
async def serving(
    url: str,
    app: Path | None = None,
    tokens: Tokens | None = None,
    engine: str = "",
    audit: Logger | None = None,
    *,
    create: bool = True,
) -> AsyncIterator[ServedStore]:
    """A store that is served, as long as the block lasts. ``engine`` is where its engine tells its health, HOST:PORT or ''.

    ``audit`` is told of each command. ``create``: makes the store where there is none, since an engine may come later. Raises
    InvalidStoreUrl, DatabaseConnectionError, ContractError.
    """
    client, takes_nothing = await connect_or_read(url, create=create)
    try:
        reader = await open_reader(url)
    except BaseException:
        await client.close()
        raise
    served = ServedStore(reader, client, url, app, tokens or Tokens(), engine, CommandAudit(audit))
    served.takes_nothing = "" if takes_nothing is None else takes_nothing.message
    watching = asyncio.create_task(served.watch())
    try:
        await served.load()
        yield served
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await served.close()


def _served(request: Request) -> ServedStore:
    found: ServedStore = request.app.state.served
    return found


def _principal(request: Request) -> Principal:
    found: Principal = request.scope["onex.principal"]
    return found


Served = Annotated[ServedStore, Depends(_served)]
Asking = Annotated[Principal, Depends(_principal)]


def needs_payloads(principal: Principal, what: str) -> None:
    """Raises NotAllowed."""
    if not principal.payloads:
        raise NotAllowed(f"{principal.name} sees no payloads, and {what} is made of them")
