"""What commands share: the options --store, --json, --app, --listen and KEY."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..settings import read_settings
from .exit_codes import Misused

ROWS_MAX = 1_000_000_000

Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The store. [default: ONEX_STORE, else sqlite:///.onex/store.db]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one document per line.")]
AppPath = Annotated[
    Path,
    typer.Argument(
        metavar="APP",
        help="The app: a Python file, a folder with app.py, contract.yaml or folders with one, or onex:registration.",
    ),
]
AppOption = Annotated[Path | None, typer.Option("--app", metavar="APP", help="The app: a Python file or a folder.")]
ListenAt = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Answer GET /health, /health/live, /health/ready and /metrics there. HOST is 127.0.0.1 unless given. "
        "[default: ONEX_LISTEN, else nowhere]",
    ),
]
NoRedact = Annotated[bool, typer.Option("--no-redact", help="Show the values of secret fields, too.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The instance, as TYPE:INSTANCE.")]


def url_of(store: str | None) -> str:
    return store or read_settings().store_url


def numbers(text: str, count: int, what: str) -> list[int]:
    """The numbers of ``1:2:3``. Raises Misused."""
    parts = text.split(":")
    if len(parts) != count or not all(part.isdecimal() and len(part) < 19 for part in parts):
        shape = ":".join(("SHARD", "N", "ORDINAL")[:count])
        raise Misused(f"{text!r} is not a {what}; write {shape}, for example {':'.join(('0', '12', '0')[:count])}")
    return [int(part) for part in parts]
