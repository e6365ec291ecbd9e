"""HttpClient: the same calls as an ``EngineClient``, over HTTP to ``onex serve``.

    async with await onex.connect("https://onex.example", token=TOKEN) as client:
        done = await client.submit("orders:4711", "place", {"items": [...]})

What it submits has an id from here, sent as ``Idempotency-Key``. So a lost answer is asked for again, and it is applied once.
An answer that the engine has not given yet (202) is waited for with the same id, until the time is over. A problem document
becomes the error that ``engine.submit`` would have raised.

Values of secret fields come as ``***``, and leases are not offered: who leads a workflow works beside its store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson
from pydantic import JsonValue

from ..adapters.clock import SystemClock, UuidV7
from ..engine.arguments import checked, count, seconds, text, trigger, uuid_bytes, workflow_key
from ..engine.awaited_status import TERMINAL, AwaitedStatus
from ..engine.payload_reading import PayloadInput
from ..engine.pending import Committed
from ..engine.registry import ReducerRegistry
from ..kernel.action import WorkflowKey, micros
from ..kernel.errors import (
    CommitUnknown,
    DatabaseConnectionError,
    NotFound,
    OnexError,
    StateConsistencyError,
    UnsupportedAction,
)
from ..kernel.lease import LeaseRequest, WorkflowLease
from ..ports import Position, Stored
from .client import EngineClient, HistoryEntry, plain_payload

if TYPE_CHECKING:
    import httpx2

WAIT_S: Final = 30.0
"""How long one request asks the service to wait."""
AGAIN_S: Final = 0.2
PAGE: Final = 1000
FORBIDDEN: Final = 403


class HttpMissing(DatabaseConnectionError):
    """The URL is that of a service, and no HTTP client is installed: the extra ``http``."""

    code = "http_missing"


class ServiceUnreachable(DatabaseConnectionError):
    """The service does not answer, or not as one. What was sent may have arrived: send it again with the same action id."""

    code = "service_unreachable"


class HttpClient(EngineClient):
    """Made by ``connect``. It has no ``store``: everything goes through the service."""

    def __init__(self, url: str, registry: ReducerRegistry | None, http: httpx2.AsyncClient, token: str) -> None:
        self.store_url, self.registry = url, registry
        self.clock = SystemClock()
        self._ids = UuidV7()
        self._http, self._token, self._csrf = http, token, ""

    @classmethod
    async def open(cls, url: str, registry: ReducerRegistry | None, token: str) -> HttpClient:
        """Raises HttpMissing, ServiceUnreachable, and what the service says of the token."""
        try:
            import httpx2
        except ImportError as error:
            raise HttpMissing(
                f"{url} is reached by an HTTP client, which is not here ({error}). Install the extra http of your copy of ONEX: "
                "pip install 'PATH/TO/ONEX[http]'"
            ) from error
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        http = httpx2.AsyncClient(
            base_url=url.rstrip("/"), headers=headers, timeout=WAIT_S + 10, follow_redirects=False, trust_env=False
        )
        client = cls(url, registry, http, token)
        try:
            session = await client._get("/api/session")
        except BaseException:
            await http.aclose()
            raise
        client._csrf = str(session.get("csrf"))
        return client

    async def close(self) -> None:
        await self._http.aclose()

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
        """As ``EngineClient.submit``. The issuer is ``api:`` and the name of the token. Raises UnsupportedAction for another."""
        if issuer or lease_id is not None or epoch is not None:
            raise UnsupportedAction(
                "over HTTP the issuer is the name of the token, and no lease is taken; leave out issuer, lease_id and epoch"
            )
        at = checked(workflow_key, "key", key)
        new_id = UUID(bytes=self._ids.new() if action_id is None else checked(uuid_bytes, "action_id", action_id))
        body: dict[str, JsonValue] = {
            "key": str(at), "trigger": checked(trigger, "trigger", kind), "payload": plain_payload(payload),
            "expected_version": expected_version,
            "correlation_id": None if correlation_id is None else str(correlation_id),
            "cause": None if cause is None else str(cause),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
        }  # fmt: skip
        answer = await self._answered("/api/submit", body, new_id, checked(seconds, "timeout_s", timeout_s))
        shard, _, n = str(answer.get("position")).partition(":")
        version, status = answer.get("version"), answer.get("status")
        if not isinstance(version, int) or not isinstance(status, str) or not n.isdecimal():
            raise StateConsistencyError(f"{self.store_url} answers for {at} without a version")
        return Committed(at, version, Position(int(shard), int(n)), status, answer.get("duplicate") is True)

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
        new_id = UUID(bytes=self._ids.new()) if action_id is None else action_id
        body = dict(payload) if payload else {"key": str(key)}
        await self._answered(f"/api/{kind.removeprefix('@')}", body, new_id, timeout_s)

    async def stored(self, key: WorkflowKey | str) -> Stored | None:
        """What the service tells of it. Empty is what only a store has: ``instance``, ``state_hash``, ``code_id``, timers."""
        at = checked(workflow_key, "key", key)
        try:
            told = await self._get("/api/instance", key=str(at))
        except NotFound:
            return None
        action, waiting = told.get("action"), told.get("waiting")
        version, schema = told.get("version"), told.get("state_schema")
        if not isinstance(action, dict) or not isinstance(version, int) or not isinstance(schema, int):
            raise StateConsistencyError(f"{self.store_url} answers for {at} with what is no instance")
        shard, _, n = str(action["position"]).partition(":")
        epoch = waiting.get("epoch") if isinstance(waiting, dict) else 0
        held = waiting.get("held") if isinstance(waiting, dict) else None
        return Stored(
            at, 0, version, epoch if isinstance(epoch, int) else 0, str(told["status"]), told["terminal"] is True,
            orjson.dumps(told["state"]), schema, b"", 0, Position(int(shard), int(n)),
            micros(datetime.fromisoformat(str(told["changed_at"]))), 0, str(held or ""), None, 0, {},
        )  # fmt: skip

    async def history(self, key: WorkflowKey | str, after: int = 0, limit: int = 1000) -> list[HistoryEntry]:
        at, left = checked(workflow_key, "key", key), checked(count, "limit", limit)
        after = checked(count, "after", after)
        found: list[HistoryEntry] = []
        while left > 0:
            try:
                page = await self._get("/api/instance/log", key=str(at), after=after, limit=min(left, PAGE))
            except NotFound:
                break
            actions = page.get("actions")
            rows = [one for one in actions if isinstance(one, dict)] if isinstance(actions, list) else []
            found += [_entry(one) for one in rows]
            left -= len(rows)
            if not rows or page.get("next") is None:
                break
            after = found[-1].version
        return found

    async def wait(self, key: WorkflowKey | str, until: str = TERMINAL, timeout_s: float = 30.0) -> Stored:
        at = checked(workflow_key, "key", key)
        limit_s = checked(seconds, "timeout_s", timeout_s)
        workflow = None if self.registry is None else self.registry.find(at.workflow_type)
        awaited = AwaitedStatus(at, checked(text, "until", until), workflow)
        ends_s = time.monotonic() + limit_s
        while True:
            left_s = min(WAIT_S, max(0.0, ends_s - time.monotonic()))
            await self._get("/api/instance/wait", key=str(at), until=until, wait_s=left_s)
            stored = await self.stored(at)
            if stored is not None and awaited.is_reached(stored):
                return stored
            awaited.check(stored)
            if time.monotonic() >= ends_s:
                raise awaited.late(stored, limit_s)

    async def _request_lease(
        self,
        key: WorkflowKey,
        kind: str,
        asked: LeaseRequest,
        lease_id: UUID | None,
        action_id: UUID | None,
        holder: str,
    ) -> WorkflowLease:
        raise UnsupportedAction("over HTTP no lease is taken: connect to the store itself")

    # --- requests -------------------------------------------------------------------------------------------------------

    async def _answered(
        self, path: str, body: Mapping[str, JsonValue], action_id: UUID, limit_s: float
    ) -> Mapping[str, JsonValue]:
        """The engine's answer. Raises CommitUnknown when there is none in time."""
        ends_s = time.monotonic() + limit_s
        while True:
            wait_s = min(WAIT_S, max(0.0, ends_s - time.monotonic()))
            try:
                answer = await self._call("POST", path, {"wait_s": wait_s}, body, action_id)
            except ServiceUnreachable as error:
                if time.monotonic() >= ends_s:
                    raise CommitUnknown(
                        f"{error.message}; sent again with action_id {action_id} it is applied once",
                        action_id=str(action_id),
                    ) from error
                await asyncio.sleep(AGAIN_S)
                continue
            if answer.get("answered") is True:
                return answer
            if time.monotonic() >= ends_s:
                raise CommitUnknown(str(answer.get("note")), action_id=str(action_id))

    async def _get(self, path: str, **query: str | int | float) -> Mapping[str, JsonValue]:
        return await self._call("GET", path, query)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | float],
        body: Mapping[str, JsonValue] | None = None,
        action_id: UUID | None = None,
        *,
        renewed: bool = False,
    ) -> Mapping[str, JsonValue]:
        """Raises the OnexError that a problem document tells, ServiceUnreachable. ``renewed``: the csrf was asked for just now."""
        import httpx2

        headers = {} if self._token or not self._csrf else {"X-CSRF-Token": self._csrf}
        if action_id is not None:
            headers["Idempotency-Key"] = str(action_id)
        try:
            answer = await self._http.request(method, path, params=dict(query), json=body, headers=headers)
            told: object = orjson.loads(answer.content)
        except (httpx2.HTTPError, orjson.JSONDecodeError) as error:
            raise ServiceUnreachable(f"{self.store_url} does not answer as onex serve does: {error}") from error
        if not isinstance(told, dict):
            raise ServiceUnreachable(f"{self.store_url} answers with what is no JSON object")
        if answer.status_code == FORBIDDEN and body is not None and not self._token and not renewed:
            # the service was started again, and its secret is another one
            self._csrf = str((await self._get("/api/session")).get("csrf"))
            return await self._call(method, path, query, body, action_id, renewed=True)
        if answer.status_code >= 400:
            context = told.get("context")
            shown = {"code": told.get("code"), "message": told.get("detail"), "context": context}
            raise OnexError.from_json(shown)
        return told


def _entry(told: Mapping[str, JsonValue]) -> HistoryEntry:
    version = told["version"]
    assert isinstance(version, int), "the document says so"
    return HistoryEntry(
        version, str(told["trigger"]), str(told["status"]), told["payload"], told["intents"],
        datetime.fromisoformat(str(told["issued_at"])), UUID(str(told["action_id"])), str(told["issuer"]),
    )  # fmt: skip
