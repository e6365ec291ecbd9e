"""The roof: the only room that knows which adapter is used. A URL and an app become an engine, a reader, a sender."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self
from uuid import UUID

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.memory.store import MemoryStore
from ..adapters.sqlite.location import real_path
from ..adapters.sqlite.owner_lock import holders_of, lock_path, owner_of
from ..adapters.sqlite.store import SqliteStore
from ..adapters.watchdog import Watchdog
from ..adapters.worker_pool import WorkerPool
from ..app import App, LoadedWorkflow, load_app
from ..engine.dispatch import Limits
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.projections import WORKFLOW, Project, ProjectionMaterializerService, latest
from ..engine.registry import ReducerRegistry, Workflow
from ..engine.schema_upgrade import check_schemas
from ..engine.step_budget import Budgeted
from ..kernel.errors import DatabaseConnectionError, OnexError, OwnershipLost, StateConsistencyError, ValidationError
from ..kernel.migration import Migrations
from ..kernel.retry import RetryPolicy
from ..nodes.compute import ComputeExecutor
from ..nodes.effect import ContainedExecutor, FunctionExecutor
from ..ports import Env, Executor, Projections, Reader, Sender, StepGuard, Store, Telemetry
from ..replay.stranded_rows import Stranded, stranded
from ..settings import Settings, read_settings
from .effect_threads import EffectThreads
from .environment import environment

WORKER_ENTRY = "onex.worker:perform"


class InvalidStoreUrl(ValidationError):
    """A store's URL that names no kind of store we have."""

    code = "invalid_store_url"


class StoreUrl(NamedTuple):
    """``kind`` is ``sqlite`` or ``memory``; ``path`` is the file, None for memory."""

    kind: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """``sqlite:///FILE``, where a fourth slash begins an absolute path, or ``memory:``. Raises InvalidStoreUrl."""
        if text in ("memory:", "memory://"):
            return cls("memory", None)
        scheme, found, path = text.partition(":///")
        if scheme == "sqlite" and found and path:
            return cls("sqlite", Path(path))
        hint = f"did you mean sqlite:///{text}?" if ":" not in text and text else "for example sqlite:///.onex/store.db"
        raise InvalidStoreUrl(f"{text!r} is no store's URL; write sqlite:///FILE, {hint}", url=text)


class ClosableSender(Sender, Protocol):
    async def close(self) -> None: ...


class StoreBlobs:
    """The blobs of a store, for effects and compute. Raises StateConsistencyError for one that is not kept."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, digest: bytes) -> bytes:
        data = await self._reader.blob(digest)
        if data is None:
            raise StateConsistencyError(
                f"no blob {digest.hex()[:16]} is kept; a reference to it outlived it, or the store is damaged"
            )
        return data


class ReadableStore(Reader, Projections, Protocol):
    """What any process may look at: the log with all that stands beside it, and the projections kept of it."""


class OwnerStore(Store, ReadableStore, Protocol):
    """The owner's side, and the reader's."""


class WiredEngine(ReducerPatternEngine):
    """An engine with the worker processes, the watchdog and the projections it was wired to, which end with it."""

    def __init__(
        self,
        store: OwnerStore,
        registry: ReducerRegistry,
        env: Env,
        settings: Settings,
        *,
        limits: Limits | None = None,
        check_all: bool = False,
        workers: WorkerPool | None = None,
        watchdog: Watchdog | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        super().__init__(
            store,
            store,
            registry,
            SystemClock(),
            UuidV7(),
            env,
            limits=limits,
            check_all=check_all,
            telemetry=telemetry,
        )
        self.tables: Projections = store
        self.settings, self.workers, self.watchdog = settings, workers, watchdog
        self.stranded: tuple[Stranded, ...] = ()
        self._projections: dict[str, ProjectionMaterializerService] = {}

    async def start(self, owner: str) -> Self:
        """As any engine's; ``stranded`` then tells what it found in flight and has no place for. It runs the rest."""
        check_schemas(self.registry.workflows, tuple((await self.reader.codes()).values()))
        with suppress(OnexError):  # a look: what cannot be looked at stops no start
            self.stranded = await stranded(self.reader, self.registry)
        for one in self.stranded:
            self.service.events(
                "stranded",
                what=one.what.value,
                workflow_type=one.workflow_type,
                of=one.name,
                rows=one.rows,
                first=one.first,
            )
        await super().start(owner)
        return self

    async def materialize(self, name: str = WORKFLOW, project: Project = latest) -> ProjectionMaterializerService:
        """Keep a projection of the log, from where it stood, until the engine closes. ``onex projection NAME`` shows it.

        ``project`` is a pure function of one row: it gives the row of its instance, or None for no change. Raises
        ValidationError for a name that is kept here already or cannot be one.
        """
        if not name or not name.isprintable():
            raise ValidationError(f"{name!a} cannot be a projection's name: give it printable characters")
        if name in self._projections:
            raise ValidationError(f"projection {name!r} is kept here already; give this one another name")
        view = ProjectionMaterializerService(
            self.reader,
            self.tables,
            self.commit_signal,
            self.clock,
            name,
            project,
            batch=self.settings.projection_batch_rows,
        )
        self._projections[name] = view
        await view.start()
        return view

    async def _close(self) -> None:
        try:
            for view in self._projections.values():
                await view.close()
        finally:
            try:
                await super()._close()
            finally:
                await _end(self.store, self.watchdog, self.workers)


