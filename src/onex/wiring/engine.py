"""A URL and an app become an engine: its parts are chosen, made in order, and closed with it.

Theory of operation of ``open``, in this order:

1. Settings, then the app: ``load_app`` reports every problem of contracts and code before a file is touched.
2. The store. Opening it makes the file if needed, but does not own it yet.
3. The worker pool, only if a workflow has compute functions; its processes start with the first task. The watchdog, whose
   thread ends a step that runs longer than its budget.
4. Executors (``served``): the app's effects run in ``EffectThreads``; built-in effects, for targets with a block, share an
   ``EffectContext``; the caller's ``executors`` replace both, contained like them. An executor takes as many calls at once as the
   highest ``concurrency`` of the intents it serves.
5. ``engine.start`` takes the store over. It raises OwnershipLost when another process has it, and MigrationMissing before it
   writes anything. Rows that this code has no place for are reported, not refused.

A failure at any step, a cancellation too, closes what was opened before. The closing is shielded from further cancellation:
a store that stays open would keep its lock, and the next engine could not start. ``_end`` closes each, whatever others raise.

Afterwards the engine owns store, pool, watchdog and projections: closing the engine closes them. That is why no ``ONEXContainer``
is used here. Its services live as long as the container; these live as long as the engine that a caller holds, and there
are five of them, made by calls that differ in their errors.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self
from uuid import uuid4

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.interpreter import OwnInterpreter
from ..adapters.watchdog import Watchdog
from ..adapters.worker_pool import WorkerPool
from ..app import App, load_app
from ..bus import EventBus
from ..contracts.alerts.alerts_model import ModelAlerts
from ..effects.context import EffectContext
from ..effects.secrets import Secrets
from ..engine.bus.publisher import EVENT_LOGS
from ..engine.limits import Limits
from ..engine.messenger import AnswerSignal
from ..engine.pattern_engine import ReducerPatternEngine
from ..engine.projections import WORKFLOW, Project, ProjectionMaterializerService, latest
from ..engine.registry import ReducerRegistry
from ..engine.schema_upgrade import check_schemas
from ..engine.search_fields import SearchFields
from ..engine.shard_projections import Materializer, ProjectionOfShards
from ..kernel.errors import DatabaseConnectionError, OnexError, OwnershipLost, ValidationError
from ..kernel.finding import Finding
from ..kernel.membership import Worker
from ..nodes.given import GivenEffect
from ..ports import Env, Projections, Sender, ShardLeases, Store, Telemetry
from ..replay.stranded_rows import Stranded, stranded
from ..settings import Settings, read_settings
from .alert_workflows import alert_workflows
from .bus import ConnectedBus, connected_bus
from .compute_workers import reached_workers
from .effect_threads import EffectThreads
from .engine_limits import limits_of
from .environment import environment
from .erasing import serve_erasure
from .rollout import RolloutFollower, followed
from .schedules import Schedules, schedules_of
from .served import ServedApp, check_targets
from .store_access import (
    OwnerStore,
    SharedStore,
    StoreBlobs,
    StoreUrl,
    open_owned,
    open_shared,
    owned_elsewhere,
)

LEASE_S = 3.4


class WiredEngine(ReducerPatternEngine):
    """An engine that owns its store, worker processes, watchdog and projections: they end with it."""

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
        effects: EffectContext | None = None,
    ) -> None:
        super().__init__(
            store, store, registry, SystemClock(), UuidV7(), env, limits=limits, check_all=check_all, telemetry=telemetry,
            interpreter=OwnInterpreter(),
        )  # fmt: skip
        self.tables: Projections = store
        self.settings, self.workers, self.watchdog, self.effects = settings, workers, watchdog, effects
        self.stranded: tuple[Stranded, ...] = ()
        self.findings: Sequence[Finding] = ()  # warnings of the app
        self.bus: ConnectedBus | None = None
        self.rollout: RolloutFollower | None = None
        self._projections: dict[str, Materializer] = {}
        self.schedules: Schedules | None = None
        self._search = self.service.search = SearchFields(store, registry, self.clock, self.service.events)
        serve_erasure(self)

    async def start(self, owner: str) -> Self:
        """Takes the store over. ``stranded`` then holds the rows that this code has no place for; the others run.

        Raises MigrationMissing and what any engine's start raises.
        """
        await self._find_stranded()
        await super().start(owner)
        self._search.start_filling()
        return self

    async def share(self, worker: Worker, leases: ShardLeases, sender: Sender, changes: AnswerSignal) -> Self:
        """The same as one of several workers. Raises what the share of any engine raises."""
        await self._find_stranded()
        await super().share(worker, leases, sender, changes)
        self._search.start_filling()
        return self

    async def _find_stranded(self) -> None:
        check_schemas(self.registry.workflows, tuple((await self.reader.codes()).values()))
        with suppress(OnexError):  # only a report: an error in it does not stop the start
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

    async def connect(self, bus: EventBus | str) -> None:
        """Takes actions from the bus and publishes what is committed, until the engine closes. Raises BusRefused."""
        connected = connected_bus(self, self.tables, self.settings, bus)
        try:
            await connected.start()
        except BaseException:
            await connected.close()
            raise
        self.bus = connected
        if self.effects is not None:
            self.effects.bus.connect(connected.service)

    async def materialize(self, name: str = WORKFLOW, project: Project = latest) -> Materializer:
        """Maintains a projection from its watermark on, until the engine closes. ``onex projection NAME`` shows it.

        ``project`` is a pure function of one row: it gives the row of its instance, or None for no change. Raises
        ValidationError for an invalid name, or one that this engine maintains already.
        """
        if not name or not name.isprintable():
            raise ValidationError(f"{name!a} is not a valid name of a projection: use printable characters")
        if name == EVENT_LOGS:
            raise ValidationError(f"{name!r} is what the bus of an engine has published; use another name")
        if name in self._projections:
            raise ValidationError(f"projection {name!r} is maintained here already; use another name")
        parts = [
            ProjectionMaterializerService(
                self.reader,
                self.tables,
                self.shard_signals.of(shard),
                self.clock,
                name,
                project,
                shard=shard,
                batch=self.settings.projection_batch_rows,
            )
            for shard in range(self.store.shards)
        ]
        view = self._projections[name] = parts[0] if len(parts) == 1 else ProjectionOfShards(parts)
        await view.start()
        return view

    @property
    def views(self) -> Mapping[str, Materializer]:
        """The projections that this engine maintains, by name."""
        return self._projections

    async def _close(self) -> None:
        try:
            if self.rollout is not None:
                await self.rollout.close()
            if self.bus is not None:
                await self.bus.close()
            for view in self._projections.values():
                await view.close()
            await self._search.close()
        finally:
            try:
                await super()._close()
            finally:
                await _end(self.store, self.watchdog, self.workers, self.effects)


async def open(
    store_url: str | None = None,
    app: App | Path | str = ".",
    *,
    workers: int | None = None,
    executors: Mapping[str, GivenEffect] | None = None,
    limits: Limits | None = None,
    check_all: bool = False,
    telemetry: Telemetry | None = None,
    bus: EventBus | str | None = None,
    secrets: Secrets | None = None,
    ends_process: bool = False,
    alerts: ModelAlerts | None = None,
    also: Sequence[Path | str] = (),
    releases: Path | None = None,
) -> WiredEngine:
    """An engine that owns the store and runs the app: ``async with await onex.open(app="shop") as engine``.

    ``store_url`` (``sqlite:///FILE``, ``postgres://HOST/DATABASE`` or ``memory:``) and ``workers`` (processes for compute, started
    at the first task) default to the settings. ``check_all`` reloads each state that is written and compares it, for tests.
    ``executors[target]`` serves that target in place of the app's own function: an executor, or a function of the intent
    (``nodes.given``). ``limits`` win over the settings; ``telemetry`` gets the events of the engine, for example
    ``onex.adapters.structlog_telemetry.StructlogTelemetry()``. ``bus`` brings actions and takes events: ``kafka://HOST:PORT``, by
    default that of the settings, or an ``onex.bus.EventBus`` that the caller closes; '' is none. ``ends_process``: a step that is
    stuck in C may end this process, as in ``onex run``. ``secrets`` gives what ``{secret: NAME}`` of a contract stands
    for. ``alerts`` adds the workflows of alerts; ``monitoring.alerts.watch`` tells them what is measured.

    Raises ContractError, InvalidExecutor for a target that the app does not have, OwnershipLost when another process runs on
    the store, DatabaseConnectionError, BusRefused, DependencyResolutionError for a built-in effect whose extra is missing.
    """
    store_url = store_url or read_settings().store_url
    wanted = _Wanted(
        app, workers, executors or {}, limits, check_all, telemetry, secrets, bus, ends_process, alerts, also, releases
    )

    try:
        return await _open(wanted, lambda: open_owned(StoreUrl.parse(store_url)), lambda one: one.start(_about()))
    except OwnershipLost as error:
        if isinstance(error, DatabaseConnectionError):
            raise
        raise owned_elsewhere(store_url) from error


async def open_worker(
    store_url: str | None = None,
    app: App | Path | str = ".",
    *,
    lease_s: float = LEASE_S,
    workers: int | None = None,
    executors: Mapping[str, GivenEffect] | None = None,
    limits: Limits | None = None,
    check_all: bool = False,
    telemetry: Telemetry | None = None,
    bus: EventBus | str | None = None,
    secrets: Secrets | None = None,
    ends_process: bool = False,
    alerts: ModelAlerts | None = None,
    also: Sequence[Path | str] = (),
    releases: Path | None = None,
) -> WiredEngine:
    """An engine that shares a PostgreSQL store with others: it judges the instances of its shards, which come and go.

    ``lease_s``: so long after this process was last heard of another may take its shards. Other arguments as for ``open``.
    Actions are sent by ``connect``, from any process: each goes to the worker that has the instance. Raises StoreNotShared,
    OwnershipLost where one engine has the store for itself, and what ``open`` raises.
    """
    url = StoreUrl.parse(store_url or read_settings().store_url)
    wanted = _Wanted(
        app, workers, executors or {}, limits, check_all, telemetry, secrets, bus, ends_process, alerts, also, releases
    )
    worker = Worker(uuid4().hex, lease_s, _about())
    opened: list[SharedStore] = []

    async def open_store() -> OwnerStore:
        opened.append(await open_shared(url))
        return opened[0]

    async def begin(engine: WiredEngine) -> None:
        (store,) = opened
        await engine.share(worker, store, store, store.watch())

    return await _open(wanted, open_store, begin)


class _Wanted(NamedTuple):
    """What was asked for, beside the store."""

    app: App | Path | str
    workers: int | None
    executors: Mapping[str, GivenEffect]
    limits: Limits | None
    check_all: bool
    telemetry: Telemetry | None
    secrets: Secrets | None
    bus: EventBus | str | None
    ends_process: bool
    alerts: ModelAlerts | None
    also: Sequence[Path | str]
    releases: Path | None


async def _open(
    wanted: _Wanted,
    open_store: Callable[[], Awaitable[OwnerStore]],
    begin: Callable[[WiredEngine], Awaitable[object]],
) -> WiredEngine:
    settings, (app, workers, given, limits, check_all, telemetry, secrets, bus, *_) = read_settings(), wanted
    bus = settings.bus_url if bus is None else bus
    loaded = app if isinstance(app, App) else load_app(app, tuple(given))
    check_targets(loaded, given)
    others = [load_app(one, tuple(given)) for one in wanted.also]
    store = await open_store()
    pool: WorkerPool | None = None
    watchdog: Watchdog | None = None
    engine: WiredEngine | None = None
    try:
        if wanted.releases or any(one.computes for app in (loaded, *others) for one in app.workflows.values()):
            pool = await reached_workers(workers or settings.workers)
        watchdog = Watchdog(settings.step_budget_s)
        blobs = StoreBlobs(store)
        effects = EffectContext(blobs, SystemClock(), secrets=secrets, telemetry=telemetry)
        scheduled, schedules = await schedules_of(loaded, store)
        served = ServedApp(loaded, blobs, EffectThreads(), pool, given, watchdog, effects, schedules)
        registry = served._replace(app=scheduled).registry(others)
        for workflow in alert_workflows(wanted.alerts, blobs, watchdog, effects):
            registry.register(workflow)
        effects.bus.check(has_bus=bool(bus))
        engine = WiredEngine(
            store,
            registry,
            environment(loaded.root),
            settings,
            limits=limits or limits_of(settings),
            check_all=check_all,
            workers=pool,
            watchdog=watchdog,
            telemetry=telemetry,
            effects=effects,
        )
        engine.findings = loaded.findings
        if wanted.ends_process:
            engine.service.crash_counts.owned = partial(watchdog.may_end_process, store.crash_file)
        engine.schedules = schedules.connected(engine)
        if wanted.releases is not None:
            engine.rollout = await followed(engine, store, served, wanted.releases)
        await begin(engine)
        schedules.start()
        if engine.rollout is not None:
            engine.rollout.start()
        if bus:
            await engine.connect(bus)
    except BaseException:
        # shielded: a second cancellation must not leave the store locked
        await _finish(_end(store, watchdog, pool) if engine is None else engine.close())
        raise
    return engine


def _about() -> str:
    """How this process is named to others."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


async def _end(
    store: Store, watchdog: Watchdog | None, pool: WorkerPool | None, effects: EffectContext | None = None
) -> None:
    """Closes each of them, also when another raises."""
    try:
        if effects is not None:
            await effects.close()
        await store.close()
    finally:
        if watchdog is not None:
            watchdog.close()
        if pool is not None:
            await pool.close(grace_s=0.0)


async def _finish(closing: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(closing)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    if not task.cancelled():
        task.exception()  # marks it as retrieved: the error that made us close is the one to raise
