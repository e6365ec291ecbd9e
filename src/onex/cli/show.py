"""``onex show``: one instance, now or at an earlier version."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import JsonValue

from ..kernel.action import ID_BYTES, WorkflowKey
from ..kernel.errors import UnknownWorkflow
from ..ports import EnumOutboxState, OutboxRow, Reader, Stored
from ..views.plan_rows import plan_rows
from ..views.stored_rows import InstancePage, instance_page_json
from ..views.stored_value import intent_name, iso, parse_json, tries_made
from ..wiring import engine_runs
from .console import fields, harmless, note, now_us, say, say_json, short, styled, table, when
from .exit_codes import FOUND, Misused
from .secret_marks import hidden_fields
from .show_history import show_attempts, show_history, trace_lines
from .store_options import AppOption, Json, Key, NoRedact, Store, url_of
from .store_reading import look

ROWS = 200
REJECTIONS = 5
REJECTIONS_READ = 10_000
LOOKS = 10
ATTEMPTS = 1000
OPEN = tuple(EnumOutboxState)


def show(
    key: Key,
    at: Annotated[
        int | None, typer.Option(metavar="VERSION", min=1, help="Show the state after this version; needs --app.")
    ] = None,
    app: AppOption = None,
    history: Annotated[
        bool, typer.Option("--history", help=f"Also show its last {ROWS} actions, with their payloads and senders.")
    ] = False,
    attempts: Annotated[
        bool,
        typer.Option(
            "--attempts", help="Also show what became of their intents: each try, and where your code raised."
        ),
    ] = False,
    no_redact: NoRedact = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show one instance: status, state, timers, open intents.

    Values of secret fields are shown as ***: fields with a name like password, token or api_key, and with --app those
    that the app marks as Secret.

    \b
    Examples:
      onex show orders:4711
      onex show orders:4711 --history
      onex show orders:4711 --history --attempts
      onex show orders:4711 --at 3 --app examples/orders
      onex show orders:4711 --json | jq .state.total_cents
    """
    at_key = WorkflowKey.parse(key)
    if at is not None and app is None:
        raise Misused("--at folds the log with the app's reducer; name the app: --app PATH")
    hide = hidden_fields(app, no_redact=no_redact)
    page = look(
        store, lambda reader: _at_one_version(reader, at_key, at, app, history=history or attempts, attempts=attempts)
    )
    page.hide, page.owned, page.now_us = hide, asyncio.run(engine_runs(url_of(store))), now_us()
    if as_json:
        say_json(instance_page_json(page))
    elif page.stored is None:
        note(
            f"{key} has not begun"
            + (", but actions to it were refused:" if page.rejections else "; onex ls lists instances")
        )
        _show_rejections(page)
    else:
        _show(page, page.stored, app)
    if page.stored is None:
        raise typer.Exit(FOUND)


async def _at_one_version(
    reader: Reader, key: WorkflowKey, at: int | None, app: Path | None, *, history: bool, attempts: bool
) -> InstancePage:
    """A page whose parts belong to one version, though an engine may change the instance between the reads.

    It reads again when the version has changed meanwhile. After LOOKS tries, rows of later versions are left out.
    """
    for _ in range(LOOKS):
        page = await _ask(reader, key, at, app, history=history)
        if attempts and page.stored is not None:
            page.attempts = list(await reader.attempts(key, ATTEMPTS))
        now = (await reader.load([key])).get(key)
        if (now.version if now is not None else 0) == page.version:
            break
    page.open_intents = [row for row in page.open_intents if row.version <= page.version]
    return page


async def _ask(reader: Reader, key: WorkflowKey, at: int | None, app: Path | None, *, history: bool) -> InstancePage:
    page = InstancePage(key)
    refused = list(await reader.rejections(str(key), None, 0, REJECTIONS + 1))
    page.rejections, page.more_rejections = refused[:REJECTIONS], len(refused) > REJECTIONS
    page.stored = stored = (await reader.load([key])).get(key)
    if stored is None or stored.version == 0:
        page.stored = None
        return page
    page.terminal = stored.terminal
    codes = await reader.codes()
    page.code = codes.get(stored.code_id)
    page.last = next(iter(await reader.history(key, stored.version - 1, 1)), None)
    rows = await reader.outbox(OPEN, key, None, ROWS)
    page.open_intents = [row for row in rows if not row.timer or row.state != "waiting" or row.error]
    if history:
        last = at or stored.version
        page.history = list(await reader.history(key, max(0, last - ROWS), min(last, ROWS)))
    if at is not None and app is not None:
        if at > stored.version:
            raise Misused(f"{key} is at version {stored.version}; version {at} does not exist yet")
        from ..app import load_app
        from ..engine.encode import encode
        from ..engine.refold import HistoryCut, state_at

        if at <= stored.cut:
            raise HistoryCut(
                f"the history of {key} begins behind version {stored.cut} here; the archive that onex gc wrote has version {at}: "
                "onex import ARCHIVE --store sqlite:///NEW, then onex show --store sqlite:///NEW"
            )

        loaded = load_app(app).workflows
        if key.workflow_type not in loaded:
            raise UnknownWorkflow(f"{app} has no workflow {key.workflow_type!r}; it has {', '.join(loaded)}")
        one = loaded[key.workflow_type]
        page.at = (await reader.history(key, at - 1, 1))[0]
        page.terminal = page.at.row.status in one.reducer.terminal
        at_us = page.at.row.issued_us
        rejected = await reader.rejections(
            str(key), None, 0, REJECTIONS_READ
        )  # newest first: those of then stand behind
        then = [row for row in rejected if row.last_us <= at_us]
        page.rejections, page.more_rejections = then[:REJECTIONS], len(then) > REJECTIONS
        page.state_at = encode(await state_at(reader, one.recorded, key, at))
        made_by = codes.get(page.at.code_id)
        page.other_code = made_by is None or made_by.digest != one.code.digest
    return page