async def open(
    store_url: str | None = None,
    app: App | Path | str = ".",
    *,
    workers: int | None = None,
    executors: Mapping[str, Executor] | None = None,
    limits: Limits | None = None,
    check_all: bool = False,
    telemetry: Telemetry | None = None,
) -> WiredEngine:
    """An engine that owns the store and runs the app: ``async with await onex.open(app="shop") as engine``.

    ``store_url`` and ``workers`` (processes for compute, started at the first task) default to the settings.
    ``executors`` serve targets the app has no function for; ``limits`` win over the settings; ``telemetry`` hears what
    the engine says of itself, for example ``onex.adapters.structlog_telemetry.StructlogTelemetry()``. Raises ContractError,
    OwnershipLost when another process runs on the store, DatabaseConnectionError.
    """
    settings = read_settings()
    store_url = store_url or settings.store_url
    given = executors or {}
    loaded = app if isinstance(app, App) else load_app(app, tuple(given))
    store = await _open_store(StoreUrl.parse(store_url))
    pool: WorkerPool | None = None
    watchdog: Watchdog | None = None
    engine: WiredEngine | None = None
    try:
        if any(one.computes for one in loaded.workflows.values()):
            pool = WorkerPool(WORKER_ENTRY, max_workers=workers or settings.workers)
        watchdog = Watchdog(settings.step_budget_s)
        parts = _Parts(loaded, StoreBlobs(store), EffectThreads(), pool, given, watchdog)
        registry = ReducerRegistry(tuple(parts.workflow(one) for one in loaded.workflows.values()))
        engine = WiredEngine(
            store,
            registry,
            environment(loaded.root),
            settings,
            limits=limits or _limits(settings),
            check_all=check_all,
            workers=pool,
            watchdog=watchdog,
            telemetry=telemetry,
        )
        await engine.start(f"pid {os.getpid()} on {socket.gethostname()}")
    except BaseException as error:
        # to the end, also when the caller is cancelled once more: what is left open would keep the store from the next
        await _whole(_end(store, watchdog, pool) if engine is None else engine.close())
        if isinstance(error, OwnershipLost) and not isinstance(error, DatabaseConnectionError):
            raise _owned(store_url) from error
        raise
    return engine


def _owned(store_url: str) -> OwnershipLost:
    """Who has the store. A process that has ended is never named: what it left behind is."""
    pid = owner_pid(store_url)
    path = StoreUrl.parse(store_url).path
    left = holders_of(lock_path(real_path(path))) if pid is None and path is not None else []
    if left:
        who = ", ".join(map(str, left))
        return OwnershipLost(
            f"the engine that ran on {store_url} has ended, and what it started still holds the store: process {who}. "
            "End it, then start again"
        )
    told = f"process {pid}" if pid else "another process"
    return OwnershipLost(f"{told} runs on {store_url}; stop it, or submit to it: onex submit KEY TRIGGER", pid=pid)


