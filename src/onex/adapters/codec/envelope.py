"""Envelope: one value encrypted under one data key, and back. AES-256-GCM of ``cryptography``; nothing here asks a store.

Four forms, each recognised by how it begins. Three are text, so that what reads tables, exports and archives takes them:

- JSON, of payloads, states, results and bodies: ``{"@encrypted":"KEY","v":"BASE64"}``. A held result keeps ``kind`` and ``schema``.
- intents: ``[{"name":"charge"},{"name":"@encrypted","key":"KEY","v":"BASE64"}]``. Name, due time and receiver of each intent stay.
  Bytes that are no list of intents take the first form.
- text, of messages: ``@encrypted:KEY:BASE64``.
- bytes, of blobs.

KEY is a fingerprint of the data key. In BASE64 stand nonce, ciphertext and tag. What was bound to the value (its owner, column and
row) is not stored: it is given again to open it. So a value that was moved to another row does not open.

Why nothing repeats. A nonce is 96 random bits. Under one data key there are as many values as its instance has rows; below 2**32
of them two nonces are equal with a probability under 2**-32. The store's own key has no such bound, so each value there is
encrypted under a key of its own, made of that key and 128 random bits. A master key wraps one data key per instance: the first
bound again.

What is opened is written once more and compared with what was stored, byte for byte. So no byte of it can change unseen, and
that includes bits that base64 does not use and the names that stand in clear.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable
from functools import lru_cache
from os import urandom
from typing import Final

import orjson
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...codec import STORE_OWNER
from ...kernel.data_key import SEALED, SEALED_BLOB, CodecDamaged

NONCE: Final = 12
SALT: Final = 16
_INTENT: Final = b'{"name":"@encrypted","key":"'
_BETWEEN: Final = b'","v":"'
_TEXT: Final = "@encrypted:"
BLOB_MORE: Final = len(SEALED_BLOB) + 8 + NONCE + 16
"""So many bytes longer is a blob that is encrypted."""
_CLEAR: Final = ("name", "due_us", "to")
_BODY_AT: Final = 64
"""Where in the pad of a version that of its body hash begins, behind that of its state hash."""


class DataKey:
    """The key of one owner, ready for use. Values up to version ``plain_until`` may be plain."""

    __slots__ = ("_aead", "_encrypt", "_hash_key", "_head", "_salted", "bound", "fingerprint", "plain_until")

    def __init__(self, owner: str, secret: bytes, plain_until: int = 0) -> None:
        self.bound = owner.encode() + b"\0"
        self.plain_until = plain_until
        values = blake3(b"onex values", key=secret).digest()
        self._hash_key = blake3(b"onex hashes", key=secret).digest()
        self._salted = values if owner == STORE_OWNER else None
        self._aead = AESGCM(values)
        self._encrypt = self._aead.encrypt
        self.fingerprint = blake3(b"onex name", key=secret).hexdigest(length=4).encode()
        self._head = SEALED + self.fingerprint + _BETWEEN

    def _seal(self, plain: bytes, place: bytes) -> bytes:
        nonce = urandom(NONCE)
        if self._salted is None:
            return nonce + self._aead.encrypt(nonce, plain, self.bound + place)
        salt = urandom(SALT)
        aead = AESGCM(blake3(salt, key=self._salted).digest())
        return salt + nonce + aead.encrypt(nonce, plain, self.bound + place)

    def _open(self, raw: bytes, place: bytes) -> bytes:
        aead, at = self._aead, 0
        if self._salted is not None:
            aead, at = AESGCM(blake3(raw[:SALT], key=self._salted).digest()), SALT
        try:
            return aead.decrypt(raw[at : at + NONCE], raw[at + NONCE :], self.bound + place)
        except (InvalidTag, ValueError) as error:
            raise damaged(place) from error

    def _open_text(self, text: bytes, place: bytes) -> bytes:
        try:
            return self._open(a2b_base64(text, strict_mode=True), place)
        except Error as error:
            raise damaged(place) from error

    # --- of a step: called for each action, so what they need is given and few calls are made --------------------------------

    def seal_of_step(self, plain: bytes, place: bytes, nonce: bytes) -> bytes:
        """``seal`` under the key of an instance, with 12 random bytes of the caller's."""
        return self._head + b2a_base64(nonce + self._encrypt(nonce, plain, self.bound + place), newline=False) + b'"}'

    def intents_of_step(self, plain: bytes, place: bytes, nonce: bytes) -> bytes:
        """``seal_intents`` in the same way."""
        clear = _intents_clear(plain)
        if not clear:
            return self.seal_of_step(plain, place, nonce)
        text = b2a_base64(nonce + self._encrypt(nonce, plain, self.bound + place), newline=False)
        return _intents(clear, self.fingerprint, text)

    # --- JSON: payloads, states, results, bodies --------------------------------------------------------------------------

    def seal(self, plain: bytes, place: bytes) -> bytes:
        return SEALED + self.fingerprint + _BETWEEN + b2a_base64(self._seal(plain, place), newline=False) + b'"}'

    def open(self, sealed: bytes, place: bytes, clear: Callable[[bytes], bytes] = lambda plain: b"") -> bytes:
        """The value. ``clear`` tells what stands beside it in clear. Raises CodecDamaged."""
        begin = SEALED + self.fingerprint + _BETWEEN
        text = sealed[len(begin) : sealed.find(b'"', len(begin))]
        plain = self._open_text(text, place)
        if sealed != begin + text + b'"' + clear(plain) + b"}" or not _canonical(text):
            raise damaged(place)
        return plain

    def seal_result(self, plain: bytes, place: bytes) -> bytes:
        return self.seal(plain, place)[:-1] + _result_clear(plain) + b"}"

    def open_result(self, sealed: bytes, place: bytes) -> bytes:
        return self.open(sealed, place, _result_clear)

    # --- intents ----------------------------------------------------------------------------------------------------------

    def seal_intents(self, plain: bytes, place: bytes) -> bytes:
        clear = _intents_clear(plain)
        if not clear:
            return self.seal(plain, place)
        return _intents(clear, self.fingerprint, b2a_base64(self._seal(plain, place), newline=False))

    def open_intents(self, sealed: bytes, place: bytes) -> bytes:
        """Raises CodecDamaged."""
        if sealed.startswith(SEALED):
            return self.open(sealed, place)
        begin = sealed.rfind(_INTENT) + len(_INTENT) + len(self.fingerprint) + len(_BETWEEN)
        text = sealed[begin : sealed.find(b'"', begin)]
        plain = self._open_text(text, place)
        if sealed != _intents(_intents_clear(plain), self.fingerprint, text) or not _canonical(text):
            raise damaged(place)
        return plain

    # --- text and blobs -----------------------------------------------------------------------------------------------------

    def seal_text(self, plain: str, place: bytes) -> str:
        sealed = b2a_base64(self._seal(plain.encode("utf-8", "surrogatepass"), place), newline=False)
        return f"{_TEXT}{self.fingerprint.decode()}:{sealed.decode()}"

    def open_text(self, sealed: str, place: bytes) -> str:
        """Raises CodecDamaged."""
        raw = sealed.encode("utf-8", "surrogatepass")
        text = raw.rpartition(b":")[2]
        plain = self._open_text(text, place)
        if raw != _TEXT.encode() + self.fingerprint + b":" + text or not _canonical(text):
            raise damaged(place)
        return plain.decode("utf-8", "surrogatepass")

    def seal_blob(self, plain: bytes, place: bytes) -> bytes:
        return SEALED_BLOB + self.fingerprint + self._seal(plain, place)

    def open_blob(self, sealed: bytes, place: bytes) -> bytes:
        begin = SEALED_BLOB + self.fingerprint
        if not sealed.startswith(begin):
            raise damaged(place)
        return self._open(sealed[len(begin) :], place)

    # --- hashes -----------------------------------------------------------------------------------------------------------

    def keyed(self, digest: bytes, what: bytes, version: int) -> bytes:
        """The hash as it is stored, of the hash of the plain value; and back, by the same call. Without the key it says nothing:
        it is the hash under a pad that only this key makes, another one for each version."""
        if not digest:
            return digest
        at = _BODY_AT if what == b"body" else 0
        return _under(digest, blake3(b"%d" % version, key=self._hash_key).digest(length=at + len(digest))[at:])

    def keyed_pair(self, body: bytes, state: bytes, version: int) -> tuple[bytes, bytes]:
        """Both hashes of one row."""
        pad = blake3(b"%d" % version, key=self._hash_key).digest(length=_BODY_AT + len(body))
        return _under(body, pad[_BODY_AT:]), _under(state, pad[: len(state)])


