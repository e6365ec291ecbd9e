"""``onex run``: an engine in the foreground, until a signal stops it or, with --until-idle, nothing is due."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from pathlib import Path
from typing import Annotated

import typer

from ..app.target_checks import SETTING_NOT_SET
from ..contracts.alerts.alerts_model import ModelAlerts
from ..kernel.errors import OnexError
from ..monitoring.alerts.watch import watched
from ..repository.contract_files import CONTRACT, folders_below
from ..repository.git_revision import checkout
from ..settings import read_settings
from ..wiring import StoreUrl, open_reader, shown_url
from ..wiring.client import connect
from ..wiring.engine import WiredEngine, open
from ..wiring.self_registration import node_of, registered
from .alerts_option import read_alerts
from .console import counted, note, say, say_json
from .exit_codes import Misused, exit_code
from .health import Health, with_health
from .page_beside import page_beside
from .releases import ReleasesFolder, releases_of
from .run_log import LogForm, LogLevel, run_telemetry
from .shutdown import RunEnding, Shutdown, exit_code_of
from .status_line import StatusLine, View, stopped_intents
from .store_options import AppPath, Json, ListenAt, Store, url_of

REDRAW_S = 0.5
STRANDED_SHOWN = 10
PAGE_LISTEN = "127.0.0.1:8642"
ANY_PORT = "127.0.0.1:0"
"""Where the engine tells its page how it is."""

Remark = Callable[[str], None]

Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1024, help="Worker processes for compute. [default: ONEX_WORKERS, else one per CPU]"
    ),
]
BusUrl = Annotated[
    str | None,
    typer.Option(
        "--bus",
        metavar="URL",
        help="A bus that brings actions and takes events: kafka://HOST:PORT, or memory: within this process. "
        "[default: ONEX_BUS, else KAFKA_BOOTSTRAP_SERVERS, else none]",
    ),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="PATH_OR_REVISION",
        help="A version of the app beside it, as a path or a git revision; may be repeated. Instances that are pinned to it go on.",
    ),
]
Projection = Annotated[
    bool, typer.Option("--projection", help="Maintain the built-in projection; onex projection shows it.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log each transition, refusal and attempt, too.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")]
Alerts = Annotated[
    Path | None,
    typer.Option(
        "--alerts",
        metavar="FILE",
        help="Watch the engine by the rules of this file, and tell its receivers. [default: no alerts]",
    ),
]
Log = Annotated[LogForm, typer.Option("--log", help="How the log on stderr is written.")]


def run(
    app: AppPath,
    store: Store = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is due.")] = False,
    workers: Workers = None,
    projection: Projection = False,
    bus: BusUrl = None,
    also: Also = None,
    releases: ReleasesFolder = None,
    listen: ListenAt = None,
    alerts: Alerts = None,
    page: Annotated[bool, typer.Option("--page", help="Serve the page and the API beside it: onex serve.")] = False,
    page_listen: Annotated[
        str, typer.Option("--page-listen", metavar="HOST:PORT", help="Where. Port 0 is any free one.")
    ] = PAGE_LISTEN,
    verbose: Verbose = False,
    quiet: Quiet = False,
    log: Log = LogForm.TEXT,
    as_json: Json = False,
) -> None:
    """Run an app on a store until Ctrl-C.

    Ctrl-C stops in order: accepted actions become durable; effects that still run are cancelled, and the next engine runs
    them again, under the same key. A second Ctrl-C ends at once. One engine runs on a store at a time; other processes
    submit to it.

    The log on stderr has a line for each attempt or reducer that failed, with file and line of your code, and for each
    instance or intent that stopped. With --log json nothing else is on stderr.

    \b
    Examples:
      onex run examples/orders
      onex run shop --store sqlite:///shop.db --workers 4
      onex run shop --until-idle --json
      onex run shop --projection
      onex run shop --bus kafka://localhost:9092
      onex run shop -v
      onex run shop --log json 2> shop.log
      onex run shop --listen 127.0.0.1:8080
      onex run shop --page
      onex run shop --alerts alerts.yaml
      onex run shop --also v1.4.0
      onex run shop --releases releases
    """
    level = level_of(verbose=verbose, quiet=quiet)
    shutdown, url = Shutdown(), url_of(store)
    if page and StoreUrl.parse(url).kind == "memory":
        raise Misused("--page serves a store that another process can read; a memory: store has none")
    serve_at = page_listen if page else ""
    watch = None if alerts is None else read_alerts(alerts)
    with run_telemetry(log, level) as telemetry, beside(app, also or ()) as others:
        ending = shutdown.run(
            with_health(listen or (ANY_PORT if page else None), url, lambda seen: run_engine(
                lambda: seen.opened(open(
                    url, str(app), workers=workers, telemetry=telemetry, bus=bus, ends_process=True, also=others,
                    releases=releases_of(releases), alerts=watch,
                )), str(app), url, shutdown, seen, until_idle=until_idle, projection=projection,
                page=serve_at, alerts=watch, talks=log is LogForm.TEXT and not quiet, as_json=as_json,
            ))
        )  # fmt: skip
    if code := exit_code_of(ending):
        raise typer.Exit(code)


@contextmanager
def beside(app: Path, specs: Sequence[str]) -> Iterator[tuple[Path, ...]]:
    """Versions of the app, on disk as long as the block lasts. Raises ContractError (RevisionUnreadable)."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(checkout(spec, app)) for spec in specs)


