"""Clients and other processes that send anything: wrong types, wrong values, triggers of others, and unreadable inbox rows.

Each of them gets an OnexError and leaves a row among the rejections, or is accepted as what it says. Nothing else may happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import BaseModel

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Committed
from onex.kernel.action import NOTHING, WorkflowKey
from onex.kernel.errors import InstanceHeld, OnexError
from onex.kernel.step import ROLLBACK
from onex.simulation.client_requests import ClientRequest
from onex.simulation.host import HostCrashed, current_host
from onex.simulation.raised_errors import HOSTILE_TEXT, KINDS
from tests.engine_sim.client import SampleClient
from tests.engine_sim.misbehaving_app import VALIDATED, poisons
from tests.engine_sim.misbehaviour import Misbehaviour
from tests.engine_sim.sample_workflow import Add

BY_ADD: Final = (
    "what is emitted does not reload",
    "reducer raises anything",
    "reducer gives back anything",
    "reducer emits anything",
    "reducer writes what no store takes",
    "reducer changes what it was given",
    "reducer never ends",
    "guard misbehaves",
)
NO_PAYLOAD: Final[tuple[Any, ...]] = (
    [{"amount": 1}],
    "amount=1",
    7,
    1.5,
    object(),
    Add,
    {"amount": object()},
    {"amount": 2**70},
    {"amount": float("nan")},
    {1: 2},
    {"amount": 1, "note": HOSTILE_TEXT},
    b"\xff",
    b"[1]",
    b'"add"',
    ("amount", 1),
)
"""What a client sends where a payload belongs. None of it is one."""
ARGUMENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {"issuer": 7},
    {"issuer": ["me"]},
    {"action_id": "4711"},
    {"action_id": 4711},
    {"action_id": b"0123456789abcdef"},
    {"correlation_id": "4711"},
    {"cause": 7},
    {"expires_at": "tomorrow"},
    {"expires_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - the mistake
    {"issued_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - the mistake
    {"issued_at": 7},
    {"lease_id": "mine"},
    {"epoch": "first"},
    {"expected_version": "newest"},
)
KEYS: Final[tuple[Any, ...]] = (
    7,
    None,
    ("errand",),
    ("errand", "a", "b"),
    ("errand", 7),
    (None, "a"),
    b"errand:a",
    "errand:\x00",
    object(),
)
TRIGGERS: Final[tuple[Any, ...]] = (None, 7, HOSTILE_TEXT, "", ["add"], "@no_such_control", "@timer", "@redrive")
NOT_OURS: Final = ("went", "failed", "alarm", "too_late", "computed")
"""Triggers that an outcome or a timer fires."""
WIRE: Final = (
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":[1]}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":"amount"}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":9007199254740993}}',
    b'{"workflow_key":["errand","a"],"kind":"add","command_payload":{"amount":1e400}}',
    b'{"workflow_key":["errand","a"],"kind":"@rollback","command_payload":{"to_version":1,"state":{"status":"open"}}}',
    b'{"workflow_key":["errand","nobody"],"kind":"@rollback","command_payload":{"to_version":9,"state":{"status":"done"}}}',
    b'{"workflow_key":["errand","a"],"kind":"@nothing"}',
    b'{"workflow_key":["errand","a"],"kind":"add","expires_at":"9999-12-31T23:59:59Z","epoch":-1}',
    b'{"workflow_key":["errand","a"],"kind":"add","action_type":"abort_workflow","target_node":"effect"}',
    b'{"workflow_key":["errand","a"],"kind":"add","issuer":"\\ud800"}',
    b'{"workflow_key":["errand",7],"kind":"add"}',
    b'{"workflow_key":"errand:a","kind":7}',
)
STATE: Final = {"status": "done", "count": 1_000_000}
RELEASE_P: Final = 0.4


class MisbehavingClient(SampleClient):
    """A client that sometimes sends what makes the app's code misbehave, or what no client should send."""

    def __init__(self, *given: Any, misbehaviour: Misbehaviour) -> None:
        super().__init__(*given)
        self.misbehaviour = misbehaviour

    async def act(self) -> None:
        misbehaviour = self.misbehaviour
        request = self._drawn_request()
        poison = next((point for point in BY_ADD if misbehaviour.hits(point)), None)
        if poison is not None:
            how = self.chance.choice(poisons(misbehaviour, poison))
            await self._send(request._replace(kind="add", payload=Add(poison=how)))
        elif misbehaviour.hits("validator misbehaves"):
            await self._tender(request, self.chance.choice(VALIDATED))
        elif misbehaviour.hits("validator kills its process"):
            await self._tender(request, "kill")
        elif misbehaviour.hits("validator of stored rows misbehaves"):
            await self._tender(request, f"unreadable:{self.chance.choice(KINDS)}", bills=True)
        elif misbehaviour.hits("client sends no payload"):
            payload = self.chance.choice(NO_PAYLOAD)
            await self._never(f"payload {payload!r}", request.key, "add", payload)
        elif misbehaviour.hits("client sends no arguments"):
            await self._no_arguments(request.key)
        elif misbehaviour.hits("client sends what is not its own"):
            await self._not_its_own(request.key)
        elif misbehaviour.hits("inbox is sent anything"):
            body = self.chance.choice(WIRE)
            answer = await self.sender.send(body)
            self.checker.require(answer is None or "error" in answer, f"the inbox took {body!r}: {answer}")
        else:
            await super().act()

    async def deliver(self, request: ClientRequest) -> Committed | OnexError:
        """By ``submit``, no row counts how often an action has ended its process: who sends it again accepts that."""
        self.misbehaviour.in_inbox.discard(request.id.bytes)
        return await super().deliver(request)

    async def _send(self, request: ClientRequest) -> None:
        """By ``submit`` or by the inbox: the same code misbehaves."""
        if self.chance.random() < 0.5:
            self.misbehaviour.in_inbox.add(request.id.bytes)
            await self._through_the_inbox(request)
            return
        answer = await self.deliver(request)
        if isinstance(answer, InstanceHeld) and self.chance.random() < RELEASE_P:
            await self.sender.release(request.key)

    async def _tender(self, request: ClientRequest, how: str, *, bills: bool = False) -> None:
        """As JSON, because no client has the class."""
        token = str(request.id)
        body = {"how": how, "token": token, "bills": bills or self.chance.random() < 0.5, "cents": 5}
        if self.chance.random() < 0.5:
            self.misbehaviour.in_inbox.add(request.id.bytes)
            wire = {
                "workflow_key": list(request.key),
                "kind": "tender",
                "command_payload": body,
                "action_id": token,
            }
            answer = await self.sender.send(orjson.dumps(wire))
            if answer is not None and "error" not in answer:
                self.checker.require(not _refusable(how), f"the inbox took a tender that {how}")
            return
        await self._never_unless(how, request.key, body, request.id)

    async def _never_unless(self, how: str, key: WorkflowKey, body: Mapping[str, Any], action_id: UUID) -> None:
        async def post(engine: ReducerPatternEngine) -> Committed:
            return await engine.submit(key, "tender", body, action_id=action_id)

        for _ in range(3):
            try:
                await self.supervisor.ask(post)
            except HostCrashed:
                continue
            except OnexError:
                return
            self.checker.require(not _refusable(how), f"{key} took a tender that {how}")
            return

    async def _never(self, what: str, key: Any, kind: Any, payload: Any = None, **arguments: Any) -> None:
        """It must be refused, by an OnexError and by nothing else."""

        async def post(engine: ReducerPatternEngine) -> Committed:
            return await engine.submit(key, kind, payload, **arguments)

        try:
            answer = await self.supervisor.ask(post)
        except (HostCrashed, OnexError):
            return
        except BaseException as error:
            self.checker.violated(f"{what} came back as a raw {type(error).__name__}")
            return
        self.checker.violated(f"{what} was taken: {answer}")

    async def _no_arguments(self, key: WorkflowKey) -> None:
        which = self.chance.randrange(3)
        if which == 0:
            given = self.chance.choice(ARGUMENTS)
            await self._never(f"{given!r}", key, "add", Add(), **given)
        elif which == 1:
            wrong = self.chance.choice(KEYS)
            await self._never(f"key {wrong!r}", wrong, "add", Add())
        else:
            trigger = self.chance.choice(TRIGGERS)
            await self._never(f"trigger {trigger!r}", key, trigger)

    async def _not_its_own(self, key: WorkflowKey) -> None:
        """An outcome that no effect had, or a state that no instance had."""
        if self.chance.random() < 0.5:
            to_version = self.chance.randrange(1, 9)
            await self._never("a rollback by anybody", key, ROLLBACK, {"to_version": to_version, "state": STATE})
            return
        trigger = self.chance.choice(NOT_OURS)
        payload: BaseModel | None = NOTHING if trigger in ("alarm", "too_late") else None

        async def post(engine: ReducerPatternEngine) -> Committed:
            return await engine.submit(key, trigger, payload, action_id=UUID(bytes=current_host().ids.new()))

        try:
            await self.supervisor.ask(post)
        except (HostCrashed, OnexError):
            return


def _refusable(how: str) -> bool:
    """Whether no such action can be accepted: its validator raises at every validation."""
    return how.partition(":")[0] in ("before", "field", "after", "reload", "write")