def _under(digest: bytes, pad: bytes) -> bytes:
    return (int.from_bytes(digest) ^ int.from_bytes(pad)).to_bytes(len(digest))


def is_sealed(data: bytes) -> bool:
    return data.startswith(SEALED)


def is_sealed_intents(data: bytes) -> bool:
    return data.startswith(SEALED) or (data.endswith(b'"}]') and data.rfind(_INTENT) >= 0)


def is_sealed_text(text: str) -> bool:
    return text.startswith(_TEXT)


def is_sealed_blob(data: bytes) -> bool:
    return data.startswith(SEALED_BLOB)


def damaged(place: bytes) -> CodecDamaged:
    column, _, row = place.partition(b"\0")
    where = row.partition(b"\0")[0].decode(errors="replace")
    return CodecDamaged(
        f"the stored {column.decode()}{f' of {where}' if where else ''} is not what was encrypted: it was changed, moved or cut. "
        "Restore a backup: onex restore"
    )


def marked_intents(sealed: bytes, mark: bytes) -> bytes:
    """The intents as they are read without the key: their names, and the mark in place of their payloads."""
    try:
        clear = orjson.loads(sealed)[:-1]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        clear = []
    shown = orjson.loads(mark)
    return orjson.dumps([one | {"payload": shown} for one in clear if isinstance(one, dict)]) if clear else b"[]"


def _canonical(text: bytes) -> bool:
    return b2a_base64(a2b_base64(text), newline=False) == text


def _intents(clear: bytes, fingerprint: bytes, text: bytes) -> bytes:
    return b"[" + clear + _INTENT + fingerprint + _BETWEEN + text + b'"}]'


def _intents_clear(plain: bytes) -> bytes:
    """What of each intent stands in clear, each with a comma behind it."""
    try:
        return b"".join([
            _named(one["name"]) if "due_us" not in one and "to" not in one
            else orjson.dumps({name: one[name] for name in _CLEAR if name in one}) + b","
            for one in orjson.loads(plain)
        ])  # fmt: skip
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return b""


@lru_cache(1024)
def _named(name: str) -> bytes:
    """Names come from contracts, so there are few."""
    return orjson.dumps({"name": name}) + b","


def _result_clear(plain: bytes) -> bytes:
    try:
        held = orjson.loads(plain)
        kept = {name: held[name] for name in ("kind", "schema") if name in held}
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return b""
    return b"," + orjson.dumps(kept)[1:-1] if kept else b""
