"""Canonical bytes: one form for state, payload and intents, the same in every store, process and replay.

Fields stand in declared order and dicts in insertion order; nothing is sorted, because a reload must not change the order a
reducer sees. Only the body hash sorts: it compares what two senders meant, not what was stored.

Values come in by two ways. From outside, as JSON: ``check_json`` and ``read_payload`` trust nothing. From the app's own code, as
models: ``canonical_payload`` and ``encode_step`` write them and look at the bytes. What a type cannot promise (NUL, an integer
beyond 2^53, depth) shows in the bytes, so only bytes that show a sign of it are parsed; all others cost a few scans in C. A value
is used as it will be read back: a copy is made where somebody else could still change it (promise 33).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import TypeVar

import orjson
from blake3 import blake3
from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from ..kernel import canonical
from ..kernel.action import NOTHING, Nothing, WorkflowKey
from ..kernel.canonical import as_reloaded, detached, unwritable
from ..kernel.data_key import check_readable
from ..kernel.errors import InvalidPayload, PayloadTooLarge, StateConsistencyError
from ..kernel.intent import Emitted, IntentTable
from ..kernel.intent_fields import EnumIntentPriority
from ..kernel.model_facts import is_flat
from ..kernel.size_limits import PAYLOAD_BYTES, PAYLOAD_DEPTH
from ..kernel.user_code import caught
from ..ports import LogRow

STATE_BYTES = 1024 * 1024
STATE_BYTES_ADVISED = 64 * 1024
INT_MAX = 2**53

encode, problems = canonical.encode, canonical.problems

M = TypeVar("M", bound=BaseModel)

_OPENERS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')
BLOB_MARK = b'"digest":"'
SCHEMA_FIX = "if the model changed, raise state_schema and give a migration"
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')
_SURROGATE = re.compile("[\ud800-\udfff]")
_LENGTHS = Struct("<qI9I").pack
_MARKS = bytes.maketrans(b"0123456789[", b"0000000000{")
_SIXTEEN, _NUL = b"0" * 16, b"\\u0000"
_BACKSLASH = 92  # an integer is looked for ten times as fast as bytes, and ``find`` is twice as fast as ``in``


def decode(model: type[M], data: bytes, fix: str = SCHEMA_FIX) -> M:
    """The value of stored bytes. Raises StateConsistencyError, with ``fix`` as its advice, when they no longer fit the model."""
    try:
        value: M = model.__pydantic_validator__.validate_json(data)
        return value
    except BaseException as error:
        check_readable(data, f"a stored {model.__name__}")
        raise StateConsistencyError(f"stored bytes do not fit {model.__name__}: {problems(error)}; {fix}") from error


def canonical_payload(value: M, *, held_elsewhere: bool = True) -> tuple[M, bytes]:
    """The payload that goes on, and the bytes it is kept as: what those give back is what everybody sees, at once and later.

    One that is ``held_elsewhere``, by a caller or an effect, and could be changed in place there, is copied.
    Raises InvalidPayload where the two would differ, for an integer beyond +-2^53, NUL or a lone surrogate, or deeper than
    32; PayloadTooLarge over 256 KiB, naming the largest field.
    """
    value = detached(value) if held_elsewhere else as_reloaded(value)
    return value, encode_payload(value)


def encode_payload(value: BaseModel) -> bytes:
    """The bytes of a payload that was settled. Raises as ``canonical_payload``. Two per action: its calls are written out."""
    if type(value) is Nothing:
        return b"{}"
    try:
        data = value.__pydantic_serializer__.to_json(value)
    except BaseException as error:
        raise unwritable(value, error) from error
    if len(data) > PAYLOAD_BYTES:
        raise too_large(value, len(data))
    marks = data.translate(_MARKS)
    if marks.find(_SIXTEEN) >= 0 or (_BACKSLASH in data and _NUL in data) or marks.count(b"{") > PAYLOAD_DEPTH:
        check_kept(data, value)
    return data


def _sized(value: BaseModel) -> bytes:
    if type(value) is Nothing:
        return b"{}"
    data = encode(value)
    if len(data) > PAYLOAD_BYTES:
        raise too_large(value, len(data))
    return data


def encode_step(state: BaseModel, emitted: Sequence[Emitted]) -> tuple[bytes, bytes]:
    """The bytes of what a step made: its state, settled, and its intents, joined. Raises as ``canonical_payload``;
    over 1 MiB of state too."""
    try:
        kept = state.__pydantic_serializer__.to_json(state)
    except BaseException as error:
        raise unwritable(state, error) from error
    if len(kept) > STATE_BYTES:
        raise PayloadTooLarge(
            f"the state would have {len(kept)} bytes; the limit is {STATE_BYTES}: keep large data in a Blob"
        )
    marks = kept.translate(_MARKS)
    if marks.find(_SIXTEEN) >= 0 or (_BACKSLASH in kept and _NUL in kept) or marks.count(b"{") > PAYLOAD_DEPTH:
        check_kept(kept, state)
    # payload by payload: a due time stands beside them, in microseconds, and has sixteen digits
    return kept, encode_intents(emitted, encode_payload)


def too_large(value: BaseModel, size: int) -> PayloadTooLarge:
    """The refusal, with the field that is to become a Blob."""
    parts = from_json(encode(value))
    sizes = {name: len(to_json(part)) for name, part in parts.items()} if isinstance(parts, dict) else {}
    field = max(sizes, key=lambda name: sizes[name], default="?")
    return PayloadTooLarge(
        f"{type(value).__name__} has {size} bytes; the limit is {PAYLOAD_BYTES}. Field {field!r} holds "
        f"{sizes.get(field, 0)} of them: type it Blob and keep the bytes outside the log",
        field=field,
        bytes=size,
    )


def read_payload(model: type[M], raw: bytes, *, of_plain: bool = False) -> M:
    """A payload from outside. Raises InvalidPayload, PayloadTooLarge; nothing of it is trusted before this returns.

    ``of_plain``: it was written here, of values looked at one by one (``arguments.plain``), and may only be too large.
    """
    if not of_plain or len(raw) > PAYLOAD_BYTES:
        check_json(raw)
    try:
        value: M = model.__pydantic_validator__.validate_json(raw)
        return value
    except BaseException as error:
        raise InvalidPayload(f"payload does not fit {model.__name__}: {problems(error)}") from error


# --- what a type cannot promise ---------------------------------------------------------------------------------------
# The signs: NUL is written in six letters, an integer beyond 2^53 has sixteen digits in a row, depth takes brackets.


def check_kept(data: bytes, value: BaseModel) -> None:
    """Integers, NUL and depth of canonical bytes. Raises InvalidPayload, naming the field."""
    if (
        _SIXTEEN in data.translate(_MARKS)
        or _NUL in data
        or (data.count(b"{") + data.count(b"[") > PAYLOAD_DEPTH and not is_flat(type(value)))
    ):
        _check_read(data, type(value).__name__)


def _check_read(data: bytes, name: str) -> None:
    _check_depth(data, PAYLOAD_DEPTH)
    left: list[tuple[str, object]] = [(name, json.loads(data, parse_int=_Digits, parse_float=str))]
    while left:
        path, item = left.pop()
        if isinstance(item, _Digits):
            if item.beyond:
                raise InvalidPayload(f"{path} is {item.text[:24]}, an integer beyond +-2^53: send it as text")
        elif isinstance(item, str):
            if "\x00" in item:
                raise InvalidPayload(f"{path} holds NUL")
        elif isinstance(item, dict):
            left.extend((f"a key of {path}", key) for key in item)
            left.extend((f"{path}.{key}", part) for key, part in item.items())
        elif isinstance(item, list):
            left.extend((f"{path}[{n}]", part) for n, part in enumerate(item))


class _Digits:
    """An integer as it is written: one of five thousand digits is no number to Python."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def beyond(self) -> bool:
        return len(self.text) > 17 or abs(int(self.text)) > INT_MAX


