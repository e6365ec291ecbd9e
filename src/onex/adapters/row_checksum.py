"""Checksums of stored rows: a number beside each row of the log, each current state and each kept state.

Theory of operation. A state hash covers every byte that a reducer sees, but states between two kept ones are not stored. So their
hashes can be made again only by folding, with the app's code. A checksum needs no code: it is made of the row as it
was written, and whoever reads the row can make it again. ``onex verify`` does (``checksum_pass``).

- It is CRC-32: it finds every change of up to four bytes in a row, and of longer damage all but one in four thousand million. It
  costs about 1 us for a row. It is no secret, so it finds damage and not a forger: the chain of state hashes is for that.
- A log row never changes, so all its columns are covered. Of the current state those are left out that single statements move:
  failures, the hold, the lease and the time of the last write. Of a kept state its bytes are covered; its other
  columns are compared with the log.
- 0 means none: an ONEX of an older schema wrote the row. A checksum that would be 0 is stored as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 - the class of an exception
from typing import Any, Final
from zlib import crc32

NONE: Final = 0
LOG_COLUMNS: Final = (
    "n", "instance", "version", "prev", "action_id", "kind", "payload", "payload_schema", "issued_us", "correlation",
    "cause", "issuer", "body_hash", "intents", "status", "code_id", "env_id", "state_hash",
)  # fmt: skip
STATE_COLUMNS: Final = (
    "instance", "workflow_type", "instance_id", "version", "epoch", "status", "terminal", "state_schema", "state_hash",
    "code_id", "position", "last_us", "state",
)  # fmt: skip
_numbers = Struct("<8q").pack


def log_checksum(row: Sequence[Any]) -> int:
    """Of the values of ``LOG_COLUMNS``, b'' for no cause. NONE for a number that no store can hold. Raises TypeError."""
    (n, instance, version, prev, action_id, kind, payload, payload_schema, issued_us, correlation, cause, issuer,
     body_hash, intents, status, code_id, env_id, state_hash) = row  # fmt: skip
    try:
        numbers = _numbers(n, instance, version, prev, payload_schema, issued_us, code_id, env_id)
    except StructError:
        return NONE
    names = f"{kind} {issuer} {status}".encode()
    return (
        crc32(b"".join((numbers, names, action_id, payload, correlation, cause, body_hash, intents, state_hash))) or 1
    )


def state_checksum(row: Sequence[Any]) -> int:
    """Of the values of ``STATE_COLUMNS``, where ``position`` is a place (``sql_rows``). Raises as ``log_checksum``."""
    (instance, workflow_type, instance_id, version, epoch, status, terminal, state_schema, state_hash, code_id, position,
     last_us, state) = row  # fmt: skip
    try:
        numbers = _numbers(instance, version, epoch, terminal, state_schema, code_id, position, last_us)
    except StructError:
        return NONE
    names = f"{workflow_type}:{instance_id} {status}".encode()
    return crc32(b"".join((numbers, names, state_hash, state))) or 1


def kept_checksum(state: bytes | bytearray) -> int:
    """Of the bytes of a snapshot."""
    return crc32(state) or 1
