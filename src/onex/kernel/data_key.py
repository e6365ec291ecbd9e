"""Values that are stored encrypted: how stored bytes say so, and what stands in place of a value that cannot be read here.

A value that cannot be read is replaced by JSON text, a *mark*: ``"encrypted (key k1)"`` where the key is not at hand,
``"erased at ..."`` where it was destroyed, ``"damaged: ..."`` where the bytes are not what was written. A mark stands where values
are objects, so it is not mistaken for one. Whoever shows values shows the mark; whoever needs the value calls ``check_readable``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from .errors import DatabaseConnectionError, InstanceFinished, StateConsistencyError, ValidationError

SEALED: Final = b'{"@encrypted":"'
"""How an encrypted payload, state or body begins. It is JSON, so views, exports and archives take it as it is."""
SEALED_BLOB: Final = b"\x00onex-sealed\x01"
"""How an encrypted blob begins."""
ERASED: Final = "erased: what it needs cannot be read any more"
"""Why an open intent of an erased instance is dead."""


class WrappedKey(NamedTuple):
    """The data key of ``owner``, encrypted under the master key ``master``. Values up to version ``plain_until`` may be plain:
    they were written before there was a key. ``erased_us``: when the key was destroyed; ``wrapped`` is empty then, and ``master``
    is who did it."""

    owner: str
    master: str
    wrapped: bytes
    plain_until: int = 0
    erased_us: int = 0


class EnumUnreadable(StrEnum):
    """Why a mark stands in place of a value."""

    ENCRYPTED = "encrypted"
    ERASED = "erased"
    DAMAGED = "damaged"


class InstanceErased(InstanceFinished):
    """The instance was erased: its values cannot be read any more, and it accepts nothing. Begin another instance."""

    code = "instance_erased"


class CodecDamaged(StateConsistencyError):
    """Encrypted bytes are not what was written: they were changed, moved to another row, or cut. Restore a backup."""

    code = "codec_damaged"


class CodecKeyMissing(DatabaseConnectionError):
    """The store is encrypted, and the key that it needs is not at hand. Name it by ``ONEX_CODEC_KEYS``."""

    code = "codec_key_missing"


class CodecKeyWrong(DatabaseConnectionError):
    """A master key has the right name, and does not open what was encrypted under that name. Give the key of that store."""

    code = "codec_key_wrong"


class NotEncrypted(ValidationError):
    """What is asked for destroys or changes a data key, and there is none: these values are stored plain."""

    code = "not_encrypted"


class InvalidCodecKeys(ValidationError):
    """What gives the master keys cannot be read, or holds no keys. Write them as lines ``NAME:KEY`` (``onex store new-key``)."""

    code = "invalid_codec_keys"


_MARKS: Final = {
    b'"encrypted (key ': EnumUnreadable.ENCRYPTED,
    b'"erased at ': EnumUnreadable.ERASED,
    b'"damaged: ': EnumUnreadable.DAMAGED,
}
DAMAGED_MARK: Final = b'"damaged: it cannot be decrypted"'


def encrypted_mark(master: str) -> bytes:
    return f'"encrypted (key {master})"'.encode()


def erased_mark(erased_us: int, by: str) -> bytes:
    at = datetime.fromtimestamp(erased_us // 1_000_000, UTC)
    return json.dumps(f"erased at {at:%Y-%m-%dT%H:%M:%SZ} by {by}").encode()


def unreadable(data: bytes) -> EnumUnreadable | None:
    """Why ``data`` is a mark; None when it is a value. Encrypted bytes that nobody tried to open, as of an archive, are none."""
    if data.startswith(SEALED):
        return EnumUnreadable.ENCRYPTED
    if not data.startswith(b'"'):
        return None
    return next((kind for begin, kind in _MARKS.items() if data.startswith(begin)), None)


def mark_text(mark: bytes) -> str:
    """As people read it: without its quotes."""
    if mark.startswith(SEALED):
        return "encrypted, and its key is in the store that it came from"
    return mark[1:-1].decode(errors="replace")


def check_readable(data: bytes, what: str) -> None:
    """Raises InstanceErased, CodecKeyMissing, CodecDamaged for a mark."""
    kind = unreadable(data)
    if kind is None:
        return
    if kind is EnumUnreadable.ERASED:
        raise InstanceErased(
            f"{what} was {mark_text(data)}: it cannot be read and accepts nothing; begin another instance"
        )
    if kind is EnumUnreadable.ENCRYPTED:
        raise CodecKeyMissing(f"{what} is {mark_text(data)}; name the master keys: ONEX_CODEC_KEYS")
    raise CodecDamaged(
        f"{what} is not what was encrypted: it was changed, moved or cut. Restore a backup: onex restore"
    )
