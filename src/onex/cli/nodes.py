"""``onex nodes`` and ``onex register``: who stands in a directory, and to write somebody into it or take it out by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer
from pydantic import JsonValue

from ..contracts.model.contract import EnumNodeKind
from ..kernel.action import micros
from ..ports import Reader, Stored
from ..views.node_rows import node_json
from ..views.stored_value import iso
from ..wiring.client import connect
from ..wiring.registration_nodes import NodeRegistrationOrchestrator, command_of
from ..wiring.self_registration import REGISTRATION
from ..workflows.registration.payloads import (
    EnumRegistrationAction,
    Introspection,
    ModelRegistrationOutcome,
    ModelRegistrationPayload,
)
from .console import note, now_us, say, say_json, table, when
from .exit_codes import FOUND
from .ls import nothing_such
from .store_options import ROWS_MAX, Json, Store, url_of
from .store_reading import look


def nodes(
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only in this status.")] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 200,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List the nodes of a directory: where each stands, and when it was last heard of.

    --store is the store on which onex:registration runs. A node is complete when Consul and PostgreSQL have it.

    \b
    Examples:
      onex nodes
      onex nodes --status partial
      onex nodes --store postgres://db/nodes --json
    """

    async def ask(reader: Reader) -> tuple[list[Stored], str]:
        rows = list(await reader.instances(REGISTRATION, status, None, limit))
        return rows, "" if rows else nothing_such(await reader.counts(), REGISTRATION, status)

    found, there = look(store, ask)
    rows = [(node_json(one), one) for one in found]
    if as_json:
        for node, one in rows:
            say_json({"node_id": one.key.instance_id, "status": one.status, "changed_at": iso(one.last_us), **node})
        return
    if not rows and status is not None:
        note(f"no such nodes{there}")
        return
    if not rows:
        note(
            "no node is known here; onex register ID --name NAME --type TYPE writes one, and onex:registration carries it out"
        )
        return
    now = now_us()
    table(
        ["node", "status", "name", "type", "version", "last heard of", "why"],
        [
            [
                one.key.instance_id,
                one.status,
                *(str(node.get(field) or "") for field in ("node_name", "node_type", "node_version")),
                _heard(node, now),
                str(node["reason"]),
            ]
            for node, one in rows
        ],
    )


def _heard(node: Mapping[str, JsonValue], now: int) -> str:
    text = node.get("heard_at")
    return when(micros(datetime.fromisoformat(text)), now) if isinstance(text, str) else ""


def register(
    node_id: Annotated[str, typer.Argument(metavar="ID", help="The node.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The name of its service. [default: ID]")] = "",
    node_type: Annotated[EnumNodeKind, typer.Option("--type", help="What kind of node it is.")] = EnumNodeKind.EFFECT,
    version: Annotated[str, typer.Option(metavar="VERSION", help="Its version.")] = "1.0.0",
    address: Annotated[str, typer.Option(metavar="HOST", help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="The port there.")] = 0,
    heartbeat: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", min=1, max=86_400, help="After three of these without a heartbeat it is removed."
        ),
    ] = 86_400,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out again.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="So long to wait for the outcome, and for an engine.")
    ] = 30,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write a node into the directories, or take it out, by hand.

    --store is the store on which onex:registration runs. Nodes that onex run and onex worker start register themselves where
    ONEX_REGISTRY names that store.

    Exit code 1: it is partial or failed, or not done in time. Exit code 3: no engine has answered; it is stored and waits.

    \b
    Examples:
      onex register mailer-1 --type effect --version 1.2.0 --address 10.0.0.7 --port 8080
      onex register mailer-1 --remove
    """
    now = datetime.now(UTC)
    told: dict[str, JsonValue] = {
        "event_id": str(uuid4()), "node_id": node_id, "node_name": name or node_id, "node_type": node_type.value,
        "node_version": version, "address": address, "port": port, "epoch": int(now.timestamp()),
        "timestamp": now.isoformat(), "heartbeat_s": heartbeat,
    }  # fmt: skip
    payload = ModelRegistrationPayload(
        node_id=node_id,
        action=EnumRegistrationAction.DEREGISTER if remove else EnumRegistrationAction.REGISTER,
        node=None if remove else Introspection.model_validate(told),
        reason="onex register --remove" if remove else "",
    )
    outcome = asyncio.run(_carried_out(url_of(store), payload, wait))
    status = outcome.status
    wanted = "deregistered" if remove else "complete"
    if as_json:
        say_json(outcome.model_dump(mode="json"))
    else:
        say(f"{node_id}: {status}")
        if status != wanted:
            why = f"{outcome.reason}; " if outcome.reason else ""
            note(f"{why}onex show {REGISTRATION}:{node_id} says more; the next round follows by itself")
    if status != wanted:
        raise typer.Exit(FOUND)


async def _carried_out(url: str, payload: ModelRegistrationPayload, wait_s: float) -> ModelRegistrationOutcome:
    """``wait_s`` bounds the engine's answer, and then the way to rest. Raises CommitUnknown when no engine has answered."""
    command = command_of(payload)
    async with await connect(url, create=False) as client:
        began = time.monotonic()
        await client.submit(command.key, command.trigger, command.told, timeout_s=wait_s)
        left_s = max(0.0, wait_s - (time.monotonic() - began))
        return await NodeRegistrationOrchestrator(client).at_rest(payload.node_id, left_s)
