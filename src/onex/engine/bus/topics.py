"""Topics: which events there are, and what their topics are called.

The names are those of the seed documents. A **scheme** makes a topic of a name: by default ``dev.omninode_bridge.onex.evt.NAME.v1``
for events and ``dev.omninode_bridge.onex.cmd.submit-action.v1`` for what comes in. Another scheme is a setting, for example
``onex.{kind}.omninode-bridge.{name}.v1``. Each topic has a dead-letter topic, ``TOPIC.dlq``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from ...bus import BusRefused

SCHEME: Final = "dev.omninode_bridge.onex.{kind}.{name}.v1"
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,244}")  # 249, less the suffix of its dead-letter topic


class EnumBusEvent(StrEnum):
    """The thirteen events of the bus. The engine publishes those of a workflow and ``state_committed``, nodes and their registry
    those of nodes. Those of aggregations belong to a room that is not built yet, and have their names here."""

    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_STEP_COMPLETED = "workflow_step_completed"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_STATE_TRANSITION = "workflow_state_transition"
    AGGREGATION_STARTED = "aggregation_started"
    BATCH_PROCESSED = "batch_processed"
    AGGREGATION_COMPLETED = "aggregation_completed"
    AGGREGATION_FAILED = "aggregation_failed"
    STATE_COMMITTED = "state_committed"
    NODE_INTROSPECTION = "node_introspection"
    REGISTRY_REQUEST_INTROSPECTION = "registry_request_introspection"
    NODE_HEARTBEAT = "node_heartbeat"


class BusTopics(NamedTuple):
    """Names of topics by a scheme with ``{kind}`` and ``{name}``."""

    scheme: str = SCHEME

    @classmethod
    def of(cls, scheme: str) -> BusTopics:
        """Raises BusRefused for a scheme that gives no two topics, or names that no topic may have."""
        topics = cls(scheme)
        plain = scheme.replace("{kind}", "").replace("{name}", "")
        if (
            "{kind}" not in scheme
            or "{name}" not in scheme
            or not _TOPIC.fullmatch(topics._named("evt", "x" * 40) + plain)
        ):
            raise BusRefused(
                f"{scheme!a} is no scheme of topics; write for example {SCHEME}, of letters, digits and . _ -"
            )
        return topics

    def event(self, event: EnumBusEvent) -> str:
        return self.named(event.value)

    def named(self, event_type: str) -> str:
        """The topic of an event of any name."""
        return self._named("evt", event_type.replace("_", "-"))

    @property
    def commands(self) -> str:
        """Where actions come in, unless a program names other topics."""
        return self._named("cmd", "submit-action")

    def _named(self, kind: str, name: str) -> str:
        return self.scheme.replace("{kind}", kind).replace("{name}", name)


class ConsumedTopic(NamedTuple):
    """A topic whose messages become actions of a workflow.

    ``event_type`` '' is any. ``key`` '' is the key of the message, ``header:NAME`` a header, ``@id`` the id of the envelope, any
    other a field of the payload.
    ``by_scheme``: ``topic`` is the name of an event, of which the engine's scheme makes the topic.
    """

    workflow_type: str
    topic: str
    trigger: str
    event_type: str = ""
    key: str = ""
    by_scheme: bool = False


def dead_letter_topic(topic: str) -> str:
    """Where messages of this topic go that nobody can use."""
    return f"{topic}.dlq"
