"""``onex serve``: the API and the page of a store, in a process of its own beside the engine."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from ..kernel.errors import ValidationError
from ..settings import read_settings
from ..wiring import StoreMissing, shown_url
from .console import note, say_json
from .exit_codes import Misused
from .health_server import parse_address
from .run_log import LogForm, LogLevel, stderr_logger
from .store_options import AppOption, Json, Store, url_of

LISTEN = "127.0.0.1:8642"
NICE = 5


class ServerMissing(ValidationError):
    """The libraries of the API are not installed: the extra ``server``."""

    code = "server_missing"


def serve(
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="STORE",
            help="The store: its URL, or the file. An app is taken, too. [default: as --store]",
            show_default=False,
        ),
    ] = None,
    app: AppOption = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where it answers. Port 0 is any free one.")
    ] = LISTEN,
    tokens: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The tokens that it takes. [default: ONEX_TOKENS, else none]")
    ] = None,
    host_name: Annotated[
        list[str] | None, typer.Option("--host-name", metavar="NAME", help="A name of this host. Repeatable.")
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where its engine answers probes: onex run --listen.")
    ] = "",
    certificate: Annotated[str, typer.Option("--tls-cert", metavar="FILE", help="A certificate, for HTTPS.")] = "",
    key: Annotated[str, typer.Option("--tls-key", metavar="FILE", help="Its private key.")] = "",
    with_stdin: Annotated[
        bool, typer.Option("--with-stdin", help="Stop when standard input ends: for who starts it as a child.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the store where there is none: actions wait in it for an engine.")
    ] = False,
    log: Annotated[LogForm, typer.Option("--log", help="How the audit log on stderr is written.")] = LogForm.TEXT,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Serve the API and the page of a store.

    It is a process of its own beside the engine: it reads the store, and sends commands as any client does. With --app it
    also folds earlier states, draws diagrams and runs what-ifs. The app's code runs in child processes only.

    On the loopback nobody needs a token. Anywhere else it refuses to start without tokens: onex token makes one. Each
    command is a line of the audit log on stderr. The API is described at /openapi.json.

    \b
    Examples:
      onex serve --app examples/orders
      onex serve sqlite:///shop.db --app shop --listen 127.0.0.1:0
      onex serve incident.db --app shop
      onex serve --app shop --engine 127.0.0.1:8080
      onex serve --app shop --listen 0.0.0.0:8642 --tokens tokens.txt --host-name onex.example
    """
    store_url, app = _store_or_app(named, app)
    if store_url is not None and store is not None:
        raise Misused("STORE and --store both name a store; give one")
    if app is not None and not app.exists():
        raise Misused(f"{app} does not exist; name an app: its folder, or its file")
    try:
        from ..service.access import Tokens
        from ..service.run import RunningService, ServiceAddress
        from ..service.run import serve as run_service
    except ImportError as error:
        raise ServerMissing(
            f"the API needs a library that is not here ({error}). Install the extra server of your copy of ONEX: "
            "pip install 'PATH/TO/ONEX[server]'"
        ) from error
    url = url_of(store_url or store)
    file = tokens or (Path(found) if (found := read_settings().tokens) else None)
    host, port = parse_address(listen)
    at = ServiceAddress(host, port, tuple(host_name or ()), certificate, key)

    def begun(running: RunningService) -> None:
        os.nice(NICE)  # where there is too little of the processor for both, the engine goes first
        if with_stdin:
            threading.Thread(target=lambda: (sys.stdin.buffer.read(), running.end()), daemon=True).start()
        if as_json:
            say_json({"address": running.address, "store": shown_url(url)})
        elif log is LogForm.TEXT:
            note(f"{shown_url(url)} on {running.address} ; Ctrl-C stops")

    known = Tokens() if file is None else Tokens.read(file)
    audit = stderr_logger(log, LogLevel.INFO)
    try:
        asyncio.run(run_service(url, app, at, known, engine, begun, audit, create=create))
    except StoreMissing as error:
        again = f"onex run APP --store {shown_url(url)}"
        raise StoreMissing(
            f"there is no store at {shown_url(url)}. An engine makes it: {again}. To serve an empty one now, add --create"
        ) from error


def _store_or_app(named: str | None, app: Path | None) -> tuple[str | None, Path | None]:
    """``named`` is what a person typed first: a URL, the file of a store, or the app. Other text stays, and is refused as a URL."""
    if named is None or ":" in named or not (path := Path(named)).exists():
        return named, app
    if app is None and (path.is_dir() or path.suffix == ".py"):
        return None, path
    return (f"sqlite:///{named}" if path.is_file() else named), app
