"""``onex submit``: sends one action through the inbox of a store, with or without a running engine."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import orjson
import typer
from pydantic import JsonValue

from ..engine.arguments import checked, operator_name
from ..engine.arguments import trigger as checked_trigger
from ..engine.encode import check_json
from ..engine.intake import id_of_idempotency_key, write_wire
from ..engine.operator_requests import SUBMIT
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import OnexError, ReducerFailed
from ..kernel.route import shard_of
from ..kernel.size_limits import WIRE_BYTES
from ..wiring import engine_runs, new_action_id, shown_url
from .console import harmless, note, now_us, say, say_json
from .exit_codes import ENVIRONMENT, FOUND, Misused
from .store_options import Json, Store, url_of
from .store_reading import open_sender_telling, until
from .user_name import user_name

LINES = "-"
"""In place of a key: actions come as lines of standard input."""


def submit(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The instance, as TYPE:INSTANCE; - reads actions from standard input.")
    ],
    trigger: Annotated[
        str | None,
        typer.Argument(metavar="TRIGGER", help="The trigger, as the contract names it.", show_default=False),
    ] = None,
    payload: Annotated[
        str, typer.Option(metavar="JSON|@FILE|-", help="The payload, a JSON object; - reads standard input.")
    ] = "",
    action_id: Annotated[
        UUID | None,
        typer.Option("--id", metavar="UUID", help="Id of the action; the same id is applied once."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Instead of --id: any text. It means the same action until onex gc cuts its row.",
        ),
    ] = None,
    expected_version: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Refuse it unless the instance is at this version; 0: not begun."),
    ] = None,
    as_operator: Annotated[
        bool, typer.Option("--as-operator", help="Send a trigger that is internal to the app; the log names you.")
    ] = False,
    operator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --as-operator: the name in the log, else that of the system's user."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the engine's answer.")] = True,
    timeout: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait.")] = 10.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Send one action to an instance, and wait for its answer.

    The action is stored durably, also while no engine runs: the next engine applies or refuses it. Exit code 1: it was
    refused. Exit code 3: no answer came in time. It may still be applied then, so send it again with the same --id.

    A trigger that only an outcome, a timer or a message of the app brings is refused (internal_trigger), unless the contract
    lists it under public. An operator sends it with --as-operator; the log then names operator:NAME as its issuer.

    With - each line of standard input is one action, a JSON object with key and trigger, and if wanted payload, expected_version,
    action_id or idempotency_key. A line that is no action is reported with its number, and the others go on. --json prints
    one line for each, in their order; --timeout is then the longest pause between two answers. Ctrl-C stops, and says how many
    are durable.

    \b
    Examples:
      onex submit orders:4711 cancel
      onex submit orders:4711 place --payload '{"items": [{"sku": "tea", "quantity": 1, "cents": 450}]}'
      onex submit orders:4711 place --payload @order.json --idempotency-key basket-9
      onex submit orders:4711 cancel --no-wait
      onex submit orders:4711 cancel --expected-version 3
      onex submit orders:4711 charged --payload '{"receipt": "by phone"}' --as-operator
      onex submit - < actions.jsonl
    """
    if key == LINES:
        if trigger is not None or payload or action_id is not None or idempotency_key is not None:
            raise Misused("onex submit - reads trigger, payload and ids from its lines; leave them out here")
        if expected_version is not None:
            raise Misused('--expected-version is of one action; write "expected_version": N into its line')
        if as_operator or operator is not None:
            raise Misused(
                "onex submit - sends as a client; an operator's action is sent alone: KEY TRIGGER --as-operator"
            )
        from .submit_lines import submit_lines

        code = submit_lines(url_of(store), timeout if wait else 0.0, as_json=as_json)
        if code:
            raise typer.Exit(code)
        return
    if trigger is None:
        raise Misused(
            "onex submit KEY TRIGGER: the trigger is missing; onex submit - reads actions from standard input"
        )
    if action_id is not None and idempotency_key is not None:
        raise Misused("give --id or --idempotency-key, not both")
    if idempotency_key is not None:
        action_id = id_of_idempotency_key(idempotency_key)
    if operator is not None and not as_operator:
        raise Misused("--operator names who sends the action with --as-operator; give both")
    kind, content = checked(checked_trigger, "trigger", trigger), payload_of(payload)
    if as_operator:
        name = checked(operator_name, "--operator", operator if operator is not None else user_name())
        kind, content = SUBMIT, {"trigger": kind, "payload": content, "operator": name}
    action = ModelAction(
        workflow_key=WorkflowKey.parse(key),
        kind=kind,
        command_payload=content,
        action_id=action_id or new_action_id(),
        expected_version=expected_version,
        issuer="cli",
    )
    code = send_and_report(action, trigger, url_of(store), timeout if wait else 0.0, as_json=as_json)
    if code:
        raise typer.Exit(code)