def level_of(*, verbose: bool, quiet: bool) -> LogLevel:
    """Raises Misused."""
    if verbose and quiet:
        raise Misused("-v logs more and -q logs less; give one of them")
    return LogLevel.INFO if verbose else LogLevel.ERROR if quiet else LogLevel.WARNING


async def run_engine(
    open_it: Callable[[], Coroutine[None, None, WiredEngine]], app: str, url: str, shutdown: Shutdown, health: Health, *,
    until_idle: bool, projection: bool, talks: bool, as_json: bool, page: str = "",
    alerts: ModelAlerts | None = None,
) -> RunEnding:  # fmt: skip
    """Open an engine and let it run until it is to end. ``talks``: a person reads stderr; ``page``: where the page
    is served, '' for nowhere. ``alerts``: what is watched."""
    say_it: Remark = note if talks else _nothing
    begun = time.monotonic()
    ended: asyncio.Future[RunEnding] = asyncio.get_running_loop().create_future()
    shutdown.listen(ended)
    opening = asyncio.create_task(open_it())
    await asyncio.wait((opening, ended), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():  # a takeover runs one by one what was running at a crash, which may take long
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        seconds = time.monotonic() - begun
        if as_json:
            say_json({"ended": ended.result().value, "seconds": round(seconds, 3)})
        else:
            say(f"{ended.result()} after {seconds:.1f} s, before it took new work: the next engine goes on there")
        shutdown.closed(exit_code_of(ended.result()))
        return ended.result()
    engine = opening.result()
    lost: OnexError | None = None
    try:
        names = ", ".join(workflow.reducer.workflow_type for workflow in engine.registry.workflows)
        shares = f"; {counted(len(engine.service.fences), 'shard')} at first" if engine.keeper is not None else ""
        say_it(f"running {names} on {shown_url(url)} (process {os.getpid()}){shares}; Ctrl-C stops")
        if health.where:
            say_it(f"health on http://{health.where}/health")
        if alerts is not None:
            told = counted(len(alerts.receivers), "receiver")
            say_it(f"watches {counted(len(alerts.rules), 'rule')} for {told}: onex alerts")
        _report_passed_over(Path(app), say_it)
        _report_stranded(engine, app, say_it)
        _report_missing(engine, say_it)
        await _report_stopped(engine, say_it)
        view = await engine.materialize() if projection else None
        line = StatusLine(engine, view, begun, shown=talks)
        tasks = [asyncio.create_task(_watch(engine, line, ended))]
        if until_idle:
            tasks.append(asyncio.create_task(_until_idle(engine, view, ended)))
        try:
            beside = page_beside(url, app, page, health.where, say_it) if page else nullcontext()
            watching = nullcontext() if alerts is None else _watching(engine, url, alerts, health)
            async with _registered(engine, Path(app), health.where, say_it), beside, watching:
                ending = await ended
            if ending in (RunEnding.INTERRUPTED, RunEnding.TERMINATED) and engine.relay.busy:
                say_it("cancelling effects that still run; Ctrl-C again ends at once")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            line.clear()
        lost = engine.service.closed
        if lost is None:
            lag = {} if view is None else {"projection_lag_rows": (await view.lag()).rows}
            outbox = (await engine.reader.counts()).outbox
    finally:
        await engine.close()
    if lost is not None:
        shutdown.closed(exit_code(lost), f"onex: {lost.message}")
        raise lost
    outbox = await _left(url, outbox)
    summary = _summary(engine, ending, time.monotonic() - begun, outbox)
    _report({**lag, **summary}, say_it, as_json=as_json)
    shutdown.closed(exit_code_of(ending))
    return ending


def _registered(engine: WiredEngine, app: Path, where: str, say_it: Remark) -> AbstractAsyncContextManager[None]:
    """Tells the directory of ``ONEX_REGISTRY`` of this engine while it runs; without one it does nothing."""
    settings = read_settings()
    if not settings.registry:
        return nullcontext()
    node = node_of(engine, app.resolve().stem, where, settings.node_id)
    say_it(f"registers as {node.node_id} in {shown_url(settings.registry)}")
    return registered(node, settings.registry, say_it)


@asynccontextmanager
async def _watching(engine: WiredEngine, url: str, alerts: ModelAlerts, health: Health) -> AsyncIterator[None]:
    """The rules are judged while the block runs. A worker tells by a client: the instances may be another's."""
    points = health.measure().points
    if engine.keeper is None:
        async with watched(engine, alerts, points):
            yield
        return
    teller = f"{socket.gethostname()}-{os.getpid()}"
    async with await connect(url, create=False) as client, watched(engine, alerts, points, teller, client):
        yield


def _nothing(text: str) -> None:
    """Where only the log is wanted on stderr."""


def _report_passed_over(app: Path, say_it: Remark) -> None:
    """Folders beside the workflows that look like one and cannot be: who thinks that they run is to know."""
    if app.is_dir() and not (app / CONTRACT).is_file():
        for one in folders_below(app).passed_over:
            say_it(f"passed over {one.path}: {one.why}; {one.fix}")


def _report_stranded(engine: WiredEngine, app: str, say_it: Remark) -> None:
    """Rows that this code has no place for. The engine runs the rest."""
    for one in engine.stranded[:STRANDED_SHOWN]:
        say_it(f"stranded: {one}")
    if engine.stranded:
        more = len(engine.stranded) - STRANDED_SHOWN
        say_it(f"{f'and {more} more names; ' if more > 0 else ''}onex migrate --check {app} checks every row")


def _report_missing(engine: WiredEngine, say_it: Remark) -> None:
    """Variables and files that a target of the contract takes its values from, and which are not there."""
    for one in engine.findings:
        if one.code == SETTING_NOT_SET:
            say_it(f"{one.message}, and the calls that need it will fail: {one.fix} ({one.path}:{one.line})")


async def _report_stopped(engine: WiredEngine, say_it: Remark) -> None:
    """Held and dead intents that were there at the start: no engine runs them until a person asks for it."""
    if stopped := await stopped_intents(engine.reader):
        say_it(f"{stopped}: onex dead")


async def _until_idle(engine: WiredEngine, view: View, ended: asyncio.Future[RunEnding]) -> None:
    await engine.idle()
    if view is not None:
        with suppress(OnexError):  # the summary reports how far it is behind
            await view.catch_up()
    if not ended.done():
        ended.set_result(RunEnding.IDLE)


async def _watch(engine: WiredEngine, line: StatusLine, ended: asyncio.Future[RunEnding]) -> None:
    """Draws the status line, and ends the run when the engine has lost its store."""
    while not ended.done():
        if engine.service.closed is not None:
            ended.set_result(RunEnding.LOST)
            return
        await line.draw()
        with suppress(TimeoutError):
            async with asyncio.timeout(REDRAW_S):
                await asyncio.shield(ended)


async def _left(url: str, before: Mapping[str, int]) -> Mapping[str, int]:
    """What the closed engine left in its outbox, by state; ``before``, which was read before the close, where nobody can tell."""
    try:
        reader = await open_reader(url)
    except OnexError:  # a store in memory is gone with its engine
        return before
    try:
        return (await reader.counts()).outbox
    finally:
        await reader.close()


def _summary(
    engine: WiredEngine, ending: RunEnding, seconds: float, outbox: Mapping[str, int]
) -> dict[str, str | int | float]:
    """Taken when the engine has closed: what became durable last, and what was cut off, is in it."""
    counters = engine.counters
    return {
        "ended": ending.value,
        "seconds": round(seconds, 3),
        "committed": counters.committed,
        "refused": counters.refused,
        "duplicates": counters.duplicates,
        "effects_run": counters.effects_run,
        "effects_retried": counters.effects_retried,
        "effects_cut_off": counters.effects_cut_off,
        "p99_ms": round(1000 * counters.latency.quantile_s(0.99), 3),
        "waiting": outbox.get("waiting", 0),
        "held": outbox.get("held", 0),
        "dead": outbox.get("dead", 0),
        "stranded": sum(one.rows for one in engine.stranded),
    }


def _report(summary: dict[str, str | int | float], say_it: Remark, *, as_json: bool) -> None:
    if as_json:
        say_json(summary)
        return
    done = [
        f"{summary['committed']} committed",
        f"{summary['refused']} refused",
        f"{counted(int(summary['effects_run']), 'effect')} run",
    ]
    done += [f"{summary['effects_cut_off']} cut off"] * bool(summary["effects_cut_off"])
    done += [f"{summary[state]} {state}" for state in ("waiting", "held", "dead") if summary[state]]
    say(f"{summary['ended']} after {summary['seconds']:.1f} s: {', '.join(done)}")
    if summary["held"] or summary["dead"]:
        say_it("onex dead lists held and dead intents")
