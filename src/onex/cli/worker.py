"""``onex worker``: an engine that shares a PostgreSQL store with others, in the foreground, until a signal stops it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..wiring.engine import LEASE_S, open_worker
from .alerts_option import read_alerts
from .health import with_health
from .releases import ReleasesFolder, releases_of
from .run import Alerts, Also, BusUrl, Log, Projection, Quiet, Verbose, Workers, beside, level_of, run_engine
from .run_log import LogForm, run_telemetry
from .shutdown import Shutdown, exit_code_of
from .store_options import AppPath, Json, ListenAt, Store, url_of


def worker(
    app: AppPath,
    store: Store = None,
    lease: Annotated[
        float,
        typer.Option(
            "--lease",
            metavar="SECONDS",
            min=0.3,
            max=600,
            help="So long after it was last heard of others take its shards.",
        ),
    ] = LEASE_S,
    workers: Workers = None,
    bus: BusUrl = None,
    projection: Projection = False,
    also: Also = None,
    releases: ReleasesFolder = None,
    listen: ListenAt = None,
    alerts: Alerts = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    log: Log = LogForm.TEXT,
    as_json: Json = False,
) -> None:
    """Run an app on a PostgreSQL store, together with other workers.

    The store has shards, 64 unless it was made with others (?shards=N), and each instance lies in one. Workers share the shards:
    start as many as you like, on any machine that reaches the store. One that dies is taken over by the others when its lease
    has run out. Ctrl-C or SIGTERM gives its shards back in order: accepted actions become durable, and effects that run may end,
    within 10 s. A second Ctrl-C ends at once, and loses nothing either.

    Other processes submit as they do to a single engine: onex submit, or onex.connect.

    \b
    Examples:
      onex worker shop --store postgres://db/shop
      onex worker shop --store postgres://db/shop --lease 1
      onex worker shop --store postgres://db/shop --listen 127.0.0.1:8080
      onex worker shop --store postgres://db/shop --bus kafka://broker:9092
      onex worker shop --store postgres://db/shop --projection
      onex worker shop --store postgres://db/shop --alerts alerts.yaml
      onex workers --store postgres://db/shop
    """
    level = level_of(verbose=verbose, quiet=quiet)
    shutdown, url = Shutdown(), url_of(store)
    watch = None if alerts is None else read_alerts(alerts)
    with run_telemetry(log, level) as telemetry, beside(app, also or ()) as others:
        ending = shutdown.run(
            with_health(listen, url, lambda seen: run_engine(
                lambda: seen.opened(open_worker(
                    url, str(app), lease_s=lease, workers=workers, telemetry=telemetry, bus=bus, ends_process=True, also=others,
                    releases=releases_of(releases), alerts=watch,
                )),
                str(app), url, shutdown, seen, until_idle=False, projection=projection, talks=log is LogForm.TEXT and not quiet,
                as_json=as_json, alerts=watch,
            ))
        )  # fmt: skip
    if code := exit_code_of(ending):
        raise typer.Exit(code)
