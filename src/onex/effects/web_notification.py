"""Notifications over HTTP: a webhook of anybody, an incoming webhook of a chat, and an event of PagerDuty.

Each is one POST of JSON to one address, and brings nothing back. A redirect is not followed to another host. A chat knows no
idempotency key; PagerDuty has one (``dedup_key``); a webhook has one where the contract names its header.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, JsonValue
from pydantic_core import to_json

from ..contracts.model.setting import ModelSetting
from ..contracts.model.target_notification import (
    ModelChatCall,
    ModelChatTarget,
    ModelPagerDutyCall,
    ModelPagerDutyTarget,
    ModelWebhookCall,
    ModelWebhookTarget,
)
from ..contracts.model.template import FieldMissing, filled
from ..kernel.errors import EffectFailed
from ..kernel.intent import ModelIntent
from ..ports import Result
from .context import EffectContext
from .http_call import HttpApi
from .http_exchange import HttpRequest

ANSWER_BYTES = 64 * 1024
SUMMARY_CHARACTERS = 1024
"""What PagerDuty takes as a summary."""
INCIDENT_CHARACTERS = 255


class WebhookExecutor:
    """Posts the payload."""

    def __init__(
        self, name: str, target: ModelWebhookTarget, calls: Mapping[str, ModelWebhookCall], context: EffectContext
    ) -> None:
        self._name, self._target, self._calls, self._context = name, target, calls, context
        self._api = HttpApi(name, context, private=target.private, ca_file=target.ca_file)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        target, event = self._target, self._calls[intent.name].event
        payload: JsonValue = intent.serialize_payload()
        body = to_json(payload if event is None else {"event": event, "data": payload})
        headers = await self._api.headers(target.headers)
        if target.idempotency_header is not None:
            headers[target.idempotency_header] = quote(intent.idempotency_key, safe=" !#$&'()*+,/:;=?@[]~")
        if target.signing_key is not None:
            key = await self._context.settings.text(target.signing_key, what=f"signing_key of {self._name!r}")
            headers[target.signature_header] = f"sha256={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}"
        return await posted(self._api, intent, target.url, headers, body)


class ChatExecutor:
    """Posts a text."""

    def __init__(
        self, name: str, target: ModelChatTarget, calls: Mapping[str, ModelChatCall], context: EffectContext
    ) -> None:
        self._target, self._calls = target, calls
        self._api = HttpApi(name, context, private=target.private, ca_file=target.ca_file)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call, fields = self._calls[intent.name], intent.serialize_payload()
        message = {"text": written(call.text, fields)}
        if call.channel is not None:
            message["channel"] = written(call.channel, fields)
        return await posted(self._api, intent, self._target.url, await self._api.headers({}), to_json(message))


class PagerDutyExecutor:
    """Sends an event that triggers, acknowledges or resolves an incident."""

    def __init__(
        self, name: str, target: ModelPagerDutyTarget, calls: Mapping[str, ModelPagerDutyCall], context: EffectContext
    ) -> None:
        self._name, self._target, self._calls, self._context = name, target, calls, context
        self._api = HttpApi(name, context, private=target.private, ca_file=target.ca_file)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call, fields = self._calls[intent.name], intent.serialize_payload()
        key = await self._context.settings.text(self._target.routing_key, what=f"routing_key of {self._name!r}")
        incident = intent.idempotency_key if call.incident is None else written(call.incident, fields)
        event: dict[str, JsonValue] = {
            "routing_key": key,
            "event_action": call.action,
            "dedup_key": incident[:INCIDENT_CHARACTERS],
        }
        if call.action == "trigger":
            event["payload"] = {
                "summary": written(call.summary, fields)[:SUMMARY_CHARACTERS],
                "source": written(call.source, fields),
                "severity": call.severity,
                "custom_details": fields,
            }
        return await posted(self._api, intent, self._target.url, await self._api.headers({}), to_json(event))


async def posted(
    api: HttpApi, intent: ModelIntent[BaseModel], url: ModelSetting, headers: dict[str, str], body: bytes
) -> Result:
    """One POST of JSON. Raises EffectFailed, EffectUnknown."""
    address, egress = await api.address(url, "url")
    shown = f"POST {urlsplit(address).hostname}"
    request = HttpRequest("POST", address, {**headers, "Content-Type": "application/json"}, body, shown)
    answer = await api.send(intent, request, egress, ANSWER_BYTES)
    if not answer.is_success:
        raise api.refused(intent, request, answer)
    return Result(None)


def written(text: str, fields: Mapping[str, JsonValue]) -> str:
    """Raises EffectFailed for a field without a value."""
    try:
        return filled(text, fields)
    except FieldMissing as missing:
        raise EffectFailed(f"the text {text!r} cannot be written: {missing}", code="field_missing") from missing
