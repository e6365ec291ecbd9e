"""HttpExecutor: serves an HTTP API that a contract declares. The payload is the request, the payload of the success the answer.

A field of the payload goes where the call names it: into the path, percent-encoded, or behind the ``?``. All others are the body,
as JSON or as a form. An answer in JSON is read into the class that the success carries; fields that it does not have are dropped,
because an API may add some at any time. An answer as text or as a blob fills the fields ``text`` or ``blob``, and ``status``.

The status decides the outcome:

    2xx                               succeeded
    4xx, and ``failed`` of the call   failed: the server says that it did nothing; tried again if it is in ``retryable``
    503 with Retry-After              failed, and tried again: the server was asked too much, and did nothing
    any other                         unknown; failed where the call only reads
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import BaseModel, JsonValue
from pydantic import ValidationError as PydanticError
from pydantic_core import to_json

from ..contracts.model.setting import ModelSetting
from ..contracts.model.target_http import ModelHttpCall, ModelHttpTarget, host_of
from ..contracts.model.template import FieldMissing, field_at, fields_named, filled, shown
from ..engine.attempt import wrong_result
from ..kernel.action import Blob, Nothing
from ..kernel.canonical import problems
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.intent import ModelIntent
from ..kernel.user_code import plain_text
from ..nodes.effect import EffectIO
from ..nodes.given import ResultModel
from ..ports import Clock, Result
from .context import EffectContext
from .egress import Egress, Resolver, SystemResolver, is_any, is_public
from .http_exchange import HttpAnswer, HttpExchange, HttpRequest

EXCERPT_CHARACTERS = 200
CACHED_ANSWERS, CACHED_BYTES = 1024, 16 << 20
_TYPES: Final[Mapping[str, str]] = {"json": "application/json", "form": "application/x-www-form-urlencoded"}

_PLAIN = ModelHttpCall()


class HttpApi:
    """What all kinds over HTTP share: addresses and headers that come from settings, and the exchange, made at the first call."""

    def __init__(
        self,
        name: str,
        context: EffectContext,
        *,
        private: bool,
        ca_file: ModelSetting | None = None,
        hosts: tuple[str, ...] = (),
        at_once: int = 10,
        resolver: Resolver | None = None,
    ) -> None:
        self.name, self.context = name, context
        self._allowed = is_any if private else is_public
        self._ca_file, self._hosts, self._at_once = ca_file, hosts, at_once
        self._resolver = resolver or SystemResolver()
        self._exchange: HttpExchange | None = None

    async def address(self, setting: ModelSetting, key: str) -> tuple[str, Egress]:
        """An address, and what may be reached from there. Raises EffectFailed."""
        url = await self.context.settings.url(setting, what=f"{key} of {self.name!r}")
        place = host_of(url)
        if place is None:
            raise EffectFailed(
                f"{key} of {self.name!r}, {setting}, is no address; write https://HOST/PATH there",
                code="setting_missing",
            )
        return url, Egress(place, self._hosts)

    async def headers(self, settings: Mapping[str, ModelSetting]) -> dict[str, str]:
        """Raises EffectFailed."""
        made = {"Accept-Encoding": "identity", "User-Agent": "onex"}
        for name, setting in settings.items():
            made[name] = await self.context.settings.text(setting, what=f"the header {name} of {self.name!r}")
        return made

    async def send(
        self, intent: ModelIntent[BaseModel], request: HttpRequest, egress: Egress, max_bytes: int
    ) -> HttpAnswer:
        """The answer, with one audit record. Raises EffectFailed, EffectUnknown."""
        if self._exchange is None:
            ca_file = await self.context.settings.optional(self._ca_file, what=f"ca_file of {self.name!r}")
            self._exchange = HttpExchange(
                self._resolver, self.context.settings, allowed=self._allowed, at_once=self._at_once, ca_file=ca_file
            )
            self.context.closes(self._exchange.close)
        with self.context.audit.call(intent, request.shown) as call:
            answer = await self._exchange.send(request, egress, max_bytes)
            call.result = str(answer.status)
        return answer

    def refused(
        self,
        intent: ModelIntent[BaseModel],
        request: HttpRequest,
        answer: HttpAnswer,
        call: ModelHttpCall = _PLAIN,
    ) -> EffectFailed | EffectUnknown:
        """What an answer that is no success means."""
        status, code = answer.status, f"http_{answer.status}"
        excerpt = plain_text(answer.body.decode("utf-8", "replace"), EXCERPT_CHARACTERS)
        message = self.context.settings.masked(
            f"{request.shown} was answered {status}: {excerpt}".rstrip(": "), intent.payload
        )
        wait_s = retry_after_s(answer, self.context.clock)
        later = {} if wait_s is None else {"retry_after_s": wait_s}
        if 400 <= status < 500 or status in call.failed or (status == 503 and wait_s is not None):
            return EffectFailed(message, retryable=status in call.retryable, code=code, **later)
        if request.reads:
            return EffectFailed(message, retryable=status >= 500, code=code, **later)
        return EffectUnknown(message, retryable=status >= 500, code=code, **later)


class HttpExecutor:
    """Serves the intents of one target."""

    def __init__(
        self,
        name: str,
        target: ModelHttpTarget,
        calls: Mapping[str, ModelHttpCall],
        result_model: ResultModel,
        context: EffectContext,
        *,
        at_once: int = 10,
        resolver: Resolver | None = None,
    ) -> None:
        """``calls`` by the name of the intent."""
        self._name, self._target, self._calls, self._result_model = name, target, calls, result_model
        self._context = context
        self._api = HttpApi(
            name, context, private=target.private, ca_file=target.ca_file, hosts=target.hosts, at_once=at_once,
            resolver=resolver,
        )  # fmt: skip
        self._kept = AnswerCache(context.clock)

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        call = self._calls[intent.name]
        request, egress = await self._request(intent, call)
        same = f"{request.method} {request.url}"
        answer = self._kept.get(same) if call.cache else None
        if answer is None:
            answer = await self._api.send(intent, request, egress, call.max_bytes)
            if not answer.is_success:
                raise self._api.refused(intent, request, answer, call)
            if call.cache is not None:
                self._kept.put(same, answer, call.cache.ttl_ms)
        return self._result(intent, call, request, answer)

    async def _request(self, intent: ModelIntent[BaseModel], call: ModelHttpCall) -> tuple[HttpRequest, Egress]:
        base, egress = await self._api.address(self._target.base_url, "base_url")
        headers = await self._api.headers(self._target.headers)
        fields: dict[str, JsonValue] = intent.serialize_payload()
        try:
            path = filled(call.path, fields, _encoded)
        except FieldMissing as missing:
            raise EffectFailed(f"the path {call.path!r} cannot be filled: {missing}", code="field_missing") from missing
        url = path if call.path.startswith(("http://", "https://")) else base.rstrip("/") + path
        query = [(name, field_at(name, fields)) for name in call.query]
        if pairs := _pairs(query):
            url += ("&" if "?" in url else "?") + urlencode(pairs)
        used = {name.partition(".")[0] for name in (*fields_named(call.path), *call.query)}
        rest = {name: value for name, value in fields.items() if name not in used}
        body = b""
        if call.sends != "none":
            headers.setdefault("Content-Type", _TYPES[call.sends])
            body = to_json(rest) if call.sends == "json" else urlencode(_pairs(list(rest.items()))).encode()
        headers.setdefault("Accept", "application/json" if call.answer in (None, "json") else "*/*")
        if self._target.idempotency_header is not None:
            headers[self._target.idempotency_header] = quote(intent.idempotency_key, safe="!#$&'()*+,/:;=?@[]~ %")
        host = egress.base[1] if url.startswith(base.rstrip("/")) else (host_of(url) or egress.base)[1]
        plain = shown(call.path).partition("?")[0]
        place = plain.partition("://")[2].partition("/")[2] if "://" in plain else plain.lstrip("/")
        return HttpRequest(call.method, url, headers, body, f"{call.method} {host}/{place}"), egress

    def _result(
        self, intent: ModelIntent[BaseModel], call: ModelHttpCall, request: HttpRequest, answer: HttpAnswer
    ) -> Result:
        """The answer as the class that the success carries."""
        model = self._result_model(intent)
        if model is None or model is Nothing or call.answer == "none":
            return Result(None)
        io = EffectIO(self._context.blobs)
        try:
            if call.answer in (None, "json"):
                return Result(model.model_validate_json(answer.body or b"{}", extra="ignore"))
            said: dict[str, object] = {"status": answer.status}
            if call.answer == "text":
                said["text"] = answer.body.decode(_charset(answer), "replace")
            else:
                media_type = plain_text(answer.headers.get("content-type", ""), 100) or "application/octet-stream"
                said["blob"] = io.blob(answer.body, media_type)
                if model is Blob:
                    return Result(said["blob"], io.made)  # type: ignore[arg-type]  # it is a Blob
            return Result(model.model_validate(said, extra="ignore"), io.made)
        except PydanticError as error:
            message = f"{request.shown} was answered with what is no {model.__name__}: {problems(error)}"
            if request.reads:
                raise EffectFailed(self._context.settings.masked(message), code="wrong_result") from None
            raise wrong_result(self._context.settings.masked(message)) from None


class AnswerCache:
    """Answers by request, for a while: at most CACHED_ANSWERS and CACHED_BYTES; the least used goes first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[HttpAnswer, float]] = OrderedDict()
        self._bytes = 0

    def get(self, request: str) -> HttpAnswer | None:
        found = self._kept.get(request)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            self._drop(request)
            return None
        self._kept.move_to_end(request)
        return found[0]

    def put(self, request: str, answer: HttpAnswer, ttl_ms: int) -> None:
        if request in self._kept:
            self._drop(request)
        self._kept[request] = (answer, self._clock.monotonic() + ttl_ms / 1000)
        self._bytes += len(answer.body)
        while len(self._kept) > CACHED_ANSWERS or self._bytes > CACHED_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, request: str) -> None:
        self._bytes -= len(self._kept.pop(request)[0].body)


def retry_after_s(answer: HttpAnswer, clock: Clock) -> float | None:
    """The answer's Retry-After in seconds from now, a number or a date; None without one that can be read."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(clock.now_us() / 1e6, UTC)).total_seconds())


def _encoded(value: str) -> str:
    """A value inside a path: one segment, whatever it holds. '.' and '..' would be taken out of a path, so they are refused."""
    if value in (".", "..", ""):
        raise EffectFailed(f"{value!r} is no value for a path", code="field_missing")
    return quote(value, safe="")


def _pairs(fields: list[tuple[str, JsonValue]]) -> list[tuple[str, str]]:
    """Names and values of a form or query; a list is the name once per value, and what has no value is left out."""
    made: list[tuple[str, str]] = []
    for name, value in fields:
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            text = one if isinstance(one, str) else to_json(one).decode()
            made.append((name, text))
    return made


def _charset(answer: HttpAnswer) -> str:
    kind = answer.headers.get("content-type", "")
    name = kind.partition("charset=")[2].partition(";")[0].strip(' "') or "utf-8"
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name