def send_and_report(action: ModelAction, trigger: str, url: str, wait_s: float, *, as_json: bool) -> int:
    """Sends it, says what came of it, and returns the exit code. ``wait_s`` 0: no answer is waited for."""
    sent, noted = asyncio.run(_send(action, trigger, url, wait_s))
    return _report(sent, waited=wait_s > 0, noted=noted, as_json=as_json)


def payload_of(text: str) -> dict[str, JsonValue]:
    if not text:
        return {}
    if text == "-":
        if sys.stdin is None:  # it was closed before the process started
            raise Misused("--payload -: there is no standard input")
        raw = sys.stdin.buffer.read(WIRE_BYTES)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                raw = file.read(WIRE_BYTES)  # anything longer is refused as too large
        except OSError as error:
            raise Misused(f"--payload {harmless(text)}: {error.strerror or error}") from error
        except ValueError as error:
            raise Misused(f"--payload {harmless(text)}: {error}") from error
    else:
        raw = text.encode(errors="surrogatepass")
    try:
        value = check_json(raw)
    except OnexError as error:
        raise Misused(f"--payload: {error.message}") from error
    if not isinstance(value, dict):
        raise Misused("""--payload is a JSON object, for example '{"amount": 5}'""")
    return value


async def _send(action: ModelAction, trigger: str, url: str, wait_s: float) -> tuple[dict[str, JsonValue], bool]:
    """The ticket of the action, and the answer if it came in time; and whether a note has told ticket and id already."""
    noted = False
    sent: dict[str, JsonValue] = {
        "key": str(action.workflow_key),
        "trigger": trigger,
        "action_id": str(action.action_id),
        "answered": False,
    }
    body = write_wire(action)  # raises for an action that no engine accepts, before a store is made
    sender = await open_sender_telling(url)
    try:
        ticket = await sender.send(body, now_us(), shard_of(action.workflow_key, sender.shards))
        sent["ticket"] = ticket
        if wait_s and not await engine_runs(url):
            waits = f"no engine runs on {shown_url(url)}, so it waits: onex run APP"
            note(f"inbox number {ticket}, id {action.action_id}; {waits}")
            noted = True
        try:
            async with asyncio.timeout(wait_s):
                answer = await until(lambda: sender.answer(ticket), sender.watch().changed)
        except TimeoutError:
            return sent, noted
    finally:
        await sender.close()
    return {**sent, "answered": True, **orjson.loads(answer)}, noted


def _report(sent: dict[str, JsonValue], *, waited: bool, noted: bool, as_json: bool) -> int:
    error = sent.get("error")
    if as_json:
        say_json(sent)
    elif isinstance(error, dict):
        note(f"refused ({error['code']}): {harmless(str(error['message']))}")
        if error["code"] == ReducerFailed.code:
            note(f"where: onex rejections {sent['key']}")
    elif sent.get("done"):
        say(f"{sent['key']}  {sent['trigger']} done")
    elif sent["answered"]:
        again = "  (applied before)" if sent["duplicate"] else ""
        say(f"{sent['key']}  {sent['trigger']} -> {sent['status']}  version {sent['version']}{again}")
    elif noted:
        say(f"{sent['key']}  {sent['trigger']} stored")
        note("no answer yet; it may be sent again with its id: it is applied once")
    else:
        say(f"{sent['key']}  {sent['trigger']} stored, inbox number {sent['ticket']}, id {sent['action_id']}")
        if waited:
            note(f"no answer yet; send it again with --id {sent['action_id']}: it is applied once")
    if isinstance(error, dict):
        return FOUND
    return ENVIRONMENT if waited and not sent["answered"] else 0
