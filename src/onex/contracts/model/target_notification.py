"""The blocks of a notification: ``webhook``, ``chat``, ``pagerduty`` and ``mail``.

targets:
  ops: {chat: {url: {env: CHAT_URL}}}
intents:
  - {name: tell, type: notification, target: ops, payload: Paid, delivery: at_most_once, chat: {text: "Order {order} is paid"}}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from .part import ENGINE, Word
from .setting import ModelSetting, Setting
from .target_block import ModelCallBlock, ModelTargetBlock
from .target_http import Header

Line = Annotated[str, Field(min_length=1, max_length=1000)]
Letter = Annotated[str, Field(min_length=1, max_length=20_000)]
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"


class ModelWebhookTarget(ModelTargetBlock):
    """An address that takes the payload as JSON by POST."""

    url: Annotated[Setting, Field(description="https://HOST/PATH"), ENGINE]
    headers: Annotated[dict[Header, Setting], Field(max_length=50), ENGINE] = Field(default_factory=dict)
    idempotency_header: Annotated[Header | None, Field(description="carries the intent's key"), ENGINE] = None
    signing_key: Annotated[
        Setting | None, Field(description="the body is signed with it: sha256=HEX of HMAC-SHA-256"), ENGINE
    ] = None
    signature_header: Annotated[Header, Field(description="carries the signature"), ENGINE] = "X-Signature-256"
    private: Annotated[bool, Field(description="addresses of a private network are allowed too"), ENGINE] = False
    ca_file: Annotated[Setting | None, ENGINE] = None

    def takes_key(self) -> bool:
        return self.idempotency_header is not None

    def idempotency_field(self) -> str:
        return "" if self.idempotency_header else "idempotency_header"


class ModelWebhookCall(ModelCallBlock):
    """``event`` is sent as the field ``event`` beside ``data``, the payload; without it the payload itself is the body."""

    event: Annotated[Word | None, ENGINE] = None


class ModelChatTarget(ModelTargetBlock):
    """An incoming webhook of Slack, or of a chat that takes the same: ``{"text": ...}`` by POST."""

    url: Annotated[
        Setting, Field(description="the whole address; it is secret, because it is all that is asked"), ENGINE
    ]
    private: Annotated[bool, Field(description="addresses of a private network are allowed too"), ENGINE] = False
    ca_file: Annotated[Setting | None, ENGINE] = None

    def takes_key(self) -> bool:
        return False


class ModelChatCall(ModelCallBlock):
    """``text`` is a text with fields of the payload; left out, the payload has a field ``text``."""

    text: Annotated[Letter, ENGINE] = "{text}"
    channel: Annotated[Line | None, ENGINE] = None

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "text", self.text
        if self.channel is not None:
            yield "channel", self.channel


class ModelPagerDutyTarget(ModelTargetBlock):
    """A service of PagerDuty, by its Events API v2."""

    routing_key: Annotated[Setting, Field(description="the integration key of the service"), ENGINE]
    url: Annotated[Setting, ENGINE] = ModelSetting(text=PAGERDUTY)
    private: Annotated[bool, Field(description="addresses of a private network are allowed too"), ENGINE] = False
    ca_file: Annotated[Setting | None, ENGINE] = None


class ModelPagerDutyCall(ModelCallBlock):
    """One event. ``incident`` names the incident, so that a later event finds it; by default each intent has one of its own."""

    action: Annotated[Literal["trigger", "acknowledge", "resolve"], ENGINE] = "trigger"
    summary: Annotated[Line, ENGINE] = "{summary}"
    severity: Annotated[Literal["critical", "error", "warning", "info"], ENGINE] = "error"
    source: Annotated[Line, Field(description="what is broken, as people know it"), ENGINE] = "onex"
    incident: Annotated[Line | None, Field(description="the dedup_key, a text with fields"), ENGINE] = None

    def templates(self) -> Iterator[tuple[str, str]]:
        if self.action == "trigger":
            yield "summary", self.summary
            yield "source", self.source
        if self.incident is not None:
            yield "incident", self.incident

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        if self.action != "trigger" and self.incident is None:
            yield (
                "action",
                f"{self.action} names no incident, so it would find none",
                'add incident: "{FIELD}", the same text as where it is triggered',
            )


class ModelMailTarget(ModelTargetBlock):
    """A mail server, by SMTP."""

    host: Annotated[Setting, ENGINE]
    port: Annotated[int, Field(ge=1, le=65535), ENGINE] = 587
    security: Annotated[Literal["starttls", "tls", "none"], ENGINE] = "starttls"
    username: Annotated[Setting | None, ENGINE] = None
    password: Annotated[Setting | None, ENGINE] = None
    sender: Annotated[Setting, Field(description="the address in From:"), ENGINE]
    ca_file: Annotated[Setting | None, ENGINE] = None

    def takes_key(self) -> bool:
        return False


class ModelMailCall(ModelCallBlock):
    """One letter of plain text. ``to`` may hold several addresses, with commas."""

    to: Annotated[Line, ENGINE] = "{to}"
    subject: Annotated[Line, ENGINE] = "{subject}"
    text: Annotated[Letter, ENGINE] = "{text}"

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "to", self.to
        yield "subject", self.subject
        yield "text", self.text
