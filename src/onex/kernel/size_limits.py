"""Wire: how large an action may be, alone and in the envelope in which it travels. The one place that knows.

The law: what the door takes, the wire takes. An envelope (key, trigger, ids, times, issuer) has room of its own, so it does
not count against its payload; and a sender is told before it writes what no engine would read.
"""

from __future__ import annotations

from .errors import InvalidPayload, PayloadTooLarge

PAYLOAD_BYTES = 256 * 1024
PAYLOAD_DEPTH = 32
ENVELOPE_BYTES = 16 * 1024  # an issuer of 1000 characters, each escaped as two times six, and the rest
WIRE_BYTES = PAYLOAD_BYTES + ENVELOPE_BYTES
WIRE_DEPTH = PAYLOAD_DEPTH + 1


def check_body(body: object) -> bytes:
    """``body`` as it may stand in an inbox. Raises InvalidPayload for what is no bytes, PayloadTooLarge over 272 KiB."""
    if type(body) is not bytes:
        raise InvalidPayload(f"an action on the wire is bytes, the JSON of a ModelAction; this is {_what(body)}")
    if len(body) > WIRE_BYTES:
        raise PayloadTooLarge(
            f"action has {len(body)} bytes; the limit is {PAYLOAD_BYTES} for its payload and {ENVELOPE_BYTES} for the "
            "rest. Large data belongs in a Blob",
            bytes=len(body),
        )
    return body


def _what(body: object) -> str:
    return "nothing" if body is None else "text" if isinstance(body, str) else "no bytes"
