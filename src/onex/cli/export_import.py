"""``onex export`` and ``onex import``: recorded instances as one file without secrets, and such files as a store to read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..kernel.secret_names import SECRET_NAMES
from ..ports import Stored
from ..replay.history_export import export_history
from ..replay.history_reader import HistoryReader
from ..replay.redaction import Redaction
from ..wiring.recorded import RunSource, StoreImport
from ..wiring.whole_file import whole_file
from .console import counted, note, say, say_json
from .exit_codes import Misused
from .progress import ProgressBar
from .secret_marks import marked_fields
from .store_options import AppOption, Json, Store, url_of


def export(
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Only these instances.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The file to write: NAME.onexrun.")] = None,
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            "--redact",
            metavar="FIELD",
            help="This field is secret too: a name or path, with * for any text. Repeatable.",
        ),
    ] = None,
    app: AppOption = None,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Export everything as it is stored.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write recorded instances into one file, without their secrets.

    The file replays on another machine: onex replay APP --from FILE. It holds the actions, intents and states of all
    instances, of one workflow, or of the instances named; it holds no code. A field is secret when its name says so
    (password, token, api_key, authorization, ...), when --redact names it, or when the app given by --app marks it as
    Secret. Values of secret fields are replaced by values of the same type and length; equal values stay equal. Rows
    with such fields replay as "unverified (redacted)". Instance keys, ids and issuers are not replaced.

    \b
    Examples:
      onex export --out all.onexrun
      onex export orders:4711 orders:4712 --out incident.onexrun --redact customer.email --redact '*_iban'
      onex export --type parcels --out parcels.onexrun --app shop
    """
    if out is None:
        raise Misused("name the file to write: onex export --out run.onexrun")
    if keys and of_type is not None:
        raise Misused("a key already names its workflow; give keys or --type, not both")
    if no_redact and (redact or app is not None):
        raise Misused("--no-redact keeps every value; --redact and --app say what to replace. Give one or the other")
    if out.exists():
        raise Misused(f"{out} exists; name another file, or remove it first")
    redaction = (
        None if no_redact else Redaction((*SECRET_NAMES, *(redact or ()), *marked_fields(app)), secrets.token_bytes(32))
    )
    wanted = [WorkflowKey.parse(key) for key in keys or ()]
    source = RunSource(store_url=url_of(store))
    with whole_file(out) as file:
        count = asyncio.run(_export(source, file, of_type, wanted, redaction, shown=not as_json))
    if redaction is not None and app is None:
        note("secrets were found by field name only; --app APP also replaces the fields that the app marks as Secret")
    if not count:
        note(f"the store has no instance{'' if of_type is None else f' of {of_type!r}'}, so the file holds none")
    for pattern in redact or ():
        if redaction is not None and not redaction.met(pattern):
            note(f"--redact {pattern} replaced nothing: no field of what was exported has that name or path")
    if as_json:
        say_json({"file": str(out), "instances": count, "bytes": out.stat().st_size})
    else:
        say(f"{counted(count, 'instance')} in {out}, {out.stat().st_size:,} bytes")


async def _export(
    source: RunSource,
    out: TextIO,
    of_type: str | None,
    wanted: Sequence[WorkflowKey],
    redaction: Redaction | None,
    *,
    shown: bool,
) -> int:
    async with source.opened() as run:
        chosen: list[Stored] | None = None
        if wanted:
            found = await run.load(wanted)
            gone = [str(key) for key in wanted if key not in found]
            if gone:
                raise NotFound(f"{', '.join(gone)} is not in the store; onex ls lists instances")
            chosen = list(found.values())
        total = None if wanted or of_type is not None else run.actions
        with ProgressBar("exporting", "actions", total, shown=shown) as bar:
            return await export_history(
                run, out, of_type, keys=chosen, redaction=redaction, marks=run, written_rows=bar.advance
            )


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files that onex export wrote.")],
    store: Annotated[str, typer.Option("--store", metavar="URL", help="The new store: sqlite:///FILE.")],
    as_json: Json = False,
) -> None:
    """Make a new store from exported files, to read and replay.

    No engine runs on such a store, so no effect is repeated. Every row keeps its position. The files hold no open intents,
    timers, rejections, blobs or inbox rows, so the store has none. The store is created completely or not at all.

    \b
    Examples:
      onex import incident.onexrun --store sqlite:///incident.db
      onex import monday.onexrun tuesday.onexrun --store sqlite:///both.db
    """
    with StoreImport(store) as made, ProgressBar("importing", "actions", shown=not as_json) as bar:
        for file in files:
            with HistoryReader.open(file) as run:
                asyncio.run(made.take(run, bar.advance))
        made.finish()
    if as_json:
        say_json({"store": store, "instances": made.instances, "actions": made.actions})
    else:
        say(f"{counted(made.instances, 'instance')}, {counted(made.actions, 'action')} in {store}, read-only")
