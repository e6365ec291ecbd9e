"""EngineClient: the engine of another process, as a program beside it uses it.

    async with await onex.connect("sqlite:///shop.db", app="shop") as client:
        done = await client.submit("orders:4711", "place", {"items": [...]})
        stored = await client.wait("orders:4711", until="shipped")

It owns nothing. What it submits goes through the inbox of the store (promise 39): it is durable first, then the engine judges
it, and the answer comes back as a ``Committed`` or as the error that ``engine.submit`` would have raised. When no engine
runs, it waits for the next one. States are read from the store, so they are there without an engine too.

Whoever waits for an answer or a status asks the store after it has changed, and not again and again (``Watch``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, JsonValue

from ..adapters.clock import SystemClock, UuidV7
from ..adapters.sqlite.errors import StoreIsBackup, StoreIsHistory
from ..app import App, load_app
from ..engine.action_status import action_status
from ..engine.arguments import (
    checked,
    count,
    issuer_text,
    moment_us,
    plain,
    seconds,
    text,
    trigger,
    uuid_bytes,
    workflow_key,
)
from ..engine.awaited_status import TERMINAL, AwaitedStatus
from ..engine.batch import committed_of
from ..engine.encode import check_json, encode_payload
from ..engine.held_lease import LeaseGiver
from ..engine.intake import write_wire
from ..engine.lease_requests import lease_of_json
from ..engine.payload_reading import PayloadInput
from ..engine.pending import Committed
from ..engine.registry import ReducerRegistry
from ..engine.schema_upgrade import stored_state
from ..kernel.action import EPOCH, EnumActionStatus, ModelAction, WorkflowKey
from ..kernel.data_key import CodecKeyMissing
from ..kernel.errors import CommitUnknown, InvalidPayload, OnexError, StateConsistencyError
from ..kernel.lease import RELEASE, LeaseRequest, WorkflowLease
from ..kernel.route import shard_of
from ..kernel.step import State
from ..kernel.user_code import a_type
from ..ports import Clock, LogEntry, Reader, Sender, Stored
from ..settings import read_settings
from .store_access import StoreUrl, Watch, engine_runs, open_kept, owner_pid, shown_url

T = TypeVar("T")
LEASE_ANSWER_S: Final = 30.0
"""How long a client waits for the answer to a request for a lease."""


class WatchedStore(Reader, Sender, Protocol):
    """What a client needs of a store: to read, to send, and a sign that something was committed."""

    def watch(self) -> Watch: ...

    async def applied(self, key: WorkflowKey, action_id: bytes) -> LogEntry | None: ...


class HistoryEntry(NamedTuple):
    """One applied action, as a client sees it. ``payload`` and ``intents`` are JSON."""

    version: int
    trigger: str
    status: str
    payload: JsonValue
    intents: JsonValue
    issued_at: datetime
    action_id: UUID
    issuer: str


class EngineClient(LeaseGiver):
    """Made by ``connect``; use it as ``async with``. All methods belong to one event loop."""

    def __init__(self, store: WatchedStore, store_url: str, registry: ReducerRegistry | None) -> None:
        self.store, self.store_url, self.registry = store, store_url, registry
        self.clock: Clock = SystemClock()
        self._ids = UuidV7()

    async def close(self) -> None:
        """What was sent stays sent. Idempotent."""
        await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def submit(
        self,
        key: WorkflowKey | str,
        kind: str,
        payload: PayloadInput = None,
        *,
        action_id: UUID | None = None,
        correlation_id: UUID | None = None,
        issuer: str = "",
        cause: UUID | None = None,
        expires_at: datetime | None = None,
        lease_id: UUID | None = None,
        epoch: int | None = None,
        expected_version: int | None = None,
        timeout_s: float = 30.0,
    ) -> Committed:
        """The engine's answer. Raises the OnexError it was refused with, as ``engine.submit`` does.

        ``expected_version`` is the version the caller decided on: at any other ConcurrentModificationError is raised.

        Raises CommitUnknown when no answer came in ``timeout_s``: the action is stored, and the next engine judges it. Its
        ``context['action_id']`` is the id to send it again with: it is applied once. A cancelled call withdraws nothing.
        """
        at = checked(workflow_key, "key", key)
        limit_s = checked(seconds, "timeout_s", timeout_s)
        new_id = UUID(bytes=self._ids.new() if action_id is None else checked(uuid_bytes, "action_id", action_id))
        if expires_at is not None:
            checked(moment_us, "expires_at", expires_at)
        action = ModelAction(
            workflow_key=at,
            kind=checked(trigger, "trigger", kind),
            command_payload=plain_payload(payload),
            action_id=new_id,
            correlation_id=_uuid("correlation_id", correlation_id),
            expires_at=expires_at,
            lease_id=_uuid("lease_id", lease_id),
            epoch=None if epoch is None else checked(count, "epoch", epoch),
            expected_version=None if expected_version is None else checked(count, "expected_version", expected_version),
            parent_action_id=_uuid("cause", cause),
            issuer=checked(issuer_text, "issuer", issuer),
        )
        return await self.perform(action, limit_s)

    async def perform(self, action: ModelAction, timeout_s: float = 30.0) -> Committed:
        """An action as it is on the wire, of any type that is served (``engine.wire_support``). Raises as ``submit``."""
        limit_s = checked(seconds, "timeout_s", timeout_s)
        new_id = UUID(bytes=self._ids.new()) if action.action_id is None else action.action_id
        named = action.model_copy(update={"action_id": new_id})
        return await self._committed(action.workflow_key, await self._answer(named, new_id, limit_s))

    async def request(
        self,
        key: WorkflowKey,
        kind: str,
        payload: Mapping[str, JsonValue],
        *,
        action_id: UUID | None = None,
        issuer: str = "",
        timeout_s: float = 30.0,
    ) -> None:
        """An operator's request (``engine.operator_requests``), carried out by the engine that runs on the store.

        Raises what the engine refuses it with, and CommitUnknown as ``submit`` does.
        """
        limit_s = checked(seconds, "timeout_s", timeout_s)
        new_id = UUID(bytes=self._ids.new() if action_id is None else checked(uuid_bytes, "action_id", action_id))
        action = ModelAction(
            workflow_key=key,
            kind=kind,
            command_payload=dict(payload),
            action_id=new_id,
            issuer=checked(issuer_text, "issuer", issuer),
        )
        await self._answer(action, new_id, limit_s)

    async def _request_lease(
        self,
        key: WorkflowKey,
        kind: str,
        asked: LeaseRequest,
        lease_id: UUID | None,
        action_id: UUID | None,
        holder: str,
    ) -> WorkflowLease:
        """Raises CommitUnknown when no answer comes in time. A request that nobody waits for any more grants nothing."""
        new_id = UUID(bytes=self._ids.new() if action_id is None else checked(uuid_bytes, "action_id", action_id))
        request = ModelAction(
            workflow_key=key,
            kind=kind,
            command_payload=asked.model_dump(),
            action_id=new_id,
            expires_at=None
            if kind == RELEASE
            else EPOCH + timedelta(microseconds=self.clock.now_us(), seconds=LEASE_ANSWER_S),
            lease_id=_uuid("lease_id", lease_id),
            issuer=checked(issuer_text, "holder", holder),
        )
        answer = await self._answer(request, new_id, LEASE_ANSWER_S)
        return lease_of_json(key, answer)

    async def _answer(self, action: ModelAction, action_id: UUID, limit_s: float) -> dict[str, JsonValue]:
        """What the inbox row of ``action`` is turned into. Raises the OnexError that it holds, and CommitUnknown."""
        shard = shard_of(action.workflow_key, self.store.shards)
        ticket = await self.store.send(write_wire(action), self.clock.now_us(), shard)
        try:
            async with asyncio.timeout(limit_s):
                answer = orjson.loads(await self._once(lambda: self.store.answer(ticket)))
        except TimeoutError:
            raise await self._unanswered(action.workflow_key, action_id, limit_s) from None
        if not isinstance(answer, dict):
            raise StateConsistencyError(f"the store answers for {action.workflow_key} with what is no JSON object")
        error = answer.get("error")
        if isinstance(error, dict):
            raise OnexError.from_json(error)
        return answer

    async def action_status(self, key: WorkflowKey | str, action_id: UUID) -> EnumActionStatus:
        """What became of an action, by its id: pending, in_progress, completed, failed or cancelled (``engine.action_status``)."""
        return await action_status(self.store, self.store, checked(workflow_key, "key", key), action_id)

    async def stored(self, key: WorkflowKey | str) -> Stored | None:
        """The current row; None when there is none. Raises InvalidKey."""
        at = checked(workflow_key, "key", key)
        return (await self.store.load([at])).get(at)

    async def state(self, key: WorkflowKey | str) -> State | dict[str, JsonValue] | None:
        """The current state: of its class when ``connect`` was given the app, else as JSON. None before the first action.

        Raises UnknownWorkflow for a type that the app does not have, StateTooNew, MigrationFailed.
        """
        stored = await self.stored(key)
        if stored is None or stored.version == 0:
            return None
        if self.registry is not None:
            return stored_state(self.registry[stored.key.workflow_type], stored.state_schema, stored.state)
        value = orjson.loads(stored.state)
        if not isinstance(value, dict):
            raise StateConsistencyError(f"the stored state of {stored.key} is no JSON object")
        return value

    async def history(self, key: WorkflowKey | str, after: int = 0, limit: int = 1000) -> list[HistoryEntry]:
        """Its applied actions behind version ``after``, in order, at most ``limit``. Empty where there are none."""
        at = checked(workflow_key, "key", key)
        rows = await self.store.history(at, checked(count, "after", after), checked(count, "limit", limit))
        return [_history_entry(entry) for entry in rows]

    async def wait(self, key: WorkflowKey | str, until: str = TERMINAL, timeout_s: float = 30.0) -> Stored:
        """The row once its status is ``until``, or any terminal one. ``timeout_s`` may be ``math.inf``.

        Raises TimeoutError; StatusUnreachable as soon as the status cannot come any more; with an app, ValidationError for a
        status that the workflow does not have. Without one only the end of the instance shows what cannot come. A status
        that was entered and left between two looks is not seen.
        """
        at = checked(workflow_key, "key", key)
        limit_s = checked(seconds, "timeout_s", timeout_s)
        workflow = None if self.registry is None else self.registry.find(at.workflow_type)
        awaited = AwaitedStatus(at, checked(text, "until", until), workflow)
        stored: Stored | None = None

        async def reached() -> Stored | None:
            nonlocal stored
            stored = await self.stored(at)
            if awaited.is_reached(stored):
                return stored
            awaited.check(stored)
            return None

        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await self._once(reached)
        except TimeoutError:
            if not limit.expired():
                raise
            raise awaited.late(stored, limit_s) from None

    async def _once(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """What ``look`` gives, as soon as it gives something."""
        watch = self.store.watch()
        while (found := await look()) is None:
            await watch.changed()
        return found

    async def _committed(self, key: WorkflowKey, answer: Mapping[str, object]) -> Committed:
        version, duplicate = answer.get("version"), answer.get("duplicate")
        rows = await self.store.history(key, version - 1, 1) if isinstance(version, int) else []
        if not rows:
            raise StateConsistencyError(f"the store answers for {key} with a version that its log does not have")
        return committed_of(rows[0], duplicate=duplicate is True)

    async def _unanswered(self, key: WorkflowKey, action_id: UUID, waited_s: float) -> CommitUnknown:
        pid = owner_pid(self.store_url)
        if pid is not None:
            who = f"process {pid}, which runs on it, has not answered"
        elif await engine_runs(self.store_url):
            who = f"the engine that runs on {shown_url(self.store_url)} has not answered"
        else:
            who = f"no engine runs on {shown_url(self.store_url)}"
        return CommitUnknown(
            f"no answer for {key} in {waited_s:g} s: {who}. The action is stored and waits for an engine; sent again with "
            f"action_id {action_id} it is applied once",
            action_id=str(action_id),
        )


def _history_entry(entry: LogEntry) -> HistoryEntry:
    row = entry.row
    return HistoryEntry(
        entry.version, row.kind, row.status, orjson.loads(row.payload) if row.payload else None,
        orjson.loads(row.intents) if row.intents else [], EPOCH + timedelta(microseconds=row.issued_us),
        UUID(bytes=row.action_id), row.issuer,
    )  # fmt: skip


async def connect(
    store_url: str | None = None, app: App | Path | str | None = None, *, create: bool = True, token: str | None = None
) -> EngineClient:
    """A client of the engine that runs on the store, in whatever process.

    ``http://HOST:PORT`` is a service (``onex serve``), perhaps on another machine; ``token`` is sent to it, by default that of
    ONEX_TOKEN. It needs the extra ``http``.

    Where there is no store one is made, and actions wait in it for an engine. A misspelt URL makes one too:
    ``create=False`` raises DatabaseConnectionError instead.

    ``store_url`` defaults to the setting. With ``app`` states come as the app's classes, and statuses are checked against
    its contract. Raises ContractError, InvalidStoreUrl, DatabaseConnectionError.
    """
    named = store_url or read_settings().store_url
    loaded = app if app is None or isinstance(app, App) else load_app(app)
    registry = None if loaded is None else ReducerRegistry(tuple(one.recorded for one in loaded.workflows.values()))
    if named.startswith(("http://", "https://")):
        from .http_client import HttpClient  # it needs an HTTP client, which only this needs

        return await HttpClient.open(named, registry, read_settings().token if token is None else token)
    url = StoreUrl.parse(named)
    if create:
        url.make_folder()
    return EngineClient(await open_kept(url, create=create), named, registry)


async def connect_or_read(store_url: str, *, create: bool = True) -> tuple[EngineClient, OnexError | None]:
    """``connect``, also to a store that takes no actions: one that was imported, a backup, or encrypted without its key here.
    The error says why."""
    try:
        return await connect(store_url, create=create), None
    except (StoreIsHistory, StoreIsBackup, CodecKeyMissing) as error:
        return EngineClient(await open_kept(StoreUrl.parse(store_url), read_only=True), store_url, None), error


def plain_payload(payload: PayloadInput) -> dict[str, JsonValue]:
    """Raises InvalidPayload, PayloadTooLarge."""
    if payload is None:
        return {}
    if isinstance(payload, BaseModel):
        payload = encode_payload(payload)
    if isinstance(payload, bytes):
        value = check_json(payload)
        if not isinstance(value, dict):
            raise InvalidPayload(f"payload is JSON of {a_type(value)}; give an object")
        return value
    return dict(checked(plain, "payload", payload))


def _uuid(name: str, given: UUID | None) -> UUID | None:
    return None if given is None else UUID(bytes=checked(uuid_bytes, name, given))
