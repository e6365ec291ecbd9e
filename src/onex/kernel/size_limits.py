"""Limits of size: how large the payload of an action may be, and how large its message in an inbox.

The rule: whatever ``submit`` accepts in the process also fits into an inbox. So the rest of a message (key, trigger, ids, times,
issuer) has room of its own and does not count against the payload. A sender gets the error before it writes anything.
"""

from __future__ import annotations

from .data_key import SEALED
from .errors import InvalidPayload, PayloadTooLarge
from .user_code import a_type

PAYLOAD_BYTES = 256 * 1024
PAYLOAD_DEPTH = 32
ENVELOPE_BYTES = 16 * 1024  # an issuer of 1000 characters, each escaped as two times six, and the rest
WIRE_BYTES = PAYLOAD_BYTES + ENVELOPE_BYTES
SEALED_WIRE_BYTES = WIRE_BYTES * 4 // 3 + 256  # the same, encrypted and in base64
WIRE_DEPTH = PAYLOAD_DEPTH + 1


def check_body(body: object) -> bytes:
    """``body`` as it may be stored in an inbox. Raises InvalidPayload unless it is bytes, PayloadTooLarge over 272 KiB."""
    if type(body) is not bytes:
        raise InvalidPayload(f"a message to an inbox is bytes, the JSON of a ModelAction; this is {_what(body)}")
    if len(body) > (SEALED_WIRE_BYTES if body.startswith(SEALED) else WIRE_BYTES):
        raise PayloadTooLarge(
            f"action has {len(body)} bytes; the limit is {PAYLOAD_BYTES} for its payload and {ENVELOPE_BYTES} for the "
            "rest. Large data belongs in a Blob",
            bytes=len(body),
        )
    return body


def _what(body: object) -> str:
    return "None" if body is None else "text" if isinstance(body, str) else a_type(body)
