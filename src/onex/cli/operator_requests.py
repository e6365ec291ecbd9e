"""Requests of an operator: sent through the inbox to the running engine, or carried out by an engine opened here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import JsonValue

from ..engine.intake import write_wire
from ..engine.operator_requests import STOPPED, NothingStopped
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import InstanceFinished, OnexError, OwnershipLost
from ..kernel.route import shard_of
from ..ports import EnumOutboxState, Pointer, Reader
from ..wiring import engine_runs, new_action_id, open_reader, open_sender, owner_pid, shown_url
from ..wiring.engine import WiredEngine, open
from .console import harmless, now_us
from .exit_codes import Declined, Misused, Unanswered
from .store_reading import until


class OperatorRequest(NamedTuple):
    """One request. ``moves`` are the outbox rows that continue because of it."""

    key: WorkflowKey
    kind: str
    payload: dict[str, JsonValue]
    moves: tuple[Pointer, ...]


class OpenedEngine(NamedTuple):
    """What the engine that was opened for a request did. It runs all that is due on its store, not only what was asked."""

    effects_run: int
    committed: int


class OperatorResult(NamedTuple):
    """``drained``: every row that was to continue has ended. ``left``: how many are dead or held now.

    ``opened`` is None where a running engine did the work. ``ended``: how many were left out because their instance has ended.
    """

    drained: bool
    left: int
    opened: OpenedEngine | None = None
    ended: int = 0

    def as_json(self) -> dict[str, bool | int]:
        counted = {} if self.opened is None else self.opened._asdict()
        return {"drained": self.drained, "left": self.left, **counted}


async def operate(
    url: str, app: Path | None, asked: Sequence[OperatorRequest], wait_s: float, *, leave_ended: bool = False
) -> OperatorResult:
    """Carries out the requests. ``app`` is needed when no engine runs. ``leave_ended``: one that is refused because its instance
    has ended is left out and counted.

    Raises Misused, Declined, Unanswered, and what ``open`` raises.
    """
    if not await engine_runs(url):
        if app is None:
            raise Misused(f"no engine runs on {shown_url(url)}; name the app, and one is opened for this: --app PATH")
        try:
            engine = await open(url, app)
        except OwnershipLost:  # an engine has started since, or the system does not say who holds the lock
            pass
        else:
            return await _here(engine, asked, wait_s, leave_ended=leave_ended)
    return await _there(url, asked, wait_s, leave_ended=leave_ended)


def _nothing_to_answer() -> None:
    """Within this process no row of the inbox waits for an answer."""


async def _here(
    engine: WiredEngine, asked: Sequence[OperatorRequest], wait_s: float, *, leave_ended: bool
) -> OperatorResult:
    declined: list[tuple[str, str]] = []
    async with engine:
        for one in asked:
            try:
                await engine.inbox.handlers[one.kind](one.key, one.payload, _nothing_to_answer)
            except OnexError as error:
                if engine.service.closed is not None:
                    raise
                declined.append((error.code, error.message))
        try:
            async with asyncio.timeout(wait_s):
                await engine.idle()
        except TimeoutError:
            drained = False
        else:
            drained = True
        ended = _check(declined, leave_ended=leave_ended)
        did = OpenedEngine(engine.counters.effects_run, engine.counters.committed)
        return OperatorResult(drained, await _left(engine.reader), did, ended)


async def _there(url: str, asked: Sequence[OperatorRequest], wait_s: float, *, leave_ended: bool) -> OperatorResult:
    end_s = time.monotonic() + wait_s
    ended_before = _check(await _answers(url, asked, wait_s), leave_ended=leave_ended)
    reader = await open_reader(url)
    try:
        left = [pointer for one in asked for pointer in one.moves]

        async def ended() -> bool | None:
            left[:] = [pointer for pointer in left if await _waits(reader, pointer)]
            return None if left else True

        try:
            async with asyncio.timeout(max(0.0, end_s - time.monotonic())):
                drained = await until(ended)
        except TimeoutError:
            drained = False
        return OperatorResult(drained, await _left(reader), ended=ended_before)
    finally:
        await reader.close()


async def _answers(url: str, asked: Sequence[OperatorRequest], wait_s: float) -> list[tuple[str, str]]:
    """Code and message of each refused request."""
    sender = await open_sender(url)
    refused: list[tuple[str, str]] = []
    try:
        tickets = [await sender.send(_body(one), now_us(), shard_of(one.key, sender.shards)) for one in asked]
        async with asyncio.timeout(wait_s):
            for ticket in tickets:
                answer = orjson.loads(await until(partial(sender.answer, ticket), sender.watch().changed))
                if "error" in answer:
                    refused.append((answer["error"]["code"], answer["error"]["message"]))
    except TimeoutError:
        pid, shown = owner_pid(url), shown_url(url)
        if pid:
            who = f"process {pid}, which runs on {shown}, has not answered"
        else:
            runs = await engine_runs(url)
            who = f"the engine that runs on {shown} has not answered" if runs else f"no engine runs on {shown} any more"
        raise Unanswered(f"{who}; the request is stored, and the next engine carries it out") from None
    finally:
        await sender.close()
    return refused


def _body(one: OperatorRequest) -> bytes:
    action = ModelAction(
        workflow_key=one.key,
        kind=one.kind,
        command_payload=one.payload,
        action_id=new_action_id(),
        issuer="cli",
    )
    return write_wire(action)


def _check(refused: Sequence[tuple[str, str]], *, leave_ended: bool) -> int:
    """How many are left out. Raises Declined, unless each of the others was refused because there was nothing left to do."""
    ended = [code for code, _ in refused if leave_ended and code == InstanceFinished.code]
    reasons = [f"({code}) {message}" for code, message in refused if code not in (NothingStopped.code, *ended)]
    if reasons:
        raise Declined(f"the engine refused: {harmless('; '.join(reasons))}")
    return len(ended)


async def _waits(reader: Reader, pointer: Pointer) -> bool:
    rows = await reader.outbox((EnumOutboxState.WAITING,), None, pointer._replace(ordinal=pointer.ordinal - 1), 1)
    return bool(rows) and rows[0].pointer == pointer


async def _left(reader: Reader) -> int:
    outbox = (await reader.counts()).outbox
    return sum(outbox.get(state.value, 0) for state in STOPPED)
