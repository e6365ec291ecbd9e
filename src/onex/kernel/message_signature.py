"""MessageSignature: HMAC-SHA256 of a message under a shared key, so that only who has the key can make or change one.

The rule: what is signed is all that decides what a message does: its topic, its key and its value. Each part stands behind its
length, so that no byte can move from one part to the next. A message that is sent again under another key or topic does not
verify. One that is sent again unchanged does: it has the same id, and is applied once.

Rotation, with no message lost: every service accepts the new key too (``SharedKeys(old, new)``); then every service signs
with it (``SharedKeys(new, old)``); when the old messages are gone, the old key is removed.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final, NamedTuple

from .errors import ValidationError

SIGNATURE_HEADER: Final = "onex-signature"
KEY_BYTES_LEAST: Final = 16
_PREFIX: Final = b"v1="

Headers = Sequence[tuple[str, bytes]]


class InvalidSignature(ValidationError):
    """A message has no signature, or one that none of the shared keys gives: it was forged or changed, or its sender has no key."""

    code = "invalid_signature"


class SharedKeys(NamedTuple):
    """``signing`` signs; it and ``also_accepted`` verify."""

    signing: bytes
    also_accepted: bytes | None = None

    @classmethod
    def of(cls, signing: str, also_accepted: str = "") -> SharedKeys:
        """Keys from text. Raises ValidationError for one shorter than 16 bytes."""
        for key in (signing, *([also_accepted] if also_accepted else [])):
            if len(key.encode()) < KEY_BYTES_LEAST:
                raise ValidationError(f"a shared key has at least {KEY_BYTES_LEAST} bytes; take 32 random ones, as hex")
        return cls(signing.encode(), also_accepted.encode() if also_accepted else None)

    def __repr__(self) -> str:
        return "SharedKeys(...)"

    def header(self, topic: str, key: bytes, value: bytes) -> tuple[str, bytes]:
        """The header to send with it."""
        return SIGNATURE_HEADER, _signature(self.signing, topic, key, value)

    def check(self, topic: str, key: bytes, value: bytes, headers: Headers) -> None:
        """Raises InvalidSignature."""
        given = [text for name, text in headers if name == SIGNATURE_HEADER]
        if not given:
            raise InvalidSignature(
                f"the message has no header {SIGNATURE_HEADER}, and a shared key is set here; its sender must sign with it"
            )
        keys = [one for one in self if one is not None]
        if len(given) != 1 or not any(
            hmac.compare_digest(given[0], _signature(one, topic, key, value)) for one in keys
        ):
            raise InvalidSignature(
                f"the header {SIGNATURE_HEADER} does not fit topic, key and value of the message: it was changed, or signed "
                "with a key that is not accepted here"
            )


def _signature(secret: bytes, topic: str, key: bytes, value: bytes) -> bytes:
    text = topic.encode()
    signed = b"".join(len(part).to_bytes(8) + part for part in (text, key, value))
    return _PREFIX + hmac.digest(secret, signed, "sha256").hex().encode()
