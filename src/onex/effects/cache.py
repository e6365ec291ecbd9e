"""CacheEffect: serves a target whose values may be lost (``cache``): in this process, or in a server that speaks Redis's protocol.

Values are JSON. The answer takes what its class asks for: ``key``, ``value`` and ``found``. A ``get`` of a key that is not there
succeeds with ``found`` false where the class has that field, and is ``failed`` (``no_such_key``) where it has not.

``set`` and ``delete`` come to the same end twice. ``increment`` counts once per idempotency key: the key and the sum that came of
it are kept for ``dedup_ms``, written in the same step. Its ``ttl_ms`` runs from the first increment of a new counter on.

What a crash leaves: of the values in this process nothing, so each process begins without any, and those of two workers differ.
A server keeps what its own settings promise; Redis by default may lose the last second, and with it the memory of what was counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from pydantic import BaseModel, JsonValue

from ..contracts.model.target_cache import EnumCacheOperation, ModelCacheCall, ModelCacheTarget
from ..contracts.model.template import FieldMissing, field_at, filled, shown
from ..kernel.action import NOTHING, Nothing
from ..kernel.dedup_name import dedup_name
from ..kernel.errors import EffectFailed
from ..kernel.intent import ModelIntent
from ..nodes.given import ResultModel, success_payload
from ..ports import Result
from .cache_values import CacheValues, OwnCache
from .context import EffectContext, not_installed

KEY_BYTES = 1024
INTEGER_MOST = 2**63 - 1


class CacheEffect:
    """An ``Executor``."""

    def __init__(
        self,
        name: str,
        target: ModelCacheTarget,
        calls: Mapping[str, ModelCacheCall],
        result_model: ResultModel,
        context: EffectContext,
    ) -> None:
        """``calls[intent name]``."""
        self.name, self.target, self.calls = name, target, calls
        self._result_model, self._context = result_model, context
        self._values: dict[str, CacheValues] = {}
        context.closes(self.close)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call, fields = self.calls[intent.name], intent.serialize_payload()
        key, values = self._key(call, fields), await self._server()
        with self._context.audit.call(intent, f"{call.operation.value} {values.shown} {shown(call.key)}"):
            value, found = await self._done(intent, call, fields, key, values)
        model = self._result_model(intent)
        if model is None or model is Nothing:
            return Result(NOTHING)
        if not found and call.operation is EnumCacheOperation.GET and "found" not in model.model_fields:
            raise EffectFailed(f"target {self.name!r} has no value under {key!a}", code="no_such_key")
        answer = {"key": key, "value": value, "found": found}
        if value is None:
            del answer["value"]
        asked = {name: one for name, one in answer.items() if name in model.model_fields}
        return Result(success_payload(asked, model, f"target {self.name!r}"))

    async def _done(
        self,
        intent: ModelIntent[BaseModel],
        call: ModelCacheCall,
        fields: Mapping[str, JsonValue],
        key: str,
        values: CacheValues,
    ) -> tuple[JsonValue, bool]:
        place = (self.target.prefix + key).encode()
        match call.operation:
            case EnumCacheOperation.GET:
                kept = await values.get(place)
                return (None, False) if kept is None else (self._read(kept, key), True)
            case EnumCacheOperation.SET:
                value = field_at(call.value, fields)
                await values.set(place, orjson.dumps(value), call.ttl_ms)
                return value, True
            case EnumCacheOperation.DELETE:
                return None, await values.delete(place)
            case EnumCacheOperation.INCREMENT:
                by = field_at(call.value, fields)
                if type(by) is not int or abs(by) > INTEGER_MOST:
                    raise EffectFailed(
                        f"the field {call.value!r} of {intent.name!r} is no whole number of 64 bits", code="no_number"
                    )
                # no payload holds a NUL, so no key that one makes is this
                once = f"{self.target.prefix}\0once:{dedup_name(intent)}".encode()
                return await values.increment(place, by, call.ttl_ms, once, call.dedup_ms), True

    def _key(self, call: ModelCacheCall, fields: Mapping[str, JsonValue]) -> str:
        try:
            key = filled(call.key, fields)
        except FieldMissing as error:
            raise EffectFailed(f"the key {call.key!a} cannot be made: {error}", code="key_refused") from error
        if len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES:
            raise EffectFailed(f"a key has at most {KEY_BYTES} bytes; {key[:80]!a}.. has more", code="key_refused")
        return key

    def _read(self, kept: bytes, key: str) -> JsonValue:
        try:
            value: JsonValue = orjson.loads(kept)
        except orjson.JSONDecodeError as error:
            raise EffectFailed(
                f"what target {self.name!r} holds under {key!a} is no JSON", code="wrong_result"
            ) from error
        return value

    async def _server(self) -> CacheValues:
        url = await self._context.settings.optional(self.target.url, what=f"url of {self.name!r}")
        found = self._values.get(url or "")
        if found is None:
            found, old = self._opened(url), dict(self._values)
            self._values = {url or "": found}
            for one in old.values():  # the address has changed
                await one.close()
        return found

    def _opened(self, url: str | None) -> CacheValues:
        if url is None:
            return OwnCache(self._context.clock, self.target.max_entries, self.target.max_bytes)
        if not url.startswith(("redis://", "rediss://")):
            raise EffectFailed(
                f"target {self.name!r}: its url begins with no redis://; write redis://HOST:PORT/0", code="bad_url"
            )
        try:
            from .cache_redis import RedisCache
        except ImportError as error:
            missing = not_installed(f"the target {self.name!r}", "redis", error)
            raise EffectFailed(missing.message, code="extra_missing") from error
        return RedisCache(url, self.target.pool_max, self._context.settings)

    async def close(self) -> None:
        """Idempotent."""
        while self._values:
            await self._values.popitem()[1].close()