async def _end(store: Store, watchdog: Watchdog | None, pool: WorkerPool | None) -> None:
    """Each of them, whatever comes of the others."""
    try:
        await store.close()
    finally:
        if watchdog is not None:
            watchdog.close()
        if pool is not None:
            await pool.close(grace_s=0.0)


async def _whole(closing: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(closing)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    if not task.cancelled():
        task.exception()  # looked at: what made us close is what is told


async def open_reader(store_url: str | None = None) -> ReadableStore:
    """To look, never to change; also while an engine runs. Raises DatabaseConnectionError when there is no store."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    if url.path is None:
        raise InvalidStoreUrl("a memory: store lives in the process that made it; nobody else can read it")
    return await SqliteStore.open(url.path, read_only=True)


async def open_sender(store_url: str | None = None) -> ClosableSender:
    """To submit without owning; the store is made when there is none. Raises DatabaseConnectionError."""
    url = StoreUrl.parse(store_url or read_settings().store_url)
    if url.path is None:
        raise InvalidStoreUrl("a memory: store lives in the process that made it; nobody else can send to it")
    return await _open_store(url)


def new_action_id() -> UUID:
    """For one who sends, and may have to send again: UUIDv7, as the engine mints them."""
    return UUID(bytes=UuidV7().new())


def owner_pid(store_url: str) -> int | None:
    """The process whose engine runs on the store, by the system's list of locks; None: none, or it cannot be told.

    Raises DatabaseConnectionError for a path that no store can have.
    """
    path = StoreUrl.parse(store_url).path
    return None if path is None else owner_of(lock_path(real_path(path)))


def _limits(settings: Settings) -> Limits:
    conflicts = RetryPolicy(
        max_attempts=1 + settings.reducer_retries,
        initial_s=settings.reducer_initial_backoff_ms / 1000,
        max_s=settings.reducer_max_backoff_ms / 1000,
    )
    return Limits(
        cached_bytes=settings.cache_mib << 20, dedup_hours=settings.action_dedup_ttl_hours, conflicts=conflicts
    )


def with_step_guard(migrations: Migrations, guard: StepGuard) -> Migrations:
    """The same, each function under the guard: one that never ends fails its value, not the engine."""
    return replace(migrations, budget=guard)


async def _open_store(url: StoreUrl) -> SqliteStore | MemoryStore:
    if url.path is None:
        return MemoryStore()
    if url.path.parent.name == ".onex":  # ours to make; any other folder is the user's
        try:
            url.path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise DatabaseConnectionError(
                f"the folder {url.path.parent} of the store cannot be made: {error}", path=str(url.path)
            ) from error
    return await SqliteStore.open(url.path)


class _Parts(NamedTuple):
    """What the executors of one app are made of."""

    app: App
    blobs: StoreBlobs
    threads: EffectThreads
    pool: WorkerPool | None
    given: Mapping[str, Executor]
    guard: StepGuard

    def workflow(self, one: LoadedWorkflow) -> Workflow:
        at_once: dict[str, int] = {}
        for spec in one.reducer.intents.by_name.values():
            at_once[spec.target] = max(spec.concurrency, at_once.get(spec.target, 1))
        executors: dict[str, Executor] = {
            target: ContainedExecutor(executor, target, at_once.get(target, 1))
            for target, executor in self.given.items()
        }
        for target, function in one.effects.items():
            executors[target] = FunctionExecutor(
                function, self.blobs, self.threads, target=target, concurrency=at_once.get(target, 1)
            )
        if self.pool is not None:
            for name, function in one.computes.items():
                where = (str(self.app.root), self.app.digest, one.name, name)
                specs = one.reducer.intents.by_name.values()
                limit_s = max((spec.timeout_s for spec in specs if spec.target == name), default=None)
                executors[name] = ComputeExecutor(
                    self.pool, self.blobs, where=where, function=function, timeout_s=limit_s
                )
        return Workflow(
            Budgeted(one.reducer, self.guard),
            one.code,
            executors,
            one.unleased,
            with_step_guard(one.migrations, self.guard),
        )
