"""What nodes tell, what the directories are told, and how far a registration is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue

from onex import Payload, State

Port = Annotated[int, Field(ge=0, le=65_535)]
Place = Literal["service", "key", "record"]
PLACES: tuple[Place, ...] = ("service", "key", "record")
"""Where a node is written: its service and its key in Consul, its record in PostgreSQL."""


class Introspection(Payload):
    """A node tells about itself. ``epoch`` counts its starts; ``timestamp`` is its own clock. Both say which event is newer."""

    event_id: UUID
    node_id: str
    node_name: str
    node_type: Literal["effect", "compute", "reducer", "orchestrator"]
    node_version: str
    address: str = "127.0.0.1"
    port: Port = 0
    endpoints: dict[str, str] = Field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    epoch: Annotated[int, Field(ge=0)] = 0
    timestamp: AwareDatetime
    heartbeat_s: Annotated[int, Field(ge=1, le=86_400, description="it beats so often")] = 30

    def is_newer_than(self, other: Introspection | None) -> bool:
        return other is None or (self.epoch, self.timestamp) > (other.epoch, other.timestamp)


class Heartbeat(Payload):
    timestamp: AwareDatetime


class Deregister(Payload):
    reason: str = "asked for"


class IntrospectionRequest(Payload):
    """Who are you? Asked of one node, or of all (``node_id`` ''). The answer is an Introspection of the same correlation."""

    node_id: str = ""
    asked_at: AwareDatetime | None = None


class Registration(State):
    """``node``: as the newest event told it. ``newer``: an event that came while calls run; it is taken up after them.

    ``places[place]`` is held, refused or in doubt: a call without an answer may have been done. ``open[place]``: the intent that
    is under way. For the machine, ``waiting`` counts calls under way, ``held`` places that have it, and ``left`` those that
    have it or may have it. ``heard_at``: its last event or heartbeat that was taken; ``beat_at``: the node's own time in the
    last heartbeat that came by a topic. ``leaving``: it is being taken out; ``gave_up``: because a place refused it in every
    round.
    """

    status: Literal["unseen", "registering", "complete", "partial", "failed", "deregistering", "deregistered"] = (
        "unseen"
    )
    node: Introspection | None = None
    newer: Introspection | None = None
    places: dict[Place, Literal["held", "refused", "in_doubt"]] = Field(default_factory=dict)
    open: dict[Place, UUID] = Field(default_factory=dict)
    waiting: int = 0
    held: int = 0
    left: int = 0
    rounds: int = 0
    leaving: bool = False
    gave_up: bool = False
    asked_to_leave: bool = False
    reason: str = ""
    heard_at: AwareDatetime | None = None
    beat_at: AwareDatetime | None = None


# --- by the names of the ONEX design papers ----------------------------------------------------------------------------


class EnumRegistrationAction(StrEnum):
    REGISTER = "register"
    DEREGISTER = "deregister"


class ModelRegistrationPayload(Payload):
    """What is to become of a node. ``node`` is given to register it; ``reason`` says why it leaves."""

    node_id: str
    action: EnumRegistrationAction = EnumRegistrationAction.REGISTER
    node: Introspection | None = None
    reason: str = ""


class ModelRegistrationOutcome(Payload):
    """How far a registration has come: ``status`` is complete, partial, failed or deregistered once it rests."""

    node_id: str
    status: str
    consul_registered: bool
    postgres_registered: bool
    reason: str = ""


# --- what the directories are told ------------------------------------------------------------------------------------


class ConsulService(Payload):
    """The body of Consul's ``/v1/agent/service/register``; its field names are Consul's own."""

    ID: str
    Name: str
    Tags: tuple[str, ...]
    Address: str
    Port: int
    Meta: dict[str, str]


class ConsulKey(Payload):
    """The value of the key ``nodes/<node_id>``."""

    node_id: str
    node: Introspection


class NodeRecord(Payload):
    """A row of ``node_registrations``."""

    node_id: str
    node_name: str
    node_type: str
    node_version: str
    epoch: int
    event_id: UUID
    record: Introspection


class RemoveService(Payload):
    ID: str


class DeleteKey(Payload):
    node_id: str


class DeleteRecord(Payload):
    node_id: str