def check_json(raw: bytes, most: int = PAYLOAD_BYTES, depth: int = PAYLOAD_DEPTH) -> JsonValue:
    """The parsed value of JSON that may be logged for ever.

    Raises PayloadTooLarge (over ``most`` bytes), InvalidPayload: not UTF-8, not JSON, deeper than ``depth``, a key twice,
    NaN or infinity, an integer beyond +-2^53, a lone surrogate, NUL.
    """
    if len(raw) > most:
        raise PayloadTooLarge(
            f"payload has {len(raw)} bytes; the limit is {most}. Large data belongs in a Blob", bytes=len(raw)
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayload(f"payload is not UTF-8: {error}") from error
    _check_depth(raw, depth)
    try:
        value: JsonValue = json.loads(
            text, object_pairs_hook=_no_twins, parse_constant=_no_constant, parse_int=_small_int, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise InvalidPayload(f"payload is not JSON: {error}") from error
    _check_text(value)
    return value


def _check_depth(raw: bytes, most: int) -> None:
    # counted on the bytes: the parser itself recurses, and a document can be deep enough to break it
    depth = 0
    for found in _OPENERS.finditer(raw):
        token = found.group()
        if token in (b"[", b"{"):
            depth += 1
            if depth > most:
                raise InvalidPayload(f"payload is nested deeper than {PAYLOAD_DEPTH}")
        elif token in (b"]", b"}"):
            depth -= 1


def _no_twins(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [key for key, _ in pairs]
        twin = next(key for key in names if names.count(key) > 1)
        raise InvalidPayload(f"key {twin!r} stands twice in one object")
    return value


def _no_constant(text: str) -> float:
    raise InvalidPayload(f"{text} is not a number JSON knows")


def _small_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > INT_MAX:
        raise InvalidPayload(f"integer {text[:24]} is beyond +-2^53; send it as text")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidPayload(f"number {text[:24]} is not finite")
    return value


def _check_text(value: JsonValue) -> None:
    left: list[JsonValue] = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if "\x00" in item or _SURROGATE.search(item):
                raise InvalidPayload("text holds NUL or a lone surrogate")
        elif isinstance(item, dict):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)


def body_hash(kind: str, payload: BaseModel | bytes) -> bytes:
    """16 bytes over kind and payload as sent: sorted JSON, before defaults. Time, ids and leases are not part of it.

    Raises InvalidPayload for what cannot be written.
    """
    if payload is NOTHING:
        return blake2b(kind.encode() + b"\0{}", digest_size=16).digest()
    try:
        raw = (
            payload
            if isinstance(payload, bytes)
            else payload.__pydantic_serializer__.to_json(payload, exclude_unset=True)
        )
        sent = orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)
    except BaseException as error:
        raise InvalidPayload(f"payload of {kind!r} cannot be written as JSON: {caught(error)}") from error
    return blake2b(kind.encode() + b"\0" + sent, digest_size=16).digest()


def encode_intents(emitted: Sequence[Emitted], write: Callable[[BaseModel], bytes] = _sized) -> bytes:
    """``[{"name", "payload", ...}, ...]`` with priority, due, key, to, cancel only where they say something; b'' for none.

    ``write`` gives the bytes of a payload: ``encode_payload`` where it is written for the first time, and so looked at.
    """
    if not emitted:
        return b""
    if len(emitted) == 1:
        return b"[" + _encode_intent(emitted[0], write) + b"]"
    return b"[" + b",".join([_encode_intent(one, write) for one in emitted]) + b"]"


@lru_cache(1024)
def _head(name: str) -> bytes:
    """How the bytes of an intent begin. Names come from contracts, so there are few."""
    return b'{"name":"%b","payload":' % name.encode()


def _encode_intent(one: Emitted, write: Callable[[BaseModel], bytes]) -> bytes:
    spec, payload, priority, due_us, idempotency_key, to, cancelled = one
    text = _head(spec.name) + (b"null" if payload is None else write(payload))
    if priority is not spec.priority:
        text += b',"priority":"' + priority.encode() + b'"'
    if due_us:
        text += b',"due_us":%d' % due_us
    if idempotency_key is not None:
        text += b',"key":' + orjson.dumps(idempotency_key)
    if to:
        text += b',"to":' + orjson.dumps(to)
    if cancelled:
        text += b',"cancel":true'
    return text + b"}"


def read_intents(data: bytes) -> list[dict[str, JsonValue]]:
    """The intents of one log row as they stand there. Raises StateConsistencyError for bytes that no step wrote."""
    if not data:
        return []
    try:
        items = from_json(data)  # never through a float: orjson makes one of an integer over 64 bits
    except ValueError as error:
        raise StateConsistencyError(f"the stored intents are no JSON: {error}") from error
    if not isinstance(items, list) or not all(isinstance(one, dict) and type(one.get("name")) is str for one in items):
        raise StateConsistencyError("the stored intents are no list of named intents")
    return items


def decode_intent(item: Mapping[str, JsonValue], table: IntentTable) -> Emitted:
    """One item of ``read_intents``. Raises StateConsistencyError when the contract no longer lists it, or its payload does
    not fit any more."""
    name, body = str(item["name"]), item.get("payload")
    spec = table.by_name.get(name)
    if spec is None:
        raise StateConsistencyError(f"intent {name!r} is in the log but no longer in the contract")
    payload = None
    if spec.payload is not None and body is not None:
        payload = decode(spec.payload, to_json(body))
    try:
        priority = EnumIntentPriority(str(item["priority"])) if "priority" in item else spec.priority
        due_us, key, to = item.get("due_us", 0), item.get("key"), item.get("to", "")
        if not isinstance(due_us, int) or not isinstance(to, str) or not (key is None or isinstance(key, str)):
            raise ValueError("due_us, key or to is of another type")
    except ValueError as error:
        raise StateConsistencyError(f"the stored intent {name!r} is damaged: {error}") from error
    return Emitted(spec, payload, priority, due_us, key, to, "cancel" in item)


def ordinals(names: Iterable[str]) -> list[int]:
    """``n`` of each intent of one step: how many of its name came before it."""
    seen: dict[str, int] = {}
    counted: list[int] = []
    for name in names:
        n = seen.get(name, 0)
        seen[name] = n + 1
        counted.append(n)
    return counted


def state_hash(before: bytes, key: WorkflowKey, code: bytes, rows: Sequence[LogRow], state: bytes) -> bytes:
    """BLAKE3 (32 bytes) over the hash before, the key, the digest of the code, the batch's rows and the state behind them.

    One hash per key and batch: each chains to the one before, so a changed byte anywhere shows in every later one. It
    covers what a reducer can see and what dedup answers by; the env and where a row stands are no part of it.
    """
    address = f"{key[0]}:{key[1]}".encode()
    parts = [b"%d %d %d;" % (len(before), len(address), len(code)), before, address, code]
    for own, kind, payload, issued_us, correlation, cause, issuer, body, intents, status, _, schema in rows:
        trigger, caused, by, after = kind.encode(), cause or b"", issuer.encode(), status.encode()
        # lengths first, so that no byte can move from one field into the next unseen
        lengths = _LENGTHS(
            issued_us, schema, len(own), len(trigger), len(payload), len(correlation), len(caused), len(by), len(body),
            len(intents), len(after),
        )  # fmt: skip
        parts += (lengths, own, trigger, payload, correlation, caused, by, body, intents, after)
    parts.append(state)
    return blake3(b"".join(parts)).digest()


def named_blobs(data: bytes) -> list[bytes]:
    """Digests of the blobs that canonical bytes refer to; none where there is no ``BLOB_MARK``."""
    return [bytes.fromhex(found.decode()) for found in _DIGEST.findall(data)]


def json_bytes(payload: Mapping[str, JsonValue]) -> bytes:
    """JSON of a plain mapping. Raises InvalidPayload when it holds what JSON cannot."""
    try:
        return json.dumps(payload, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"payload cannot be written as JSON: {error}") from error