def _show(page: InstancePage, stored: Stored, app: Path | None) -> None:
    now = now_us()
    status = page.at.row.status if page.at else stored.status
    ended = " (ended)" if page.terminal else ""
    say(f"{styled(harmless(str(page.key)), 'bold')}  {status}{ended}")
    changed = page.at.row.issued_us if page.at else stored.last_us
    pairs = [("version", f"{page.at.version} of {stored.version}" if page.at else str(stored.version))]
    pairs += [("changed", f"{when(changed, now)}, {iso(changed)}")]
    if page.code is not None and page.at is None:
        pairs.append(("code", f"{page.code.contract_version}, {page.code.digest.hex()[:12]}"))
    last = page.last.row if page.at is None and page.last is not None else None
    if (
        last is not None and last.cause is not None and len(last.cause) == ID_BYTES
    ):  # no intent of its own between the two
        by = harmless(last.issuer or "a client")
        pairs.append(("caused by", f"an action that {by} names: onex log {page.key} --causes {stored.version}"))
    if stored.cut:
        pairs.append(("history", f"behind version {stored.cut}; up to it, it is in an archive of onex gc"))
    if stored.held:
        release = f"onex release {page.key} --app {app or 'APP'}"
        pairs.append(("held", f"{styled(harmless(stored.held), 'yellow')}. Fix the reducer, or: {release}"))
    if stored.lease_id is not None and stored.lease_until_us >= now:
        pairs.append(("leased", f"until {iso(stored.lease_until_us)}, epoch {stored.epoch}"))
    fields(pairs)
    if page.other_code:
        note(
            "the app's code is not the code that made this version: this is the state that it computes from the same actions"
        )
    _show_state(page.shown(parse_json(page.state_at if page.at else stored.state)))
    if page.at is None:
        _show_waiting(page, stored, now)
    if page.history is not None:
        say(styled("history", "dim"))
        show_history(page.history, page.hide)
        if page.history and page.history[0].version > 1:
            note(f"there are more: onex log {page.key}")
    if page.attempts is not None:
        say(styled("attempts", "dim"))
        show_attempts(page.stories, {row.pointer: _stands(row, page.running(row)) for row in page.open_intents})
    _show_rejections(page)


def _show_state(value: JsonValue) -> None:
    say(styled("state", "dim"))
    if not isinstance(value, dict):
        say(f"  {harmless(str(value))}")
        return
    tasks = plan_rows(value)
    fields(
        [
            (harmless(name), short(harmless(orjson.dumps(part).decode()), 400))
            for name, part in value.items()
            if name != "status" and not (tasks and name == "plan")
        ]
    )
    if tasks:
        say(styled("tasks", "dim"))
        columns = [
            ["  " + one.task, one.state, one.began, one.ended, f"{one.items} {one.error}".strip()] for one in tasks
        ]
        table(["  task", "state", "began", "ended", ""], [[harmless(cell) for cell in row] for row in columns])


def _show_waiting(page: InstancePage, stored: Stored, now: int) -> None:
    if stored.timers:
        say(styled("timers", "dim"))
        fields([(name, when(due_us, now)) for name, (_, due_us) in sorted(stored.timers.items())])
    if page.open_intents:
        say(styled("open intents", "dim"))
        rows = [
            [
                intent_name(row),
                _stands(row, page.running(row)),
                f"attempt {tries_made(row)}"
                + _begun(row, page.running(row))
                + (f", due {when(row.due_us, now)}" if row.due_us > now else ""),
                row.error,
            ]
            for row in page.open_intents
        ]
        widths = [max(len(row[n]) for row in rows) for n in range(3)]
        for row in rows:
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            say(f"  {cells}  {harmless(row[3])}".rstrip())


def _stands(row: OutboxRow, running: bool | None) -> str:
    if row.state is EnumOutboxState.WAITING and running is not False:
        return "running" if running else "waiting or running"
    return row.state.value


def _begun(row: OutboxRow, running: bool | None) -> str:
    """Of one that waits and whose start an engine recorded: that engine has ended, and nobody knows how far it came."""
    waits = row.state is EnumOutboxState.WAITING and running is False
    return ", which had begun" if waits and row.started else ""


def _show_rejections(page: InstancePage) -> None:
    if page.rejections:
        now = now_us()
        say(styled("refused", "dim"))
        table(
            ["  when", "code", "times", "why"],
            [["  " + when(row.last_us, now), row.code, str(row.times), row.message] for row in page.rejections],
            right=(2,),
            below=[trace_lines(row.trace, " " * 4) for row in page.rejections],
        )
    if page.more_rejections:
        note(f"there are more: onex rejections {page.key}")
